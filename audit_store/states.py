"""The state of a pair, derived from what people answered; never stored.

Rules. A reader's answer is the last of theirs that they did not take back. A pair is

* ``open`` where no answer stands;
* ``adjudicated`` where someone adjudicated it: that answer counts;
* in ``conflict`` where one reader says present and another absent: nothing counts;
* ``locked`` where an answer of high certainty, or one that two readers share, stands;
* ``answered`` otherwise: one answer of low certainty (a soft target half-way to it), or "can't tell" (no effect).
"""

from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Table, select

from audit_store import tables
from audit_store.database import Store
from audit_store.ledger import Head, head_in

STATES = ("open", "answered", "conflict", "adjudicated", "locked")

_DECISIONS = pa.schema(
    [
        ("id", pa.int64()),
        ("created_at", pa.timestamp("us")),
        ("reviewer", pa.string()),
        ("round_id", pa.int32()),
        ("stay_id", pa.int64()),
        ("label_key", pa.string()),
        ("observed", pa.uint8()),
        ("answer", pa.string()),
        ("certainty", pa.string()),
        ("supersedes", pa.int64()),
    ]
)
_ADJUDICATIONS = pa.schema(
    [
        ("id", pa.int64()),
        ("created_at", pa.timestamp("us")),
        ("adjudicator", pa.string()),
        ("round_id", pa.int32()),
        ("stay_id", pa.int64()),
        ("label_key", pa.string()),
        ("observed", pa.uint8()),
        ("answer", pa.string()),
    ]
)

_STANDING = """
SELECT d.* FROM decision d
ANTI JOIN (SELECT supersedes AS id FROM decision WHERE answer = 'retract') t ON d.id = t.id
WHERE d.answer <> 'retract'
QUALIFY row_number() OVER (PARTITION BY d.stay_id, d.label_key, d.reviewer ORDER BY d.id DESC) = 1
ORDER BY d.id
"""

_DERIVED = """
WITH reading AS (
    SELECT stay_id, label_key,
        count(*) AS n_readers,
        count(*) FILTER (answer = 'present') AS n_present,
        count(*) FILTER (answer = 'absent') AS n_absent,
        count(*) FILTER (certainty = 'high' AND answer IN ('present', 'absent')) AS n_high,
        string_agg(reviewer, ';' ORDER BY reviewer) AS readers,
        max(created_at) AS read_at,
        arg_max(round_id, id) AS read_round,
        arg_max(observed, id) AS observed
    FROM standing GROUP BY stay_id, label_key
), judged AS (
    SELECT stay_id, label_key, answer, adjudicator, created_at AS judged_at, round_id AS judged_round, observed
    FROM adjudication QUALIFY row_number() OVER (PARTITION BY stay_id, label_key ORDER BY id DESC) = 1
), joined AS (
    SELECT stay_id, label_key, coalesce(r.observed, j.observed) AS observed, coalesce(n_readers, 0) AS n_readers,
        coalesce(n_present, 0) AS n_present, coalesce(n_absent, 0) AS n_absent, coalesce(readers, '') AS readers,
        j.adjudicator, coalesce(judged_round, read_round) AS round_id, coalesce(judged_at, read_at) AS decided_at,
        CASE WHEN j.answer IS NOT NULL THEN 'adjudicated'
             WHEN n_present > 0 AND n_absent > 0 THEN 'conflict'
             WHEN n_high > 0 OR n_present + n_absent >= 2 THEN 'locked'
             ELSE 'answered' END AS state,
        CASE WHEN j.answer = 'present' THEN 1 WHEN j.answer = 'absent' THEN 0 WHEN j.answer IS NOT NULL THEN NULL
             WHEN n_present > 0 AND n_absent = 0 THEN 1 WHEN n_absent > 0 AND n_present = 0 THEN 0 END AS value
    FROM reading r FULL JOIN judged j USING (stay_id, label_key)
)
SELECT stay_id, label_key, state, CAST(value AS UTINYINT) AS value,
    state IN ('locked', 'adjudicated') AND value IS NOT NULL AS locked,
    CASE WHEN state = 'answered' THEN CAST((observed + value) / 2.0 AS FLOAT) END AS soft,
    CAST(n_readers AS INTEGER) AS n_readers, CAST(n_present AS INTEGER) AS n_present,
    CAST(n_absent AS INTEGER) AS n_absent, readers, adjudicator, CAST(round_id AS INTEGER) AS round_id, decided_at,
    CAST(CASE WHEN n_readers > 0 AND value IS NOT NULL
         THEN (CASE value WHEN 1 THEN n_present ELSE n_absent END) / n_readers END AS FLOAT) AS agreement
FROM joined ORDER BY stay_id, label_key
"""


