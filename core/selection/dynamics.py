"""Learning dynamics: how long each pair was predicted wrongly and rightly, counted as the epochs go by.

A pair is *right* at epoch t when its probability lies on the observed label's side of the threshold. A *run* is a
maximal stretch of epochs of the same kind. Only counters are kept (six bytes a pair), never the N×L×T history.
"""

from typing import Literal

import numpy as np

from core.errors import ConfigError, RunError
from core.hints import Bool, Float, UInt8

Variant = Literal["mean_seg", "total_seg", "events"]
VARIANTS: tuple[Variant, ...] = ("mean_seg", "total_seg", "events")
HALF = 0.5
"""Threshold of a right prediction (paper and released code), a probability."""


def label_prevalence(
    observed: UInt8[np.ndarray, "stays labels"], member: Bool[np.ndarray, "stays labels"]
) -> Float[np.ndarray, " labels"]:
    """Share of observed positives per label among the pairs that take part; .5 for a label without any.

    The threshold of `correct_threshold="label_prevalence"` (methods.md A.4): with .5 a rare positive is almost never
    predicted rightly early on, so its difficulty hardly varies.
    """
    count = member.sum(axis=0)
    positives = (member & (observed != 0)).sum(axis=0)
    share = np.where(count > 0, positives / np.maximum(count, 1), HALF)
    return share.astype(np.float32)


def correct_predictions(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    threshold: float | Float[np.ndarray, " labels"] = HALF,
) -> Bool[np.ndarray, "stays labels"]:
    """Tell which pairs are predicted as observed: c_t = [(p > threshold) = ỹ] (methods.md A.4)."""
    limit = np.asarray(threshold, dtype=probability.dtype)
    right: np.ndarray = (probability > limit) == (observed != 0)
    return right


class LearningDynamics:
    """Counters behind D = D_m - D_f (Eq. 1 and its two other readings), updated once an epoch.

    Runs of right and wrong epochs alternate, so four quantities give every counter of methods.md A.4: with t epochs,
    n_right = t - n_wrong, s_wrong = (runs + [first wrong]) // 2, s_right = (runs + [first right]) // 2, and the event
    counts telescope to last - first.

    Parameters
    ----------
    shape
        Stays × labels. Membership of groups plays no part here: test stays are counted as training stays are.
    lag
        0: difficulty includes the newest epoch. 1: it leaves it out, as the released code does (A.11 row 8).
    """

    def __init__(self, shape: tuple[int, int], lag: int = 0) -> None:
        if lag not in (0, 1):
            raise ConfigError("dynamics_lag 0 or 1", str(lag), "set dynamics_lag to 0 or 1")
        self.shape = shape
        self.lag = lag
        self.epochs = 0
        self._n_wrong = np.zeros(shape, np.uint16)
        self._runs = np.zeros(shape, np.uint16)
        self._first = np.zeros(shape, np.bool_)
        self._last = np.zeros(shape, np.bool_)
        self._waiting = np.zeros(shape if lag else (0, 0), np.bool_)

    @property
    def counted(self) -> int:
        """Epochs that `difficulty` uses: those seen, less the lag."""
        return max(self.epochs - self.lag, 0)

    def update(self, correct: Bool[np.ndarray, "stays labels"]) -> None:
        """Count one epoch in which `correct` pairs were predicted as observed."""
        if correct.shape != self.shape:
            raise RunError(
                f"predictions of {self.shape[0]} stays × {self.shape[1]} labels",
                f"{correct.shape}",
                "build the dynamics for the cohort that is trained on",
            )
        self.epochs += 1
        if self.lag == 0:
            self._count(correct)
            return
        if self.epochs > 1:
            self._count(self._waiting)
        self._waiting = correct.copy()

    def _count(self, correct: np.ndarray) -> None:
        if self.counted == 1:
            self._first[:] = correct
            self._runs[:] = 1
        else:
            np.add(self._runs, (correct ^ self._last).view(np.uint8), out=self._runs)
        np.add(self._n_wrong, (~correct).view(np.uint8), out=self._n_wrong)
        self._last[:] = correct

    def difficulty(self, variant: Variant = "mean_seg") -> Float[np.ndarray, "stays labels"]:
        """D = D_m - D_f per pair, high when the pair was hard to learn as observed.

        Parameters
        ----------
        variant
            `mean_seg` [released code]: mean length of wrong runs - mean length of right runs, in [-t, t];
            `total_seg` [MILD, the source that the paper cites]: wrong epochs - right epochs, in [-t, t];
            `events` [paper, Eq. 1]: wrong→right changes - right→wrong changes, which telescopes to
            last - first ∈ {-1, 0, 1} (A.11 row 2).

        Returns
        -------
        ndarray
            float32, stays × labels; zeros before any epoch is counted.
        """
        if variant not in VARIANTS:
            raise ConfigError(f"a difficulty variant out of {', '.join(VARIANTS)}", repr(variant), "choose one of them")
        t = self.counted
        if t == 0:
            return np.zeros(self.shape, np.float32)
        if variant == "events":
            return np.subtract(self._last.view(np.int8), self._first.view(np.int8)).astype(np.float32)
        if variant == "total_seg":
            return (2 * self._n_wrong.astype(np.int32) - t).astype(np.float32)
        return self._mean_segments(t)

    def _mean_segments(self, t: int) -> np.ndarray:
        """Look D up by (wrong epochs, runs, first kind): a table of at most 2·(t+1)² entries instead of divisions."""
        side = t + 1
        n_wrong = np.arange(side, dtype=np.float64)[:, None, None]
        runs = np.arange(side)[None, :, None]
        first_right = np.arange(2)[None, None, :]
        wrong_runs = np.maximum((runs + 1 - first_right) // 2, 1)
        right_runs = np.maximum((runs + first_right) // 2, 1)
        table = (n_wrong / wrong_runs - (t - n_wrong) / right_runs).astype(np.float32).ravel()
        key = self._n_wrong.astype(np.int32)
        key *= side
        key += self._runs
        key *= 2
        key += self._first.view(np.uint8)
        found: np.ndarray = table.take(key, mode="clip")
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on exactly where this stands, as arrays (safe for np.savez and torch.save)."""
        return {
            "epochs": np.array(self.epochs, np.int64),
            "lag": np.array(self.lag, np.int64),
            "n_wrong": self._n_wrong.copy(),
            "runs": self._runs.copy(),
            "first": self._first.copy(),
            "last": self._last.copy(),
            "waiting": self._waiting.copy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over the counters of `state_dict`; the shape and the lag have to be this object's own."""
        came = (tuple(state["n_wrong"].shape), int(state["lag"]))
        if came != (self.shape, self.lag):
            raise RunError(
                f"dynamics of shape {self.shape} and lag {self.lag}",
                f"shape {came[0]} and lag {came[1]}",
                "resume with the cohort and options that the run began with",
            )
        self.epochs = int(state["epochs"])
        self._n_wrong = np.array(state["n_wrong"], np.uint16)
        self._runs = np.array(state["runs"], np.uint16)
        self._first = np.array(state["first"], np.bool_)
        self._last = np.array(state["last"], np.bool_)
        self._waiting = np.array(state["waiting"], np.bool_)
