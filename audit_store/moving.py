"""Moving a workspace's decisions to another store for good: `miracl store migrate`."""

from collections.abc import Callable

from sqlalchemy import Engine, select

from audit_store import tables
from audit_store.copying import Copied, contents, fill, fresh, require_nothing
from audit_store.database import described, lock_schema, make_engine, open_store, version_of
from audit_store.engines import one_line, same_place, writer_of
from audit_store.errors import WorkspaceError
from audit_store.tables import REVISION
from audit_store.workspace import Workspace


def move_store(workspace: Workspace, url: str, say: Callable[[str], None] = lambda words: None) -> Copied:
    """Move a workspace's decisions to an empty store. Nobody writes meanwhile; the old store takes no more decisions.

    Killed at any moment, run it again. Until the new store is filled and verified the old one is as it was. Then the
    old one is marked as moved, and then the new one opened; between these two, neither takes decisions.

    Parameters
    ----------
    workspace
        Its present decisions are the source.
    url
        The new store's URL.
    say
        Called with the name of each step.

    Returns
    -------
    Copied
        What the new store holds.

    Raises
    ------
    WorkspaceError
        When the target holds anything, or is the source.
    ChainError
        When the ledger does not hold, or the copy is not like its source.
    """
    old_url = workspace.decisions_url
    if same_place(old_url, url):
        raise WorkspaceError("another store to move to", "the one in use", "is MIRACL_DECISIONS_URL set too early?")
    target = fresh(url)
    try:
        with one_line(url):
            done = _finish(workspace, target)
        if done is not None:
            return done
        store = open_store(workspace)
        with store.writing() as source:
            say("copying")
            with one_line(url), writer_of(target).connect() as there, there.begin():
                lock_schema(there)
                require_nothing(there, workspace, leftover=True)
                copied = fill(source, there, workspace, "arriving")
                say("verified")
            source.execute(tables.head.update().values(state="moved", moved_to=described(url)))
        store.close()  # whoever opens it again in this process is told that it has moved
        with one_line(url):
            _open(target)
        return copied
    finally:
        target.dispose()


def _finish(workspace: Workspace, target: Engine) -> Copied | None:
    """End a move that was cut short after the old store was marked: open the new one, if it is what the old one had."""
    engine = make_engine(workspace.decisions_url)
    try:
        with one_line(workspace.decisions_url), engine.connect() as source, source.begin():
            if version_of(source) != REVISION:
                return None
            marked = source.execute(select(tables.head)).first()
            if marked is None or marked.state != "moved" or marked.workspace_id != workspace.workspace_id:
                return None
            with target.connect() as there, there.begin():
                if version_of(there) != REVISION:
                    return None
                arrived = there.execute(select(tables.head)).first()
                if arrived is None or (arrived.state, arrived.workspace_id) != ("arriving", workspace.workspace_id):
                    return None
                held = contents(there)
                if held != contents(source):
                    return None
        _open(target)
        return held
    finally:
        engine.dispose()


def _open(target: Engine) -> None:
    with writer_of(target).connect() as there, there.begin():
        there.execute(tables.head.update().where(tables.head.c.state == "arriving").values(state="open"))
