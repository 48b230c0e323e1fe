"""Batches as they stand: whose they are, what is in them, how far they are read; and passing them on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.assignments import assigned, of_round
from audit_store.database import Store, utc_now
from audit_store.errors import DecisionError
from audit_store.ledger import append
from audit_store.queue import Item, item_token
from audit_store.roles import PERMISSIONS, Person, person_of, require_live, require_now
from audit_store.round_reader import RoundFile
from audit_store.states import snapshot

PACE_ACTS = 100  # the pace is the median of so many of the latest acts

_SHOWN = ["batch", "person", "round_id", "created_at", "position", "stay_id", "label_key", "protocol_hash", "kind"]
_SHOWN += ["blind"]

Pair = tuple[int, str]


@dataclass(frozen=True)
class Batch:
    """A batch, as one person has it.

    Parameters
    ----------
    name, round_id, created_at
        Which one, and when it was drawn (UTC).
    person
        Who reads it; None: nobody yet.
    size, answered
        Number of items, and of those that the person has answered.
    protocol_hash, blind
        The protocol it was drawn by, and whether that asks for blind readings.
    kind
        Of `tables.BATCH_KINDS`; told as ``mixed`` to who reads it blind.
    """

    name: str
    person: str | None
    round_id: int
    created_at: datetime
    size: int
    answered: int
    protocol_hash: str
    kind: str
    blind: bool


@dataclass(frozen=True)
class Pace:
    """A person's own pace; nobody else is shown it.

    Parameters
    ----------
    answered_today
        Acts since midnight UTC.
    median_seconds
        Median active time of the latest acts; None before the first.
    left
        Items in the person's batches of the round that they have not answered.
    minutes_left
        Time for those at that pace; None before the first act.
    """

    answered_today: int
    median_seconds: float | None
    left: int
    minutes_left: float | None


def _of_person(store: Store, round_id: int, person: str | None) -> pa.Table:
    rows = of_round(store, round_id)
    mine = pc.is_null(rows["person"]) if person is None else pc.fill_null(pc.equal(rows["person"], person), False)
    return rows.filter(mine)


def answered_by(store: Store, person: str) -> set[Pair]:
    """Pairs, of any round, on which an answer of the person stands."""
    standing = snapshot(store).standing
    mine = standing.filter(pc.equal(standing["reviewer"], person))
    return set(zip(mine["stay_id"].to_pylist(), mine["label_key"].to_pylist(), strict=True))


def _batches(rows: pa.Table, answered: set[Pair]) -> list[Batch]:
    """Make the batches of one person's rows, oldest first."""
    frame: pd.DataFrame = rows.select(_SHOWN).to_pandas()
    pairs = zip(frame["stay_id"].tolist(), frame["label_key"].tolist(), strict=True)
    frame["said"] = np.fromiter((pair in answered for pair in pairs), dtype=bool, count=len(frame))
    found = []
    for name, part in frame.groupby("batch", sort=False):
        first = part.iloc[0]
        said = part.groupby("position")["said"].any()
        who = None if first["person"] is None or pd.isna(first["person"]) else str(first["person"])
        found.append(
            Batch(
                str(name),
                who,
                int(first["round_id"]),
                first["created_at"].to_pydatetime(),
                len(said),
                int(said.sum()),
                str(first["protocol_hash"]),
                str(first["kind"]),
                bool(first["blind"]),
            )
        )
    return found


def _told(batch: Batch, person: Person) -> Batch:
    """Hide what kind a batch is from who is to read it blind: it says what its pairs are."""
    hidden = batch.blind and "decide" in PERMISSIONS.get(person.role, frozenset())
    return replace(batch, kind="mixed") if hidden else batch


def batches_for(store: Store, round_file: RoundFile, person: Person) -> list[Batch]:
    """List a person's own batches of a round, oldest first, then those that are nobody's yet."""
    person = require_live(store, person, "view")
    round_id = round_file.info.round_id
    own = _batches(_of_person(store, round_id, person.name), answered_by(store, person.name))
    free = _batches(_of_person(store, round_id, None), set())
    return [_told(batch, person) for batch in [*own, *free]]


def open_batch_of(store: Store, round_file: RoundFile, person: Person) -> Batch | None:
    """Return the oldest of a person's batches with something unanswered; None where there is none."""
    person = require_live(store, person, "view")
    round_id = round_file.info.round_id
    own = _batches(_of_person(store, round_id, person.name), answered_by(store, person.name))
    return next((_told(batch, person) for batch in own if batch.answered < batch.size), None)


