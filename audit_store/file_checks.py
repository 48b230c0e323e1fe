"""Files against what the ledger and their manifests say of them: rounds, the cohort, exports.

Each file is compared by its bytes before anything in it is read.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audit_store import tables
from audit_store.chain import check_ledger, verify_head
from audit_store.database import GENESIS, Store
from audit_store.errors import ChainError, StoreError
from audit_store.export_manifest import read_manifest
from audit_store.fileio import file_digest, parsed_json
from audit_store.head_check import check_head_file
from audit_store.ledger import Event, events_of
from audit_store.projections import Finding
from audit_store.round_writer import digest_text


def noted_rounds(store: Store) -> dict[int, Event]:
    """Event that published each round, by its number."""
    return {int(event.data["round_id"]): event for event in events_of(store, "round")}


def check_rounds(store: Store) -> Iterator[Finding]:
    """Compare each round's file with its event and with the digest file beside it."""
    workspace = store.workspace
    present = workspace.round_ids()
    noted = noted_rounds(store)
    for round_id in present:
        path = workspace.round_path(round_id)
        if round_id not in noted:
            yield Finding(path.name, "-", "stands in no event of the ledger")
            continue
        yield from _round(path, workspace.round_digest_path(round_id), noted[round_id])
        yield from _round_head(store, path.name, noted[round_id].data.get("decisions_head"))
    for round_id in sorted(set(noted) - set(present)):
        yield Finding(workspace.round_path(round_id).name, "-", "is missing; the ledger has it")


def _round(path: Path, beside: Path, event: Event) -> Iterator[Finding]:
    try:
        digest = file_digest(path)
        size = path.stat().st_size
    except OSError:
        yield Finding(path.name, "-", "can't be read")
        return
    if digest != event.data["blake2b"]:
        yield Finding(path.name, "-", "was changed: it is not the file that the ledger names")
    try:
        told = beside.read_bytes()
        said = dict(parsed_json(told))
        wanted = {
            "round_id": int(event.data["round_id"]),
            "blake2b": event.data["blake2b"],
            "bytes": size,
            "cohort_fingerprint": event.data["cohort_fingerprint"],
        }
        whole = digest_text(said).encode() == told
    except (OSError, ValueError, TypeError):
        yield Finding(beside.name, "-", "is missing or unreadable")
        return
    if not whole or any(said.get(name) != value for name, value in wanted.items()):
        yield Finding(beside.name, "-", "was changed: it does not say what the ledger and the round's file do")


def _round_head(store: Store, name: str, head: str | None) -> Iterator[Finding]:
    if not head or head == GENESIS:
        return
    with store.reading() as connection:
        known = connection.execute(select(tables.event.c.seq).where(tables.event.c.hash == head)).first()
    if known is None:
        yield Finding(name, "-", "read decisions whose head is not in the ledger: a tail was cut, or another store")


def check_cohort(store: Store) -> Iterator[Finding]:
    """Compare the cohort's files with its manifest, and the manifest with what the latest round's event says."""
    workspace = store.workspace
    path = workspace.cohort / "manifest.json"
    noted = noted_rounds(store)
    if not path.is_file():
        if noted:
            yield Finding("cohort/manifest.json", "-", "is missing")
        return
    try:
        manifest = workspace.manifest()
        digests = {str(name): str(digest) for name, digest in dict(manifest["tables"]).items()}
        stated = str(manifest["fingerprint"])
        wanted = cohort_fingerprint(digests, manifest["labels"], manifest["channels"])
    except (StoreError, KeyError, TypeError, ValueError):
        yield Finding("cohort/manifest.json", "-", "is not a manifest")
        return
    yield from _cohort_files(workspace.cohort, digests)
    if wanted != stated:
        yield Finding("cohort/manifest.json", "-", "was changed: its fingerprint does not match its contents")
    if noted:
        last = noted[max(noted)]
        known = last.data.get("cohort_manifest")
        if stated != last.data["cohort_fingerprint"]:
            said = f"a cohort that changed since the round was trained (round {max(noted)})"
            yield Finding("cohort", "-", said)
        elif known is not None and wanted == stated and file_digest(path) != known:
            yield Finding("cohort/manifest.json", "-", f"was changed since round {max(noted)} was published")


