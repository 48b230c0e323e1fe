"""A Medical Event Data Standard folder (0.3, 0.4): its events as a hospital's tables, and from there to a cohort.

Read are `data/**/*.parquet` (subject_id, time, code, numeric_value, text_value) and, where they are there,
`metadata/codes.parquet` for what codes are called and `metadata/subject_splits.parquet` when asked for.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core.cohort.labels_in import LabelsIn
from core.cohort.mapping_codes import Matcher
from core.cohort.mapping_meds import EVENTS, HELD_OUT, MedsMapping, MedsStays, MedsView, read_meds_mapping
from core.cohort.mapping_reader import nearest
from core.cohort.sources.mimic_tables import quoted
from core.cohort.sources.tables import build_mapped, check_cutoff
from core.cohort.sources.tables_check import CHECKED_ROWS, Finding, check_mapped
from core.cohort.sources.tables_files import MappedTables, name_sql
from core.errors import MiraclError, SourceError

VERSIONS = ("0.3", "0.4")
_AGAIN = "name the folder that holds data/ and metadata/"
_NEEDED = ("subject_id", "time", "code", "numeric_value")
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "subject_id": pa.types.is_integer,
    "time": pa.types.is_timestamp,
    "code": lambda kind: any(
        fits(kind) for fits in (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    ),
    "numeric_value": pa.types.is_floating,
}
_KIND_NAMES = {"subject_id": "whole numbers", "time": "timestamps", "code": "text", "numeric_value": "numbers"}


def build_meds(
    folder: Path,
    target: Path,
    *,
    mapping: str,
    subject_splits: bool = False,
    cutoff_hours: float | None = 48.0,
    lenient: bool = False,
    labels_in: LabelsIn | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Build the cohort of a MEDS folder.

    Parameters
    ----------
    folder
        With `data/` and `metadata/`.
    target
        The cohort's folder; replaced only once the new one is complete.
    mapping
        Path of a TOML file, or ``mimic4``, which comes with the package.
    subject_splits
        Test on the subjects that the dataset holds out and train on all others; else by a hash of the subject.
    cutoff_hours, lenient, labels_in, progress
        As for `build_tables`.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    SourceError
        When the folder, the mapping or an event is not what it should be.
    ConfigError
        When the cut-off is no number of hours.
    """
    check_cutoff(cutoff_hours)
    read = read_meds_mapping(mapping, subject_splits=subject_splits)
    shards = _shards(folder, read)
    version = _version(folder)
    raw = MappedTables(folder, read.tables.name, lenient=lenient)
    try:
        _lower(raw, folder, read, shards, subject_splits)
    except BaseException:
        raw.close()
        raise
    more: dict[str, Any] = {
        "meds": {"version": version, "mapping": read.tables.path.name, "subject_splits": subject_splits},
        "files": [str(path.relative_to(folder)) for path in shards],
    }
    return build_mapped(
        raw,
        read.tables,
        target,
        source="meds",
        cutoff_hours=cutoff_hours,
        labels_in=labels_in,
        progress=progress,
        more=more,
    )


def check_meds(
    folder: Path,
    mapping: str,
    *,
    subject_splits: bool = False,
    cutoff_hours: float | None = 48.0,
    lenient: bool = False,
) -> list[Finding]:
    """Check a mapping of codes against a MEDS folder without writing anything; as `check_tables`."""
    try:
        check_cutoff(cutoff_hours)
        read = read_meds_mapping(mapping, subject_splits=subject_splits)
        shards = _shards(folder, read)
        version = _version(folder)
    except MiraclError as error:
        return [Finding("error", str(error))]
    raw = MappedTables(folder, read.tables.name, lenient=True, limit=CHECKED_ROWS)
    try:
        _lower(raw, folder, read, shards, subject_splits)
    except MiraclError as error:
        raw.close()
        return [Finding("error", str(error))]
    told = f"MEDS {version or 'of a version that is not stated'}, {len(shards)} files of events"
    found = [Finding("info", told)]
    return found + check_mapped(raw, read.tables, cutoff_hours=cutoff_hours, lenient=lenient)


def _version(folder: Path) -> str | None:
    """Give the dataset's version of the standard; None where it states none."""
    path = folder / "metadata" / "dataset.json"
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SourceError("metadata/dataset.json in JSON", "text that is not", "write the dataset again") from None
    version = told.get("meds_version") if isinstance(told, dict) else None
    if version is not None and not str(version).startswith(tuple(f"{known}." for known in VERSIONS)):
        raise SourceError(
            f"MEDS {' or '.join(VERSIONS)} in metadata/dataset.json", f"{version!s:.20}", "convert the dataset"
        )
    return None if version is None else str(version)


