"""Batches on the queue page: one's own, those anybody may take, and for stewards all of them and how to draw more."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app import session
from app.components.page import Column, Markup, section, table
from audit_store.batches import Batch, assign_batch, batches_for, draw_batch, take_batch
from audit_store.people import list_people
from audit_store.protocol import Protocol
from audit_store.roles import PERMISSIONS
from audit_store.worklist import sees_purpose

SHOWN = 3  # other batches of one's own with a button
NOBODY = ""  # no reader's name
KINDS = {
    "mixed": "mixed: flags with all the rest woven in",
    "flags": "flags alone",
    "second_reading": "second reading",
    "random_audit": "random audit",
    "controls": "controls",
}
SHORT = {name: words.split(":")[0] for name, words in KINDS.items()}


@session.guarded
def _take(name: str) -> None:
    context = session.context()
    batch = take_batch(context.store, context.person, context.round_file, name)
    session.say(f"Yours now: a batch of {batch.size}.")


@session.guarded
def _draw() -> None:
    context, state = session.context(), st.session_state
    reader = str(state["draw_reader"])
    batch = draw_batch(
        context.store,
        context.person,
        context.round_file,
        reader=None if reader == NOBODY else reader,
        unassigned=reader == NOBODY,
        labels=tuple(state.get("draw_for_labels", ())),
        kind=str(state["draw_kind"]),
        size=int(state["draw_size"]),
    )
    session.say("Nothing is left to draw of that kind." if batch is None else f"Drawn: a batch of {batch.size}.")


@session.guarded
def _assign() -> None:
    context, state = session.context(), st.session_state
    assign_batch(context.store, context.person, str(state["assign_batch"]), str(state["assign_to"]))
    session.say("The batch is theirs now.")


def _words(batch: Batch) -> str:
    return f"{batch.size} pairs, drawn {batch.created_at:%-d %B}"


def mine(
    context: session.Context, protocol: Protocol | None, at_hand: Batch | None, open_one: Callable[[str], None]
) -> dict[str, str]:
    """Other batches of one's own to open, and those to take; returns the words of one's own batches, by name."""
    if protocol is None or not context.may("decide"):
        return {}
    known = batches_for(context.store, context.round_file, context.person)
    own = [batch for batch in known if batch.person == context.person.name]
    free = [batch for batch in known if batch.person is None]
    others = [b for b in own if b.answered < b.size and (at_hand is None or b.name != at_hand.name)]
    if others or free:
        with st.container(key="more_batches", horizontal=True, vertical_alignment="center", gap="small"):
            for number, batch in enumerate(others[:SHOWN], start=1):
                words = f"Open another of yours: {batch.answered} of {batch.size} answered"
                st.button(words, key=f"open_batch_{number}", on_click=open_one, args=(batch.name,))
            if free:
                many = "A batch waits" if len(free) == 1 else f"{len(free)} batches wait"
                st.html(f'<span class="soft">{many} for a reader.</span>')
                st.button(f"Take one of {free[0].size} pairs", key="take", on_click=_take, args=(free[0].name,))
    return {batch.name: f"{number}: {_words(batch)}" for number, batch in enumerate(own, start=1)}


def named(made: pd.DataFrame, names: dict[str, str]) -> dict[str, str]:
    """Every batch in words, by name, numbered as in the table."""
    words: dict[str, str] = {}
    for number, row in enumerate(made.to_dict("records"), start=1):
        reader = names.get(row["person"], row["person"]) if isinstance(row["person"], str) else "nobody yet"
        words.setdefault(str(row["name"]), f"{number}: {reader}, {row['size']} pairs")
    return words


def all_batches(context: session.Context, protocol: Protocol | None, made: pd.DataFrame, names: dict[str, str]) -> None:
    """Every batch of the round with its reader, and for stewards the way to draw and to assign.

    Parameters
    ----------
    context, protocol
        Who looks at which round, and under which protocol.
    made
        As from `audit_store.batches.list_batches`.
    names
        People's names as shown, by account.
    """
    section("Batches")
    if made.empty:
        what = "Sign a protocol first." if protocol is None else "They are drawn when a reader starts, or here."
        st.html(f'<p class="empty">No batch is drawn in this round. {what}</p>')
    else:
        blind = None if sees_purpose(context.person, protocol) else context.person.name
        st.html(_table(made.to_dict("records"), names, blind))
    if protocol is not None and context.may("assign"):
        free = made[made["person"].isna()] if len(made) else made
        with st.expander("Draw a batch, or assign one"):
            _draw_form(context, protocol)
            if len(free):
                _assign_form(context, free["name"].tolist(), {str(r["name"]): r for r in free.to_dict("records")})


def _table(rows: Sequence[Mapping[Hashable, Any]], names: dict[str, str], blind: str | None) -> str:
    """All batches; what kind their own unfinished ones are of is not told to someone who reads blind (`blind`)."""
    columns = (
        Column("Batch"),
        Column("Reader"),
        Column("Kind"),
        Column("Drawn"),
        Column("Pairs", number=True),
        Column("Answered", number=True),
        Column("How far"),
    )
    body = []
    for number, row in enumerate(rows, start=1):
        size, answered = int(row["size"]), int(row["answered"])
        person = row["person"]
        reader: object = Markup("<i>nobody yet</i>") if not isinstance(person, str) else names.get(person, person)
        track = f'<div class="bar" role="img" aria-label="{answered} of {size}"><i class="part locked" style="width:'
        body.append(
            [
                f"{number}",
                reader,
                "told when read" if person == blind and answered < size else SHORT[str(row["kind"])],
                f"{row['created_at']:%-d %b %Y}",
                f"{size:,}",
                f"{answered:,}",
                Markup(f'{track}{100 * answered / max(size, 1):.1f}%"></i></div>'),
            ]
        )
    return table(columns, body, "Batches of this round")


def _readers(context: session.Context) -> dict[str, str]:
    """Active people whose role may decide, by name."""
    people = list_people(context.store)
    rows = people[people["active"] & people["role"].map(lambda role: "decide" in PERMISSIONS[role])]
    return dict(zip(rows["name"], rows["display_name"], strict=True))


def _draw_form(context: session.Context, protocol: Protocol) -> None:
    readers = _readers(context)
    names = context.round_file.label_names
    with st.container(horizontal=True, vertical_alignment="bottom", key="draw_form"):
        st.selectbox(
            "For", [NOBODY, *readers], format_func=lambda name: readers.get(name, "whoever takes it"), key="draw_reader"
        )
        st.selectbox("Kind", list(KINDS), format_func=KINDS.__getitem__, key="draw_kind")
        st.number_input("Pairs", 1, 500, protocol.terms.batch_size, key="draw_size")
        st.multiselect(
            "Of these labels",
            list(names),
            format_func=names.__getitem__,
            placeholder="all labels",
            key="draw_for_labels",
        )
        st.button("Draw the batch", key="draw", on_click=_draw)


def _assign_form(context: session.Context, free: Sequence[str], rows: Mapping[str, Mapping[Hashable, Any]]) -> None:
    readers = _readers(context)

    def words(name: str) -> str:
        row = rows[name]
        return f"{row['size']} pairs, {SHORT[str(row['kind'])]}, drawn {row['created_at']:%-d %b}"

    with st.container(horizontal=True, vertical_alignment="bottom", key="assign_form"):
        st.selectbox("Batch that nobody has taken", free, format_func=words, key="assign_batch")
        st.selectbox("Give it to", list(readers), format_func=readers.__getitem__, key="assign_to")
        st.button("Give it", key="assign", on_click=_assign)
