"""Measured values of a hospital's own tables: from code and unit to channel and number, in one pass over each file.

A row's code and unit choose an entry of the mapping; the entry's rule, factor and offset bring the value into the
channel's unit. What is out of range is removed and counted. A channel mostly in a unit that the mapping does not have,
or mostly out of range, is refused: units are mixed, or the mapping is wrong.
"""

import re
from typing import Any

from core.cohort.mapping import HOURS, EventsSpec, Mapping
from core.cohort.mapping_codes import CodeEntry
from core.cohort.sources.mimic_items import converted_sql
from core.cohort.sources.mimic_series import OUTSIDE_SHARE, STRANGE_UNIT_SHARE
from core.cohort.sources.mimic_tables import quoted
from core.cohort.sources.tables_files import MappedTables
from core.cohort.sources.tables_stays import of_stay, stranger
from core.errors import SourceError

ROLES = ("stay", "hospital_stay", "patient", "time", "code", "value", "unit")
LONGEST_HOURS = 24.0 * 366
"""Rows further than a year from their stay are no rows of it: a year mistyped, or another unit of time."""
ANY_UNIT = "*"
_CHECKED_ROWS = 20
_LONGEST_UNIT = 20
"""Characters of a unit that is told in a message: what is longer, or rare, may be anything."""
_GATHERED_ROWS = 10_000_000
_GOOD, _UNREADABLE, _OUTSIDE, _STRANGE, _MALFORMED, _STRANGER = range(6)


def names_of(mapping: Mapping) -> list[str]:
    """Names of the tables of measurements, as `MappedTables` knows them."""
    return [f"measurements {place}" for place in range(1, len(mapping.measurements) + 1)]


def load_series(raw: MappedTables, mapping: Mapping) -> dict[str, Any]:
    """Build table `observation` (stay_id, hour, channel as a number, value).

    Returns
    -------
    dict
        `removed_values`, `unreadable_values`, `strange_units` by channel; `outside_stay`, `passed_over`: numbers.

    Raises
    ------
    SourceError
        When a time or key is none, rows name stays that are not there, a table has no known code, or most of a
        channel is in another unit.
    """
    _entries(raw, mapping)
    tables = names_of(mapping)
    for table, spec in zip(tables, mapping.measurements, strict=True):
        code_units(raw, mapping.codes, table, spec)
        _read(raw, table, spec)
    parts = [f"SELECT *, {place} AS source FROM read_{place}" for place in range(len(tables))]
    none = "SELECT NULL::BIGINT AS stay_id, NULL::FLOAT AS hour, NULL::USMALLINT AS channel, NULL::FLOAT AS value, "
    none += "NULL::UTINYINT AS status, NULL::VARCHAR AS unit, 0 AS source LIMIT 0"
    raw.sql.execute(f"CREATE OR REPLACE VIEW measured AS {' UNION ALL '.join(parts) or none}")
    _judge(raw, mapping, tables)
    counts = {
        name: _by_channel(raw, mapping, status)
        for name, status in (
            ("removed_values", _OUTSIDE),
            ("unreadable_values", _UNREADABLE),
            ("strange_units", _STRANGE),
        )
    }
    _gather(raw, mapping)
    outside = "SELECT count(*) FROM observation JOIN stay USING (stay_id) WHERE hour < 0 OR hour > los_hours"
    return {**counts, "outside_stay": raw.count(outside)}


def _entries(raw: MappedTables, mapping: Mapping) -> None:
    """Tables `entry` (how a value is read) and `worded` (numbers for texts)."""
    places = {channel.name: place for place, channel in enumerate(mapping.channels)}
    entries = mapping.codes
    raw.lookup(
        "entry",
        {
            "entry": list(range(len(entries))),
            "place": [places[entry.channel] for entry in entries],
            "name": [entry.channel for entry in entries],
            "rule": [entry.rule for entry in entries],
            "scale": [entry.factor for entry in entries],
            "shift": [entry.offset for entry in entries],
            "low": [entry.low for entry in entries],
            "high": [entry.high for entry in entries],
            "other_unit": ["" for _ in entries],
            "factor": [1.0 for _ in entries],
            "scored": [mapping.channels[places[entry.channel]].codes is not None for entry in entries],
        },
    )
    words = [(place, text, number) for place, entry in enumerate(entries) for text, number in entry.values.items()]
    raw.sql.execute("CREATE OR REPLACE TABLE worded (entry BIGINT, text VARCHAR, told DOUBLE)")
    if words:
        raw.lookup(
            "worded", {"entry": [w[0] for w in words], "text": [w[1] for w in words], "told": [w[2] for w in words]}
        )


