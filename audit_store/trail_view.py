"""The audit trail for people who may read it: filtered, in pages, in sentences. As a file: `audit_store.trail_file`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from audit_store import tables
from audit_store.assignments import ROWS_OF_AN_EVENT
from audit_store.chain import Finding
from audit_store.database import Store
from audit_store.errors import RoundError
from audit_store.ledger import Event, parsed
from audit_store.people import PERMISSIONS, Person, require_now
from audit_store.rounds import open_round
from audit_store.trail_changes import clock_back
from audit_store.trail_words import Names, kind_title, sentence

PAGE = 50
PARTS: dict[str, str] = {
    "ledger": "the chain, event by event, and every table that follows from it",
    "rounds": "round files against their digests",
    "cohort": "the cohort's files against their digests",
    "exports": "exports against their manifests, and the heads these name",
}


@dataclass(frozen=True)
class TrailFilter:
    """Which events: all where a field is left as it is.

    Parameters
    ----------
    kinds
        Kinds of event.
    person
        Who acted.
    since, until
        From this moment on, and before that one; UTC without a zone.
    round_id
        Events that name this round.
    up_to
        Events up to this number, so that pages stay where they are while others act.
    """

    kinds: tuple[str, ...] = ()
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    round_id: int | None = None
    up_to: int | None = None

    def takes(self, event: Event) -> bool:
        """Whether an event is among them."""
        return not (
            (self.kinds and event.kind not in self.kinds)
            or (self.person is not None and event.actor != self.person)
            or (self.since is not None and event.created_at < self.since)
            or (self.until is not None and event.created_at >= self.until)
            or (self.up_to is not None and event.seq > self.up_to)
            or (self.round_id is not None and event.data.get("round_id") != self.round_id)
        )


@dataclass(frozen=True)
class TrailLine:
    """One event as a person reads it: number, time (UTC), kind in words, who, what they did.

    `clock` says by how much the clock stood behind the event before; empty where it did not.
    """

    seq: int
    created_at: datetime
    kind: str
    actor: str
    text: str
    clock: str = ""


@dataclass(frozen=True)
class TrailPage:
    """Some lines, latest first, how many there are in all, and the last event's number when they were read."""

    lines: tuple[TrailLine, ...]
    total: int
    up_to: int


def chosen_events(chosen: TrailFilter) -> ColumnElement[bool]:
    """Give the filter as a condition on `event`."""
    c = tables.event.c
    terms: list[ColumnElement[bool]] = [c.seq > 0]
    if chosen.kinds:
        terms.append(c.kind.in_(list(chosen.kinds)))
    if chosen.person is not None:
        terms.append(c.actor == chosen.person)
    if chosen.since is not None:
        terms.append(c.created_at >= chosen.since)
    if chosen.until is not None:
        terms.append(c.created_at < chosen.until)
    if chosen.up_to is not None:
        terms.append(c.seq <= chosen.up_to)
    if chosen.round_id is not None:
        # In canonical JSON no text holds an unescaped quote, so only the field itself is found.
        said = f'"round_id":{int(chosen.round_id)}'
        terms.append(
            or_(c.payload.contains(f"{said},", autoescape=True), c.payload.contains(f"{said}}}", autoescape=True))
        )
    return and_(*terms)


def trail_page(store: Store, person: Person, chosen: TrailFilter, page: int = 0) -> TrailPage:
    """Read one page of the trail.

    Parameters
    ----------
    store, person
        Where, and who reads (role that may read the trail).
    chosen
        Which events.
    page
        0 for the latest `PAGE` events, 1 for those before them …

    Raises
    ------
    AccessError
        When the role may not read the trail.
    """
    c = tables.event.c
    with store.reading() as connection:
        require_now(connection, person, "read_trail")
        last = int(connection.execute(select(tables.head.c.events)).scalar_one())
        if chosen.up_to is None:
            chosen = replace(chosen, up_to=last)
        which = chosen_events(chosen)
        total = int(connection.execute(select(func.count()).select_from(tables.event).where(which)).scalar_one())
        query = select(tables.event).where(which).order_by(c.seq.desc()).limit(PAGE).offset(PAGE * page)
        events = [event for event in map(parsed, connection.execute(query).all()) if event is not None]
        hidden = frozenset((stay, key) for stay, key, _ in still_open(connection, person))
        names = Names(label_names(store), before_them(connection, events), hidden)
        clocks = _clocks(connection, events)
    lines = tuple(
        TrailLine(e.seq, e.created_at, kind_title(e.kind), e.actor, sentence(e, names), clocks[e.seq]) for e in events
    )
    return TrailPage(lines, total, int(chosen.up_to or 0))


def trail_choices(store: Store, person: Person) -> tuple[dict[str, str], list[str], list[int]]:
    """List what the trail can be narrowed to: kinds (with their words), people who acted, rounds."""
    c = tables.event.c
    with store.reading() as connection:
        require_now(connection, person, "read_trail")
        kinds = sorted(str(kind) for kind in connection.execute(select(c.kind).distinct()).scalars())
        people = sorted(str(name) for name in connection.execute(select(c.actor).distinct()).scalars())
    return {kind: kind_title(kind) for kind in kinds}, people, sorted(store.workspace.round_ids(), reverse=True)


def before_them(connection: Connection, events: list[Event]) -> dict[int, Mapping[str, Any] | None]:
    """Give what each account was before the events that changed it, by the event's number."""
    if not any(event.kind == "person" for event in events):
        return {}
    before: dict[int, Mapping[str, Any] | None] = {}
    last: dict[str, Mapping[str, Any]] = {}
    query = select(tables.event).where(tables.event.c.kind == "person").order_by(tables.event.c.seq)
    for event in filter(None, map(parsed, connection.execute(query).all())):
        before[event.seq] = last.get(str(event.data["name"]))
        last[str(event.data["name"])] = event.data
    return before


def label_names(store: Store) -> Mapping[str, str]:
    """Labels' names by key, of the latest round; empty where there is none."""
    try:
        return open_round(store.workspace).label_names
    except RoundError:
        return {}


def still_open(connection: Connection, person: Person) -> frozenset[tuple[int, str, int]]:
    """List what was given out and is not answered: stay, label, and the number of the batch's event.

    Empty for those who never read: only a reader could be led by what a pair was drawn for, or by another's answer.
    """
    if "decide" not in PERMISSIONS.get(person.role, frozenset()):
        return frozenset()
    a, d = tables.assignment.c, tables.decision.c
    answered = exists().where(d.stay_id == a.stay_id, d.label_key == a.label_key, d.reviewer == a.person)
    rows = connection.execute(select(a.stay_id, a.label_key, a.id).where(~answered)).all()
    return frozenset((int(stay), str(key), int(number) // ROWS_OF_AN_EVENT) for stay, key, number in rows)


def _clocks(connection: Connection, events: list[Event]) -> dict[int, str]:
    """Say for each event how far its clock stood behind the event before."""
    c = tables.event.c
    query = select(c.seq, c.created_at).where(c.seq.in_([event.seq - 1 for event in events]))
    at = {int(row.seq): row.created_at for row in connection.execute(query)}
    return {event.seq: clock_back(at.get(event.seq - 1), event.created_at) for event in events}


def finding_words(finding: Finding) -> str:
    """Tell the first row that does not hold."""
    row = "" if finding.row == "-" else f", row {finding.row}"
    return f"{finding.where}{row}: {finding.what}"
