"""SIGKILL at random moments of `miracl store upgrade` and `miracl store migrate`.

After each kill the store is the old one or the new one, whole; the same command run again ends the work; and what was
kept before is there afterwards, row by row.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from audit_store import tables
from audit_store.chain import check_ledger
from audit_store.copying import Copied, contents
from audit_store.database import Store, make_engine, open_store, version_of
from audit_store.engines import copy_engine
from audit_store.errors import StoreError, WorkspaceError
from audit_store.ledger import append
from audit_store.moving import move_store
from audit_store.states import snapshot
from audit_store.tables import REVISION
from audit_store.upgrade import upgrade_store
from audit_store.workspace import create_workspace
from scripts.benchmarks.trust_earlier import EARLIER, write_earlier
from scripts.benchmarks.trust_frame import Line, Say, Size
from scripts.benchmarks.trust_postgres import Cluster, cluster
from scripts.benchmarks.trust_site import Place
from scripts.benchmarks.trust_victims import Victim, command

PART = "upgrade"
LIMIT_SECONDS = 2.0
DECISIONS = 300
ON_POSTGRES = 4
"""Every fourth kill is on PostgreSQL, where there is one."""


@dataclass
class Tally:
    """Kills of one command, and the first thing that was wrong after one."""

    kills: int = 0
    before: int = 0
    after: int = 0
    slowest: float = 0.0
    wrong: str | None = None
    lasts: dict[str, float] = field(default_factory=dict)

    def blame(self, what: str | None) -> None:
        """Keep the first counterexample."""
        if what is not None and self.wrong is None:
            self.wrong = f"kill {self.kills}: {what}"


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Point this process at a place's decisions within the block."""
    kept = os.environ.pop("MIRACL_DECISIONS_URL", None)
    os.environ.update(place.environment)
    try:
        yield
    finally:
        os.environ.pop("MIRACL_DECISIONS_URL", None)
        if kept is not None:
            os.environ["MIRACL_DECISIONS_URL"] = kept


