"""The decisions store's engine: opening, settings, transactions, migrations. What only SQLite knows stands here alone.

Every act is one write transaction. Writers are serialised: on SQLite by BEGIN IMMEDIATE, elsewhere by locking the
row of the table `head`; ids therefore grow in the order of commits, and a reader that asks for what is newer than
the last id it saw misses nothing.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from audit_store import tables
from audit_store.errors import StoreError, WorkspaceError
from audit_store.fileio import FILE_MODE, locked, replacing
from audit_store.tables import REVISION
from audit_store.workspace import Workspace

BUSY_TIMEOUT_MS = 30_000
GENESIS = "0" * 64
_MIGRATIONS = Path(__file__).parent / "migrations"
_REMEMBERED_HEAD = "ledger_head"


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
        options: dict[str, Any] = {"miracl_write": True}
        if engine.dialect.name != "sqlite":
            options["isolation_level"] = "READ COMMITTED"
        self._writer = engine.execution_options(**options)
        self.memory: dict[str, Any] = {}
        self.memory_lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: one consistent view of the store."""
        with _one_line(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a write transaction, alone in the store until it ends; all or nothing.

        The ledger's head is mirrored outside the database once the transaction is committed.
        """
        with _one_line(), self._writer.connect() as connection:
            with connection.begin():
                # Elsewhere than on SQLite this is the lock that puts writers in line.
                connection.execute(select(tables.head.c.events).with_for_update())
                yield connection
            moved = connection.info.pop(_REMEMBERED_HEAD, None)
        if moved is not None:
            self._mirror(*moved)

    @staticmethod
    def remember_head(connection: Connection, count: int, digest: str) -> None:
        """Note the head that this transaction will leave, for the mirror."""
        connection.info[_REMEMBERED_HEAD] = (count, digest)

    def _mirror(self, count: int, digest: str) -> None:
        """Write the head beside the database, unless a later one is there already."""
        path = self.workspace.head_file
        try:
            with locked(path.with_name(".decisions.head.lock")):
                kept = read_head_file(path)
                if kept is None or kept[0] < count:
                    with replacing(path) as aside:
                        aside.write_text(json.dumps({"count": count, "hash": digest}), encoding="ascii")
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


def read_head_file(path: Path) -> tuple[int, str] | None:
    """Count and hash that stand outside the database; None where the file is missing or unreadable."""
    try:
        body = json.loads(path.read_text(encoding="ascii"))
        return int(body["count"]), str(body["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _one_line() -> Iterator[None]:
    """Say a database's or a disk's failure in one line, without the values that were being written."""
    try:
        yield
    except DBAPIError as error:
        reason = type(error.orig).__name__ if error.orig is not None else type(error).__name__
        words = str(error.orig).splitlines()[0][:120] if error.orig is not None else ""
        told = words if reason == "OperationalError" else ""
        raise StoreError(
            "a decisions store that can be read and written",
            f"{reason} {told}".strip(),
            "check the disk, its permissions and MIRACL_DECISIONS_URL; nothing was changed",
        ) from None
    except SQLAlchemyError as error:
        raise StoreError("a decisions store that answers", type(error).__name__, "see MIRACL_DECISIONS_URL") from None


_OPEN: dict[tuple[int, str, str], Store] = {}
_OPEN_LOCK = threading.Lock()


def open_store(workspace: Workspace) -> Store:
    """Open a workspace's decisions, bringing them to this version's schema; one store per process and workspace.

    Raises
    ------
    WorkspaceError
        When the decisions are of a newer version, or the URL can't be used.
    """
    key = (os.getpid(), str(workspace.root), workspace.decisions_url)
    with _OPEN_LOCK:
        if key not in _OPEN:
            engine = _engine(workspace.decisions_url)
            try:
                with _one_line():
                    _migrate(engine)
            except BaseException:
                engine.dispose()
                raise
            _OPEN[key] = Store(workspace, engine)
        return _OPEN[key]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, parsed.database or "")
        return create_engine(url, pool_pre_ping=True, isolation_level="REPEATABLE READ")
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        raise WorkspaceError(
            "a database URL that can be used",
            "one that can't",
            "set MIRACL_DECISIONS_URL to postgresql+psycopg://… and install its driver, or unset it",
        ) from None


def _sqlite_engine(url: str, file: str) -> Engine:
    """SQLite with a write-ahead log, full sync, foreign keys; transactions opened by us, never by the driver."""
    if file in ("", ":memory:"):
        raise WorkspaceError("a decisions file", "a store in memory", "name a file in MIRACL_DECISIONS_URL")
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, FILE_MODE))
    except OSError as error:
        raise WorkspaceError(
            "a decisions file that can be written", error.strerror or type(error).__name__, "check the folder"
        ) from None
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False})

    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for setting in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("miracl_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")

    event.listen(engine, "connect", settle)
    event.listen(engine, "begin", begin)
    return engine


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(engine: Engine) -> None:
    """Bring the schema to `REVISION` in one transaction, so that a failed step leaves the old store."""
    with engine.connect() as connection, connection.begin():
        if _version(connection) == REVISION:
            return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.execution_options(miracl_write=True).connect() as connection, connection.begin():
        if engine.dialect.name != "sqlite":
            connection.execute(text("SELECT pg_advisory_xact_lock(7161)"))
        version = _version(connection)
        if version == REVISION:
            return
        if version is not None and version not in known:
            raise WorkspaceError(f"decisions of schema {REVISION} or earlier", "a newer schema", "upgrade miracl-audit")
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
        if connection.execute(select(tables.head.c.id)).first() is None:
            connection.execute(tables.head.insert().values(id=1, events=0, hash=GENESIS))
