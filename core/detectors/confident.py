"""Confident learning, one label against the rest, on out-of-fold probabilities (methods.md C.12).

For every label: how many records of each value are wrong, counted from the pairs that are confidently of one value and
recorded as the other; then that many, the least probable ones, are called wrong.
"""

from dataclasses import dataclass

import numpy as np

from core.errors import RunError
from core.hints import Bool, Float, Int, UInt8
from core.options import check_options, sourced
from core.selection.groups import by_class
from core.traces import Traces

NEARLY = 1e-6
"""Probabilities this close count as equal."""
THRESHOLD_FLOOR = 2 * NEARLY
"""A threshold is at least this, so that not every pair is confident of a value with probability 0."""


@dataclass(frozen=True)
class ConfidentConfig:
    """Options of confident learning.

    Parameters
    ----------
    keep
        Pairs of each label and observed class that are never called wrong.
    """

    keep: int = sourced(1, "methods.md C.12: the package's default", 0, 1_000_000)

    def __post_init__(self) -> None:
        check_options(self)


def confident_thresholds(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Float[np.ndarray, "labels 2"]:
    """τ_c: mean probability of value c over the pairs recorded as c; infinite where there are none.

    Returns
    -------
    ndarray
        float64, labels × class (0, 1).
    """
    p = probability.astype(np.float64)
    levels = []
    for value, own in ((0, 1 - p), (1, p)):
        group = member & (observed == value)
        count = group.sum(axis=0)
        mean = np.where(group, own, 0.0).sum(axis=0) / np.maximum(count, 1)
        levels.append(np.where(count > 0, np.maximum(mean, THRESHOLD_FLOOR), np.inf))
    return np.asarray(np.stack(levels, axis=1))


def confident_joint(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Int[np.ndarray, "labels 2 2"]:
    """Estimate how many pairs are recorded as c and truly j, so that rows add up to the recorded counts.

    A pair is confidently j when p(j) ≥ τ_j; of both, the more probable (of equal ones, 0). Counts of confident pairs
    are scaled to all of the row and rounded. Each diagonal counts at least one pair.

    Returns
    -------
    ndarray
        int64, labels × observed class × true class.
    """
    p = probability.astype(np.float64)
    limit = confident_thresholds(probability, observed, member) - NEARLY
    absent, present = (1 - p) >= limit[:, 0], p >= limit[:, 1]
    truly_present = present & (~absent | (p > 1 - p))
    told = member & (absent | present)
    counts = np.empty((observed.shape[1], 2, 2), np.int64)
    rows = np.empty((observed.shape[1], 2), np.int64)
    for value in (0, 1):
        group = observed == value
        rows[:, value] = (member & group).sum(axis=0)
        counts[:, value, 1] = (told & group & truly_present).sum(axis=0)
        counts[:, value, 0] = (told & group & ~truly_present).sum(axis=0)
        counts[:, value, value] = np.maximum(counts[:, value, value], 1)
    scaled = counts / counts.sum(axis=2, keepdims=True) * rows[:, :, None]
    whole = np.rint(scaled).astype(np.int64)
    short = rows - whole.sum(axis=2)  # two halves both rounded the same way: one of them gives way
    whole[:, :, 1] += short == 1
    whole[:, :, 0] -= short == -1
    return np.asarray(whole)


def wrong_counts(joint: Int[np.ndarray, "labels 2 2"], keep: int) -> Int[np.ndarray, "labels 2"]:
    """Pairs of each label and observed class to be called wrong: the off-diagonal, less what has to be kept."""
    wrong, right = np.stack((joint[:, 0, 1], joint[:, 1, 0]), axis=1), np.diagonal(joint, axis1=1, axis2=2)
    return np.asarray(np.maximum(wrong - np.maximum(keep - right, 0), 0))


def pruning_cuts(
    doubt: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    counts: Int[np.ndarray, "labels 2"],
    keep: int,
) -> Float[np.ndarray, "labels 2"]:
    """Doubt of the last pair that is called wrong, per label and observed class; infinite where none is.

    Parameters
    ----------
    doubt
        1 - p_y.
    observed, member
        Recorded labels, and the pairs that count.
    counts
        See `wrong_counts`.
    keep
        Groups of no more pairs than this are left alone.
    """
    cuts = np.full(counts.shape, np.inf)
    for label in range(len(counts)):
        for value in (0, 1):
            group = doubt[member[:, label] & (observed[:, label] == value), label]
            wrong = int(counts[label, value])
            if wrong and len(group) > keep:
                cuts[label, value] = np.partition(group, len(group) - wrong)[len(group) - wrong]
    return cuts


def pruned(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: ConfidentConfig = ConfidentConfig(),
) -> Bool[np.ndarray, "stays labels"]:
    """Pairs called wrong: by noise rate, and none whose record is the more probable value.

    Parameters
    ----------
    probability
        Out of sample.
    observed
        Recorded labels.
    member
        Pairs that thresholds and counts come from; the others are held against the same cuts.
    config
        Options.

    Notes
    -----
    Pairs of equal doubt at the cut are all called wrong, where the package takes as many of them as it counted.
    """
    doubt = np.abs(probability.astype(np.float64) - (observed != 0))
    counts = wrong_counts(confident_joint(probability, observed, member), config.keep)
    cuts = pruning_cuts(doubt, observed, member, counts, config.keep)
    return np.asarray((doubt >= by_class(observed, cuts)) & (doubt > 1 - doubt + NEARLY))


def confident_learning(traces: Traces, config: ConfidentConfig) -> Float[np.ndarray, "stays labels"]:
    """½·[called wrong] + ½·(1 - p_y), in [0, 1]: pairs called wrong first, each part by self-confidence (C.12).

    Raises
    ------
    RunError
        If the traces hold no out-of-fold probability.
    """
    if traces.out_of_fold is None:
        raise RunError("out-of-fold probabilities", "none", "train with the peer, or leave confident_learning out")
    doubt = np.abs(traces.out_of_fold - (traces.observed != 0).astype(np.float32))
    called = pruned(traces.out_of_fold, traces.observed, traces.member, config)
    return np.asarray(0.5 * called + 0.5 * doubt, np.float32)
