"""Decisions teach P(label wrong): per observed class, what share of the read labels was wrong at which W."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from core.calibrated.posterior import log_odds
from core.hints import Bool, Float, Shaped

EVERYWHERE = 0.2
"""By how much decisions may well move all log-odds of a class at once (deviation of the prior): noise rates read from
anchors are off by a tenth or two."""


def recalibrated(
    wrong: Float[np.ndarray, "stays labels"],
    decided: Shaped[np.ndarray, "stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    locked: Bool[np.ndarray, "stays labels"],
    doubt: float,
    reach: float,
) -> Float[np.ndarray, "stays labels"]:
    """Fit P(wrong) = σ(z + f(z)), z = logit W, to what people decided, and apply it, in each observed class.

    f is a shift with the prior N(0, `EVERYWHERE`²) and, on top of it, linear between knots of z, `reach` apart, whose
    values have the prior N(0, doubt²) each: it follows the decisions where pairs were read, and little of that, the
    shift, is carried to where there are none. The pairs that were read are those of high W, not a sample; given W,
    whether a pair was read says nothing more of its label, provided that W was made without its decision. W keeps its
    order.

    Parameters
    ----------
    wrong
        W before, of every pair, the read ones too, and of those as if they had not been read.
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
    """Values of f at the knots: the mode of its posterior. Knots that no read pair lies beside have the shift alone."""
    place = np.clip((z - knots[0]) / reach, 0, len(knots) - 1)
    below = np.minimum(place.astype(np.int64), max(len(knots) - 2, 0))
    above = np.minimum(below + 1, len(knots) - 1)
    share = place - below

    def cost(f: np.ndarray) -> tuple[float, np.ndarray]:
        shift, own = f[0], f[1:]
        moved = z + shift + (1 - share) * own[below] + share * own[above]
        slope = expit(moved) - error
        pull = np.bincount(below, (1 - share) * slope, len(knots)) + np.bincount(above, share * slope, len(knots))
        fit = -float(np.where(error, log_expit(moved), log_expit(-moved)).sum())
        prior = (shift / EVERYWHERE) ** 2 + float(((own / doubt) ** 2).sum())
        return fit + 0.5 * prior, np.concatenate(([slope.sum() + shift / EVERYWHERE**2], pull + own / doubt**2))

    found = minimize(cost, np.zeros(len(knots) + 1), jac=True, method="L-BFGS-B").x
    return np.asarray(found[0] + found[1:])
