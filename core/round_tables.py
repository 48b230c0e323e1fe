"""A trained round as tables: what the store keeps and readers see.

A pair is *flagged* when it is among the first `budget` training pairs in order of suspicion, no label taking more than
its share, decided pairs left out. The order takes by turns from records suspected wrong and records suspected missing,
each by error probability (ties go to the higher selection score).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import expit

from core.calibrated.peer_posterior import noisy_groups, peer_posterior
from core.calibrated.posterior import Rates
from core.cohort.store import Cohort
from core.cohort.tensors import PackedCohort
from core.config import ReviewConfig, TrainConfig
from core.correction.harm import expected_harm
from core.detectors.registry import scores
from core.fit import Fitted
from core.hints import Bool, Float, Int, UInt8
from core.locks import Pairs
from core.selection.mixture import Mixtures
from core.selection.partition import PARTITIONS

HISTORY_SCALE = 255  # a probability is kept as one byte an epoch, round(255·p)
SUGGESTS_PRESENT = 0.5  # a corrected label from here on suggests "present"; architecture.md, Cleaned labels


@dataclass(frozen=True)
class Round:
    """A finished round in arrays, a row for every stay of the cohort.

    Parameters
    ----------
    identity
        What the run's ``config.json`` says: numbers, seed, decisions read.
    config, cohort, packed, pairs
        What it was trained with.
    fitted
        The trained network and what it says of every pair.
    """

    identity: dict[str, Any]
    config: TrainConfig
    cohort: Cohort
    packed: PackedCohort
    pairs: Pairs
    fitted: Fitted

    @property
    def error_probability(self) -> Float[np.ndarray, "stays labels"]:
        """P(label wrong) where the method estimates it, else |corrected - observed|: a rank of suspicion."""
        told = self.fitted.error_probability
        return np.abs(self.fitted.corrected - self.pairs.observed) if told is None else told

    @property
    def rates(self) -> Rates:
        """Estimated noise rates: the method's, else those that the peer alone reads."""
        told = self.fitted.rates
        return self.fitted.method.setting.peer_reading.rates if told is None else told


DISPUTED = 0.5  # |corrected - observed| from here on means that the suggestion is not the record


def default_budget(pairs: int, review: ReviewConfig) -> int:
    """Pairs flagged where the user names no number: the share of the round's pairs, at least 1."""
    return max(1, round(review.budget_share * pairs))


def _place_in_label(label_in_order: np.ndarray) -> np.ndarray:
    """0, 1, 2 … for the pairs of each label, in the order given."""
    by_label = np.argsort(label_in_order, kind="stable")
    sorted_labels = label_in_order[by_label]
    places = np.empty(len(label_in_order), np.int64)
    places[by_label] = np.arange(len(label_in_order)) - np.searchsorted(sorted_labels, sorted_labels, side="left")
    return places


def by_turns(
    order: Int[np.ndarray, " chosen"],
    label: Int[np.ndarray, " pairs"],
    observed: UInt8[np.ndarray, " pairs"],
    disputed: Bool[np.ndarray, " pairs"],
    cap: int,
) -> Int[np.ndarray, " chosen"]:
    """Order pairs so that the two directions take turns: the first of each, the second of each, and so on.

    Only disputed pairs (whose suggestion is not their record) take turns, at most `cap` of a label and direction; where
    one direction has no more, the other goes on. All others follow in their old order.
    """
    turn = np.full(len(order), np.iinfo(np.int64).max)
    for value in (1, 0):
        places = np.flatnonzero(disputed[order] & (observed[order] == value))
        places = places[_place_in_label(label[order[places]]) < cap]
        turn[places] = np.arange(len(places))
    return order[np.lexsort((np.arange(len(order)), turn))]


