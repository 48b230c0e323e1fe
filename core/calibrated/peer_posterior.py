"""P(label wrong) from the peer alone: a diagnosis of any preset's correction that its network had no part in.

The calibrated preset reads its noise rates in the same way (methods.md G.2); its W has the network's evidence besides.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from core.calibrated.config import CalibratedConfig
from core.calibrated.posterior import (
    Rates,
    clean_logit,
    estimated_rates,
    fit_through_noise,
    with_chosen_ridge,
    wrong_probability,
)
from core.calibrated.siblings import evidence_features
from core.cohort.tensors import PackedCohort
from core.hints import Bool, Float
from core.locks import Pairs
from core.peer.regression import patient_folds


@dataclass(frozen=True)
class PeerReading:
    """What the peer's evidence and the patient's other visits say of a cohort's noise.

    Parameters
    ----------
    rates
        Noise rates, one pair for all labels; 0 where none was found.
    options
        Those it was read with, the ridge chosen.
    kinds
        Kind of each label, such as its persistence.
    """

    rates: Rates
    options: CalibratedConfig
    kinds: tuple[str, ...] = ()


def noisy_groups(rates: Rates) -> Bool[np.ndarray, "labels classes"]:
    """Tell which groups [labels, 2] hold noise: column 0 recorded absent (ρ₊ > 0), 1 recorded present (ρ₋ > 0)."""
    return np.stack((rates.rho_plus > 0, rates.rho_minus > 0), axis=1)


def read_peer(
    packed: PackedCohort,
    pairs: Pairs,
    logit: Float[np.ndarray, "stays labels"],
    options: CalibratedConfig,
    folds: int,
    seed: int,
    kinds: tuple[str, ...] = (),
) -> PeerReading:
    """Read noise rates from the anchors, as the calibrated preset does.

    From the observed labels of training stays, decisions left out, so that every round of a review has those of the
    first.

    Parameters
    ----------
    packed, pairs
        Inputs, and labels with the decisions laid on them.
    logit
        The peer's, fitted on the observed labels, out of fold (`Setting.observed_peer`).
    options
        Anchors' shares, ridges, and the rates taken for none.
    folds, seed
        Patient-grouped folds of the cross-fitted reading, and the run's seed.
    kinds
        Kind of each label; all of one where not given.
    """
    visits = options.siblings != "off"
    features, used = features_of(packed, pairs, logit, pairs.observed, visits), fitted_on(pairs)
    fold = patient_folds(np.asarray(packed.patient_ids), folds, seed + 1)
    chosen = with_chosen_ridge(options, features, pairs.observed, used, fold, kinds)
    plus, minus = estimated_rates(features, pairs.observed, used, fold, chosen, kinds)
    labels = pairs.observed.shape[1]
    return PeerReading(Rates(np.full(labels, plus), np.full(labels, minus)), chosen, kinds)


def peer_posterior(
    packed: PackedCohort, pairs: Pairs, logit: Float[np.ndarray, "stays labels"], reading: PeerReading
) -> Float[np.ndarray, "stays labels"]:
    """W = P(label wrong) by Bayes' rule from the peer's evidence and the patient's other visits.

    It is fitted on the observed labels of training stays; what was decided of another visit is read in place of its
    record. The network has no part in it.

    Parameters
    ----------
    packed, pairs, logit
        As `read_peer` takes them.
    reading
        Its noise rates are held fixed.

    Returns
    -------
    ndarray
        float32 [stays, labels]; 0 where a decision is locked, and throughout a group without noise.
    """
    visits, rates, ridge = reading.options.siblings != "off", reading.rates, reading.options.ridge
    features = features_of(packed, pairs, logit, pairs.known, visits)
    weights = fit_through_noise(features, pairs.observed, fitted_on(pairs), rates, ridge, None, reading.kinds)
    q = expit(clean_logit(features, weights))
    wrong = wrong_probability(q, pairs.observed, rates, reading.options.least_doubt)
    return np.where(pairs.locked, 0.0, wrong).astype(np.float32)


def fitted_on(pairs: Pairs) -> Bool[np.ndarray, "stays labels"]:
    """Tell which pairs evidence is fitted on: every stated pair of a training stay, read by people or not."""
    return np.asarray(pairs.stated & pairs.training[:, None])


def features_of(
    packed: PackedCohort, pairs: Pairs, evidence: np.ndarray, known: np.ndarray, siblings: bool = True
) -> Float[np.ndarray, "features stays labels"]:
    """Give `evidence_features` of a cohort; `known` are the labels that other visits are read with."""
    patient, visit = np.asarray(packed.patient_ids), np.asarray(packed.visit)
    return evidence_features(evidence, known, patient, visit, fitted_on(pairs), pairs.stated, siblings)
