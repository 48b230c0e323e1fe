"""What all pages are made of: the one heading, sections, empty states, tables, and charts that can be read aloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import streamlit as st

from app.plain import escape

AltairChart = (
    alt.Chart
    | alt.LayerChart
    | alt.FacetChart
    | alt.HConcatChart
    | alt.VConcatChart
    | alt.ConcatChart
    | alt.RepeatChart
)


class Markup(str):
    """Text that is HTML already; everything else put into a table is escaped."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, whether it holds figures (set right), and a longer name for a screen reader."""

    name: str
    number: bool = False
    help: str = ""


def heading(title: str, lead: str = "") -> None:
    """The one first-level heading of a page, and a soft line under it that says what the page is for."""
    below = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    st.html(f'<h1 class="page">{escape(title)}</h1>{below}')


def section(title: str) -> None:
    """A second-level heading."""
    st.html(f'<h2 class="section">{escape(title)}</h2>')


def empty(title: str, todo: str) -> None:
    """What there is not, and what to do next."""
    st.html(f'<section class="empty-page"><h2>{escape(title)}</h2><p>{escape(todo)}</p></section>')


def make_room(line: str, *, told: bool = False, notes: bool = True) -> None:
    """Leave room on a pair's page for the line at its foot, and for notes where the data have any.

    Parameters
    ----------
    line
        HTML of the line above the answers; of labels decided together its class says `two`.
    told
        Whether one more line stands under it.
    notes
        Whether any stay of the cohort has a note; without, the series get their room.
    """
    opening = line[: line.find(">")]
    room = "two" if " two" in opening else "told" if told else "one"
    share = "" if notes else " --notes: 0.2;"
    st.html(f"<i hidden></i><style>:root:root {{ --foot: var(--foot-{room});{share} }}</style>")


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], caption: str, *, hide_caption: bool = True
) -> str:
    """HTML of a table with header cells; the first cell of a row names the row.

    Parameters
    ----------
    columns
        One for each cell of a row.
    rows
        Cells in the order of the columns; `Markup` is taken as it is, None is an empty cell.
    caption
        What the table holds; read aloud, and shown unless `hide_caption`.
    hide_caption
        Whether the caption is for screen readers alone, as where a heading above says the same.
    """
    head = "".join(_head(column) for column in columns)
    body = "".join(
        "<tr>" + "".join(_cell(columns[place], cell, first=place == 0) for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    named = f"<caption{' class=sr' if hide_caption else ''}>{escape(caption)}</caption>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="table">{named}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    kind = ' class="n"' if column.number else ""
    long = f' title="{escape(column.help)}"' if column.help else ""
    return f'<th scope="col"{kind}{long}>{escape(column.name)}</th>'


def _cell(column: Column, cell: object, *, first: bool) -> str:
    text = cell if isinstance(cell, Markup) else escape("" if cell is None else str(cell))
    kind = ' class="n"' if column.number else ""
    return f'<th scope="row"{kind}>{text}</th>' if first else f"<td{kind}>{text}</td>"


def chart(picture: AltairChart | Mapping[str, Any], words: str, *, key: str | None = None) -> None:
    """A chart as wide as its place, with what it shows as its text.

    Parameters
    ----------
    picture
        An Altair chart, or a Vega-Lite specification.
    words
        What the picture shows, with its figures; read aloud in its place.
    key
        Streamlit's key, where two charts of a page could be the same.
    """
    if isinstance(picture, Mapping):
        st.vega_lite_chart(spec=dict(picture), width="stretch", key=key, alt=words)
    else:
        st.altair_chart(picture, width="stretch", key=key, alt=words)
