"""What training leaves behind: the course of every pair's logit, and where each stay lies in the last layer's input.

Everything that detectors and estimates of noise read. It holds observed labels alone, never the truth.
"""

from dataclasses import dataclass

import numpy as np

from core.hints import Bool, Float, Int, UInt8
from core.selection.partition import Selection

LOGIT_LIMIT = 30.0
"""Logits are kept within ±30 (p within 1e-13 of 0 or 1), so that half precision holds them."""


@dataclass(frozen=True)
class Traces:
    """The course of training, a row for every stay of the cohort.

    Parameters
    ----------
    logits
        float16 [t, stays, labels], z of each epoch so far: of the training pass where the stay is trained on (dropout
        on, weights moving), of evaluation mode for test stays.
    feature_norm
        float32 [t, stays], ‖[f;1]‖ of the last layer's input f.
    embedding
        float32 [stays, width], f of the last epoch.
    observed
        uint8 [stays, labels], recorded labels.
    member
        bool [stays, labels]: stated, of a training stay, not locked; what is fitted is fitted on these.
    stated
        bool [stays, labels].
    patient, visit
        int64, int32 [stays].
    persistence
        ``lifelong``, ``recurrent`` or ``acute``, per label.
    out_of_fold
        float32 [stays, labels], probability of the peer (`core.peer`) in patient-grouped folds; None if it wasn't
        asked for.
    selection
        The last epoch's scores and mixtures (`core.selection`); None before there is one.
    """

    logits: Float[np.ndarray, "epochs stays labels"]
    feature_norm: Float[np.ndarray, "epochs stays"]
    embedding: Float[np.ndarray, "stays width"]
    observed: UInt8[np.ndarray, "stays labels"]
    member: Bool[np.ndarray, "stays labels"]
    stated: Bool[np.ndarray, "stays labels"]
    patient: Int[np.ndarray, " stays"]
    visit: Int[np.ndarray, " stays"]
    persistence: tuple[str, ...]
    out_of_fold: Float[np.ndarray, "stays labels"] | None = None
    selection: Selection | None = None

    @property
    def epochs(self) -> int:
        """Epochs so far."""
        return len(self.logits)
