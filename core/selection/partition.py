"""Clean, uncertain, noisy: the partition (Eq. 3), its uncertainty (Eq. 4), and one epoch's whole selection."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Int, UInt8
from core.selection.difficulty import SelectionConfig, effective_alpha, pair_loss, rank_within_stay, selection_metric
from core.selection.dynamics import LearningDynamics
from core.selection.groups import by_class, normalise, normalise_groups, ranges_of, weigh_groups
from core.selection.mixture import MixtureConfig, Mixtures, fit_weighted

CLEAN, UNCERTAIN, NOISY, LOCKED = 0, 1, 2, 3
PARTITIONS = ("clean", "uncertain", "noisy", "locked")
"""Names of the codes 0–3."""
DIVISION_EPSILON = 1e-6
"""ε of Eq. 4 [paper]."""
TIE = 1e-6
"""Scores this close to a mean (0–1 scale) lie on it: where a component sits on one value, rounding mustn't decide."""

UncertaintySource = Literal["means", "posterior"]


@dataclass(frozen=True)
class Selection:
    """What one epoch's selection says of every pair; arrays of stays × labels."""

    rank: Int[np.ndarray, "stays labels"]
    difficulty: Float[np.ndarray, "stays labels"]
    score: Float[np.ndarray, "stays labels"]
    uncertainty: Float[np.ndarray, "stays labels"]
    partition: UInt8[np.ndarray, "stays labels"]
    mixtures: Mixtures
    alpha: float

    def counts(self, member: Bool[np.ndarray, "stays labels"]) -> dict[str, int]:
        """Pairs per partition, among those that take part and those that are locked."""
        told = np.bincount(self.partition[member | (self.partition == LOCKED)], minlength=len(PARTITIONS))
        return {name: int(told[code]) for code, name in enumerate(PARTITIONS)}


def partition(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    mixtures: Mixtures,
    locked: Bool[np.ndarray, "stays labels"] | None = None,
) -> UInt8[np.ndarray, "stays labels"]:
    """Eq. 3: clean where Z̃ ≤ μ_clean, noisy where Z̃ ≥ μ_noisy, uncertain between; all clean in a degenerate group.

    Both comparisons allow for `TIE`: scores are few distinct values, and a component may sit on one of them.

    Returns
    -------
    ndarray
        uint8 codes, see `PARTITIONS`; `LOCKED` wherever `locked`.
    """
    clean = np.where(mixtures.degenerate, np.inf, mixtures.mean_clean + TIE).astype(np.float32)
    noisy = np.where(mixtures.degenerate, np.inf, mixtures.mean_noisy - TIE).astype(np.float32)
    code: np.ndarray = (score > by_class(observed, clean)).view(np.uint8)
    code += (score >= by_class(observed, noisy)).view(np.uint8)
    if locked is not None:
        code[locked] = LOCKED
    return code


def uncertainty(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    mixtures: Mixtures,
    source: UncertaintySource = "means",
) -> Float[np.ndarray, "stays labels"]:
    """U: 0 on clean pairs, 1 on noisy ones, between them how far Z̃ has gone from one mean to the other (Eq. 4).

    U = clip((Z̃ - μ_clean)/(μ_noisy - μ_clean + ε), 0, 1), so that one line covers the three cases of Eq. 7.

    Parameters
    ----------
    score, observed, mixtures
        Z̃, ỹ, the fitted groups.
    source
        `means` [paper, released], or `posterior`: the noisy component's posterior, between the means only, so that
        clean and noisy pairs stay what Eq. 3 says (A.11 row 21).

    Notes
    -----
    Exactly 0 on clean and 1 on noisy pairs, as Eq. 3 tells them: ε only guards the division.
    """
    if source == "means":
        usable = ~mixtures.degenerate
        low = np.where(usable, mixtures.mean_clean, 0.0)
        gap = np.where(usable, mixtures.mean_noisy - mixtures.mean_clean + DIVISION_EPSILON, 1.0)
        grade: np.ndarray = score - by_class(observed, low.astype(np.float32))
        grade *= by_class(observed, (1.0 / gap).astype(np.float32))
    elif source == "posterior":
        grade = _posterior(score, observed, mixtures)
    else:
        raise ConfigError("uncertainty_source means or posterior", repr(source), "choose one of them")
    code = partition(score, observed, mixtures)
    np.clip(grade, np.float32(0.0), np.float32(1.0), out=grade)
    grade *= code != CLEAN
    np.maximum(grade, (code == NOISY).astype(np.float32), out=grade)
    return grade