def code_units(raw: MappedTables, entries: tuple[CodeEntry, ...], table: str, spec: EventsSpec) -> None:
    """Table `code_unit` (code, unit, entry): which entry a row's code and unit choose.

    A unit that is not stated is taken for the entry's where a code has one entry alone. Prefixes and expressions take
    a look at the codes that the table has.
    """
    open_codes: list[str] = []
    if any(not matcher.exact for entry in entries for matcher in entry.codes):
        code = coded(spec)[0]
        found = raw.sql.execute(f"SELECT DISTINCT {code} FROM ({raw.rows(table, ROLES)}) e ORDER BY 1").fetchall()
        open_codes = [str(row[0]) for row in found if row[0] is not None]
    by_code: dict[str, dict[str, int]] = {}
    shared: dict[str, int] = {}
    for place, entry in enumerate(entries):
        for matcher in entry.codes:
            for code in [matcher.text] if matcher.exact else matcher.found(open_codes):
                shared[code] = shared.get(code, 0) + 1
                units = by_code.setdefault(code, {})
                for unit in entry.units or (ANY_UNIT,):
                    units.setdefault(unit, place)
    for units in by_code.values():
        if ANY_UNIT not in units and len(set(units.values())) == 1:
            units[""] = next(iter(units.values()))
    known = [(code, unit, place) for code, units in by_code.items() for unit, place in units.items()]
    if not known:
        raise SourceError(
            f"codes of [[codes]] in {raw.file(table)}", "none of them", "mend code in [[codes]], or pattern"
        )
    raw.lookup(
        "code_unit", {"code": [k[0] for k in known], "unit": [k[1] for k in known], "entry": [k[2] for k in known]}
    )
    raw.sql.execute(
        "CREATE OR REPLACE TABLE code_known AS SELECT code, min(entry) AS first_entry FROM code_unit GROUP BY 1"
    )


def coded(spec: EventsSpec) -> tuple[str, str]:
    """Give SQL of a row's code and of its unit, as units are compared."""
    code, unit = "e.code", "e.unit"
    if spec.pattern:
        code = f"nullif(regexp_extract(e.code, {quoted(spec.pattern)}, 1), '')"
        if re.compile(spec.pattern).groups > 1 and "unit" not in spec.source.columns:
            unit = f"regexp_extract(e.code, {quoted(spec.pattern)}, 2)"
    plain = f"replace(lower(coalesce({unit}, '')), ' ', '')"
    if spec.no_unit:
        none = ", ".join(quoted(text.replace(" ", "").lower()) for text in spec.no_unit)
        plain = f"CASE WHEN {plain} IN ({none}) THEN '' ELSE {plain} END"
    return code, plain


def hour_sql(raw: MappedTables, table: str, spec: EventsSpec, column: str = "e.time") -> str:
    """Give SQL of a row's hour since its stay `s` began; null where its time is none."""
    if spec.time_is == "timestamp":
        return f"epoch({raw.time(table, column)} - s.admitted) / 3600.0"
    return f"{raw.number(table, column)} * {HOURS[spec.time_is]!r}"


def malformed(raw: MappedTables, table: str, spec: EventsSpec, column: str = "e.time") -> str:
    """Write the condition that a row `e` has a time that is none."""
    if spec.time_is == "timestamp":
        return f"({column} IS NOT NULL AND {raw.time(table, column)} IS NULL)"
    return f"({column} IS NOT NULL AND {raw.number(table, column)} IS NULL)"


