"""Do no harm: what a correction is expected to make better and worse, per label and direction.

Nothing here knows the truth: each change is weighed with P(label wrong). Where the truth is known, `core.metrics.harm`
counts. A direction is what the record would be wrong in: ``false_positive`` (recorded present) and ``false_negative``
(recorded absent), as in a round's files.

With m = |corrected - observed| and W = P(label wrong), the corrected label is m away from the truth of a right record
and 1 - m from that of a wrong one, so that a pair's expected squared error goes from W to W + m·(m - 2W): turning a
label round helps where W > ½, softening it by m where W > m/2, and m = W is the best there is. The absolute error would
call every softening below W = ½ a harm, however well founded.
"""

import numpy as np
import pyarrow as pa

from core.errors import ConfigError
from core.hints import Bool, Float, Shaped, UInt8

DIRECTIONS = ("false_negative", "false_positive")
"""By observed class: column 0 of a [labels, 2] array, column 1."""

CROSSING = 0.5
"""A correction that moves a label by more than this changes it."""

NOTHING = 1e-6
"""Movements of a label up to this size are rounding."""

ONE_LABEL = 1.0
"""A group with fewer expected errors than this is one in which no noise was found, where nobody says otherwise."""


def expected_harm(
    observed: UInt8[np.ndarray, "stays labels"],
    corrected: Float[np.ndarray, "stays labels"],
    error_probability: Float[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    found: Bool[np.ndarray, "labels classes"] | None = None,
) -> pa.Table:
    """Tell what a correction is expected to do, without the truth.

    Parameters
    ----------
    observed
        Recorded labels, 0 or 1.
    corrected
        Corrected labels, 0–1.
    error_probability
        P(label wrong), 0–1.
    member
        Pairs that may be corrected.
    found
        Whether noise was found in a label's group, [labels, 2]: column 0 recorded absent, 1 recorded present.

    Returns
    -------
    pyarrow.Table
        Two rows a label: label_id, direction; pairs; changed (moved by more than ½); expected_better = Σ W and
        expected_worse = Σ (1 - W) over changed pairs; expected_error_before = Σ W and expected_error_after =
        Σ W + m·(m - 2W) over all, squared errors; left_alone (nothing moved); reason, in words.

    Raises
    ------
    ConfigError
        When shapes differ, or a probability lies outside [0, 1].
    """
    groups = _sums(observed, corrected, error_probability, member)
    labels = observed.shape[1]
    still = groups["moved"] == 0
    quiet = groups["before"] < ONE_LABEL if found is None else ~found
    reasons = [
        _reason(bool(still[k, c]), groups, k, c, bool(quiet[k, c]), found is not None)
        for k in range(labels)
        for c in (1, 0)
    ]
    flat = {name: values[:, ::-1].ravel() for name, values in groups.items()}
    return pa.table(
        {
            "label_id": pa.array(np.repeat(np.arange(labels), 2), pa.int16()),
            "direction": pa.array([DIRECTIONS[1], DIRECTIONS[0]] * labels, pa.string()),
            "pairs": pa.array(flat["pairs"].astype(np.int64)),
            "changed": pa.array(flat["changed"].astype(np.int64)),
            "expected_better": pa.array(flat["better"]),
            "expected_worse": pa.array(flat["worse"]),
            "expected_error_before": pa.array(flat["before"]),
            "expected_error_after": pa.array(flat["after"]),
            "left_alone": pa.array(still[:, ::-1].ravel()),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def harmful_groups(
    observed: UInt8[np.ndarray, "stays labels"],
    corrected: Float[np.ndarray, "stays labels"],
    error_probability: Float[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Bool[np.ndarray, "labels classes"]:
    """Find the groups [labels, 2] in which the correction is expected to do more harm than good.

    Those whose changed labels are more likely right than wrong in the sum, or whose expected error grows.
    """
    groups = _sums(observed, corrected, error_probability, member)
    return np.asarray((groups["worse"] > groups["better"]) | (groups["after"] > groups["before"] * (1 + NOTHING)))


def leave_alone(
    observed: UInt8[np.ndarray, "stays labels"],
    corrected: Float[np.ndarray, "stays labels"],
    groups: Bool[np.ndarray, "labels classes"],
    member: Bool[np.ndarray, "stays labels"],
) -> Float[np.ndarray, "stays labels"]:
    """Give the pairs of these groups their recorded label back; others, and pairs that are no members, stay."""
    back = np.where(observed != 0, groups[:, 1], groups[:, 0]) & member
    return np.asarray(np.where(back, observed, corrected), np.float32)


def _sums(
    observed: np.ndarray, corrected: np.ndarray, error_probability: np.ndarray, member: np.ndarray
) -> dict[str, Shaped[np.ndarray, "labels classes"]]:
    """Sum over the pairs of each group, float64 [labels, 2]."""
    shapes = {array.shape for array in (observed, corrected, error_probability, member)}
    if len(shapes) > 1:
        raise ConfigError("labels, correction and probabilities of one shape", f"{len(shapes)} shapes", "match them")
    w = error_probability.astype(np.float64)
    if not ((w[member] >= 0) & (w[member] <= 1)).all():
        raise ConfigError("P(label wrong) in [0, 1] for every member", "others", "give probabilities, not scores")
    moved = np.abs(corrected.astype(np.float64) - observed)
    changed = moved > CROSSING
    parts = {
        "pairs": np.ones_like(w),
        "moved": (moved > NOTHING).astype(np.float64),
        "changed": changed.astype(np.float64),
        "better": changed * w,
        "worse": changed * (1 - w),
        "before": w,
        "after": w + moved * (moved - 2 * w),
    }
    classes = (member & (observed == 0), member & (observed != 0))
    return {
        name: np.stack([np.where(group, values, 0).sum(0) for group in classes], axis=1)
        for name, values in parts.items()
    }


def _reason(still: bool, groups: dict[str, np.ndarray], label: int, c: int, quiet: bool, told: bool) -> str:
    """Why a group was left alone, or what is to be hoped or feared of its correction."""
    if groups["pairs"][label, c] == 0:
        return "no pairs"
    if still:
        return "no noise found" if quiet else "no label moved"
    worse = groups["worse"][label, c] > groups["better"][label, c]
    if worse or groups["after"][label, c] > groups["before"][label, c]:
        return "more harm than good expected"
    if quiet and told:
        return "corrected although no noise was found"
    return "more good than harm expected" if groups["changed"][label, c] else "labels softened, none turned round"