@dataclass(frozen=True)
class Snapshot:
    """What people decided, at one moment.

    Parameters
    ----------
    decisions, adjudications
        Arrow tables of every row, by id.
    count, last_id
        Number of decision rows and the last one's id (0 where there is none).
    head
        The ledger's head at that moment.
    standing
        Each reader's answer that stands, one row per (stay, label, reader).
    states
        One row per pair that anyone answered or adjudicated: state, value {0, 1} or null, locked, soft (0–1) or
        null, readers (names joined by ``;``), agreement (share of readers who gave `value`), round, decided_at.
    """

    decisions: pa.Table
    adjudications: pa.Table
    count: int
    last_id: int
    head: Head
    standing: pa.Table
    states: pa.Table


def snapshot(store: Store) -> Snapshot:
    """Read what is new since the last time and derive the states anew if there is anything.

    Rows are only ever appended and ids grow in the order of commits, so what was read before still holds.
    """
    with store.memory_lock:
        old: Snapshot | None = store.memory.get("snapshot")
        with store.reading() as connection:
            now = head_in(connection)
            if old is not None and now == old.head:
                return old
            decisions = _newer(connection, tables.decision, _DECISIONS, old.decisions if old else None)
            judged = _newer(connection, tables.adjudication, _ADJUDICATIONS, old.adjudications if old else None)
        last_id = int(pc.max(decisions["id"]).as_py() or 0)
        standing, states = _brought_up(store, old, decisions, judged)
        new = Snapshot(decisions, judged, decisions.num_rows, last_id, now, standing, states)
        store.memory["snapshot"] = new
        return new


def _brought_up(store: Store, old: Snapshot | None, decisions: pa.Table, judged: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Derive the states of the stays with new rows anew; those of the others stay as they were."""
    engine = store.memory.setdefault("engine", None) or duckdb.connect()
    store.memory["engine"] = engine
    if old is None:
        return derive(decisions, judged, engine)
    fresh = [decisions["stay_id"].slice(old.count), judged["stay_id"].slice(old.adjudications.num_rows)]
    touched = pa.chunked_array([chunk for column in fresh for chunk in column.chunks], pa.int64()).unique()
    if len(touched) == 0:
        return old.standing, old.states

    def of(table: pa.Table) -> pa.Array:
        return pc.is_in(table["stay_id"], value_set=touched)

    standing, states = derive(decisions.filter(of(decisions)), judged.filter(of(judged)), engine)
    return (
        pa.concat_tables([old.standing.filter(pc.invert(of(old.standing))), standing]).combine_chunks(),
        pa.concat_tables([old.states.filter(pc.invert(of(old.states))), states]).combine_chunks(),
    )


def _newer(connection: Connection, table: Table, schema: pa.Schema, known: pa.Table | None) -> pa.Table:
    known = schema.empty_table() if known is None else known
    last = int(pc.max(known["id"]).as_py() or 0)
    columns = [table.c[name] for name in schema.names]
    rows: list[Any] = list(connection.execute(select(*columns).where(table.c.id > last).order_by(table.c.id)))
    if not rows:
        return known
    new = pa.table(
        [pa.array(column, f.type) for column, f in zip(zip(*rows, strict=True), schema, strict=True)], schema
    )
    return pa.concat_tables([known, new]).combine_chunks()


def derive(
    decisions: pa.Table, adjudications: pa.Table, engine: duckdb.DuckDBPyConnection | None = None
) -> tuple[pa.Table, pa.Table]:
    """Answers that stand, and the state of each pair, from rows of `decision` and `adjudication`.

    Parameters
    ----------
    decisions
        id, created_at, reviewer, round_id, stay_id, label_key, observed, answer, certainty, supersedes.
    adjudications
        id, created_at, adjudicator, round_id, stay_id, label_key, observed, answer.
    engine
        An in-memory DuckDB connection to compute on, not used by another thread meanwhile; None for a new one.

    Returns
    -------
    standing, states
        As in `Snapshot`.
    """
    connection = duckdb.connect() if engine is None else engine
    try:
        connection.register("decision", decisions.select(_DECISIONS.names).cast(_DECISIONS))
        connection.register("adjudication", adjudications.select(_ADJUDICATIONS.names).cast(_ADJUDICATIONS))
        standing = connection.sql(_STANDING).to_arrow_table()
        connection.register("standing", standing)
        states = connection.sql(_DERIVED).to_arrow_table()
        for name in ("decision", "adjudication", "standing"):
            connection.unregister(name)
        return standing, states
    finally:
        if engine is None:
            connection.close()
