"""The queue: the batch at hand and the way into it, what waits, how far each label is, and the last ten acts."""

import streamlit as st

from app import desk as desks
from app import session
from app.components import batch_desk, label_counts, pair_links, pair_list
from app.components.page import empty, heading, section
from app.desk import Desk
from app.plain import escape
from audit_store.batches import Batch, Pace, list_batches, open_batch_of, pace
from audit_store.chart import masked
from audit_store.decisions import new_token, recent, undo
from audit_store.people import list_people
from audit_store.protocol import Protocol, current_protocol
from audit_store.queue import QueueFilter, count, counts, find_item
from audit_store.worklist import oversees

LEAD = "Each pair asks one question: did the patient have this during the stay?"


def _sit(desk: Desk) -> None:
    """Take a desk up; how a person likes to work goes with them."""
    before = st.session_state.get("desk")
    if isinstance(before, Desk):
        desk.pause, desk.patient_mode = before.pause, before.patient_mode
    st.session_state["desk"] = desk
    st.session_state["go"] = "review"


@session.guarded
def _start() -> None:
    labels = tuple(st.session_state.get("draw_labels", ()))
    desk = desks.open_batch(session.context(), QueueFilter(labels=labels))
    if not desk.items:
        session.say("Nothing is left to draw. Look at what was decided, or ask a steward for the next round.")
        return
    _sit(desk)


@session.guarded
def _go_on(name: str) -> None:
    _sit(desks.open_named(session.context(), name))


@session.guarded
def _open(token: str) -> None:
    context = session.context()
    item = find_item(context.store, context.round_file, token)
    desk = st.session_state.get("desk")
    if not isinstance(desk, Desk) or desk.round_id != context.round_file.info.round_id:
        desk = desks.desk_for(context, item)
    desk.bring(item)
    _sit(desk)


@session.guarded
def _take_back(token: str, decision_id: int) -> None:
    context = session.context()
    undo(context.store, context.person, token, decision_id)
    st.session_state.pop("desk", None)
    session.say("Taken back. The record keeps both rows.")


def _to_protocol() -> None:
    st.session_state["go"] = "protocol"


def _minutes(speed: Pace, left: int) -> str:
    """The time left in words, by the person's own pace."""
    if not left or speed.minutes_left is None:
        return ""
    minutes = max(1, round(speed.minutes_left))
    if minutes < 90:
        return f", about {minutes} {'minute' if minutes == 1 else 'minutes'} at your pace"
    return f", about {minutes / 60:.1f} hours at your pace"


def _progress(size: int, answered: int) -> str:
    share = 100 * answered / size if size else 0
    words = f"{answered} of {size} answered"
    return f'<div class="progress" role="img" aria-label="{words}"><i style="width:{share:.1f}%"></i></div>'


def _at_hand(context: session.Context, protocol: Protocol | None, batch: Batch | None) -> None:
    """The batch at hand, or the one to be drawn, and the one button."""
    speed = pace(context.store, context.round_file, context.person)
    waiting = 0
    if batch is not None and batch.size > batch.answered:
        left = batch.size - batch.answered
        title = f"Batch of {batch.size}"
        line = f"<b>{batch.answered}</b> answered, <b>{left}</b> left{_minutes(speed, left)}."
        picture = _progress(batch.size, batch.answered)
        button = f"{'Go on' if batch.answered else 'Start'} reviewing · {left} {'pair' if left == 1 else 'pairs'}"
    else:
        waiting = count(context.store, context.round_file, context.person)
        size = waiting if protocol is None else min(waiting, protocol.terms.batch_size)
        title = "Your next pairs" if protocol is None else "Your next batch"
        picture = ""
        if protocol is None:
            line = f"<b>{waiting:,}</b> {'pair is' if waiting == 1 else 'pairs are'} open to you."
            button = f"{'Go on' if 'desk' in st.session_state else 'Start'} reviewing · {waiting:,} open"
        else:
            line = f"<b>{size}</b> {'pair' if size == 1 else 'pairs'}, of {waiting:,} open to you."
            button = f"Start reviewing · {size} {'pair' if size == 1 else 'pairs'}"
        if not waiting:
            title, line = "Nothing left to read", "You have answered everything that is open to you in this round."
    with st.container(key="card_batch"):
        words, act = st.columns([3, 2], vertical_alignment="center")
        today = "" if not speed.answered_today else f"{speed.answered_today} answered today"
        each = "" if speed.median_seconds is None else f"{speed.median_seconds:.0f} seconds a pair, as a rule"
        own = " · ".join(part for part in (today, each) if part)
        own = f'<p class="soft">{own}. Only you see your pace.</p>' if own else ""
        words.html(f'<div class="batch"><h2>{title}</h2><p class="line">{line}</p>{picture}{own}</div>')
        with act, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            if (batch is None or batch.size <= batch.answered) and waiting:
                names = context.round_file.label_names
                with st.popover("Only some labels", key="draw_popover", help="Leave it, and all labels are drawn."):
                    st.multiselect(
                        "Labels to draw",
                        list(names),
                        format_func=names.__getitem__,
                        placeholder="all labels",
                        key="draw_labels",
                    )
            if batch is not None and batch.size > batch.answered:
                st.button(button, key="start", type="primary", on_click=_go_on, args=(batch.name,))
            elif waiting:
                st.button(button, key="start", type="primary", on_click=_start)


