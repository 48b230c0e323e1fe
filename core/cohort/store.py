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

from core.cohort.schema import SCHEMA_VERSION, SORT_KEYS, TABLES, TRAINING_TABLES, TRUTH, VISIT_ORDERS
from core.errors import ChangedError, CohortError, SchemaError
from core.fileio import replacing, sync_directory

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


def _conform(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise SchemaError(
            f"table {name} with columns {', '.join(schema.names)}", f"none named {', '.join(missing)}", "add them"
        )
    try:
        return table.select(schema.names).cast(schema).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError):
        wrong = [f.name for f in schema if table.schema.field(f.name).type != f.type]
        nulls = [f.name for f in schema if not f.nullable and table[f.name].null_count]
        raise SchemaError(
            f"table {name} as {', '.join(f'{f.name} {f.type}' for f in schema)}",
            f"columns of another type ({', '.join(wrong) or 'none'}) or with gaps ({', '.join(nulls) or 'none'})",
            "mend the source or its mapping",
        ) from None


def _sorted(name: str, table: pa.Table) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in SORT_KEYS[name]])


def _unique(name: str, table: pa.Table, keys: tuple[str, ...]) -> None:
    groups = table.group_by(list(keys)).aggregate([([], "count_all")])
    repeated = table.num_rows - groups.num_rows
    if repeated:
        raise SchemaError(
            f"one row per ({', '.join(keys)}) in {name}", f"{repeated} rows too many", "remove the repeated rows"
        )


def check_tables(tables: Mapping[str, pa.Table], label_keys: list[str], channel_names: list[str]) -> None:
    """Check keys, values and alignment of a cohort's tables.

    Raises
    ------
    SchemaError
        On repeated keys, labels outside {0, 1}, unknown stays, labels or channels, non-finite values, a patient in
        both splits, or notes whose model span lies outside their text.
    """
    stays = tables["stays"]
    _unique("stays", stays, ("stay_id",))
    _unique("labels", tables["labels"], ("stay_id", "label", "source"))
    splits = set(pc.unique(stays["split"]).to_pylist())
    if not splits <= {"train", "test"}:
        raise SchemaError("stays.split in {train, test}", f"{len(splits)} different values", "assign each patient one")
    per_patient = stays.group_by("patient_id").aggregate([("split", "count_distinct")])
    both = pc.sum(pc.greater(per_patient["split_count_distinct"], 1)).as_py() or 0
    if both:
        raise SchemaError("each patient in one split", f"{both} patients in both train and test", "split by patient")
    orders = set(pc.unique(stays["visit_order"]).to_pylist())
    if not orders <= set(VISIT_ORDERS):
        raise SchemaError(f"stays.visit_order in {{{', '.join(VISIT_ORDERS)}}}", "other values", "mend visit_order")
    los = stays["los_hours"].to_numpy()
    if not np.isfinite(los).all() or (los < 0).any():
        raise SchemaError("stays.los_hours finite and not negative", "other values", "remove those stays")
    known = stays["stay_id"]
    for name in tables:
        if name == "stays":
            continue
        strangers = pc.sum(pc.invert(pc.is_in(tables[name]["stay_id"], value_set=known.combine_chunks()))).as_py() or 0
        if strangers:
            raise SchemaError(f"{name}.stay_id among the stays", f"{strangers} rows of other stays", "drop those rows")
    labels = tables["labels"]
    outside = pc.sum(pc.greater(labels["observed"], 1)).as_py() or 0
    if outside:
        raise SchemaError("labels.observed in {0, 1} or empty", f"{outside} other values", "recode the labels")
    foreign = pc.sum(pc.invert(pc.is_in(labels["label"], value_set=pa.array(label_keys)))).as_py() or 0
    if foreign:
        raise SchemaError("labels.label in the manifest's label set", f"{foreign} other rows", "add or drop the label")
    observations = tables["observations"]
    foreign = pc.sum(pc.invert(pc.is_in(observations["channel"], value_set=pa.array(channel_names)))).as_py() or 0
    if foreign:
        raise SchemaError("observations.channel in the manifest", f"{foreign} other rows", "add or drop the channel")
    for column in ("hour", "value"):
        endless = pc.sum(pc.invert(pc.is_finite(observations[column]))).as_py() or 0
        if endless:
            raise SchemaError(
                f"observations.{column} finite or empty", f"{endless} NaN or infinite values", "drop those rows"
            )
    notes = tables["notes"]
    empty = pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(notes["text"])), 0)).as_py() or 0
    if empty:
        raise SchemaError("notes with text", f"{empty} empty notes", "leave empty notes out")

    length = pc.utf8_length(notes["text"])
    bad = pc.or_kleene(pc.greater(notes["model_end"], length), pc.greater(notes["model_start"], notes["model_end"]))
    if pc.sum(bad).as_py():
        raise SchemaError("notes.model_start ≤ model_end ≤ length of the text", "other spans", "mend the spans")


