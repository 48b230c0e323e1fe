"""How well a score finds wrong labels, where the truth is known. The only code besides `ranking` that takes it.

Always told per observed class: among observed positives wrong labels are far more common, so that a pooled figure
mostly says which class a pair is in (methods.md C.13).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.hints import Bool, Float, Shaped, UInt8
from core.metrics.ranking import auroc, average_precision

FIRST = (100, 500)
"""Numbers of pairs at the top of the list whose precision is told (benchmarks.md)."""


@dataclass(frozen=True)
class Detection:
    """Detection among the pairs of one observed class (`positive`, `negative`) or of both (`pooled`).

    `auroc` and `average_precision` are means over the labels that have wrong and right pairs in the class
    (`labels_scored` of them); for `pooled` over all pairs at once. `precision_at[k]` is of the k pairs with the highest
    score over all labels, NaN where there are fewer than k.
    """

    observed_class: str
    auroc: float
    average_precision: float
    precision_at: dict[int, float]
    n: int
    n_wrong: int
    labels_scored: int


def precision_at(wrong: Shaped[np.ndarray, " pairs"], score: Shaped[np.ndarray, " pairs"], k: int) -> float:
    """Share of wrong pairs among the k highest scores, averaged over orders of tied ones; NaN for fewer than k."""
    if k < 1 or len(score) < k:
        return float("nan")
    limit = np.partition(score, len(score) - k)[len(score) - k]
    above, tied = score > limit, score == limit
    places = k - int(above.sum())
    return float((wrong[above].sum() + places * wrong[tied].mean()) / k)


def detection(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    ks: Sequence[int] = FIRST,
) -> dict[str, Detection]:
    """Score a detector against the truth, by observed class.

    Parameters
    ----------
    score
        High means suspect.
    observed, truth
        Recorded and true labels, 0 or 1.
    member
        Pairs that count.
    ks
        Lengths of the list's head whose precision is told.

    Returns
    -------
    dict
        Keys `positive`, `negative`, `pooled`.
    """
    wrong = observed != truth
    told = {}
    for name, group in (("positive", member & (observed != 0)), ("negative", member & (observed == 0))):
        areas, precisions = [], []
        for label in range(score.shape[1]):
            rows = group[:, label]
            w, s = wrong[rows, label], score[rows, label]
            if w.any() and not w.all():
                areas.append(auroc(w, s))
                precisions.append(average_precision(w, s))
        told[name] = _detection(name, group, score, wrong, ks, areas, precisions)
    areas, precisions = [auroc(wrong[member], score[member])], [average_precision(wrong[member], score[member])]
    told["pooled"] = _detection("pooled", member, score, wrong, ks, areas, precisions)
    return told


def _detection(
    name: str,
    group: np.ndarray,
    score: np.ndarray,
    wrong: np.ndarray,
    ks: Sequence[int],
    areas: list[float],
    precisions: list[float],
) -> Detection:
    s, w = score[group], wrong[group]
    return Detection(
        observed_class=name,
        auroc=float(np.mean(areas)) if areas else float("nan"),
        average_precision=float(np.mean(precisions)) if precisions else float("nan"),
        precision_at={k: precision_at(w, s, k) for k in ks},
        n=len(s),
        n_wrong=int(w.sum()),
        labels_scored=int(np.isfinite(areas).sum()),
    )