def choose_flags(
    error: Float[np.ndarray, " pairs"],
    score: Float[np.ndarray, " pairs"],
    label: Int[np.ndarray, " pairs"],
    observed: UInt8[np.ndarray, " pairs"],
    candidate: Bool[np.ndarray, " pairs"],
    budget: int,
    review: ReviewConfig,
) -> Int[np.ndarray, " pairs"]:
    """Rank the pairs to be reviewed.

    Parameters
    ----------
    error, score
        Error probability, and the selection score that breaks its ties; high means suspect. What is still equal keeps
        the pairs' order.
    label, observed
        Label and recorded value of each pair.
    candidate
        Pairs that may be flagged.
    budget
        N.
    review
        One label takes at most floor(label_share · N) of them, but one at least; `balance` says whether the two
        directions take turns.

    Returns
    -------
    int32 array
        1..N in order of suspicion, 0 where not flagged.
    """
    ranks = np.zeros(len(error), np.int32)
    chosen = np.flatnonzero(candidate)
    order = chosen[np.lexsort((-score[chosen], -error[chosen]))]
    cap = max(1, int(review.label_share * budget + 1e-9))
    if review.balance == "direction":
        order = by_turns(order, label, observed, error >= DISPUTED, cap)
    flagged = order[_place_in_label(label[order]) < cap][: max(budget, 0)]
    ranks[flagged] = np.arange(1, len(flagged) + 1)
    return ranks


def pair_table(made: Round, budget: int) -> pa.Table:
    """Table ``pair``: every stated pair of training and test, sorted by label, partition and error probability."""
    pairs, packed, fitted = made.pairs, made.packed, made.fitted
    selection = fitted.selection
    rows, labels = np.nonzero(pairs.stated)
    observed = pairs.observed[rows, labels]
    corrected = fitted.corrected[rows, labels]
    error = made.error_probability[rows, labels]
    score = selection.score[rows, labels]
    partition = selection.partition[rows, labels]
    ranks = choose_flags(error, score, labels, observed, pairs.member[rows, labels], budget, made.config.review)
    by_name = np.argsort(np.argsort(PARTITIONS)).astype(np.uint8)  # place of each code's name in the alphabet
    order = np.lexsort((rows, -score, -error, by_name[partition], labels))
    rows, labels, observed, corrected, error, score, ranks, partition = (
        a[order] for a in (rows, labels, observed, corrected, error, score, ranks, partition)
    )
    silent = not fitted.method.trains_heads  # an untrained head says nothing
    fused, series, note = (fitted.probability[k][rows, labels] for k in range(3))
    of_test = np.asarray(packed.is_test)[rows]
    peer = fitted.traces.out_of_fold
    return pa.table(
        {
            "stay_id": pa.array(np.asarray(packed.stay_ids)[rows], pa.int64()),
            "patient_id": pa.array(np.asarray(packed.patient_ids)[rows], pa.int64()),
            "visit": pa.array(np.asarray(packed.visit)[rows], pa.int32()),
            "split": _words(("train", "test"), of_test),
            "label_id": pa.array(labels.astype(np.int16)),
            "observed": pa.array(observed),
            "given": pa.array(pairs.base[rows, labels]),
            "probability": pa.array(fused),
            "probability_series": pa.array(
                series, mask=silent | ~np.asarray(packed.has_series)[rows] | np.isnan(series)
            ),
            "probability_note": pa.array(note, mask=silent | ~np.asarray(packed.has_note)[rows] | np.isnan(note)),
            **({} if peer is None else {"probability_peer": pa.array(peer[rows, labels], pa.float32())}),
            "rank": pa.array(selection.rank[rows, labels], pa.int16()),
            "difficulty": pa.array(selection.difficulty[rows, labels], pa.float32()),
            "selection_score": pa.array(score, pa.float32()),
            "uncertainty": pa.array(selection.uncertainty[rows, labels], pa.float32()),
            "partition": _words(PARTITIONS, partition),
            "eligible": pa.array(fitted.eligible[rows, labels]),
            "corrected": pa.array(corrected, pa.float32()),
            "suggested": pa.array((corrected >= SUGGESTS_PRESENT).astype(np.uint8)),
            "flagged": pa.array(ranks > 0),
            "direction": _words(("false_negative", "false_positive"), observed),
            "error_probability": pa.array(error, pa.float32()),
            "suspicion_rank": pa.array(ranks, mask=ranks == 0),
            "history": _histories(fitted.traces.logits, rows, labels),
        }
    )


