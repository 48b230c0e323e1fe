"""Decisions teach P(label wrong): per observed class, what share of the read labels was wrong at which W."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from core.calibrated.posterior import log_odds
from core.hints import Bool, Float, Shaped


def recalibrated(
    wrong: Float[np.ndarray, "stays labels"],
    decided: Shaped[np.ndarray, "stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    locked: Bool[np.ndarray, "stays labels"],
    doubt_shift: float,
    doubt_steepness: float,
) -> Float[np.ndarray, "stays labels"]:
    """Fit P(wrong) = σ(α + β·logit W) to what people decided, in each observed class, and apply it to the class.

    The pairs that were read are those of high W, not a sample; given W, whether a pair was read says nothing more of
    its label, so that the fit holds where there are decisions, and leans on the prior α = 0, β = 1 elsewhere.

    Parameters
    ----------
    wrong
        W before, of every pair, the read ones too.
    decided
        Decided labels where locked, 0 or 1; not looked at elsewhere.
    observed, locked
        Recorded labels, and which pairs people decided.
    doubt_shift, doubt_steepness
        Deviations of the normal prior of α and of β.

    Returns
    -------
    ndarray
        float64; `wrong` itself in a class without decisions.
    """
    out = np.array(wrong, np.float64)
    for value in (0, 1):
        rows = locked & (observed == value)
        if not rows.any():
            continue
        odds = log_odds(wrong[rows])
        error = decided[rows] != observed[rows]

        def cost(ab: np.ndarray, odds: np.ndarray = odds, error: np.ndarray = error) -> float:
            z = ab[0] + ab[1] * odds
            fit = -float(np.where(error, log_expit(z), log_expit(-z)).sum())
            return fit + 0.5 * float((ab[0] / doubt_shift) ** 2 + ((ab[1] - 1) / doubt_steepness) ** 2)

        shift, steepness = minimize(cost, np.array([0.0, 1.0]), method="BFGS").x
        every = observed == value
        out[every] = expit(shift + max(steepness, 0.0) * log_odds(wrong[every]))
    return out