def _posterior(score: np.ndarray, observed: np.ndarray, mixtures: Mixtures) -> np.ndarray:
    """P(noisy component | Z̃), from the ratio of the two weighted densities; meaningless in degenerate groups."""
    usable = ~mixtures.degenerate
    odds = np.zeros_like(score)
    for sign, mean, sd, weight in (
        (-1, mixtures.mean_clean, mixtures.sd_clean, mixtures.weight_clean),
        (1, mixtures.mean_noisy, mixtures.sd_noisy, mixtures.weight_noisy),
    ):
        m, s, w = (np.where(usable, a, 1.0) for a in (mean, sd, weight))
        distance = (score - by_class(observed, m.astype(np.float32))) * by_class(observed, (1 / s).astype(np.float32))
        level = by_class(observed, (np.log(w) - np.log(s)).astype(np.float32))
        odds += np.float32(sign) * (level - np.float32(0.5) * distance * distance)
    small = np.exp(-np.abs(odds))
    larger = 1 / (1 + small)
    posterior: np.ndarray = np.where(odds > 0, larger, small * larger)
    return posterior


def select(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    dynamics: LearningDynamics,
    selection: SelectionConfig,
    mixture: MixtureConfig,
    *,
    locked: Bool[np.ndarray, "stays labels"] | None = None,
    eligible: Bool[np.ndarray, "stays labels"] | None = None,
    fit_on_eligible: bool = False,
    uncertainty_source: UncertaintySource = "means",
    alpha: float | None = None,
) -> Selection:
    """One epoch's selection: rank, difficulty, Z, 2L mixtures, partition and uncertainty (methods.md A.2, step 3).

    Parameters
    ----------
    probability
        p of this epoch; test stays and unstated pairs too (any finite number).
    observed
        ỹ, 0 or 1 (0 where not stated).
    member
        Pairs on which ranges and mixtures are fitted: stated, of training stays, not locked. The others are scored with
        the same ranges and mixtures.
    dynamics
        Already updated with this epoch.
    selection, mixture
        Options.
    locked
        Pairs that people decided: partition `locked`, uncertainty 0.
    eligible, fit_on_eligible
        Z⁻; if asked, negatives outside it take no part in the mixtures' fit (A.11 row 13). Ranges are of all members.
    uncertainty_source
        See `uncertainty`.
    alpha
        α of this epoch, where it moves.
    """
    rank = rank_within_stay(probability)
    difficulty = dynamics.difficulty(selection.variant)
    if selection.metric == "loss":
        raw = pair_loss(probability, observed)
    else:
        raw = selection_metric(rank, difficulty, observed, member, dynamics.counted, selection, alpha)
    groups = weigh_groups(raw, observed, member)
    ranges = ranges_of(groups)
    score = normalise(raw, observed, ranges, selection.range_epsilon)
    if fit_on_eligible and eligible is not None:
        groups = weigh_groups(raw, observed, member & eligible)
    mixtures = fit_weighted(normalise_groups(groups, ranges, selection.range_epsilon), ranges, mixture)
    grade = uncertainty(score, observed, mixtures, uncertainty_source)
    if locked is not None:
        grade[locked] = 0.0
    return Selection(
        rank=rank,
        difficulty=difficulty,
        score=score,
        uncertainty=grade,
        partition=partition(score, observed, mixtures, locked),
        mixtures=mixtures,
        alpha=effective_alpha(dynamics.counted, selection, alpha),
    )
