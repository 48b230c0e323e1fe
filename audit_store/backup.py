"""Backing up a workspace while it is in use.

First a consistent copy of the decisions, then the files that this copy's ledger names: rounds and exports never change
once they are published, so what the copy names is what it finds, whatever is published meanwhile. Everything is
compared with the ledger on the way. Caches and unfinished runs are left out: they can be made again.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audit_store import tables
from audit_store.archive import MANIFEST, Packed, manifest_text, pack
from audit_store.copying import save_copy
from audit_store.database import Store, utc_now
from audit_store.engines import copy_engine
from audit_store.errors import ChainError, WorkspaceError
from audit_store.file_checks import check_cohort, check_exports, check_rounds, hold_or_refuse, noted_rounds
from audit_store.fileio import FILE_MODE, file_digest, make_folder, sync_directory, sync_file
from audit_store.ledger import Head
from audit_store.people import Person, log_access, require_now
from audit_store.tables import REVISION
from audit_store.workspace import Workspace

DATABASE = "decisions.sqlite"
_SHORT_LIVED = ("session", "sign_in_failure")
_WHOLE = ("secret", "workspace.json")


@dataclass(frozen=True)
class BackedUp:
    """Where the backup lies, how many files it holds, their bytes by part of the workspace, and the ledger's head."""

    path: Path
    files: int
    parts: Mapping[str, int]
    head: Head


def back_up(store: Store, person: Person, target: Path, *, cohort: bool = True, models: bool = True) -> BackedUp:
    """Copy a workspace to a new tar file, or a new folder; whole or not at all, for its owner alone (0600, 0700).

    Parameters
    ----------
    store, person
        Which workspace, and who takes the copy (role that may manage people: it holds everything). It is an event.
    target
        A name ending in ``.tar``, or a folder; nothing may be there.
    cohort, models
        Whether the cohort's tables (else its manifest alone) and the trained models go in.

    Returns
    -------
    BackedUp
        What was written.

    Raises
    ------
    WorkspaceError
        When the name is taken, or the disk can't be written.
    ChainError
        When the ledger or a file it names does not hold; nothing is left then.
    """
    target = target.expanduser().absolute()
    if target.exists() or target.is_symlink():
        raise WorkspaceError("a new name for the backup", "one that is there already", "name another")
    if not target.parent.is_dir():
        raise WorkspaceError("a folder for the backup", "none of that name", "make it first")
    if target.is_relative_to(store.workspace.root):
        raise WorkspaceError("a place outside the workspace", "one inside", "name another")
    with store.reading() as connection:
        require_now(connection, person, "manage_people")
    hold_or_refuse(store)
    log_access(store, person, "backup")
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    tar = target.with_name(f".{target.name}.{os.getpid()}.tar.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(mode=0o700)
        head = _copy_decisions(store, aside / DATABASE)
        files = _copy_files(store, aside, cohort=cohort, models=models, linked=target.suffix == ".tar")
        manifest = manifest_text(_said(store, head, cohort=cohort, models=models), files)
        if target.suffix == ".tar":
            with os.fdopen(os.open(tar, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as out:
                pack(aside, manifest, files, out)
            sync_file(tar)
            os.replace(tar, target)
        else:
            (aside / MANIFEST).write_text(manifest, encoding="utf-8")
            sync_file(aside / MANIFEST)
            sync_directory(aside)
            os.rename(aside, target)
        sync_directory(target.parent)
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise WorkspaceError("a place that can be written", came, "check the disk; no backup was made") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        tar.unlink(missing_ok=True)
    parts: dict[str, int] = {}
    for file in files:
        part = file.name.split("/")[0] if "/" in file.name else "decisions" if file.name == DATABASE else "settings"
        parts[part] = parts.get(part, 0) + file.bytes
    return BackedUp(target, len(files), parts, head)


def _copy_decisions(store: Store, file: Path) -> Head:
    """Copy the decisions, less who is signed in."""
    with store.reading() as connection:
        save_copy(connection, file)
    copy = sqlite3.connect(file, isolation_level=None)
    try:
        copy.execute("PRAGMA secure_delete = ON")
        for table in _SHORT_LIVED:
            copy.execute(f"DELETE FROM {table}")
        copy.execute("VACUUM")
        count, digest = copy.execute("SELECT events, hash FROM head").fetchone()
    except sqlite3.Error as error:
        raise WorkspaceError("a place to write a backup", str(error)[:80], "free space, and try again") from None
    finally:
        copy.close()
    sync_file(file)
    return Head(int(count), str(digest))


def _copy_files(store: Store, aside: Path, *, cohort: bool, models: bool, linked: bool) -> list[Packed]:
    """Bring together the files that the copied ledger names, and hold them against it."""
    workspace = replace(store.workspace, root=aside)
    engine = copy_engine(aside / DATABASE, new=False)
    try:
        copied = Store(workspace, engine)
        for source in _wanted(store.workspace, copied, cohort=cohort, models=models):
            _bring(source, aside / source.relative_to(store.workspace.root), linked)
        checks = (check_rounds, check_exports, check_cohort) if cohort else (check_rounds, check_exports)
        for check in checks:
            for finding in check(copied):
                raise ChainError("a workspace that holds", str(finding), "see miracl verify; no backup was made")
    finally:
        engine.dispose()
    names = sorted(path.relative_to(aside).as_posix() for path in _below(aside))
    return [Packed(name, (aside / name).stat().st_size, file_digest(aside / name)) for name in names]


def _wanted(workspace: Workspace, copied: Store, *, cohort: bool, models: bool) -> Iterator[Path]:
    for name in _WHOLE:
        yield workspace.root / name
    for round_id in noted_rounds(copied):
        yield from (workspace.round_path(round_id), workspace.round_digest_path(round_id))
        if models:
            yield from _below(workspace.model_folder(round_id))
    with copied.reading() as connection:
        numbers = connection.execute(select(tables.export.c.number)).scalars().all()
    for number in numbers:
        yield from _below(workspace.exports / f"export-{int(number):04d}")
    if cohort:
        yield from _below(workspace.cohort)
    elif (workspace.cohort / "manifest.json").is_file():
        yield workspace.cohort / "manifest.json"


def _below(folder: Path) -> list[Path]:
    """Files of a folder and those in it; those that are being written aside are left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if not path.name.startswith(".")]


def _bring(source: Path, target: Path, linked: bool) -> None:
    """Copy a file, or name it twice where it is only read from there; files of a workspace are never written in."""
    make_folder(target.parent)
    if not source.is_file():
        raise ChainError("a workspace that is whole", f"no {source.name}", "see miracl verify; no backup was made")
    if linked:
        with suppress(OSError):  # another disk
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    sync_file(target)


def _said(store: Store, head: Head, *, cohort: bool, models: bool) -> dict[str, Any]:
    with suppress(PackageNotFoundError):
        return {**_facts(store, head, cohort=cohort, models=models), "miracl_audit": version("miracl-audit")}
    return _facts(store, head, cohort=cohort, models=models)


def _facts(store: Store, head: Head, *, cohort: bool, models: bool) -> dict[str, Any]:
    return {
        "workspace_id": store.workspace.workspace_id,
        "created_at": utc_now().isoformat(),
        "schema": REVISION,
        "head": {"count": head.count, "hash": head.hash},
        "cohort": cohort,
        "models": models,
    }
