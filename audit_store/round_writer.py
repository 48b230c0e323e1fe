"""Writing a round: Arrow or Parquet tables, checked against the schema, into one DuckDB file that never changes again.

The file is built under a temporary name, checkpointed, synced and renamed; a digest file stands beside it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from audit_store.errors import RoundError
from audit_store.fileio import canonical_json, file_digest, remove_leftovers, replacing
from audit_store.schema import (
    DIRECTIONS,
    PARTITIONS,
    PERSISTENCES,
    ROUND,
    ROUND_SCHEMA_VERSION,
    ROUND_TABLES,
    SORT_ORDER,
    SPLITS,
    duck_type,
    same_family,
)
from audit_store.workspace import Workspace

Source: TypeAlias = pa.Table | Path
DUCKDB_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


@dataclass(frozen=True)
class _Check:
    """A rule over the tables: `count` gives the number of rows that break it."""

    count: str
    expected: str
    came: str
    todo: str = "mend the trainer's output"


def _names(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _outside(table: str, column: str, values: tuple[str, ...]) -> _Check:
    return _Check(
        f"SELECT count(*) FROM {table} WHERE {column} NOT IN ({_names(values)})",
        f"{table}.{column} in {{{', '.join(values)}}}",
        "{n} rows with another value",
    )


def _unit(column: str) -> _Check:
    return _Check(
        f"SELECT count(*) FROM pair WHERE {column} NOT BETWEEN 0 AND 1",
        f"pair.{column} between 0 and 1",
        "{n} rows outside",
    )


def _unique(table: str, keys: str) -> _Check:
    return _Check(
        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {table} GROUP BY {keys} HAVING n > 1)",
        f"one row per ({keys}) in {table}",
        "{n} rows too many",
        "remove the repeated rows",
    )


def _known_label(table: str) -> _Check:
    return _Check(
        f"SELECT count(*) FROM {table} ANTI JOIN label USING (label_id)",
        f"{table}.label_id among the labels",
        "{n} rows of other labels",
    )


_CHECKS: tuple[_Check, ...] = (
    _Check(
        "SELECT (SELECT count(*) FROM label) - (SELECT count(DISTINCT label_id) FROM label "
        "WHERE label_id BETWEEN 0 AND (SELECT count(*) FROM label) - 1)",
        "label.label_id counting from 0 without gaps",
        "{n} labels out of place",
    ),
    _unique("label", "label_key"),
    _outside("label", "persistence", PERSISTENCES),
    _Check("SELECT CAST(count(*) = 0 AS INT) FROM pair", "a round with pairs", "an empty table"),
    _known_label("pair"),
    _Check(
        "SELECT count(*) FROM pair WHERE observed NOT IN (0, 1)",
        "pair.observed in {0, 1}",
        "{n} rows with another value",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE suggested NOT IN (0, 1)",
        "pair.suggested in {0, 1}",
        "{n} rows with another value",
    ),
    _outside("pair", "partition", PARTITIONS),
    _outside("pair", "split", SPLITS),
    _outside("pair", "direction", DIRECTIONS),
    *[_unit(column) for column in ("given", "probability", "selection_score", "corrected", "error_probability")],
    *[_unit(column) for column in ("probability_series", "probability_note")],
    _unique("pair", "stay_id, label_id"),
    _Check(
        "SELECT count(*) FROM (SELECT 1 FROM pair GROUP BY stay_id HAVING min(patient_id) <> max(patient_id) "
        "OR min(visit) <> max(visit) OR min(split) <> max(split))",
        "one patient, visit and split per stay in pair",
        "{n} stays with several",
        "check the trainer's alignment",
    ),
    _Check(
        "SELECT count(*) FROM (SELECT 1 FROM pair GROUP BY patient_id HAVING min(split) <> max(split))",
        "each patient in one split",
        "{n} patients in both train and test",
        "split by patient",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE (direction = 'false_positive') <> (observed = 1)",
        "pair.direction false_positive exactly where observed is 1",
        "{n} rows otherwise",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE suggested <> CAST(corrected >= 0.5 AS UTINYINT)",
        "pair.suggested = (corrected ≥ 0.5)",
        "{n} rows otherwise",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE flagged AND (split <> 'train' OR partition = 'locked')",
        "flags on train pairs that are not locked",
        "{n} others flagged",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE flagged <> (suspicion_rank IS NOT NULL)",
        "a suspicion_rank exactly where a pair is flagged",
        "{n} rows otherwise",
    ),
    _Check(
        "SELECT count(*) FILTER (suspicion_rank NOT BETWEEN 1 AND n OR twice > 1) FROM (SELECT suspicion_rank, "
        "count(*) OVER () AS n, count(*) OVER (PARTITION BY suspicion_rank) AS twice FROM pair WHERE flagged)",
        "suspicion ranks 1 to N, each once",
        "{n} flags with another rank",
    ),
    _Check(
        "SELECT count(*) FROM pair WHERE octet_length(history) <> (SELECT count(*) FROM epoch)",
        "pair.history with one byte per epoch",
        "{n} rows of another length",
    ),
    _known_label("mixture"),
    _unique("mixture", "label_id, observed_class"),
    _unique("epoch", "epoch"),
    _Check(
        "SELECT count(*) FROM evidence ANTI JOIN pair USING (stay_id, label_id)",
        "evidence for pairs of the round",
        "{n} rows of other pairs",
    ),
    _outside("evidence", "kind", ("note", "series")),
    _Check(
        "SELECT count(*) FROM evidence WHERE kind = 'note' AND (note_id IS NULL OR char_start IS NULL "
        "OR char_end IS NULL OR char_start < 0 OR char_end < char_start)",
        "evidence from notes with a note and 0 ≤ char_start ≤ char_end",
        "{n} rows otherwise",
    ),
    _Check(
        "SELECT count(*) FROM detector_score ANTI JOIN pair USING (stay_id, label_id)",
        "detector scores of pairs of the round",
        "{n} rows of other pairs",
    ),
    _unique("detector_score", "stay_id, label_id, detector"),
)


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
        Arrow tables or Parquet files by the names of `audit_store.schema.ROUND_TABLES`, rows in any order. A nullable
        column may be left out; `label_group` is then filled from the cohort's manifest.

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
            digest_file.write_text(json.dumps(beside, indent=1), encoding="utf-8")
    return path


def _fill(aside: Path, row: dict[str, Any], tables: Mapping[str, Source], groups: dict[str, str]) -> None:
    with duckdb.connect(str(aside), config=DUCKDB_SETTINGS) as connection:
        for name, schema in ROUND_TABLES.items():
            _load(connection, name, schema, tables[name])
        if groups:
            connection.executemany(
                "UPDATE label SET label_group = $2 WHERE label_key = $1 AND label_group IS NULL", list(groups.items())
            )
        connection.register("staged", pa.Table.from_pylist([row], schema=ROUND))
        connection.execute("CREATE TABLE round AS SELECT * FROM staged").fetchall()
        connection.unregister("staged")
        for check in _CHECKS:
            broken = connection.execute(check.count).fetchall()[0][0]
            if broken:
                raise RoundError(check.expected, check.came.format(n=broken), check.todo)
        connection.execute(
            "CREATE TABLE flag AS SELECT * EXCLUDE (history) FROM pair WHERE flagged ORDER BY suspicion_rank"
        ).fetchall()
        connection.execute("CHECKPOINT").fetchall()


def _load(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, source: Source) -> None:
    if isinstance(source, Path):
        if not source.is_file():
            raise RoundError(f"{source.name}", "no such file", "train the round again")
        try:
            staged: Any = pads.dataset(source, format="parquet")
            came = staged.schema
        except (pa.ArrowInvalid, OSError):
            raise RoundError(f"{source.name} as Parquet", "a file cut short", "train the round again") from None
    else:
        staged, came = source, source.schema
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
    connection.register("staged", staged)
    try:
        connection.execute(
            f"CREATE TABLE {name} AS SELECT {columns} FROM staged ORDER BY {SORT_ORDER[name]}"
        ).fetchall()  # the statement is complete, and the connection free, only when its result is read
    except duckdb.Error as error:
        raise RoundError(
            f"table {name} in its schema's types", type(error).__name__, "mend the trainer's output"
        ) from None
    finally:
        connection.unregister("staged")
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
            info = json.loads(info.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RoundError("round.json in JSON", "none that can be read", "train the round again") from None
    if not isinstance(info, Mapping):
        raise RoundError("round.json as a JSON object", type(info).__name__, "train the round again")
    row = {f.name: info.get(f.name) for f in ROUND}
    row["schema_version"] = row["schema_version"] or ROUND_SCHEMA_VERSION
    config = row["config"]
    row["config"] = config if isinstance(config, str) else canonical_json(config or {})
    absent = [f.name for f in ROUND if not f.nullable and row[f.name] is None]
    if absent:
        raise RoundError(f"round.json with {', '.join(absent)}", "no such field", "train the round again")
    if row["round_id"] != round_id:
        raise RoundError(f"round.json of round {round_id}", "another round's", "give the matching files")
    if row["schema_version"] != ROUND_SCHEMA_VERSION:
        raise RoundError(
            f"a round of schema version {ROUND_SCHEMA_VERSION}",
            f"version {row['schema_version']}",
            "use the same version of miracl-audit for training and keeping",
        )
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
