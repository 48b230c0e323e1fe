"""Copying a store: into a file while it is in use, and into an empty store from such a file.

Tables are copied as they stand, whatever their schema, a few thousand rows at a time, and compared row by row
afterwards. A target is filled in one transaction that is verified before it is committed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, Table, inspect, select

from audit_store import tables
from audit_store.chain import check_ledger
from audit_store.database import (
    Store,
    create_schema,
    known_revisions,
    lock_schema,
    make_engine,
    version_of,
)
from audit_store.engines import copy_engine, one_line, sqlite_file, writer_of
from audit_store.errors import ChainError, WorkspaceError
from audit_store.fileio import blake, canonical_json, replacing
from audit_store.tables import REVISION
from audit_store.workspace import Workspace

STEP = 5_000
PLACED = "0005"  # the schema from which a store says whose it is
_VERSIONS = "alembic_version"
_PLACE = ("workspace_id", "state", "moved_to")  # of `head`: true of one place alone, so neither copied nor compared
_WRAP = 1 << 256


@dataclass(frozen=True)
class Copied:
    """What a copy of a store holds.

    Parameters
    ----------
    revision
        Its schema.
    count, hash
        The ledger's head: number of events, hash of the last.
    rows
        Rows by table.
    digests
        By table, BLAKE2b-256 digests of its rows added up (modulo 2²⁵⁶), so that their order does not matter.
    """

    revision: str
    count: int
    hash: str
    rows: dict[str, int]
    digests: dict[str, int]


class Held(Store):
    """A store seen through one open transaction, to be verified before that is committed; it is only read.

    Parameters
    ----------
    workspace
        The workspace.
    connection
        In a transaction.
    """

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection.engine)
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give the transaction that is open."""
        yield self._connection


def _reflected(connection: Connection) -> list[Table]:
    """Tables of a store as they are in the database, those that others refer to first."""
    found = MetaData()
    found.reflect(bind=connection)
    return [table for table in found.sorted_tables if table.name != _VERSIONS]


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if table.name != "head" or column.name not in _PLACE]


def _batches(connection: Connection, table: Table, columns: list[str]) -> Iterator[list[tuple[object, ...]]]:
    query = select(*(table.c[name] for name in columns))
    if len(table.primary_key.columns) == 1 and "id" in table.primary_key.columns:
        query = query.order_by(table.c.id)  # a decision comes after the one that it replaces
    result = connection.execute(query, execution_options={"yield_per": STEP})
    for part in result.partitions():
        yield [tuple(row) for row in part]


def _added(rows: list[tuple[object, ...]]) -> int:
    return sum(int(blake(canonical_json([_plain(value) for value in row])), 16) for row in rows) % _WRAP


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def contents(connection: Connection) -> Copied:
    """Count and digest all tables of a store, within a transaction."""
    rows, digests = {}, {}
    for table in _reflected(connection):
        count = digest = 0
        for part in _batches(connection, table, sorted(_columns(table))):
            count, digest = count + len(part), (digest + _added(part)) % _WRAP
        rows[table.name], digests[table.name] = count, digest
    return Copied(str(version_of(connection)), *_head(connection), rows, digests)


def _head(connection: Connection) -> tuple[int, str]:
    row = connection.execute(select(tables.head.c.events, tables.head.c.hash)).one()
    return int(row.events), str(row.hash)


def _copy(source: Connection, target: Connection) -> None:
    """Copy every row; the target's tables are of the same schema and empty but for the head."""
    there = {table.name: table for table in _reflected(target)}
    target.execute(there["head"].delete())
    for table in _reflected(source):
        columns = _columns(table)
        for part in _batches(source, table, columns):
            target.execute(there[table.name].insert(), [dict(zip(columns, row, strict=True)) for row in part])


def save_copy(connection: Connection, file: Path) -> Copied:
    """Write a consistent copy of a store that may be in use, as one SQLite file (0600) at the store's own schema.

    Parameters
    ----------
    connection
        In a transaction on the store, such as `Store.reading` gives.
    file
        Where to; its folder exists. The file is there whole, or not at all.

    Returns
    -------
    Copied
        What the copy holds.

    Raises
    ------
    WorkspaceError
        When the file can't be written.
    """
    try:
        with replacing(file) as aside:
            if connection.dialect.name == "sqlite":
                _back_up(connection.engine, aside)
            else:
                _write_out(connection, aside)
            engine = copy_engine(aside, new=False)
            try:
                with engine.connect() as copy, copy.begin():
                    return contents(copy)
            finally:
                engine.dispose()
    except OSError as error:
        raise WorkspaceError(
            "a place to write a copy of the decisions", error.strerror or type(error).__name__, "check the disk"
        ) from None


