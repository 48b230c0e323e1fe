"""Walking the ledger's chain and what follows from it, and making the projections anew.

Each finding names the first row that does not hold.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Table, delete, select

from audit_store import tables
from audit_store.assignments import expanded, handed_over
from audit_store.comments import comment_digest
from audit_store.database import GENESIS, Store, read_head_file
from audit_store.errors import ChainError
from audit_store.fileio import blake, canonical_json
from audit_store.ledger import Event, append, event_hash, head_in, parsed, projected, walk
from audit_store.people import Person, require_now

_PERSON_FIELDS = ("display_name", "role", "credential_digest", "active", "demo")
_LATER_PERSON_FIELDS = {  # as before schema 0002 and 0004
    "temporary": False,
    "attestation": None,
    "attestation_expires": None,
    "issuer": None,
    "subject_digest": None,
}


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: where (a table or file), which row (its number or name), and what is wrong."""

    where: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.row}: {self.what}"


def verify_head(store: Store, count: int, digest: str) -> Finding | None:
    """Check that the chain still holds the head that stood somewhere else once: a cut tail shows so."""
    with store.reading() as connection:
        if count == 0:
            return None if digest == GENESIS else Finding("head", "0", "is not the empty ledger's")
        row = connection.execute(select(tables.event.c.hash).where(tables.event.c.seq == count)).first()
        last = head_in(connection).count
    if row is None:
        return Finding("event", str(count), f"is missing: the ledger ends at {last}, its tail was cut")
    if row.hash != digest:
        return Finding("event", str(count), "has another hash than the head that was kept")
    return None


def check_ledger(store: Store) -> Iterator[Finding]:
    """Check the chain, its head, and every table that follows from it."""
    with store.reading() as connection:
        broken, events, people = _walk_chain(connection)
        if broken is not None:
            yield broken
            return
        kept = head_in(connection)
        outside = read_head_file(store.workspace.head_file)
        for table in tables.PROJECTIONS.values():
            yield from _projection(connection, table, events[table.name])
        yield from _people(connection, people)
        yield from _comments(connection)
        last = connection.execute(
            select(tables.event.c.seq, tables.event.c.hash).order_by(tables.event.c.seq.desc()).limit(1)
        ).first()
    end = (int(last.seq), str(last.hash)) if last else (0, GENESIS)
    if (kept.count, kept.hash) != end:
        yield Finding("head", str(kept.count), f"is not the last event's ({end[0]}): a tail was cut or added")
    if outside is None:
        if kept.count:
            yield Finding(store.workspace.head_file.name, "-", "is missing or unreadable")
    else:
        lost = verify_head(store, *outside)
        if lost is not None:
            yield Finding(store.workspace.head_file.name, str(outside[0]), f"event {lost.row} {lost.what}")


def _walk_chain(connection: Connection) -> tuple[Finding | None, dict[str, dict[int, Event]], dict[str, Event]]:
    """Walk the chain; return the first break, and the events by projection and the last one of each person."""
    events: dict[str, dict[int, Event]] = {name: {} for name in tables.PROJECTIONS}
    people: dict[str, Event] = {}
    previous, expected = GENESIS, 1
    for row in walk(connection):
        wrong = _wrong(row, previous, expected)
        event = parsed(row)
        if wrong is None and event is None:
            wrong = "its text is not an event"
        if wrong is not None or event is None:
            return Finding("event", str(expected), str(wrong)), events, people
        if event.kind in events:
            events[event.kind][event.seq] = event
        elif event.kind == "person":
            people[str(event.data["name"])] = event
        if event.kind == "batch":
            events["assignment"].update((row.seq, row) for row in expanded(event))
        elif event.kind == "handover":
            handed_over(event, events["assignment"])
        previous, expected = str(row.hash), expected + 1
    return None, events, people


