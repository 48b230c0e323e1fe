"""One label across a patient's visits: a word and a shape for each, the asked one as a question mark."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from audit_store.chart import LabelInfo, Strip, Visit

SHAPES = {"present": "●", "absent": "○", "not coded": "–", "?": "?"}
PERSISTENCE = {
    "lifelong": "lifelong: once present, present at every later visit",
    "recurrent": "recurrent: comes and goes",
    "acute": "acute: of one visit",
}


def _asked(now: bool) -> str:
    return "asked now" if now else "asked of you too"


def strip_html(name: str, strip: Strip, visits: Sequence[Visit], *, titled: bool) -> str:
    """The strip's markup; every word of it escaped."""
    groups = {visit.stay_id: visit.hospital_group for visit in visits}
    cells = []
    previous: int | None = None
    for cell in strip.cells:
        group = groups.get(cell.stay_id)
        joined = " same" if previous is not None and group == previous else ""
        previous = group
        this = " this" if cell.is_this else ""
        state = escape(cell.state)
        code = f'<span class="code">{escape(cell.code)}</span>' if cell.code and cell.state == "present" else ""
        cells.append(
            f'<li class="cell {state.replace(" ", "-").replace("?", "asked")}{this}{joined}">'
            f'<span class="visit">{escape(cell.title)}</span>'
            f'<span class="shape" aria-hidden="true">{SHAPES.get(cell.state, "–")}</span>'
            f'<span class="state">{_asked(cell.is_this) if cell.state == "?" else state}</span>{code}</li>'
        )
    order = "" if strip.order_known or len(strip.cells) < 2 else '<span class="tag">order unknown</span>'
    heading = escape(name) if titled else "This label"
    note = escape(strip.note or PERSISTENCE.get(strip.persistence, strip.persistence))
    odd = '<span class="shape odd" aria-hidden="true">!</span> ' if "Odd" in note else ""
    return (
        f'<section class="strip"><h2 class="pane">{heading} across visits {order}</h2>'
        f'<ol>{"".join(cells)}</ol><p class="soft{" odd-line" if odd else ""}">{odd}{note}</p></section>'
    )


def other_labels_html(labels: Sequence[LabelInfo], coded: bool) -> str:
    """What else was recorded at this stay."""
    if not coded:
        return '<p class="others"><b>Also recorded here</b> this stay has no coded diagnoses</p>'
    names = " · ".join(escape(label.name) for label in labels) or "nothing else of the label set"
    return f'<p class="others"><b>Also recorded here</b> {names}</p>'


def draw(
    strips: Sequence[tuple[str, Strip]], visits: Sequence[Visit], others: Sequence[LabelInfo], coded: bool
) -> None:
    """Draw a strip for each label asked about and the stay's other labels."""
    body = "".join(strip_html(name, strip, visits, titled=len(strips) > 1) for name, strip in strips)
    st.html(body + other_labels_html(others, coded))
