"""The long table of measured values, and the hourly table in ricu/YAIB columns that may fill it.

`measured` holds (stay_id, hour, channel as a number, value, rank, origin, converted, plausible); of two values of one
moment the lower rank counts.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.cohort.channels import BY_NAME
from core.cohort.sources.eicu_tables import RawFolder, quoted
from core.cohort.sources.eicu_vocabulary import HOURLY, Measure
from core.cohort.sources.mimic_items import channel_number
from core.errors import SourceError

HOURLY_FILE = "hourly.parquet"


def create_measured(raw: RawFolder) -> None:
    """Create the empty long table."""
    raw.sql.execute(
        "CREATE OR REPLACE TABLE measured (stay_id BIGINT, hour DOUBLE, channel UTINYINT, value DOUBLE, rank UTINYINT, "
        "origin VARCHAR, converted BOOLEAN, plausible BOOLEAN)"
    )


def _conversion(measure: Measure, value: str) -> tuple[str, str]:
    """Give SQL of the converted value, and of whether the other unit was met."""
    plain = f"{value} * {measure.scale!r} + {measure.shift!r}"
    tests = []
    if measure.other_from != float("inf"):
        tests.append(f"{value} >= {measure.other_from!r}")
    if measure.other_below != float("-inf"):
        tests.append(f"{value} < {measure.other_below!r}")
    if not tests:
        return plain, "false"
    other = f"{value} * {measure.other_scale!r} + {measure.other_shift!r}"
    return f"CASE WHEN {' OR '.join(tests)} THEN {other} ELSE {plain} END", " OR ".join(tests)


def insert_measure(raw: RawFolder, origin: str, measure: Measure, query: str, rank: int) -> None:
    """Add the rows of `query` (stay_id, hour, value) as a measure of `origin`, in the channel's unit, judged."""
    value, converted = _conversion(measure, "value")
    channel = BY_NAME[measure.channel]
    low, high = (float(end) for end in channel.plausible)
    plausible = f"turned BETWEEN {low!r} AND {high!r}" + (" AND turned = floor(turned)" if channel.codes else "")
    raw.sql.execute(
        f"INSERT INTO measured SELECT stay_id, hour, {channel_number(channel.name)}, turned, {rank}, {quoted(origin)}, "
        f"converted, {plausible} FROM (SELECT stay_id, hour, {value} AS turned, {converted} AS converted "
        f"FROM ({query}) SEMI JOIN stay USING (stay_id) WHERE value IS NOT NULL AND hour IS NOT NULL)"
    )


def read_hourly(raw: RawFolder, path: Path) -> list[str]:
    """Read the hourly table; return the columns that no channel is known for."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        raise SourceError(
            f"{HOURLY_FILE} as a Parquet file", "one that is damaged or cut short", "export it again"
        ) from None
    missing = [name for name in ("stay_id", "time") if name not in table.column_names]
    if missing:
        raise SourceError(f"{HOURLY_FILE} with stay_id and time", f"no {', '.join(missing)}", "export it again")
    if not table.num_rows:
        raise SourceError(f"{HOURLY_FILE} with rows", "none", "export it again, or remove it to use the raw tables")
    if not pa.types.is_duration(table.schema.field("time").type):
        raise SourceError(
            f"{HOURLY_FILE}'s time as a duration since unit admission, with its unit",
            f"type {table.schema.field('time').type}, unit unknown",
            "export time as a duration (ricu and YAIB do)",
        )
    if not pa.types.is_integer(table.schema.field("stay_id").type):
        raise SourceError(f"{HOURLY_FILE}'s stay_id as integers", str(table.schema.field("stay_id").type), "cast it")
    known = {name: HOURLY[name] for name in table.column_names if name in HOURLY}
    if not known:
        raise SourceError(f"{HOURLY_FILE} in ricu's column names (hr, sbp, crea …)", "none of them", "rename them")
    columns: dict[str, pa.ChunkedArray] = {
        "stay_id": table["stay_id"].cast(pa.int64()),
        "hour": pc.divide(table["time"].cast(pa.duration("ms")).cast(pa.int64()).cast(pa.float64()), 3_600_000.0),
    }
    for name in known:
        kind = table.schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise SourceError(f"numbers in {HOURLY_FILE}, column {name}", f"type {kind}", "correct that column")
        values = table[name].cast(pa.float64())
        endless = pc.sum(pc.is_inf(values)).as_py() or 0
        if endless:
            raise SourceError(
                f"finite numbers in {HOURLY_FILE}, column {name}",
                f"infinity in {endless} rows",
                "empty those cells: a gap is a gap",
            )
        columns[name] = values
    raw.sql.register("hourly", pa.table(columns))
    repeated = raw.one(
        "SELECT count(*) FROM (SELECT 1 FROM hourly GROUP BY stay_id, hour HAVING count(*) > 1)",
    )[0]
    if repeated:
        raise SourceError(
            f"one row per stay_id and time in {HOURLY_FILE}", f"{repeated} of them repeated", "remove the repeated rows"
        )
    for name, measure in known.items():
        insert_measure(
            raw, HOURLY_FILE, measure, f"SELECT stay_id, hour, {name} AS value FROM hourly WHERE NOT isnan({name})", 0
        )
    raw.sql.unregister("hourly")
    raw.read.append(HOURLY_FILE)
    return sorted(set(table.column_names) - set(known) - {"stay_id", "time"})