def _wrong(row: Any, previous: str, expected: int) -> str | None:
    if row.seq != expected:
        return f"is missing: the next one is {row.seq}"
    if row.prev_hash != previous:
        return "does not follow from the event before it"
    if event_hash(row.prev_hash, row.payload) != row.hash:
        return "was changed: its hash does not match its text"
    event = parsed(row)
    if event is None:
        return "its text is not an event"
    if (event.seq, event.created_at, event.kind, event.actor) != (row.seq, row.created_at, row.kind, row.actor):
        return "its columns do not match its text"
    return None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _projection(connection: Connection, table: Table, events: dict[int, Event]) -> Iterator[Finding]:
    seen = 0
    for row in connection.execute(select(table).order_by(table.c.id)):
        event = events.get(int(row.id))
        if event is None:
            yield Finding(table.name, str(row.id), "stands in no event of the ledger")
            return
        wanted = projected(event, table)
        wrong = [name for name, value in wanted.items() if _plain(getattr(row, name)) != _plain(value)]
        if wrong:
            yield Finding(table.name, str(row.id), f"differs from the ledger in {', '.join(wrong)}")
            return
        seen += 1
    if seen < len(events):
        present = set(connection.execute(select(table.c.id)).scalars().all())
        missing = min(set(events) - present)
        yield Finding(table.name, str(missing), "is missing; the ledger has it")


def _person_fields(event: Event) -> dict[str, Any]:
    """Give what an event says of a person's row; events of earlier schemas say less."""
    later = {name: event.data.get(name, value) for name, value in _LATER_PERSON_FIELDS.items()}
    return {**{name: event.data[name] for name in _PERSON_FIELDS}, **later}


def _people(connection: Connection, people: dict[str, Event]) -> Iterator[Finding]:
    rows = connection.execute(select(tables.person).order_by(tables.person.c.name)).all()
    for row in rows:
        event = people.get(str(row.name))
        if event is None:
            yield Finding("person", str(row.name), "stands in no event of the ledger")
        elif any(getattr(row, name) != value for name, value in _person_fields(event).items()):
            yield Finding("person", str(row.name), "differs from the ledger")
        elif blake(str(row.credential)) != row.credential_digest:
            yield Finding("person", str(row.name), "has a password hash that the ledger does not know")
    for name in sorted(set(people) - {str(row.name) for row in rows}):
        yield Finding("person", name, "is missing; the ledger has them")


def _comments(connection: Connection) -> Iterator[Finding]:
    t = tables.comment
    claimed: dict[int, str] = {}
    for source in (tables.decision, tables.adjudication):
        query = select(source.c.comment_id, source.c.comment_digest).where(source.c.comment_id.is_not(None))
        claimed.update((int(row.comment_id), str(row.comment_digest)) for row in connection.execute(query))
    rows = {int(row.id): row for row in connection.execute(select(t))}
    redacted = set()
    query = select(tables.event.c.payload).where(tables.event.c.kind == "redact")
    for payload in connection.execute(query).scalars():
        redacted.add(int(json.loads(payload)["data"]["comment_id"]))
    for number in sorted(claimed.keys() | rows.keys()):
        row = rows.get(number)
        if row is None:
            yield Finding("comment", str(number), "is missing")
        elif row.digest != claimed.get(number):
            yield Finding("comment", str(number), "has another digest than its decision")
        elif row.text is None and number not in redacted:
            yield Finding("comment", str(number), "was emptied without a redaction")
        elif row.text is not None and comment_digest(row.salt, row.text) != row.digest:
            yield Finding("comment", str(number), "was changed")
        else:
            continue
        return


def rebuild(store: Store, actor: Person) -> int:
    """Make the projections anew from the ledger; return the number of rows written.

    Password hashes and comments are not in the ledger and stay as they are.

    Raises
    ------
    ChainError
        When the chain itself does not hold: it is then restored from a backup, not rebuilt from.
    """
    with store.writing() as connection:
        require_now(connection, actor, "manage_people")
        broken, events, people = _walk_chain(connection)
        if broken is not None:
            raise ChainError("a chain that holds", str(broken), "restore the store from a backup")
        for table in reversed(tables.PROJECTIONS.values()):
            connection.execute(delete(table))
        written = 0
        for name, event in people.items():
            connection.execute(
                tables.person.update().where(tables.person.c.name == name).values(**_person_fields(event))
            )
        for table in tables.PROJECTIONS.values():
            rows = [_typed(table, projected(event, table)) for event in events[table.name].values()]
            if rows:
                connection.execute(table.insert(), rows)
            written += len(rows)
        append(connection, "rebuild", actor.name, {"rows": written, "tables": canonical_json(sorted(events))})
    store.forget()
    return written


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Give times their type back: the ledger keeps them as text."""
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and isinstance(table.c[name].type, DateTime)
        else value
        for name, value in row.items()
    }
