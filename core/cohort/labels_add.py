"""Adding label sources to a cohort that is built: the folder put together aside and renamed whole.

Tables other than `labels` don't change, so that the new folder holds the same files by another link, or copies where
the disk has no links. The fingerprint is new, and a round that was trained before names the old one.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.cohort.checks import check_tables
from core.cohort.labels_in import LabelsIn, check_name, join_sources, with_labels
from core.cohort.note_terms import TERMS_KIND, note_term_rows
from core.cohort.schema import LABELS, TABLES
from core.cohort.store import (
    ROW_GROUPS,
    clear_up,
    conform,
    file_digest,
    fingerprint,
    in_order,
    put_in_place,
    read_manifest,
)
from core.errors import ChangedError, CohortError, ConfigError

NOTE_TERMS = "note_terms"
"""What the source made of the notes is called unless told otherwise."""


def add_labels(folder: Path, given: LabelsIn) -> dict[str, Any]:
    """Add a file's labels to the cohort in a folder; return the manifest as written.

    Raises
    ------
    CohortError
        When the cohort, the file, a stay, a label or a value is not what it should be.
    ConfigError
        When the cohort has a source of that name.
    """
    manifest = read_manifest(folder)
    stays, labels = (_table(folder, manifest, name) for name in ("stays", "labels"))
    return replace_labels(folder, *with_labels(stays, labels, manifest, given, _keys(folder)))


def add_note_terms(folder: Path, source: str = NOTE_TERMS, *, replace: bool = False) -> dict[str, Any]:
    """Add what the notes say of each label, by its terms and their negation, as a source; return the manifest.

    A pair is present where a term of the label stands affirmed in any of the stay's notes, absent where all that stand
    are denied, and not stated where none stands. Never a model's input: models read notes as they are.

    Raises
    ------
    CohortError
        When the cohort is not what it should be, or no note names a label.
    ConfigError
        When the cohort has a source of that name.
    """
    check_name(source)
    manifest = read_manifest(folder)
    stays, labels = (_table(folder, manifest, name) for name in ("stays", "labels"))
    if source == manifest["primary_source"]:
        raise ConfigError("a source of its own for the notes' terms", "the primary one", "give another --source")
    _checked(folder, manifest, "notes")
    found = note_term_rows(folder / "notes.parquet", [str(entry["key"]) for entry in manifest["labels"]], source)
    if not found.num_rows:
        raise CohortError("notes that name a label of the cohort", "none", "build the cohort with its notes")
    entries = {source: {"kind": TERMS_KIND, "title": "note terms"}}
    report = {"file": None, "form": TERMS_KIND, "rows": found.num_rows, "set_aside": {}}
    return replace_labels(folder, *join_sources(stays, labels, manifest, found, entries, report, None, replace))


def _checked(folder: Path, manifest: Mapping[str, Any], name: str) -> Path:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise CohortError(f"{name}.parquet in the cohort", "no such file", "build the cohort again")
    if file_digest(path) != manifest["tables"].get(name):
        todo = "build the cohort again, or restore the file"
        raise ChangedError(f"{name}.parquet as the manifest describes it", "other contents", todo)
    return path


def _table(folder: Path, manifest: Mapping[str, Any], name: str) -> pa.Table:
    try:
        return conform(name, pq.read_table(_checked(folder, manifest, name)), TABLES[name])
    except (pa.ArrowException, OSError):
        raise CohortError(f"{name}.parquet as a Parquet file", "a file cut short", "build the cohort again") from None


def _keys(folder: Path) -> pa.Table | None:
    """Give the source's own names of stays, where they are text."""
    path = folder / "keys.parquet"
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, columns=["id", "key"], filters=[("kind", "=", "stay")])
    except (pa.ArrowException, OSError):
        raise CohortError(
            "keys.parquet as a Parquet file", "one that can't be read", "build the cohort again"
        ) from None


def replace_labels(folder: Path, labels: pa.Table, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Put another table of labels into a cohort's folder; return the manifest as written, with a new fingerprint.

    Raises
    ------
    SchemaError
        As `check_tables`.
    """
    stays = pq.read_table(folder / "stays.parquet")
    ready = in_order("labels", conform("labels", labels, LABELS))
    keys = [str(entry["key"]) for entry in manifest["labels"]]
    check_tables({"stays": conform("stays", stays, TABLES["stays"]), "labels": ready}, keys, [])
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    clear_up(folder)
    aside.mkdir(parents=True, mode=0o700)
    try:
        for path in sorted(folder.iterdir()):
            if path.name not in ("labels.parquet", "manifest.json"):
                _take_over(path, aside / path.name)
        pq.write_table(ready, aside / "labels.parquet", compression="zstd", row_group_size=ROW_GROUPS["labels"])
        os.chmod(aside / "labels.parquet", 0o600)
        digests = {**dict(manifest["tables"]), "labels": file_digest(aside / "labels.parquet")}
        written = {
            **dict(manifest),
            "counts": {**dict(manifest["counts"]), "labels": ready.num_rows},
            "tables": digests,
            "fingerprint": fingerprint(digests, list(manifest["labels"]), list(manifest["channels"])),
        }
        put_in_place(aside, folder, written)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return written


def _take_over(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target)
        os.chmod(target, 0o700)
        return
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)
