"""What a training run tells whoever watches it."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Hears how far a run is; `scripts` draws it as a bar."""

    def start(self, epochs: int, batches: int, done: int) -> None:
        """Hear that training begins: epochs in all, batches an epoch, epochs already in the checkpoint."""

    def stage(self, text: str) -> None:
        """Hear that a step before or after the epochs begins: words, no patient's data."""

    def advance(self, batches: int = 1) -> None:
        """Hear that so many more batches were trained."""

    def describe(self, epoch: int, loss: float, clean: int, uncertain: int, noisy: int, seconds_left: float) -> None:
        """Hear of an epoch's end: mean loss, pairs in each partition, seconds to go."""

    def finish(self) -> None:
        """Hear that the round's tables are written, or the run was stopped."""


class Halted(Exception):  # noqa: N818 (a wish, not an error)
    """Whoever may stop a run did so between two of its steps; caught where the run was begun."""


def nothing() -> None:
    """Ask nobody."""


def halting(should_stop: Callable[[], bool]) -> Callable[[], None]:
    """Make what a long step calls now and then: raises `Halted` once `should_stop` says so."""

    def ask() -> None:
        if should_stop():
            raise Halted

    return ask


class Silent:
    """Says nothing."""

    def start(self, epochs: int, batches: int, done: int) -> None:
        """Say nothing."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def advance(self, batches: int = 1) -> None:
        """Say nothing."""

    def describe(self, epoch: int, loss: float, clean: int, uncertain: int, noisy: int, seconds_left: float) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


def in_quarters(progress: Progress, ask: Callable[[], None] = nothing) -> Callable[[str, int, int], None]:
    """Turn many calls of (what, done, in all) into a stage at each quarter of the way; `ask` is called at every one."""
    told: dict[str, int] = {}

    def tell(what: str, done: int, total: int) -> None:
        ask()
        quarter = 4 * done // max(total, 1)
        if quarter > told.get(what, 0):
            told[what] = quarter
            progress.stage(f"{what}: {done:,} of {total:,}")

    return tell
