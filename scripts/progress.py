"""Progress in a terminal: one bar with loss, partitions and time left; plain lines where output is a file."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from scripts.console import PlainConsole

SECONDS_BETWEEN_LINES = 10.0


def spell_seconds(seconds: float) -> str:
    """`75.2` → ``1 min 15 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class TrainingProgress:
    """Implements `core.progress.Progress` with a bar on a terminal, and with a line now and then elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole(stderr=True)
        self._bar: Progress | None = None
        self._epochs = 0
        self._batches = 0
        self._last_line = 0.0

    def __enter__(self) -> "TrainingProgress":
        self._draw()
        return self

    def _draw(self) -> None:
        if self.console.is_terminal and self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self.console,
                transient=False,
            )
            self._bar.start()
            self._task = self._bar.add_task("preparing", total=None, detail="")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def start(self, epochs: int, batches: int, done: int) -> None:
        self._epochs, self._batches = epochs, batches
        self._draw()
        if self._bar is not None:
            self._bar.update(
                self._task, description="epoch", total=epochs * batches, completed=done * batches, detail=""
            )
        elif done:
            self._say(f"going on after epoch {done} of {epochs}")

    def stage(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        else:
            self._say(text)

    def advance(self, batches: int = 1) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, batches)

    def describe(self, epoch: int, loss: float, clean: int, uncertain: int, noisy: int, seconds_left: float) -> None:
        detail = (
            f"loss {loss:.4f} · clean {clean:,} · uncertain {uncertain:,} · noisy {noisy:,} · "
            f"{spell_seconds(seconds_left)} left"
        )
        if self._bar is not None:
            self._bar.update(self._task, description=f"epoch {epoch} of {self._epochs}", detail=detail)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES or epoch == self._epochs:
            self._last_line = time.monotonic()
            self._say(f"epoch {epoch} of {self._epochs}: {detail}")

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


class JobProgress:
    """Implements `scripts.benchmarks.runner.Watcher`: a bar on a terminal, elsewhere a line a job."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole(stderr=True)
        self._bar: Progress | None = None

    def __enter__(self) -> "JobProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def start(self, jobs: int, already: int, workers: int) -> None:
        self._jobs, self._ended = jobs, already
        self._say(f"{jobs:,} runs, {already:,} of them finished before; {workers} at once")
        if self.console.is_terminal and already < jobs:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("run"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self.console,
            )
            self._bar.start()
            self._task = self._bar.add_task("run", total=jobs, completed=already, detail="")

    def end(self, job: object, seconds: float, error: str | None, left: float) -> None:
        self._ended += 1
        detail = f"{job}: {spell_seconds(seconds)} · {spell_seconds(left)} left"
        if error is not None:
            self._say(f"failed: {job}: {error}")
        elif self._bar is None:
            self._say(f"{self._ended:,} of {self._jobs:,} · {detail}")
        if self._bar is not None:
            self._bar.update(self._task, completed=self._ended, detail=detail)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
