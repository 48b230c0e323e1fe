"""Detectors by margin: AUM, LiNC's accumulator, MILD's count."""

from dataclasses import dataclass

import numpy as np

from core.detectors.course import CourseConfig, Margins, doubt, mean_over, sum_over, window
from core.hints import Float
from core.options import check_options, sourced
from core.traces import Traces


@dataclass(frozen=True)
class AccumulatorConfig:
    """Options of LiNC's detector score.

    Parameters
    ----------
    epochs
        Warm-up epochs w over which the gradients of the trust are added up.
    """

    epochs: int = sourced(10, "methods.md C.9: w of the official code", 1, 100_000)

    def __post_init__(self) -> None:
        check_options(self)


def area_under_margin(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """AUM turned so that high is suspect: -mean_t s·z_t, in logits (methods.md C.13)."""
    return mean_over(traces, np.negative, window(traces.epochs, course.first, course.last))


def trust_gradient(margin: Margins) -> Margins:
    """Gradient of the trust, ∂BCE/∂α = (p - ỹ)·z = -σ(-m)·m: above 0 where the prediction opposes the record (C.9)."""
    return np.asarray(-doubt(margin) * margin)


def linc(traces: Traces, config: AccumulatorConfig) -> Float[np.ndarray, "stays labels"]:
    """LiNC's accumulator A = Σ_t (p_t - ỹ)·z_t over the warm-up, never clipped (methods.md C.9, C.13).

    Notes
    -----
    Nearly in proportion to the fall of the trust α where nothing is clipped (the decay of α apart). Clipped at 1, as
    targets need it, α ties all records that the network agrees with and loses the order among negatives.
    """
    return sum_over(traces, trust_gradient, window(traces.epochs, 1, config.epochs))


def mild(traces: Traces) -> Float[np.ndarray, "stays labels"]:
    """MILD: epochs predicted wrongly less epochs predicted rightly, over all epochs, in [-t, t] (methods.md C.13).

    Notes
    -----
    As `LearningDynamics.difficulty("total_seg")`: p = ½ exactly counts as predicted absent.
    """
    positive = traces.observed != 0
    wrong = np.zeros(positive.shape, np.int32)
    epochs = window(traces.epochs, 1, None)
    for epoch in epochs:
        wrong += (traces.logits[epoch] > 0) != positive
    return (2 * wrong - len(epochs)).astype(np.float32)
