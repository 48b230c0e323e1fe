"""The list of pairs on the queue page, with its filters: twelve at a time, each row a link by a random token."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import session
from app.components.page import Column, table
from app.components.pair_links import link
from app.plain import escape
from audit_store.chart import masked
from audit_store.protocol import Protocol
from audit_store.rounds import RoundFile, open_round
from audit_store.states import STATES
from audit_store.worklist import WorkFilter, Worklist, orders_for, oversees, sees_purpose, worklist

ROWS = 12
ANY = "any"
SHOW: dict[str, tuple[tuple[str, ...], str]] = {
    "open": (("open",), "to read"),
    "done": (("answered", "conflict", "adjudicated", "locked"), "answered"),
    "answered": (("answered",), "not certain"),
    "conflict": (("conflict",), "readers disagree"),
    "adjudicated": (("adjudicated",), "adjudicated"),
    "locked": (("locked",), "locked"),
    ANY: (STATES, "all"),
}
ORDERS = {
    "batch": "as drawn",
    "suspicion": "most suspect",
    "probability": "probability of error",
    "patient": "patient by patient",
    "label": "label by label",
}
PURPOSES = {
    "flag": "flagged",
    "random_audit": "random audit",
    "double_review": "second reading",
    "control": "control",
}
DIRECTIONS = {"false_negative": "◇\u00a0missing", "false_positive": "◆\u00a0wrong"}
ANSWERS = {"present": "present", "absent": "absent", "cannot_tell": "can't say", "retract": "taken back"}
_OFFSET, _LAST = "list_offset", "list_filter"


@dataclass(frozen=True)
class Choices:
    """What the filters offer: batches by name, and readers by name, each with the words shown."""

    batches: dict[str, str]
    readers: dict[str, str]


@st.fragment
def draw(context: session.Context, protocol: Protocol | None, choices: Choices) -> None:
    """Filters, and the rows that they let through; a changed filter draws this part of the page alone."""
    try:
        round_file = _round(context)
        chosen = _filters(context, round_file, protocol, choices)
        if st.session_state.get(_LAST) != (chosen, round_file.info.round_id):
            st.session_state[_LAST], st.session_state[_OFFSET] = (chosen, round_file.info.round_id), 0
        offset = int(st.session_state[_OFFSET])
        found = worklist(context.store, round_file, context.person, protocol, chosen, ROWS, offset)
    except Exception as error:
        st.html(f'<p class="warn" role="alert">{escape(session.in_words(error))}</p>')
        return
    if not found.total:
        st.html(f'<p class="empty">{_nothing(chosen)}</p>')
        return
    here = round_file.info.round_id == context.round_file.info.round_id
    st.html(f'<div class="pairs">{_table(context, found, linked=here)}</div>')
    _paging(found.total, offset)


def _round(context: session.Context) -> RoundFile:
    number = st.session_state.get("filter_round", context.round_file.info.round_id)
    if number == context.round_file.info.round_id or number not in context.store.workspace.round_ids():
        return context.round_file
    return open_round(context.store.workspace, int(number))


def _filters(
    context: session.Context, round_file: RoundFile, protocol: Protocol | None, choices: Choices
) -> WorkFilter:
    current, rounds = context.round_file.info.round_id, context.store.workspace.round_ids()
    names = round_file.label_names
    with st.container(horizontal=True, key="filters", vertical_alignment="bottom", gap="small"):
        labels = st.multiselect(
            "Labels", list(names), format_func=names.__getitem__, placeholder="all labels", key="filter_labels"
        )
        show = st.selectbox("State", list(SHOW), format_func=lambda name: SHOW[name][1], key="filter_state")
        batch = _one("Batch", choices.batches, "all batches", "filter_batch") if choices.batches else None
        reader = _one("Reader", choices.readers, "anyone", "filter_reader") if len(choices.readers) > 1 else None
        if len(rounds) > 1:
            st.selectbox(
                "Round",
                sorted(rounds, reverse=True),
                index=sorted(rounds, reverse=True).index(current),
                format_func=lambda number: f"round {number}" + (" (this one)" if number == current else ""),
                key="filter_round",
                help="An earlier round lists what was decided in it.",
            )
        purpose = direction = None
        if sees_purpose(context.person, protocol) or show not in ("open", ANY):
            purpose = _one("Purpose", PURPOSES, "all purposes", "filter_purpose")
            direction = _one("Suspected", DIRECTIONS, "both", "filter_direction")
        orders = list(orders_for(context.person, protocol))
        first = "batch" if protocol is not None and not sees_purpose(context.person, protocol) else "suspicion"
        order = st.selectbox(
            "Order", orders, index=orders.index(first), format_func=ORDERS.__getitem__, key="filter_order"
        )
    return WorkFilter(tuple(labels), SHOW[str(show)][0], batch, reader, purpose, direction, str(order))


def _one(title: str, options: dict[str, str], every: str, key: str) -> str | None:
    """A filter of one of some words, or all."""
    chosen = st.selectbox(title, [ANY, *options], format_func=lambda name: options.get(name, every), key=key)
    return None if chosen == ANY else str(chosen)


def _nothing(chosen: WorkFilter) -> str:
    if chosen.states == ("open",) and not (chosen.labels or chosen.batch or chosen.reader):
        return "Nothing waits here. Start with the button above, or set State to “answered” to see what was decided."
    return "No pair with these filters. Set one of them back to all."


def _table(context: session.Context, found: Worklist, *, linked: bool) -> str:
    rows = found.rows.to_dict("records")
    wanted = {
        "answer": Column("Your answer"),
        "answers": Column("Answers"),
        "purpose": Column("Purpose"),
        "direction": Column("Suspected", help="the label as recorded: missing where it should be, or wrong"),
        "error_probability": Column("Probability", number=True, help="probability that the record is wrong"),
    }
    extra = {name: column for name, column in wanted.items() if any(row[name] is not None for row in rows)}
    if "answers" in extra:
        extra.pop("answer", None)
    columns = [Column("Stay"), Column("Visit", number=True), Column("Question"), Column("State"), *extra.values()]
    body = []
    for row in rows:
        words = question_words(context, row["label_keys"])
        cells: list[object] = [masked(int(row["stay_id"])), int(row["visit"])]
        cells += [link(row["token"], words) if linked else words, _state(row)]
        body.append(cells + [_cell(context, name, row) for name in extra])
    return table(columns, body, "Pairs")


def _state(row: Mapping[Hashable, Any]) -> str:
    return SHOW[row["state"]][1]


def _cell(context: session.Context, name: str, row: Mapping[Hashable, Any]) -> object:
    value = row[name]
    if value is None:
        return None
    if name == "purpose":
        return PURPOSES[value]
    if name == "direction":
        return DIRECTIONS[value]
    if name == "error_probability":
        return f"{value:.2f}"
    if name == "answers":
        said_by = (part.split(":", 1) for part in str(value).split(";"))
        return "; ".join(f"{who}: {ANSWERS[answer]}" for who, answer in said_by)
    return answer_words(context, dict(part.split(":", 1) for part in str(value).split(";")))


def question_words(context: session.Context, label_keys: Sequence[str]) -> str:
    """The label's name, or that of the labels that are decided together."""
    group = context.guidelines.group_of(label_keys[0]) if len(label_keys) > 1 else None
    return context.round_file.label_names.get(label_keys[0], label_keys[0]) if group is None else group.name


