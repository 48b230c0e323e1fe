"""Stays of a hospital's own tables: who they are, when they begin and end, which events are theirs."""

import pyarrow as pa

from core.cohort.attrition import Attrition
from core.cohort.mapping import EventsSpec, LabelsSpec, StaysSpec
from core.cohort.sources.mimic_stays import AGE_CAP
from core.cohort.sources.tables_files import MappedTables
from core.cohort.store import is_test_patient, stable_id
from core.errors import SourceError

STAYS = "stays"
_TIMES = ("admitted", "discharged", "hospital_admitted", "hospital_discharged")
_NUMBERS = ("los", "age", "visit")
_KEYED = ("stay", "patient", "hospital_stay", "hospital")
_TEXTS = ("sex", "ethnicity", "split")
_LOS_HOURS = {"hours": 1.0, "days": 24.0, "minutes": 1 / 60}
_OLDEST = 130
_LARGEST, _DIGITS = 2**63, 19
_MEND = "mend those rows"


def load_stays(raw: MappedTables, spec: StaysSpec) -> Attrition:
    """Load table `stay`, one row per kept stay, and `every_stay`, the keys of all of them.

    Raises
    ------
    SourceError
        On a cell that is missing or of another type, a repeated stay, one that ends before it begins, ids whose
        hashes collide, or a patient on both sides of the split.
    """
    source = raw.rows(STAYS, (*_KEYED, *_TIMES, *_NUMBERS, *_TEXTS))
    typed = [f"{raw.key(role)} AS {role}_key" for role in _KEYED]
    typed += [f"{raw.time(STAYS, role)} AS {role}" for role in _TIMES]
    typed += [f"{raw.number(STAYS, role)} AS {role}" for role in _NUMBERS]
    typed += ["sex", "ethnicity", "lower(split) AS split"]
    typed += [f"{role} IS NOT NULL AS has_{role}" for role in (*_TIMES, *_NUMBERS)]
    query = f"SELECT row_number() OVER () AS line, {', '.join(typed)} FROM ({source}) e"
    count = raw.create("arrived", query, STAYS, ordered=True)
    if not count:
        raise SourceError(f"{raw.file(STAYS)} with rows", "a header and nothing else", "name the file with the stays")
    _check(raw, spec)
    log = Attrition("stays in the source", count)
    log.keep("readable, with a patient, ending after they begin", _left(raw))
    raw.sql.execute("CREATE OR REPLACE TABLE every_stay AS SELECT stay_key, hospital_stay_key FROM arrived")
    if spec.one_per_hospital_stay:
        raw.sql.execute(
            "DELETE FROM arrived WHERE hospital_stay_key IN "
            "(SELECT hospital_stay_key FROM arrived GROUP BY 1 HAVING count(*) > 1)"
        )
        log.keep("the only stay of its hospital stay", _left(raw))
    if spec.minimum_age is not None:
        raw.sql.execute(f"DELETE FROM arrived WHERE coalesce(age < {spec.minimum_age!r}, true)")
        log.keep(f"age {spec.minimum_age:g} or over", _left(raw))
    los = f"coalesce(epoch(discharged - admitted) / 3600.0, los * {_LOS_HOURS[spec.los_unit]!r})"
    raw.sql.execute(f"DELETE FROM arrived WHERE NOT coalesce({los} > 0, false)")
    log.keep("length of stay recorded and above zero", _left(raw))
    _identify(raw, spec)
    _windows(raw, los)
    return log


def _left(raw: MappedTables) -> int:
    return raw.count("SELECT count(*) FROM arrived")


def _check(raw: MappedTables, spec: StaysSpec) -> None:
    """Cells that are there and of their kind, stays once and the right way round."""
    columns = spec.source.columns

    def only(condition: str, expected: str, came: str, todo: str = _MEND) -> None:
        raw.only_rows("arrived", STAYS, condition, expected, came, todo)

    for role in ("stay", "patient"):
        only(f"{role}_key IS NOT NULL", f"{columns[role]} in every row", "an empty cell")
    for role in (*_TIMES, *_NUMBERS):
        if role in columns:
            kind = "times" if role in _TIMES else "numbers"
            only(f"{role} IS NOT NULL OR NOT has_{role}", f"{kind} in column {columns[role]}", "other text")
    if "admitted" in columns:
        only("admitted IS NOT NULL", f"{columns['admitted']} in every row", "an empty cell")
    first = "line IN (SELECT min(line) FROM arrived GROUP BY stay_key)"
    only(first, f"one row per {columns['stay']}", "a repeated one", "remove the repeated rows")
    only(
        "coalesce(discharged >= admitted, true) AND coalesce(los >= 0, true) "
        "AND coalesce(hospital_discharged >= hospital_admitted, true)",
        "stays that end after they begin",
        "the end before the beginning",
    )
    if "age" in columns:
        only(f"coalesce(age BETWEEN 0 AND {_OLDEST}, true)", f"{columns['age']} from 0 to {_OLDEST}", "another age")


