"""Walking everything that must hold: the ledger and what follows from it, round files, exports and the cohort."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from audit_store import tables
from audit_store.chain import Finding, check_ledger, rebuild, verify_head
from audit_store.database import GENESIS, Store
from audit_store.errors import RoundError, StoreError
from audit_store.exports import read_manifest
from audit_store.fileio import file_digest
from audit_store.ledger import Event, parsed
from audit_store.rounds import check_cohort_matches, open_round

__all__ = ["Finding", "cohort_fingerprint", "rebuild", "verify", "verify_head"]


def verify(store: Store, progress: Callable[[str], None] | None = None) -> list[Finding]:
    """Check the whole workspace.

    Parameters
    ----------
    store
        The workspace's store.
    progress
        Called with the name of each part before it is checked.

    Returns
    -------
    list of Finding
        Empty where everything holds; for the chain and for each other table, the first row that does not.
    """
    parts: tuple[tuple[str, Callable[[Store], Iterator[Finding]]], ...] = (
        ("ledger", check_ledger),
        ("rounds", _rounds),
        ("cohort", _cohort),
        ("exports", _exports),
    )
    found: list[Finding] = []
    for name, check in parts:
        if progress is not None:
            progress(name)
        found.extend(check(store))
    return found


def _rounds(store: Store) -> Iterator[Finding]:
    noted: dict[int, Event] = {}
    with store.reading() as connection:
        query = select(tables.event).where(tables.event.c.kind == "round").order_by(tables.event.c.seq)
        for row in connection.execute(query).all():
            event = parsed(row)
            if event is not None:
                noted[int(event.data["round_id"])] = event
    present = store.workspace.round_ids()
    for round_id in present:
        path = store.workspace.round_path(round_id)
        try:
            round_file = open_round(store.workspace, round_id)
            digest = file_digest(path)
        except (RoundError, OSError) as error:
            yield Finding(path.name, "-", error.came if isinstance(error, RoundError) else "can't be read")
            continue
        if digest != round_file.digest["blake2b"]:
            yield Finding(path.name, "-", "was changed: its digest is not the one beside it")
        elif round_id not in noted:
            yield Finding(path.name, "-", "stands in no event of the ledger")
        elif noted[round_id].data["blake2b"] != digest:
            yield Finding(path.name, "-", "is not the file that the ledger names")
        yield from _round_head(store, path.name, round_file.info.decisions_head)
    for round_id in sorted(set(noted) - set(present)):
        yield Finding(store.workspace.round_path(round_id).name, "-", "is missing; the ledger has it")


def _round_head(store: Store, name: str, head: str | None) -> Iterator[Finding]:
    if not head or head == GENESIS:
        return
    with store.reading() as connection:
        known = connection.execute(select(tables.event.c.seq).where(tables.event.c.hash == head)).first()
    if known is None:
        yield Finding(name, "-", "read decisions whose head is not in the ledger: a tail was cut, or another store")


def _cohort(store: Store) -> Iterator[Finding]:
    workspace = store.workspace
    path = workspace.cohort / "manifest.json"
    if not path.is_file():
        if workspace.round_ids():
            yield Finding("cohort/manifest.json", "-", "is missing")
        return
    try:
        manifest = workspace.manifest()
        tables_ = dict(manifest["tables"])
        stated = str(manifest["fingerprint"])
        wanted = cohort_fingerprint(tables_, manifest["labels"], manifest["channels"])
    except (StoreError, KeyError, TypeError, ValueError):
        yield Finding("cohort/manifest.json", "-", "is not a manifest")
        return
    for name, digest in sorted(tables_.items()):
        file = workspace.cohort / f"{name}.parquet"
        if not file.is_file():
            yield Finding(f"cohort/{file.name}", "-", "is missing")
        elif file_digest(file) != digest:
            yield Finding(f"cohort/{file.name}", "-", "was changed: its digest is not the manifest's")
    if wanted != stated:
        yield Finding("cohort/manifest.json", "-", "was changed: its fingerprint does not match its contents")
    latest = workspace.latest_round()
    if latest is not None:
        try:
            check_cohort_matches(workspace, open_round(workspace, latest))
        except RoundError as error:
            yield Finding("cohort", "-", f"{error.came} (round {latest})")


def cohort_fingerprint(digests: dict[str, str], labels: Any, channels: Any) -> str:
    """BLAKE2b-256 over the digests of a cohort's tables and its label and channel definitions, in hex."""
    body = json.dumps(
        {"tables": digests, "labels": labels, "channels": channels}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.blake2b(body.encode(), digest_size=32).hexdigest()


def _exports(store: Store) -> Iterator[Finding]:
    with store.reading() as connection:
        rows = {int(row.number): row for row in connection.execute(select(tables.export)).all()}
    folder = store.workspace.exports
    standing = {int(path.name[7:]): path for path in folder.glob("export-*") if path.name[7:].isdigit()}
    for number in sorted(rows.keys() | standing.keys()):
        name = f"exports/export-{number:04d}"
        if number not in standing:
            yield Finding(name, "-", "is missing; the ledger has it")
        elif number not in rows:
            yield Finding(name, "-", "stands in no event of the ledger; miracl export notes it")
        else:
            yield from _export(store, name, standing[number], str(rows[number].manifest_digest))


def _export(store: Store, name: str, folder: Path, digest: str) -> Iterator[Finding]:
    manifest = read_manifest(folder)
    if manifest is None or file_digest(folder / "manifest.json") != digest:
        yield Finding(f"{name}/manifest.json", "-", "was changed: it is not the one that the ledger names")
        return
    for item in manifest["files"]:
        file = folder / str(item["name"])
        if not file.is_file():
            yield Finding(f"{name}/{file.name}", "-", "is missing")
        elif file_digest(file, "sha256") != item["sha256"]:
            yield Finding(f"{name}/{file.name}", "-", "was changed: its SHA-256 is not the manifest's")
    head = manifest["decisions"]["head"]
    lost = verify_head(store, int(head["count"]), str(head["hash"]))
    if lost is not None:
        yield Finding(f"{name}/manifest.json", "-", f"names a head that the ledger lacks: event {lost.row} {lost.what}")
