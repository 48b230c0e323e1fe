"""Did the correction do harm? Right labels before and after it, where the truth is known.

What can be said without the truth stands in `core.correction.harm` and is offered here too.
"""

from dataclasses import dataclass

import numpy as np

from core.correction.harm import CROSSING, expected_harm, harmful_groups, leave_alone
from core.hints import Bool, Float, UInt8

__all__ = ["AccuracyChange", "expected_harm", "handed_out", "harmful_groups", "label_accuracy", "leave_alone"]


@dataclass(frozen=True)
class AccuracyChange:
    """Labels that agree with the truth before and after a correction, among the pairs of one observed class.

    Parameters
    ----------
    observed_class
        ``positive``, ``negative`` or ``pooled``.
    pairs, changed
        Pairs, and those whose label the correction turned round.
    before, after
        Share of right labels, 0–1; NaN without pairs.
    better, worse
        Wrong ones put right, and right ones put wrong.
    soft_before, soft_after
        Mean (label - truth)² before, and of the corrected label as it stands, 0–1.
    """

    observed_class: str
    pairs: int
    changed: int
    before: float
    after: float
    better: int
    worse: int
    soft_before: float
    soft_after: float


def handed_out(
    observed: UInt8[np.ndarray, "stays labels"], corrected: Float[np.ndarray, "stays labels"]
) -> UInt8[np.ndarray, "stays labels"]:
    """Round corrected labels to 0 or 1, uint8; where one lies just between, the record stands."""
    turned = np.abs(corrected - observed) > CROSSING
    return np.asarray(np.where(turned, observed == 0, observed != 0), np.uint8)


def label_accuracy(
    observed: UInt8[np.ndarray, "stays labels"],
    corrected: Float[np.ndarray, "stays labels"],
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> dict[str, AccuracyChange]:
    """Count right labels before and after a correction, where the truth is known.

    Returns
    -------
    dict
        Keys ``positive``, ``negative`` (observed class), ``pooled``.
    """
    changed = handed_out(observed, corrected) != observed
    wrong = observed != truth
    told = {}
    for name, group in (
        ("positive", member & (observed != 0)),
        ("negative", member & (observed == 0)),
        ("pooled", member),
    ):
        pairs = int(group.sum())
        better, worse = int((group & changed & wrong).sum()), int((group & changed & ~wrong).sum())
        right = int((group & ~wrong).sum())
        share = 1 / pairs if pairs else float("nan")
        soft = (corrected[group].astype(np.float64) - truth[group]) ** 2
        told[name] = AccuracyChange(
            observed_class=name,
            pairs=pairs,
            changed=better + worse,
            before=right * share,
            after=(right + better - worse) * share,
            better=better,
            worse=worse,
            soft_before=(pairs - right) * share,
            soft_after=float(soft.mean()) if pairs else float("nan"),
        )
    return told
