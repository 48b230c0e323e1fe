"""A running average of the network's weights, which test stays are scored with: steadier than the last step's."""

import copy

import torch
from torch import nn


class Averaged:
    """θ̄ ← decay·θ̄ + (1 - decay)·θ after each step, decay rising from 0 over the first steps.

    Parameters
    ----------
    model
        The network that is trained; buffers are taken over as they are.
    decay
        Weight of the past, per step: .99 averages over about a hundred steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Count one step."""
        self.steps += 1
        share = 1.0 - min(self.decay, (self.steps - 1) / (self.steps + 9))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), share)
        for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(buffer)
