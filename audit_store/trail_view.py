"""The audit trail for people who may read it: filtered, in pages, in sentences, and as a file to hand over."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from audit_store import tables
from audit_store.chain import Finding
from audit_store.database import Store
from audit_store.errors import RoundError
from audit_store.ledger import Event, parsed
from audit_store.people import Person, log_access, require_now
from audit_store.rounds import open_round
from audit_store.trail_words import Names, kind_title, sentence

PAGE = 50
LONGEST_DOWNLOAD = 100_000
CSV_COLUMNS = ("event", "time_utc", "person", "kind", "sentence", "round", "label", "hash", "comment")
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


@dataclass(frozen=True)
class TrailLine:
    """One event as a person reads it: number, time (UTC), kind in words, who, what they did."""

    seq: int
    created_at: datetime
    kind: str
    actor: str
    text: str


@dataclass(frozen=True)
class TrailPage:
    """Some lines, latest first, how many there are in all, and the last event's number when they were read."""

    lines: tuple[TrailLine, ...]
    total: int
    up_to: int


def _chosen(chosen: TrailFilter) -> ColumnElement[bool]:
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
        which = _chosen(chosen)
        total = int(connection.execute(select(func.count()).select_from(tables.event).where(which)).scalar_one())
        query = select(tables.event).where(which).order_by(c.seq.desc()).limit(PAGE).offset(PAGE * page)
        events = [event for event in map(parsed, connection.execute(query).all()) if event is not None]
        names = _names(connection, store, events)
    lines = tuple(TrailLine(e.seq, e.created_at, kind_title(e.kind), e.actor, sentence(e, names)) for e in events)
    return TrailPage(lines, total, int(chosen.up_to or 0))


def trail_choices(store: Store, person: Person) -> tuple[dict[str, str], list[str], list[int]]:
    """List what the trail can be narrowed to: kinds (with their words), people who acted, rounds."""
    c = tables.event.c
    with store.reading() as connection:
        require_now(connection, person, "read_trail")
        kinds = sorted(str(kind) for kind in connection.execute(select(c.kind).distinct()).scalars())
        people = sorted(str(name) for name in connection.execute(select(c.actor).distinct()).scalars())
    return {kind: kind_title(kind) for kind in kinds}, people, sorted(store.workspace.round_ids(), reverse=True)


def _names(connection: Connection, store: Store, events: list[Event]) -> Names:
    try:
        labels: Mapping[str, str] = open_round(store.workspace).label_names
    except RoundError:
        labels = {}
    before: dict[int, Mapping[str, Any] | None] = {}
    if any(event.kind == "person" for event in events):
        last: dict[str, Mapping[str, Any]] = {}
        query = select(tables.event).where(tables.event.c.kind == "person").order_by(tables.event.c.seq)
        for event in filter(None, map(parsed, connection.execute(query).all())):
            before[event.seq] = last.get(str(event.data["name"]))
            last[str(event.data["name"])] = event.data
    return Names(labels, before)


def _events(
    store: Store, person: Person, chosen: TrailFilter, comments: bool
) -> tuple[list[tuple[Event, str | None]], Names]:
    with store.reading() as connection:
        require_now(connection, person, "read_trail")
    log_access(store, person, "comment" if comments else "trail_download")
    c, t = tables.event.c, tables.comment.c
    with store.reading() as connection:
        query = select(tables.event).where(_chosen(chosen)).order_by(c.seq.desc()).limit(LONGEST_DOWNLOAD)
        events = [event for event in map(parsed, connection.execute(query).all()) if event is not None][::-1]
        texts: dict[int, str | None] = {}
        if comments:
            texts = {int(row.id): row.text for row in connection.execute(select(t.id, t.text)).all()}
        names = _names(connection, store, events)
    return [(event, texts.get(int(event.data.get("comment_id") or 0))) for event in events], names


def json_lines(store: Store, person: Person, chosen: TrailFilter, *, comments: bool = False) -> bytes:
    """Give the filtered trail as JSON lines, oldest first: what each event's hash covers, and the hashes.

    Parameters
    ----------
    store, person, chosen
        As `trail_page`; at most the latest `LONGEST_DOWNLOAD` events.
    comments
        Also the text of comments: whoever may read the trail may redact them or reads everything. Else they stand by
        their digests alone. The trail notes which of the two was downloaded.
    """
    rows, _ = _events(store, person, chosen, comments)
    return "".join(_json_rows(rows)).encode()


def _json_rows(rows: list[tuple[Event, str | None]]) -> Iterator[str]:
    for event, text in rows:
        body: dict[str, Any] = {
            "event": {
                "seq": event.seq,
                "at": event.created_at.isoformat(),
                "kind": event.kind,
                "actor": event.actor,
                "data": event.data,
            },
            "prev_hash": event.prev_hash,
            "hash": event.hash,
        }
        if text is not None:
            body["comment"] = text
        yield json.dumps(body, ensure_ascii=False, sort_keys=True) + "\n"


def csv_text(store: Store, person: Person, chosen: TrailFilter, *, comments: bool = False) -> bytes:
    """Give the filtered trail as CSV (`CSV_COLUMNS`), oldest first; as `json_lines`, in sentences."""
    rows, names = _events(store, person, chosen, comments)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for event, text in rows:
        key = event.data.get("label_key")
        label = "" if key is None else names.labels.get(str(key), str(key))
        row = [
            event.seq,
            event.created_at.isoformat(sep=" ", timespec="seconds"),
            _cell(event.actor),
            kind_title(event.kind),
            _cell(sentence(event, names)),
            event.data.get("round_id", ""),
            _cell(label),
            event.hash,
            _cell(text or ""),
        ]
        writer.writerow(row)
    return out.getvalue().encode()


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a cell for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def finding_words(finding: Finding) -> str:
    """Tell the first row that does not hold."""
    row = "" if finding.row == "-" else f", row {finding.row}"
    return f"{finding.where}{row}: {finding.what}"