def _shards(folder: Path, mapping: MedsMapping) -> list[Path]:
    """Find the files of events and look at each one's columns."""
    if not folder.is_dir():
        raise SourceError("a MEDS folder", "no such folder", _AGAIN)
    shards = sorted((folder / "data").rglob("*.parquet"))
    if not shards:
        raise SourceError("data/**/*.parquet in the folder", "none", _AGAIN)
    for path in shards:
        name = str(path.relative_to(folder))
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError):
            raise SourceError(
                f"{name} as a Parquet file", "one that is empty, cut short or damaged", "write it again"
            ) from None
        for column in (*_NEEDED, *mapping.extra):
            if column not in schema.names:
                near = f"none of that name: {nearest(column, schema.names)}".rstrip(": ")
                raise SourceError(f"column {column} in {name}", near, "rename it, or mend the mapping")
            if column in _KINDS and not _KINDS[column](schema.field(column).type):
                came = str(schema.field(column).type)
                raise SourceError(f"{_KIND_NAMES[column]} as {column} in {name}", came, "write the dataset again")
    return shards


def _any(listed: tuple[Matcher, ...], column: str = "code") -> str:
    """Write the condition that a code is meant."""
    return " OR ".join(f"regexp_matches({column}, {quoted(m.pattern().pattern)})" if not m.exact
                       else f"{column} = {quoted(m.text)}" for m in listed) or "false"  # fmt: skip


def _lower(raw: MappedTables, folder: Path, mapping: MedsMapping, shards: list[Path], subject_splits: bool) -> None:
    """Create the views that the mapping of tables reads."""
    paths = ", ".join(quoted(str(path)) for path in shards)
    base = f"SELECT * FROM read_parquet([{paths}], union_by_name = true)"
    names = [str(row[0]) for row in raw.sql.execute(f"DESCRIBE {base}").fetchall()]
    text = "text_value::VARCHAR" if "text_value" in names else "NULL::VARCHAR"
    kept = ["subject_id", "time", "code", "numeric_value", *mapping.extra]
    raw.sql.execute(
        f"CREATE VIEW {EVENTS} AS SELECT {', '.join(name_sql(c) for c in dict.fromkeys(kept))}, "
        f"{text} AS text_value, coalesce(numeric_value::VARCHAR, {text}) AS value FROM ({base}) WHERE code IS NOT NULL"
    )
    try:
        _names(raw, folder)
        _splits(raw, folder, subject_splits)
        _stays(raw, mapping.stays)
    except duckdb.Error:
        raise SourceError("events that can be read in data/", "a file that is damaged", "write it again") from None
    for view in mapping.views:
        _view(raw, view)


def _names(raw: MappedTables, folder: Path) -> None:
    """Table `meds_name`: what codes are called, where the dataset tells it."""
    path = folder / "metadata" / "codes.parquet"
    raw.sql.execute("CREATE OR REPLACE TABLE meds_name (code VARCHAR, description VARCHAR)")
    if path.is_file():
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError):
            raise SourceError(
                "metadata/codes.parquet as a Parquet file", "one that is cut short or damaged", "write it again"
            ) from None
        if {"code", "description"} <= set(table.column_names):
            raw.sql.register("given", table.select(["code", "description"]))
            raw.sql.execute(
                "INSERT INTO meds_name SELECT code, min(nullif(trim(description), '')) FROM given GROUP BY 1"
            )
            raw.sql.unregister("given")


def _splits(raw: MappedTables, folder: Path, wanted: bool) -> None:
    """Table `meds_split`: subject and its split."""
    raw.sql.execute("CREATE OR REPLACE TABLE meds_split (subject_id BIGINT, split VARCHAR)")
    if not wanted:
        return
    path = folder / "metadata" / "subject_splits.parquet"
    try:
        table = pq.read_table(path)
        raw.sql.register("given", table.select(["subject_id", "split"]))
    except (pa.ArrowException, OSError, KeyError):
        raise SourceError(
            "metadata/subject_splits.parquet with subject_id and split", "none that can be read", "leave the option out"
        ) from None
    raw.sql.execute("INSERT INTO meds_split SELECT DISTINCT subject_id, split FROM given")
    raw.sql.unregister("given")
    if not raw.count(f"SELECT count(*) FROM meds_split WHERE split = '{HELD_OUT}'"):
        raise SourceError(
            f"a split {HELD_OUT} in metadata/subject_splits.parquet", "none of that name", "leave the option out"
        )


