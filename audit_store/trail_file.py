"""The audit trail as a file for an inspector: JSON lines whose chain anyone can recompute, or a table of sentences."""

import csv
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import GENESIS, Store, utc_now
from audit_store.errors import StoreError
from audit_store.fileio import replacing
from audit_store.ledger import Event, head_in, parsed, walk
from audit_store.people import Person, log_access, require_now
from audit_store.plain import cell
from audit_store.tables import REVISION
from audit_store.trail_changes import Change, Changes
from audit_store.trail_view import TrailFilter, label_names, still_open
from audit_store.trail_words import Names, kind_title, sentence

TRAIL_VERSION = 1
SUFFIXES = (".jsonl", ".csv")
LONGEST_DOWNLOAD = 100_000
CSV_COLUMNS = (
    "event",
    "time_utc",
    "clock",
    "person",
    "kind",
    "sentence",
    "round",
    "label",
    "old_value",
    "new_value",
    "why",
    "hash",
    "comment",
)
RECIPE = (
    "hash = BLAKE2b (32 bytes, hex) over: length of prev_hash as 8 bytes big-endian, prev_hash, length of payload in "
    "UTF-8 as 8 bytes big-endian, payload. The first prev_hash is 64 zeros. Check with: python -m "
    "audit_store.trail_check FILE, or miracl verify --trail FILE"
)
WITHHELD = "what unanswered pairs were drawn for, or an answer on one; miracl trail --export has it"
_ALL = TrailFilter()


def write_trail(
    store: Store, person: Person, target: Path, chosen: TrailFilter = _ALL, *, comments: bool = False
) -> int:
    """Write the trail to a file: whole or not at all. That it was taken is an event, noted before anything is written.

    Parameters
    ----------
    store, person
        Where, and who takes it (role that may read the trail).
    target
        ``.jsonl``: every event with its hashes. ``.csv``: sentences, old and new values.
    chosen
        Which events; of a table alone, since the chain of chosen events can't be recomputed.
    comments
        Also the text of comments.

    Returns
    -------
    int
        Number of events written.

    Raises
    ------
    StoreError
        On another suffix, a filter on JSON lines, or a folder that can't be written in.
    AccessError
        When the role may not read the trail.
    """
    if target.suffix not in SUFFIXES:
        raise StoreError(f"a file name that ends in {' or '.join(SUFFIXES)}", "another", "name it so")
    if target.suffix == ".jsonl" and chosen != _ALL:
        raise StoreError(
            "every event in JSON lines", "a filter", "filter a table (.csv): part of a chain can't be checked"
        )
    if not target.parent.is_dir():
        raise StoreError("a folder to write in", "none of that name", "make it first")
    _note(store, person, comments)
    write = _lines if target.suffix == ".jsonl" else _table
    count = -1  # the first line is no event
    try:
        with (
            replacing(target) as aside,
            aside.open("w", encoding="utf-8", newline="") as out,
            store.reading() as connection,
        ):
            for text in write(store, connection, person, chosen, comments):
                out.write(text)
                count += 1
    except OSError as error:
        raise StoreError(
            "a file that can be written", error.strerror or type(error).__name__, "check the disk"
        ) from None
    return count


def json_lines(store: Store, person: Person, *, comments: bool = False) -> bytes:
    """Give the trail as JSON lines for a download: all of it, or the latest `LONGEST_DOWNLOAD` events."""
    _note(store, person, comments)
    with store.reading() as connection:
        return "".join(_lines(store, connection, person, _ALL, comments, LONGEST_DOWNLOAD)).encode()


def csv_text(store: Store, person: Person, chosen: TrailFilter, *, comments: bool = False) -> bytes:
    """Give what a filter leaves as a table (`CSV_COLUMNS`) for a download, at most the latest `LONGEST_DOWNLOAD`."""
    _note(store, person, comments)
    with store.reading() as connection:
        head, *rows = _table(store, connection, person, chosen, comments, LONGEST_DOWNLOAD)
        return "".join([head, *rows]).encode()


