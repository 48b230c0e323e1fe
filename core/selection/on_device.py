"""Dynamics, rank, Z, partition and uncertainty on the run's device: what `core.selection` says on the host, in tensors.

The same formulas in the same precision; the mixtures are `core.selection.mixture_on_device`. Nothing is done pair by
pair, and the host waits only where something is to be decided: finite probabilities, the mixtures' table, convergence.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.errors import RunError
from core.hints import Bool, Float, Int, UInt8
from core.selection.difficulty import (
    GLOBAL_EPSILON,
    LEAST_EPOCHS,
    PROBABILITY_FLOOR,
    SelectionConfig,
    effective_alpha,
)
from core.selection.dynamics import LearningDynamics, Variant
from core.selection.mixture import MixtureConfig
from core.selection.mixture_on_device import PlacedMixtures, Ranged, fit_placed, weigh_placed
from core.selection.partition import (
    CLEAN,
    DIVISION_EPSILON,
    LOCKED,
    NOISY,
    PARTITIONS,
    TIE,
    Selection,
    UncertaintySource,
)


@dataclass(frozen=True)
class PlacedPairs:
    """A round's pairs on the device: recorded present, takes part, decided by people."""

    positive: Bool[Tensor, "stays labels"]
    member: Bool[Tensor, "stays labels"]
    locked: Bool[Tensor, "stays labels"]

    @classmethod
    def of(
        cls,
        observed: UInt8[np.ndarray, "stays labels"],
        member: Bool[np.ndarray, "stays labels"],
        locked: Bool[np.ndarray, "stays labels"],
        place: torch.device,
    ) -> "PlacedPairs":
        """Copy them there, once a round."""
        return cls(*(torch.from_numpy(mask).to(place) for mask in (observed != 0, member, locked)))


class PlacedDynamics:
    """`LearningDynamics` on the device, with the pairs it counts for; its state is the host's, so either may go on.

    Parameters
    ----------
    pairs
        The round's pairs.
    lag
        1 leaves the newest epoch out of the difficulty.
    """

    epochs: int
    _n_wrong: Tensor
    _runs: Tensor
    _first: Tensor
    _last: Tensor
    _waiting: Tensor

    def __init__(self, pairs: PlacedPairs, lag: int = 0) -> None:
        self.pairs, self.lag = pairs, lag
        self.load_state_dict(self._host().state_dict())

    @property
    def counted(self) -> int:
        """Epochs that `difficulty` uses: those seen, less the lag."""
        return max(self.epochs - self.lag, 0)

    def update(
        self, probability: Float[Tensor, "stays labels"], threshold: float | Float[Tensor, " labels"] = 0.5
    ) -> None:
        """Count one epoch: right is a probability on the observed label's side of the threshold (methods.md A.4)."""
        correct = (probability > threshold) == self.pairs.positive
        self.epochs += 1
        if self.lag:
            correct, self._waiting = self._waiting, correct
        if self.counted == 0:
            return
        if self.counted == 1:
            self._first, self._runs = correct, torch.ones_like(self._runs)
        else:
            self._runs = self._runs + (correct ^ self._last)
        self._n_wrong = self._n_wrong + ~correct
        self._last = correct

    def difficulty(self, variant: Variant = "mean_seg") -> Float[Tensor, "stays labels"]:
        """D = D_m - D_f per pair, high when the pair was hard to learn; see `LearningDynamics.difficulty`."""
        t = self.counted
        if t == 0:
            return torch.zeros_like(self._n_wrong, dtype=torch.float32)
        if variant == "events":
            return self._last.float() - self._first.float()
        if variant == "total_seg":
            return (2 * self._n_wrong.int() - t).float()
        first = self._first.to(self._runs.dtype)
        wrong_runs, right_runs = (self._runs + 1 - first) // 2, (self._runs + first) // 2
        wrong = self._n_wrong.double()
        return (wrong / wrong_runs.clamp(min=1) - (t - wrong) / right_runs.clamp(min=1)).float()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Give what `LearningDynamics.state_dict` gives."""
        kept = {"n_wrong": self._n_wrong, "runs": self._runs}
        seen = {"first": self._first, "last": self._last, "waiting": self._waiting}
        return {
            "epochs": np.array(self.epochs, np.int64),
            "lag": np.array(self.lag, np.int64),
            **{name: counter.cpu().numpy().astype(np.uint16) for name, counter in kept.items()},
            **{name: mask.cpu().numpy() for name, mask in seen.items()},
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over what either's `state_dict` gave; the shape and the lag have to be this object's own.

        Raises
        ------
        RunError
            When they are not.
        """
        host, place = self._host(), self.pairs.positive.device
        host.load_state_dict(state)
        self.epochs = host.epochs
        self._n_wrong, self._runs = (
            torch.from_numpy(state[name].astype(np.int16)).to(place) for name in ("n_wrong", "runs")
        )
        self._first, self._last, self._waiting = (
            torch.from_numpy(state[name].copy()).to(place) for name in ("first", "last", "waiting")
        )

    def _host(self) -> LearningDynamics:
        """Make the host's counters of the same shape, at nothing counted; refuses a lag that is none."""
        stays, labels = self.pairs.positive.shape
        return LearningDynamics((stays, labels), self.lag)


