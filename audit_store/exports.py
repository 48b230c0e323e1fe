"""Exports of cleaned labels: a folder written aside, synced and renamed whole, with a manifest and a ledger event.

A killed export leaves the old state or the new: a folder that is not complete is never in place, and a complete one
whose line in the ledger is missing gets it the next time.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import ExportError
from audit_store.export_manifest import read_manifest
from audit_store.file_checks import hold_or_refuse
from audit_store.fileio import canonical_json, file_digest, make_folder, remove_leftovers, sync_directory, sync_file
from audit_store.labels import Policy, cleaned_long, cleaned_wide, listfile
from audit_store.ledger import append, projected
from audit_store.people import Person, operator, require_live, require_now
from audit_store.round_reader import RoundFile
from audit_store.rounds import check_cohort_matches, open_round
from audit_store.schema import BASES
from audit_store.states import Snapshot, snapshot

__all__ = ["FORMATS", "Written", "export_labels", "list_exports", "read_manifest", "recover"]

FORMATS = ("csv", "parquet")
EXPORT_SCHEMA_VERSION = 1
_PACKAGES = ("miracl-audit", "duckdb", "pyarrow", "pandas")


@dataclass(frozen=True)
class Written:
    """A file of an export: name, SHA-256, bytes, rows."""

    name: str
    sha256: str
    bytes: int
    rows: int


def export_labels(
    store: Store,
    round_file: RoundFile | int | None,
    actor: Person,
    policy: Policy | None = None,
    formats: tuple[str, ...] = FORMATS,
) -> Path:
    """Write the cleaned labels of a round to ``exports/export-NNNN/``.

    Parameters
    ----------
    store, round_file
        The decisions, and the round or its id; None for the latest.
    actor
        Who exports (role that may export).
    policy
        Which labels change; None for those that people settled, and no others.
    formats
        ``csv``, ``parquet`` or both.

    Returns
    -------
    Path
        The folder: labels_long, labels_wide, listfile.csv (with ``csv``) and manifest.json.

    Raises
    ------
    ExportError
        On an unknown format, or a disk that can't be written.
    RoundError
        When the round is missing, or the cohort changed since it was trained.
    ChainError
        When the ledger, or a table that follows from it, does not hold: it is walked before anything is written.
    """
    require_live(store, actor, "export")
    chosen = policy or Policy()
    if not formats or not set(formats) <= set(FORMATS):
        raise ExportError(f"formats of {', '.join(FORMATS)}", ", ".join(formats) or "none", "name one of them or both")
    if not isinstance(round_file, RoundFile):
        round_file = open_round(store.workspace, round_file)
    check_cohort_matches(store.workspace, round_file)
    recover(store)
    hold_or_refuse(store)
    now = snapshot(store)
    aside = store.workspace.exports / f".export.{os.getpid()}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_folder(aside)
        long = cleaned_long(store, round_file, chosen, now)
        written = _write_tables(store, round_file, chosen, long, aside, formats)
        return _put_in_place(store, round_file, actor, chosen, now, long, written, aside)
    except OSError as error:
        raise ExportError(
            "a folder exports/ that can be written", error.strerror or type(error).__name__, "check the disk"
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_in_place(
    store: Store,
    round_file: RoundFile,
    actor: Person,
    policy: Policy,
    now: Snapshot,
    long: pa.Table,
    written: list[Written],
    aside: Path,
) -> Path:
    """Write the manifest, rename the folder and note it in the ledger: both, or neither where anything fails."""
    target: Path | None = None
    try:
        with store.writing() as connection:
            require_now(connection, actor, "export")
            number = _next_number(connection, aside.parent)
            manifest = _manifest(store, round_file, policy, now, long, written, number, actor)
            body = json.dumps(manifest, indent=1, ensure_ascii=False)
            (aside / "manifest.json").write_text(body, encoding="utf-8")
            sync_file(aside / "manifest.json")
            sync_directory(aside)
            _note(connection, actor.name, manifest, file_digest(aside / "manifest.json"))
            os.rename(aside, aside.parent / f"export-{number:04d}")
            target = aside.parent / f"export-{number:04d}"
            sync_directory(target.parent)
        return target
    except BaseException:
        if target is not None and not _noted(store, target):
            os.rename(target, aside)
        raise


def _noted(store: Store, folder: Path) -> bool:
    with store.reading() as connection:
        query = select(tables.export.c.id).where(tables.export.c.number == int(folder.name.removeprefix("export-")))
        return connection.execute(query).first() is not None


def _write_tables(
    store: Store, round_file: RoundFile, policy: Policy, long: pa.Table, aside: Path, formats: tuple[str, ...]
) -> list[Written]:
    made = {"labels_long": long, "labels_wide": cleaned_wide(store, round_file, policy, long)}
    written = []
    for name, table in made.items():
        for kind in FORMATS:
            if kind in formats:
                written.append(_write(table, aside / f"{name}.{kind}"))
    if "csv" in formats:
        written.append(_write(listfile(store, round_file, policy, long), aside / "listfile.csv"))
    return written


def _write(table: pa.Table, path: Path) -> Written:
    if path.suffix == ".csv":
        pacsv.write_csv(table, path, pacsv.WriteOptions(quoting_style="needed"))
    else:
        pq.write_table(table, path, compression="zstd")
    sync_file(path)
    return Written(path.name, file_digest(path, "sha256"), path.stat().st_size, table.num_rows)


def _manifest(
    store: Store,
    round_file: RoundFile,
    policy: Policy,
    now: Snapshot,
    long: pa.Table,
    written: list[Written],
    number: int,
    actor: Person,
) -> dict[str, Any]:
    cohort = store.workspace.manifest()
    bases = pc.value_counts(long["basis"]).to_pylist()
    counted = {row["values"]: row["counts"] for row in bases}
    changed = pc.sum(long["changed"]).as_py() or 0
    added = pc.sum(pc.and_(long["changed"], pc.equal(long["cleaned"], 1))).as_py() or 0
    placed = pc.sum(pc.is_valid(long["decided_at"])).as_py() or 0
    return {
        "schema_version": EXPORT_SCHEMA_VERSION,
        "number": number,
        "created_at": utc_now().isoformat() + "Z",
        "actor": actor.name,
        "policy": asdict(policy),
        "round": round_file.info.round_id,
        "round_blake2b": round_file.digest["blake2b"],
        "cohort": {"name": cohort.get("name"), "fingerprint": cohort.get("fingerprint")},
        "source": cohort.get("source"),
        "licence": cohort.get("licence"),
        "labels": list(round_file.label_ids),
        "counts": {
            "pairs": long.num_rows,
            "stays": pc.count_distinct(long["stay_id"]).as_py(),
            "changed": changed,
            "added": added,
            "removed": changed - added,
            "basis": {basis: counted.get(basis, 0) for basis in BASES},
            "pairs_read": placed,
            "pairs_read_outside_this_round": now.states.num_rows - placed,
        },
        "decisions": {
            "count": now.count,
            "last_id": now.last_id,
            "head": {"count": now.head.count, "hash": now.head.hash},
        },
        "files": [asdict(item) for item in written],
        "versions": {name: _version(name) for name in _PACKAGES},
        "note": "cleaned labels for research; not validated, not for care, not for billing",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _next_number(connection: Connection, folder: Path) -> int:
    noted = connection.execute(select(tables.export.c.number)).scalars().all()
    standing = [int(path.name[7:]) for path in folder.glob("export-*") if path.name[7:].isdigit()]
    return max([0, *map(int, noted), *standing]) + 1


def _note(connection: Connection, actor: str, manifest: dict[str, Any], digest: str) -> None:
    data = {
        "number": int(manifest["number"]),
        "actor": actor,
        "round_id": int(manifest["round"]),
        "changed": int(manifest["counts"]["changed"]),
        "manifest_digest": digest,
        "head": manifest["decisions"]["head"],
        "policy": canonical_json(manifest["policy"]),
    }
    row = projected(append(connection, "export", actor, data), tables.export)
    connection.execute(tables.export.insert().values(**row))


def recover(store: Store) -> list[int]:
    """Note complete exports that a kill left without their line, and remove what incomplete ones left.

    Returns
    -------
    list of int
        Numbers of the exports that were noted.
    """
    folder = store.workspace.exports
    for left in remove_leftovers(folder, "export"):
        shutil.rmtree(left, ignore_errors=True)
    found = []
    for path in sorted(folder.glob("export-*")):
        manifest = read_manifest(path)
        if manifest is None:
            continue
        number = int(manifest["number"])
        if not _noted(store, path):
            with store.writing() as connection:
                query = select(tables.export.c.id).where(tables.export.c.number == number)
                if connection.execute(query).first() is None:
                    _note(connection, operator().name, manifest, file_digest(path / "manifest.json"))
                    found.append(number)
    return found


def list_exports(store: Store) -> pd.DataFrame:
    """List exports, latest first: number, created_at (UTC), actor, round_id, changed, folder, complete."""
    c = tables.export.c
    query = select(c.number, c.created_at, c.actor, c.round_id, c.changed).order_by(c.number.desc())
    with store.reading() as connection:
        rows = connection.execute(query).all()
    columns = ["number", "created_at", "actor", "round_id", "changed"]
    frame = pd.DataFrame([tuple(row) for row in rows], columns=columns)
    folders = [store.workspace.exports / f"export-{number:04d}" for number in frame["number"]]
    frame["folder"] = pd.Series([str(folder) for folder in folders], index=frame.index, dtype=object)
    frame["complete"] = [_complete(folder) for folder in folders]
    return frame


def _complete(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and all(
        (folder / item["name"]).is_file() and (folder / item["name"]).stat().st_size == item["bytes"]
        for item in manifest["files"]
    )