def held(url: str) -> Copied:
    """What a store holds."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            return contents(connection)
    finally:
        engine.dispose()


def struck(place: Place, words: list[str], tally: Tally, kind: str, rng: random.Random) -> None:
    """Run a command and kill it at a random moment; the first of a kind runs to its end and gives the measure."""
    victim = Victim(command, place, [*words, "--workspace", str(place.folder)], "")
    victim.ready()
    began = time.perf_counter()
    if kind in tally.lasts:
        through = victim.wait(rng.uniform(0, 1.1 * tally.lasts[kind]))
        tally.kills += not through
    else:
        victim.wait(120)
        tally.lasts[kind] = time.perf_counter() - began
    told = victim.kill()
    if ("kept", 0) not in told and not any(word[0] == "ready" for word in told):
        tally.blame(f"{' '.join(words[:2])} told {told}")


class Stand:
    """Makes places to strike at: a new workspace each, decisions in its folder or in a database of its own."""

    def __init__(self, scratch: Path, server: Cluster | None) -> None:
        self._scratch, self._server, self._number = scratch, server, 0

    def place(self, revision: str, *, postgres: bool) -> Place:
        """Make a workspace with a store of a schema."""
        place = self.empty(postgres=postgres)
        with at(place):
            write_earlier(create_workspace(place.folder), revision, DECISIONS)
        return place

    def empty(self, *, postgres: bool) -> Place:
        """Make a workspace without a store."""
        self._number += 1
        url = None
        if postgres and self._server is not None:
            url = self._server.create(f"upgrade_{self._number}")
        place = Place(self._scratch / f"place-{self._number}", url)
        create_workspace(place.folder)
        return place

    def target(self, *, postgres: bool) -> str:
        """URL of an empty store to move to."""
        self._number += 1
        if postgres and self._server is not None:
            return self._server.create(f"moved_{self._number}")
        return f"sqlite:///{self._scratch / f'moved-{self._number}.sqlite'}"


def lines(size: Size, scratch: Path, say: Say) -> list[Line]:
    """Try both commands; a line for each."""
    rng = random.Random(size.seed)
    with cluster() as server:
        stand = Stand(scratch, server)
        kinds = "SQLite and PostgreSQL" if server is not None else "SQLite alone (no PostgreSQL here)"
        upgrades = _repeat(size.kills // 2, say, "upgrade", lambda tally, i: kill_an_upgrade(stand, tally, i, rng))
        moves = _repeat(size.kills // 4, say, "migrate", lambda tally, i: kill_a_move(stand, tally, i, rng))
    return [
        _line(
            "a killed store upgrade leaves the old store whole or the new one, and can be run again",
            upgrades,
            f"schemas {EARLIER[0]}–{EARLIER[-1]}, {kinds}",
        ),
        _line(
            "a killed store migrate leaves one store at most that takes decisions, and can be run again",
            moves,
            kinds,
        ),
    ]


def _repeat(kills: int, say: Say, name: str, once: Callable[[Tally, int], None]) -> Tally:
    tally, tries = Tally(), 0
    while tally.kills < kills and tally.wrong is None and tries < 4 * kills + 8:
        once(tally, tries)
        tries += 1
        if tries % 10 == 0:
            say(f"{name}: {tally.kills} of {kills} kills")
    return tally


def _line(promise: str, tally: Tally, kinds: str) -> Line:
    slow = tally.slowest > LIMIT_SECONDS
    found = f"{tally.before} times the old store, {tally.after} the new one; reopened in {tally.slowest:.2f} s or less"
    wrong = tally.wrong or (f"opened again in {tally.slowest:.2f} s" if slow else None)
    return Line(PART, promise, f"{tally.kills} SIGKILLs, {kinds}", found, wrong is None, wrong)


def kill_an_upgrade(stand: Stand, tally: Tally, number: int, rng: random.Random) -> None:
    """Kill an upgrade once, and look at everything."""
    postgres = number % ON_POSTGRES == ON_POSTGRES - 1
    revision = EARLIER[number % len(EARLIER)] if not postgres else rng.choice(EARLIER)
    place = stand.place(revision, postgres=postgres)
    workspace = place.workspace()
    with at(place):
        before = held(workspace.decisions_url)
        struck(place, ["store", "upgrade"], tally, f"upgrade {revision} {postgres}", rng)
        now = held(workspace.decisions_url)
        if now.revision == revision:
            tally.before += 1
            if now != before:
                tally.blame(f"the store of schema {revision} has changed")
            if not _refused(place, "run miracl store upgrade"):
                tally.blame("a store that was not upgraded opens")
        else:
            tally.after += 1
        upgrade_store(workspace)
        for backup in sorted((workspace.root / "backups").glob("*.sqlite")):
            if _held_in(backup) != before:
                tally.blame("a copy that was left is not the old store")
        if now.revision == REVISION and not list((workspace.root / "backups").glob("*.sqlite")):
            tally.blame("upgraded without a copy")
        _opens_whole(place, before, tally)
    shutil.rmtree(place.folder)


def kill_a_move(stand: Stand, tally: Tally, number: int, rng: random.Random) -> None:
    """Kill a move once, and look at everything."""
    to_postgres, from_postgres = number % 2 == 1, number % ON_POSTGRES == 2
    place = stand.place(REVISION, postgres=from_postgres)
    workspace, url = place.workspace(), stand.target(postgres=to_postgres)
    new = Place(place.folder, url)
    with at(place):
        struck(place, ["store", "migrate", "--to", url], tally, f"move {from_postgres} {to_postgres}", rng)
        before = held(workspace.decisions_url)
    old_open, new_open = _takes(place), _takes(new)
    if old_open and new_open:
        tally.blame("both stores take decisions")
    if new_open:
        tally.after += 1
    else:
        tally.before += 1
        with at(place):
            if old_open:
                store = open_store(workspace)
                with store.writing() as connection:
                    append(connection, "test", "operator:root", {})
                store.close()
                before = held(workspace.decisions_url)
            move_store(workspace, url)
    if held(url) != before:
        tally.blame("what arrived is not what was there")
    with at(new):
        _opens_whole(new, before, tally)
    shutil.rmtree(place.folder)


def _held_in(backup: Path) -> Copied:
    engine = copy_engine(backup, new=False)
    try:
        with engine.connect() as connection, connection.begin():
            return contents(connection)
    finally:
        engine.dispose()


def _refused(place: Place, words: str) -> bool:
    try:
        open_store(place.workspace()).close()
    except WorkspaceError as error:
        return words in str(error)
    return False


def _takes(place: Place) -> bool:
    """Whether a store takes decisions, as its head says."""
    with at(place):
        engine = make_engine(place.workspace().decisions_url)
        try:
            with engine.connect() as connection, connection.begin():
                if version_of(connection) is None:
                    return False
                return connection.execute(select(tables.head.c.state)).scalar() == "open"
        finally:
            engine.dispose()


def _opens_whole(place: Place, before: Copied, tally: Tally) -> None:
    """Open a store as a server does, timed, and compare it with what was kept before."""
    began = time.perf_counter()
    try:
        store: Store = open_store(place.workspace())
        answers = snapshot(store).standing.num_rows
    except StoreError as error:
        tally.blame(str(error))
        return
    tally.slowest = max(tally.slowest, time.perf_counter() - began)
    wrong = next(iter(check_ledger(store)), None)
    if wrong is not None:
        tally.blame(str(wrong))
    if answers != DECISIONS - 1:  # one was replaced
        tally.blame(f"{answers} answers of {DECISIONS - 1}")
    store.close()
    kept = held(place.workspace().decisions_url)
    if any(kept.rows[name] != count for name, count in before.rows.items()):
        tally.blame("rows were lost")
    if (kept.count, kept.hash) != (before.count, before.hash):
        tally.blame("the ledger ends elsewhere")
