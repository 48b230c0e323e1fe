"""P(label wrong): a logistic model of the true label seen through noise, and Bayes' rule (methods.md G.2)."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit, logit

from core.calibrated.config import CalibratedConfig
from core.hints import Bool, Float, Int, Shaped

_LEAST = 1e-7  # probabilities are held this far from 0 and 1 before a logarithm
_ITERATIONS = 200
_FARTHEST = 60.0  # a shift of log-odds beyond which nothing changes
_FLATTEST = 0.05
_ENOUGH = 50_000  # pairs from which moments are taken


@dataclass(frozen=True)
class Rates:
    """ρ₊ = P(observed 0 | present) and ρ₋ = P(observed 1 | absent), float64 [labels] each."""

    rho_plus: Float[np.ndarray, " labels"]
    rho_minus: Float[np.ndarray, " labels"]

    @classmethod
    def none(cls, labels: int) -> "Rates":
        """No noise."""
        return cls(np.zeros(labels), np.zeros(labels))


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds in float64, of probabilities held within 1e-7 of 0 and 1."""
    return np.asarray(logit(np.clip(probability.astype(np.float64), _LEAST, 1 - _LEAST)))


def fit_through_noise(
    features: Float[np.ndarray, "features stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    rates: Rates,
    ridge: float,
    start: Float[np.ndarray, "features_plus_one labels"] | None = None,
    kinds: tuple[str, ...] = (),
) -> Float[np.ndarray, "features_plus_one labels"]:
    """Fit P(observed = 1) = ρ₋ + (1 - ρ₊ - ρ₋)·σ(a_l + w_l·F) by maximum likelihood, all labels at once.

    With rates of 0 this is a logistic regression. σ(·) is then the probability that the label is *truly* present.

    Parameters
    ----------
    features
        F, of every pair.
    observed
        Recorded labels, 0 or 1.
    member
        Pairs that are fitted on.
    rates
        Held fixed.
    ridge
        Penalty ½·ridge·Σ(w_l - w̄)²: weights of a label with few positives are drawn to the mean w̄ of its kind.
    start
        Weights to start from.
    kinds
        Kind of each label, such as its persistence: what another visit says of a lifelong label, it doesn't of an
        acute one. All of one kind where not given.

    Returns
    -------
    ndarray
        float64 [features + 1, labels]; the last row is a_l.
    """
    k, _, labels = features.shape
    span = 1.0 - rates.rho_plus - rates.rho_minus
    n = max(int(member.sum()), 1)
    kind = np.array(kinds or ("",) * labels)
    same = (kind[:, None] == kind[None, :]).astype(np.float64)
    same /= same.sum(0)

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(k + 1, labels)
        s = expit(np.einsum("ksl,kl->sl", features, w[:k].astype(np.float32)) + w[k].astype(np.float32))
        p = np.clip(rates.rho_minus + span * s, _LEAST, 1 - _LEAST)
        loss = -np.where(member, np.where(observed == 1, np.log(p), np.log1p(-p)), 0.0).sum(dtype=np.float64)
        slope = np.where(member, (p - observed) / (p * (1 - p)) * span * s * (1 - s), 0.0).astype(np.float32)
        apart = w[:k] - w[:k] @ same
        gradient = np.empty_like(w)
        gradient[:k] = np.einsum("ksl,sl->kl", features, slope) + ridge * apart
        gradient[k] = slope.sum(0, dtype=np.float64)
        return (loss + 0.5 * ridge * float((apart**2).sum())) / n, gradient.ravel() / n

    if start is None:
        share = np.where(member, observed, 0).sum(0) / np.maximum(member.sum(0), 1)
        clean = np.clip((share - rates.rho_minus) / np.maximum(span, 1e-3), 0.01, 0.99)
        start = np.zeros((k + 1, labels))
        start[0], start[k] = 1.0, np.log(clean / (1 - clean))
    found = minimize(
        cost, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "gtol": 1e-7, "ftol": 1e-10}
    )
    return np.asarray(found.x.reshape(k + 1, labels))


def clean_logit(features: Float[np.ndarray, "features stays labels"], weights: np.ndarray) -> np.ndarray:
    """a_l + w_l·F: the logit of q = P(truly present | evidence), float64 [stays, labels]."""
    k = len(features)
    return np.asarray(np.einsum("ksl,kl->sl", features, weights[:k]) + weights[k])


