"""Every raw read, for publication: what each reader said of each pair, when and under what terms, and no names.

Readers are R1, R2, … in the order of their first answers, as on the Quality page; adjudicators who never read go on
from there. Comments, batches (they can carry names), panels opened and text of patients stay out. What a reader took
back is there with its retraction. Answers that a program gave (the demo's simulated readers) are left out and counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from audit_store import tables
from audit_store.answers import SIMULATED
from audit_store.database import Store
from audit_store.states import Snapshot

STATES = ("stands", "changed", "taken_back", "retraction")
SIMULATED_READER = "simulated"

READS = pa.schema(
    [
        pa.field("read", pa.int64(), False),
        pa.field("stay_id", pa.int64(), False),
        pa.field("label", pa.string(), False),
        pa.field("reader", pa.string(), False),
        pa.field("round", pa.int32(), False),
        pa.field("observed", pa.uint8(), False),
        pa.field("suggested", pa.uint8(), False),
        pa.field("answer", pa.string(), False),
        pa.field("certainty", pa.string(), False),
        pa.field("reason_code", pa.string()),
        pa.field("codable", pa.string()),
        pa.field("blinded", pa.bool_(), False),
        pa.field("saw_suggestion", pa.bool_(), False),
        pa.field("purpose", pa.string(), False),
        pa.field("stratum", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("weight", pa.float64()),
        pa.field("guideline_version", pa.string()),
        pa.field("protocol_hash", pa.string()),
        pa.field("active_seconds", pa.float64()),
        pa.field("read_at", pa.timestamp("us"), False),
        pa.field("supersedes", pa.int64()),
        pa.field("state", pa.string(), False),
    ]
)
"""A row per answer or retraction. `read` numbers them from 1; `supersedes` is the `read` that this one replaces or
takes back; `weight` is 1/inclusion_probability; `state` says whether the answer stands, was changed by a later one, was
taken back, or is the taking back."""

ADJUDICATIONS = pa.schema(
    [
        pa.field("adjudication", pa.int64(), False),
        pa.field("stay_id", pa.int64(), False),
        pa.field("label", pa.string(), False),
        pa.field("adjudicator", pa.string(), False),
        pa.field("round", pa.int32(), False),
        pa.field("observed", pa.uint8(), False),
        pa.field("answer", pa.string(), False),
        pa.field("decided_at", pa.timestamp("us"), False),
        pa.field("stands", pa.bool_(), False),
    ]
)

_D, _A, _P = tables.decision.c, tables.adjudication.c, tables.person.c
_READ = {
    "id": _D.id,
    "stay_id": _D.stay_id,
    "label": _D.label_key,
    "name": _D.reviewer,
    "round": _D.round_id,
    "observed": _D.observed,
    "suggested": _D.suggested,
    "answer": _D.answer,
    "certainty": _D.certainty,
    "reason_code": _D.reason_code,
    "codable": _D.codable,
    "blinded": _D.blinded,
    "saw_suggestion": _D.saw_suggestion,
    "purpose": _D.purpose,
    "stratum": _D.stratum,
    "inclusion_probability": _D.inclusion_probability,
    "guideline_version": _D.guideline_version,
    "protocol_hash": _D.protocol_hash,
    "active_seconds": _D.active_seconds,
    "read_at": _D.created_at,
    "supersedes": _D.supersedes,
}
_JUDGED = {
    "id": _A.id,
    "stay_id": _A.stay_id,
    "label": _A.label_key,
    "name": _A.adjudicator,
    "round": _A.round_id,
    "observed": _A.observed,
    "answer": _A.answer,
    "decided_at": _A.created_at,
}


@dataclass(frozen=True)
class Reads:
    """What people said, without their names.

    Parameters
    ----------
    reads, adjudications
        `READS`, `ADJUDICATIONS`.
    readers
        R1, R2, … of each person's name: not for a file.
    roles
        Number of people by role (as it is now) among those who read or adjudicated.
    simulated
        Answers of programs that were left out.
    """

    reads: pa.Table
    adjudications: pa.Table
    readers: dict[str, str]
    roles: dict[str, int]
    simulated: int


def raw_reads(store: Store, now: Snapshot) -> Reads:
    """Read all that was said up to the moment of `now`, in any round, by its order."""
    decisions = _frame(store, _READ, tables.decision, now.last_id)
    last = int(pc.max(now.adjudications["id"]).as_py() or 0)
    judged = _frame(store, _JUDGED, tables.adjudication, last)
    invented = decisions["reason_code"] == SIMULATED
    invented |= decisions["supersedes"].isin(decisions.loc[invented, "id"])
    said = decisions[~invented]
    people = [*dict.fromkeys(said["name"]), *judged["name"]]
    readers = {str(name): f"R{number}" for number, name in enumerate(dict.fromkeys(people), 1)}
    return Reads(
        _reads(said, readers, now),
        _adjudications(judged, readers),
        readers,
        roles_of(store, readers),
        int(invented.sum()),
    )


def _frame(store: Store, columns: dict[str, Any], table: Any, last: int) -> pd.DataFrame:
    query = select(*(column.label(name) for name, column in columns.items())).where(table.c.id <= last)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(table.c.id)).all()
    return pd.DataFrame([tuple(row) for row in rows], columns=list(columns), dtype=object)


def _reads(said: pd.DataFrame, readers: dict[str, str], now: Snapshot) -> pa.Table:
    number = pd.Series(np.arange(1, len(said) + 1), index=said["id"].to_numpy(dtype=np.int64))
    back = said["answer"] == "retract"
    taken = said["id"].isin(said.loc[back, "supersedes"])
    stands = said["id"].isin(now.standing["id"].to_pylist())
    chance = pd.to_numeric(said["inclusion_probability"])
    made = said.assign(
        read=number.to_numpy(),
        reader=said["name"].map(readers),
        weight=1.0 / chance.where(chance > 0),
        supersedes=said["supersedes"].map(number.to_dict()),
        state=np.select([back, taken, stands], [STATES[3], STATES[2], STATES[0]], STATES[1]),
    )
    return _table(made, READS)


def _adjudications(judged: pd.DataFrame, readers: dict[str, str]) -> pa.Table:
    made = judged.assign(
        adjudication=np.arange(1, len(judged) + 1),
        adjudicator=judged["name"].map(readers),
        stands=~judged.duplicated(["stay_id", "label"], keep="last"),
    )
    return _table(made, ADJUDICATIONS)


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Make a table; what pandas takes for missing (None, nan) is null, and times are to the second."""
    columns = [pa.array(frame[field.name].astype(object).to_numpy(), field.type, from_pandas=True) for field in schema]
    whole = [pc.floor_temporal(c, unit="second") if pa.types.is_timestamp(c.type) else c for c in columns]
    return pa.table(whole, schema=schema)


def roles_of(store: Store, names: Iterable[str]) -> dict[str, int]:
    """Count people by role, as it is now."""
    with store.reading() as connection:
        roles = {str(row.name): str(row.role) for row in connection.execute(select(_P.name, _P.role))}
    found = pd.Series([roles.get(name, "unknown") for name in names], dtype=object).value_counts()
    return {str(role): int(count) for role, count in sorted(found.items())}


def without_names(reviewers: Any, readers: dict[str, str]) -> Any:
    """Replace people's names by R1, R2, … in a column that joins them by ``;``."""
    encoded = reviewers.combine_chunks().dictionary_encode()
    words = [
        ";".join(readers.get(name, SIMULATED_READER) for name in value.split(";"))
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(words, pa.string())).cast(pa.string())
