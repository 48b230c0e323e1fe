"""Patient mode's list: what is asked about one patient, what is answered, and where one is."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from app.desk import Desk
from app.plain import escape, literal
from audit_store.chart import Visit
from audit_store.queue import Item

SHOWN, BEFORE = 7, 2  # most questions listed, and how many of those stand before the current one
NOW, DONE, OPEN = "▶ now", "✓ answered", "○ open"


def standing(item: Item, desk: Desk) -> str:
    """Where a question of the patient stands, with its own shape."""
    if desk.item is not None and item.token == desk.item.token:
        return NOW
    sheet = desk.sheets.get(item.token)
    return DONE if sheet is not None and sheet.answered else OPEN


def _tally(done: int, count: int) -> str:
    more = f", {count - SHOWN} not listed here" if count > SHOWN else ""
    return f"{done} answered{more}"


def window(count: int, at: int) -> range:
    """Which of many questions are listed: those about the current one, always as many, so that nothing jumps."""
    first = max(0, min(at - BEFORE, count - SHOWN))
    return range(first, min(count, first + SHOWN))


def draw(
    desk: Desk,
    visits: Sequence[Visit],
    names: Mapping[str, str],
    page_token: str,
    on_jump: Callable[..., None],
) -> None:
    """Draw the questions of the patient on the screen; each is a button that goes to it.

    Parameters
    ----------
    names
        Label names by key.
    page_token
        Token of the page shown; goes with the press.
    """
    items = desk.of_patient()
    titles = {visit.stay_id: visit.title for visit in visits}
    done = sum(1 for item in items if (sheet := desk.sheets.get(item.token)) is not None and sheet.answered)
    with st.container(key="patient_list", gap=None):
        words = f"{len(items)} questions about this patient" if len(items) > 1 else "One question about this patient"
        st.html(f'<h2 class="pane">{words} <span class="soft">{escape(_tally(done, len(items)))}</span></h2>')
        at = next(place for place, item in enumerate(items) if standing(item, desk) == NOW)
        listed = window(len(items), at)
        for place, item in enumerate(items):
            if place not in listed:
                continue
            state = standing(item, desk)
            name = " / ".join(names.get(key, key) for key in item.label_keys)
            shown = f"{state} · {literal(name)}"
            if len(visits) > 1:
                shown += f" · {titles.get(item.stay_id, '')}"
            st.button(
                f"**{shown}**" if state == NOW else shown,
                key=f"question_{place}",
                type="tertiary",
                on_click=on_jump,
                args=(page_token, item.token),
                width="stretch",
            )
