"""The selection metric Z: rank of the label within its stay and learning difficulty, mixed (Eq. 2). High means suspect.

Departures from the paper stand in `SelectionConfig`; the numbers of its rows refer to methods.md A.11.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError, RunError
from core.hints import Bool, Float, Int, UInt8
from core.selection.dynamics import VARIANTS, Variant

RANK_BLOCK = 4096
"""Stays ranked at a time, so that the block's comparisons stay in the cache."""
COMPARED_LABELS = 64
"""Up to this many labels ranks are counted by comparing label with label; above it by sorting."""
GLOBAL_EPSILON = 1e-9
"""Guard of the global min-max [released code]."""
PROBABILITY_FLOOR = 1e-7
"""Probabilities are held this far from 0 and 1 before a logarithm (float32 resolution near 1)."""
LEAST_EPOCHS = 2
"""Epochs that D needs before it says anything (A.11 row 10)."""


@dataclass(frozen=True)
class SelectionConfig:
    """What Z is made of.

    Parameters
    ----------
    metric
        `z`: Eq. 2. `loss`: the pair's cross-entropy, the paper's "w/ Loss" ablation.
    alpha
        Weight of the rank, 0–1; .5 [paper]. 1 is rank alone, which is what the released code computes, since it
        multiplies the difficulty by a coefficient of 0 and an empty array (A.11 row 1). 0 is difficulty alone.
    alpha_final
        If given, α moves linearly from `alpha` to this between the first and the last correction epoch: "difficulty
        early, rank late" [paper, App. B.1, prose only; row 38].
    rank_mode
        `class_oriented` [recommended]: a confident rank is suspect for an observed negative, a poor one for an observed
        positive. `raw` [paper, released]: the same rank for both, reversed for negatives (row 3). `pos_only`: rank for
        positives, difficulty alone for negatives.
    scale
        `fixed` [recommended]: both parts on fixed ranges, r̂ = (R-1)/(L-1), D̂ = (D+t)/2t. `raw` [paper]: R and D as they
        are. `global` [released]: each min-maxed over all pairs that take part (row 4).
    variant
        Definition of D, see `LearningDynamics.difficulty` (row 2).
    dynamics_lag
        1 leaves the newest epoch out of D [released]; 0 includes it (row 8).
    correct_threshold
        `half` [paper, released]: right means p on the observed side of .5. `label_prevalence`: of the label's observed
        prevalence in training (methods.md A.4).
    range_epsilon
        ε of the min-max per (label, class), 1e-6 [paper].
    """

    metric: Literal["z", "loss"] = "z"
    alpha: float = 0.5
    alpha_final: float | None = None
    rank_mode: Literal["class_oriented", "raw", "pos_only"] = "class_oriented"
    scale: Literal["fixed", "raw", "global"] = "fixed"
    variant: Variant = "mean_seg"
    dynamics_lag: Literal[0, 1] = 0
    correct_threshold: Literal["half", "label_prevalence"] = "half"
    range_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        for name, value, allowed in (
            ("metric", self.metric, ("z", "loss")),
            ("rank_mode", self.rank_mode, ("class_oriented", "raw", "pos_only")),
            ("scale", self.scale, ("fixed", "raw", "global")),
            ("variant", self.variant, VARIANTS),
            ("dynamics_lag", self.dynamics_lag, (0, 1)),
            ("correct_threshold", self.correct_threshold, ("half", "label_prevalence")),
        ):
            if value not in allowed:
                raise ConfigError(f"{name} out of {', '.join(map(str, allowed))}", repr(value), f"set {name} to one")
        for name, weight in (("alpha", self.alpha), ("alpha_final", self.alpha_final)):
            if weight is not None and not 0 <= weight <= 1:
                raise ConfigError(f"{name} from 0 to 1", str(weight), f"set {name} within that range")
        if not self.range_epsilon > 0:
            raise ConfigError("range_epsilon above 0", str(self.range_epsilon), "set a small positive number, 1e-6")

    @classmethod
    def preset(cls, name: str) -> "SelectionConfig":
        """Options of the `released` code, of the `paper`'s text, or ours (`miracl`); methods.md A.11."""
        if name == "released":
            return cls(alpha=1.0, rank_mode="raw", scale="global", dynamics_lag=1)
        if name == "paper":
            return cls(rank_mode="raw", scale="raw", variant="events")
        if name == "miracl":
            return cls()
        raise ConfigError("a preset out of released, paper, miracl", repr(name), "choose one of them")

    def alpha_at(self, epoch: int, first: int, last: int) -> float:
        """α of an epoch (1-based), between the first and the last epoch at whose end labels are corrected."""
        if self.alpha_final is None:
            return self.alpha
        way = min(max((epoch - first) / max(last - first, 1), 0.0), 1.0)
        return self.alpha + way * (self.alpha_final - self.alpha)


