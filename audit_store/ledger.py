"""The ledger: one append-only chain of events. Everything that was ever done stands here; other tables follow from it.

hash = BLAKE2b-256(previous hash, canonical JSON of the event), each part preceded by its length. The chain shows any
row that was changed, removed or swapped; a cut tail shows against the head that stands outside the database and in
the manifests of exports.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Table, bindparam, select

from audit_store import tables
from audit_store.database import GENESIS, Store, utc_now
from audit_store.fileio import blake, canonical_json, parsed_json

WALK_STEP = 5_000
# Statements of every act are made once: to build one takes longer than to run it.
_INSERT = tables.event.insert()
_MOVE_HEAD = tables.head.update().values(events=bindparam("count"), hash=bindparam("digest"))


@dataclass(frozen=True)
class Head:
    """Number of events and the last one's hash (64 zeros where there is none)."""

    count: int
    hash: str


@dataclass(frozen=True)
class Event:
    """One event as appended: `data` is what it says of its kind's row."""

    seq: int
    created_at: datetime
    kind: str
    actor: str
    data: dict[str, Any]
    prev_hash: str
    hash: str


def event_hash(prev_hash: str, payload: str) -> str:
    """BLAKE2b-256 of the previous hash and an event's canonical JSON, in hex."""
    return blake(prev_hash, payload)


def append(connection: Connection, kind: str, actor: str, data: Mapping[str, Any]) -> Event:
    """Append an event in the caller's write transaction.

    Parameters
    ----------
    connection
        From `Store.writing`.
    kind
        What was done: decision, adjudication, export, round, person, access, sign_in …
    actor
        Name of the person who did it.
    data
        Plain values; times as `datetime` are written in ISO form.

    Returns
    -------
    Event
        With its sequence number, which is the id of the row that follows from it.
    """
    count, previous = Store.head_at(connection)
    seq = count + 1
    at = utc_now()
    payload = payload_text(seq, at, kind, actor, data)
    digest = event_hash(previous, payload)
    row = {"seq": seq, "created_at": at, "kind": kind, "actor": actor, "payload": payload}
    connection.execute(_INSERT, {**row, "prev_hash": previous, "hash": digest})
    connection.execute(_MOVE_HEAD, {"count": seq, "digest": digest})
    Store.remember_head(connection, seq, digest)
    return Event(seq, at, kind, actor, dict(data), previous, digest)


def payload_text(seq: int, at: datetime, kind: str, actor: str, data: Mapping[str, Any]) -> str:
    """Canonical JSON of an event: all that its hash covers besides the previous hash."""
    plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in data.items()}
    return canonical_json({"seq": seq, "at": at.isoformat(), "kind": kind, "actor": actor, "data": plain})


def projected(event: Event, table: Table) -> dict[str, Any]:
    """Give the row of `table` that follows from an event: its data, id, time and, where the table has them, hashes."""
    row = {column.name: event.data.get(column.name) for column in table.columns}
    row["id"] = event.seq
    row["created_at"] = event.created_at
    for name in ("prev_hash", "hash"):
        if name in row:
            row[name] = getattr(event, name)
    return row


def head(store: Store) -> Head:
    """Give the ledger's head."""
    with store.reading() as connection:
        return head_in(connection)


def head_in(connection: Connection) -> Head:
    """Give the ledger's head, within a transaction."""
    found = connection.execute(select(tables.head.c.events, tables.head.c.hash)).first()
    return Head(int(found.events), str(found.hash)) if found else Head(0, GENESIS)


def walk(connection: Connection, start: int = 0) -> Iterator[Any]:
    """Rows of `event` after `start`, in order, a few thousand at a time."""
    while True:
        query = select(tables.event).where(tables.event.c.seq > start).order_by(tables.event.c.seq).limit(WALK_STEP)
        rows = connection.execute(query).all()
        if not rows:
            return
        yield from rows
        start = rows[-1].seq


def parsed(row: Any) -> Event | None:
    """Read an event from its row; None where the JSON is not an event."""
    return parsed_text(row.payload, str(row.prev_hash), str(row.hash))


def parsed_text(payload: str, prev_hash: str, digest: str) -> Event | None:
    """Read an event from its canonical JSON and hashes; None where the JSON is not an event."""
    try:
        body = parsed_json(payload)
        return Event(
            int(body["seq"]),
            datetime.fromisoformat(body["at"]),
            str(body["kind"]),
            str(body["actor"]),
            dict(body["data"]),
            prev_hash,
            digest,
        )
    except (ValueError, KeyError, TypeError):
        return None


def trail(
    store: Store, kinds: Sequence[str] | None = None, actor: str | None = None, limit: int = 200, offset: int = 0
) -> pd.DataFrame:
    """Events, latest first: seq, created_at (UTC), kind, actor, payload (JSON text)."""
    c = tables.event.c
    query = select(c.seq, c.created_at, c.kind, c.actor, c.payload).order_by(c.seq.desc()).limit(limit).offset(offset)
    if kinds:
        query = query.where(c.kind.in_(list(kinds)))
    if actor is not None:
        query = query.where(c.actor == actor)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame([tuple(row) for row in rows], columns=["seq", "created_at", "kind", "actor", "payload"])


def events_of(store: Store, kind: str) -> list[Event]:
    """Events of one kind, oldest first."""
    query = select(tables.event).where(tables.event.c.kind == kind).order_by(tables.event.c.seq)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [event for event in map(parsed, rows) if event is not None]
