"""The rows of a label file, put into one form: stay, label, source, value; what does not fit is told by row.

A stay of the phenotyping benchmark is named by its series file, `{subject}_episode{n}_timeseries.csv`, where n counts
the subject's stays by admission to the unit among those that meet the benchmark's criteria; the published procedure
counts before it drops stays of which nothing was measured. So the stay is the subject's whose length agrees with
`period_length`, and n alone where the file gives no length.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.cohort.csv_file import Reader
from core.errors import SourceError

FORMS = ("auto", "mimic3-benchmarks", "flexcare", "long")
LENGTH_TOLERANCE = 0.01
"""Hours by which a length of stay may differ: MIMIC publishes days with four decimals, ±.0012 hours."""
VALUES = ("value", "probability", "cleaned", "observed")
"""Columns of a long file that hold what it says, the first that is there."""
_BESIDE = (
    *("subject_id", "stay_id", "time_series", "period_length", "dicom_id", "past_medical_history", "hadm_id"),
    *("stay", "patient_id", "split"),
)
"""Columns of a wide file that are no labels."""
_EPISODE = r"^(.+)_episode([0-9]+)_timeseries\.csv$"
_NUMBER = re.compile(r"[0-9]+")


def form_of(path: Path, names: Sequence[str], form: str) -> str:
    """Tell a label file's form from its header, or check the one named.

    Raises
    ------
    SourceError
        When it is none of them.
    """
    small = [name.lower() for name in names]
    fits = {
        "long": {"stay_id", "label"} <= set(small) and any(name in small for name in VALUES),
        "flexcare": "stay_id" in small and "label" not in small,
        "mimic3-benchmarks": "stay" in small and "stay_id" not in small,
    }
    wanted = [name for name, fit in fits.items() if fit and form in ("auto", name)]
    if wanted:
        return wanted[0]
    needs = {
        "long": "columns stay_id, label and value",
        "flexcare": "columns stay_id and labels",
        "mimic3-benchmarks": "columns stay, period_length and labels",
    }
    expected = needs.get(form, "columns stay, or stay_id and labels, or stay_id, label and value")
    raise SourceError(f"{path.name} with {expected}", "others", "see core/cohort/SOURCES.md for the forms")


def load_rows(
    reader: Reader,
    path: Path,
    form: str,
    stays: pa.Table,
    entries: Sequence[Mapping[str, Any]],
    source: str,
    threshold: float,
    keys: pa.Table | None = None,
    name: str = "",
) -> str:
    """Load a label file into tables `given` (as it is) and `said` (a row for each stated pair); return its form.

    Parameters
    ----------
    stays
        The cohort's stays.
    entries
        The manifest's labels.
    source
        Name of the source where the file gives none.
    threshold
        Probability from which a model's word counts as present.
    keys
        The source's own names of stays (`key`) with their numbers (`id`), where those are text.
    name
        What messages call the file; its own name when not given.

    Raises
    ------
    SourceError
        When the file, a stay, a label or a value is not what it should be.
    """
    names = reader.load(path, "given")
    form, told = form_of(path, names, form), name or path.name
    places = {name.lower(): f"c{place}" for place, name in enumerate(names)}
    reader.sql.register("stays", stays.select(["stay_id", "patient_id", "patient_key", "visit", "los_hours"]))
    if form == "mimic3-benchmarks":
        _place_episodes(reader, told, places)
    else:
        _place_stays(reader, told, places["stay_id"], keys)
    if form == "long":
        _take_long(reader, told, places, entries, source)
    else:
        _take_wide(reader, told, names, entries, source)
    _check_values(reader, told, threshold)
    _settle(reader, told)
    return form


def _place_stays(reader: Reader, name: str, column: str, keys: pa.Table | None) -> None:
    """Table `placed`: the cohort's stay of each line, by its number or by the source's own name of it."""
    if keys is None:
        keys = pa.table({"key": pa.nulls(0, pa.string()), "id": pa.nulls(0, pa.int64())})
    reader.sql.register("stay_keys", keys.select(["key", "id"]))
    whole = f"coalesce(k.id, TRY_CAST(regexp_replace({column}, '\\.0+$', '') AS BIGINT))"
    reader.sql.execute(
        f"CREATE OR REPLACE TABLE named AS SELECT line, {column} IS NULL AS bare, {whole} AS stay_id "
        f"FROM given LEFT JOIN stay_keys k ON k.key = {column}"
    )
    _refuse(reader, "named", "bare", f"a stay_id in each row of {name}", "an empty cell")
    if not keys.num_rows:
        _refuse(reader, "named", "stay_id IS NULL", f"a whole number as stay_id in each row of {name}", "other text")
    reader.sql.execute(
        "CREATE OR REPLACE TABLE placed AS SELECT n.line, n.stay_id, s.stay_id IS NOT NULL AS known "
        "FROM named n LEFT JOIN stays s USING (stay_id)"
    )
    _refuse_strangers(reader, name)


def _place_episodes(reader: Reader, name: str, places: Mapping[str, str]) -> None:
    """Table `placed`: the cohort's stay of each line, by the name of its series file and its length."""
    stay = places["stay"]
    length = f"TRY_CAST({places['period_length']} AS DOUBLE)" if "period_length" in places else "NULL::DOUBLE"
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE named AS
        SELECT line, nullif(regexp_extract({stay}, '{_EPISODE}', 1), '') AS person,
            TRY_CAST(regexp_extract({stay}, '{_EPISODE}', 2) AS BIGINT) AS episode,
            TRY_CAST({stay} AS BIGINT) AS number, CASE WHEN {length} > 0 THEN {length} END AS length FROM given"""
    )
    _refuse(
        reader,
        "named",
        "person IS NULL AND number IS NULL",
        f"stays in {name} as (subject)_episode(n)_timeseries.csv",
        "other text",
    )
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE placed AS
        WITH people AS (
            SELECT *, patient_key AS person FROM stays
            UNION ALL SELECT *, patient_id::VARCHAR FROM stays WHERE patient_id::VARCHAR <> patient_key
        ), near AS (
            SELECT n.line, p.stay_id FROM named n JOIN people p ON p.person = n.person
            WHERE CASE WHEN n.length IS NULL THEN p.visit = n.episode
                ELSE abs(n.length - p.los_hours) <= {LENGTH_TOLERANCE!r} END
            QUALIFY row_number() OVER (PARTITION BY n.line ORDER BY abs(p.visit - n.episode), p.visit) = 1
        )
        SELECT n.line, coalesce(near.stay_id, s.stay_id) AS stay_id,
            coalesce(near.stay_id, s.stay_id) IS NOT NULL AS known
        FROM named n LEFT JOIN near USING (line) LEFT JOIN stays s ON n.person IS NULL AND s.stay_id = n.number"""
    )
    _refuse_strangers(reader, name)


