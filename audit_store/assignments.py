"""What was given to whom: rows of `assignment`, which follow from the ledger's events of batches and handovers.

One event draws a batch and holds all its rows; a handover gives some of a batch's rows to another person. The table's
`person` is always the one who has the row now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, bindparam, func, select

from audit_store import tables
from audit_store.database import Store
from audit_store.ledger import Event

ROWS_OF_AN_EVENT = 10_000
"""A row's id is its event's number times this, plus its place among the event's rows."""

_A = tables.assignment.c
_GIVEN = (
    select(tables.assignment)
    .where(
        _A.stay_id == bindparam("stay"),
        _A.label_key == bindparam("label"),
        _A.person == bindparam("reader"),
        _A.round_id == bindparam("round"),
    )
    .order_by(_A.id.desc())
    .limit(1)
)
ROW_FIELDS = ("stay_id", "label_key", "position", "purpose", "stratum", "inclusion_probability")

ASSIGNED = pa.schema(
    [
        ("id", pa.int64()),
        ("created_at", pa.timestamp("us")),
        ("round_id", pa.int32()),
        ("stay_id", pa.int64()),
        ("label_key", pa.string()),
        ("person", pa.string()),
        ("batch", pa.string()),
        ("position", pa.int32()),
        ("purpose", pa.string()),
        ("stratum", pa.string()),
        ("inclusion_probability", pa.float64()),
        ("blind", pa.bool_()),
        ("kind", pa.string()),
        ("protocol_hash", pa.string()),
    ]
)


def expanded(event: Event) -> Iterator[Event]:
    """Spell a batch's event out, one event for each row of `assignment`, numbered as its row is."""
    whole = {key: value for key, value in event.data.items() if key not in ("rows", "size")}
    for place, row in enumerate(event.data["rows"]):
        data = {**whole, **dict(zip(ROW_FIELDS, row, strict=True))}
        yield replace(event, seq=event.seq * ROWS_OF_AN_EVENT + place, kind="assignment", data=data)


def handed_over(event: Event, rows: dict[int, Event]) -> None:
    """Give the rows that a handover's event names to its person."""
    for number in event.data["rows"]:
        row = rows.get(int(number))
        if row is not None:
            rows[row.seq] = replace(row, data={**row.data, "person": event.data["person"]})


def assigned(store: Store) -> pa.Table:
    """Every row of `assignment` in the order drawn, columns of `ASSIGNED`; only what is new is read.

    Rows are only ever added, except that a handover changes `person`: after one, all are read anew.
    """
    with store.memory_lock:
        kept: tuple[int, int, pa.Table] | None = store.memory.get("assigned")
        with store.reading() as connection:
            last = int(connection.execute(select(func.max(tables.assignment.c.id))).scalar() or 0)
            given = int(connection.execute(select(func.max(tables.handover.c.id))).scalar() or 0)
            if kept is not None and kept[:2] == (last, given):
                return kept[2]
            old = kept[2] if kept is not None and kept[1] == given else ASSIGNED.empty_table()
            table = pa.concat_tables([old, _newer(connection, int(pc.max(old["id"]).as_py() or 0))]).combine_chunks()
        store.memory["assigned"] = (last, given, table)
        return table


def _newer(connection: Connection, last: int) -> pa.Table:
    t = tables.assignment
    columns = [t.c[name] for name in ASSIGNED.names]
    rows: list[Any] = list(connection.execute(select(*columns).where(t.c.id > last).order_by(t.c.id)))
    held = zip(*rows, strict=True) if rows else [[] for _ in columns]
    return pa.table([pa.array(list(c), f.type) for c, f in zip(held, ASSIGNED, strict=True)], ASSIGNED)


def of_round(store: Store, round_id: int) -> pa.Table:
    """As `assigned`, of one round."""
    table = assigned(store)
    return table.filter(pc.equal(table["round_id"], round_id))


def given_to(
    connection: Connection, person: str, round_id: int, stay_id: int, label_key: str
) -> Mapping[str, Any] | None:
    """Return the row under which a person was given a pair in a round, the latest; None where they were not."""
    asked = {"stay": stay_id, "label": label_key, "reader": person, "round": round_id}
    row = connection.execute(_GIVEN, asked).mappings().first()
    return None if row is None else dict(row)
