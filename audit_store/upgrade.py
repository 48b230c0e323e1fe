"""Bringing a store of an earlier schema to the present one: a copy first, then all in one transaction, verified."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from audit_store import tables
from audit_store.copying import require_whole, save_copy
from audit_store.database import create_schema, known_revisions, lock_schema, make_engine, version_of
from audit_store.engines import one_line, writer_of
from audit_store.errors import StoreError, WorkspaceError
from audit_store.fileio import make_folder
from audit_store.tables import REVISION
from audit_store.workspace import Workspace

FOLDER = "backups"


@dataclass(frozen=True)
class Upgraded:
    """What was done.

    Parameters
    ----------
    before, after
        Schema before and after; equal where nothing was to do.
    backup
        Copy of the old store, an SQLite file; None where nothing was to do.
    """

    before: str
    after: str
    backup: Path | None


def upgrade_store(
    workspace: Workspace, say: Callable[[str], None] = lambda words: None, *, with_findings: bool = False
) -> Upgraded:
    """Upgrade a workspace's decisions to the present schema. Nobody writes meanwhile; killed or failed, the old stays.

    Parameters
    ----------
    workspace
        The workspace.
    say
        Called with the name of each step.
    with_findings
        Go on although the ledger does not hold, so that the store can be opened and looked into.

    Returns
    -------
    Upgraded
        Where the copy of the old store lies.

    Raises
    ------
    WorkspaceError
        When there is no store, or it is of a newer schema.
    ChainError
        When the ledger does not hold afterwards; the old store stays.
    StoreError
        When a step fails; the old store stays.
    """
    url = workspace.decisions_url
    engine = make_engine(url)
    try:
        with one_line(url), writer_of(engine).connect() as connection, connection.begin():
            lock_schema(connection)
            before = version_of(connection)
            if before == REVISION:
                return Upgraded(before, before, None)
            if before is None:
                raise WorkspaceError("a decisions store of an earlier schema", "none yet", "nothing is to be upgraded")
            if before not in known_revisions():
                raise WorkspaceError(
                    f"decisions of schema {REVISION} or earlier", "a newer schema", "upgrade miracl-audit"
                )
            _hold_writers(connection)
            say("copying the store as it is")
            backup = _backup(workspace, before)
            save_copy(connection, backup)
            say(f"schema {before} to {REVISION}")
            _step(workspace, connection)
            if not with_findings:
                say("verifying")
                require_whole(workspace, connection)
        return Upgraded(before, REVISION, backup)
    finally:
        engine.dispose()


def _hold_writers(connection: Connection) -> None:
    """Keep others out until the transaction ends; on SQLite it began by that.

    Whole tables are locked, the writers' one first: who waited for a row of it would hold the table against the steps.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        quote = connection.dialect.identifier_preparer.quote
        others = sorted(set(inspect(connection).get_table_names()) - {"head"})
        names = ", ".join(map(quote, ["head", *others]))
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))


def _backup(workspace: Workspace, before: str) -> Path:
    folder = workspace.root / FOLDER
    try:
        make_folder(folder)
    except OSError as error:
        raise WorkspaceError(
            "a folder for the copy of the old store", error.strerror or type(error).__name__, "check the workspace"
        ) from None
    for left in folder.glob(".decisions-*.part*"):  # of a command that was killed: this one is alone in the store
        left.unlink(missing_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    return folder / f"decisions-schema-{before}-{now}.sqlite"


def _step(workspace: Workspace, connection: Connection) -> None:
    try:
        create_schema(connection)
    except StoreError:
        raise
    except Exception as error:  # a step may fail in any way; the transaction is given up with it
        raise StoreError(
            f"steps to schema {REVISION} that work", type(error).__name__, "nothing was changed; the copy stays too"
        ) from error
    connection.execute(
        tables.head.update().where(tables.head.c.workspace_id.is_(None)).values(workspace_id=workspace.workspace_id)
    )