def batch_of(store: Store, round_id: int, name: str, person: str | None) -> Batch:
    """Return one batch as a person, or nobody, has it; DecisionError where they do not."""
    rows = _of_person(store, round_id, person)
    rows = rows.filter(pc.equal(rows["batch"], name))
    if rows.num_rows == 0:
        raise DecisionError("a batch of yours in this round", "another one", "open your batch from the queue")
    return _batches(rows, set() if person is None else answered_by(store, person))[0]


def batch_items(store: Store, round_file: RoundFile, person: Person, batch: Batch | str) -> list[Item]:
    """List the items of a person's batch by position, answered or not.

    Whether somebody else has answered one is not told before the person has: `Item.state` is ``open`` till then.

    Raises
    ------
    DecisionError
        When the batch is not this person's.
    """
    require_live(store, person, "view")
    name = batch if isinstance(batch, str) else batch.name
    rows = _of_person(store, round_file.info.round_id, person.name)
    rows = rows.filter(pc.equal(rows["batch"], name)).sort_by("position")
    if rows.num_rows == 0:
        raise DecisionError("a batch of your own", "another one", "open your batch from the queue")
    groups = {key: group for group, keys in round_file.label_groups.items() for key in keys}
    places: dict[int, tuple[int, str | None, tuple[str, ...]]] = {}
    for stay, key, position in zip(
        rows["stay_id"].to_pylist(), rows["label_key"].to_pylist(), rows["position"].to_pylist(), strict=True
    ):
        group = groups.get(key)
        places[position] = (stay, group, (key,) if group is None else round_file.label_groups[group])
    who = _patients(round_file, {stay for stay, _, _ in places.values()})
    answered, states = answered_by(store, person.name), _states(store, {stay for stay, _, _ in places.values()})
    found = []
    for position, (stay, group, keys) in sorted(places.items()):
        if stay not in who:  # no longer in the round's file: its link says so
            continue
        state = "open"
        if any((stay, key) in answered for key in keys):
            state = max((states.get((stay, key), "open") for key in keys), key=_ORDER.index)
        token = item_token(store.workspace, stay, keys)
        found.append(Item(token, stay, *who[stay], keys, group, state, name, position))
    return found


_ORDER = ("open", "locked", "adjudicated", "answered", "conflict")


