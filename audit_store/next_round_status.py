"""How far the next round is, read from the folder that its trainer works in."""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_store.fileio import parsed_json
from audit_store.workspace import Workspace

RECENT_EPOCHS = 5
LONGEST_LINE = 300
_PATH = re.compile(r"(?<![\w.])(?:/[^/\s:;,'\"]+)+/?")
_OWN_ERROR = "miracl: "


@dataclass(frozen=True)
class NextRound:
    """How the next round stands.

    Parameters
    ----------
    state
        ``none``; ``running`` (started from a screen), ``elsewhere`` (from a command line); ``finished``, ``stopped``
        or ``failed`` (what became of the last one started from a screen); ``unfinished`` (begun and left).
    round_id
        The round that is made, or was.
    epoch, epochs
        Epochs finished, of how many; 0 of 0 before training begins.
    twin
        Whether it is being trained once more without the decisions.
    seconds_left
        To the end of training at the pace of the last epochs; None before the first is finished.
    stage
        The step at hand in a few words, as the trainer said it.
    actor, started_at
        Who started it and when (ISO, UTC); empty where it was not started from a screen.
    stop_asked
        How often it was asked to stop.
    line
        Why it failed, in one line without paths.
    """

    state: str
    round_id: int
    epoch: int = 0
    epochs: int = 0
    twin: bool = False
    seconds_left: float | None = None
    stage: str = ""
    actor: str = ""
    started_at: str = ""
    stop_asked: int = 0
    line: str = ""


def free(lock: Path) -> bool:
    """Whether no process holds a lock file."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def note_path(workspace: Workspace) -> Path:
    """Where stands what was started, by whom."""
    return workspace.runs / ".next-round.json"


def read_note(workspace: Workspace) -> dict[str, Any] | None:
    """Read what was started last from a screen; None where nothing was."""
    try:
        note = parsed_json(note_path(workspace).read_text(encoding="utf-8"))
        int(note["round_id"]), int(note["pid"]), int(note["stop_asked"]), str(note["actor"]), str(note["started_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(note)


def one_line(text: str) -> str:
    """Give a line as a screen may show it: folders by their last name, no more than 300 characters."""
    return _PATH.sub(lambda found: Path(found.group()).name, " ".join(text.split()))[:LONGEST_LINE]


def status_of(workspace: Workspace, *, ours: bool, elsewhere: bool, said: list[str]) -> NextRound:
    """Put together how the next round stands.

    Parameters
    ----------
    workspace
        Where.
    ours, elsewhere
        Whether the trainer that a screen started runs, and whether another does.
    said
        Last lines that the trainer started from a screen said.
    """
    wanted = workspace.next_round()
    note = read_note(workspace)
    if ours and note is not None:
        ended = int(note["round_id"]) < wanted
        told = _progress(workspace, int(note["round_id"]))
        stage = f"round {note['round_id']} is written" if ended else _stage(said)
        return _with(note, "running", {**told, "stage": stage})
    if ours or elsewhere:
        told = _progress(workspace, wanted)
        return NextRound("running" if ours else "elsewhere", wanted, **told)
    if note is not None and workspace.round_path(int(note["round_id"])).is_file():
        if int(note["round_id"]) == workspace.latest_round():
            return _with(note, "finished")
        note = None
    begun = (workspace.run_folder(wanted) / "start.json").is_file()
    if note is not None and int(note["round_id"]) == wanted:
        stopped = int(note["stop_asked"]) > 0 or any(line.startswith("Stopped.") for line in said)
        told = _progress(workspace, wanted)
        return _with(note, "stopped", told) if stopped else _with(note, "failed", {**told, "line": _why(said)})
    if not begun:
        return NextRound("none", wanted)
    return NextRound("unfinished", wanted, **_progress(workspace, wanted))


def _with(note: dict[str, Any], state: str, more: dict[str, Any] | None = None) -> NextRound:
    found: dict[str, Any] = {
        "actor": str(note["actor"]),
        "started_at": str(note["started_at"]),
        "stop_asked": int(note["stop_asked"]),
        **(more or {}),
    }
    return NextRound(state, int(note["round_id"]), **found)


def _progress(workspace: Workspace, round_id: int) -> dict[str, Any]:
    """Epochs done and to do, and the time left at the pace of the last ones; of the twin where that is at work."""
    twin = workspace.twin_folder(round_id)
    folder = twin if twin.is_dir() else workspace.run_folder(round_id)
    try:
        held = parsed_json((folder / "config.json").read_text(encoding="utf-8"))
        epochs = int(held["config"]["optim"]["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        epochs = 0
    rows = _rows(folder / "log.jsonl")
    paces = [float(row["seconds"]) for row in rows[-RECENT_EPOCHS:] if isinstance(row.get("seconds"), int | float)]
    left = sum(paces) / len(paces) * max(epochs - len(rows), 0) if paces and epochs else None
    return {"epoch": len(rows), "epochs": epochs, "twin": folder == twin, "seconds_left": left}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        found = [parsed_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError):
        return []
    return [row for row in found if isinstance(row, dict)]


def _stage(said: list[str]) -> str:
    """Give the last step that the trainer named; its lines on epochs are told by the log already."""
    named = [line for line in said if not line.startswith(("epoch ", _OWN_ERROR))]
    return named[-1] if named and said[-1] == named[-1] else ""


def _why(said: list[str]) -> str:
    """Give the trainer's own one-line error; what it said otherwise stays in the log, as it may name anything."""
    own = [line.removeprefix(_OWN_ERROR) for line in said if line.startswith(_OWN_ERROR)]
    return own[-1] if own else "it ended without saying why; its log is in the workspace's runs folder"
