"""MIRACL's score and its two parts, as detectors: what the last epoch's selection says."""

import numpy as np

from core.errors import RunError
from core.hints import Float
from core.selection.partition import Selection
from core.traces import Traces


def _selection(traces: Traces) -> Selection:
    if traces.selection is None:
        raise RunError("traces with a selection", "none", "train past the first epoch, or leave these detectors out")
    return traces.selection


def miracl_score(traces: Traces) -> Float[np.ndarray, "stays labels"]:
    """Z̃ of the last epoch, in [0, 1] within (label, class), as the preset defines it (Eq. 2, methods.md A.5)."""
    return np.asarray(_selection(traces).score, np.float32)


def oriented_rank(traces: Traces) -> Float[np.ndarray, "stays labels"]:
    """Orient the rank by class: r̂ = (R-1)/(L-1) where ỹ = 1, 1 - r̂ where ỹ = 0, in [0, 1] (methods.md A.6).

    Whatever `rank_mode` the preset has, so that high always means suspect.
    """
    labels = traces.observed.shape[1]
    place = (_selection(traces).rank.astype(np.float32) - 1) / np.float32(max(labels - 1, 1))
    return np.where(traces.observed != 0, place, 1 - place)


def difficulty(traces: Traces) -> Float[np.ndarray, "stays labels"]:
    """D = D_m - D_f of the preset's variant, in epochs (Eq. 1, methods.md A.4)."""
    return np.asarray(_selection(traces).difficulty, np.float32)
