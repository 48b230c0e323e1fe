"""The bridge between the trainer and the store: decisions go into a run, a finished run becomes a round.

A run's inputs (decisions read, parent) are fixed in its folder when it starts, so that one that was killed goes on with
what it began with. Where the decisions' help is to be measured, a twin is trained without them before the round is
published, since a round's file never changes. Order at the end: the model is put in place, the round is published, the
run's folder goes; killed anywhere, the next start carries on from what it finds.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.database import Store
from audit_store.errors import WorkspaceError
from audit_store.labels import locks as read_locks
from audit_store.people import operator
from audit_store.rounds import check_cohort_matches, note_rounds, open_round, publish_round
from audit_store.schema import OPTIONAL_TABLES, ROUND_TABLES
from audit_store.workspace import Workspace
from core.cohort.store import Cohort, open_cohort
from core.config import TrainConfig
from core.distributed import ranks_of
from core.errors import RunError
from core.execution import Execution
from core.fileio import parsed_json, replacing, sync_directory
from core.progress import Progress, Silent
from core.training import choose_device, train_round
from scripts.did_it_help import write_comparison

NO_DECISIONS = (0, 0, "")
_LARGEST = 2**63
NO_FLAGS = 0  # nobody reads the twin's flags, and without any it explains none


@dataclass(frozen=True)
class Start:
    """What a run read when it began."""

    round_id: int
    parent: int | None
    decisions_count: int
    decisions_last_id: int
    decisions_head: str

    def check(self, round_id: int) -> None:
        """Raise a ValueError unless every field is of its type and the run is that of round `round_id`."""
        numbers = (self.round_id, self.decisions_count, self.decisions_last_id, self.parent or 0)
        fits = all(type(number) is int and 0 <= number < _LARGEST for number in numbers)
        if not fits or self.round_id != round_id or not isinstance(self.decisions_head, str):
            raise ValueError("a start of another form")


@dataclass(frozen=True)
class Run:
    """What every process that trains a round has to know of it."""

    start: Start
    locks: pa.Table
    config: TrainConfig
    seed: int
    device: str
    budget: int | None
    did_it_help: bool
    execution: Execution


@contextmanager
def only_trainer(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's training lock; refuse when another process holds it."""
    workspace.runs.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(workspace.runs / ".training.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceError(
                "one training run at a time in a workspace",
                "another that is still running",
                "wait for it, or stop it; it can be resumed",
            ) from None
        yield
    finally:
        os.close(handle)


