"""The answer bar: buttons and keys, the same before and after the answer, always in sight at the foot of the page.

P present, A absent, S can't say (for labels decided together 1, 2 and A); U undo, J next, K previous, N notes, H help,
L sure or not sure. C and R belong to the browser's frame and are left alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from app.desk import Desk, Sheet
from audit_store.guidelines import Group, ReasonCode
from audit_store.queue import Item

NO_REASON = "no reason given"
COMMENT_LIMIT = 2000
VALUES = ("absent", "present")

HELP = (
    ("P", "present: the patient had it during this stay"),
    ("A", "absent: the patient did not have it"),
    ("S", "can't say: the record does not settle it (not the same as later)"),
    ("1 · 2", "the first or the second of two labels decided together; A is then neither"),
    ("J", "next; before an answer this leaves the pair for later, after it this keeps the answer; then another batch"),
    ("K", "previous"),
    ("U", "undo your last act, up to ten of them; the record keeps both"),
    ("N", "whole notes, or back to the passages found"),
    ("L", "switch between sure and not sure; only a sure answer is locked in for the next round"),
    ("H", "this page; Escape closes it"),
)


@dataclass(frozen=True)
class Choice:
    """One answer a button gives: what it says, its key, and the answer for each label."""

    words: str
    key: str
    name: str
    answers: dict[str, str]


def choices(label_keys: Sequence[str], group: Group | None, recorded: Mapping[str, int] | None = None) -> list[Choice]:
    """The answers to one label, or to labels decided together.

    Parameters
    ----------
    recorded
        Where blindness is off: the recorded value {0, 1} by label. The buttons then say what the label will be.
    """
    given = _choices(label_keys, group)
    if recorded is None:
        return given
    return [replace(choice, words=_becomes(choice, recorded, len(label_keys) > 1)) for choice in given]


def _becomes(choice: Choice, recorded: Mapping[str, int], several: bool) -> str:
    """What the label will be: "Keep absent", "Relabel to present"."""
    if choice.name == "cannot_tell":
        return choice.words
    same = all(VALUES[recorded[key]] == answer for key, answer in choice.answers.items())
    if several:
        return f"{'Keep' if same else 'Relabel'}: {choice.words}"
    return f"{'Keep' if same else 'Relabel to'} {choice.name}"


def _choices(label_keys: Sequence[str], group: Group | None) -> list[Choice]:
    unsure = Choice("Can't say", "S", "cannot_tell", dict.fromkeys(label_keys, "cannot_tell"))
    if group is None or len(label_keys) < 2:
        return [
            Choice("Present", "P", "present", dict.fromkeys(label_keys, "present")),
            Choice("Absent", "A", "absent", dict.fromkeys(label_keys, "absent")),
            unsure,
        ]
    shortcuts = {"neither": "A", "first": "1", "second": "2"}
    order = {"first": 0, "second": 1, "neither": 2}
    given = [
        Choice(answer.text, shortcuts[answer.key], answer.key, {key: answer.values[key] for key in label_keys})
        for answer in sorted(group.answers, key=lambda answer: order[answer.key])
    ]
    return [*given, unsure]


def answer_bar(
    desk: Desk,
    item: Item,
    sheet: Sheet,
    given: Sequence[Choice],
    reason_codes: Sequence[ReasonCode],
    *,
    on_answer: Callable[..., None],
    on_undo: Callable[..., None],
    on_move: Callable[..., None],
    on_notes: Callable[..., None],
    on_certainty: Callable[..., None],
    on_details: Callable[..., None],
) -> None:
    """Draw the bar; each act carries the token of the page it was drawn on."""
    token, name = sheet.token, item.token
    standing = {key: decision.answer for key, decision in sheet.answers.items()}
    with st.container(horizontal=True, key="answers", gap="small", vertical_alignment="center"):
        for choice in given:
            chosen = sheet.answered and choice.answers == standing
            words = f"✓ {choice.words}" if chosen else choice.words
            st.button(
                words,
                key=f"answer_{choice.name}",
                shortcut=choice.key,
                on_click=on_answer,
                args=(token, choice.name, choice.answers),
                help=None,
            )
        st.button("Undo", key="undo", shortcut="U", type="tertiary", on_click=on_undo, args=(token,))
        st.button("Back", key="previous", shortcut="K", type="tertiary", on_click=on_move, args=(token, -1))
        st.button(
            "Keep, next" if sheet.answered else "Next",
            key="next",
            shortcut="J",
            type="primary" if sheet.answered else "tertiary",
            on_click=on_move,
            args=(token, 1),
        )
        notes = "Passages" if desk.whole_notes else "Whole notes"
        st.button(notes, key="notes", shortcut="N", type="tertiary", on_click=on_notes, args=(token,))
        sure = "Sure" if sheet.certainty == "high" else "Not sure"
        st.button(
            sure,
            key="certainty",
            shortcut="L",
            type="tertiary",
            icon=":material/check_circle:" if sheet.certainty == "high" else ":material/help:",
            on_click=on_certainty,
            args=(token,),
        )
        with st.popover("Comment", key="details"):
            codes = [None, *[code.code for code in reason_codes]]
            words_of = {code.code: code.text for code in reason_codes}
            st.selectbox(
                "Reason",
                codes,
                index=codes.index(sheet.reason_code) if sheet.reason_code in codes else 0,
                format_func=lambda code: NO_REASON if code is None else words_of[code],
                key=f"reason_{name}",
                on_change=on_details,
                args=(item, f"reason_{name}", "reason_code"),
            )
            st.text_area(
                "Comment",
                sheet.comment,
                max_chars=COMMENT_LIMIT,
                height=90,
                key=f"comment_{name}",
                on_change=on_details,
                args=(item, f"comment_{name}", "comment"),
                placeholder="Optional. Kept apart from the answer, so that it can be redacted.",
            )
        if st.button("Help", key="help", shortcut="H", type="tertiary"):
            help_page()


@st.dialog("Keys", width="medium")
def help_page() -> None:
    """The keys, in a window that Escape closes."""
    rows = "".join(f"<tr><th><kbd>{key}</kbd></th><td>{words}</td></tr>" for key, words in HELP)
    st.html(
        f'<table class="keys">{rows}</table><p class="soft">Say what is true of this stay; one key is saved at once. '
        "Reading blind, what the record and the model say appears after your answer. You can then change it; both "
        "answers are kept, the second marked as given after seeing them. A held key counts once.</p>"
    )