def _back_up(engine: Engine, file: Path) -> None:
    import sqlite3

    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    source = engine.raw_connection()
    copy = sqlite3.connect(file)
    try:
        source.driver_connection.backup(copy)  # type: ignore[union-attr]
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        raise WorkspaceError("a place to write a copy of the decisions", str(error)[:80], "check the disk") from None
    finally:
        copy.close()
        source.close()


def _write_out(connection: Connection, file: Path) -> None:
    engine = copy_engine(file, new=True)
    try:
        with writer_of(engine).connect() as copy, copy.begin():
            create_schema(copy, str(version_of(connection)))
            _copy(connection, copy)
            _note_place(copy, connection)
    finally:
        engine.dispose()


def _note_place(target: Connection, source: Connection) -> None:
    """Copy whose store it is; a copy takes decisions whatever became of its source."""
    head = next(table for table in _reflected(source) if table.name == "head")
    if "workspace_id" in head.c:
        owner = source.execute(select(head.c.workspace_id)).scalar()
        target.execute(tables.head.update().values(workspace_id=owner))


def load_copy(file: Path, url: str, workspace: Workspace) -> Copied:
    """Fill an empty store from a copy that `save_copy` made: all of it, compared row by row, or nothing.

    Parameters
    ----------
    file
        The copy.
    url
        The store; empty. It gets the copy's schema.
    workspace
        Whose decisions they are.

    Raises
    ------
    WorkspaceError
        When the store holds anything, or the copy is of a newer schema or of another workspace.
    ChainError
        When what was written is not what the copy holds, or its ledger does not hold.
    """
    source, target = copy_engine(file, new=False), fresh(url)
    try:
        with one_line(url), source.connect() as copy, copy.begin(), writer_of(target).connect() as store, store.begin():
            lock_schema(store)
            require_nothing(store, workspace)
            copied = fill(copy, store, workspace, "open")
        return copied
    finally:
        source.dispose()
        target.dispose()


def fill(source: Connection, target: Connection, workspace: Workspace, state: str) -> Copied:
    """Make the schema, copy, and compare; within the target's write transaction."""
    version = version_of(source)
    if version is None or version not in known_revisions():
        raise WorkspaceError(
            f"decisions of schema {REVISION} or earlier", "none, or a newer one", "upgrade miracl-audit"
        )
    create_schema(target, version)
    _copy(source, target)
    kept, written = contents(source), contents(target)
    if kept != written:
        wrong = [name for name in kept.rows if kept.digests[name] != written.digests.get(name)]
        raise ChainError("a copy like its source", f"other rows in {', '.join(wrong)}", "nothing was kept; try again")
    if version >= PLACED:
        target.execute(tables.head.update().values(workspace_id=workspace.workspace_id, state=state, moved_to=None))
    if version == REVISION:
        require_whole(workspace, target)
    return written


def require_whole(workspace: Workspace, connection: Connection) -> None:
    """Walk the chain and every table that follows from it, within a transaction.

    Raises
    ------
    ChainError
        Naming the first row that does not hold.
    """
    beside = workspace.head_file.name
    for finding in check_ledger(Held(workspace, connection)):
        if finding.where != beside:  # the file outside the store: miracl verify judges it
            raise ChainError("a ledger that holds", str(finding), "nothing was changed; see miracl verify")


def fresh(url: str) -> Engine:
    """Make an engine on a store that may not be there yet; the folder of an SQLite file has to be."""
    file = sqlite_file(url)
    if file is not None and not file.parent.is_dir():
        raise WorkspaceError("a folder for the decisions file", "none of that name", "make it first")
    return make_engine(url)


def require_nothing(target: Connection, workspace: Workspace, *, leftover: bool = False) -> None:
    """Refuse a target that holds anything; clear away an empty store, and what a move of this store left half done."""
    standing = set(inspect(target).get_table_names())
    if not standing:
        return
    refused = WorkspaceError("an empty database", "one that holds something", "name a new one")
    if not standing <= {*tables.metadata.tables, _VERSIONS} or version_of(target) != REVISION:
        raise refused
    head = target.execute(select(tables.head)).first()
    ours = head is not None and head.workspace_id in (None, workspace.workspace_id)
    arriving = leftover and head is not None and head.state == "arriving" and ours
    others = [table for table in tables.metadata.sorted_tables if table.name != "head"]
    empty = ours and not any(target.execute(select(table).limit(1)).first() for table in others)
    if not (arriving or empty):
        raise refused
    for table in reversed(_reflected(target)):
        table.drop(target)
    Table(_VERSIONS, MetaData()).drop(target)
