"""The manifest of an export: what it holds, from what, by which policy; and reading one back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from audit_store.database import Store, utc_now
from audit_store.fileio import parsed_json
from audit_store.labels import Policy
from audit_store.round_reader import RoundFile
from audit_store.schema import BASES
from audit_store.states import Snapshot

EXPORT_SCHEMA_VERSION = 2
"""Version 2 added `forms`, `left_out` and `reads`, and files in folders; manifests of version 1 still read."""
NOTE = "cleaned labels for research; not validated, not for care, not for billing"
_PACKAGES = ("miracl-audit", "duckdb", "pyarrow", "pandas")


@dataclass(frozen=True)
class Written:
    """A file of an export: its path below the export's folder (with /), SHA-256, bytes, rows."""

    name: str
    sha256: str
    bytes: int
    rows: int


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of an export; None where it is not one."""
    try:
        body = parsed_json((folder / "manifest.json").read_text(encoding="utf-8"))
        int(body["number"]), int(body["round"]), int(body["counts"]["changed"]), body["decisions"]["head"]["hash"]
        list(body["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(body)


def facts_of(store: Store, round_file: RoundFile, policy: Policy, now: Snapshot, long: pa.Table) -> dict[str, Any]:
    """Give what a manifest says of the labels themselves: all but number, time, actor and files."""
    cohort = store.workspace.manifest()
    bases = pc.value_counts(long["basis"]).to_pylist()
    counted = {row["values"]: row["counts"] for row in bases}
    changed = pc.sum(long["changed"]).as_py() or 0
    added = pc.sum(pc.and_(long["changed"], pc.equal(long["cleaned"], 1))).as_py() or 0
    placed = pc.sum(pc.is_valid(long["decided_at"])).as_py() or 0
    return {
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
    }


def manifest_of(facts: dict[str, Any], number: int, actor: str, written: Sequence[Written]) -> dict[str, Any]:
    """Put a manifest together from what stands in it whatever the number.

    Parameters
    ----------
    facts
        `facts_of`, and `forms`, `left_out` and `reads`.
    actor
        Name of who exports; their role in an export for publication.
    """
    return {
        "schema_version": EXPORT_SCHEMA_VERSION,
        "number": number,
        "created_at": utc_now().isoformat() + "Z",
        "actor": actor,
        **facts,
        "files": [asdict(item) for item in written],
        "versions": {name: _version(name) for name in _PACKAGES},
        "note": NOTE,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
