"""What must hold after a process was killed: nothing acknowledged lost, nothing kept by half, the chain whole."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from audit_store import tables
from audit_store.database import Store, open_store
from audit_store.exports import list_exports
from audit_store.ledger import head
from audit_store.people import find_person
from audit_store.rounds import open_round
from audit_store.states import snapshot
from audit_store.verify import verify
from scripts.benchmarks.trust_site import STEWARD, Place
from scripts.benchmarks.trust_victims import settle

UNFINISHED = "stands in no event of the ledger"
"""A complete export or round whose line in the ledger the kill cut off; the next export, or train, notes it."""


@dataclass
class Acts:
    """What victims told: acts that were begun, with how many rows each has, and those that were acknowledged."""

    begun: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    def hear(self, told: Iterable[tuple[object, ...]]) -> None:
        """Take what one victim told."""
        for words in told:
            if words[0] in ("begin", "kept") and len(words) == 3:
                into = self.begun if words[0] == "begin" else self.kept
                into[str(words[1])] = int(str(words[2]))


@dataclass(frozen=True)
class Reopened:
    """A store opened anew: how long it took until the first page could be drawn, and how much is in it."""

    store: Store
    seconds: float
    events: int


def reopen(place: Place) -> Reopened:
    """Open workspace, decisions and round as a fresh server does, and derive every pair's state."""
    settle(place)
    began = time.perf_counter()
    store = open_store(place.workspace())
    find_person(store, STEWARD)
    open_round(store.workspace)
    snapshot(store)
    seconds = time.perf_counter() - began
    return Reopened(store, seconds, head(store).count)


def lost_or_halved(store: Store, acts: Acts) -> str | None:
    """Compare the store's decisions with what was told; name the first that is lost, halved or nobody's."""
    c = tables.decision.c
    with store.reading() as connection:
        rows = connection.execute(select(c.act, func.count()).group_by(c.act)).all()
    found = {str(act): int(count) for act, count in rows}
    for act, count in acts.kept.items():
        if found.get(act) != count:
            return f"an acknowledged act of {count} rows has {found.get(act, 0)}"
    for act, count in found.items():
        if act not in acts.begun:
            return "an act that nobody began"
        if count != acts.begun[act]:
            return f"an act of {acts.begun[act]} rows was kept by half ({count})"
    return None


def unsound(store: Store) -> str | None:
    """Walk everything; name the first thing that does not hold, other than a line that is only missing yet."""
    return next((str(finding) for finding in verify(store) if UNFINISHED not in finding.what), None)


def unfinished(store: Store) -> str | None:
    """Walk everything; name the first thing that does not hold, missing lines too."""
    return next((str(finding) for finding in verify(store)), None)


def half_files(store: Store) -> str | None:
    """Name an export or a round that stands in its place and is not complete; None where all are whole."""
    exports = list_exports(store)
    if not exports.empty and not bool(exports["complete"].all()):
        return "an export that is in the list and not complete"
    for folder in store.workspace.exports.glob("export-*"):
        if not (folder / "manifest.json").is_file():
            return f"{folder.name} stands without its manifest"
    for round_id in store.workspace.round_ids():
        open_round(store.workspace, round_id)
    return None


def leftovers(folder: Path, living: Iterable[int] = ()) -> list[str]:
    """Names of files and folders aside, under a workspace, whose writer no longer runs."""
    alive = {os.getpid(), *living}
    found = (path for path in folder.rglob("*.part") if path.name.startswith("."))
    return sorted(
        str(path.relative_to(folder))
        for path in found
        if path.name.removesuffix(".part").rsplit(".", 1)[-1] not in {str(pid) for pid in alive}
    )
