"""Detectors by data maps: confidence and variability (DataMaps), aleatoric uncertainty (Data-IQ)."""

import numpy as np

from core.detectors.course import CourseConfig, Margins, doubt, half_table, margin_bits, mean_over, window
from core.hints import Float
from core.traces import Traces


def confidence(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """DataMaps' confidence turned so that high is suspect: 1 - mean_t p_y, in [0, 1] (methods.md C.13).

    Notes
    -----
    C.13's -mean_t p_y, plus 1: in single precision the differences between very confident pairs would be lost without.
    """
    return mean_over(traces, doubt, window(traces.epochs, course.first, course.last))


def variability(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """DataMaps' variability: standard deviation over the window of p_y (ddof 0), in [0, ½].

    No noise score by itself: high where the network changed its mind, which ambiguous records do as well.
    """
    table = half_table(doubt).astype(np.float64)
    epochs = window(traces.epochs, course.first, course.last)
    total, squares = (np.zeros(traces.observed.shape) for _ in range(2))
    for bits in margin_bits(traces, epochs):
        value = table.take(bits)
        total += value
        squares += value * value
    variance = squares / len(epochs) - (total / len(epochs)) ** 2
    return np.sqrt(np.maximum(variance, 0.0)).astype(np.float32)


def _ambiguity(margin: Margins) -> Margins:
    return np.asarray(doubt(margin) * doubt(-margin))


def aleatoric(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """Data-IQ's aleatoric uncertainty: mean over the window of p_y(1 - p_y), in [0, ¼]. No noise score by itself."""
    return mean_over(traces, _ambiguity, window(traces.epochs, course.first, course.last))


def data_iq(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """Data-IQ as one number: (1 - confidence) - aleatoric = mean_t (1 - p_y)², in [0, 1].

    Notes
    -----
    Data-IQ calls a record wrong where confidence and aleatoric uncertainty are both low, and gives two thresholds, no
    score. Subtracting the one from the other with weight 1 makes it one, the pair's mean Brier score, since
    (1 - p_y) - p_y(1 - p_y) = (1 - p_y)². The weight is ours.
    """
    return mean_over(traces, lambda margin: doubt(margin) ** 2, window(traces.epochs, course.first, course.last))
