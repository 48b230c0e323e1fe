"""Writing a round: Arrow or Parquet tables, checked against the schema, into one DuckDB file that never changes again.

The file is built under a temporary name, checkpointed, synced and renamed; a digest file stands beside it.
"""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from audit_store.detectors import keep_agreement, keep_scores
from audit_store.errors import RoundError
from audit_store.fileio import canonical_json, file_digest, parsed_json, remove_leftovers, replacing
from audit_store.round_checks import CHECKS, OPTIONAL_CHECKS, hold
from audit_store.schema import (
    OPTIONAL_TABLES,
    READABLE_INFO,
    ROUND,
    ROUND_SCHEMA_VERSION,
    ROUND_TABLES,
    SORT_ORDER,
    duck_type,
    same_family,
)
from audit_store.workspace import Workspace

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""What a disk says when it takes no more; DuckDB passes its words on."""
Source: TypeAlias = pa.Table | Path
DUCKDB_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def write_round(
    workspace: Workspace, round_id: int, info: Mapping[str, Any] | Path, tables: Mapping[str, Source]
) -> Path:
    """Check a finished round's tables and keep them as ``rounds/round-NNNN.duckdb``.

    Parameters
    ----------
    workspace
        Where the round goes.
    round_id
        Its number, from 1; an existing round is never replaced.
    info
        What ``round.json`` holds, or its path.
    tables
        Arrow tables or Parquet files by the names of `audit_store.schema.ROUND_TABLES`, rows in any order, and those of
        `OPTIONAL_TABLES` that there are. A nullable column may be left out; `label_group` is then filled from the
        cohort's manifest. `detector_score` has a column per detector, or a row (`audit_store.detectors`).

    Returns
    -------
    Path
        The round's file.

    Raises
    ------
    RoundError
        When a table or column is missing, has another type, NaN, repeated pairs or values that contradict one
        another. Nothing is left behind.
    """
    path = workspace.round_path(round_id)
    if path.exists():
        raise RoundError(f"a new round {round_id}", "one that is already there", "train the next round")
    row = _info_row(info, round_id)
    absent = [name for name in ROUND_TABLES if name not in tables]
    if absent:
        raise RoundError(f"tables {', '.join(ROUND_TABLES)}", f"no {', '.join(absent)}", "give each, empty if need be")
    for left in remove_leftovers(workspace.rounds, "round-"):
        left.unlink(missing_ok=True)
    with replacing(path) as aside:
        try:
            _fill(aside, row, tables, _groups(workspace))
        except duckdb.Error as error:  # what a table's own contents break is told where the table is loaded
            raise RoundError(
                f"a disk that takes {path.name}", type(error).__name__, "free space or mend permissions, and try again"
            ) from None
        finally:
            aside.with_name(aside.name + ".wal").unlink(missing_ok=True)
        beside = {
            "round_id": round_id,
            "blake2b": file_digest(aside),
            "bytes": aside.stat().st_size,
            "cohort_fingerprint": row["cohort_fingerprint"],
            "schema_version": ROUND_SCHEMA_VERSION,
        }
        with replacing(workspace.round_digest_path(round_id)) as digest_file:
            digest_file.write_text(digest_text(beside), encoding="utf-8")
    return path


def digest_text(beside: Mapping[str, Any]) -> str:
    """Write what stands in the digest file beside a round."""
    return json.dumps(beside, indent=1)


def _fill(aside: Path, row: dict[str, Any], tables: Mapping[str, Source], groups: dict[str, str]) -> None:
    optional = {name: schema for name, schema in OPTIONAL_TABLES.items() if name in tables}
    with duckdb.connect(str(aside), config=DUCKDB_SETTINGS) as connection:
        for name, schema in {**ROUND_TABLES, **optional}.items():
            _load(connection, name, schema, tables[name])
        if groups:
            connection.executemany(
                "UPDATE label SET label_group = $2 WHERE label_key = $1 AND label_group IS NULL", list(groups.items())
            )
        connection.register("staged", pa.Table.from_pylist([row], schema=ROUND))
        connection.execute("CREATE TABLE round AS SELECT * FROM staged").fetchall()
        connection.unregister("staged")
        hold(connection, CHECKS)
        for name in optional:
            hold(connection, OPTIONAL_CHECKS[name])
        connection.execute(
            "CREATE TABLE flag AS SELECT * EXCLUDE (history) FROM pair WHERE flagged ORDER BY suspicion_rank"
        ).fetchall()
        keep_agreement(connection)
        connection.execute("CHECKPOINT").fetchall()


def _load(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, source: Source) -> None:
    if isinstance(source, Path):
        if not source.is_file():
            raise RoundError(f"{source.name}", "no such file", "train the round again")
        try:
            staged: Any = pads.dataset(source, format="parquet")
            came = staged.schema
        except (pa.ArrowException, OSError):
            raise RoundError(f"{source.name} as Parquet", "a file cut short", "train the round again") from None
    else:
        staged, came = source, source.schema
    twice = sorted({column for column in came.names if came.names.count(column) > 1})
    if twice:
        raise RoundError(
            f"table {name} with each column once", f"{', '.join(twice)} twice", "mend the trainer's output"
        )
    connection.register("staged", staged)
    try:
        if name == "detector_score":
            keep_scores(connection, came)
        else:
            _keep(connection, name, schema, came)
    except duckdb.Error as error:
        if any(os.strerror(number) in str(error) for number in _DISK):
            raise
        raise RoundError(
            f"table {name} in its schema's types", type(error).__name__, "mend the trainer's output"
        ) from None
    finally:
        connection.unregister("staged")


def _keep(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, came: pa.Schema) -> None:
    """Keep the rows of the registered table ``staged`` as table `name`, its columns checked."""
    missing = [f.name for f in schema if f.name not in came.names and not f.nullable]
    if missing:
        raise RoundError(f"table {name} with {', '.join(missing)}", "no such column", "mend the trainer's output")
    wrong = [
        f"{f.name} ({came.field(f.name).type} for {f.type})"
        for f in schema
        if f.name in came.names and not same_family(came.field(f.name).type, f.type)
    ]
    if wrong:
        raise RoundError(f"table {name} in its schema's types", ", ".join(wrong), "mend the trainer's output")
    columns = ", ".join(
        f'CAST("{f.name}" AS {duck_type(f.type)}) AS "{f.name}"'
        if f.name in came.names
        else f'CAST(NULL AS {duck_type(f.type)}) AS "{f.name}"'
        for f in schema
    )
    connection.execute(
        f"CREATE TABLE {name} AS SELECT {columns} FROM staged ORDER BY {SORT_ORDER[name]}"
    ).fetchall()  # the statement is complete, and the connection free, only when its result is read
    _complete(connection, name, schema)


def _complete(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    """Refuse gaps in columns that have none, and NaN or infinities in any."""
    gaps = [f'count(*) FILTER ("{f.name}" IS NULL)' for f in schema if not f.nullable]
    floats = [f.name for f in schema if pa.types.is_floating(f.type)]
    endless = [f'count(*) FILTER (NOT isfinite("{column}"))' for column in floats]
    counts = connection.execute(f"SELECT {', '.join(gaps + endless)} FROM {name}").fetchall()[0]
    required = [f.name for f in schema if not f.nullable]
    for column, count in zip([*required, *floats], counts, strict=True):
        if count:
            raise RoundError(
                f"{name}.{column} finite and without gaps",
                f"{count} rows with a gap, NaN or an infinity",
                "mend the trainer's output",
            )


def _info_row(info: Mapping[str, Any] | Path, round_id: int) -> dict[str, Any]:
    if isinstance(info, Path):
        try:
            info = parsed_json(info.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RoundError("round.json in JSON", "none that can be read", "train the round again") from None
    if not isinstance(info, Mapping):
        raise RoundError("round.json as a JSON object", type(info).__name__, "train the round again")
    row = {f.name: info.get(f.name) for f in ROUND}
    row["schema_version"] = row["schema_version"] or ROUND_SCHEMA_VERSION
    config = row["config"]
    try:
        row["config"] = config if isinstance(config, str) else canonical_json(config or {})
        if not isinstance(parsed_json(str(row["config"])), dict):
            raise ValueError("no object")
    except ValueError:
        raise RoundError("round.json with its config in JSON", "another form", "train the round again") from None
    absent = [f.name for f in ROUND if not f.nullable and row[f.name] is None]
    if absent:
        raise RoundError(f"round.json with {', '.join(absent)}", "no such field", "train the round again")
    if row["round_id"] != round_id:
        raise RoundError(f"round.json of round {round_id}", "another round's", "give the matching files")
    if row["schema_version"] not in READABLE_INFO:
        raise RoundError(
            f"a round of schema version {ROUND_SCHEMA_VERSION}",
            f"version {row['schema_version']}",
            "use the same version of miracl-audit for training and keeping",
        )
    row["schema_version"] = ROUND_SCHEMA_VERSION
    try:
        pa.Table.from_pylist([row], schema=ROUND)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError, OverflowError):
        raise RoundError("round.json with fields of their types", "another type", "train the round again") from None
    return row


def _groups(workspace: Workspace) -> dict[str, str]:
    """Group of each label that is decided together with another, from the cohort's manifest where there is one."""
    if not (workspace.cohort / "manifest.json").is_file():
        return {}
    groups = workspace.manifest().get("label_groups") or []
    return {str(label): str(group["key"]) for group in groups for label in group["labels"]}
