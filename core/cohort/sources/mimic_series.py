"""Measured values of MIMIC: charted items, laboratory results and urine of the kept stays, in one pass over each file.

An event belongs to the ICU stay of its admission (`hadm_id`); one that names another ICU stay is left out, one that
names none is taken, as in the benchmark. Hours count from ICU admission. Of several values of one moment the largest
counts, as the benchmark's order has it; volumes of urine are added up. Nothing is imputed or averaged.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from core.cohort.channels import CHANNELS, Channel
from core.cohort.schema import OBSERVATIONS
from core.cohort.sources.mimic_items import Item, channel_number, converted_sql, items_of
from core.cohort.sources.mimic_tables import MimicTables, listed
from core.cohort.sources.mimic_told import told_items
from core.errors import SourceError

STATIC_CHANNELS = ("height", "weight")
"""Channels that alone do not make a time series."""
STRANGE_UNIT_SHARE = 0.01
"""More of a channel's results than this in a unit that is not known: the table is not what was published."""
OUTSIDE_SHARE = 0.5
"""More of a channel's values than this outside the plausible range: another unit."""
CHECKED_ROWS = 20
"""Fewer values than this do not tell of another unit."""
_GATHERED_ROWS = 10_000_000
_SUMMED = "urine_output"
TABLES = ("chartevents", "labevents", "outputevents")
"""Tables of events, each read once."""
_MALFORMED, _GOOD, _UNREADABLE, _OUTSIDE, _STRANGE, _SKIPPED, _TOLD = range(7)


