"""What people decided, as labels: locks for the next round, and the cleaned labels of a round.

The default policy changes a label only where people decided. Every table is computed in DuckDB from the round and an
in-memory table of states; no loop runs over pairs. A stay without any coded diagnosis is not recorded: it has no row
in the long form and blanks in the wide one, never a 0.
"""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.database import Store
from audit_store.errors import ExportError
from audit_store.export_matrix import Matrix, matrix_of
from audit_store.round_reader import RoundFile
from audit_store.schema import LOCKS, LONG
from audit_store.states import Snapshot, derive, snapshot


@dataclass(frozen=True)
class Locks:
    """What the trainer of a round gets from people.

    Parameters
    ----------
    table
        `audit_store.schema.LOCKS`: stay_id, label_key, value (0–1), locked. Locked: the label is `value`, never
        corrected or flagged. Not locked: a soft target, half-way between the recorded value and the answer. Pairs of
        test stays may be among them; the trainer leaves those out.
    decisions_count, decisions_last_id, decisions_head
        What was read: number of decision rows, the last one's id, the ledger's head.
    """

    table: pa.Table
    decisions_count: int
    decisions_last_id: int
    decisions_head: str


def locks(store: Store, before_round: int) -> Locks:
    """Give the labels that people settled in rounds before `before_round`."""
    now = snapshot(store)
    early = now.decisions.filter(pc.less(now.decisions["round_id"], before_round))
    judged = now.adjudications.filter(pc.less(now.adjudications["round_id"], before_round))
    # A retraction counts whenever it was made, also one made on a later round's screen.
    later = pc.and_(
        pc.greater_equal(now.decisions["round_id"], before_round), pc.equal(now.decisions["answer"], "retract")
    )
    _, states = derive(pa.concat_tables([early, now.decisions.filter(later)]), judged)
    with duckdb.connect() as connection:
        connection.register("pair_state", states)
        table: pa.Table = connection.sql(
            "SELECT stay_id, label_key, locked, "
            "CAST(coalesce(CASE WHEN locked THEN value END, soft) AS FLOAT) AS value "
            "FROM pair_state WHERE locked OR soft IS NOT NULL ORDER BY stay_id, label_key"
        ).to_arrow_table()
    return Locks(table.select(LOCKS.names).cast(LOCKS), now.count, now.last_id, now.head.hash)


@dataclass(frozen=True)
class Policy:
    """Which labels change in an export.

    Parameters
    ----------
    auto_threshold
        Also take the model's suggestion where nobody decided and error_probability is at least this (0–1); None for
        never. Only train pairs are ever corrected so.
    low_certainty
        Also count a single answer of low certainty as decided.
    """

    auto_threshold: float | None = None
    low_certainty: bool = False

    def __post_init__(self) -> None:
        t = self.auto_threshold
        if t is not None and not 0 < t <= 1:
            raise ExportError("a threshold above 0 and at most 1", f"{t:g}", "give --auto-threshold such a number")


_ROWS = """
WITH decided AS (
    SELECT *, locked OR ($low_certainty AND state = 'answered' AND value IS NOT NULL) AS settled FROM pair_state
), joined AS (
    SELECT p.stay_id, p.patient_id, p.label_id, l.label_key AS label, p.observed, d.value, d.state, d.readers,
        d.adjudicator, d.agreement, d.round_id, d.decided_at, p.suggested, p.error_probability,
        coalesce(d.settled, false) AS settled,
        d.stay_id IS NULL AND p.split = 'train' AND p.partition <> 'locked' AND p.suggested <> p.observed
            AND coalesce(p.error_probability >= $threshold, false) AS automatic
    FROM pair p JOIN label l USING (label_id)
    LEFT JOIN decided d ON d.stay_id = p.stay_id AND d.label_key = l.label_key
)
SELECT stay_id, patient_id, label, observed,
    CASE WHEN settled THEN value WHEN automatic THEN suggested ELSE observed END AS cleaned,
    CASE WHEN settled THEN value <> observed ELSE automatic END AS changed,
    CASE WHEN settled AND state = 'adjudicated' THEN 'adjudicated' WHEN settled AND value = observed THEN 'kept'
         WHEN settled THEN 'relabelled' WHEN automatic THEN 'auto_corrected' ELSE 'observed' END AS basis,
    CASE WHEN automatic THEN $round ELSE round_id END AS round,
    nullif(concat_ws(';', nullif(readers, ''), adjudicator), '') AS reviewers,
    agreement, suggested, error_probability, decided_at, label_id, state, settled
FROM joined
"""
_LONG = f"SELECT * EXCLUDE (label_id, state, settled) FROM ({_ROWS}) ORDER BY stay_id, label_id"


def cleaned_long(
    store: Store, round_file: RoundFile, policy: Policy | None = None, now: Snapshot | None = None
) -> pa.Table:
    """Give one row per stated pair of the round.

    Parameters
    ----------
    store, round_file
        The decisions and the round.
    policy
        Which labels change; None for those that people settled, and no others.
    now
        The state of the decisions to use; None for the present one.

    Returns
    -------
    Table
        `audit_store.schema.LONG`, by stay and label. `basis` is ``observed`` (nobody settled it), ``kept``,
        ``relabelled``, ``adjudicated`` or ``auto_corrected``; `round` the round in which it was last read; `reviewers`
        the names of its readers, and its adjudicator's last, joined by ``;``; `agreement` the share of readers who
        gave the settled value.
    """
    table = over_pairs(_LONG, store, round_file, policy or Policy(), now)
    return table.select(LONG.names).cast(LONG)


