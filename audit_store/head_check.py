"""The ledger's head that stands outside the database, held against the ledger."""

import json
from collections.abc import Iterator
from pathlib import Path

from audit_store.chain import verify_head
from audit_store.database import Store
from audit_store.fileio import locked, parsed_json
from audit_store.head_file import LENGTH
from audit_store.ledger import head
from audit_store.projections import Finding


def check_head_file(store: Store) -> Iterator[Finding]:
    """Compare ``decisions.head.json`` with the ledger.

    It is written after each act is committed, so a process that was killed in between leaves it some events behind:
    that is no finding, and the next act mends it. One that names events which the ledger lacks tells of a cut tail.
    """
    path = store.workspace.head_file
    kept = _kept(path)
    if kept is not None:
        lost = verify_head(store, *kept)
        if lost is not None:
            yield Finding(path.name, str(kept[0]), f"event {lost.row} {lost.what}")
    elif path.exists():
        yield Finding(path.name, "-", "was changed: it does not read as it is written")
    elif head(store).count:
        yield Finding(
            path.name,
            "-",
            "is missing, so nothing here tells whether a tail was cut: compare a head kept elsewhere "
            "(miracl verify --head); the next act writes it anew",
        )


def _kept(path: Path) -> tuple[int, str] | None:
    """Count and hash; None where the file is missing, or is not byte for byte what is written for them."""
    try:
        with locked(path.with_name(".decisions.head.lock")):
            body = path.read_text(encoding="ascii")
    except ValueError:
        return None
    except OSError:  # none is there, or the folder can only be read and has no writers
        body = path.read_text(encoding="ascii") if path.is_file() else ""
    try:
        said = parsed_json(body)
        count, digest = int(said["count"]), str(said["hash"])
    except (ValueError, KeyError, TypeError):
        return None
    plain = json.dumps({"count": count, "hash": digest})  # as earlier versions left it
    return (count, digest) if body in (plain, plain.ljust(LENGTH - 1) + "\n") else None
