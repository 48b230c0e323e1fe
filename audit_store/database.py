"""The decisions store: opening, transactions, schema.

Every act is one write transaction. Writers are serialised: on SQLite by BEGIN IMMEDIATE, elsewhere by locking the
row of the table `head`; ids therefore grow in the order of commits, and a reader that asks for what is newer than
the last id it saw misses nothing. What differs between databases stands in `engines`.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, select, text

from audit_store import tables
from audit_store.engines import BUSY_TIMEOUT_MS, described, make_engine, one_line, writer_of
from audit_store.errors import StoreError, WorkspaceError
from audit_store.head_file import mirror_head, read_head_file
from audit_store.tables import REVISION
from audit_store.workspace import Workspace

__all__ = [
    "GENESIS",
    "Store",
    "create_schema",
    "described",
    "known_revisions",
    "lock_schema",
    "make_engine",
    "open_store",
    "read_head_file",
    "utc_now",
    "version_of",
]

GENESIS = "0" * 64
_MIGRATIONS = Path(__file__).parent / "migrations"
_HEAD = "ledger_head"
_SCHEMA_LOCK = 7161
_LOCK_HEAD = select(
    tables.head, select(text("version_num")).select_from(text("alembic_version")).scalar_subquery().label("version")
).with_for_update(of=tables.head)


def utc_now() -> datetime:
    """Now in UTC, without a zone, to the microsecond."""
    return datetime.now(UTC).replace(tzinfo=None)


class Store:
    """The decisions of one workspace. Thread-safe; get one with `open_store`.

    Parameters
    ----------
    workspace
        The workspace.
    engine
        Engine on its decisions.
    """

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self.workspace = workspace
        self._reader = engine
        self._writer = writer_of(engine)
        self._url = workspace.decisions_url
        self._turn: threading.Lock | None = threading.Lock() if engine.dialect.name == "sqlite" else None
        self.memory: dict[str, Any] = {}
        self.memory_lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: one consistent view of the store."""
        with one_line(self._url), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a write transaction, alone in the store until it ends; all or nothing.

        The ledger's head is mirrored outside the database once the transaction is committed.
        """
        with one_line(self._url), self._in_turn(), self._writer.connect() as connection:
            with connection.begin():
                # Elsewhere than on SQLite this is the lock that puts writers in line.
                place = connection.execute(_LOCK_HEAD).first()
                check_place(self.workspace, place)
                if place is None or place.version != REVISION:
                    found = "none" if place is None else f"schema {place.version}"
                    raise StoreError(f"decisions of schema {REVISION}", found, "start this server or command again")
                before = (int(place.events), str(place.hash))
                connection.info[_HEAD] = before  # connections are used again: what it held is of another transaction
                yield connection
            after: tuple[int, str] = connection.info.pop(_HEAD)
        if after != before:
            self._mirror(*after)

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let this process's writers on SQLite wait in line; its own waiting only looks again now and then."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise StoreError("a turn in the decisions store", "others who were writing", "try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    @staticmethod
    def head_at(connection: Connection) -> tuple[int, str]:
        """Count and hash of the ledger's head as this write transaction has it."""
        head: tuple[int, str] = connection.info[_HEAD]
        return head

    @staticmethod
    def remember_head(connection: Connection, count: int, digest: str) -> None:
        """Note the head that this transaction will leave, for what it appends next and for the mirror."""
        connection.info[_HEAD] = (count, digest)

    def _mirror(self, count: int, digest: str) -> None:
        """Write the head beside the database, unless a later one is there already."""
        path = self.workspace.head_file
        try:
            mirror_head(path, count, digest)
        except OSError as error:
            raise StoreError(
                f"a workspace in which {path.name} can be written",
                error.strerror or type(error).__name__,
                "check the disk and permissions; what was done is kept",
            ) from None

    def forget(self) -> None:
        """Drop what was remembered of the tables, after a rebuild."""
        with self.memory_lock:
            self.memory.clear()

    def close(self) -> None:
        """Close every connection."""
        self.forget()
        self._reader.dispose()
        with _OPEN_LOCK:
            for key in [key for key, store in _OPEN.items() if store is self]:
                del _OPEN[key]


