"""A cohort's Parquet files, read by row group: only groups whose stay ids can hold the stay that was asked for.

The tables are sorted by stay_id, so a group's smallest and largest stay id (from the footer, read once) prune nearly
all of them. Files are opened anew for each read with the footer at hand, so threads share nothing but immutable state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.errors import WorkspaceError
from audit_store.fileio import parsed_json
from audit_store.manifests import check_manifest, require_fields
from audit_store.schema import same_family

SCHEMA_VERSION = 1
TABLES = ("stays", "observations", "notes", "labels", "review_evidence")
_NEEDED = ("labels", "channels", "primary_source", "fingerprint")
_REBUILD = "build the cohort again, or restore the file"


def _columns(**types: pa.DataType) -> pa.Schema:
    """Columns as the chart reads them; a name that ends in _ may have gaps."""
    return pa.schema([pa.field(name.removesuffix("_"), kind, name.endswith("_")) for name, kind in types.items()])


_SCHEMAS: dict[str, pa.Schema] = {
    "stays": _columns(
        stay_id=pa.int64(), patient_id=pa.int64(), hospital_stay_id_=pa.int64(), visit=pa.int32(),
        visit_order=pa.string(), admitted_at_=pa.timestamp("us"), los_hours=pa.float64(), age_=pa.float32(),
        sex_=pa.string(), has_series=pa.bool_(), has_note=pa.bool_(),
    ),
    "observations": _columns(
        stay_id=pa.int64(), hour=pa.float32(), channel=pa.string(), value_=pa.float32(), category_=pa.string()
    ),
    "notes": _columns(
        stay_id=pa.int64(), note_id=pa.int64(), hour_=pa.float32(), category=pa.string(), text=pa.string(),
        model_start_=pa.int32(), model_end_=pa.int32(),
    ),
    "labels": _columns(
        stay_id=pa.int64(), label=pa.string(), source=pa.string(), observed_=pa.uint8(), code_=pa.string()
    ),
    "review_evidence": _columns(
        stay_id=pa.int64(), hour_=pa.float32(), kind=pa.string(), name=pa.string(), value_=pa.float32(),
        unit_=pa.string(), text_=pa.string(), source=pa.string(),
    ),
}  # fmt: skip
"""What the chart reads of each table."""


def check_columns(path: Path, came: pa.Schema) -> None:
    """Raise a WorkspaceError unless a table has the columns that the chart reads of it, each once, of their types."""
    for field in _SCHEMAS.get(path.stem, ()):
        count = came.names.count(field.name)
        if count != 1:
            raise WorkspaceError(
                f"{path.name} with column {field.name} once", f"{count or 'no'} columns of that name", _REBUILD
            )
        kind = came.field(field.name).type
        if not same_family(kind, field.type):
            raise WorkspaceError(f"{path.name}, column {field.name}, as {field.type}", f"{kind}", _REBUILD)


def check_gaps(path: Path, table: pa.Table) -> None:
    """Raise a WorkspaceError where a cell that the chart needs is empty."""
    for field in _SCHEMAS.get(path.stem, ()):
        if not field.nullable and field.name in table.column_names and table[field.name].null_count:
            count = table[field.name].null_count
            raise WorkspaceError(f"{path.name}, column {field.name}, without gaps", f"{count} empty cells", _REBUILD)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a cohort's manifest.

    Raises
    ------
    WorkspaceError
        When it is missing, not JSON, lacks a field, or comes from a newer version.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise WorkspaceError("a cohort in the workspace", "no manifest.json there", "run miracl build-cohort first")
    try:
        manifest = parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise WorkspaceError("manifest.json in JSON", "text that is not", "build the cohort again") from None
    if not isinstance(manifest, dict):
        raise WorkspaceError("manifest.json as a JSON object", type(manifest).__name__, "build the cohort again")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version > SCHEMA_VERSION:
        raise WorkspaceError(
            f"a cohort of schema version {SCHEMA_VERSION} or earlier",
            f"version {version!r:.20}",
            "upgrade miracl-audit",
        )
    require_fields(manifest, _NEEDED)
    check_manifest(manifest)
    return manifest


@dataclass(frozen=True)
class PrunedTable:
    """One sorted Parquet table and the stay-id range of each of its row groups.

    Parameters
    ----------
    path
        The file.
    footer
        Its metadata, parsed once.
    lows, highs
        Smallest and largest stay_id per row group; groups without statistics span everything.
    seen
        Size and time of change of the file when its footer was read.
    """

    path: Path
    footer: Any
    lows: np.ndarray
    highs: np.ndarray
    seen: tuple[int, int]

    @classmethod
    def open(cls, path: Path) -> "PrunedTable":
        """Parse the footer.

        Raises
        ------
        WorkspaceError
            When the file is missing, cut short, or has no stay_id.
        """
        if not path.is_file():
            raise WorkspaceError(f"{path.name} in the cohort", "no such file", _REBUILD)
        seen = _seen(path)
        try:
            footer = pq.read_metadata(path)
            came = footer.schema.to_arrow_schema()
        except (pa.ArrowException, OSError):
            raise WorkspaceError(f"{path.name} as a Parquet file", "a file cut short", _REBUILD) from None
        check_columns(path, came)
        if "stay_id" not in came.names:
            raise WorkspaceError(f"{path.name} with stay_id", f"{len(came.names)} other columns", _REBUILD)
        column = came.names.index("stay_id")
        lows = np.full(footer.num_row_groups, np.iinfo(np.int64).min, dtype=np.int64)
        highs = np.full(footer.num_row_groups, np.iinfo(np.int64).max, dtype=np.int64)
        for group in range(footer.num_row_groups):
            statistics = footer.row_group(group).column(column).statistics
            if statistics is not None and statistics.has_min_max:
                lows[group], highs[group] = statistics.min, statistics.max
        return cls(path, footer, lows, highs, seen)

    def groups_for(self, stay_ids: np.ndarray) -> list[int]:
        """Row groups that can hold one of the stays."""
        hit = (self.lows[:, None] <= stay_ids[None, :]) & (self.highs[:, None] >= stay_ids[None, :])
        return [int(group) for group in np.flatnonzero(hit.any(axis=1))]

    def rows(self, stay_ids: tuple[int, ...], columns: list[str] | None = None) -> pa.Table:
        """Rows of the stays, in stored order.

        Raises
        ------
        WorkspaceError
            When the file has gone, changed shape, or was cut short since it was opened.
        """
        wanted = np.asarray(stay_ids, dtype=np.int64)
        try:
            if _seen(self.path) != self.seen:
                raise OSError
            with pq.ParquetFile(self.path, metadata=self.footer) as handle:
                table = handle.read_row_groups(self.groups_for(wanted), columns=columns, use_threads=False)
        except (pa.ArrowException, OSError):
            raise WorkspaceError(
                f"{self.path.name} as it was opened", "another or no file", "open the review again"
            ) from None
        check_gaps(self.path, table)
        return table.filter(pc.is_in(table["stay_id"], value_set=pa.array(wanted)))

    def distinct(self, columns: list[str]) -> pa.Table:
        """Distinct combinations of a few columns over the whole file, row group by row group (once per process)."""
        seen: pa.Table | None = None
        try:
            with pq.ParquetFile(self.path, metadata=self.footer) as handle:
                for group in range(self.footer.num_row_groups):
                    part = handle.read_row_group(group, columns=columns).group_by(columns).aggregate([])
                    seen = part if seen is None else pa.concat_tables([seen, part]).group_by(columns).aggregate([])
                return seen if seen is not None else handle.read(columns=columns)
        except (pa.ArrowException, OSError):
            raise WorkspaceError(f"{self.path.name} as a Parquet file", "a damaged file", _REBUILD) from None


def _seen(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
