"""One label across a patient's visits: a word and a shape for each, the asked one as a question mark."""

from collections.abc import Sequence

import streamlit as st

from app.plain import escape
from audit_store.chart import LabelInfo, Strip, Visit
from audit_store.chart.records import StripCell

MANY = 8  # visits from which neighbours of the same state share a cell
SHAPES = {"present": "●", "absent": "○", "not coded": "–", "?": "?"}
PERSISTENCE = {
    "lifelong": "lifelong: once present, present at every later visit",
    "recurrent": "recurrent: comes and goes",
    "acute": "acute: of one visit",
}


def runs(cells: Sequence[StripCell]) -> list[list[StripCell]]:
    """Cells one by one; of many visits, neighbours of the same state together, the asked one alone."""
    out: list[list[StripCell]] = []
    for cell in cells:
        before = out[-1][-1] if out else None
        alike = before is not None and before.state == cell.state and not (before.is_this or cell.is_this)
        if alike and len(cells) > MANY:
            out[-1].append(cell)
        else:
            out.append([cell])
    return out


def _asked(now: bool) -> str:
    return "asked now" if now else "asked of you too"


def strip_html(name: str, strip: Strip, visits: Sequence[Visit], *, titled: bool) -> str:
    """The strip's markup; every word of it escaped."""
    groups = {visit.stay_id: visit.hospital_group for visit in visits}
    cells = []
    previous: int | None = None
    for run in runs(strip.cells):
        cell, last = run[0], run[-1]
        group = groups.get(cell.stay_id)
        joined = " same" if previous is not None and group == previous else ""
        previous = groups.get(last.stay_id)
        this = " this" if cell.is_this else ""
        state = escape(cell.state)
        code = f'<span class="code">{escape(cell.code)}</span>' if cell.code and cell.state == "present" else ""
        title = cell.title if cell is last else f"{cell.title}–{last.title}"
        cells.append(
            f'<li class="cell {state.replace(" ", "-").replace("?", "asked")}{this}{joined}">'
            f'<span class="visit">{escape(title)}</span>'
            f'<span class="shape" aria-hidden="true">{SHAPES.get(cell.state, "–")}</span>'
            f'<span class="state">{_asked(cell.is_this) if cell.state == "?" else state}</span>'
            f"{code if cell is last else ''}</li>"
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