Dynamics = LearningDynamics | PlacedDynamics
"""Counters of right and wrong epochs, wherever they are kept."""


@dataclass(frozen=True)
class PlacedSelection:
    """What one epoch's selection says of every pair, as `core.selection.partition.Selection`, on the device."""

    rank: Int[Tensor, "stays labels"]
    difficulty: Float[Tensor, "stays labels"]
    score: Float[Tensor, "stays labels"]
    uncertainty: Float[Tensor, "stays labels"]
    partition: UInt8[Tensor, "stays labels"]
    mixtures: PlacedMixtures
    alpha: float
    pairs: PlacedPairs

    def counts(self) -> dict[str, int]:
        """Pairs per partition, among those that take part and those that are locked."""
        told = self.pairs.member | self.pairs.locked
        found = torch.stack([((self.partition == code) & told).sum() for code in range(len(PARTITIONS))])
        return dict(zip(PARTITIONS, found.tolist(), strict=True))

    def on_host(self, config: MixtureConfig) -> Selection:
        """Bring all of it to the host."""
        parts = (self.rank, self.difficulty, self.score, self.uncertainty, self.partition)
        rank, difficulty, score, uncertainty, code = (part.cpu().numpy() for part in parts)
        return Selection(rank, difficulty, score, uncertainty, code, self.mixtures.on_host(config), self.alpha)


def rank_placed(probability: Float[Tensor, "stays labels"]) -> Int[Tensor, "stays labels"]:
    """R: place of the label among the stay's labels, 1 = most probable; ties go to the lower label; int16.

    Raises
    ------
    RunError
        If a probability is not a finite number.
    """
    if not bool(probability.isfinite().all()):
        raise RunError("finite probabilities", "NaN or infinity", "lower the learning rate, or train in float32")
    order = probability.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(1, probability.shape[1] + 1, dtype=torch.int16, device=probability.device)
    return torch.empty_like(order, dtype=torch.int16).scatter_(1, order, places.expand_as(order))


def metric_placed(
    rank: Int[Tensor, "stays labels"],
    difficulty: Float[Tensor, "stays labels"],
    pairs: PlacedPairs,
    counted: int,
    config: SelectionConfig,
    alpha: float | None = None,
) -> Float[Tensor, "stays labels"]:
    """Z = α·s + (1-α)·D, raw; see `core.selection.difficulty.selection_metric`."""
    weight = effective_alpha(counted, config, alpha)
    hard = _scaled_difficulty(difficulty, pairs, counted, config)
    mixed = _rank_suspicion(rank, pairs, config) * _single(weight)
    if weight < 1.0:
        mixed = mixed + hard * _single(1.0 - weight)
    if config.rank_mode == "pos_only":
        negatives = hard if counted >= LEAST_EPOCHS else torch.zeros_like(hard)
        mixed = torch.where(pairs.positive, mixed, negatives)
    return mixed


def loss_placed(probability: Float[Tensor, "stays labels"], pairs: PlacedPairs) -> Float[Tensor, "stays labels"]:
    """Binary cross-entropy of each pair against its observed label, in nats."""
    agreed = torch.where(pairs.positive, probability, 1 - probability)
    return -agreed.clamp(min=_single(PROBABILITY_FLOOR)).log()


def partition_placed(
    score: Float[Tensor, "stays labels"], pairs: PlacedPairs, mixtures: PlacedMixtures
) -> UInt8[Tensor, "stays labels"]:
    """Eq. 3, decided pairs not set apart; see `core.selection.partition.partition`."""
    left = mixtures.degenerate
    low = torch.where(left, torch.inf, mixtures.figures[0] + TIE)
    high = torch.where(left, torch.inf, mixtures.figures[1] - TIE)
    above = (score > _by_class(pairs, low)).to(torch.uint8)
    return above + (score >= _by_class(pairs, high)).to(torch.uint8)


def uncertainty_placed(
    score: Float[Tensor, "stays labels"],
    pairs: PlacedPairs,
    code: UInt8[Tensor, "stays labels"],
    mixtures: PlacedMixtures,
    source: UncertaintySource = "means",
) -> Float[Tensor, "stays labels"]:
    """U, 0 on clean and 1 on noisy pairs (Eq. 4); `code` is `partition_placed`'s."""
    if source == "means":
        low, high = (torch.where(mixtures.degenerate, 0.0, mean) for mean in mixtures.figures[:2])
        gap = torch.where(mixtures.degenerate, 1.0, high - low + DIVISION_EPSILON)
        grade = (score - _by_class(pairs, low)) * _by_class(pairs, 1.0 / gap)
    else:
        grade = _posterior(score, pairs, mixtures)
    grade = torch.where(code == CLEAN, 0.0, grade.clamp(0.0, 1.0))
    return torch.where(code == NOISY, 1.0, grade)