def begin(store: Store, round_id: int) -> tuple[Start, pa.Table]:
    """The decisions a run starts from: those its folder already holds, else today's, written there first."""
    workspace = store.workspace
    folder = workspace.run_folder(round_id)
    start_path, locks_path = folder / "start.json", folder / "locks.parquet"
    if start_path.is_file():
        try:
            start = Start(**parsed_json(start_path.read_text(encoding="utf-8")))
            start.check(round_id)
            return start, pq.read_table(locks_path)
        except (ValueError, TypeError, OSError, pa.ArrowException):
            raise RunError(
                "a run folder with readable start.json and locks.parquet",
                "files that are cut short or changed",
                "add --fresh to begin the round again",
            ) from None
    found = read_locks(store, before_round=round_id)
    start = Start(
        round_id,
        workspace.latest_round(),
        found.decisions_count,
        found.decisions_last_id,
        found.decisions_head,
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(locks_path) as aside:
        pq.write_table(found.table, aside)
    with replacing(start_path) as aside:
        aside.write_text(json.dumps(asdict(start)), encoding="utf-8")
    return start, found.table


def discard(workspace: Workspace, round_id: int) -> None:
    """Remove the folders of an unfinished run and of its twin without decisions."""
    for folder in (workspace.twin_folder(round_id), workspace.run_folder(round_id)):
        shutil.rmtree(folder, ignore_errors=True)


def tidy(store: Store) -> None:
    """Finish what a kill cut short: note a complete round in the ledger, remove the folders of published rounds."""
    workspace = store.workspace
    # Only where the run's folder is still there: a round file of other origin is not taken into the ledger.
    cut_short = [round_id for round_id in workspace.round_ids() if workspace.run_folder(round_id).is_dir()]
    note_rounds(store, cut_short, operator())
    for round_id in workspace.round_ids():
        discard(workspace, round_id)


def _place_model(workspace: Workspace, round_id: int, model: Path) -> None:
    """Move the model into place; a run that was killed after the move finds it there."""
    target = workspace.model_folder(round_id)
    if not model.is_dir():
        return
    target.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(model, target)
    sync_directory(target.parent)


def publish(store: Store, round_id: int, out: Path) -> Path:
    """Turn a run's out/ into a round file and a model folder; returns the round file."""
    workspace = store.workspace
    optional = [name for name in OPTIONAL_TABLES if (out / f"{name}.parquet").is_file()]
    _place_model(workspace, round_id, out / "model")
    path = publish_round(
        store,
        round_id,
        out / "round.json",
        {name: out / f"{name}.parquet" for name in (*ROUND_TABLES, *optional)},
        operator(),
    )
    discard(workspace, round_id)
    return path


def run_round(
    store: Store,
    config: TrainConfig,
    *,
    seed: int,
    device: str,
    budget: int | None,
    progress: Progress,
    should_stop: Callable[[], bool],
    fresh: bool = False,
    allow_changed_cohort: bool = False,
    did_it_help: bool = False,
    execution: Execution = Execution(),
) -> int | None:
    """Train the next round and publish it; None when it was stopped (call again to go on).

    Parameters
    ----------
    did_it_help
        Train the same seed once more without the decisions, and keep the comparison with the round. Without decisions
        there is nothing to compare, and nothing more is trained.
    execution
        How to compute, as against what.

    Raises
    ------
    StoreError, MiraclError
        When another trainer runs, the cohort changed since the last round, or the unfinished run has other options.
    """
    workspace = store.workspace
    with ranks_of(choose_device(device)) as ranks, only_trainer(workspace):
        tidy(store)
        round_id = workspace.next_round()
        parent = workspace.latest_round()
        if fresh:
            discard(workspace, round_id)
        if parent is not None and not allow_changed_cohort:
            check_cohort_matches(workspace, open_round(workspace, parent))
        cohort = open_cohort(workspace.cohort)
        start, locks = begin(store, round_id)
        run = Run(start, locks, config, seed, device, budget, did_it_help, execution)
        ranks.agree(run)
        out, without = _trained(run, cohort, workspace, progress, should_stop)
        if out is None:
            return None
        if without is not None:
            progress.stage("comparing the two")
            write_comparison(out, without, locks, seed=seed)
        progress.stage(f"writing round {round_id}")
        publish(store, round_id, out)
        return round_id


def join_round(workspace: Workspace, device: str, should_stop: Callable[[], bool]) -> None:
    """Train along as one of the processes after the first that `torchrun` started: compute, read and write nothing."""
    with ranks_of(choose_device(device)) as ranks:
        run: Run | None = ranks.agree(None)
        if run is not None:
            _trained(run, open_cohort(workspace.cohort), workspace, Silent(), should_stop)


def _trained(
    run: Run, cohort: Cohort, workspace: Workspace, progress: Progress, should_stop: Callable[[], bool]
) -> tuple[Path | None, Path | None]:
    """Train the round, and its twin without decisions where that is asked for; None where it was stopped."""
    start = run.start

    def train(folder: Path, decided: pa.Table, read: tuple[int, int, str], flags: int | None) -> Path | None:
        return train_round(
            cohort,
            folder,
            run.config,
            locks=decided,
            round_id=start.round_id,
            parent=start.parent,
            decisions=read,
            seed=run.seed,
            device=run.device,
            budget=flags,
            cache_dir=workspace.cache,
            progress=progress,
            should_stop=should_stop,
            execution=run.execution,
        )

    read = (start.decisions_count, start.decisions_last_id, start.decisions_head)
    out = train(workspace.run_folder(start.round_id), run.locks, read, run.budget)
    if out is None or not (run.did_it_help and run.locks.num_rows):
        return out, None
    progress.stage("once more without the decisions")
    without = train(workspace.twin_folder(start.round_id), run.locks.slice(0, 0), NO_DECISIONS, NO_FLAGS)
    return (None, None) if without is None else (out, without)
