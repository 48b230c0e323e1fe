"""Starting the next round from a screen: the trainer as a process of its own, watched by what it leaves in its folder.

The store never imports the trainer. The process inherits an open, locked file (`runs/.next-round.lock`); the lock ends
with the process however it ends, so "is one running" needs no bookkeeping and survives a restart of the server. Beside
it stand what was started by whom (`.next-round.json`) and what the trainer said (`.next-round.log`), both for their
owner alone. How far it is comes from the run's own folder, so a run begun on the command line is seen as well.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit_store.database import Store, utc_now
from audit_store.errors import WorkspaceError
from audit_store.fileio import FILE_MODE, parsed_json, replacing
from audit_store.ledger import append
from audit_store.next_round_status import NextRound, free, note_path, one_line, read_note, status_of
from audit_store.people import Person, require_now
from audit_store.workspace import Workspace

__all__ = [
    "NextRound",
    "next_round_status",
    "shown_command",
    "start_next_round",
    "stop_next_round",
    "train_arguments",
    "trainer_installed",
]

LOCK, LOG, TRAINER_LOCK = ".next-round.lock", ".next-round.log", ".training.lock"
TRAINER = "scripts.cli"
HASHING_ENCODER = "tfidf"
NICENESS = "5"
TRIES, TRY_SECONDS = 10, 0.02


def trainer_installed() -> bool:
    """Whether this machine can train: torch, and the module behind the `miracl` command."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in ("torch", TRAINER))
    except ModuleNotFoundError:
        return False


def train_arguments(workspace: Workspace, *, did_it_help: bool = False) -> tuple[str, ...]:
    """Arguments of `miracl train` after the workspace: as the unfinished run began, else as the last round was made.

    Parameters
    ----------
    workspace
        Where the round will be.
    did_it_help
        Whether to train once more without the decisions and compare.

    Returns
    -------
    tuple of str
        Flags and values; without rounds, none: the command's own defaults hold.
    """
    held = _identity(workspace)
    more = ("--did-it-help",) if did_it_help else ()
    if held is None:
        return more
    config = _object(held.get("config"))
    found = [("--preset", config.get("preset")), ("--size", config.get("size")), ("--seed", held.get("seed"))]
    found.append(("--epochs", _object(config.get("optim")).get("epochs")))
    encoder = _object(_object(config.get("tensors")).get("notes")).get("encoder")
    found.append(("--note-encoder", None if encoder == HASHING_ENCODER else encoder))
    return (*(word for flag, value in found if value is not None for word in (flag, str(value))), *more)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _identity(workspace: Workspace) -> dict[str, Any] | None:
    """Read what the unfinished run was begun with, else what the last round was made with: config, seed."""
    path = workspace.run_folder(workspace.next_round()) / "config.json"
    try:
        held = parsed_json(path.read_text(encoding="utf-8"))
        if isinstance(held, dict):
            return held
    except (OSError, ValueError):
        pass
    latest = workspace.latest_round()
    if latest is None:
        return None
    from audit_store.rounds import open_round

    info = open_round(workspace, latest).info
    return {"config": info.config, "seed": info.seed}


def shown_command(workspace: Workspace, *, did_it_help: bool = False) -> str:
    """Give the command as a screen may show it: folders by their last name alone, no path of this machine."""
    words = [Path(word).name if os.path.isabs(word) else word for word in train_arguments(workspace)]
    return " ".join(
        ["miracl train --workspace", workspace.root.name, *words, *(["--did-it-help"] if did_it_help else [])]
    )