def _read(raw: MappedTables, table: str, spec: EventsSpec) -> None:
    code, unit = coded(spec)
    bad = f"(e.time IS NULL OR {malformed(raw, table, spec)})"
    strange = stranger(raw, spec)
    reading = converted_sql("v.text", "v.number", "v.unit")[0]
    place = int(table.split()[-1]) - 1
    source = raw.rows(table, ROLES)
    query = f"""WITH c AS (
            SELECT * REPLACE ({code} AS code), {unit} AS unit_form FROM ({source}) e WHERE e.value IS NOT NULL
        ), v AS (
            SELECT s.stay_id, {hour_sql(raw, table, spec)} AS hour, e.code, e.unit_form AS unit,
                lower(e.value) AS text, {raw.number(table, "e.value")} AS number, k.first_entry, {bad} AS bad,
                {strange} AS stranger
            FROM c e JOIN code_known k ON k.code = e.code LEFT JOIN stay s ON {of_stay(raw, table, spec)}
        ), r AS (
            SELECT v.*, coalesce(a.entry, b.entry) AS entry FROM v
            LEFT JOIN code_unit a ON a.code = v.code AND a.unit = v.unit
            LEFT JOIN code_unit b ON b.code = v.code AND b.unit = '{ANY_UNIT}'
            WHERE v.stay_id IS NOT NULL OR bad OR stranger
        ), n AS (
            SELECT v.*, coalesce(w.told, ({reading}) * i.scale + i.shift) AS value, coalesce(i.place, f.place) AS place,
                i.low, i.high, i.scored
            FROM r v LEFT JOIN entry i ON i.entry = v.entry JOIN entry f ON f.entry = v.first_entry
            LEFT JOIN worded w ON w.entry = v.entry AND w.text = v.text
        )
        SELECT stay_id, hour::FLOAT AS hour, place::USMALLINT AS channel, value::FLOAT AS value, (CASE
            WHEN stranger THEN {_STRANGER} WHEN bad OR abs(hour) > {LONGEST_HOURS!r} THEN {_MALFORMED}
            WHEN entry IS NULL THEN {_STRANGE} WHEN value IS NULL THEN {_UNREADABLE}
            WHEN value BETWEEN low AND high AND (NOT scored OR value = floor(value)) THEN {_GOOD}
            ELSE {_OUTSIDE} END)::UTINYINT AS status, CASE WHEN entry IS NULL THEN unit END AS unit
        FROM n"""
    raw.create(f"read_{place}", query, table)
    rows = {
        status: raw.count(f"SELECT count(*) FROM read_{place} WHERE status = {status}")
        for status in (_STRANGER, _MALFORMED)
    }
    mine = f"{code} IN (SELECT code FROM code_known) AND e.value IS NOT NULL"
    refuse_strangers(raw, table, spec, ROLES, mine, rows[_STRANGER])
    column = spec.source.columns["time"]
    refuse_times(raw, table, spec, ROLES, mine, f"{column} within a year of the stay", rows[_MALFORMED], needed=True)
    raw.sql.execute(f"DELETE FROM read_{place} WHERE status IN ({_STRANGER}, {_MALFORMED})")
    if raw.count(f"SELECT count(*) FROM read_{place}"):
        return
    if raw.limit is not None and raw.count(f"SELECT count(*) FROM ({source})") >= raw.limit:
        return
    coded_rows = raw.count(f"SELECT count(*) FROM (SELECT 1 FROM ({source}) e WHERE {mine} LIMIT 1)")
    if not coded_rows or not spec.ignore_others:
        came = "other stays alone" if coded_rows else "other codes alone"
        raise SourceError(f"values of known codes and stays in {raw.file(table)}", came, "mend [[codes]] or the keys")


def refuse_strangers(
    raw: MappedTables, table: str, spec: EventsSpec, roles: tuple[str, ...], mine: str, rows: int
) -> None:
    """Refuse rows of stays that the source does not have."""
    raw.refuse_rows(
        table,
        roles,
        f"({mine}) AND {stranger(raw, spec)}",
        f"{spec.source.columns[spec.source.key]} of a stay in {raw.file('stays')}",
        "another or none",
        rows,
        f'mend them, write other_stays = "ignore" in {spec.source.where}',
    )


