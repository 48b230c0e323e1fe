"""Measured values of eICU: raw vitals, labs and charted items, or an hourly table in ricu/YAIB columns.

Every source is brought into one long table (stay, hour, channel, value) in the channel's unit; values outside the
plausible range are removed and counted. Where the hourly table has a value for a stay, channel and hour, it wins over
the raw tables. Nothing is imputed or averaged. Each file is read once; the long table lies on disk and is gathered
in parts, so that memory does not grow with the database.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from core.cohort.channels import CHANNELS
from core.cohort.sources import eicu_vocabulary as words
from core.cohort.sources.eicu_hourly import HOURLY_FILE, create_measured, insert_measure, read_hourly
from core.cohort.sources.eicu_tables import RawFolder, quoted
from core.cohort.sources.eicu_vocabulary import Measure
from core.cohort.sources.mimic_items import channel_number
from core.cohort.sources.mimic_series import CHECKED_ROWS, OUTSIDE_SHARE, STRANGE_UNIT_SHARE
from core.errors import SourceError

_RAW = ("vitalPeriodic", "vitalAperiodic", "lab", "nurseCharting")
_GATHERED_ROWS = 10_000_000
_BETWEEN = chr(31)
"""Stands between the two names of a charted item."""


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
    notes: dict[str, Any] = {"unreadable_values": {}, "ignored_columns": [], "strange_units": {}}
    if hourly.is_file():
        notes["ignored_columns"] = read_hourly(raw, hourly)
    _columns(raw, "vitalPeriodic", words.MONITOR, rank=1, step=words.MONITOR_STEP_MINUTES)
    _nurse_charting(raw, notes["unreadable_values"])
    _columns(raw, "vitalAperiodic", words.CUFF, rank=3, step=None)
    _lab(raw, notes["strange_units"])
    _respiratory(raw, notes["unreadable_values"])
    _intake_output(raw)
    _admission(raw)
    _physical_exam(raw, notes["unreadable_values"])
    _judge(raw)
    notes["removed_values"] = _by_channel(raw, "NOT plausible")
    notes["converted_values"] = _by_channel(raw, "converted")
    _gather(raw)
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


def _enum(raw: RawFolder, name: str, values: Iterable[str]) -> None:
    """Create a type of so many texts: what is none of them is null when cast, what is one takes a byte."""
    raw.sql.execute(f"DROP TYPE IF EXISTS {name}")
    raw.sql.execute(f"CREATE TYPE {name} AS ENUM ({_listed(values)})")


def _lab(raw: RawFolder, strange_units: dict[str, int]) -> None:
    """Read `lab`: known names in known units; of a revised result the last revision.

    A stray unit is left out and counted; a test of which more is in no known unit is refused.
    """
    _enum(raw, "lab_item", words.LAB)
    item = "TRY_CAST(lower(labname) AS lab_item)"
    if not raw.load_optional(
        "lab",
        ("labname", "labmeasurenamesystem"),
        ("patientunitstayid", "labresultoffset", "labresult", "labresultrevisedoffset"),
        f"{item} IS NOT NULL",
        {"item": item, "unit": "replace(lower(coalesce(labmeasurenamesystem, '')), ' ', '')"},
    ):
        return
    for name, measure in words.LAB.items():
        units = ", ".join(quoted(unit) for unit in measure.units)
        where = f"item = {quoted(name)} AND labresult IS NOT NULL"
        rows, strange = raw.one(f"SELECT count(*), count(*) FILTER (unit NOT IN ('', {units})) FROM lab WHERE {where}")
        if strange > STRANGE_UNIT_SHARE * rows:
            raw.refuse(
                f"{raw.file('lab')}: {name} in {' or '.join(measure.units)}",
                f"another unit in {int(strange)} of {int(rows)} rows",
                "convert those rows",
                rows=int(strange),
            )
        if strange:
            strange_units[measure.channel] = strange_units.get(measure.channel, 0) + int(strange)
        insert_measure(
            raw,
            "lab",
            measure,
            f"SELECT patientunitstayid::BIGINT AS stay_id, labresultoffset / 60.0 AS hour, "
            f"arg_max(labresult, coalesce(labresultrevisedoffset, labresultoffset)) AS value FROM lab WHERE {where} "
            f"AND unit IN ('', {units}) GROUP BY patientunitstayid, labresultoffset",
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
    """Vital signs and coma scale of `nurseCharting`; a total that was not charted is the sum of its three parts."""
    label, name = "nursingchartcelltypevallabel", "nursingchartcelltypevalname"
    _enum(raw, "nurse_item", (_BETWEEN.join(names) for names in words.NURSE))
    item = f"TRY_CAST(lower({label}) || {quoted(_BETWEEN)} || lower({name}) AS nurse_item)"
    if not raw.load_optional(
        "nurseCharting",
        (label, name, "nursingchartvalue"),
        ("patientunitstayid", "nursingchartoffset"),
        f"{item} IS NOT NULL",
        {"item": item, "charted": "nursingchartvalue"},
    ):
        return
    for names, measure in words.NURSE.items():
        query = (
            "SELECT patientunitstayid::BIGINT AS stay_id, nursingchartoffset / 60.0 AS hour, charted AS text "
            f"FROM nurseCharting WHERE item = {quoted(_BETWEEN.join(names))}"
        )
        _charted(raw, "nurseCharting", measure, query, 2, unreadable)
    raw.sql.execute("DROP TABLE nurseCharting")
    _coma_sum(raw, "nurseCharting", 3)


def _coma_sum(raw: RawFolder, origin: str, rank: int) -> None:
    """Add the total of the coma scale where eyes, motor and verbal were charted at the same moment."""
    parts = ", ".join(str(channel_number(name)) for name in ("gcs_eye", "gcs_motor", "gcs_verbal"))
    query = (
        f"SELECT stay_id, hour, sum(value) AS value FROM measured WHERE origin = {quoted(origin)} "
        f"AND channel IN ({parts}) AND plausible GROUP BY stay_id, hour "
        "HAVING count(*) = 3 AND count(DISTINCT channel) = 3"
    )
    insert_measure(raw, origin, Measure("gcs_total"), query, rank)


def _respiratory(raw: RawFolder, unreadable: dict[str, int]) -> None:
    if not raw.load_optional(
        "respiratoryCharting",
        ("respchartvaluelabel", "respchartvalue"),
        ("patientunitstayid", "respchartoffset"),
        f"lower(respchartvaluelabel) IN ({_listed(words.RESPIRATORY)})",
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
        f"UPDATE measured SET converted = true FROM stay WHERE origin = 'patient' "
        f"AND channel = {channel_number('height')} "
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
    _coma_sum(raw, "physicalExam", 4)


def _judge(raw: RawFolder) -> None:
    """Refuse a table's channel most of whose values lie out of range; a lenient reader sets them aside."""
    strange = raw.sql.execute(
        f"""SELECT origin, channel, count(*), count(*) FILTER (NOT plausible) FROM measured GROUP BY ALL
        HAVING count(*) >= {CHECKED_ROWS} AND count(*) FILTER (NOT plausible) > {OUTSIDE_SHARE} * count(*)
        ORDER BY ALL"""
    ).fetchall()
    for origin, place, rows, outside in strange:
        channel = CHANNELS[int(place)]
        raw.refuse(
            f"{origin}: {channel.title} in {channel.unit or 'no unit'} between {channel.plausible[0]:g} and "
            f"{channel.plausible[1]:g}",
            f"{outside} of {rows} values outside, so another unit",
            "convert that column",
            rows=int(rows),
        )
        raw.sql.execute(f"DELETE FROM measured WHERE origin = {quoted(str(origin))} AND channel = {int(place)}")