def select_placed(
    probability: Float[Tensor, "stays labels"],
    dynamics: PlacedDynamics,
    selection: SelectionConfig,
    mixture: MixtureConfig,
    *,
    eligible: Bool[Tensor, "stays labels"] | None = None,
    fit_on_eligible: bool = False,
    uncertainty_source: UncertaintySource = "means",
    alpha: float | None = None,
) -> PlacedSelection:
    """One epoch's selection on the device; parameters and result as `core.selection.partition.select`."""
    pairs = dynamics.pairs
    rank = rank_placed(probability)
    difficulty = dynamics.difficulty(selection.variant)
    if selection.metric == "loss":
        raw = loss_placed(probability, pairs)
    else:
        raw = metric_placed(rank, difficulty, pairs, dynamics.counted, selection, alpha)
    table = weigh_placed(raw, pairs.positive, pairs.member)
    ranged = Ranged.of(table, selection.range_epsilon)
    score = ((raw - _by_class(pairs, ranged.offset)) * _by_class(pairs, ranged.factor)).clamp(0.0, 1.0)
    if fit_on_eligible and eligible is not None:
        table = weigh_placed(raw, pairs.positive, pairs.member & eligible)
    mixtures = fit_placed(ranged.normalised(table), ranged, mixture)
    code = partition_placed(score, pairs, mixtures)
    grade = uncertainty_placed(score, pairs, code, mixtures, uncertainty_source)
    return PlacedSelection(
        rank=rank,
        difficulty=difficulty,
        score=score,
        uncertainty=grade.masked_fill(pairs.locked, 0.0),
        partition=code.masked_fill(pairs.locked, LOCKED),
        mixtures=mixtures,
        alpha=effective_alpha(dynamics.counted, selection, alpha),
        pairs=pairs,
    )


def _single(number: float) -> float:
    """Round to single precision, as the host does before it multiplies."""
    return float(np.float32(number))


def _by_class(pairs: PlacedPairs, table: Tensor) -> Tensor:
    """Give each pair its group's entry of [2L], in single precision."""
    groups = table.float().reshape(-1, 2)
    return torch.where(pairs.positive, groups[:, 1], groups[:, 0])


def _rank_suspicion(rank: Tensor, pairs: PlacedPairs, config: SelectionConfig) -> Tensor:
    """Scale and orient the rank (A.5, A.6)."""
    labels = rank.shape[1]
    low, high = (rank.new_full((), end) for end in (1, labels))
    span = rank.new_full((), max(labels - 1, 1), dtype=torch.float64)
    if config.scale == "global":
        anyone = pairs.member.any()
        lowest, highest = torch.where(pairs.member, rank, high).amin(), torch.where(pairs.member, rank, low).amax()
        low, high = torch.where(anyone, lowest, low), torch.where(anyone, highest, high)
        span = (high - low).double() + GLOBAL_EPSILON
    place = rank
    if config.rank_mode == "class_oriented":
        place = torch.where(pairs.positive, rank, low + high - rank)
    if config.scale == "raw":
        return place.float()
    return (place - low).float() * (1.0 / span).float()


def _scaled_difficulty(difficulty: Tensor, pairs: PlacedPairs, counted: int, config: SelectionConfig) -> Tensor:
    """Scale D (A.5)."""
    if config.scale == "raw":
        return difficulty
    if config.scale == "fixed":
        bound = 1.0 if config.variant == "events" else float(max(counted, 1))
        return (difficulty + bound) * _single(0.5 / bound)
    low = torch.where(pairs.member, difficulty, torch.inf).amin()
    high = torch.where(pairs.member, difficulty, -torch.inf).amax()
    scaled = (difficulty - low) * (1.0 / (high.double() - low.double() + GLOBAL_EPSILON)).float()
    return torch.where(pairs.member.any(), scaled, 0.0)


def _posterior(score: Tensor, pairs: PlacedPairs, mixtures: PlacedMixtures) -> Tensor:
    """P(noisy component | Z̃), from the ratio of the two weighted densities; meaningless in degenerate groups."""
    figures = torch.where(mixtures.degenerate, 1.0, mixtures.figures)
    odds = torch.zeros_like(score)
    for component, sign in ((0, -1.0), (1, 1.0)):
        mean, deviation, weight = figures[component::2]
        distance = (score - _by_class(pairs, mean)) * _by_class(pairs, 1.0 / deviation)
        level = _by_class(pairs, weight.log() - deviation.log())
        odds = odds + sign * (level - 0.5 * distance * distance)
    return odds.sigmoid()
