"""What one epoch leaves to the next, and how a checkpoint holds it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.config import TrainConfig
from core.execution import Execution
from core.locks import Pairs
from core.methods.base import Method
from core.selecting import dynamics_of
from core.selection.on_device import Dynamics


@dataclass
class State:
    """What an epoch leaves to the next, and a checkpoint keeps. Arrays have a row for every stay, test stays too.

    Parameters
    ----------
    epoch
        Epochs completed.
    probability
        float32 [3, stays, labels]: fused, series head, note head, as last recorded.
    logits
        float16 [epochs, stays, labels], the fused logit of each epoch.
    feature_norm
        float32 [epochs, stays], ‖[f;1]‖.
    embedding
        float32 [stays, width], f as last recorded.
    dynamics
        Counters of right and wrong predictions.
    rows
        A row of the table ``epoch`` for each.
    """

    epoch: int
    probability: Tensor
    logits: np.ndarray
    feature_norm: np.ndarray
    embedding: Tensor
    dynamics: Dynamics
    rows: list[dict[str, Any]]


def fresh(pairs: Pairs, config: TrainConfig, place: torch.device, execution: Execution = Execution()) -> State:
    """Make the state before the first epoch."""
    shape, epochs = pairs.observed.shape, config.optim.epochs
    return State(
        epoch=0,
        probability=torch.zeros((3, *shape), device=place),
        logits=np.zeros((epochs, *shape), np.float16),
        feature_norm=np.zeros((epochs, shape[0]), np.float32),
        embedding=torch.zeros((shape[0], 0), device=place),
        dynamics=dynamics_of(pairs, config, place, execution),
        rows=[],
    )


def snapshot(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    method: Method,
    state: State,
) -> dict[str, Any]:
    """Give everything that going on exactly needs, as `save_checkpoint` takes it."""
    return {
        "epoch": state.epoch,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "probability": state.probability,
        "logits": torch.from_numpy(state.logits[: state.epoch]),
        "feature_norm": torch.from_numpy(state.feature_norm[: state.epoch]),
        "embedding": state.embedding,
        "dynamics": {name: torch.from_numpy(np.asarray(array)) for name, array in state.dynamics.state_dict().items()},
        "method": method.state(),
        "counts": dict(method.counts),
        "rows": state.rows,
    }


def restore(
    saved: dict[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    method: Method,
    state: State,
) -> None:
    """Take over a checkpoint: weights, optimiser, and everything that an epoch leaves to the next."""
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    state.epoch = int(saved["epoch"])
    state.probability.copy_(saved["probability"])
    state.logits[: state.epoch] = saved["logits"].numpy()
    state.feature_norm[: state.epoch] = saved["feature_norm"].numpy()
    state.embedding = saved["embedding"].to(state.embedding.device)
    state.dynamics.load_state_dict({name: array.numpy() for name, array in saved["dynamics"].items()})
    method.restore(saved["method"])
    method.counts |= saved["counts"]
    state.rows = saved["rows"]
