"""Raw rows of the benchmarks: Parquet files, one a table, keyed so that runs of several days add up.

A run's key is `KEY`: what it measured, not when. `version` is what the method declares of itself (`methods.version`),
raised by hand when its results change: a commit that touches a document, or another method, does not throw a day's
runs away. The commit, the machine and a digest of the options stand beside it as columns, so that a table can say
which of its rows an older commit or other options made, and `--changed` runs those again.

The wider tables (detection, repair) hold several rows a run. A run is written whole or not at all: the rows it yields
in each table go in together, its own table last, and rows of the same key are replaced.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import RunError
from core.fileio import replacing

Row = dict[str, Any]
Key = tuple[str | int, ...]

_KEY = {
    "cohort": pa.string(),
    "method": pa.string(),
    "noise": pa.string(),
    "seed": pa.int64(),
    "size": pa.string(),
    "epochs": pa.int64(),
    "version": pa.string(),
}
KEY = tuple(_KEY)
"""What makes two runs the same. `cohort` has the number of stays in its name."""

_MACHINE = {
    "options": pa.string(),
    "fingerprint": pa.string(),
    "device": pa.string(),
    "cpu": pa.string(),
    "cores": pa.int64(),
    "python": pa.string(),
    "torch": pa.string(),
    "numpy": pa.string(),
    "sklearn": pa.string(),
    "commit": pa.string(),
    "made_at": pa.string(),
    "seconds": pa.float64(),
}

_FLOATS = pa.list_(pa.float32())


def _numbers(*names: str) -> dict[str, pa.DataType]:
    return {name: pa.float64() for name in names}


def _counts(*names: str) -> dict[str, pa.DataType]:
    return {name: pa.int64() for name in names}


_RUN = {
    **_KEY,
    **_numbers("map", "map_best", "auroc_macro", "auroc_micro", "f1_micro", "f1_macro", "chance"),
    "best_epoch": pa.int64(),
    "map_by_epoch": _FLOATS,
    "ap_by_label": _FLOATS,
    "bootstrap": _FLOATS,
    **_counts("pairs", "wrong_before", "wrong_after"),
    **_counts("positives", "negatives"),
    **_counts("repaired_positive", "harmed_positive", "repaired_negative", "harmed_negative"),
    **_numbers("accuracy_before", "accuracy_after"),
    **_numbers("ece_positive", "ece_negative", "own_ap_positive", "own_ap_negative"),
    **_numbers("rho_plus", "rho_minus", "true_rho_plus", "true_rho_minus"),
    "seconds_per_epoch": pa.float64(),
    **_MACHINE,
}

SCHEMAS: Mapping[str, pa.Schema] = {
    "robustness": pa.schema(list(_RUN.items())),
    "ablation": pa.schema(list(_RUN.items())),
    "sources": pa.schema(
        list(
            {
                **_RUN,
                "source_names": pa.list_(pa.string()),
                "source_accuracy": _FLOATS,
                "source_weight": _FLOATS,
            }.items()
        )
    ),
    "detection": pa.schema(
        list(
            {
                **_KEY,
                "detector": pa.string(),
                "observed_class": pa.string(),
                **_numbers("auroc", "average_precision", "precision_100", "precision_500"),
                **_counts("n", "n_wrong", "labels_scored"),
                "precision_at_recall": _FLOATS,
                **_MACHINE,
            }.items()
        )
    ),
    "repair": pa.schema(
        list(
            {
                **_KEY,
                "order": pa.string(),
                **_counts("reviewed", "wrong_before", "wrong_after", "pairs"),
                **_numbers("repaired", "map", "ece_positive", "ece_negative"),
                "retrained": pa.bool_(),
                **_MACHINE,
            }.items()
        )
    ),
    "evidence": pa.schema(
        list(
            {
                **_KEY,
                **{name: pa.string() for name in ("group", "role", "label")},
                **_counts("n", "n_read", "supported", "measured", "contradicted", "history_known", "history_named"),
                **_MACHINE,
            }.items()
        )
    ),
    "cost": pa.schema(
        list(
            {
                **_KEY,
                "repeat": pa.int64(),
                **_numbers("seconds_per_epoch", "bce_seconds_per_epoch", "ratio", "own_share", "outside_seconds"),
                **_numbers("peak_mib"),
                **_MACHINE,
            }.items()
        )
    ),
}
"""Columns of each table (`core/RESULTS.md` says what they mean)."""


def key_of(row: Mapping[str, Any]) -> Key:
    """What identifies a row's run."""
    return tuple(row[name] for name in KEY)


def read_rows(folder: Path, table: str) -> list[Row]:
    """Rows of a table; none where it is not there yet. Columns that are newer than the file are None.

    Raises
    ------
    RunError
        When the file is not such a table.
    """
    path = folder / f"{table}.parquet"
    if not path.exists():
        return []
    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError):
        raise RunError(f"{path.name} as Parquet", "a file cut short", "restore it, or name another --rows") from None
    absent = [name for name in KEY if rows and name not in rows[0]]
    if absent:
        raise RunError(f"{path.name} with a benchmark's rows", f"no {', '.join(absent)}", "name another --rows")
    return [{name: row.get(name) for name in SCHEMAS[table].names} for row in rows]


def write_rows(folder: Path, made: Mapping[str, Sequence[Row]]) -> None:
    """Put the rows of finished runs in, in place of earlier ones of the same keys.

    Parameters
    ----------
    folder
        Where the tables lie; made when it is not there.
    made
        Rows by table, written in this order; a reader sees a table's old rows or its new ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for table, fresh in made.items():
            if not fresh:
                continue
            replaced = {key_of(row) for row in fresh}
            rows = [row for row in read_rows(folder, table) if key_of(row) not in replaced] + list(fresh)
            rows.sort(key=key_of)
            with replacing(folder / f"{table}.parquet") as path:
                write_small(pa.Table.from_pylist(rows, SCHEMAS[table]), path)
                os.chmod(path, 0o600)
            os.chmod(folder / f"{table}.parquet", 0o644)


def write_small(table: pa.Table, path: Path) -> None:
    """Write a table of rows as small as Parquet does without loss: each byte of the many fractions lies by its like."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[f.name for f in table.schema if f.type == pa.string()],
        use_byte_stream_split=[f"{f.name}.list.element" for f in table.schema if f.type == _FLOATS],
    )


def finished(folder: Path, table: str) -> set[Key]:
    """Keys of the runs whose rows are in a table."""
    return {key_of(row) for row in read_rows(folder, table)}


def options_of(rows: Iterable[Row]) -> dict[Key, str]:
    """Digest of the options that each run was made with."""
    return {key_of(row): str(row["options"]) for row in rows}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two commands that measure at once do not lose each other's rows."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
