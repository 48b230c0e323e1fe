"""Runs jobs in processes, writes each one's rows as it ends, and goes on where an earlier command stopped.

The parent alone writes. A worker is a fresh interpreter with one thread that works until its pipe closes; one that dies
takes one job with it and is replaced.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from core.errors import MiraclError
from scripts.benchmarks.rows import Key, Row, write_rows

Made = Mapping[str, Sequence[Row]]
"""Rows of one job, by table; the job's own table comes last."""

POLL_SECONDS = 0.2
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True)
class Place:
    """Where a job finds things: the folder of packed cohorts, the demo data, the device."""

    cache: Path
    data: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Job:
    """One run: its key, the options changed from the method's preset, and where it finds things.

    `table` is where it counts as finished; `preset` is the word `make_config` takes, the method's name if empty.
    """

    table: str
    cohort: str
    method: str
    noise: str
    seed: int
    size: str
    epochs: int
    version: str
    place: Place
    preset: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> Key:
        """As `rows.KEY`."""
        return (self.cohort, self.method, self.noise, self.seed, self.size, self.epochs, self.version)

    def __str__(self) -> str:
        return f"{self.cohort} {self.method} {self.noise} seed {self.seed}"


class Watcher(Protocol):
    """Hears how far a command is."""

    def start(self, jobs: int, already: int, workers: int) -> None:
        """Hear how many jobs there are, how many were finished before, and how many run at once."""

    def end(self, job: Job, seconds: float, error: str | None, left: float) -> None:
        """Hear of a job's end, why it failed if it did, and how many seconds are left."""


@dataclass
class Outcome:
    """What became of the jobs."""

    done: int = 0
    already: int = 0
    stopped: bool = False
    failed: list[tuple[Job, str]] = field(default_factory=list)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    began: float = 0.0


def run_jobs(
    jobs: Iterable[Job],
    work: Callable[[Job], Made],
    rows: Path,
    *,
    finished: Callable[[Job], bool],
    workers: int,
    watcher: Watcher,
    should_stop: Callable[[], bool],
    fresh: bool = False,
) -> Outcome:
    """Run what is not finished, in the order given.

    Parameters
    ----------
    jobs
        In order of urgency; a key that comes twice is run once.
    work
        A module's function, since it is called in another process.
    rows
        Folder of the tables.
    finished
        Whether a job's rows are there already.
    workers
        Processes at once, at least 1.
    watcher, should_stop
        Who watches, and who may stop it: what is under way then is dropped, what has ended is kept.
    fresh
        A new process for each job, so that one's memory does not count as the next one's.
    """
    wanted = list({(job.table, job.key): job for job in jobs}.values())
    queue = [job for job in wanted if not finished(job)]
    told = Outcome(already=len(wanted) - len(queue))
    count = max(1, min(workers, len(queue)))
    watcher.start(len(wanted), told.already, count)
    if not queue:
        return told
    crew: list[_Worker] = []
    spent: list[float] = []
    queue.reverse()
    try:
        crew = [_hire(work) for _ in range(count)]
        while queue or any(worker.job for worker in crew):
            if should_stop():
                told.stopped = True
                break
            for worker in crew:
                if worker.job is None and queue:
                    worker.job, worker.began = queue.pop(), time.perf_counter()
                    worker.pipe.send(worker.job)
            for ready in wait([worker.pipe for worker in crew if worker.job], POLL_SECONDS):
                place = next(i for i, worker in enumerate(crew) if worker.pipe is ready)
                worker = crew[place]
                job = worker.job
                assert job is not None
                made, error = _receive(worker)
                if made is not None:
                    write_rows(rows, made)
                    told.done += 1
                else:
                    told.failed.append((job, error))
                seconds = time.perf_counter() - worker.began
                spent.append(seconds)
                worker.job = None
                if queue and (fresh or not worker.process.is_alive()):
                    _dismiss(worker)
                    crew[place] = _hire(work)
                under_way = sum(other.job is not None for other in crew)
                left = sum(spent) / len(spent) * (len(queue) + under_way / 2) / count
                watcher.end(job, seconds, None if made is not None else error, left)
    finally:
        for worker in crew:
            _dismiss(worker)
    return told


def _hire(work: Callable[[Job], Made]) -> _Worker:
    """Start a worker; it inherits one thread a process, unless the environment says otherwise."""
    context = get_context("spawn")
    here, there = context.Pipe()
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update({name: value for name, value in THREADS.items() if before[name] is None})
    try:
        process = context.Process(target=_serve, args=(work, there), daemon=True)
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
    there.close()
    return _Worker(process, here)


def _receive(worker: _Worker) -> tuple[Made | None, str]:
    try:
        made, error = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(5)
        return None, f"its process ended with status {worker.process.exitcode}"
    return made, error


def _dismiss(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _serve(work: Callable[[Job], Made], pipe: Connection) -> None:
    """Work until the pipe closes. Ctrl+C reaches the whole group of processes; here the parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_thread()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[Made | None, str] = (work(job), "")
        except MiraclError as error:
            answer = (None, str(error))
        except Exception as error:  # one job's fault must not end a day's command
            answer = (None, f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _one_thread() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
