"""The adjudicator's bench: the cases at hand, and what each page shown may still write.

As the reviewer's desk, whose guards against held keys and double clicks it takes over; an act writes an adjudication.
"""

import time
from dataclasses import dataclass, field

import streamlit as st

from app import session
from app.desk import Desk, Sheet
from app.session import Context
from audit_store.adjudication import Adjudication, Rationale, adjudicate_together, adjudications_of, rationales
from audit_store.cases import conflict_items, is_reader
from audit_store.decisions import new_token
from audit_store.errors import DecisionError
from audit_store.queue import Item, QueueFilter, find_item

BENCH = "bench"


@dataclass
class CaseSheet(Sheet):
    """One case as this adjudicator has it before them.

    `mine`: their own last adjudication by label; `others`: another's that is later than what was known before theirs.
    """

    mine: dict[str, Adjudication] = field(default_factory=dict)
    earlier: dict[str, Adjudication] = field(default_factory=dict)
    overtook: dict[str, Adjudication] = field(default_factory=dict)
    said: dict[str, tuple[Rationale, ...]] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether this adjudicator has settled the case."""
        return bool(self.mine)


@dataclass
class Bench(Desk):
    """Cases, and the place among them."""

    unsure: bool = False
    own: int = 0
    gone: int = 0

    def case(self, context: Context) -> CaseSheet:
        """The sheet of the case on the screen; read from the store the first time."""
        item = self.item
        if item is None:
            raise LookupError("no case on the screen")
        kept = self.sheets.get(item.token)
        if not isinstance(kept, CaseSheet):
            kept = read_case(context, item)
            self.sheets[item.token] = kept
        return kept


def read_case(context: Context, item: Item) -> CaseSheet:
    """What the store has of a case: the readers' reasons without names, and earlier adjudications."""
    sheet = CaseSheet(new_token())
    for key in item.label_keys:
        sheet.said[key] = rationales(context.store, context.person, item.stay_id, key, item.label_keys)
        rows = adjudications_of(context.store, item.stay_id, key)
        own = [row for row in rows if row.adjudicator == context.person.name]
        if own:
            sheet.mine[key] = own[-1]
        if rows:
            sheet.earlier[key] = rows[-1]
    sheet.seen = bool(sheet.mine)
    return sheet


def open_bench(context: Context, unsure: bool = False) -> Bench:
    """What waits for this adjudicator now."""
    cases = conflict_items(context.store, context.round_file, context.person, unsure=unsure)
    return Bench(
        context.round_file.info.round_id,
        QueueFilter(),
        list(cases.items),
        unsure=unsure,
        own=cases.own,
        gone=cases.gone,
    )


def bring(context: Context, bench: Bench, token: str) -> None:
    """Put a case on the screen by its link.

    Raises
    ------
    RoundError
        When the link names no pair of this round.
    DecisionError
        When nobody has read the pair, or this person is one of its readers.
    """
    item = find_item(context.store, context.round_file, token)
    if is_reader(context.store, context.person, item.stay_id, item.label_keys):
        raise DecisionError("a pair that you did not read", "one that you did", "leave it to another adjudicator")
    if item.state == "open":
        raise DecisionError("a pair that someone read", "one that nobody did", "open one from the list")
    bench.bring(item)
    bench.sheets.pop(item.token, None)


def _bench() -> Bench:
    bench: Bench = st.session_state[BENCH]
    return bench


@session.guarded
def start(unsure: bool, token: str | None) -> None:
    """Open the cases at one of them, or at the first."""
    context = session.context()
    bench = open_bench(context, unsure)
    if token is not None:
        bring(context, bench, token)
    st.session_state[BENCH] = bench


@session.guarded
def leave() -> None:
    """Back to the list."""
    st.session_state.pop(BENCH, None)
    st.query_params.clear()


@session.guarded
def settle(token: str, name: str, answers: dict[str, str]) -> None:
    """Write an adjudication of the case on the screen, once."""
    bench, now = _bench(), time.monotonic()
    if not bench.accepts(token, f"settle_{name}", now):
        return
    context = session.context()
    item, sheet = bench.item, bench.case(context)
    if item is None or (sheet.mine and {key: row.answer for key, row in sheet.mine.items()} == answers):
        return
    _write(context, bench, item, sheet, answers)


def _write(context: Context, bench: Bench, item: Item, sheet: CaseSheet, answers: dict[str, str]) -> None:
    try:
        written = adjudicate_together(
            context.store,
            context.person,
            bench.round_id,
            item.stay_id,
            answers,
            comment=sheet.comment,
            token=sheet.token,
        )
    except DecisionError:
        bench.sheets.pop(item.token, None)  # what the store has is not what the page showed: read it again
        raise
    known = {key: row.id for key, row in sheet.earlier.items()}
    for row in written:
        rows = adjudications_of(context.store, item.stay_id, row.label_key)
        between = [r for r in rows if known.get(row.label_key, 0) < r.id < row.id and r.adjudicator != row.adjudicator]
        if between:
            sheet.overtook[row.label_key] = between[-1]
        sheet.mine[row.label_key] = row
        sheet.earlier[row.label_key] = row
    sheet.seen = True
    sheet.token = new_token()


@session.guarded
def comment(item: Item, key: str) -> None:
    """Keep the comment of the case it was typed for; after the answer the case is settled again with it."""
    bench = _bench()
    sheet = bench.sheets.get(item.token)
    if not isinstance(sheet, CaseSheet):
        return
    sheet.comment = str(st.session_state[key] or "")
    if sheet.answered and sheet.comment.strip():
        _write(session.context(), bench, item, sheet, {label: row.answer for label, row in sheet.mine.items()})


@session.guarded
def move(token: str, steps: int) -> None:
    """Go on or back among the cases."""
    bench = _bench()
    if bench.item is not None and not bench.accepts(token, f"move_{steps}", time.monotonic(), seen=False):
        return
    bench.move(steps)


@session.guarded
def turn_notes(token: str) -> None:
    """Whole notes, or back to the passages."""
    bench = _bench()
    if bench.accepts(token, "notes", time.monotonic(), seen=False):
        bench.whole_notes = not bench.whole_notes