def _stays(raw: MappedTables, stays: MedsStays) -> None:
    """Table `meds_stay`: each beginning with the next end of its subject, unless another beginning comes before it."""
    stay = f"{name_sql(stays.stay)}::VARCHAR" if stays.stay else "NULL"
    hospital = f"{name_sql(stays.hospital_stay)}::VARCHAR" if stays.hospital_stay else "NULL"
    for table, codes in (
        ("bound_start", stays.start),
        ("bound_end", stays.end),
        ("bound_in", stays.hospital_start),
        ("bound_out", stays.hospital_end),
        ("bound_birth", stays.birth),
    ):
        raw.sql.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT DISTINCT subject_id, time, {stay} AS stay, "
            f"{hospital} AS hospital FROM {EVENTS} WHERE time IS NOT NULL AND ({_any(codes)})"
        )
    if not raw.count("SELECT count(*) FROM bound_start"):
        raise SourceError("events at which a stay begins (start of [stays])", "none", "look at the dataset's codes")
    raw.lookup("sex_of", {"code": list(stays.sex) or [""], "sex": list(stays.sex.values()) or [""]})
    told = f"max({name_sql(stays.ethnicity)}::VARCHAR)" if stays.ethnicity else "NULL::VARCHAR"
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE meds_person AS SELECT e.subject_id, max(x.sex) AS sex, {told} AS ethnicity
        FROM {EVENTS} e LEFT JOIN sex_of x USING (code)
        WHERE x.sex IS NOT NULL OR {"true" if stays.ethnicity else "false"} GROUP BY 1"""
    )
    around = (
        """LEFT JOIN (SELECT subject_id, hospital, min(time) AS time FROM bound_in GROUP BY ALL) i
            ON i.subject_id = s.subject_id AND i.hospital = s.hospital
        LEFT JOIN (SELECT subject_id, hospital, max(time) AS time FROM bound_out GROUP BY ALL) o
            ON o.subject_id = s.subject_id AND o.hospital = s.hospital"""
        if stays.hospital_stay
        else """ASOF LEFT JOIN bound_in i ON i.subject_id = s.subject_id AND s.time >= i.time
        ASOF LEFT JOIN bound_out o ON o.subject_id = s.subject_id AND s.time <= o.time"""
    )
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE meds_stay AS
        WITH begun AS (
            SELECT *, lead(time) OVER (PARTITION BY subject_id ORDER BY time) AS following FROM bound_start
        ), ended AS (
            SELECT s.*, CASE WHEN s.following IS NULL OR e.time <= s.following THEN e.time END AS until
            FROM begun s ASOF LEFT JOIN bound_end e ON e.subject_id = s.subject_id AND s.time <= e.time
        )
        SELECT s.subject_id AS patient, coalesce(s.stay, concat_ws('|', s.subject_id, s.time)) AS stay,
            s.time AS admitted, s.until AS discharged,
            coalesce(s.hospital, concat_ws('|', s.subject_id, coalesce(i.time, s.time))) AS hospital_stay,
            i.time AS hospital_admitted, o.time AS hospital_discharged,
            date_sub('year', b.time, s.time) AS age, p.sex, p.ethnicity, d.split
        FROM ended s {around}
        LEFT JOIN (SELECT subject_id, min(time) AS time FROM bound_birth GROUP BY 1) b ON b.subject_id = s.subject_id
        LEFT JOIN meds_person p ON p.subject_id = s.subject_id
        LEFT JOIN meds_split d ON d.subject_id = s.subject_id"""
    )


def _view(raw: MappedTables, view: MedsView) -> None:
    """Create the view of some codes, with what the expression finds in them and what they are called."""
    groups = "".join(
        f", nullif(regexp_extract(e.code, {quoted(view.pattern)}, {place}), '') AS {name}"
        for place, name in enumerate(view.groups, start=1)
        if view.pattern
    )
    dropped = " EXCLUDE (code)" if groups and "code" in view.groups else ""
    called = "name" if groups and "name" in view.groups else "whole"
    raw.sql.execute(
        f"CREATE VIEW {name_sql(view.name)} AS SELECT *, coalesce(description, {called}) AS told FROM ("
        f"SELECT e.*{dropped}, e.code AS whole, n.description{groups} FROM {EVENTS} e "
        f"LEFT JOIN meds_name n ON n.code = e.code WHERE {_any(view.codes, 'e.code')})"
    )