def _words(words: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    """Spell out each code."""
    return pa.array(words, pa.string()).take(pa.array(codes.astype(np.int32)))


def _histories(logits: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> pa.Array:
    """One binary value a pair: a byte an epoch, round(255·p)."""
    epochs = len(logits)
    body = np.empty((len(rows), epochs), np.uint8)
    for epoch, z in enumerate(logits):
        body[:, epoch] = np.rint(HISTORY_SCALE * expit(z[rows, labels].astype(np.float32)))
    offsets = np.arange(0, (len(rows) + 1) * epochs, epochs, dtype=np.int64)
    held = pa.Array.from_buffers(
        pa.large_binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(body.reshape(-1))]
    )
    return held.cast(pa.binary())


def label_table(made: Round) -> pa.Table:
    """Table ``label``: the label set, each label's observed prevalence, and estimated noise rates."""
    stated = made.pairs.stated
    prevalence = (made.pairs.observed * stated).sum(0) / np.maximum(stated.sum(0), 1)
    entries, rates = made.cohort.manifest["labels"], made.rates
    texts = {
        field: pa.array([str(entry.get(key, "")) for entry in entries], pa.string())
        for field, key in (
            ("label_key", "key"),
            ("name", "name"),
            ("description", "description"),
            ("persistence", "persistence"),
        )
    }
    return pa.table(
        {
            "label_id": pa.array(range(len(entries)), pa.int16()),
            **texts,
            "prevalence": pa.array(prevalence, pa.float64()),
            "rho_plus": _known(rates.rho_plus),
            "rho_minus": _known(rates.rho_minus),
        }
    )


def _known(figures: np.ndarray) -> pa.Array:
    """Figures as float64, empty where there is none (a group without a mixture)."""
    return pa.array(figures, pa.float64(), mask=~np.isfinite(figures))


def mixture_table(mixtures: Mixtures) -> pa.Table:
    """Table ``mixture``: one row a label and observed class; figures of a degenerate group may be empty."""
    labels, classes = np.indices(mixtures.n.shape)
    figures = (
        "mean_clean", "mean_noisy", "sd_clean", "sd_noisy", "weight_clean", "weight_noisy", "score_min", "score_max",
    )  # fmt: skip
    return pa.table(
        {
            "label_id": pa.array(labels.ravel(), pa.int16()),
            "observed_class": pa.array(classes.ravel(), pa.uint8()),
            "n": pa.array(mixtures.n.ravel(), pa.int64()),
            **{name: _known(getattr(mixtures, name).ravel()) for name in figures},
            "degenerate": pa.array(mixtures.degenerate.ravel().astype(bool)),
            "reason": pa.array(mixtures.reason.ravel().tolist(), pa.string()),
        }
    )


EPOCH = pa.schema(
    [
        ("epoch", pa.int32()),
        ("seconds", pa.float64()),
        ("learning_rate", pa.float64()),
        ("beta", pa.float64()),
        *((f"loss_{name}", pa.float64()) for name in (
            "total", "bce", "corrected", "ortho", "moe", "series_head", "note_head", "contrast",
        )),
        ("cross_visit_anchor_share", pa.float64()),
        *((f"n_{name}", pa.int64()) for name in PARTITIONS),
        *((f"test_{name}", pa.float64()) for name in ("map", "auroc_macro", "auroc_micro", "f1_micro", "f1_macro")),
    ]
)  # fmt: skip


def detector_table(made: Round) -> pa.Table:
    """Table ``detector_score``: training stays' stated pairs, a column for each detector, high is suspect."""
    rows, labels = np.nonzero(made.pairs.stated & made.pairs.training[:, None])
    found = scores(made.fitted.traces, config=made.config.detectors)
    return pa.table(
        {
            "stay_id": pa.array(np.asarray(made.packed.stay_ids)[rows], pa.int64()),
            "label_id": pa.array(labels.astype(np.int16)),
            **{name: pa.array(score[rows, labels], pa.float32()) for name, score in found.items()},
        }
    )


def harm_table(made: Round) -> pa.Table:
    """Table ``harm``: what the correction is expected to do, per label and direction (`core.correction.harm`).

    Whatever the preset: P(label wrong) is the method's own where it estimates one, else the peer's, which knows nothing
    of the correction. Pairs that people answered, surely or not, aren't counted: no correction moved them.
    """
    pairs, fitted, rates = made.pairs, made.fitted, made.fitted.rates
    unanswered = pairs.member & (pairs.base == pairs.observed)
    wrong = fitted.error_probability
    if wrong is not None:
        found = None if rates is None else noisy_groups(rates)
        return expected_harm(pairs.observed, fitted.corrected, wrong, unanswered, found)
    setting = fitted.method.setting
    reading = setting.peer_reading
    wrong = peer_posterior(made.packed, pairs, setting.observed_peer.logit, reading)
    return expected_harm(pairs.observed, fitted.corrected, wrong, unanswered, noisy_groups(reading.rates))