def start_next_round(
    store: Store, person: Person, *, did_it_help: bool = False, command: Sequence[str] | None = None
) -> NextRound:
    """Start the trainer, unless one is at work on this workspace: then say how far that one is.

    The ledger tells who started which round and how (an event ``round_start``): both happen, or neither.

    Parameters
    ----------
    store, person
        Where, and who starts it (role that may publish rounds).
    did_it_help
        Whether to train once more without the decisions and compare.
    command
        What to run instead of this Python's `miracl train`.

    Returns
    -------
    NextRound
        How it stands now. Two who start at once get the same run.

    Raises
    ------
    AccessError
        When the person may not publish rounds.
    WorkspaceError
        When the trainer is not installed here, or can't be started.
    """
    with store.reading() as connection:
        require_now(connection, person, "publish_round")  # before anything is told of this machine
    workspace = store.workspace
    if command is None and not trainer_installed():
        raise WorkspaceError(
            "the trainer on this machine", "the review pages alone", "run the command on the machine that trains"
        )
    if not free(workspace.runs / TRAINER_LOCK):
        return next_round_status(workspace)
    handle = os.open(workspace.runs / LOCK, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        if not _take(handle):
            return next_round_status(workspace)
        _start(store, person, did_it_help, command, handle)
    finally:
        os.close(handle)  # the trainer holds its own copy, and with it the lock
    return next_round_status(workspace)


def _take(handle: int) -> bool:
    """Lock the file for this process; False where a trainer holds it (a screen that looks holds it for an instant)."""
    for _ in range(TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(TRY_SECONDS)
    return False


def _start(store: Store, person: Person, did_it_help: bool, command: Sequence[str] | None, handle: int) -> None:
    """Note the start in the ledger and launch the trainer, in one transaction."""
    workspace = store.workspace
    process: subprocess.Popen[bytes] | None = None
    try:
        with store.writing() as connection:
            require_now(connection, person, "publish_round")
            data = {
                "round_id": workspace.next_round(),
                "command": shown_command(workspace, did_it_help=did_it_help),
                "did_it_help": did_it_help,
                "goes_on": (workspace.run_folder(workspace.next_round()) / "start.json").is_file(),
            }
            append(connection, "round_start", person.name, data)
            process = _launch(workspace, person, did_it_help, command, handle)
    except BaseException:
        if process is not None:
            process.terminate()  # the ledger would not know of it
        raise
    threading.Thread(target=process.wait, daemon=True).start()


def _launch(
    workspace: Workspace, person: Person, did_it_help: bool, command: Sequence[str] | None, handle: int
) -> "subprocess.Popen[bytes]":
    own = [sys.executable, "-m", TRAINER, "train", "--workspace", str(workspace.root)]
    words = list(command) if command is not None else [*own, *train_arguments(workspace, did_it_help=did_it_help)]
    nice = shutil.which("nice")
    words = [*([nice, "-n", NICENESS] if nice else []), *words]  # reviewing comes first
    log = os.open(workspace.runs / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        os.fchmod(log, FILE_MODE)
        note = {
            "round_id": workspace.next_round(),
            "actor": person.display_name or person.name,
            "started_at": utc_now().isoformat(),
            "did_it_help": did_it_help,
            "stop_asked": 0,
        }
        _write_note(workspace, {**note, "pid": 0})
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(handle,),
            start_new_session=True,  # it outlives the server, and Ctrl+C there does not reach it
        )
        _write_note(workspace, {**note, "pid": process.pid})
    except OSError as error:
        raise WorkspaceError(
            "a trainer that can be started", error.strerror or type(error).__name__, "run the command yourself"
        ) from None
    finally:
        os.close(log)
    return process


def _write_note(workspace: Workspace, note: dict[str, Any]) -> None:
    with replacing(note_path(workspace)) as aside:
        aside.write_text(json.dumps(note), encoding="utf-8")


def next_round_status(workspace: Workspace) -> NextRound:
    """How the next round stands: nothing begun, at work, ready, stopped or failed."""
    ours = not free(workspace.runs / LOCK)
    elsewhere = not ours and not free(workspace.runs / TRAINER_LOCK)
    return status_of(workspace, ours=ours, elsewhere=elsewhere, said=_said(workspace))


def _said(workspace: Workspace) -> list[str]:
    """Give the last lines of what the trainer said."""
    try:
        with (workspace.runs / LOG).open("rb") as handle:
            handle.seek(max(os.fstat(handle.fileno()).st_size - 8192, 0))
            body = handle.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [one_line(line) for line in body.splitlines() if line.strip()]


def stop_next_round(store: Store, person: Person) -> NextRound:
    """Ask the trainer that a screen started to stop; what it finished is kept, and starting again goes on from there.

    The first time it ends at its next step (SIGINT), asked again it ends at once (SIGTERM). The ledger tells who asked
    (an event ``round_stop``).

    Raises
    ------
    AccessError
        When the person may not publish rounds.
    """
    with store.reading() as connection:
        require_now(connection, person, "publish_round")
    workspace = store.workspace
    note = read_note(workspace)
    pid = int(note.get("pid", 0)) if note else 0
    if note is not None and pid > 0 and not free(workspace.runs / LOCK):
        asked = int(note.get("stop_asked", 0))
        with store.writing() as connection:
            require_now(connection, person, "publish_round")
            append(connection, "round_stop", person.name, {"round_id": int(note["round_id"]), "at_once": asked > 0})
        _write_note(workspace, {**note, "stop_asked": asked + 1})
        try:
            os.kill(pid, signal.SIGTERM if asked else signal.SIGINT)
        except ProcessLookupError:
            return next_round_status(workspace)
    return next_round_status(workspace)