def check_place(workspace: Workspace, place: Any) -> None:
    """Refuse a store of another workspace, one that has moved, and one that a move has not finished filling.

    Parameters
    ----------
    workspace
        Whose store it should be.
    place
        The row of `head` (workspace_id, state, moved_to), or None.

    Raises
    ------
    WorkspaceError
        Naming what is the matter.
    """
    if place is None:
        raise WorkspaceError("the ledger's head in the decisions store", "none", "restore the store from a backup")
    if place.workspace_id is not None and place.workspace_id != workspace.workspace_id:
        raise WorkspaceError(
            "this workspace's decisions", "another workspace's", "give each workspace its own MIRACL_DECISIONS_URL"
        )
    if place.state == "moved":
        raise WorkspaceError(
            "a store that takes decisions",
            f"one that has moved to {place.moved_to}",
            "set MIRACL_DECISIONS_URL to it (where miracl store migrate was cut short, run it once more)",
        )
    if place.state != "open":
        raise WorkspaceError(
            "a store that takes decisions", "one that a move has not finished filling", "run miracl store migrate again"
        )


_OPEN: dict[tuple[int, str, str], Store] = {}
_OPEN_LOCK = threading.Lock()


def open_store(workspace: Workspace) -> Store:
    """Open a workspace's decisions; one store per process and workspace. An empty one gets this version's schema.

    Raises
    ------
    WorkspaceError
        When the decisions are of an earlier or newer schema, of another workspace or have moved, or the URL can't be
        used.
    """
    key = (os.getpid(), str(workspace.root), workspace.decisions_url)
    with _OPEN_LOCK:
        if key not in _OPEN:
            engine = make_engine(workspace.decisions_url)
            try:
                with one_line(workspace.decisions_url):
                    _settle_in(workspace, engine)
            except BaseException:
                engine.dispose()
                raise
            _OPEN[key] = Store(workspace, engine)
        return _OPEN[key]


def _settle_in(workspace: Workspace, engine: Engine) -> None:
    """Make the schema in an empty store, note whose it is on first use, and refuse what can't be used."""
    with engine.connect() as connection, connection.begin():
        if _fits(workspace, connection):
            return
    with writer_of(engine).connect() as connection, connection.begin():
        lock_schema(connection)
        if version_of(connection) is None:
            if set(inspect(connection).get_table_names()) & set(tables.metadata.tables):
                raise WorkspaceError(
                    "a decisions store or an empty database", "tables of something else", "name a database of its own"
                )
            create_schema(connection)
        if not _fits(workspace, connection):
            connection.execute(tables.head.update().values(workspace_id=workspace.workspace_id))


def _fits(workspace: Workspace, connection: Connection) -> bool:
    """Whether the store is this workspace's at this schema; False where it is nobody's yet."""
    version = version_of(connection)
    if version is None:
        return False
    if version != REVISION:
        if version in known_revisions():
            raise WorkspaceError(
                f"decisions of schema {REVISION}", f"schema {version}, an earlier one", "run miracl store upgrade"
            )
        raise WorkspaceError(f"decisions of schema {REVISION} or earlier", "a newer schema", "upgrade miracl-audit")
    place = connection.execute(select(tables.head.c.workspace_id, tables.head.c.state, tables.head.c.moved_to)).first()
    check_place(workspace, place)
    return place is not None and place.workspace_id is not None


def lock_schema(connection: Connection) -> None:
    """Wait until nobody else makes or changes the schema; held until the transaction ends. SQLite has its own lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))


def version_of(connection: Connection) -> str | None:
    """Give a store's schema; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def known_revisions() -> list[str]:
    """Schemas that this version knows, earliest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()][::-1]


def create_schema(connection: Connection, revision: str = REVISION) -> None:
    """Bring a store to a schema, within the caller's write transaction; an empty one gets its ledger's head.

    Parameters
    ----------
    connection
        In a write transaction; the store is empty or of an earlier schema.
    revision
        The schema, the present one by default.

    Raises
    ------
    WorkspaceError
        When a PostgreSQL database does not keep text as UTF-8.
    """
    from alembic import command

    if connection.dialect.name == "postgresql":
        kept = str(connection.execute(text("SHOW server_encoding")).scalar())
        if kept != "UTF8":
            raise WorkspaceError("a PostgreSQL database in UTF8", kept, "make one with: createdb -E UTF8 -T template0")
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    if connection.execute(select(tables.head.c.id)).first() is None:
        connection.execute(tables.head.insert().values(id=1, events=0, hash=GENESIS))