def _patients(round_file: RoundFile, stays: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Patient and visit of each stay."""
    held = {"asked": pa.table({"stay_id": pa.array(sorted(stays), pa.int64())})}
    found = round_file.arrow(
        "SELECT DISTINCT stay_id, patient_id, visit FROM pair SEMI JOIN asked USING (stay_id)", held
    )
    return {row["stay_id"]: (row["patient_id"], row["visit"]) for row in found.to_pylist()}


def _states(store: Store, stays: Iterable[int]) -> dict[Pair, str]:
    states = snapshot(store).states
    hit = states.filter(pc.is_in(states["stay_id"], pa.array(sorted(stays), pa.int64())))
    return {(row["stay_id"], row["label_key"]): row["state"] for row in hit.to_pylist()}


def list_batches(store: Store, round_file: RoundFile) -> pd.DataFrame:
    """List every batch of a round, for stewards: one row per batch and person who has a part of it, oldest first.

    Columns: name, person (None: nobody yet), kind, size, answered, created_at (UTC), protocol_hash.
    """
    rows = of_round(store, round_file.info.round_id)
    people = pc.unique(rows["person"]).to_pylist()
    found: list[Batch] = []
    for person in people:
        mine = pc.is_null(rows["person"]) if person is None else pc.equal(rows["person"], person)
        said = set() if person is None else answered_by(store, person)
        found.extend(_batches(rows.filter(pc.fill_null(mine, False)), said))
    found.sort(key=lambda batch: (batch.created_at, batch.name, batch.person or ""))
    names = ["name", "person", "kind", "size", "answered", "created_at", "protocol_hash"]
    frame = pd.DataFrame([[getattr(batch, name) for name in names] for batch in found], columns=names)
    frame["person"] = pd.Series([batch.person for batch in found], index=frame.index, dtype=object)
    return frame


def take_batch(store: Store, person: Person, round_file: RoundFile, name: str) -> Batch:
    """Take a batch that is nobody's yet; what the person has answered or was given elsewhere stays with nobody.

    Raises
    ------
    DecisionError
        When nothing of it is left for this person, such as when somebody else was quicker.
    """
    round_id = round_file.info.round_id
    with store.writing() as connection:
        require_now(connection, person, "decide")
        rows = _of_person(store, round_id, None)
        rows = rows.filter(pc.equal(rows["batch"], name))
        ids = _for_person(store, round_id, rows, person.name)
        if not ids:
            raise DecisionError("an unassigned batch with pairs for you", "none", "take another one")
        _hand_over(connection, person, name, person.name, ids)
    return _told(batch_of(store, round_id, name, person.name), person)


def assign_batch(store: Store, person: Person, name: str, to: str) -> Batch:
    """Give what is unanswered of a batch to a reader; what they have answered or hold elsewhere stays where it is.

    Raises
    ------
    DecisionError
        When nothing of it can be given to them.
    AccessError
        When the person may not assign, or the reader may not decide.
    """
    with store.writing() as connection:
        require_now(connection, person, "assign")
        reader_of(connection, to)
        rows = assigned(store)
        rows = rows.filter(pc.and_(pc.equal(rows["batch"], name), pc.not_equal(pc.fill_null(rows["person"], ""), to)))
        if rows.num_rows == 0:
            raise DecisionError("a batch that is not theirs already", "another one", "pick one from the list")
        round_id = int(rows["round_id"][0].as_py())
        ids = _for_person(store, round_id, _unanswered(store, rows), to)
        if not ids:
            raise DecisionError("a batch with pairs for this reader", "none that is open", "draw a new batch")
        _hand_over(connection, person, name, to, ids)
    return batch_of(store, round_id, name, to)


def reader_of(connection: Connection, name: str) -> Person:
    """Return the account of somebody who is to read; AccessError where they may not decide."""
    row = connection.execute(select(tables.person).where(tables.person.c.name == name)).first()
    if row is None:
        raise DecisionError("a reader with an account", "none of that name", "add them on the page People")
    reader = person_of(row)
    require_now(connection, reader, "decide")
    return reader


def _unanswered(store: Store, rows: pa.Table) -> pa.Table:
    """Leave out the items that their present reader has answered."""
    said: dict[str, set[Pair]] = {
        name: answered_by(store, name) for name in pc.unique(rows["person"]).to_pylist() if name
    }
    done = {
        row["position"]
        for row in rows.select(["position", "person", "stay_id", "label_key"]).to_pylist()
        if (row["stay_id"], row["label_key"]) in said.get(row["person"] or "", ())
    }
    return rows.filter(pc.invert(pc.is_in(rows["position"], pa.array(sorted(done), pa.int32()))))


def _for_person(store: Store, round_id: int, rows: pa.Table, person: str) -> list[int]:
    """Ids of the rows whose item the person has neither answered nor been given."""
    held = _of_person(store, round_id, person)
    own = answered_by(store, person) | set(zip(held["stay_id"].to_pylist(), held["label_key"].to_pylist(), strict=True))
    asked = rows.select(["id", "position", "stay_id", "label_key"]).to_pylist()
    out = {row["position"] for row in asked if (row["stay_id"], row["label_key"]) in own}
    return [int(row["id"]) for row in asked if row["position"] not in out]


def _hand_over(connection: Connection, actor: Person, name: str, to: str, ids: list[int]) -> None:
    data: dict[str, Any] = {"batch": name, "person": to, "given": len(ids), "rows": ids}
    event = append(connection, "handover", actor.name, data)
    connection.execute(
        tables.handover.insert().values(
            id=event.seq, created_at=event.created_at, batch=name, person=to, given=len(ids)
        )
    )
    connection.execute(tables.assignment.update().where(tables.assignment.c.id.in_(ids)).values(person=to))


def pace(store: Store, round_file: RoundFile, person: Person) -> Pace:
    """Return a person's own pace and the time that their batches will take at it."""
    c = tables.decision.c
    midnight = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    said = select(c.act, c.created_at, c.active_seconds).where(c.reviewer == person.name, c.answer != "retract")
    with store.reading() as connection:
        latest = connection.execute(said.order_by(c.id.desc()).limit(PACE_ACTS)).all()
        today = connection.execute(
            select(c.act).where(c.reviewer == person.name, c.answer != "retract", c.created_at >= midnight).distinct()
        ).all()
    seconds = {row.act: row.active_seconds for row in latest if row.active_seconds is not None}
    median = float(np.median(list(seconds.values()))) if seconds else None
    own = _batches(_of_person(store, round_file.info.round_id, person.name), answered_by(store, person.name))
    left = sum(batch.size - batch.answered for batch in own)
    return Pace(len(today), median, left, None if median is None else left * median / 60)
