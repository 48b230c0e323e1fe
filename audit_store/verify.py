"""Walking everything that must hold: the ledger and what follows from it, round files, exports and the cohort."""

import json
from collections.abc import Callable, Iterator
from itertools import chain as chained
from pathlib import Path

from audit_store.chain import Finding, check_ledger, rebuild, verify_head
from audit_store.database import Store
from audit_store.errors import StoreError
from audit_store.file_checks import check_cohort, check_exports, check_rounds, cohort_fingerprint, hold_or_refuse
from audit_store.head_check import check_head_file
from audit_store.ledger import Head

__all__ = [
    "Finding",
    "cohort_fingerprint",
    "head_of_manifest",
    "hold_or_refuse",
    "parse_head",
    "rebuild",
    "verify",
    "verify_head",
]


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
        ("ledger", lambda store: chained(check_ledger(store), check_head_file(store))),
        ("rounds", check_rounds),
        ("cohort", check_cohort),
        ("exports", check_exports),
    )
    found: list[Finding] = []
    for name, check in parts:
        if progress is not None:
            progress(name)
        found.extend(check(store))
        if name == "ledger" and any(finding.where == "event" for finding in found):
            break  # a broken chain vouches for no file
    return found


def parse_head(text: str) -> Head:
    """Read a head from ``COUNT:HASH``.

    Raises
    ------
    StoreError
        When it is none.
    """
    count, _, digest = text.strip().partition(":")
    hexadecimal = len(digest) == 64 and not set(digest.lower()) - set("0123456789abcdef")
    if not (count.isascii() and count.isdigit()) or len(count) > 18 or not hexadecimal:
        raise StoreError("a head as COUNT:HASH, with 64 hex digits", "other text", "copy it from a manifest or a check")
    return Head(int(count), digest.lower())


def head_of_manifest(path: Path) -> Head:
    """Read the head from an export's or a backup's manifest, or from a kept ``decisions.head.json``.

    Raises
    ------
    StoreError
        When the file is none of them.
    """
    if path.is_dir():
        path = path / "manifest.json"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        head = body["decisions"]["head"] if "decisions" in body else body.get("head", body)
        return parse_head(f"{int(head['count'])}:{head['hash']}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError("a manifest that names a head", "another file, or none", "name an export's manifest") from None