def over_pairs(
    query: str, store: Store, round_file: RoundFile, policy: Policy, now: Snapshot | None = None, **values: Any
) -> pa.Table:
    """Answer a query over the stated pairs with what a policy makes of them.

    `query` holds `rows_query` as a sub-query: the columns of `audit_store.schema.LONG`, and `label_id`, `state` (null
    where nobody read the pair) and `settled` (whether readers' word counts under this policy).
    """
    named = {
        "low_certainty": policy.low_certainty,
        "threshold": policy.auto_threshold,
        "round": round_file.info.round_id,
    }
    return round_file.arrow(query, {"pair_state": (now or snapshot(store)).states}, {**named, **values})


def rows_query() -> str:
    """Give the sub-query over stated pairs for `over_pairs`."""
    return f"({_ROWS})"


_STAY_COLUMNS = (
    *("stay_id", "patient_id", "patient_key", "split", "los_hours", "visit", "visit_order", "admitted_at"),
    "has_series",
)


def cohort_stays(store: Store) -> pa.Table | None:
    """Read the cohort's stays by stay_id: whose, when, how long; None where the cohort is gone.

    Raises
    ------
    ExportError
        When the file is damaged.
    """
    path = store.workspace.cohort / "stays.parquet"
    if not path.is_file():
        return None
    try:
        return pq.read_table(path, columns=list(_STAY_COLUMNS)).sort_by("stay_id")
    except (pa.ArrowInvalid, OSError, KeyError):
        raise ExportError("the cohort's stays.parquet", "a file cut short", "restore or rebuild the cohort") from None


def required_stays(store: Store) -> pa.Table:
    """Read the cohort's stays as `cohort_stays` does; ExportError where the cohort is gone."""
    stays = cohort_stays(store)
    if stays is None:
        raise ExportError("the cohort's stays.parquet", "no such file", "restore the cohort, or leave the listfile out")
    return stays


def cleaned_wide(
    store: Store,
    round_file: RoundFile,
    policy: Policy | None = None,
    long: pa.Table | None = None,
    matrix: Matrix | None = None,
) -> pa.Table:
    """Give one row per stay of the cohort: stay_id, patient_id, split, one column per label key.

    A label that is not stated is null. Where the cohort is gone, the stays are the round's. `long` and `matrix` are
    what `cleaned_long` and `matrix_of` gave, where they are at hand.
    """
    made = matrix or matrix_of(cleaned_long(store, round_file, policy) if long is None else long, round_file)
    stays = cohort_stays(store)
    if stays is None:
        stays = round_file.arrow(
            "SELECT stay_id, any_value(patient_id) AS patient_id, any_value(split) AS split FROM pair "
            "GROUP BY stay_id ORDER BY stay_id"
        )
    rows = made.rows_of(stays["stay_id"].to_numpy())
    fields = ["stay_id", "patient_id", "split"]
    return pa.table([*(stays[name] for name in fields), *made.columns(rows)], names=[*fields, *made.keys])


def listfile(
    store: Store,
    round_file: RoundFile,
    policy: Policy | None = None,
    long: pa.Table | None = None,
    matrix: Matrix | None = None,
) -> pa.Table:
    """Give a listfile of any cohort: stay, period_length (hours), one column per label in the published order and name.

    Only stays whose labels are stated have a row.

    Raises
    ------
    ExportError
        When the cohort, which knows the lengths of stay, is gone.
    """
    made = matrix or matrix_of(cleaned_long(store, round_file, policy) if long is None else long, round_file)
    stays = required_stays(store)
    place = pc.index_in(pa.array(made.stay_id), value_set=stays["stay_id"].combine_chunks())
    columns = [pa.array(made.stay_id), stays["los_hours"].take(place)]
    rows = np.arange(len(made.stay_id))
    return pa.table([*columns, *made.columns(rows)], names=["stay", "period_length", *made.names])


def _joined(query: str, **tables: pa.Table) -> pa.Table:
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(query).to_arrow_table()


def differences(store: Store, round_file: RoundFile, policy: Policy | None = None) -> pd.DataFrame:
    """Give the rows of the long form that change, for a preview."""
    long = cleaned_long(store, round_file, policy)
    frame: pd.DataFrame = long.filter(long["changed"]).to_pandas()
    return frame


def summary(store: Store, round_file: RoundFile, policy: Policy | None = None) -> pd.DataFrame:
    """Count per label what an export would do.

    Columns: label_key, name, pairs, kept, relabelled, adjudicated, auto_corrected, added (0 → 1), removed (1 → 0).
    """
    found: dict[str, Any] = _joined(
        "SELECT label AS label_key, count(*) AS pairs, count(*) FILTER (basis = 'kept') AS kept, "
        "count(*) FILTER (basis = 'relabelled') AS relabelled, count(*) FILTER (basis = 'adjudicated') AS adjudicated, "
        "count(*) FILTER (basis = 'auto_corrected') AS auto_corrected, "
        "count(*) FILTER (changed AND cleaned = 1) AS added, count(*) FILTER (changed AND cleaned = 0) AS removed "
        "FROM long GROUP BY label",
        long=cleaned_long(store, round_file, policy),
    ).to_pydict()
    frame = pd.DataFrame(found)
    frame.insert(1, "name", [round_file.label_names[key] for key in frame["label_key"]])
    place = frame["label_key"].map(round_file.label_ids)
    return frame.iloc[place.argsort()].reset_index(drop=True)
