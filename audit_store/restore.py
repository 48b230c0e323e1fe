"""Restoring a backup: into a new folder, verified before it is put in place; what does not hold leaves nothing."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit_store.archive import unpack
from audit_store.backup import DATABASE
from audit_store.chain import check_ledger
from audit_store.copying import load_copy
from audit_store.database import Store, known_revisions, make_engine
from audit_store.engines import copy_engine
from audit_store.errors import ChainError, WorkspaceError
from audit_store.file_checks import check_cohort, check_exports, check_rounds
from audit_store.fileio import sync_directory
from audit_store.head_file import mirror_head
from audit_store.ledger import Head, append, head
from audit_store.people import Person, require
from audit_store.tables import REVISION
from audit_store.workspace import Workspace, open_workspace

_TODO = "use another backup; nothing was written"


@dataclass(frozen=True)
class Restored:
    """What was restored.

    Parameters
    ----------
    workspace
        The workspace.
    head
        The ledger's head as the backup had it.
    cohort
        Whether the cohort's tables came along.
    upgraded
        Whether its decisions are of this version's schema; else `miracl store upgrade` comes next.
    """

    workspace: Workspace
    head: Head
    cohort: bool
    upgraded: bool


def restore(backup: Path, folder: Path, person: Person, *, url: str | None = None) -> Restored:
    """Make a workspace of a backup.

    Parameters
    ----------
    backup
        What `audit_store.backup.back_up` wrote.
    folder
        A folder that is not there yet, or is empty.
    person
        Who restores it (role that may manage people); the restored ledger notes it as its next event.
    url
        Where the decisions go: an empty database. None: SQLite in the workspace.

    Returns
    -------
    Restored
        The workspace, in place and verified.

    Raises
    ------
    WorkspaceError
        When the backup is missing, changed, cut short or of a newer version, or the folder or database is not empty.
    ChainError
        When what the backup holds does not hold together.
    """
    require(person, "manage_people")
    folder = folder.expanduser().absolute()
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise WorkspaceError("a new or empty folder", "one that holds something", "name another with --workspace")
    if not folder.parent.is_dir():
        raise WorkspaceError("a folder to make the workspace in", "none of that name", "make it first")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(mode=0o700)
        said, _ = unpack(backup.expanduser(), aside)
        workspace = open_workspace(aside)
        made = _judged(workspace, said)
        if url is not None:
            load_copy(aside / DATABASE, url, workspace)
            (aside / DATABASE).unlink()
        if made.upgraded:
            _note(workspace, person, said, url or f"sqlite:///{aside / DATABASE}")
        else:
            mirror_head(workspace.head_file, made.head.count, made.head.hash)
        sync_directory(aside)
        os.rename(aside, folder)
        sync_directory(folder.parent)
        return replace(made, workspace=open_workspace(folder))
    except OSError as error:
        raise WorkspaceError(
            "a folder that can be written",
            error.strerror or type(error).__name__,
            "check the disk; nothing was written",
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _judged(workspace: Workspace, said: Mapping[str, Any]) -> Restored:
    """Hold what was unpacked against its ledger and its manifest."""
    schema, kept = str(said["schema"]), Head(int(said["head"]["count"]), str(said["head"]["hash"]))
    if schema not in known_revisions():
        raise WorkspaceError(f"a backup of schema {REVISION} or earlier", "a newer one", "upgrade miracl-audit")
    if said["workspace_id"] != workspace.workspace_id:
        raise WorkspaceError("the workspace that the backup names", "another's workspace.json", _TODO)
    made = Restored(workspace, kept, bool(said["cohort"]), schema == REVISION)
    engine = copy_engine(workspace.root / DATABASE, new=False)
    try:
        store = Store(workspace, engine)
        if head(store) != kept:
            raise ChainError("the ledger that the backup names", "one that ends elsewhere", _TODO)
        checks = (
            [check_ledger] if made.upgraded else []
        )  # tables of an earlier schema are not what this version expects
        checks += [check_rounds, check_exports, check_cohort] if made.cohort else [check_rounds, check_exports]
        for check in checks:
            for finding in check(store):
                raise ChainError("a backup that holds together", str(finding), _TODO)
    finally:
        engine.dispose()
    return made


def _note(workspace: Workspace, person: Person, said: Mapping[str, Any], url: str) -> None:
    """Write into the restored ledger that it was restored; its head file follows."""
    engine = make_engine(url)
    try:
        with Store(workspace, engine).writing() as connection:
            data = {"backup_of": str(said["created_at"]), "count": said["head"]["count"], "hash": said["head"]["hash"]}
            append(connection, "restore", person.name, data)
    finally:
        engine.dispose()
