"""Notes as text, never as markup: the passage that matters first, found terms and negations told apart.

A term's standing is a word beside it and a kind of underline; what moved the model (shown after the answer only) is a
dotted line above the words and is named so.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import streamlit as st

from app.plain import escape
from audit_store.chart import Note, Visit
from audit_store.terms import Mark, Passage, Segment, find_terms, segments

OPEN_CHARACTERS = 4000
WORDS = {
    "affirmed": "named",
    "negated": "negated",
    "family": "family",
    "uncertain": "possible",
    "historical": "history",
    "drug": "drug",
}


def mark_html(piece: Segment) -> str:
    """What moved the model, and which way (the style sheet draws ▲ or ▼ before it)."""
    way = "present" if piece.weight > 0 else "absent"
    return f'<mark class="model to-{way}" title="moved the model towards {way}">{escape(piece.text)}</mark>'


def body_html(pieces: Sequence[Segment]) -> str:
    """A run of pieces, escaped; a term that a model mark cuts in two stays one term."""
    parts = []
    for kind, run in groupby(pieces, key=lambda piece: piece.kind):
        inner = "".join(mark_html(piece) if piece.marked else escape(piece.text) for piece in run)
        parts.append(inner if kind == "plain" else f'<span class="term {escape(kind)}">{inner}</span>')
    return "".join(parts)


def when(hour: float | None) -> str:
    """When a note was written, in words."""
    return "time not known" if hour is None else f"{hour:.0f} h after admission to the unit"


def passage_html(passage: Passage, title: str, after_cutoff: bool, first: bool) -> str:
    """One passage with where it comes from."""
    tags = '<span class="tag">after the model\'s cut-off</span>' if after_cutoff else ""
    tags += '<span class="tag">for readers only</span>' if passage.readers_only else ""
    lead = " first" if first else ""
    return (
        f'<article class="passage{lead}"><header><b>{escape(title)}</b> · {escape(passage.category)} · '
        f"{when(passage.hour)} {tags}</header>"
        f'<div class="text">{body_html(passage.segments)}</div></article>'
    )


def note_html(note: Note, title: str, label_keys: Sequence[str], marks: Sequence[Mark], *, opened: bool) -> str:
    """A whole note, folded unless it is the first."""
    spans = sorted((s for key in label_keys for s in find_terms(note.text, key)), key=lambda s: (s.start, -s.end))
    apart = []
    end = 0
    for span in spans:
        if span.start >= end:
            apart.append(span)
            end = span.end
    mine = tuple(mark for mark in marks if mark.note_id == note.note_id)
    pieces = segments(note.text, apart, marks=mine)
    found = f" · {len(apart)} found" if apart else ""
    tags = '<span class="tag">after the model\'s cut-off</span>' if note.after_cutoff else ""
    return (
        f'<details class="note"{" open" if opened else ""}><summary><b>{escape(title)}</b> · {escape(note.category)}'
        f" · {when(note.hour)}{found} {tags}</summary>"
        f'<div class="text">{body_html(pieces)}</div></details>'
    )


def legend_html(kinds: Sequence[str], marked: bool) -> str:
    """What the underlines mean, for those that are on the page."""
    parts = [f'<span class="term {kind}">{WORDS[kind]}</span>' for kind in WORDS if kind in kinds]
    if marked:
        parts.append(
            '<mark class="model to-present">moved the model towards present</mark>'
            '<mark class="model to-absent">towards absent</mark>'
        )
    return f'<p class="legend">{" ".join(parts)}</p>' if parts else ""


def draw_passages(
    passages: Sequence[Passage],
    visits: Sequence[Visit],
    notes: Sequence[Note],
    marked: bool,
    this_stay: int | None = None,
) -> None:
    """The passages found, best first; without any, the notes themselves, those of `this_stay` opened first.

    One element in every case: a second one would stand below the next patient's passages until the page is through.
    """
    titles = {visit.stay_id: visit.title for visit in visits}
    late = {note.note_id for note in notes if note.after_cutoff}
    if not notes:
        st.html('<p class="empty">No notes were written, or none are in this data. Decide from the rest.</p>')
        return
    if not passages:
        words = '<p class="empty">No words for this condition were found in the notes. Here they are.</p>'
        st.html(words + _whole_html(sorted(notes, key=lambda note: note.stay_id != this_stay), titles, (), ()))
        return
    kinds = sorted({piece.kind for passage in passages for piece in passage.segments})
    body = "".join(
        passage_html(p, titles.get(p.stay_id, f"v{p.visit}"), p.note_id in late, i == 0) for i, p in enumerate(passages)
    )
    st.html(f'<section class="notes">{body}{legend_html(kinds, marked)}</section>')


def draw_whole(
    notes: Sequence[Note], titles: Mapping[int, str], label_keys: Sequence[str], marks: Sequence[Mark]
) -> None:
    """Notes in full, open as far as they are short."""
    if notes:
        st.html(_whole_html(notes, titles, label_keys, marks))
    else:
        st.html('<p class="empty">This visit has no notes in this data.</p>')


def _whole_html(
    notes: Sequence[Note], titles: Mapping[int, str], label_keys: Sequence[str], marks: Sequence[Mark]
) -> str:
    body, shown = "", 0
    for note in notes:
        opened = shown == 0 or shown + len(note.text) <= OPEN_CHARACTERS
        shown += len(note.text) if opened else 0
        body += note_html(note, titles.get(note.stay_id, f"v{note.visit}"), label_keys, marks, opened=opened)
    return f'<section class="notes">{body}</section>'