def load_series(raw: MimicTables, release: str) -> dict[str, Any]:
    """Build table `observation` (stay_id, hour, channel as a number, value) and the view `told` for the evidence.

    Parameters
    ----------
    raw
        The tables; `stay` must be loaded.
    release
        ``mimic3`` or ``mimic4``.

    Returns
    -------
    dict
        `removed_values`, `unreadable_values`, `converted_values` and `strange_units` by channel; `left_out` by reason.

    Raises
    ------
    SourceError
        When chartevents or labevents has no known item or lacks a column, a time or key is no such, or most values of
        a channel are in another unit.
    """
    items = items_of(release)
    seen = {table: told_items(table) for table in TABLES}
    _items_table(raw, items, [number for numbers in seen.values() for number in numbers])
    stay_key = "icustay_id" if release == "mimic3" else "stay_id"
    for table in TABLES:
        if raw.has(table):
            _read(raw, table, items, seen[table], None if table == "labevents" else stay_key)
    _join(raw)
    _judge(raw, items)
    counts = {
        name: _by_channel(raw, f"status = {status}")
        for name, status in (("removed_values", _OUTSIDE), ("unreadable_values", _UNREADABLE))
    }
    strange, turned = _by_channel(raw, f"status = {_STRANGE}"), _by_channel(raw, f"converted AND status = {_GOOD}")
    skipped = raw.sql.execute(
        f"SELECT channel, skip, count(*) FROM measured m JOIN item ON item.id = m.item WHERE status = {_SKIPPED} "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    left_out = {f"{CHANNELS[int(place)].name} of {why}": int(count) for place, why, count in skipped}
    _gather(raw)
    return {**counts, "strange_units": strange, "converted_values": turned, "left_out": left_out}


def _gather(raw: MimicTables) -> None:
    """Build table `observation`, one value a moment, some stays at a time: grouping takes memory by the row."""
    raw.sql.execute(
        "CREATE OR REPLACE TABLE observation (stay_id BIGINT, hour FLOAT, channel UTINYINT, value FLOAT)",
    )
    parts = 1 + raw.count("SELECT count(*) FROM measured") // _GATHERED_ROWS
    for part in range(parts):
        raw.sql.execute(
            f"""INSERT INTO observation
            SELECT stay_id, hour, channel,
                CASE WHEN channel = {channel_number(_SUMMED)} THEN sum(value) ELSE max(value) END
            FROM measured WHERE status = {_GOOD} AND stay_id % {parts} = {part} GROUP BY stay_id, hour, channel"""
        )


def _items_table(raw: MimicTables, items: tuple[Item, ...], told: list[int]) -> None:
    """Table `item`: what is a channel, and what is for readers alone (rule ``told``)."""
    raw.lookup(
        "item",
        {
            "id": [item.id for item in items],
            "place": [channel_number(item.channel) for item in items],
            "name": [item.channel for item in items],
            "rule": [item.rule for item in items],
            "low": [item.low for item in items],
            "high": [item.high for item in items],
            "skip": [item.skip for item in items],
            "units": [f"|{'|'.join((*item.units, item.other_unit))}|" if item.units else "" for item in items],
            "other_unit": [item.other_unit for item in items],
            "factor": [item.factor for item in items],
            "scored": [CHANNELS[channel_number(item.channel)].codes is not None for item in items],
        },
    )
    raw.lookup("told_item", {"id": sorted(set(told))})


def _read(raw: MimicTables, table: str, items: tuple[Item, ...], told: tuple[int, ...], stay_key: str | None) -> None:
    """Put a table's values of known items and kept stays into `read_…`: numbers of channels, and what readers see."""
    keys = [stay_key] if stay_key else []
    source = raw.rows(table, ["hadm_id", "itemid", "charttime", "value", *keys], ["valuenum", "valueuom"])
    whole = "TRY_CAST(TRY_CAST({0} AS DOUBLE) AS BIGINT)"
    own = f"AND (e.{stay_key} IS NULL OR s.stay_id = {whole.format('e.' + stay_key)})" if stay_key else ""
    bad = " OR ".join(f"(e.{key} IS NOT NULL AND TRY_CAST(e.{key} AS DOUBLE) IS NULL)" for key in ["hadm_id", *keys])
    bad += " OR TRY_CAST(e.charttime AS TIMESTAMP) IS NULL"
    reading, converted = converted_sql("v.text", "v.number", "v.unit")
    number = "CASE WHEN isfinite({0}) THEN {0} END"
    value, charted = (number.format(f"TRY_CAST(e.{c} AS DOUBLE)") for c in ("value", "valuenum"))
    known = listed([*(item.id for item in items if item.table == table), *told])
    count = raw.create(
        f"read_{table}",
        f"""WITH v AS (
            SELECT s.stay_id, (epoch(TRY_CAST(e.charttime AS TIMESTAMP) - s.intime) / 3600.0)::FLOAT AS hour,
                e.itemid::INTEGER AS item, e.value AS charted, lower(e.value) AS text,
                coalesce({value}, {charted}) AS number, e.valueuom AS stated,
                coalesce(replace(lower(e.valueuom), ' ', ''), '') AS unit, {bad} AS bad
            FROM ({source}) e LEFT JOIN stay s ON s.hospital_stay_id = {whole.format("e.hadm_id")} {own}
            WHERE e.itemid IN ({known}) AND (s.stay_id IS NOT NULL OR {bad})
                AND (e.value IS NOT NULL OR e.valuenum IS NOT NULL)
        ), r AS (
            SELECT v.*, i.place, {reading} AS value, {converted} AS converted, i.skip <> '' AS skipped, i.low, i.high,
                i.scored, i.units <> '' AND v.unit <> '' AND NOT contains(i.units, '|' || v.unit || '|') AS strange,
                i.id IS NULL AS only_told, v.item IN (SELECT id FROM told_item) AS told
            FROM v LEFT JOIN item i ON i.id = v.item
        )
        SELECT stay_id, hour, item, place::UTINYINT AS channel, value::FLOAT AS value, (CASE
                WHEN bad THEN {_MALFORMED} WHEN only_told THEN {_TOLD} WHEN skipped THEN {_SKIPPED}
                WHEN strange THEN {_STRANGE} WHEN value IS NULL THEN {_UNREADABLE}
                WHEN value BETWEEN low AND high AND (NOT scored OR value = floor(value)) THEN {_GOOD}
                ELSE {_OUTSIDE} END)::UTINYINT AS status, coalesce(converted, false) AS converted,
            CASE WHEN told OR (value IS NULL AND NOT bad) THEN charted END AS charted,
            CASE WHEN told THEN number END AS number,
            CASE WHEN told OR (value IS NULL AND NOT bad) THEN stated END AS unit
        FROM r""",
        table,
    )
    _refuse_malformed(raw, table, known, bad, source)
    if not count and table != "outputevents":
        raise SourceError(
            f"{raw.file(table)} with known items of the kept stays",
            "none (itemid or hadm_id of another database, or a subset without them)",
            "use the published table of the same release as icustays",
        )


def _join(raw: MimicTables) -> None:
    """Create views over what was read: `measured` (channels) and `told` (what readers see, as charted)."""
    tables = [table for table in TABLES if raw.has(table)]
    for view, columns, condition in (
        ("measured", "stay_id, hour, item, channel, value, status, converted", f"status <> {_TOLD}"),
        (
            "told",
            f"stay_id, hour, item, channel, charted, number, unit, status = {_UNREADABLE} AS unreadable",
            "charted IS NOT NULL OR number IS NOT NULL",
        ),
    ):
        parts = [f"SELECT {columns}, '{table}' AS source FROM read_{table} WHERE {condition}" for table in tables]
        raw.sql.execute(f"CREATE OR REPLACE VIEW {view} AS {' UNION ALL '.join(parts)}")


def _refuse_malformed(raw: MimicTables, table: str, known: str, bad: str, source: str) -> None:
    wrong = raw.count(f"SELECT count(*) FROM read_{table} WHERE status = {_MALFORMED}")
    if not wrong:
        return
    raw.sql.execute("SET preserve_insertion_order = true")
    first = raw.count(
        f"SELECT min(line) FROM (SELECT row_number() OVER () + 1 AS line, e.* FROM ({source}) e) e "
        f"WHERE e.itemid IN ({known}) AND ({bad})"
    )
    raw.refuse(
        f"numbers in the keys and times in charttime of {raw.file(table)}",
        f"other text in {wrong} rows, first in row {first}",
        "mend those rows",
        rows=wrong,
    )
    raw.sql.execute(f"DELETE FROM read_{table} WHERE status = {_MALFORMED}")


def _judge(raw: MimicTables, items: tuple[Item, ...]) -> None:
    """Refuse a table's channel most of whose values are in another unit; a lenient reader sets them aside.

    A stray item or a few stray results are no reason to refuse: they are left out and counted.
    """
    found = raw.sql.execute(
        f"""SELECT source, channel, count(*) AS n, count(*) FILTER (status = {_STRANGE}) AS strange,
            count(*) FILTER (status = {_OUTSIDE}) AS outside, mode(item) FILTER (status = {_STRANGE}) AS strange_item,
            mode(item) FILTER (status = {_OUTSIDE}) AS outside_item
        FROM measured WHERE status <> {_SKIPPED} GROUP BY source, channel
        HAVING strange > {STRANGE_UNIT_SHARE} * n OR (n >= {CHECKED_ROWS} AND outside > {OUTSIDE_SHARE} * n)
        ORDER BY source, channel"""
    ).fetchall()
    by_id = {item.id: item for item in items}
    for source, place, rows, strange, outside, strange_item, outside_item in found:
        channel, turned = CHANNELS[int(place)], strange > STRANGE_UNIT_SHARE * rows
        item = by_id[int(strange_item if turned else outside_item)]
        where = f"{raw.file(source)}, itemid {item.id}: {channel.title}"
        if turned:
            expected, came = f"{where} in {' or '.join(item.units)}", f"another unit in {strange} of {rows} rows"
            dropped, gone = f"status = {_STRANGE}", int(strange)
        else:
            expected = f"{where} in {channel.unit or 'its unit'} between {item.low:g} and {item.high:g}"
            came, dropped, gone = f"{outside} of {rows} values outside, so another unit", "true", int(rows)
        raw.refuse(expected, came, "convert those rows", rows=gone)
        raw.sql.execute(f"DELETE FROM read_{source} WHERE channel = {int(place)} AND {dropped}")


def _by_channel(raw: MimicTables, condition: str) -> dict[str, int]:
    rows = raw.sql.execute(f"SELECT channel, count(*) FROM measured WHERE {condition} GROUP BY 1").fetchall()
    return dict(sorted((CHANNELS[int(place)].name, int(count)) for place, count in rows))


def mark_series(raw: MimicTables, cutoff_hours: float | None) -> None:
    """Create table `modality`: which stays have a series, and a note that the model reads.

    A series is any value of a model's channel but height and weight, within the stay and before the cut-off. Where
    there is none, height and weight are left out too.
    """
    dynamic = listed([i for i, c in enumerate(CHANNELS) if c.model and c.name not in STATIC_CHANNELS]).replace("'", "")
    static = listed([channel_number(name) for name in STATIC_CHANNELS]).replace("'", "")
    before = "true" if cutoff_hours is None else f"hour < {cutoff_hours!r}"
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE modality AS
        SELECT stay_id,
            stay_id IN (SELECT stay_id FROM observation JOIN stay USING (stay_id)
                WHERE channel IN ({dynamic}) AND hour >= 0 AND hour <= los_hours AND {before}) AS has_series,
            stay_id IN (SELECT stay_id FROM notes WHERE model_end IS NOT NULL) AS has_note
        FROM stay"""
    )
    raw.sql.execute(
        f"""DELETE FROM observation WHERE channel IN ({static})
        AND stay_id NOT IN (SELECT stay_id FROM modality WHERE has_series)"""
    )


def observation_batches(raw: MimicTables, rows: int, channels: tuple[Channel, ...] = CHANNELS) -> pa.RecordBatchReader:
    """Give the observations of the stays that remain, in the cohort's order, `rows` at a time."""
    raw.lookup(
        "channel", {"channel": list(range(len(channels))), "channel_name": [channel.name for channel in channels]}
    )
    names = [
        (place, float(code), name)
        for place, channel in enumerate(channels)
        for code, name in zip(channel.codes or (), channel.categories or (), strict=True)
    ]
    raw.lookup(
        "category",
        {"channel": [n[0] for n in names], "value": [n[1] for n in names], "category": [n[2] for n in names]},
    )
    found = (
        raw.sql.cursor()
        .sql(
            """SELECT stay_id, hour, channel_name AS channel, o.value, category
        FROM observation o SEMI JOIN stay USING (stay_id)
        JOIN channel ON channel.channel = o.channel
        LEFT JOIN category ON category.channel = o.channel AND category.value = o.value
        ORDER BY stay_id, hour, channel_name"""
        )
        .to_arrow_reader(rows)
    )
    return _as(found, OBSERVATIONS)


def _as(reader: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    """Cast each batch of a reader."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