def _last_acts(context: session.Context) -> None:
    section("Your last acts")
    acts = recent(context.store, context.person, limit=desks.UNDO_REACH)
    if acts.empty:
        st.html('<p class="empty">Your last ten answers will stand here, each with a way to take it back.</p>')
        return
    with st.container(key="acts"):
        for act_id, rows in acts.groupby("act", sort=False):
            row = rows.iloc[0]
            taken = bool(rows["taken_back"].all())
            answers = dict(zip(rows["label_key"].astype(str), rows["answer"].astype(str), strict=True))
            name = escape(pair_list.question_words(context, list(answers)))
            said = f"{name}: <b>{escape(pair_list.answer_words(context, answers))}</b>"
            kind = " gone" if taken else ""
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                after = " taken back" if taken else ""
                st.html(
                    f'<p class="act"><span class="soft">{masked(int(row["stay_id"]))}</span> '
                    f'<span class="said{kind}">{said}</span>{after}</p>'
                )
                if not taken:
                    st.button(
                        "Take back",
                        key=f"take_back_{row['id']}",
                        type="tertiary",
                        on_click=_take_back,
                        args=(st.session_state.setdefault(f"take_back_token_{act_id}", new_token()), int(row["id"])),
                    )


def _unsigned(context: session.Context) -> None:
    if not context.may("sign_protocol"):
        return
    with st.container(horizontal=True, vertical_alignment="center", key="unsigned"):
        st.html(
            '<p class="note-line">No protocol is signed: everyone reads the free queue, without controls, second '
            "readers or a random audit, so nothing can be said of the noise that is left.</p>"
        )
        st.button("Sign a protocol", key="to_protocol", on_click=_to_protocol)


def render() -> None:
    """The batch at hand first; below it all that a reader may look up."""
    context = session.context()
    heading("Queue", LEAD if context.may("decide") else "What is read, by label and by pair. Your role reads along.")
    figures = counts(context.store, context.round_file)
    if not int(figures["flagged"].sum()):
        empty(
            "Nothing to read",
            "This round flagged no pair. Train the next round with a larger budget: miracl train --budget N.",
        )
        return
    protocol = current_protocol(context.store)
    if protocol is None:
        _unsigned(context)
    batch = None
    if context.may("decide"):
        batch = open_batch_of(context.store, context.round_file, context.person) if protocol is not None else None
        _at_hand(context, protocol, batch)
    people = list_people(context.store)
    shown = dict(zip(people["name"], people["display_name"], strict=True))
    offered = batch_desk.mine(context, protocol, batch, _go_on)
    every = list_batches(context.store, context.round_file) if oversees(context.person) else None
    if every is not None:
        offered = batch_desk.named(every, shown)
    choices = pair_list.Choices(offered, pair_list.readers_for(context, shown))
    if context.may("decide"):
        left, right = st.columns([13, 7], gap="large")
        with right:
            _last_acts(context)
    else:
        left = st.container()
    with left:
        section("Pairs")
        pair_list.draw(context, protocol, choices)
    if every is not None:
        batch_desk.all_batches(context, protocol, every, shown)
    section("By label")
    st.html(f'<div class="by-label">{label_counts.html(figures)}</div>')
    pair_links.listen(_open)