def numbers_of(keys: list[str], what: str) -> list[int]:
    """Give the ids of distinct keys: the source's own whole numbers, else 63 bits of BLAKE2b.

    Raises
    ------
    SourceError
        When two keys have one hash.
    """
    if all(_is_whole(key) for key in keys):
        return [int(key) for key in keys]
    hashed = [stable_id(key) for key in keys]
    if len(set(hashed)) != len(hashed):
        raise SourceError(f"{what} whose hashes differ", "two with one hash", "rename one of them")
    return hashed


def _is_whole(key: str) -> bool:
    """Whether a key is a whole number of 64 bits in its plain form: "7", and neither "007" nor "7.5"."""
    digits = key.removeprefix("-")
    return digits.isdecimal() and len(digits) <= _DIGITS and str(int(key)) == key and abs(int(key)) < _LARGEST


def _identify(raw: MappedTables, spec: StaysSpec) -> None:
    """Tables `id_…` (key, id) of what has keys, and `splits` (patient_key, test)."""
    for role in _KEYED:
        rows = raw.sql.execute(
            f"SELECT DISTINCT {role}_key FROM arrived WHERE {role}_key IS NOT NULL ORDER BY 1"
        ).fetchall()
        keys = [str(row[0]) for row in rows]
        ids = pa.array(numbers_of(keys, spec.source.columns.get(role, role)), pa.int64())
        raw.sql.register("given", pa.table({"key": pa.array(keys, pa.string()), "id": ids}))
        raw.sql.execute(f"CREATE OR REPLACE TABLE id_{role} AS SELECT * FROM given")
        raw.sql.unregister("given")
        if role == "patient":
            test = pa.array([is_test_patient(key) for key in keys], pa.bool_())
            raw.sql.register("given", pa.table({"patient_key": pa.array(keys, pa.string()), "test": test}))
            raw.sql.execute("CREATE OR REPLACE TABLE splits AS SELECT * FROM given")
            raw.sql.unregister("given")
    if "split" in spec.source.columns:
        raw.lookup("test_value", {"split": list(spec.test_values)})
        both = "SELECT patient_key FROM arrived GROUP BY 1 HAVING count(DISTINCT split IN (FROM test_value)) > 1"
        raw.only_rows(
            "arrived",
            STAYS,
            f"patient_key NOT IN ({both})",
            f"each patient on one side of {spec.source.columns['split']}",
            "patients on both",
            "split by patient",
        )
        raw.sql.execute(
            "CREATE OR REPLACE TABLE splits AS SELECT patient_key, "
            "bool_or(coalesce(split IN (FROM test_value), false)) AS test FROM arrived GROUP BY 1"
        )


def split_made(spec: StaysSpec) -> str:
    """Say how the patients to test on were chosen."""
    column = spec.source.columns.get("split")
    return "BLAKE2b of the patient's key" if column is None else f"column {column} of {spec.source.where}"