def write_cohort(
    folder: Path,
    tables: Mapping[str, pa.Table],
    manifest: Mapping[str, Any],
    truth: pa.Table | None = None,
) -> dict[str, Any]:
    """Write a cohort's folder aside and rename it into place; return the manifest as written.

    Parameters
    ----------
    folder
        Where the cohort goes; an existing cohort there is replaced only once the new one is complete.
    tables
        ``stays``, ``observations``, ``notes``, ``labels``, ``review_evidence``; any row order.
    manifest
        name, source, primary_source, labels, label_groups, channels, attrition, cutoff_hours, licence and whatever
        else the source states; schema version, counts, digests and fingerprint are added here.
    truth
        Clean labels of a simulated cohort, kept apart under ``evaluation/``.

    Raises
    ------
    SchemaError
        As `check_tables`.
    """
    absent = [name for name in TABLES if name not in tables]
    if absent:
        raise SchemaError(f"tables {', '.join(TABLES)}", f"no {', '.join(absent)}", "give each, empty if need be")
    ready = {name: _sorted(name, _conform(name, tables[name], TABLES[name])) for name in TABLES}
    label_keys = [str(label["key"]) for label in manifest["labels"]]
    check_tables(ready, label_keys, [str(channel["name"]) for channel in manifest["channels"]])

    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    _clear_up(folder)
    aside.mkdir(parents=True, mode=0o700)
    try:
        digests: dict[str, str] = {}
        for name, table in ready.items():
            path = aside / f"{name}.parquet"
            pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUPS[name])
            os.chmod(path, 0o600)
            digests[name] = file_digest(path)
        if truth is not None:
            (aside / "evaluation").mkdir(mode=0o700)
            path = aside / "evaluation" / "truth.parquet"
            pq.write_table(_sorted("truth", _conform("truth", truth, TRUTH)), path, compression="zstd")
            os.chmod(path, 0o600)
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
                **{name: table.num_rows for name, table in ready.items() if name != "stays"},
            },
            "tables": digests,
            "fingerprint": fingerprint(digests, labels, channels),
        }
        with replacing(aside / "manifest.json") as path:
            path.write_text(json.dumps(written, indent=1, ensure_ascii=False), encoding="utf-8")
        sync_directory(aside)
        _swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written


def _clear_up(folder: Path) -> None:
    """Put right what a killed writer left: the old cohort goes back if none is in place, half-written ones go."""
    left = sorted(folder.parent.glob(f".{folder.name}.*.old"))
    if left and not folder.exists():
        os.replace(left.pop(), folder)
    for stale in (*left, *folder.parent.glob(f".{folder.name}.*.part")):
        shutil.rmtree(stale, ignore_errors=True)


def _swap(aside: Path, folder: Path) -> None:
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
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise CohortError("manifest.json in JSON", "text that is not", "build the cohort again") from None
    if not isinstance(manifest, dict):
        raise CohortError("manifest.json as a JSON object", type(manifest).__name__, "build the cohort again")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise CohortError(
            f"a cohort of schema version {SCHEMA_VERSION} or earlier", f"version {version}", "upgrade miracl-audit"
        )
    needed = ("labels", "channels", "primary_source", "tables", "fingerprint", "counts")
    absent = [name for name in needed if name not in manifest]
    if absent:
        raise CohortError(
            f"manifest.json with {', '.join(needed)}", f"no {', '.join(absent)}", "build the cohort again"
        )
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
        except (pa.ArrowInvalid, OSError):
            raise CohortError(
                f"{name}.parquet as a Parquet file", "a file cut short", "build the cohort again"
            ) from None
        tables[name] = _conform(name, table, schema)
    if verify:
        check_tables(
            tables, [str(v["key"]) for v in manifest["labels"]], [str(c["name"]) for c in manifest["channels"]]
        )
    return Cohort(folder, manifest, tables["stays"], tables["observations"], tables["notes"], tables["labels"])