def _note(store: Store, person: Person, comments: bool) -> None:
    with store.reading() as connection:
        require_now(connection, person, "read_trail")
    log_access(store, person, "comment" if comments else "trail_download")


def _texts(connection: Connection, wanted: bool) -> dict[int, str]:
    c = tables.comment.c
    if not wanted:
        return {}
    return {int(row.id): str(row.text) for row in connection.execute(select(c.id, c.text).where(c.text.is_not(None)))}


def _text_of(event: Event, texts: dict[int, str]) -> str | None:
    number = event.data.get("comment_id")
    return None if number is None or event.kind == "redact" else texts.get(int(number))


def _lines(
    store: Store, connection: Connection, person: Person, chosen: TrailFilter, comments: bool, limit: int | None = None
) -> Iterator[str]:
    """Give the header, then each event; what would lead a reader is withheld, its hash stays."""
    last = head_in(connection)
    first = 1 if limit is None else max(1, last.count - limit + 1)
    opened = still_open(connection, person)
    batches, pairs = {number for _, _, number in opened}, {(stay, key) for stay, key, _ in opened}
    texts = _texts(connection, comments)
    before = select(tables.event.c.hash).where(tables.event.c.seq == first - 1)
    head = {
        "miracl_trail": TRAIL_VERSION,
        "workspace_id": store.workspace.workspace_id,
        "created_at": utc_now().isoformat() + "Z",
        "schema": REVISION,
        "miracl_audit": _version(),
        "head": {"count": last.count, "hash": last.hash},
        "first": first,
        "prev_hash": GENESIS if first == 1 else str(connection.execute(before).scalar_one()),
        "recipe": RECIPE,
    }
    yield _json(head)
    for row in walk(connection, first - 1):
        event = parsed(row)
        body: dict[str, Any] = {"seq": int(row.seq), "prev_hash": row.prev_hash, "hash": row.hash}
        pair = None if event is None else (event.data.get("stay_id"), event.data.get("label_key"))
        told = event is not None and event.kind in ("decision", "adjudication") and pair in pairs
        if int(row.seq) in batches or told:
            body["withheld"] = WITHHELD
        else:
            body["payload"] = row.payload
            text = None if event is None else _text_of(event, texts)
            if text is not None:
                body["comment"] = text
        yield _json(body)


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False) + "\n"


def _version() -> str | None:
    try:
        return version("miracl-audit")
    except PackageNotFoundError:
        return None


def _table(
    store: Store, connection: Connection, person: Person, chosen: TrailFilter, comments: bool, limit: int | None = None
) -> Iterator[str]:
    hidden = frozenset((stay, key) for stay, key, _ in still_open(connection, person))
    names = Names(label_names(store), {}, hidden)
    texts = _texts(connection, comments)
    rows = _rows(connection, chosen, names, texts)
    yield _csv(CSV_COLUMNS)
    for row in rows if limit is None else deque(rows, maxlen=limit):
        yield _csv(row)


def _rows(connection: Connection, chosen: TrailFilter, names: Names, texts: dict[int, str]) -> Iterator[list[str]]:
    """Walk the whole trail, since what an event changed follows from those before; give the chosen ones' rows."""
    changes = Changes()
    for event in filter(None, map(parsed, walk(connection))):
        change = changes.of(event)
        if not chosen.takes(event):
            continue
        pair = (event.data.get("stay_id"), event.data.get("label_key"))
        hidden = event.kind in ("decision", "adjudication") and pair in names.open_pairs
        if hidden:
            change = Change(why="withheld")
        key = event.data.get("label_key")
        yield [
            str(event.seq),
            event.created_at.isoformat(sep=" ", timespec="seconds"),
            changes.clock,
            event.actor,
            kind_title(event.kind),
            sentence(event, replace(names, before=changes.before)),
            "" if event.data.get("round_id") is None else str(event.data["round_id"]),
            "" if key is None else names.labels.get(str(key), str(key)),
            change.old,
            change.new,
            change.why,
            event.hash,
            "" if hidden else _text_of(event, texts) or "",
        ]


def _csv(values: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([cell(value) for value in values])
    return out.getvalue()
