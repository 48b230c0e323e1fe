"""Several devices, on one host or many: each process computes its share of every batch, all of them one loss.

Started by `torchrun`, every process holds the network, the optimiser and the pairs' state, plans the same batches, and
takes its share of each. What the network says of the shares is gathered, differentiably, before the loss: the loss, the
contrast and the experts' balance are those of the whole batch, as one process has them, and every process records every
training pair as it comes. Stays that are only scored are shared out and gathered once an epoch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from core.errors import ConfigError
from core.methods.base import Method
from core.models.miracl import Batch, Output

_SUMMED = frozenset({"importance", "load"})
_T = TypeVar("_T")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    Parameters
    ----------
    rank, world
        This process, from 0, and how many there are.
    place
        The device of this process.
    """

    rank: int
    world: int
    place: torch.device

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world == 1

    @property
    def first(self) -> bool:
        """Whether this process reads decisions, writes files and speaks."""
        return self.rank == 0

    def share(self, count: int) -> np.ndarray:
        """Places of this process's share among `count` stays; all shares are of one size, the first stays fill up."""
        size = -(-count // self.world)
        return (np.arange(size) + self.rank * size) % count

    def wait(self) -> None:
        """Wait for the others."""
        if not self.alone:
            dist.barrier()

    def agree(self, value: _T) -> _T:
        """Give everyone what the first process has."""
        if self.alone:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[no-any-return]

    def agree_on(self, array: np.ndarray) -> np.ndarray:
        """Give everyone the first process's numbers."""
        if self.alone:
            return array
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.place)
        dist.broadcast(tensor, src=0)
        return tensor.cpu().numpy()

    def joined(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, in place: where each has written its own rows and zeros elsewhere, all rows."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor


def lonely(place: torch.device) -> Ranks:
    """One process by itself."""
    return Ranks(0, 1, place)


def started_by_torchrun() -> bool:
    """Whether `torchrun` started this process among several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def follows() -> bool:
    """Whether this process trains along with a first one, which does all reading, writing and speaking."""
    return started_by_torchrun() and int(os.environ["RANK"]) > 0


@contextmanager
def ranks_of(place: torch.device) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, as its variables say; alone without them.

    Parameters
    ----------
    place
        The kind of device; with CUDA each process takes that of its local rank. NCCL speaks between GPUs, gloo between
        CPUs.

    Raises
    ------
    ConfigError
        When the host has fewer GPUs than processes.
    """
    if not started_by_torchrun():
        yield lonely(place)
        return
    backend = "gloo"
    if place.type == "cuda":
        local, here = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= here:
            raise ConfigError("a GPU for each process", f"{here} for process {local + 1}", "lower --nproc-per-node")
        place, backend = torch.device("cuda", local), "nccl"
        torch.cuda.set_device(place)
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group(backend)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), place)
    finally:
        if mine:
            dist.destroy_process_group()


def check_shareable(method: Method) -> None:
    """Refuse methods whose step is not a function of the whole batch's outputs alone.

    Raises
    ------
    ConfigError
        For these.
    """
    own_step = type(method).step is not Method.step
    if method.companions or own_step or method.config.method.name == "dfd":
        raise ConfigError(
            "a method that can be trained on several devices",
            method.config.method.name,
            "train it without torchrun",
        )


class _Rows(torch.autograd.Function):
    """Put every process's rows one after the other; back go this process's, times the number of processes.

    All processes have the same loss of the whole, so that a row's gradient summed over them is that many times its own:
    nothing needs to be sent. `DistributedDataParallel` divides by it again.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.size = ranks, len(rows)
        parts = [torch.empty_like(rows) for _ in range(ranks.world)]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        start = ctx.ranks.rank * ctx.size
        return grad[start : start + ctx.size] * ctx.ranks.world, None


class _Sum(torch.autograd.Function):
    """Add every process's numbers; as in `_Rows`, nothing needs to be sent back."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, ranks: Ranks) -> Tensor:
        ctx.world = ranks.world
        total = numbers.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.world, None


class Shared(nn.Module):
    """A network whose batches are shared out, and whose outputs are those of the whole batch, in every process.

    Parameters
    ----------
    network
        On this process's device.
    ranks
        Of at least two.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        super().__init__()
        self.ranks = ranks
        devices = [ranks.place.index] if ranks.place.type == "cuda" else None
        self.network = DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)

    def forward(self, batch: Batch) -> Output:
        """Give the outputs of all stays of `batch`, whose arrays may still be on the host."""
        output: Output = self.network(self.portion(batch))
        return self.whole(output, len(batch.rows))

    def portion(self, batch: Batch) -> Batch:
        """Take the process's share of a batch, no longer than its longest stay, to its device."""
        share = self.ranks.share(len(batch.rows))
        mine = torch.from_numpy(share)
        parts = {f.name: getattr(batch, f.name)[mine.to(getattr(batch, f.name).device)] for f in fields(batch)}
        part = Batch(**parts)
        # Stays that only fill up are shown without data, so that they weigh nothing in the experts' sums.
        filling = np.arange(len(share)) + self.ranks.rank * len(share) >= len(batch.rows)
        fill = torch.from_numpy(filling).to(part.series_lengths.device)
        part.series_lengths[fill] = 0
        part.note_lengths[fill] = 0
        steps, passages = max(int(part.series_lengths.max()), 1), max(int(part.note_lengths.max()), 1)
        short = replace(part, series=part.series[:, :steps], notes=part.notes[:, :passages])
        return Batch(**{f.name: getattr(short, f.name).to(self.ranks.place) for f in fields(short)})

    def whole(self, output: Output, stays: int) -> Output:
        """Put the processes' outputs together; sums are added, rows stand one after the other."""
        together: dict[str, Tensor] = {}
        for field in fields(output):
            value = getattr(output, field.name)
            if field.name in _SUMMED:
                together[field.name] = _Sum.apply(value, self.ranks)  # type: ignore[no-untyped-call]
            else:
                kept = value.to(torch.uint8) if value.dtype == torch.bool else value
                rows = _Rows.apply(kept.contiguous(), self.ranks)  # type: ignore[no-untyped-call]
                together[field.name] = rows[:stays].to(value.dtype)
        return type(output)(**together)
