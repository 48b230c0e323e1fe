"""Engines of the decisions store: SQLite in a file, PostgreSQL by URL. What differs between the two stands here.

Nothing that this module says names a user, a password or the options of a URL.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from audit_store.errors import StoreError, WorkspaceError
from audit_store.fileio import FILE_MODE

BUSY_TIMEOUT_MS = 30_000
WRITE = "miracl_write"
# Twenty sessions of a server hold a connection for some milliseconds at a time: ten stay open, thirty may be.
_POOL: dict[str, Any] = {
    "pool_size": 10,
    "max_overflow": 20,
    "pool_timeout": 30,
    "pool_recycle": 1800,
    "pool_pre_ping": True,
}
# A server that hangs with the ledger's lock in its hand is cut off, so that others can go on.
_POSTGRES_SETTINGS = f"-c timezone=UTC -c lock_timeout={BUSY_TIMEOUT_MS} -c idle_in_transaction_session_timeout=300000"
_WAIT_AND_TRY = {"40001", "40P01", "55P03"}  # serialisation failure, deadlock, lock not to be had


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        raise _unusable()
    return parsed


def _unusable() -> WorkspaceError:
    return WorkspaceError(
        "a database URL that can be used",
        "one that can't",
        "put postgresql+psycopg://user@host/name (its driver installed) in MIRACL_DECISIONS_URL or --to, or unset it",
    )


def described(url: str) -> str:
    """Name a store in words that anybody may read: kind, database and host; no user, password or options.

    Raises
    ------
    WorkspaceError
        When the URL is of no database that can be used.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return f"the SQLite file {Path(parsed.database or '').name}"
    host = parsed.host or parsed.query.get("host") or "the local socket"
    place = "the local socket" if not isinstance(host, str) or host.startswith("/") else host
    return f"the PostgreSQL database {parsed.database or ''} on {place}{f':{parsed.port}' if parsed.port else ''}"


def same_place(one: str, other: str) -> bool:
    """Whether two URLs name one store: the same file, or the same database of the same server."""
    a, b = _parsed(one), _parsed(other)
    if a.get_backend_name() != b.get_backend_name():
        return False
    if a.get_backend_name() == "sqlite":
        return Path(a.database or "").resolve() == Path(b.database or "").resolve()
    return (a.host, a.port or 5432, a.database, a.query.get("host")) == (
        b.host,
        b.port or 5432,
        b.database,
        b.query.get("host"),
    )


def sqlite_file(url: str) -> Path | None:
    """Give the file of an SQLite URL; None for PostgreSQL."""
    parsed = _parsed(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def make_engine(url: str) -> Engine:
    """Make an engine on a store's URL; an SQLite file is made (0600) where there is none.

    Raises
    ------
    WorkspaceError
        When the URL can't be used.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(url, parsed.database or "")
    given = parsed.query.get("options", "")
    options = " ".join([_POSTGRES_SETTINGS, *((given,) if isinstance(given, str) else given)]).strip()
    try:
        return create_engine(
            parsed.set(query={name: value for name, value in parsed.query.items() if name != "options"}),
            isolation_level="REPEATABLE READ",
            hide_parameters=True,
            connect_args={
                "connect_timeout": 10,
                "client_encoding": "utf8",
                "application_name": "miracl",
                "options": options,
                **{name: value for name, value in parsed.query.items() if name == "application_name"},
            },
            **_POOL,
        )
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError, TypeError):
        raise _unusable() from None


def _sqlite_engine(url: str, file: str) -> Engine:
    """SQLite with a write-ahead log, full sync, foreign keys; transactions opened by us, never by the driver."""
    if file in ("", ":memory:"):
        raise WorkspaceError(
            "a decisions file", "a store in memory", "name a file in MIRACL_DECISIONS_URL, or with --to"
        )
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, FILE_MODE))
    except OSError as error:
        raise WorkspaceError(
            "a decisions file that can be written", error.strerror or type(error).__name__, "check the folder"
        ) from None
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}
    )
    _settle(
        engine,
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # the text of a comment that was removed is no longer in the file either
    )
    return engine


def copy_engine(file: Path, *, new: bool) -> Engine:
    """Make an engine on a copy of a store: one file, written without a log beside it, or (`new` false) only read."""
    if new:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    mode = "rwc" if new else "ro&immutable=1"
    engine = create_engine(f"sqlite:///file:{_quoted(file)}?mode={mode}&uri=true", hide_parameters=True)
    _settle(engine, "journal_mode = MEMORY", "synchronous = OFF", "foreign_keys = ON") if new else _settle(engine)
    return engine


def _quoted(file: Path) -> str:
    from urllib.parse import quote

    # Once for SQLite, which reads a URI, and once for the URL around it.
    return quote(quote(str(file.absolute())))


def _settle(engine: Engine, *settings: str) -> None:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN DEFERRED")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)


def writer_of(engine: Engine) -> Engine:
    """Give the same engine for write transactions: alone from their first statement on, and never of an old view."""
    options: dict[str, Any] = {WRITE: True}
    if engine.dialect.name != "sqlite":
        # A statement sees what was committed before it began, so that whoever waited for the lock sees the last event.
        options["isolation_level"] = "READ COMMITTED"
    return engine.execution_options(**options)


@contextmanager
def one_line(url: str) -> Iterator[None]:
    """Say a database's or a disk's failure in one line, without the values that were being written."""
    try:
        yield
    except DBAPIError as error:
        raise _told(error, url) from None
    except PoolTimeoutError:
        raise StoreError(
            "a free connection to the decisions store", "none within 30 s", "try again in a moment"
        ) from None
    except SQLAlchemyError as error:
        raise StoreError("a decisions store that answers", type(error).__name__, "see MIRACL_DECISIONS_URL") from None
    except UnicodeEncodeError:
        raise StoreError("text that can be stored", "characters that are half of one", "type it again") from None


def _told(error: DBAPIError, url: str) -> StoreError:
    reason = type(error.orig).__name__ if error.orig is not None else type(error).__name__
    state = getattr(error.orig, "sqlstate", None)
    if state in _WAIT_AND_TRY:
        return StoreError("a turn in the decisions store", "others who were writing", "try again; nothing was changed")
    if not url.startswith("sqlite") and (error.connection_invalidated or (reason == "OperationalError" and not state)):
        # Whether a commit that was under way got through can't be known; the token says so when it is sent again.
        return StoreError(
            "a decisions store that answers",
            f"no connection to {described(url)}",
            "check that it runs and that MIRACL_DECISIONS_URL is right, then try again: an act sent twice is kept once",
        )
    words = str(error.orig).splitlines()[0][:120] if error.orig is not None and reason == "OperationalError" else ""
    if not url.startswith("sqlite"):
        words = ""
    return StoreError(
        "a decisions store that can be read and written",
        f"{reason} {words}".strip(),
        "check the disk, its permissions and MIRACL_DECISIONS_URL; nothing was changed",
    )