def _cohort_files(folder: Path, digests: dict[str, str]) -> Iterator[Finding]:
    for name, digest in sorted(digests.items()):
        file = folder / f"{name}.parquet"
        if not file.is_file():
            yield Finding(f"cohort/{file.name}", "-", "is missing")
        elif file_digest(file) != digest:
            yield Finding(f"cohort/{file.name}", "-", "was changed: its digest is not the manifest's")
    for file in sorted(folder.glob("*.parquet")):
        if file.stem not in digests:
            yield Finding(f"cohort/{file.name}", "-", "stands in no manifest")


def cohort_fingerprint(digests: dict[str, str], labels: Any, channels: Any) -> str:
    """BLAKE2b-256 over the digests of a cohort's tables and its label and channel definitions, in hex."""
    body = json.dumps(
        {"tables": digests, "labels": labels, "channels": channels}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.blake2b(body.encode(), digest_size=32).hexdigest()


def check_exports(store: Store) -> Iterator[Finding]:
    """Compare each export's files with its manifest, the manifest with the ledger, and its head with the chain."""
    standing, rows = _exports(store)
    if {number for number, _ in standing.items()} != set(rows):
        # An export renames its folder inside its write transaction: wait for the one that may be under way.
        with store.writing():
            pass
        standing, rows = _exports(store)
    for number in sorted(rows.keys() | standing.keys()):
        name = f"exports/export-{number:04d}"
        if number not in standing:
            yield Finding(name, "-", "is missing; the ledger has it")
        elif number not in rows:
            yield Finding(name, "-", "stands in no event of the ledger; miracl export notes it")
        else:
            yield from check_one_export(standing[number], name, rows[number])
            yield from _kept_head(store, standing[number], name)


def _exports(store: Store) -> tuple[dict[int, Path], dict[int, str]]:
    folder = store.workspace.exports
    standing = {int(path.name[7:]): path for path in folder.glob("export-*") if path.name[7:].isdigit()}
    with store.reading() as connection:
        query = select(tables.export.c.number, tables.export.c.manifest_digest)
        return standing, {int(row.number): str(row.manifest_digest) for row in connection.execute(query)}


def check_one_export(folder: Path, name: str, digest: str) -> Iterator[Finding]:
    """Compare an export's files with its manifest, and the manifest with its digest in the ledger."""
    manifest = read_manifest(folder)
    if manifest is None or file_digest(folder / "manifest.json") != digest:
        yield Finding(f"{name}/manifest.json", "-", "was changed: it is not the one that the ledger names")
        return
    for item in manifest["files"]:
        file = folder / str(item["name"])
        if not file.is_file():
            yield Finding(f"{name}/{item['name']}", "-", "is missing")
        elif file_digest(file, "sha256") != item["sha256"]:
            yield Finding(f"{name}/{item['name']}", "-", "was changed: its SHA-256 is not the manifest's")
    known = {"manifest.json", *(str(item["name"]) for item in manifest["files"])}
    for file in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        if (below := file.relative_to(folder).as_posix()) not in known:
            yield Finding(f"{name}/{below}", "-", "stands in no manifest")


def _kept_head(store: Store, folder: Path, name: str) -> Iterator[Finding]:
    manifest = read_manifest(folder)
    if manifest is None:
        return
    head = manifest["decisions"]["head"]
    lost = verify_head(store, int(head["count"]), str(head["hash"]))
    if lost is not None:
        yield Finding(f"{name}/manifest.json", "-", f"names a head that the ledger lacks: event {lost.row} {lost.what}")


def hold_or_refuse(store: Store) -> None:
    """Go on only where the chain, every table that follows from it, and each head that an export kept hold.

    Every event is walked. A head file that is missing refuses nothing: the next act writes it.

    Raises
    ------
    ChainError
        Naming the first row that does not hold.
    """
    standing, _ = _exports(store)
    heads = (_kept_head(store, folder, f"exports/{folder.name}") for _, folder in sorted(standing.items()))
    for finding in chain.from_iterable((check_ledger(store), check_head_file(store), *heads)):
        if finding.where != store.workspace.head_file.name or store.workspace.head_file.is_file():
            raise ChainError("a ledger that holds", str(finding), "nothing was written; see miracl verify")