def _gather(raw: RawFolder) -> None:
    """Build `observation`: plausible values, the hourly table's where it has one, one value a moment."""
    raw.sql.execute(
        "CREATE OR REPLACE TABLE observation (stay_id BIGINT, hour FLOAT, channel UTINYINT, value FLOAT)",
    )
    parts = 1 + raw.count("SELECT count(*) FROM measured") // _GATHERED_ROWS
    for part in range(parts):
        raw.sql.execute(
            f"""INSERT INTO observation
            WITH good AS (SELECT * FROM measured WHERE plausible AND stay_id % {parts} = {part}),
            taken AS (
                SELECT DISTINCT stay_id, channel, floor(hour) AS bin FROM good WHERE origin = {quoted(HOURLY_FILE)})
            SELECT stay_id, hour::FLOAT AS hour, channel, first(value ORDER BY rank, origin, value)::FLOAT AS value
            FROM good WHERE origin = {quoted(HOURLY_FILE)} OR NOT EXISTS (
                SELECT 1 FROM taken WHERE taken.stay_id = good.stay_id AND taken.channel = good.channel
                AND taken.bin = floor(good.hour))
            GROUP BY stay_id, hour::FLOAT, channel"""
        )
    raw.sql.execute("DROP TABLE measured")


def _by_channel(raw: RawFolder, condition: str) -> dict[str, int]:
    rows = raw.sql.execute(f"SELECT channel, count(*) FROM measured WHERE {condition} GROUP BY 1").fetchall()
    return dict(sorted((CHANNELS[int(place)].name, int(count)) for place, count in rows))
