"""Rounds of a workspace: publishing one, opening one, and checking that the cohort is the one it was trained on."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from audit_store.database import Store
from audit_store.errors import RoundError
from audit_store.fileio import file_digest
from audit_store.ledger import append, events_of
from audit_store.people import Person, require_live, require_now
from audit_store.round_reader import RoundFile
from audit_store.round_types import Pair, RoundInfo
from audit_store.round_writer import Source, write_round
from audit_store.workspace import Workspace

__all__ = [
    "Pair",
    "RoundFile",
    "RoundInfo",
    "check_cohort_matches",
    "note_rounds",
    "open_round",
    "publish_round",
    "write_round",
]

_OPEN: dict[tuple[str, int, int], RoundFile] = {}
_OPEN_LOCK = threading.Lock()


def publish_round(
    store: Store, round_id: int, info: Mapping[str, Any] | Path, tables: Mapping[str, Source], actor: Person
) -> Path:
    """Write a round's file and note it in the ledger.

    Safe to call again after a kill: a file that is complete is kept, and only the missing note is added.

    Raises
    ------
    RoundError
        As `write_round`; also when the round is there and noted already.
    AccessError
        When the actor may not publish rounds.
    """
    require_live(store, actor, "publish_round")  # before anything is written
    path = store.workspace.round_path(round_id)
    if round_id in _noted(store) or not path.exists():
        path = write_round(store.workspace, round_id, info, tables)
    _note(store, round_id, actor)
    return path


def note_rounds(store: Store, round_ids: Iterable[int], actor: Person) -> list[int]:
    """Note those of some complete rounds that a kill left without their line in the ledger; return their ids."""
    missing = sorted(set(round_ids) - _noted(store))
    for round_id in missing:
        _note(store, round_id, actor)
    return missing


def _noted(store: Store) -> set[int]:
    return {int(event.data["round_id"]) for event in events_of(store, "round")}


def _note(store: Store, round_id: int, actor: Person) -> None:
    round_file = open_round(store.workspace, round_id)
    manifest = store.workspace.cohort / "manifest.json"
    data = {
        "round_id": round_id,
        "parent": round_file.info.parent,
        "blake2b": round_file.digest["blake2b"],
        "cohort_fingerprint": round_file.info.cohort_fingerprint,
        "decisions_count": round_file.info.decisions_count,
        "decisions_head": round_file.info.decisions_head,
        "cohort_manifest": file_digest(manifest) if manifest.is_file() else None,
    }
    with store.writing() as connection:
        require_now(connection, actor, "publish_round")
        append(connection, "round", actor.name, data)


def open_round(workspace: Workspace, round_id: int | None = None) -> RoundFile:
    """Open a round, the latest by default; one open file per process, shared by its threads.

    Raises
    ------
    RoundError
        When there is none, or it is cut short or of a newer version.
    """
    wanted = workspace.latest_round() if round_id is None else round_id
    if wanted is None:
        raise RoundError("a finished round", "none in this workspace", "train one with miracl train")
    path = workspace.round_path(wanted)
    try:
        stat = path.stat()
    except OSError:
        raise RoundError(f"round {wanted}", "no such file in rounds/", "see miracl status") from None
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    with _OPEN_LOCK:
        if key not in _OPEN or _OPEN[key].closed:
            for stale in [other for other in _OPEN if other[0] == key[0]]:
                _OPEN.pop(stale).close()
            _OPEN[key] = RoundFile(path, workspace.round_digest_path(wanted))
        return _OPEN[key]


def check_cohort_matches(workspace: Workspace, round_file: RoundFile) -> None:
    """Check that the cohort's fingerprint is the one that the round names.

    Raises
    ------
    RoundError
        When the cohort changed since the round was trained.
    """
    if str(workspace.manifest().get("fingerprint")) != round_file.info.cohort_fingerprint:
        raise RoundError(
            f"the cohort that round {round_file.info.round_id} was trained on",
            "a cohort that changed since the round was trained",
            "train again, or restore the cohort",
        )
