"""Reading and writing a cohort's folder: Parquet tables and a manifest with a fingerprint over their contents.

A writer puts the whole folder together aside and renames it. A reader checks schema, keys, alignment and fingerprint
and says what is wrong in one line. The trainer's reader opens `TRAINING_TABLES` alone.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.cohort.checks import check_rows, check_tables
from core.cohort.manifest import check_manifest
from core.cohort.schema import SCHEMA_VERSION, SORT_KEYS, TABLES, TRAINING_TABLES, TRUTH
from core.cohort.streamed import write_streamed
from core.errors import ChangedError, CohortError, SchemaError
from core.fileio import parsed_json, replacing, sync_directory

TEST_SHARE_PERCENT = 20
ROW_GROUPS = {"stays": 1 << 18, "observations": 1 << 14, "notes": 1 << 7, "labels": 1 << 13, "review_evidence": 1 << 12}
"""Rows per Parquet row group: about a megabyte, so that a chart reads one patient without the rest of the cohort."""
_CHUNK = 1 << 20


def stable_id(key: str) -> int:
    """63 bits of BLAKE2b over a source's text key: the same over rebuilds."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") & (2**63 - 1)


def is_test_patient(key: str) -> bool:
    """Whether a patient falls in the test split: BLAKE2b(patient key) mod 100 < 20."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 < TEST_SHARE_PERCENT


def file_digest(path: Path) -> str:
    """BLAKE2b-256 of a file's bytes, in hex."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(digests: Mapping[str, str], labels: list[dict[str, Any]], channels: list[dict[str, Any]]) -> str:
    """BLAKE2b-256 over the tables' digests and the label and channel definitions, in hex."""
    body = json.dumps(
        {"tables": dict(digests), "labels": labels, "channels": channels}, sort_keys=True, separators=(",", ":")
    )
    return hashlib.blake2b(body.encode(), digest_size=32).hexdigest()


@dataclass(frozen=True)
class Cohort:
    """A cohort as a trainer may see it: its folder, manifest and training tables, checked and aligned.

    Parameters
    ----------
    folder
        The cohort's folder.
    manifest
        The manifest, parsed.
    stays, observations, notes, labels
        Tables of `core.cohort.schema`, sorted by `SORT_KEYS`.
    """

    folder: Path
    manifest: dict[str, Any]
    stays: pa.Table
    observations: pa.Table
    notes: pa.Table
    labels: pa.Table

    @property
    def fingerprint(self) -> str:
        """The manifest's fingerprint."""
        return str(self.manifest["fingerprint"])

    @property
    def label_keys(self) -> list[str]:
        """Keys of the label set, in `label_id` order."""
        return [str(label["key"]) for label in self.manifest["labels"]]

    def label_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        """Observed labels of the primary source.

        Returns
        -------
        observed
            uint8 [stays, labels] in the order of `stays` and `label_keys`; 0 where not stated.
        stated
            bool [stays, labels]; False where the source states nothing (never trained on).
        """
        stay_ids = self.stays["stay_id"].to_numpy()
        keys = self.label_keys
        observed = np.zeros((len(stay_ids), len(keys)), dtype=np.uint8)
        stated = np.zeros_like(observed, dtype=bool)
        table = self.labels.filter(pc.equal(self.labels["source"], self.manifest["primary_source"]))
        table = table.filter(pc.is_valid(table["observed"]))
        rows = np.searchsorted(stay_ids, table["stay_id"].to_numpy())
        columns = pc.index_in(table["label"], value_set=pa.array(keys)).to_numpy()
        observed[rows, columns] = table["observed"].to_numpy()
        stated[rows, columns] = True
        return observed, stated