def _refuse_strangers(reader: Reader, name: str) -> None:
    _refuse(reader, "placed", "NOT known", f"stays of the cohort in {name}", "stays that the cohort lacks")
    reader.sql.execute("DELETE FROM placed WHERE NOT known")


def _refuse(reader: Reader, table: str, bad: str, expected: str, came: str, todo: str = "mend those rows") -> None:
    """Refuse a table's rows of that condition; a lenient reader deletes and counts them."""
    rows = reader.count(f"SELECT count(DISTINCT line) FROM {table} WHERE {bad}")
    if rows:
        first = reader.count(f"SELECT min(line) FROM {table} WHERE {bad}")
        reader.refuse(expected, f"{came} in {rows} rows, first in row {first}", todo, rows)
        reader.sql.execute(f"DELETE FROM {table} WHERE {bad}")


def _known_labels(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Label keys by what a file may call them, in small letters: published name or key."""
    return {str(entry[field]).strip().lower(): str(entry["key"]) for field in ("name", "key") for entry in entries}


def _take_wide(
    reader: Reader, name: str, names: Sequence[str], entries: Sequence[Mapping[str, Any]], source: str
) -> None:
    """Table `word` of a file with a column for each label."""
    known = _known_labels(entries)
    columns = [(f"c{place}", column) for place, column in enumerate(names) if column.lower() not in _BESIDE]
    strange = [column for _, column in columns if column.lower() not in known]
    if strange:
        reader.refuse(
            f"columns of {name} named as the cohort's {len(entries)} labels",
            f"{len(strange)} others, such as {strange[0]!r:.60}",
            "rename them as published",
            len(strange),
        )
    chosen = [(column, known[title.lower()]) for column, title in columns if title.lower() in known]
    if len({key for _, key in chosen}) != len(chosen):
        raise SourceError(f"each label once in the columns of {name}", "one twice", "leave one of them out")
    if not chosen:
        raise SourceError(f"columns of {name} named as the cohort's labels", "none", "rename them as published")
    keys = pa.table({"place": [column for column, _ in chosen], "label": [key for _, key in chosen]})
    reader.sql.register("keys", keys)
    spread = ", ".join(column for column, _ in chosen)
    reader.sql.execute("CREATE OR REPLACE TEMP TABLE source_name AS SELECT ?::VARCHAR AS source", [source])
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE word AS
        SELECT line, stay_id, label, (SELECT source FROM source_name) AS source, said, false AS probable,
            NULL::VARCHAR AS code, NULL::FLOAT AS hour
        FROM (SELECT line, {spread} FROM given) UNPIVOT INCLUDE NULLS (said FOR place IN ({spread}))
        JOIN keys USING (place) JOIN placed USING (line)"""
    )


