"""Where a training step's time goes: encoders, fusion, experts, loss, backward through each, optimiser.

Forward parts are timed by module hooks. The backward pass runs from the loss to the encoders; it is parted at the
moments when the gradient of the fused tokens, and then that of what the encoders gave, is complete.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.methods.base import Method
from core.models.losses import contrastive
from core.models.miracl import Batch, MiraclModel
from core.resident import Feed

PARTS = ("series_encoder", "note_encoder", "fusion", "experts", "readout")
ORDER = (
    "batch put together", *(f"{name} forward" for name in PARTS), "other forward", "loss", "backward, loss to experts",
    "backward, fusion", "backward, encoders", "optimiser",
)  # fmt: skip
"""Parts of a step; they add up to it."""
CONTRAST = "contrast alone, both ways"
"""Part of the loss and of the backward pass; timed by itself."""


class Watch:
    """Adds up seconds by part; the device's queue is emptied before the clock is read."""

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self.seconds: dict[str, float] = defaultdict(float)
        self.last = 0.0
        self.stays = 0

    def now(self) -> float:
        """Seconds, once all that was asked of the device is done."""
        if self.place.type == "cuda":
            torch.cuda.synchronize(self.place)
        return time.perf_counter()

    def start(self) -> None:
        """Set the mark from which the next part counts."""
        self.last = self.now()

    def lap(self, part: str) -> None:
        """Count the time since the mark to a part, and set the mark anew."""
        now = self.now()
        self.seconds[part] += now - self.last
        self.last = now


def profile(method: Method, model: nn.Module, feed: Feed, batches: list[np.ndarray], skip: int = 2) -> dict[str, float]:
    """Train on some batches and tell milliseconds a stay for each part.

    Parameters
    ----------
    method, model
        A method on MIRACL's network, ready for an epoch.
    feed
        Puts batches together.
    batches
        Rows of each.
    skip
        First batches that don't count.

    Returns
    -------
    dict
        Milliseconds a stay by `ORDER`, and `CONTRAST`.
    """
    assert isinstance(model, MiraclModel)
    place = method.setting.place
    optimiser = method.optimiser(model)
    watch = Watch(place)
    model.train()
    with _forward_parts(model, watch) as outputs:
        watch.start()
        for number, batch in enumerate(feed(batches)):
            if number == skip:
                watch.seconds.clear()
                watch.stays = 0
                watch.start()
            watch.lap("batch put together")
            _step(method, model, optimiser, batch, watch, outputs)
            watch.stays += len(batch.rows)
            watch.start()
    stays = max(watch.stays, 1)
    return {part: 1000 * watch.seconds.get(part, 0.0) / stays for part in (*ORDER, CONTRAST)}


def _step(
    method: Method,
    model: MiraclModel,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    watch: Watch,
    outputs: dict[str, Tensor],
) -> None:
    with method.setting.execution.narrow(method.setting.place):
        output = model(batch)
    watch.lap("other forward")
    terms = method.objective(output, batch)
    watch.lap("loss")
    optimiser.zero_grad()
    gone: set[str] = set()

    def reached(part: str) -> Callable[[Tensor], None]:
        def hook(_: Tensor) -> None:
            if part not in gone:
                gone.add(part)
                watch.lap(part)

        return hook

    encoded = reached("backward, fusion")
    hooks = {"fusion": reached("backward, loss to experts"), "series_encoder": encoded, "note_encoder": encoded}
    for name, hook in hooks.items():
        outputs[name].register_hook(hook)  # type: ignore[no-untyped-call]
    torch.autograd.backward(terms[0])
    watch.lap("backward, encoders")
    optimiser.step()
    watch.lap("optimiser")
    h = [part.detach().requires_grad_() for part in (output.h_series, output.h_note)]
    watch.start()
    loss, _ = contrastive(
        h[0], h[1], output.has_series, output.has_note, batch.patient, method.config.loss.temperature
    )  # fmt: skip
    torch.autograd.backward(loss)
    watch.lap(CONTRAST)


@contextmanager
def _forward_parts(model: MiraclModel, watch: Watch) -> Iterator[dict[str, Tensor]]:
    """Time each part's forward pass, and keep what it gave."""
    outputs: dict[str, Tensor] = {}
    handles = []

    def before(_module: nn.Module, _given: Any) -> None:
        watch.lap("other forward")

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _given: Any, made: Any) -> None:
            watch.lap(f"{name} forward")
            if isinstance(made, Tensor):
                outputs[name] = made

        return hook

    for name in PARTS:
        part = getattr(model, name)
        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after(name))]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
