"""Measured values of eICU: raw vitals, labs and charted items, or an hourly table in ricu/YAIB columns.

Every source is brought into one long table (stay, hour, channel, value) in the channel's unit; values outside the
plausible range are removed and counted. Where the hourly table has a value for a stay, channel and hour, it wins over
the raw tables. Nothing is imputed or averaged.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from core.cohort.channels import BY_NAME, CHANNELS
from core.cohort.sources import eicu_vocabulary as words
from core.cohort.sources.eicu_hourly import HOURLY_FILE, create_measured, insert_measure, read_hourly
from core.cohort.sources.eicu_tables import RawFolder, quoted
from core.cohort.sources.eicu_vocabulary import Measure
from core.errors import SourceError

STATIC_CHANNELS = ("height", "weight")
"""Channels that alone do not make a time series."""
_RAW = ("vitalPeriodic", "vitalAperiodic", "lab", "nurseCharting")
_UNIT_CHECK_ROWS = 20
_UNIT_CHECK_SHARE = 0.5


def load_series(raw: RawFolder) -> dict[str, Any]:
    """Build table `observation` from whatever the folder has.

    Returns
    -------
    dict
        `removed_values` and `unreadable_values` by channel, `converted_values` by channel, `ignored_columns`.

    Raises
    ------
    SourceError
        When there is neither an hourly table nor a raw one, on a missing column, an unknown unit, text or infinities
        where a number belongs, or a column most of whose values lie outside the plausible range.
    """
    hourly = raw.folder / HOURLY_FILE
    if not hourly.is_file() and not any(raw.has(table) for table in _RAW):
        raise SourceError(
            f"{HOURLY_FILE}, or at least one of {', '.join(f'{t}.csv(.gz)' for t in _RAW)}",
            "none of them in the folder",
            "add the vital signs and laboratory tables",
        )
    create_measured(raw)
    notes: dict[str, Any] = {"unreadable_values": {}, "ignored_columns": []}
    if hourly.is_file():
        notes["ignored_columns"] = read_hourly(raw, hourly)
    _columns(raw, "vitalPeriodic", words.MONITOR, rank=1, step=words.MONITOR_STEP_MINUTES)
    _nurse_charting(raw, notes["unreadable_values"])
    _columns(raw, "vitalAperiodic", words.CUFF, rank=3, step=None)
    _lab(raw)
    _respiratory(raw, notes["unreadable_values"])
    _intake_output(raw)
    _admission(raw)
    _physical_exam(raw, notes["unreadable_values"])
    notes["removed_values"] = _settle(raw)
    return notes


def _columns(raw: RawFolder, table: str, measures: Mapping[str, Measure], *, rank: int, step: int | None) -> None:
    """Read a table with one column a channel; with `step` keep the last measured value of each so many minutes."""
    if not raw.has(table):
        return
    raw.load(table, (), ("patientunitstayid", "observationoffset", *measures))
    for column, measure in measures.items():
        value, at = column, "observationoffset"
        rest = f"FROM {table} WHERE {column} IS NOT NULL"
        if step is not None:
            value, at = f"arg_max({column}, observationoffset)", "max(observationoffset)"
            rest += f" GROUP BY patientunitstayid, floor(observationoffset / {step})"
        query = f"SELECT patientunitstayid::BIGINT AS stay_id, {at} / 60.0 AS hour, {value} AS value {rest}"
        insert_measure(raw, table, measure, query, rank)
    raw.sql.execute(f"DROP TABLE {table}")


def _listed(names: Iterable[str]) -> str:
    """Write names as an SQL list, each once."""
    return ", ".join(quoted(name) for name in dict.fromkeys(names))


def _lab(raw: RawFolder) -> None:
    """Read `lab`: known names in known units; of a revised result the last revision."""
    if not raw.load_optional(
        "lab",
        ("labname", "labmeasurenamesystem"),
        ("patientunitstayid", "labresultoffset", "labresult", "labresultrevisedoffset"),
        f"lower(trim(labname)) IN ({_listed(words.LAB)})",
    ):
        return
    for name, measure in words.LAB.items():
        units = ", ".join(quoted(unit) for unit in measure.units)
        unit = "replace(lower(coalesce(labmeasurenamesystem, '')), ' ', '')"
        where = f"lower(labname) = {quoted(name)} AND labresult IS NOT NULL"
        (strange,) = raw.one(f"SELECT count(*) FROM lab WHERE {where} AND {unit} NOT IN ('', {units})")
        if strange:
            raise SourceError(
                f"lab {name} in {' or '.join(measure.units)}", f"another unit in {strange} rows", "convert those rows"
            )
        insert_measure(
            raw,
            "lab",
            measure,
            f"SELECT patientunitstayid::BIGINT AS stay_id, labresultoffset / 60.0 AS hour, "
            f"arg_max(labresult, coalesce(labresultrevisedoffset, labresultoffset)) AS value FROM lab WHERE {where} "
            "GROUP BY patientunitstayid, labresultoffset",
            4,
        )
    raw.sql.execute("DROP TABLE lab")


def _charted(raw: RawFolder, origin: str, measure: Measure, query: str, rank: int, unreadable: dict[str, int]) -> None:
    """Add charted text values (stay_id, hour, text) as numbers; those that are none are counted, not guessed."""
    bad = raw.one(
        f"SELECT count(*) FROM ({query}) WHERE text IS NOT NULL "
        "AND NOT coalesce(isfinite(TRY_CAST(text AS DOUBLE)), false)"
    )[0]
    if bad:
        unreadable[measure.channel] = unreadable.get(measure.channel, 0) + int(bad)
    value = "CASE WHEN isfinite(TRY_CAST(text AS DOUBLE)) THEN TRY_CAST(text AS DOUBLE) END AS value"
    insert_measure(raw, origin, measure, f"SELECT stay_id, hour, {value} FROM ({query})", rank)


def _nurse_charting(raw: RawFolder, unreadable: dict[str, int]) -> None:
    label, name = "nursingchartcelltypevallabel", "nursingchartcelltypevalname"
    if not raw.load_optional(
        "nurseCharting",
        (label, name, "nursingchartvalue"),
        ("patientunitstayid", "nursingchartoffset"),
        f"lower(trim({label})) IN ({_listed(first for first, _ in words.NURSE)})",
    ):
        return
    for (first, second), measure in words.NURSE.items():
        query = (
            "SELECT patientunitstayid::BIGINT AS stay_id, nursingchartoffset / 60.0 AS hour, nursingchartvalue AS text "
            f"FROM nurseCharting WHERE lower({label}) = {quoted(first)} AND lower({name}) = {quoted(second)}"
        )
        _charted(raw, "nurseCharting", measure, query, 2, unreadable)
    raw.sql.execute("DROP TABLE nurseCharting")


def _respiratory(raw: RawFolder, unreadable: dict[str, int]) -> None:
    if not raw.load_optional(
        "respiratoryCharting",
        ("respchartvaluelabel", "respchartvalue"),
        ("patientunitstayid", "respchartoffset"),
        f"lower(trim(respchartvaluelabel)) IN ({_listed(words.RESPIRATORY)})",
    ):
        return
    for label, measure in words.RESPIRATORY.items():
        query = (
            "SELECT patientunitstayid::BIGINT AS stay_id, respchartoffset / 60.0 AS hour, rtrim(respchartvalue, '% ') "
            f"AS text FROM respiratoryCharting WHERE lower(respchartvaluelabel) = {quoted(label)}"
        )
        _charted(raw, "respiratoryCharting", measure, query, 2, unreadable)
    raw.sql.execute("DROP TABLE respiratoryCharting")


def _intake_output(raw: RawFolder) -> None:
    """Urine of `intakeOutput`, summed per charted time (several collectors may be charted at once)."""
    if not raw.load_optional(
        "intakeOutput",
        ("cellpath", "celllabel"),
        ("patientunitstayid", "intakeoutputoffset", "cellvaluenumeric"),
    ):
        return
    query = (
        "SELECT patientunitstayid::BIGINT AS stay_id, intakeoutputoffset / 60.0 AS hour, "
        "sum(cellvaluenumeric) AS value FROM intakeOutput WHERE cellpath ILIKE '%|Output (ml)|%' "
        "AND celllabel ILIKE '%urine%' AND cellvaluenumeric IS NOT NULL GROUP BY ALL"
    )
    insert_measure(raw, "intakeOutput", Measure("urine_output"), query, 2)


def _admission(raw: RawFolder) -> None:
    """Height and weight on admission, as observations at hour 0."""
    low, high = words.HEIGHT_INCHES
    height = f"CASE WHEN admissionheight BETWEEN {low} AND {high} THEN admissionheight * {words.INCH_CM} "
    height += "ELSE admissionheight END"
    insert_measure(raw, "patient", Measure("height"), f"SELECT stay_id, 0.0 AS hour, {height} AS value FROM stay", 5)
    insert_measure(
        raw, "patient", Measure("weight"), "SELECT stay_id, 0.0 AS hour, admissionweight AS value FROM stay", 5
    )
    raw.sql.execute(
        f"UPDATE measured SET converted = true FROM stay WHERE origin = 'patient' AND channel = 'height' "
        f"AND measured.stay_id = stay.stay_id AND admissionheight BETWEEN {low} AND {high}"
    )


def _physical_exam(raw: RawFolder, unreadable: dict[str, int]) -> None:
    """Coma scale, inspired oxygen and current weight of `physicalExam`; the last row of a moment counts.

    The total is the one charted, else the sum of eyes, motor and verbal charted at the same moment.
    """
    if not raw.load_optional(
        "physicalExam",
        ("physicalexampath", "physicalexamvalue", "physicalexamtext"),
        ("physicalexamid", "patientunitstayid", "physicalexamoffset"),
    ):
        return
    stem = "notes/Progress Notes/Physical Exam/Physical Exam/"
    items = {
        "Neurologic/GCS/Eyes Score/%": Measure("gcs_eye"),
        "Neurologic/GCS/Motor Score/%": Measure("gcs_motor"),
        "Neurologic/GCS/Verbal Score/%": Measure("gcs_verbal"),
        "Constitutional/Vital Sign and Physiological Data/FiO2|%/%": words.HOURLY["fio2"],
        "Constitutional/Weight and I&O/Weight (kg)/Current": Measure("weight"),
    }

    def query(like: str, extra: str = "") -> str:
        return (
            "SELECT patientunitstayid::BIGINT AS stay_id, physicalexamoffset / 60.0 AS hour, "
            "arg_max(physicalexamtext, physicalexamid) AS text FROM physicalExam "
            f"WHERE physicalexampath LIKE {quoted(stem + like)} ESCAPE '|' {extra} GROUP BY ALL"
        )

    for like, measure in items.items():
        _charted(raw, "physicalExam", measure, query(like), 3, unreadable)
    total = query("Neurologic/GCS/%", "AND regexp_full_match(physicalexampath, '.*/GCS/[0-9]+')")
    _charted(raw, "physicalExam", Measure("gcs_total"), total, 3, unreadable)
    raw.sql.execute(
        """INSERT INTO measured
        SELECT stay_id, hour, 'gcs_total', sum(value), 4, 'physicalExam', false FROM measured
        WHERE origin = 'physicalExam' AND channel IN ('gcs_eye', 'gcs_motor', 'gcs_verbal')
        GROUP BY stay_id, hour HAVING count(DISTINCT channel) = 3"""
    )


def _settle(raw: RawFolder) -> dict[str, int]:
    """Check units, remove implausible values, let the hourly table win, leave one value a moment; count the removed."""
    sql = raw.sql
    sql.execute("DELETE FROM measured WHERE stay_id NOT IN (SELECT stay_id FROM stay)")
    limits = pa.table(
        {
            "channel": [c.name for c in CHANNELS],
            "low": [float(c.plausible[0]) for c in CHANNELS],
            "high": [float(c.plausible[1]) for c in CHANNELS],
            "scored": [c.codes is not None for c in CHANNELS],
        }
    )
    sql.register("limits", limits)
    sql.execute(
        """CREATE OR REPLACE TABLE judged AS SELECT measured.*,
            value BETWEEN low AND high AND (NOT scored OR value = floor(value)) AS plausible
        FROM measured JOIN limits USING (channel)"""
    )
    strange = sql.execute(
        f"""SELECT origin, channel, count(*), count(*) FILTER (NOT plausible) FROM judged GROUP BY ALL
        HAVING count(*) >= {_UNIT_CHECK_ROWS} AND count(*) FILTER (NOT plausible) > {_UNIT_CHECK_SHARE} * count(*)
        ORDER BY ALL"""
    ).fetchall()
    if strange:
        origin, name, rows, outside = strange[0]
        channel = BY_NAME[str(name)]
        raise SourceError(
            f"{origin}: {channel.title} in {channel.unit or 'no unit'} between {channel.plausible[0]:g} and "
            f"{channel.plausible[1]:g}",
            f"{outside} of {rows} values outside, so another unit",
            "convert that column",
        )
    removed = sql.execute("SELECT channel, count(*) FROM judged WHERE NOT plausible GROUP BY 1 ORDER BY 1").fetchall()
    sql.execute(
        f"""CREATE OR REPLACE TABLE observation AS
        WITH good AS (SELECT * FROM judged WHERE plausible),
        taken AS (SELECT DISTINCT stay_id, channel, floor(hour) AS bin FROM good WHERE origin = {quoted(HOURLY_FILE)})
        SELECT stay_id, hour::FLOAT AS hour, channel, value::FLOAT AS value
        FROM good WHERE origin = {quoted(HOURLY_FILE)} OR NOT EXISTS (
            SELECT 1 FROM taken WHERE taken.stay_id = good.stay_id AND taken.channel = good.channel
            AND taken.bin = floor(good.hour))
        QUALIFY row_number() OVER (PARTITION BY stay_id, channel, hour::FLOAT ORDER BY rank, origin, value) = 1"""
    )
    sql.unregister("limits")
    return {str(channel): int(count) for channel, count in removed}


def converted_values(raw: RawFolder) -> dict[str, int]:
    """Count the values that were met in another unit and converted, by channel."""
    rows = raw.sql.execute("SELECT channel, count(*) FROM measured WHERE converted GROUP BY 1 ORDER BY 1").fetchall()
    return {str(channel): int(count) for channel, count in rows}


def observations_table(raw: RawFolder) -> pa.Table:
    """Return the cohort's observations of the stays that remain, with category names where a channel has them."""
    names = [
        (c.name, float(code), name)
        for c in CHANNELS
        for code, name in zip(c.codes or (), c.categories or (), strict=True)
    ]
    raw.sql.register(
        "categories",
        pa.table(
            {
                "channel": [n[0] for n in names],
                "value": pa.array([n[1] for n in names], pa.float32()),
                "category": [n[2] for n in names],
            }
        ),
    )
    table = raw.sql.sql(
        """SELECT stay_id, hour, channel, value, category FROM observation SEMI JOIN stay USING (stay_id)
        LEFT JOIN categories USING (channel, value) ORDER BY stay_id, hour, channel"""
    ).to_arrow_table()
    raw.sql.unregister("categories")
    return table