def refuse_times(
    raw: MappedTables, table: str, spec: EventsSpec, roles: tuple[str, ...], mine: str, expected: str, rows: int,
    *, needed: bool,
) -> None:  # fmt: skip
    """Refuse rows whose time is none, or further than a year from their stay."""
    if not rows:
        return
    bad = malformed(raw, table, spec) + (" OR e.time IS NULL" if needed else "")
    at, came = "" if raw.lenient else raw.first(table, roles, f"({mine}) AND ({bad})"), "other text, or nothing,"
    if not at and not raw.lenient:
        far = f"abs({hour_sql(raw, table, spec)}) > {LONGEST_HOURS!r}"
        at = raw.first(table, roles, f"({mine}) AND {far}", f"JOIN stay s ON {of_stay(raw, table, spec)}")
        came = "another time"
    raw.refuse(
        f"{expected} in {raw.file(table)}", f"{came} in {rows} rows{at}", "mend time, time_is or time_format", rows=rows
    )


def _judge(raw: MappedTables, mapping: Mapping, tables: list[str]) -> None:
    """Refuse a channel of a table that is mostly in another unit; a lenient reader sets its rows aside."""
    found = raw.sql.execute(
        f"""SELECT source, channel, count(*) AS n, count(*) FILTER (status = {_STRANGE}) AS strange,
            count(*) FILTER (status = {_OUTSIDE}) AS outside, mode(unit) FILTER (status = {_STRANGE}) AS unit
        FROM measured GROUP BY source, channel
        HAVING strange > {STRANGE_UNIT_SHARE} * n OR (n >= {_CHECKED_ROWS} AND outside > {OUTSIDE_SHARE} * n)
        ORDER BY source, channel"""
    ).fetchall()
    for source, place, rows, strange, outside, unit in found:
        channel, file = mapping.channels[int(place)], raw.file(tables[int(source)])
        if strange > STRANGE_UNIT_SHARE * rows:
            told = unit and strange >= _CHECKED_ROWS and len(str(unit)) <= _LONGEST_UNIT
            came = f"{str(unit)!r} or another" if told else "another or none"
            came = f"{came} in {strange} of {rows} rows"
            expected, todo = f"a unit that [[codes]] has for {channel.name} in {file}", "add the unit with its factor"
            dropped, gone = f"status = {_STRANGE}", int(strange)
        else:
            low, high = channel.plausible
            expected = f"{channel.name} in {channel.unit or 'its unit'} between {low:g} and {high:g} in {file}"
            came, todo = (
                f"{outside} of {rows} values outside, so another unit",
                "mend unit, factor or range in [[codes]]",
            )
            dropped, gone = "true", int(rows)
        raw.refuse(expected, came, todo, rows=gone)
        raw.sql.execute(f"DELETE FROM read_{int(source)} WHERE channel = {int(place)} AND {dropped}")


def _by_channel(raw: MappedTables, mapping: Mapping, status: int) -> dict[str, int]:
    rows = raw.sql.execute(f"SELECT channel, count(*) FROM measured WHERE status = {status} GROUP BY 1").fetchall()
    return dict(sorted((mapping.channels[int(place)].name, int(count)) for place, count in rows))


def _gather(raw: MappedTables, mapping: Mapping) -> None:
    """Build table `observation`, one value a moment, some stays at a time: grouping takes memory by the row."""
    raw.sql.execute("CREATE OR REPLACE TABLE observation (stay_id BIGINT, hour FLOAT, channel USMALLINT, value FLOAT)")
    places = {channel.name: place for place, channel in enumerate(mapping.channels)}
    how = {"sum": "sum", "mean": "avg", "min": "min"}
    chosen = " ".join(
        f"WHEN channel = {places[name]} THEN {how[word]}(value)"
        for name, word in mapping.together.items()
        if word in how
    )
    parts = 1 + raw.count("SELECT count(*) FROM measured") // _GATHERED_ROWS
    for part in range(parts):
        raw.sql.execute(
            f"""INSERT INTO observation
            SELECT stay_id, hour, channel, CASE {chosen} ELSE max(value) END
            FROM measured WHERE status = {_GOOD} AND abs(stay_id) % {parts} = {part} GROUP BY stay_id, hour, channel"""
        )