def rank_within_stay(probability: Float[np.ndarray, "stays labels"]) -> Int[np.ndarray, "stays labels"]:
    """R_il: place of the label among the stay's labels, 1 = most probable; ties go to the lower label (A.3).

    R_il = 1 + #{k: p_ik > p_il} + #{k < l: p_ik = p_il}, counted without sorting.

    Returns
    -------
    ndarray
        int16, stays × labels, each row a permutation of 1..L.

    Raises
    ------
    RunError
        If a probability is not a finite number.
    """
    if not np.isfinite(probability).all():
        raise RunError("finite probabilities", "NaN or infinity", "lower the learning rate, or train in float32")
    labels = probability.shape[1]
    if labels > COMPARED_LABELS:
        order = np.argsort(-probability, axis=1, kind="stable")
        rank = np.empty(probability.shape, np.int16)
        np.put_along_axis(rank, order, np.arange(1, labels + 1, dtype=np.int16)[None, :], axis=1)
        return rank
    rank = np.empty(probability.shape, np.int16)
    for start in range(0, len(probability), RANK_BLOCK):
        rows = slice(start, start + RANK_BLOCK)
        rank[rows] = _rank_by_comparing(np.ascontiguousarray(probability[rows].T)).T
    return rank


def _rank_by_comparing(columns: np.ndarray) -> np.ndarray:
    """Rank labels × stays: label i loses a place to each earlier label at least as probable, else that one loses it."""
    labels = len(columns)
    rank = np.empty(columns.shape, np.uint8)
    rank[:] = (labels - np.arange(labels))[:, None]
    ahead = np.empty(columns.shape, np.bool_)
    for i in range(1, labels):
        earlier = np.greater_equal(columns[:i], columns[i], out=ahead[:i]).view(np.uint8)
        rank[i] += np.add.reduce(earlier, axis=0, dtype=np.uint8)
        rank[:i] -= earlier
    return rank


def effective_alpha(counted: int, config: SelectionConfig, alpha: float | None = None) -> float:
    """α that an epoch uses: 1 as long as D has fewer than two epochs behind it (A.11 row 10)."""
    if counted < LEAST_EPOCHS:
        return 1.0
    return config.alpha if alpha is None else alpha


def selection_metric(
    rank: Int[np.ndarray, "stays labels"],
    difficulty: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    counted: int,
    config: SelectionConfig,
    alpha: float | None = None,
) -> Float[np.ndarray, "stays labels"]:
    """Z = α·s + (1-α)·D (Eq. 2), raw: before the min-max per (label, class). High means suspect.

    Parameters
    ----------
    rank, difficulty, observed
        R (1..L), D, ỹ.
    member
        Pairs that take part; `scale="global"` takes its ranges from them.
    counted
        Epochs behind D (`LearningDynamics.counted`); below two, α is 1 (A.11 row 10).
    config
        See `SelectionConfig`.
    alpha
        α of this epoch; `config.alpha` if not given.

    Returns
    -------
    ndarray
        float32; in [0, 1] for `fixed` and `global` scales.
    """
    weight = effective_alpha(counted, config, alpha)
    positive = observed != 0
    suspicion = _rank_suspicion(rank, positive, member, config)
    hard = _scaled_difficulty(difficulty, member, counted, config)
    mixed = suspicion
    mixed *= np.float32(weight)
    if weight < 1.0:
        mixed += np.float32(1.0 - weight) * hard
    if config.rank_mode == "pos_only":
        negatives = hard if counted >= LEAST_EPOCHS else np.float32(0.0)
        mixed = np.where(positive, mixed, negatives)
    return mixed


def _rank_suspicion(rank: np.ndarray, positive: np.ndarray, member: np.ndarray, config: SelectionConfig) -> np.ndarray:
    """Scale and orient the rank (A.5, A.6): s = r̂ where ỹ = 1; where ỹ = 0, 1 - r̂ if class-oriented, else r̂."""
    labels = rank.shape[1]
    low, high = 1, labels
    if config.scale == "global" and member.any():
        low, high = int(rank[member].min()), int(rank[member].max())
    place = rank
    if config.rank_mode == "class_oriented":
        place = np.where(positive, rank, np.int16(low + high) - rank)
    if config.scale == "raw":
        return place.astype(np.float32)
    span = max(labels - 1, 1) if config.scale == "fixed" else high - low + GLOBAL_EPSILON
    scaled = (place - np.int16(low)).astype(np.float32)
    scaled *= np.float32(1.0 / span)
    return scaled


def _scaled_difficulty(difficulty: np.ndarray, member: np.ndarray, counted: int, config: SelectionConfig) -> np.ndarray:
    """Scale D (A.5): D̂ = (D+t)/2t, where |D| ≤ t (|D| ≤ 1 for `events`); as it is; or min-maxed over the members."""
    if config.scale == "raw":
        return difficulty
    if config.scale == "fixed":
        bound = 1.0 if config.variant == "events" else float(max(counted, 1))
        return (difficulty + np.float32(bound)) * np.float32(0.5 / bound)
    if not member.any():
        return np.zeros_like(difficulty)
    taking_part = difficulty[member]
    low, high = float(taking_part.min()), float(taking_part.max())
    return (difficulty - np.float32(low)) * np.float32(1.0 / (high - low + GLOBAL_EPSILON))


def pair_loss(
    probability: Float[np.ndarray, "stays labels"], observed: UInt8[np.ndarray, "stays labels"]
) -> Float[np.ndarray, "stays labels"]:
    """Binary cross-entropy of each pair against its observed label, in nats: -ln p_y, high means suspect."""
    agreed = np.where(observed != 0, probability, 1 - probability)
    loss: np.ndarray = -np.log(np.maximum(agreed, np.float32(PROBABILITY_FLOOR)))
    return loss.astype(np.float32, copy=False)
