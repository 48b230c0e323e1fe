"""The next round: the command to copy, a button where this machine can train, how far it is, and a way to stop it."""

from datetime import UTC, datetime

import streamlit as st

from app import session
from app.plain import escape
from audit_store.next_round import (
    NextRound,
    next_round_status,
    shown_command,
    start_next_round,
    stop_next_round,
    trainer_installed,
)

WATCH_SECONDS = 2.0
AT_WORK = ("running", "elsewhere")


def show(context: session.Context) -> None:
    """The card; redrawn by itself while a trainer is at work."""
    place = context.store.workspace
    at_work = next_round_status(place).state in AT_WORK
    with st.container(key="card_next_round"):
        st.html("<h2>The next round</h2>")
        st.fragment(_watched, run_every=WATCH_SECONDS if at_work else None)(context, at_work)


def _watched(context: session.Context, at_work: bool) -> None:
    place = context.store.workspace
    now = next_round_status(place)
    if (now.state in AT_WORK) != at_work:
        st.rerun(scope="app")
    may = context.may("publish_round")
    if now.state in AT_WORK:
        _running(now, may)
        return
    st.html(outcome_html(now))
    if now.state == "finished" and now.round_id != context.round_file.info.round_id:
        st.button(
            f"Go to round {now.round_id}",
            key="take_up_round",
            type="primary",
            icon=":material/arrow_forward:",
            on_click=_take_up,
            args=(now.round_id,),
        )
    _offer(context, now, may)


def _running(now: NextRound, may: bool) -> None:
    left, right = st.columns([5, 1.4], gap="medium", vertical_alignment="center")
    with left:
        share = now.epoch / now.epochs if now.epochs else 0.0
        st.progress(min(share, 1.0), text=progress_words(now))
        if now.state == "running":
            st.html(f'<p class="soft">{escape(who_words(now))}</p>')
    if now.state == "running" and may:
        right.button(
            "Stop at once" if now.stop_asked else "Stop",
            key="stop_round",
            icon=":material/stop:",
            on_click=_stop,
            help="What is finished is kept; starting again goes on from there.",
        )


def _offer(context: session.Context, now: NextRound, may: bool) -> None:
    """The way to start: a button for those who may, where this machine can; the command for all others."""
    place = context.store.workspace
    here = trainer_installed()
    helped = False
    if may:
        helped = st.checkbox(
            "Also measure whether the decisions help: train a second time without them (twice the time)",
            key="train_did_it_help",
        )
    if may and here:
        word = "Go on with" if now.state in ("stopped", "unfinished", "failed") else "Start"
        wanted = place.next_round()
        st.button(
            f"{word} round {wanted}",
            key="start_round",
            icon=":material/play_arrow:",
            on_click=_start,
            args=(helped,),
        )
    words = "Or on the command line, in the folder that holds the workspace:" if may and here else _why_not(may)
    st.html(f'<p class="soft">{escape(words)}</p>')
    st.code(shown_command(place, did_it_help=helped), language=None, wrap_lines=True)


def _why_not(may: bool) -> str:
    if may:
        return "The trainer is not installed beside these pages. Run this where it is, in the workspace's folder:"
    return "A steward starts it, here or on the machine that trains:"


def outcome_html(now: NextRound) -> str:
    """What became of the last one, and what a next one will do; a paragraph."""
    reads = "It reads every decision made so far: settled labels are locked in and the rest is judged anew."
    kind, line = {
        "finished": ("note-line", f"Round {now.round_id} is ready. Batches already begun stay as they are."),
        "stopped": (
            "note-line",
            f"Round {now.round_id} was stopped after epoch {now.epoch} of {now.epochs}. "
            "It goes on from there, with the decisions it began with.",
        ),
        "failed": ("warn", f"Round {now.round_id} could not be finished: {now.line}."),
        "unfinished": ("note-line", f"Round {now.round_id} was begun and not finished: epoch {now.epoch} is done."),
    }.get(now.state, ("", reads))
    return f'<p class="{kind}" role="status">{escape(line)}</p>'


def progress_words(now: NextRound) -> str:
    """`Round 3: epoch 12 of 30, about 2 min left`; the stage where no epoch runs."""
    twin = " once more, without the decisions" if now.twin else ""
    if now.stop_asked:
        return f"Round {now.round_id}: stopping at the end of this step; {now.epoch} epochs are done"
    if not now.epoch:
        return f"Round {now.round_id}{twin}: {now.stage or 'getting ready'}"
    if now.epoch >= now.epochs:
        return f"Round {now.round_id}{twin}: trained; {now.stage or 'being written'}"
    left = "" if now.seconds_left is None else f", {time_words(now.seconds_left)} left"
    return f"Round {now.round_id}{twin}: epoch {now.epoch} of {now.epochs} done{left}"


def time_words(seconds: float) -> str:
    """`75` → ``about 1 min``; `8000` → ``about 2 h 13 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60:02d} min"


def who_words(now: NextRound) -> str:
    """Who started it, and how long ago."""
    try:
        began = datetime.fromisoformat(now.started_at).replace(tzinfo=UTC)
    except ValueError:
        return f"started by {now.actor}"
    return f"started by {now.actor} at {began:%H:%M} UTC; it goes on when this page is closed"


@session.guarded
def _start(helped: bool) -> None:
    context = session.context()
    before = next_round_status(context.store.workspace)
    now = start_next_round(context.store, context.person, did_it_help=helped)
    if before.state in AT_WORK:
        session.say(f"Round {now.round_id} is already being trained.")


@session.guarded
def _stop() -> None:
    context = session.context()
    stop_next_round(context.store, context.person)


@session.guarded
def _take_up(round_id: int) -> None:
    session.take_up(round_id)
    st.session_state.pop("round_shown", None)
    session.say(f"You are on round {round_id} now.")
