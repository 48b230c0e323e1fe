"""How well probabilities rank the positives: mean average precision, AUROC and F1 (methods.md A.9)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Shaped

DECISION = 0.5
"""Probability above which a label counts as predicted [released code]."""


def _steps(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and pairs at or above each distinct score, from the highest score down."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], [True])))
    found = np.cumsum(truth[order], dtype=np.int64)[last]
    return found, last + 1


def average_precision(truth: Shaped[np.ndarray, " pairs"], score: Shaped[np.ndarray, " pairs"]) -> float:
    """Σ (recall_k - recall_{k-1})·precision_k over distinct scores from the highest down; NaN without positives.

    Chance level is the share of positives. Equal to scikit-learn's `average_precision_score`.
    """
    positive = np.asarray(truth, np.bool_)
    total = int(positive.sum())
    if total == 0:
        return float("nan")
    found, seen = _steps(positive, score)
    return float(np.sum(np.diff(found, prepend=0) * (found / seen)) / total)


def auroc(truth: Shaped[np.ndarray, " pairs"], score: Shaped[np.ndarray, " pairs"]) -> float:
    """P(a positive scores above a negative), ties counting half; NaN unless both classes are present."""
    positive = np.asarray(truth, np.bool_)
    total = int(positive.sum())
    other = len(positive) - total
    if total == 0 or other == 0:
        return float("nan")
    found, seen = _steps(positive, score)
    false = seen - found
    width, height = np.diff(false, prepend=0), (found + np.concatenate(([0], found[:-1]))) / 2
    return float(np.sum(width * height) / total / other)


@dataclass(frozen=True)
class RankingMetrics:
    """Metrics of one set of predictions; per-label arrays hold NaN where a label has no answer.

    `map` is to be read against `chance`, the mean prevalence. `f1_micro` is F1 of the flattened matrix (the paper's
    F1), `f1_macro` the mean of the labels' (F1_class).
    """

    map: float
    auroc_macro: float
    auroc_micro: float
    f1_micro: float
    f1_macro: float
    chance: float
    average_precision: Float[np.ndarray, " labels"]
    auroc: Float[np.ndarray, " labels"]
    f1: Float[np.ndarray, " labels"]
    labels_without_positives: int
    labels_without_negatives: int


def _mean(values: np.ndarray) -> float:
    """Mean over the labels that have an answer; NaN if none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def ranking_metrics(
    truth: Shaped[np.ndarray, "stays labels"],
    probability: Float[np.ndarray, "stays labels"],
    stated: Bool[np.ndarray, "stays labels"] | None = None,
    *,
    empty: Literal["skip", "zero"] = "skip",
) -> RankingMetrics:
    """Score predictions against labels.

    Parameters
    ----------
    truth
        Labels to score against, 0 or 1.
    probability
        p.
    stated
        Pairs that count; all if not given.
    empty
        A label without positives is left out of mAP and macro F1 (`skip`), or scores 0 there (`zero`, as the released
        code's library does). Either way it is counted in `labels_without_positives`.
    """
    if empty not in ("skip", "zero"):
        raise ConfigError("empty skip or zero", repr(empty), "choose one of them")
    positive = np.asarray(truth) != 0
    known = np.ones(positive.shape, np.bool_) if stated is None else stated
    labels = positive.shape[1]
    precision, area, f1, prevalence = (np.full(labels, np.nan) for _ in range(4))
    for label in range(labels):
        rows = known[:, label]
        y, p = positive[rows, label], probability[rows, label]
        precision[label] = average_precision(y, p)
        area[label] = auroc(y, p)
        prevalence[label] = y.mean() if len(y) else np.nan
        f1[label] = _f1(y, p > DECISION) if y.any() else np.nan
    without_positives = int(np.sum(~(positive & known).any(axis=0)))
    if empty == "zero":
        precision, f1 = np.nan_to_num(precision), np.nan_to_num(f1)
    flat_y, flat_p = positive[known], probability[known]
    return RankingMetrics(
        map=_mean(precision),
        auroc_macro=_mean(area),
        auroc_micro=auroc(flat_y, flat_p),
        f1_micro=_f1(flat_y, flat_p > DECISION),
        f1_macro=_mean(f1),
        chance=_mean(prevalence),
        average_precision=precision,
        auroc=area,
        f1=f1,
        labels_without_positives=without_positives,
        labels_without_negatives=int(np.sum(~(~positive & known).any(axis=0))),
    )


def _f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F1 = 2·TP/(2·TP + FP + FN); NaN where nothing is positive nor predicted."""
    told = int(truth.sum()) + int(predicted.sum())
    return 2 * int((truth & predicted).sum()) / told if told else float("nan")
