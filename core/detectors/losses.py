"""Detectors by loss: a record that the network finds improbable is suspect (small-loss criterion, CNLCU-S)."""

import math
from dataclasses import dataclass

import numpy as np

from core.detectors.course import CourseConfig, Margins, mean_over, surprise, window
from core.hints import Float
from core.options import check_options, sourced
from core.traces import Traces


@dataclass(frozen=True)
class CnlcuConfig:
    """Options of CNLCU-S.

    Parameters
    ----------
    variance
        σ², the variance that a pair's losses are taken to have.
    """

    variance: float = sourced(1e-4, "methods.md C.13", 0, 0.99)

    def __post_init__(self) -> None:
        check_options(self)


def mean_loss(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """Small loss: mean over the window of the cross-entropy, in nats, ≥ 0 (methods.md C.13)."""
    return mean_over(traces, surprise, window(traces.epochs, course.first, course.last))


def last_loss(traces: Traces) -> Float[np.ndarray, "stays labels"]:
    """Cross-entropy at the newest epoch, in nats, ≥ 0."""
    return mean_over(traces, surprise, window(traces.epochs, traces.epochs, None))


def soft_truncation(loss: Margins) -> Margins:
    """ψ(ℓ) = ln(1 + ℓ + ℓ²/2): grows as ℓ near 0 and as 2·ln ℓ far out, so that one wild epoch counts little."""
    return np.asarray(np.log1p(loss + loss * loss / 2))


def cnlcu_bonus(epochs: int, selected: int, variance: float) -> float:
    """σ²(t + σ² ln(2t)/t²)/(n - σ²): how far the lower bound lies below the mean after t epochs, n of them selected."""
    t = float(epochs)
    return variance * (t + variance * math.log(2 * t) / t**2) / (selected - variance)


def cnlcu_soft(traces: Traces, course: CourseConfig, config: CnlcuConfig) -> Float[np.ndarray, "stays labels"]:
    """CNLCU-S: lower confidence bound of the robust mean loss, mean_t ψ(ℓ_t) less the bonus (methods.md C.13).

    Notes
    -----
    Nothing is discarded during training here, so that every pair is selected in every epoch, n = t, and the bonus is
    the same for all: the order is that of the robust mean.
    """
    epochs = window(traces.epochs, course.first, course.last)
    robust = mean_over(traces, lambda margin: soft_truncation(surprise(margin)), epochs)
    robust -= np.float32(cnlcu_bonus(len(epochs), len(epochs), config.variance))
    return robust