def _take_long(
    reader: Reader, name: str, places: Mapping[str, str], entries: Sequence[Mapping[str, Any]], source: str
) -> None:
    """Table `word` of a long file."""
    known = _known_labels(entries)
    keys = pa.table({"title": list(known), "label": list(known.values())})
    reader.sql.register("keys", keys)
    reader.sql.execute("CREATE OR REPLACE TEMP TABLE source_name AS SELECT ?::VARCHAR AS source", [source])
    column = next(value for value in VALUES if value in places)

    def of(title: str) -> str:
        return f"g.{places[title]}" if title in places else "NULL::VARCHAR"

    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE word AS
        SELECT line, stay_id, keys.label, coalesce({of("source")}, (SELECT source FROM source_name)) AS source,
            {of(column)} AS said, {"true" if column == "probability" else "false"} AS probable, {of("code")} AS code,
            {of("hour")} AS hour_text, TRY_CAST({of("hour")} AS FLOAT) AS hour
        FROM given g JOIN placed USING (line) LEFT JOIN keys ON keys.title = lower({of("label")})"""
    )
    _refuse(reader, "word", "label IS NULL", f"labels of the cohort in {name}", "others")
    _refuse(
        reader, "word", "hour_text IS NOT NULL AND coalesce(NOT isfinite(hour), true)", f"hours in {name}", "other text"
    )


def _check_values(reader: Reader, name: str, threshold: float) -> None:
    """Table `spoken`: values as 0 or 1; a blank states nothing."""
    reader.sql.execute(
        """CREATE OR REPLACE TABLE spoken AS
        SELECT *, TRY_CAST(said AS DOUBLE) AS number FROM word WHERE said IS NOT NULL"""
    )
    plain = "NOT probable AND coalesce(number NOT IN (0, 1), true)"
    _refuse(reader, "spoken", plain, f"0, 1 or blank as a label in {name}", "other values")
    outside = "probable AND coalesce(NOT number BETWEEN 0 AND 1, true)"
    _refuse(reader, "spoken", outside, f"probabilities of 0 to 1 in {name}", "other values")
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE spoken AS
        SELECT line, stay_id, label, source, probable, hour,
            (CASE WHEN probable THEN number >= {threshold!r} ELSE number = 1 END)::UTINYINT AS observed,
            CASE WHEN probable THEN printf('%.3f', number) ELSE code END AS code FROM spoken"""
    )


def _settle(reader: Reader, name: str) -> None:
    """Table `said`: each pair of a source once."""
    pair = "PARTITION BY stay_id, label, source"
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE counted AS
        SELECT *, min(observed) OVER ({pair}) <> max(observed) OVER ({pair}) AS torn,
            row_number() OVER ({pair} ORDER BY line) AS turn FROM spoken"""
    )
    todo = "keep one of them"
    _refuse(reader, "counted", "torn", f"one value for each stay and label in {name}", "contradictions", todo)
    _refuse(reader, "counted", "turn > 1", f"one row for each stay and label in {name}", "repetitions", todo)
    reader.sql.execute("CREATE OR REPLACE TABLE said AS SELECT * EXCLUDE (torn, turn) FROM counted")
