"""Consensus of several label sources without a network: majority, mean, and Dawid–Skene for each label."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.hints import Bool, Float
from core.methods.sources import LabelSources
from core.options import check_options, sourced

_LEAST = 1e-6  # rates are kept this far from 0 and 1, so that one vote never outweighs all others


@dataclass(frozen=True)
class ConsensusConfig:
    """How sources are put together.

    Parameters
    ----------
    ties
        A majority vote's tie: ``first`` takes the word of the first source that speaks (the record stands unless it is
        outvoted), ``half`` gives 0.5, ``negative`` gives 0.
    iterations, tolerance
        Of Dawid–Skene's EM: at most so many steps, ended once no posterior moves by more.
    prior_right, prior_wrong
        Pseudo-votes, right and wrong, added to each source's count per class of truth: a source is thought better than
        chance until it shows otherwise, and no rate becomes 0 or 1.
    prior_stays
        Pseudo-stays added to each class when prevalence is estimated.
    """

    ties: Literal["first", "half", "negative"] = sourced("first", "ours: methods.md C.10 leaves it open")
    iterations: int = sourced(200, "ours", 1, 100_000)
    tolerance: float = sourced(1e-6, "ours", 0, 1)
    prior_right: float = sourced(2.0, "ours: Beta prior, Dawid and Skene 1979 use none", 0, 1e6)
    prior_wrong: float = sourced(1.0, "ours: Beta prior, Dawid and Skene 1979 use none", 0, 1e6)
    prior_stays: float = sourced(1.0, "ours", 0, 1e6)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class DawidSkene:
    """What Dawid–Skene found.

    Parameters
    ----------
    posterior
        float64 [stays, labels], P(present | votes); the prevalence where no source speaks.
    prevalence
        float64 [labels], π.
    sensitivity, specificity
        float64 [sources, labels], P(says 1 | present) and P(says 0 | absent).
    identified
        bool [labels]: at least two sources speak of one same stay. Elsewhere the posterior is the mean vote; with two
        sources exactly, the rates rest on start and prior as much as on the votes.
    iterations
        Steps made.
    objective
        float64 [steps], log-likelihood plus log-prior at each E-step, summed over the identified labels; it never
        falls.
    """

    posterior: Float[np.ndarray, "stays labels"]
    prevalence: Float[np.ndarray, " labels"]
    sensitivity: Float[np.ndarray, "sources labels"]
    specificity: Float[np.ndarray, "sources labels"]
    identified: Bool[np.ndarray, " labels"]
    iterations: int
    objective: Float[np.ndarray, " steps"]


def mean_vote(sources: LabelSources) -> Float[np.ndarray, "stays labels"]:
    """Σ_m a_im y_im / Σ_m a_im: the mean over the sources that speak, float64; 0 where none does."""
    votes = sources.available.sum(0)
    mean: np.ndarray = sources.values.sum(0, dtype=np.float64) / np.maximum(votes, 1)
    return mean


def majority(
    sources: LabelSources, ties: Literal["first", "half", "negative"] = "first"
) -> Float[np.ndarray, "stays labels"]:
    """1 where more than half of the votes cast are for it, 0 where fewer; ties as `ConsensusConfig.ties` says.

    Returns
    -------
    ndarray
        float64 in {0, 1}, or 0.5 at a tie with ``half``; 0 where no source speaks. A soft vote counts as its value.
    """
    share = mean_vote(sources)
    vote = (share > 0.5).astype(np.float64)
    # Sums of thirds and the like are not exact: within 1e-6 of one half is a tie.
    tied = (np.abs(share - 0.5) < _LEAST) & sources.stated
    if ties == "half":
        return np.where(tied, 0.5, vote)
    if ties == "negative":
        return np.where(tied, 0.0, vote)
    first = np.take_along_axis(sources.values, sources.available.argmax(0)[None], axis=0)[0]
    return np.where(tied, (first > 0.5).astype(np.float64), vote)


def vote_evidence(
    values: Float[np.ndarray, "sources stays labels"],
    available: Bool[np.ndarray, "sources stays labels"],
    sensitivity: Float[np.ndarray, "sources labels"],
    specificity: Float[np.ndarray, "sources labels"],
) -> tuple[Float[np.ndarray, "stays labels"], Float[np.ndarray, "stays labels"]]:
    """Log-likelihood of a pair's votes if the label is present, and if it is absent.

    Σ_m a_im [y_im ln α_m + (1-y_im) ln(1-α_m)] and Σ_m a_im [y_im ln(1-β_m) + (1-y_im) ln β_m], α sensitivity, β
    specificity; a missing vote says nothing. A soft vote counts as that share of a vote on either side.
    """
    for_it, against = values * available, (1 - values) * available
    present = np.einsum("mnl,ml->nl", for_it, np.log(sensitivity))
    present += np.einsum("mnl,ml->nl", against, np.log1p(-sensitivity))
    absent = np.einsum("mnl,ml->nl", for_it, np.log1p(-specificity))
    absent += np.einsum("mnl,ml->nl", against, np.log(specificity))
    return present, absent


def posterior_of(
    present: Float[np.ndarray, "stays labels"],
    absent: Float[np.ndarray, "stays labels"],
    prevalence: Float[np.ndarray, " labels"],
) -> tuple[Float[np.ndarray, "stays labels"], Float[np.ndarray, "stays labels"]]:
    """E-step: q = π e^present / (π e^present + (1-π) e^absent), and the log of that denominator, in log-space."""
    log_present, log_absent = np.log(prevalence) + present, np.log1p(-prevalence) + absent
    evidence = np.logaddexp(log_present, log_absent)
    return np.exp(log_present - evidence), evidence


def rates_of(
    values: Float[np.ndarray, "sources stays labels"],
    available: Bool[np.ndarray, "sources stays labels"],
    posterior: Float[np.ndarray, "stays labels"],
    config: ConsensusConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """M-step: (α, β) of every source and label, and π.

    α_m = (Σ_i a_im q_i y_im + r) / (Σ_i a_im q_i + r + w), β_m likewise of 1-q and 1-y, with r right and w wrong
    pseudo-votes; π = (Σ_i q_i + s) / (n + 2s) over the n stays of which some source speaks. A source that says nothing
    of a label keeps the prior's rate, one half where there is no prior.
    """
    right, wrong, stays = config.prior_right, config.prior_wrong, config.prior_stays
    heard, absent = available.any(0), 1 - posterior

    def rate(agreeing: np.ndarray, weight: np.ndarray) -> np.ndarray:
        hits = np.einsum("mnl,nl->ml", agreeing, weight) + right
        of = np.einsum("mnl,nl->ml", available.astype(np.float64), weight) + right + wrong
        share: np.ndarray = np.where(of > 0, hits / np.where(of > 0, of, 1.0), 0.5)
        return share.clip(_LEAST, 1 - _LEAST)

    sensitivity = rate(values * available, posterior)
    specificity = rate((1 - values) * available, absent)
    of = heard.sum(0) + 2 * stays
    prevalence = np.where(of > 0, ((posterior * heard).sum(0) + stays) / np.where(of > 0, of, 1.0), 0.5)
    return sensitivity, specificity, prevalence.clip(_LEAST, 1 - _LEAST)


def dawid_skene(
    sources: LabelSources,
    config: ConsensusConfig | None = None,
    counted: Bool[np.ndarray, "stays labels"] | None = None,
) -> DawidSkene:
    """Fit each source's sensitivity and specificity, and the truth's posterior, by EM; every label by itself.

    Parameters
    ----------
    sources
        Votes; missing ones allowed.
    config
        Prior and when to end.
    counted
        Pairs whose votes the rates are fitted on; every pair by default. Posteriors are given for all.

    Notes
    -----
    Dawid and Skene, Applied Statistics 28 (1979), with two classes. It starts, as theirs, from the mean vote; the two
    classes can therefore change places only where most sources are wrong, which no consensus can tell. Sources are
    taken to err independently given the truth, and alike in every stay. EM stops moving a label once that label has
    converged, so that a label's result doesn't depend on what others stand beside it.
    """
    config = config or ConsensusConfig()
    values = sources.values.astype(np.float64)
    heard = sources.available if counted is None else sources.available & counted
    identified = np.asarray((heard.sum(0) >= 2).any(0))
    mean = mean_vote(sources)
    sensitivity, specificity, prevalence = rates_of(values, heard, mean, config)
    posterior = np.where(sources.stated, mean, prevalence)
    moving, objective, steps = identified.copy(), [], 0
    while moving.any() and steps < config.iterations:
        # A label that has come to rest keeps its rates, and its share of the objective with them.
        present, absent = vote_evidence(values, heard, sensitivity, specificity)
        found, evidence = posterior_of(present, absent, prevalence)
        objective.append(_objective(evidence * heard.any(0), sensitivity, specificity, prevalence, config, identified))
        steps += 1
        moved = np.abs(found - posterior).max(0, initial=0.0)
        posterior = np.where(moving, found, posterior)
        moving = moving & (moved > config.tolerance)
        new = rates_of(values, heard, posterior, config)
        sensitivity = np.where(moving, new[0], sensitivity)
        specificity = np.where(moving, new[1], specificity)
        prevalence = np.where(moving, new[2], prevalence)
    present, absent = vote_evidence(values, sources.available, sensitivity, specificity)
    found, _ = posterior_of(present, absent, prevalence)
    posterior = np.where(identified, found, np.where(sources.stated, mean, prevalence))
    return DawidSkene(
        posterior, prevalence, sensitivity, specificity, identified, steps, np.asarray(objective, np.float64)
    )


def _objective(
    evidence: np.ndarray,
    sensitivity: np.ndarray,
    specificity: np.ndarray,
    prevalence: np.ndarray,
    config: ConsensusConfig,
    labels: np.ndarray,
) -> float:
    """Log-likelihood of the votes plus the priors' logs, up to a constant, summed over some labels."""
    total = evidence.sum(0)
    for rate in (sensitivity, specificity):
        total = total + (config.prior_right * np.log(rate) + config.prior_wrong * np.log1p(-rate)).sum(0)
    total = total + config.prior_stays * (np.log(prevalence) + np.log1p(-prevalence))
    return float(total[labels].sum())
