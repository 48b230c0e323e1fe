"""What a press on the pair page does: checked against the page shown, saved before anything moves."""

import time

import streamlit as st

from app import desk as desks
from app import session
from app.components import reveal
from app.desk import Desk, Sheet
from audit_store.decisions import new_token, record_together, undo
from audit_store.errors import DecisionError, RoundError
from audit_store.queue import Item, find_item, item_token
from audit_store.readers import readers_of

TOO_SOON = "That key came as the page changed, so nothing was written. Press it again."


def _desk() -> Desk:
    desk: Desk = st.session_state["desk"]
    return desk


@session.guarded
def answer(token: str, name: str, answers: dict[str, str]) -> None:
    desk, now = _desk(), time.monotonic()
    if not desk.accepts(token, f"answer_{name}", now):
        if desk.pressed_once(f"answer_{name}") and desk.on_screen(token):
            session.say(TOO_SOON)
        return
    context = session.context()
    desk.touch(now)
    sheet, item = desk.sheet(context), desk.item
    if item is None or {key: d.answer for key, d in sheet.answers.items()} == answers:
        return
    changed = {k: v for k, v in answers.items() if k not in sheet.answers or sheet.answers[k].answer != v}
    write_answers(context, desk, sheet, item, changed)
    if not desk.pause and len(changed) == len(item.label_keys):
        desk.move(1)


def write_answers(context: session.Context, desk: Desk, sheet: Sheet, item: Item, answers: dict[str, str]) -> None:
    """Record answers under the page's token; once they are on disk the page gets a new one."""
    made = desks.readings(context, desk, item, sheet, answers)
    try:
        written = record_together(context.store, context.person, made, sheet.token)
    except DecisionError:
        desk.sheets.pop(item.token, None)  # what the store has is not what the page showed: read it again
        raise
    sheet.answers.update({decision.label_key: decision for decision in written})
    sheet.seen = True
    sheet.token = new_token()
    sheet.seconds = 0.0
    who = [readers_of(context.store, item.stay_id, key) for key in item.label_keys]
    sheet.others = any(readers.others(context.person.name) for readers in who)
    pairs = [context.round_file.pair(item.stay_id, key) for key in item.label_keys]
    desk.last_line = reveal.line_html(pairs, sheet.answers, others=sheet.others)


def _rewrite(desk: Desk, item: Item) -> None:
    """Write the standing answer again with another certainty, reason or comment; without one there is nothing to."""
    sheet = desk.sheets[item.token]
    if sheet.answered:
        context = session.context()
        same = {key: decision.answer for key, decision in sheet.answers.items()}
        write_answers(context, desk, sheet, item, same)


@session.guarded
def certainty(token: str) -> None:
    desk = _desk()
    if not desk.accepts(token, "certainty", time.monotonic()):
        return
    sheet = desk.sheet(session.context())
    sheet.certainty = "low" if sheet.certainty == "high" else "high"
    if desk.item is not None:
        _rewrite(desk, desk.item)


@session.guarded
def details(item: Item, key: str, name: str) -> None:
    """Keep the reason or comment of the item it was given for, even if the page has moved on since."""
    desk = _desk()
    sheet = desk.sheets.get(item.token)
    if sheet is not None:
        setattr(sheet, name, st.session_state[key] if name == "reason_code" else str(st.session_state[key] or ""))
        _rewrite(desk, item)


@session.guarded
def take_back(token: str) -> None:
    desk = _desk()
    if desk.accepts(token, "undo", time.monotonic()):
        _take_back(desk)


@session.guarded
def take_back_last() -> None:
    """Undo from the batch's closing page, where no pair is on the screen."""
    desk = _desk()
    if desk.let_go("undo", time.monotonic()):
        _take_back(desk)


def _take_back(desk: Desk) -> None:
    context = session.context()
    first = undo(context.store, context.person, new_token())[0]
    item = next(
        (i for i in desk.items if i.stay_id == first.stay_id and first.label_key in i.label_keys),
        None,
    ) or _from_elsewhere(context, first.stay_id, first.label_key)
    if item is None:
        session.say("Taken back. That pair is not in this round any more, so it can't be shown here.")
        return
    desk.last_line = ""
    before = desk.sheets.pop(item.token, None)
    desk.bring(item)
    sheet = desk.sheet(context)
    if before is not None and not sheet.answered:
        sheet.comment, sheet.certainty, sheet.reason_code = before.comment, before.certainty, before.reason_code
    words = "the answer before it stands again" if sheet.answered else "your next answer counts as given after seeing"
    session.say(f"Taken back; {words}.")


def _from_elsewhere(context: session.Context, stay_id: int, label_key: str) -> Item | None:
    """The item of a pair that lies in another batch; None where this round does not hold it."""
    groups = context.round_file.label_groups.values()
    keys = next((group for group in groups if label_key in group), (label_key,))
    try:
        token = item_token(context.store.workspace, stay_id, keys)
        return find_item(context.store, context.round_file, token)
    except RoundError:
        return None


@session.guarded
def jump(token: str, place: str) -> None:
    """Go to another question of the same patient."""
    desk, now = _desk(), time.monotonic()
    item = next((other for other in desk.of_patient() if other.token == place), None)
    if item is None or not desk.accepts(token, f"jump_{place}", now, seen=False):
        return
    desk.touch(now)
    desk.bring(item)
    desk.last_line = ""


@session.guarded
def move(token: str, steps: int) -> None:
    desk, now = _desk(), time.monotonic()
    item = desk.item
    if item is not None and not desk.accepts(token, f"move_{steps}", now, seen=False):
        return
    desk.touch(now)
    desk.move(steps)
    desk.last_line = ""


@session.guarded
def turn_notes(token: str) -> None:
    desk = _desk()
    if not desk.accepts(token, "notes", time.monotonic(), seen=False):
        return
    desk.whole_notes = not desk.whole_notes


@session.guarded
def another_batch() -> None:
    """Draw the next batch from the closing page; a J still held from the last pair does not."""
    desk = _desk()
    if not desk.let_go("move_1", time.monotonic()):
        return
    fresh = desks.open_batch(session.context(), desk.chosen, fresh=True)
    fresh.pause = desk.pause
    fresh.patient_mode = desk.patient_mode
    st.session_state["desk"] = fresh


def set_pause() -> None:
    _desk().pause = bool(st.session_state["pause"])


def set_patient_mode() -> None:
    """Turn patient mode on or off; kept for the session."""
    desk = _desk()
    desk.patient_mode = st.session_state["patient_mode"] = bool(st.session_state["patient_toggle"])
    desk.gathered = None