def answer_words(context: session.Context, said: Mapping[str, str]) -> str:
    """An answer in words; of labels decided together the one that is present, or that neither is."""
    if len(said) == 1 or len(set(said.values())) == 1:
        answer = next(iter(said.values()))
        return "neither" if len(said) > 1 and answer == "absent" else ANSWERS[answer]
    names = context.round_file.label_names
    present = [names.get(key, key) for key, answer in said.items() if answer == "present"]
    return ", ".join(present) if present else "; ".join(f"{names.get(k, k)}: {ANSWERS[a]}" for k, a in said.items())


def _paging(total: int, offset: int) -> None:
    def turn(step: int) -> None:
        st.session_state[_OFFSET] = max(0, offset + step)

    with st.container(horizontal=True, key="paging", vertical_alignment="center", gap="small"):
        last = min(offset + ROWS, total)
        st.html(f'<span class="soft">{offset + 1:,} to {last:,} of {total:,}</span>')
        if total > ROWS:
            st.button("Earlier", key="page_back", disabled=offset == 0, on_click=turn, args=(-ROWS,))
            st.button("Later", key="page_on", disabled=last == total, on_click=turn, args=(ROWS,))


def readers_for(context: session.Context, people: dict[str, str]) -> dict[str, str]:
    """Whose pairs a person may list: their own, and everyone's for those who oversee."""
    me = {context.person.name: "me"}
    return me | {name: words for name, words in people.items() if name not in me} if oversees(context.person) else me
