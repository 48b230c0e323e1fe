"""Walking the ledger's chain and what follows from it, and making the projections anew.

Each finding names the first row that does not hold. Two tables are left out, `session` and `sign_in_failure`: they
say who is signed in at the moment and who mistyped, are overwritten all the time, and nothing follows from them.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Table, delete, select

from audit_store import tables
from audit_store.assignments import expanded, handed_over
from audit_store.database import GENESIS, Store
from audit_store.errors import ChainError
from audit_store.fileio import blake, canonical_json
from audit_store.ledger import Event, append, event_hash, head_in, parsed, parsed_text, projected, walk
from audit_store.people import Person, require_now
from audit_store.projections import Finding, Projections, Stored, account_row, as_stored, rows_as_stored, shown
from audit_store.tables import REVISION

__all__ = ["Finding", "check_ledger", "rebuild", "verify_head"]


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
    with store.reading() as connection, as_stored(connection):
        yield from _damage(connection)
        yield from _schema(connection)
        walked = _Walked(connection)
        if walked.broken is not None:
            yield walked.broken
            return
        yield from walked.projections.end()
        yield from _people(connection, walked)
        yield from _comments(connection, walked)
        yield from _head_row(connection, walked)


def _damage(connection: Connection) -> Iterator[Finding]:
    """Look over an SQLite file as a whole: its pages and indexes, and that nothing in it acts by itself."""
    if connection.dialect.name != "sqlite":
        return
    said = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if said != "ok":
        yield Finding("decisions.sqlite", "-", "is damaged: a table and its index or its rules don't agree")
    acting = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')").scalar()
    if acting is not None:
        yield Finding("decisions.sqlite", shown(acting), "is a trigger or view that does not belong there")


def _schema(connection: Connection) -> Iterator[Finding]:
    rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    if list(rows) != [REVISION]:
        yield Finding("alembic_version", "-", f"does not say schema {REVISION} alone")


class _Walked:
    """The chain walked once, with the tables beside it.

    Attributes
    ----------
    broken
        The first event that does not hold, or None; the rest is then of no use.
    count, hash
        Of the last event.
    first, last
        First and last event of each account.
    claimed
        Digest of each comment, by its number, as the events say.
    redacted
        Numbers of comments that were removed.
    """

    def __init__(self, connection: Connection) -> None:
        self.broken: Finding | None = None
        self.count, self.hash = 0, GENESIS
        self.first: dict[str, Event] = {}
        self.last: dict[str, Event] = {}
        self.claimed: dict[int, str] = {}
        self.redacted: set[int] = set()
        self.projections = Projections(connection, _handovers(connection))
        self._stored = Stored(connection, tables.event)
        for row in rows_as_stored(connection, tables.event):
            event, wrong = self._checked(dict(zip(self._stored.names, row, strict=True)), row)
            if event is not None:
                wrong = self._take(event)
            if wrong is not None:
                self.broken = Finding("event", str(self.count + 1), wrong)
                return
            self.count, self.hash = self.count + 1, str(event.hash if event else "")

    def _checked(self, held: dict[str, Any], row: tuple[Any, ...]) -> tuple[Event | None, str | None]:
        if held["seq"] != self.count + 1:
            return None, f"is missing: the next one is {shown(held['seq'])}"
        if held["prev_hash"] != self.hash:
            return None, "does not follow from the event before it"
        if _hash_of(held) != held["hash"]:
            return None, "was changed: its hash does not match its text"
        event = parsed_text(held["payload"], self.hash, held["hash"])
        if event is None:
            return None, "its text is not an event"
        said = {"seq": event.seq, "created_at": event.created_at, "kind": event.kind, "actor": event.actor}
        if self._stored.differing(row, said):
            return None, "its columns do not match its text"
        return event, None

    def _take(self, event: Event) -> str | None:
        """Compare what follows from an event, and keep what the other tables need of it."""
        try:
            self.projections.expect(event)
            if event.kind == "person":
                name = str(event.data["name"])
                self.first.setdefault(name, event)
                self.last[name] = event
            elif event.kind == "redact":
                self.redacted.add(int(event.data["comment_id"]))
            elif event.data.get("comment_id") is not None:
                self.claimed[int(event.data["comment_id"])] = str(event.data["comment_digest"])
        except (KeyError, TypeError, ValueError):
            return "its text is not an event of its kind"
        return None


def _handovers(connection: Connection) -> list[Event]:
    """Events of handovers whose hash matches their text; where one does not, the chain breaks there anyway."""
    c = tables.event.c
    query = select(c.payload, c.prev_hash, c.hash).where(c.kind == "handover").order_by(c.seq)
    rows = [row._asdict() for row in connection.execute(query).all()]
    sound = (row for row in rows if _hash_of(row) == row["hash"])
    events = (parsed_text(row["payload"], row["prev_hash"], row["hash"]) for row in sound)
    return [event for event in events if event is not None and isinstance(event.data.get("rows"), list)]


def _hash_of(held: Mapping[str, Any]) -> str | None:
    """Hash of an event as it is stored; None where what is stored is not text."""
    payload, before = held["payload"], held["prev_hash"]
    if not isinstance(payload, str) or not isinstance(before, str):
        return None
    try:
        return event_hash(before, payload)
    except UnicodeEncodeError:
        return None


def _head_row(connection: Connection, walked: _Walked) -> Iterator[Finding]:
    rows = connection.execute(select(tables.head.c.events, tables.head.c.hash)).all()
    if not rows:
        yield Finding("head", "-", "is missing")
    elif (rows[0].events, rows[0].hash) != (walked.count, walked.hash):
        yield Finding(
            "head", shown(rows[0].events), f"is not the last event's ({walked.count}): a tail was cut or added"
        )


def _people(connection: Connection, walked: _Walked) -> Iterator[Finding]:
    stored = Stored(connection, tables.person)
    seen = set()
    for row in rows_as_stored(connection, tables.person):
        held = dict(zip(stored.names, row, strict=True))
        name = held["name"]
        seen.add(name)
        if name not in walked.last:
            yield Finding("person", shown(name), "stands in no event of the ledger")
            continue
        wrong = stored.differing(row, account_row(walked.last[name], walked.first[name]))
        if wrong:
            yield Finding("person", shown(name), f"differs from the ledger in {', '.join(wrong)}")
        elif _digest_of(held["credential"]) != held["credential_digest"]:
            yield Finding("person", shown(name), "has a password hash that the ledger does not know")
    for name in sorted(set(walked.last) - seen):
        yield Finding("person", shown(name), "is missing; the ledger has them")


def _digest_of(*parts: Any) -> str | None:
    try:
        return blake(*parts) if all(isinstance(part, str) for part in parts) else None
    except UnicodeEncodeError:
        return None


def _comments(connection: Connection, walked: _Walked) -> Iterator[Finding]:
    names = [column.name for column in tables.comment.columns]
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in rows_as_stored(connection, tables.comment)}
    for number in sorted(walked.claimed.keys() | rows.keys()):
        wrong = _comment(rows.get(number), walked.claimed.get(number), number in walked.redacted)
        if wrong is not None:
            yield Finding("comment", str(number), wrong)
            return


def _comment(row: Mapping[str, Any] | None, claimed: str | None, redacted: bool) -> str | None:
    """Tell what is wrong with a comment's row; None where nothing is."""
    if row is None:
        return "is missing"
    if claimed is None:
        return "stands in no event of the ledger"
    if row["digest"] != claimed:
        return "has another digest than its decision"
    if redacted:
        return None if row["text"] is None and row["salt"] == "" else "is there again, though it was removed"
    if row["text"] is None:
        return "was emptied without a redaction"
    return None if _digest_of("comment", row["salt"], row["text"]) == claimed else "was changed"


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
        with as_stored(connection):
            walked = _Walked(connection)
        if walked.broken is not None:
            raise ChainError("a chain that holds", str(walked.broken), "restore the store from a backup")
        written = _write_anew(connection, walked)
        data = {"rows": written, "tables": canonical_json(sorted(tables.PROJECTIONS))}
        append(connection, "rebuild", actor.name, data)
    store.forget()
    return written


def _write_anew(connection: Connection, walked: _Walked) -> int:
    for table in reversed(tables.PROJECTIONS.values()):
        connection.execute(delete(table))
    for name, event in walked.last.items():
        row = account_row(event, walked.first[name])
        connection.execute(tables.person.update().where(tables.person.c.name == name).values(**row))
    events: dict[str, dict[int, Event]] = {name: {} for name in tables.PROJECTIONS}
    for event in filter(None, map(parsed, walk(connection))):
        if event.kind in events:
            events[event.kind][event.seq] = event
        if event.kind == "batch":
            events["assignment"].update((row.seq, row) for row in expanded(event))
        elif event.kind == "handover":
            handed_over(event, events["assignment"])
    written = 0
    for table in tables.PROJECTIONS.values():
        rows = [_typed(table, projected(event, table)) for event in events[table.name].values()]
        if rows:
            connection.execute(table.insert(), rows)
        written += len(rows)
    return written


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Give times their type back: the ledger keeps them as text."""
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and isinstance(table.c[name].type, DateTime)
        else value
        for name, value in row.items()
    }
