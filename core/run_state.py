"""What one epoch leaves to the next, and how a checkpoint holds it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.config import TrainConfig
from core.locks import Pairs
from core.models.miracl import MiraclModel
from core.selection.dynamics import LearningDynamics


@dataclass
class State:
    """What an epoch leaves to the next, and a checkpoint keeps. Arrays have a row for every stay, test stays too.

    Parameters
    ----------
    epoch
        Epochs completed.
    probability
        float32 [3, stays, labels]: fused, series head, note head, as last recorded.
    history
        uint8 [epochs, stays, labels], round(255·p) of each epoch, fused.
    dynamics
        Counters of right and wrong predictions.
    corrected
        float32 [stays, labels], Ỹcorr; `base` until the first correction.
    rows
        A row of the table ``epoch`` for each.
    """

    epoch: int
    probability: Tensor
    history: np.ndarray
    dynamics: LearningDynamics
    corrected: np.ndarray
    rows: list[dict[str, Any]]


def fresh(pairs: Pairs, config: TrainConfig, place: torch.device) -> State:
    """Make the state before the first epoch."""
    shape = pairs.observed.shape
    return State(
        epoch=0,
        probability=torch.zeros((3, *shape), device=place),
        history=np.zeros((config.optim.epochs, *shape), np.uint8),
        dynamics=LearningDynamics(shape, lag=config.selection.dynamics_lag),
        corrected=pairs.base.copy(),
        rows=[],
    )


def snapshot(model: MiraclModel, optimiser: torch.optim.Optimizer, state: State) -> dict[str, Any]:
    """Give everything that going on exactly needs, as `save_checkpoint` takes it."""
    return {
        "epoch": state.epoch,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "probability": state.probability,
        "history": torch.from_numpy(state.history[: state.epoch]),
        "dynamics": {name: torch.from_numpy(np.asarray(array)) for name, array in state.dynamics.state_dict().items()},
        "corrected": torch.from_numpy(state.corrected),
        "rows": state.rows,
    }


def restore(saved: dict[str, Any], model: MiraclModel, optimiser: torch.optim.Optimizer, state: State) -> None:
    """Take over a checkpoint: weights, optimiser, and everything that an epoch leaves to the next."""
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    state.epoch = int(saved["epoch"])
    state.probability.copy_(saved["probability"])
    state.history[: state.epoch] = saved["history"].numpy()
    state.dynamics.load_state_dict({name: array.numpy() for name, array in saved["dynamics"].items()})
    state.corrected = saved["corrected"].numpy()
    state.rows = saved["rows"]
