"""What the verbs of `miracl benchmark` share: run the jobs with a bar, then write the table of all that is there."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer

from core.fileio import replacing
from scripts.benchmarks.machine import ROOT
from scripts.benchmarks.rows import Key, Row, finished, options_of, read_rows
from scripts.benchmarks.runner import Job, Made, run_jobs
from scripts.progress import JobProgress
from scripts.running import EXIT_STOPPED, StopFlag, console

EXIT_FAILED = 1


@dataclass(frozen=True)
class Measuring:
    """How a verb runs.

    Parameters
    ----------
    rows
        Folder of the raw rows.
    out
        File the table goes to beside the console.
    workers
        Runs at once.
    changed
        Runs again what other options made.
    """

    rows: Path
    out: Path | None
    workers: int
    changed: bool = False


def rows_folder(given: Path | None, quick: bool, stack: ExitStack) -> Path:
    """Where raw rows go: as told, a folder that goes away for a quick look, the developers' in their tree, else the
    workspace's.
    """
    if given is not None:
        return given
    if quick:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="miracl-rows-")))
    own = ROOT / "scripts" / "benchmarks" / "rows"
    return own if (ROOT / ".git").exists() else Path("workspace") / "benchmarks" / "rows"


def default_workers(device: str) -> int:
    """A process a core on the processor; on one accelerator four share it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4) if device == "cuda" else cores


def measure(
    jobs: Sequence[Job],
    work: Callable[[Job], Made],
    how: Measuring,
    markdown: Callable[[list[Row]], str],
    *,
    digest: Callable[[Job], str],
    there: Callable[[Path], set[Key]] | None = None,
    table: str | None = None,
    fresh: bool = False,
) -> None:
    """Run what is not finished, then print and write the table.

    Parameters
    ----------
    jobs, work
        As `run_jobs` takes them.
    how
        Folder, file, processes.
    markdown
        Writes the table from the raw rows.
    digest
        Of a job's options as they are now.
    there
        Keys of finished runs in a folder; those in the jobs' own table if not given.
    table
        The table that is written; the jobs' own if not given.
    fresh
        As `run_jobs` takes it.

    Raises
    ------
    ConfigError
        On options that no run can take, before any begins.
    typer.Exit
        With `EXIT_STOPPED` where it was stopped, with 1 where runs failed.
    """
    own = jobs[0].table
    digests = {kind: digest(job) for kind, job in {_kind(job): job for job in jobs}.items()}
    ended = there(how.rows) if there else finished(how.rows, own)
    made_with = options_of(read_rows(how.rows, own))
    other = [job for job in jobs if job.key in ended and made_with.get(job.key) != digests[_kind(job)]]
    if other and not how.changed:
        console.print(f"{len(other)} finished runs were made with other options; --changed runs them again.")
    again: set[Key] = {job.key for job in other} if how.changed else set()
    with StopFlag() as stop, JobProgress() as progress:
        told = run_jobs(
            jobs,
            work,
            how.rows,
            finished=lambda job: job.key in ended and job.key not in again,
            workers=how.workers,
            watcher=progress,
            should_stop=stop,
            fresh=fresh,
        )
    rows = read_rows(how.rows, table or own)
    if rows:
        text = markdown(rows)
        console.print(text, markup=False)
        if how.out is not None:
            how.out.parent.mkdir(parents=True, exist_ok=True)
            with replacing(how.out) as path:
                path.write_text(text + "\n", encoding="utf-8")
    if told.stopped:
        console.print("Stopped. The same command goes on with the runs that are not finished.")
        raise typer.Exit(EXIT_STOPPED)
    if told.failed:
        console.print(f"{len(told.failed)} of {len(jobs)} runs failed; the same command tries them again.")
        raise typer.Exit(EXIT_FAILED)


def _kind(job: Job) -> tuple[object, ...]:
    """What a job's options hang on."""
    return job.preset, job.method, job.size, job.epochs, job.options
