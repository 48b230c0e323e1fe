"""Detectors by gradient: EL2N, the error of the prediction, and GraNd, the length of the loss's gradient."""

import numpy as np

from core.detectors.course import CourseConfig, doubt, mean_over, window
from core.hints import Float
from core.traces import Traces


def el2n(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """EL2N: mean over the early epochs of |p_t - ỹ|, in [0, 1] (methods.md C.13).

    Notes
    -----
    Its authors average over runs; here over epochs of one run. The √2 of the softmax form changes no order.
    """
    return mean_over(traces, doubt, window(traces.epochs, course.first, course.early_last))


def grand_last_layer(traces: Traces, course: CourseConfig) -> Float[np.ndarray, "stays labels"]:
    """GraNd of the last layer: mean over the window of ‖∂BCE/∂(w, b)‖ = |p_t - ỹ|·‖[f_t; 1]‖, ≥ 0 (methods.md C.13).

    Notes
    -----
    The gradient with respect to one label's row of the last layer; the layers below are left out.
    """
    epochs = window(traces.epochs, course.first, course.last)
    return mean_over(traces, doubt, epochs, traces.feature_norm)
