"""Where an epoch's selection is computed, on the host in numpy or in tensors on the run's device; both say the same."""

import numpy as np
import torch
from torch import Tensor

from core.config import TrainConfig
from core.correction.cooccurrence import cooccurrence, negative_filter
from core.correction.on_device import cooccurrence_placed, negative_filter_placed
from core.execution import Execution
from core.hints import Bool, Float
from core.locks import Pairs
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.selection.on_device import Dynamics, PlacedDynamics, PlacedPairs, PlacedSelection, select_placed
from core.selection.partition import Selection, select


def dynamics_of(pairs: Pairs, config: TrainConfig, place: torch.device, execution: Execution) -> Dynamics:
    """Make the counters of a run, where its selection is to be computed."""
    lag = config.selection.dynamics_lag
    if execution.selects_on_device(place):
        return PlacedDynamics(PlacedPairs.of(pairs.observed, pairs.member, pairs.locked, place), lag)
    return LearningDynamics(pairs.observed.shape, lag)


def count_epoch(
    dynamics: Dynamics,
    probability: Float[np.ndarray, "stays labels"],
    placed: Float[Tensor, "stays labels"],
    pairs: Pairs,
    threshold: float | Float[np.ndarray, " labels"],
) -> None:
    """Count an epoch's right predictions; its probabilities are given on the host and on the device."""
    if isinstance(dynamics, LearningDynamics):
        dynamics.update(correct_predictions(probability, pairs.observed, threshold))
    else:
        limit = threshold if isinstance(threshold, float) else torch.from_numpy(threshold).to(placed.device)
        dynamics.update(placed, limit)


def eligible_pairs(pairs: Pairs, config: TrainConfig) -> Bool[np.ndarray, "stays labels"]:
    """Z⁻ from the labels as far as they are known, and every observed positive; constant over a round (Eq. 6)."""
    of_training = pairs.stated & pairs.training[:, None]
    counts = cooccurrence(pairs.known, of_training)
    eligible = negative_filter(pairs.known, pairs.stated, pairs.member, counts, config.filter)
    return np.asarray(eligible | (pairs.observed == 1))


def eligible_placed(pairs: Pairs, config: TrainConfig, place: torch.device) -> Bool[Tensor, "stays labels"]:
    """`eligible_pairs` on the device."""
    of_training = pairs.stated & pairs.training[:, None]
    masks = (pairs.known == 1, pairs.observed == 1, pairs.stated, of_training, pairs.member)
    known, observed, stated, counted, member = (torch.from_numpy(mask).to(place) for mask in masks)
    counts = cooccurrence_placed(known, counted)
    return negative_filter_placed(known, stated, member, counts, config.filter) | observed


def select_pairs(
    probability: Float[np.ndarray, "stays labels"],
    dynamics: LearningDynamics,
    pairs: Pairs,
    eligible: Bool[np.ndarray, "stays labels"],
    config: TrainConfig,
    epoch: int,
) -> Selection:
    """Rank, difficulty, Z, 2L mixtures, partition and U from the state at the end of an epoch (A.2, step 3)."""
    return select(
        probability, pairs.observed, pairs.member, dynamics, config.selection, config.mixture, locked=pairs.locked,
        eligible=eligible, fit_on_eligible=config.filter.place == "before_fit",
        uncertainty_source=config.correction.uncertainty_source,
        alpha=config.selection.alpha_at(epoch, config.optim.warm_up, config.optim.epochs),
    )  # fmt: skip


def select_placed_pairs(
    probability: Float[Tensor, "stays labels"],
    dynamics: PlacedDynamics,
    eligible: Bool[Tensor, "stays labels"],
    config: TrainConfig,
    epoch: int,
) -> PlacedSelection:
    """`select_pairs` on the device."""
    return select_placed(
        probability, dynamics, config.selection, config.mixture, eligible=eligible,
        fit_on_eligible=config.filter.place == "before_fit", uncertainty_source=config.correction.uncertainty_source,
        alpha=config.selection.alpha_at(epoch, config.optim.warm_up, config.optim.epochs),
    )  # fmt: skip


def last_selection(
    probability: Float[Tensor, "stays labels"], dynamics: Dynamics, pairs: Pairs, config: TrainConfig
) -> tuple[Selection, Bool[np.ndarray, "stays labels"]]:
    """Select once more when a run is done; the selection and Z⁻, on the host."""
    last = config.optim.epochs
    if isinstance(dynamics, LearningDynamics):
        eligible = eligible_pairs(pairs, config)
        return select_pairs(probability.cpu().numpy(), dynamics, pairs, eligible, config, last), eligible
    placed = eligible_placed(pairs, config, probability.device)
    found = select_placed_pairs(probability, dynamics, placed, config, last)
    return found.on_host(config.mixture), placed.cpu().numpy()