def cross_fitted_logit(
    features: Float[np.ndarray, "features stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    fold: Int[np.ndarray, " stays"],
    ridge: float,
    kinds: tuple[str, ...] = (),
) -> Float[np.ndarray, "stays labels"]:
    """Logit of P(observed = 1) of each pair from a fit that left its fold out, float64 [stays, labels].

    Fitted on all stays, the pairs of the lowest logit would be chosen partly by the chance of their own records, and
    look cleaner than they are.
    """
    none = Rates.none(observed.shape[1])
    start = fit_through_noise(features, observed, member, none, ridge, None, kinds)
    logit = np.zeros(observed.shape)
    for k in np.unique(fold):
        held = fold == k
        weights = fit_through_noise(features[:, ~held], observed[~held], member[~held], none, ridge, start, kinds)
        logit[held] = clean_logit(features[:, held], weights)
    return logit


def wrong_probability(
    q: Float[np.ndarray, "stays labels"], observed: Shaped[np.ndarray, "stays labels"], rates: Rates, least: float
) -> Float[np.ndarray, "stays labels"]:
    """W = P(label wrong) by Bayes' rule from q = P(present | evidence), float64.

    Observed 1: W = (1-q)ρ₋ / ((1-q)ρ₋ + q(1-ρ₊)). Observed 0: W = qρ₊ / (qρ₊ + (1-q)(1-ρ₋)). With ρ₋ = 0 no observed
    positive is wrong, with ρ₊ = 0 no observed negative.
    """
    held = np.clip(q, least, 1 - least)
    extra, missing = (1 - held) * rates.rho_minus, held * rates.rho_plus
    of_present = extra / np.maximum(extra + held * (1 - rates.rho_plus), _LEAST)
    of_absent = missing / np.maximum(missing + (1 - held) * (1 - rates.rho_minus), _LEAST)
    return np.asarray(np.where(observed == 1, of_present, of_absent))


def anchor_rates(
    logit: Float[np.ndarray, "stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    low: float,
    high: float,
) -> tuple[float, float]:
    """(ρ₊, ρ₋) pooled over labels: the records of the pairs that are almost surely present, and absent.

    ρ₋ is the share recorded present among the `low` share of pairs with the lowest logit, ρ₊ the share recorded absent
    among the `high` share with the highest. Pooling over labels leaves little sampling noise; both err upwards where
    the evidence is never certain.
    """
    z, y = logit[member], observed[member]
    order = np.argsort(z, kind="stable")
    bottom, top = max(1, round(low * len(z))), max(1, round(high * len(z)))
    return float(1 - y[order[-top:]].mean()), float(y[order[:bottom]].mean())


def estimated_rates(
    features: Float[np.ndarray, "features stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    fold: Int[np.ndarray, " stays"],
    options: CalibratedConfig,
    kinds: tuple[str, ...] = (),
) -> tuple[float, float]:
    """(ρ₊, ρ₋): the mean of two readings of the anchors, each rate below its least taken for none.

    Anchors chosen by a fit on all stays look cleaner than they are, since their own records helped to choose them;
    anchors chosen out of fold look noisier, since that evidence is weaker. The truth lies between.
    """
    none = Rates.none(observed.shape[1])
    inside = clean_logit(features, fit_through_noise(features, observed, member, none, options.ridge, None, kinds))
    outside = cross_fitted_logit(features, observed, member, fold, options.ridge, kinds)
    readings = [
        anchor_rates(logit, observed, member, options.anchor_low, options.anchor_high) for logit in (inside, outside)
    ]
    plus, minus = (float(rate) for rate in np.mean(readings, axis=0))
    return plus if plus >= options.least_plus else 0.0, minus if minus >= options.least_minus else 0.0


def with_chosen_ridge(
    options: CalibratedConfig,
    features: Float[np.ndarray, "features stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    fold: Int[np.ndarray, " stays"],
    kinds: tuple[str, ...] = (),
) -> CalibratedConfig:
    """Take the ridge out of `ridges` under which observed labels are likeliest out of fold; the first of equals."""
    if not options.ridges:
        return options
    y = observed[member] == 1
    likelihood = []
    for ridge in options.ridges:
        z = cross_fitted_logit(features, observed, member, fold, ridge, kinds)[member]
        likelihood.append(float(np.where(y, log_expit(z), log_expit(-z)).mean()))
    return replace(options, ridge=options.ridges[int(np.argmax(likelihood))], ridges=())


def matched(
    wrong: Float[np.ndarray, "stays labels"],
    reference: Float[np.ndarray, "stays labels"],
    observed: Shaped[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    slope: bool = True,
) -> Float[np.ndarray, "stays labels"]:
    """Shift and flatten the log-odds of W in each observed class until it agrees with a reference W on moments.

    The share of wrong labels in a class is what it is, whatever evidence one looks at, so that the means have to be
    equal. And if W is P(label wrong) given the reference's evidence and more, its covariance with the reference is the
    reference's variance: E[W·R] = E[wrong·R] = E[R²]. A network that has seen the labels it judges is too sure of
    itself; the peer, which has not, is not, but knows less well which labels are wrong.

    Parameters
    ----------
    wrong, reference
        W, and the W to agree with, in [0, 1].
    observed, member
        Classes, and the pairs over which moments are taken.
    slope
        Flatten too (never steepen), or only shift.
    """
    out = np.array(wrong, np.float64)
    for value in (0, 1):
        rows = member & (observed == value)
        r = reference[rows][:: max(1, int(rows.sum()) // _ENOUGH)].astype(np.float64)
        if len(r) < 2 or r.mean() <= 0.0:
            continue
        odds = log_odds(wrong[rows][:: max(1, int(rows.sum()) // _ENOUGH)])
        steepness, shift = _agreeing(odds, r, slope)
        every = observed == value
        out[every] = expit(steepness * log_odds(wrong[every]) + shift)
    return out


def _agreeing(odds: np.ndarray, reference: np.ndarray, slope: bool) -> tuple[float, float]:
    """Steepness in (0, 1] and shift at which the moments agree."""

    def shift_at(steepness: float) -> float:
        def surplus(d: float) -> float:
            return float(expit(steepness * odds + d).mean() - reference.mean())

        return float(brentq(surplus, -_FARTHEST, _FARTHEST))

    def excess(steepness: float) -> float:
        w = expit(steepness * odds + shift_at(steepness))
        return float(np.mean((w - reference) * (reference - reference.mean())))

    if not slope or excess(1.0) <= 0.0 or excess(_FLATTEST) >= 0.0:
        steepness = 1.0 if not slope or excess(1.0) <= 0.0 else _FLATTEST
    else:
        steepness = float(brentq(excess, _FLATTEST, 1.0, xtol=1e-3))
    return steepness, shift_at(steepness)