def conform(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a table its schema's columns, order and types.

    Raises
    ------
    SchemaError
        When it lacks a column, has one twice, of another type, or with gaps where none may be.
    """
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise SchemaError(
            f"table {name} with columns {', '.join(schema.names)}", f"none named {', '.join(missing)}", "add them"
        )
    twice = [column for column in schema.names if table.column_names.count(column) > 1]
    if twice:
        raise SchemaError(f"table {name} with each column once", f"{', '.join(twice)} twice", "leave one of them out")
    try:
        return table.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowException, ValueError):
        wrong = [f.name for f in schema if table.schema.field(f.name).type != f.type]
        nulls = [f.name for f in schema if not f.nullable and table[f.name].null_count]
        raise SchemaError(
            f"table {name} as {', '.join(f'{f.name} {f.type}' for f in schema if f.name in {*wrong, *nulls})}",
            f"columns of another type ({', '.join(wrong) or 'none'}) or with gaps ({', '.join(nulls) or 'none'})",
            "mend the source or its mapping",
        ) from None


def in_order(name: str, table: pa.Table) -> pa.Table:
    """Sort a table as `SORT_KEYS` says."""
    return table.sort_by([(key, "ascending") for key in SORT_KEYS[name]])


def write_cohort(
    folder: Path,
    tables: Mapping[str, pa.Table | pa.RecordBatchReader],
    manifest: Mapping[str, Any],
    truth: pa.Table | None = None,
    keys: pa.Table | None = None,
) -> dict[str, Any]:
    """Write a cohort's folder aside and rename it into place; return the manifest as written.

    Parameters
    ----------
    folder
        Where the cohort goes; an existing cohort there is replaced only once the new one is complete.
    tables
        ``stays``, ``observations``, ``notes``, ``labels``, ``review_evidence``; any row order. A table too long for
        memory comes as a reader of batches in its schema and order.
    manifest
        name, source, primary_source, labels, label_groups, channels, attrition, cutoff_hours, licence and whatever
        else the source states; schema version, counts, digests and fingerprint are added here.
    truth
        Clean labels of a simulated cohort, kept apart under ``evaluation/``.
    keys
        The source's own keys where ids are hashes of them (kind, id, key), kept as ``keys.parquet``.

    Raises
    ------
    SchemaError
        As `check_tables`.
    """
    absent = [name for name in TABLES if name not in tables]
    if absent:
        raise SchemaError(f"tables {', '.join(TABLES)}", f"no {', '.join(absent)}", "give each, empty if need be")
    long = {name: table for name, table in tables.items() if isinstance(table, pa.RecordBatchReader)}
    ready = {name: in_order(name, conform(name, tables[name], TABLES[name])) for name in TABLES if name not in long}
    label_keys = [str(label["key"]) for label in manifest["labels"]]
    channel_names = [str(channel["name"]) for channel in manifest["channels"]]
    check_tables(ready, label_keys, channel_names)
    known = ready["stays"]["stay_id"].combine_chunks()

    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    clear_up(folder)
    aside.mkdir(parents=True, mode=0o700)
    try:
        digests: dict[str, str] = {}
        rows: dict[str, int] = {}
        for name in TABLES:
            path = aside / f"{name}.parquet"
            if name in long:

                def check(part: pa.Table, name: str = name) -> None:
                    check_rows(name, part, known, channel_names)

                rows[name] = write_streamed(path, name, long[name], ROW_GROUPS[name], check)
            else:
                rows[name] = ready[name].num_rows
                pq.write_table(ready[name], path, compression="zstd", row_group_size=ROW_GROUPS[name])
            os.chmod(path, 0o600)
            digests[name] = file_digest(path)
        if truth is not None:
            (aside / "evaluation").mkdir(mode=0o700)
            path = aside / "evaluation" / "truth.parquet"
            pq.write_table(in_order("truth", conform("truth", truth, TRUTH)), path, compression="zstd")
            os.chmod(path, 0o600)
        if keys is not None:
            pq.write_table(keys, aside / "keys.parquet", compression="zstd")
            os.chmod(aside / "keys.parquet", 0o600)
        labels = [{"label_id": i, **dict(label)} for i, label in enumerate(manifest["labels"])]
        channels = [dict(channel) for channel in manifest["channels"]]
        stays = ready["stays"]
        written = {
            **dict(manifest),
            "schema_version": SCHEMA_VERSION,
            "labels": labels,
            "channels": channels,
            "counts": {
                "stays": stays.num_rows,
                "patients": pc.count_distinct(stays["patient_id"]).as_py(),
                "train_stays": pc.sum(pc.equal(stays["split"], "train")).as_py() or 0,
                "test_stays": pc.sum(pc.equal(stays["split"], "test")).as_py() or 0,
                **{name: count for name, count in rows.items() if name != "stays"},
            },
            "tables": digests,
            "fingerprint": fingerprint(digests, labels, channels),
        }
        put_in_place(aside, folder, written)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written


def put_in_place(aside: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest beside complete tables, sync, and take the folder's place with them."""
    with replacing(aside / "manifest.json") as path:
        path.write_text(json.dumps(dict(manifest), indent=1, ensure_ascii=False), encoding="utf-8")
    sync_directory(aside)
    swap(aside, folder)


def clear_up(folder: Path) -> None:
    """Put right what a killed writer left: the old cohort goes back if none is in place, half-written ones go."""
    left = sorted(folder.parent.glob(f".{folder.name}.*.old"))
    if left and not folder.exists():
        os.replace(left.pop(), folder)
    for stale in (*left, *folder.parent.glob(f".{folder.name}.*.part")):
        shutil.rmtree(stale, ignore_errors=True)


def swap(aside: Path, folder: Path) -> None:
    """Put `aside` where `folder` is; the old folder is removed last."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(aside, folder)
    sync_directory(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check a cohort's manifest.

    Raises
    ------
    CohortError
        When it is missing, not JSON, lacks a field, or has a newer schema version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise CohortError(
            f"a cohort in {folder}", "no manifest.json there", "run miracl build-cohort, or name another workspace"
        )
    try:
        manifest: dict[str, Any] = parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CohortError("manifest.json in JSON", "text that is not", "build the cohort again") from None
    if not isinstance(manifest, dict):
        raise CohortError("manifest.json as a JSON object", type(manifest).__name__, "build the cohort again")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version > SCHEMA_VERSION:
        raise CohortError(
            f"a cohort of schema version {SCHEMA_VERSION} or earlier",
            f"version {version!r:.20}",
            "upgrade miracl-audit",
        )
    needed = ("labels", "channels", "primary_source", "tables", "fingerprint", "counts")
    absent = [name for name in needed if name not in manifest]
    if absent:
        raise CohortError(
            f"manifest.json with {', '.join(needed)}", f"no {', '.join(absent)}", "build the cohort again"
        )
    check_manifest(manifest)
    return manifest


def open_cohort(folder: Path, *, verify: bool = True) -> Cohort:
    """Open a cohort for training: its manifest and training tables, checked.

    Parameters
    ----------
    folder
        The cohort's folder.
    verify
        Compare each table's digest with the manifest's (reads the files once more).

    Raises
    ------
    CohortError, SchemaError, ChangedError
        When a file is missing, cut short, has another schema, or was changed after the manifest was written.
    """
    manifest = read_manifest(folder)
    tables: dict[str, pa.Table] = {}
    for name, schema in TRAINING_TABLES.items():
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise CohortError(f"{name}.parquet in the cohort", "no such file", "build the cohort again")
        if verify and file_digest(path) != manifest["tables"].get(name):
            raise ChangedError(
                f"{name}.parquet as the manifest describes it",
                "other contents",
                "build the cohort again, or restore the file",
            )
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError):
            raise CohortError(
                f"{name}.parquet as a Parquet file", "a file cut short", "build the cohort again"
            ) from None
        tables[name] = conform(name, table, schema)
    if verify:
        check_tables(
            tables, [str(v["key"]) for v in manifest["labels"]], [str(c["name"]) for c in manifest["channels"]]
        )
    return Cohort(folder, manifest, tables["stays"], tables["observations"], tables["notes"], tables["labels"])
