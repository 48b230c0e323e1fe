"""The network's peer: a logistic regression per label on hand-made features, out of fold by patient (methods.md G.2).

A pair's out-of-fold probability comes from a regression that never saw the patient, hence never the pair's own label.
One number is shared by all folds: the ridge penalty, chosen by the loss over all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from core.cohort.tensors import PackedCohort
from core.errors import ConfigError
from core.hints import Bool, Float, Int
from core.locks import Pairs
from core.options import check_options, sourced
from core.peer.features import hand_features
from core.progress import nothing


@dataclass(frozen=True)
class PeerConfig:
    """The regression beside the network.

    Parameters
    ----------
    folds
        Patient-grouped folds.
    penalties
        Ridge penalties per stay that are tried; the one with the least out-of-fold cross-entropy on the observed labels
        is taken, one for all labels.
    iterations, tolerance
        Of L-BFGS: most iterations, and the largest gradient at which it stops.
    """

    folds: int = sourced(5, "methods.md G.2", 2, 100)
    penalties: tuple[float, ...] = sourced((3.0, 1.0, 0.3, 0.1, 0.03), "ours; chosen on observed labels, out of fold")
    iterations: int = sourced(60, "ours", 1, 10_000)
    tolerance: float = sourced(1e-5, "ours", 0, 1)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.penalties or min(self.penalties) < 0:
            raise ConfigError("PeerConfig.penalties of 0 or more", str(self.penalties), "give one at least")


@dataclass(frozen=True)
class Peer:
    """What the regression says.

    Parameters
    ----------
    logit
        float32 [stays, labels]: out of fold for training stays, of the regression on all of them for the others.
    penalty
        The ridge penalty taken.
    """

    logit: Float[np.ndarray, "stays labels"]
    penalty: float

    @property
    def probability(self) -> Float[np.ndarray, "stays labels"]:
        """σ(logit), float32."""
        return np.asarray(expit(self.logit), np.float32)


def patient_folds(patients: Int[np.ndarray, " stays"], folds: int, seed: int) -> Int[np.ndarray, " stays"]:
    """Fold of each stay, 0..folds-1: patients dealt out in random order, so that a patient's stays share one."""
    own, place = np.unique(patients, return_inverse=True)
    dealt = np.random.default_rng([seed, len(own)]).permutation(len(own)) % folds
    return np.asarray(dealt[place], np.int64)


def fit_regression(
    features: Float[np.ndarray, "stays width"],
    targets: Float[np.ndarray, "stays labels"],
    counted: Bool[np.ndarray, "stays labels"],
    penalty: float,
    config: PeerConfig = PeerConfig(),
    start: Float[np.ndarray, "width_plus_one labels"] | None = None,
) -> Float[np.ndarray, "width_plus_one labels"]:
    """Minimise mean cross-entropy + penalty/2·‖w‖² of every label at once; the last row is the intercept, unpenalised.

    Parameters
    ----------
    features
        float32, standardised.
    targets
        In [0, 1]; soft ones are allowed.
    counted
        Pairs that take part. A label without any keeps weight 0.
    penalty
        Ridge penalty relative to the mean cross-entropy.
    start
        Weights to start from.
    """
    stays, width = features.shape
    labels = targets.shape[1]
    x = np.concatenate((features, np.ones((stays, 1), np.float32)), axis=1)
    share = (counted / np.maximum(counted.sum(0), 1)).astype(np.float32)
    ridge = np.full((width + 1, 1), penalty)
    ridge[-1] = 0.0

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(width + 1, labels)
        z = x @ w.astype(np.float32)
        slope = x.T @ (share * (expit(z) - targets))
        value = -float((share * (targets * log_expit(z) + (1 - targets) * log_expit(-z))).sum(dtype=np.float64))
        return value + 0.5 * float((ridge * w**2).sum()), (slope + ridge * w).ravel().astype(np.float64)

    first = np.zeros((width + 1, labels)) if start is None else start
    options = {"maxiter": config.iterations, "gtol": config.tolerance, "maxcor": 12}
    found = minimize(cost, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(width + 1, labels))


def predict_logit(features: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "stays labels"]:
    """Logits, float32."""
    return np.asarray(features @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32), np.float32)


def fit_peer(
    packed: PackedCohort, pairs: Pairs, config: PeerConfig, seed: int, ask: Callable[[], None] = nothing
) -> Peer:
    """Fit the regression in patient-grouped folds on what was given (`pairs.base`), and on all training stays.

    Parameters
    ----------
    packed, pairs
        Inputs, and labels with the decisions laid on them; training stays' stated pairs are fitted on.
    config, seed
        Options, and the seed of the folds.
    ask
        Called before each fit; may raise `core.progress.Halted`.
    """
    features = hand_features(packed)
    counted = pairs.stated & pairs.training[:, None]
    fold = patient_folds(np.asarray(packed.patient_ids), config.folds, seed)
    best: tuple[float, float, np.ndarray] | None = None
    starts: list[np.ndarray | None] = [None] * config.folds
    for penalty in sorted(config.penalties, reverse=True):
        logit = np.zeros(pairs.base.shape, np.float32)
        for k in range(config.folds):
            ask()
            held = fold == k
            rows = pairs.training & ~held
            weights = fit_regression(features[rows], pairs.base[rows], counted[rows], penalty, config, starts[k])
            starts[k] = weights
            logit[held] = predict_logit(features[held], weights)
        z, y = logit[counted], pairs.base[counted]
        loss = -float(np.mean(y * log_expit(z) + (1 - y) * log_expit(-z), dtype=np.float64))
        if best is None or loss < best[0]:
            best = (loss, penalty, logit)
    assert best is not None
    _, penalty, logit = best
    rows = pairs.training
    weights = fit_regression(features[rows], pairs.base[rows], counted[rows], penalty, config)
    return Peer(np.where(pairs.training[:, None], logit, predict_logit(features, weights)), penalty)