def _windows(raw: MappedTables, los: str) -> None:
    """Table `stay`, with the stretch of time whose events are a stay's where they are known by the patient alone.

    It runs from the beginning of the hospital stay (of the unit stay, where that is not mapped or an earlier unit stay
    is of the same hospital stay) to its end, or to where the patient's next stretch begins; `wide_from` and `wide_to`
    are the hospital stay's, for what is coded once for all of it.
    """
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE stay AS
        WITH told AS (
            SELECT i.id AS stay_id, p.id AS patient_id, h.id AS hospital_stay_id, c.id AS hospital_id, a.*,
                {los} AS los_hours, least(coalesce(hospital_admitted, admitted), admitted) AS wide_from,
                greatest(coalesce(hospital_discharged, ends), ends) AS wide_to,
                lag(admitted) OVER person AS previous
            FROM (SELECT *, coalesce(discharged, admitted + to_seconds(({los}) * 3600)) AS ends FROM arrived) a
            JOIN id_stay i ON i.key = stay_key JOIN id_patient p ON p.key = patient_key
            LEFT JOIN id_hospital_stay h ON h.key = hospital_stay_key LEFT JOIN id_hospital c ON c.key = hospital_key
            WINDOW person AS (PARTITION BY patient_key ORDER BY admitted, stay_key)
        ), began AS (
            SELECT *, CASE WHEN previous IS NULL OR wide_from > previous THEN wide_from ELSE admitted END AS own_from
            FROM told
        )
        SELECT *, least(wide_to, coalesce(lead(own_from) OVER person, wide_to)) AS own_to,
            coalesce(lead(own_from) OVER person > wide_to, true) AS last_included
        FROM began WINDOW person AS (PARTITION BY patient_key ORDER BY admitted, stay_key)"""
    )


def of_stay(raw: MappedTables, table: str, spec: EventsSpec | LabelsSpec, *, wide: bool = False) -> str:
    """Write the condition that a row `e` of a table is a stay `s`'s.

    Parameters
    ----------
    wide
        Rows belong to every stay of their hospital stay; else to the one in whose stretch their time lies.
    """
    if spec.source.key == "stay":
        return f"s.stay_key = {raw.key('e.stay')}"
    time = raw.time(table, "e.time")
    begin, end, closed = ("wide_from", "wide_to", "true") if wide else ("own_from", "own_to", "s.last_included")
    inside = f"{time} >= s.{begin} AND ({time} < s.{end} OR ({closed} AND {time} = s.{end}))"
    if spec.source.key == "patient":
        return f"s.patient_key = {raw.key('e.patient')} AND {inside}"
    where = "true" if wide else f"(e.time IS NULL AND s.own_from = s.wide_from OR {inside})"
    return f"s.hospital_stay_key = {raw.key('e.hospital_stay')} AND {where}"


def stranger(raw: MappedTables, spec: EventsSpec | LabelsSpec) -> str:
    """Write the condition that a row `e` names a stay that the source does not have."""
    key = spec.source.key
    if key == "patient" or spec.ignore_others:
        return "false"
    return (
        f"coalesce({raw.key(f'e.{key}')} NOT IN (SELECT {key}_key FROM every_stay WHERE {key}_key IS NOT NULL), true)"
    )


def stays_table(raw: MappedTables, spec: StaysSpec) -> pa.Table:
    """Return the cohort's stays; `has_series` and `has_note` must stand in table `modality`."""
    columns = spec.source.columns
    exact, told = "admitted" in columns, "visit" in columns
    order = "admitted, stay_id" if exact else "visit, stay_id" if told else "stay_id"
    visit_order = "'exact'" if exact or told else "CASE WHEN count(*) OVER mine = 1 THEN 'exact' ELSE 'unknown' END"
    return raw.sql.sql(
        f"""SELECT stay_id, patient_id, patient_key, hospital_stay_id, hospital_id,
            row_number() OVER (PARTITION BY patient_id ORDER BY {order})::INTEGER AS visit,
            {visit_order} AS visit_order, admitted AS admitted_at, los_hours, least(age, {AGE_CAP})::FLOAT AS age, sex,
            ethnicity, CASE WHEN test THEN 'test' ELSE 'train' END AS split,
            coalesce(has_series, false) AS has_series, coalesce(has_note, false) AS has_note
        FROM stay JOIN splits USING (patient_key) LEFT JOIN modality USING (stay_id)
        WINDOW mine AS (PARTITION BY patient_id) ORDER BY stay_id"""
    ).to_arrow_table()


def keys_table(raw: MappedTables) -> pa.Table | None:
    """Return the hospital's own keys of ids that are hashes of them: kind, id, key; None where none is."""
    parts = [
        f"SELECT '{role}' AS kind, id, key FROM id_{role} WHERE key <> id::VARCHAR "
        f"AND key IN (SELECT {role}_key FROM stay)"
        for role in _KEYED
    ]
    found = raw.sql.sql(f"{' UNION ALL '.join(parts)} ORDER BY kind, id").to_arrow_table()
    return found if found.num_rows else None
