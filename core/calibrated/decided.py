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
    doubt: float,
    reach: float,
) -> Float[np.ndarray, "stays labels"]:
    """Fit P(wrong) = σ(z + f(z)), z = logit W, to what people decided, and apply it, in each observed class.

    f is linear between knots of z, `reach` apart, and its value at each has the prior N(0, doubt²) of its own: it
    moves W where pairs were read, and is 0 elsewhere. The pairs that were read are those of high W, not a sample;
    given W, whether a pair was read says nothing more of its label, so that the fit holds where there are decisions,
    and nothing that holds there is carried to where there are none. W keeps its order.

    Parameters
    ----------
    wrong
        W before, of every pair, the read ones too.
    decided
        Decided labels where locked, 0 or 1; not looked at elsewhere.
    observed, locked
        Recorded labels, and which pairs people decided.
    doubt
        Deviation of the prior of f, log-odds.
    reach
        Distance of the knots, log-odds.

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
        every = observed == value
        z = log_odds(wrong[every])
        knots = reach * np.arange(np.floor(z.min() / reach), np.ceil(z.max() / reach) + 1)
        levels = knots + _moves(log_odds(wrong[rows]), decided[rows] != observed[rows], knots, doubt, reach)
        out[every] = expit(np.interp(z, knots, np.maximum.accumulate(levels)))
    return out


def _moves(
    z: Float[np.ndarray, " read"], error: Bool[np.ndarray, " read"], knots: Float[np.ndarray, " knots"],
    doubt: float, reach: float,
) -> Float[np.ndarray, " knots"]:  # fmt: skip
    """Values of f at the knots: the mode of its posterior. Knots that no read pair lies beside keep the prior's 0."""
    place = np.clip((z - knots[0]) / reach, 0, len(knots) - 1)
    below = np.minimum(place.astype(np.int64), max(len(knots) - 2, 0))
    above = np.minimum(below + 1, len(knots) - 1)
    share = place - below

    def cost(f: np.ndarray) -> tuple[float, np.ndarray]:
        moved = z + (1 - share) * f[below] + share * f[above]
        slope = expit(moved) - error
        pull = np.bincount(below, (1 - share) * slope, len(knots)) + np.bincount(above, share * slope, len(knots))
        fit = -float(np.where(error, log_expit(moved), log_expit(-moved)).sum())
        return fit + 0.5 * float(((f / doubt) ** 2).sum()), pull + f / doubt**2

    return np.asarray(minimize(cost, np.zeros(len(knots)), jac=True, method="L-BFGS-B").x)
