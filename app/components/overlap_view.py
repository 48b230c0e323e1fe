"""How far the detectors pick the same pairs: a heat map of shares, what stands out in it in words, and a table."""

from functools import cache
from itertools import product
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from app import theme
from app.components.page import Column, chart, table
from app.components.probability_chart import quiet
from app.plain import escape
from audit_store.detector_overlap import FLAGS, Overlap, overlap
from audit_store.detector_words import title
from audit_store.rounds import RoundFile

RECORDED = {0: "◇ recorded absent", 1: "◆ recorded present"}
FLAGS_TITLE = "the round's flags"
CELL, FRAME = 25, 46  # pixels: a cell's height, and the axis with its title
BLACK, WHITE = "#000000", "#ffffff"
ALIKE = 0.9
SCALE = alt.Scale(domain=[0, 1], range=[theme.WASH, theme.TEAL], interpolate="rgb")


def name_of(detector: str) -> str:
    """Title of a detector, or of the round's own choice."""
    return FLAGS_TITLE if detector == FLAGS else title(detector)


def shade(share: float) -> str:
    """Colour of a cell: as `SCALE` gives it."""
    ends = ([int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (theme.WASH, theme.TEAL))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))


@cache
def turn() -> float:
    """The share above which white figures are read more easily than black ones."""
    return next(
        s / 100 for s in range(101) if theme.contrast(WHITE, shade(s / 100)) > theme.contrast(BLACK, shade(s / 100))
    )


def overlap_chart(found: Overlap) -> Any:
    """Each two detectors' share of pairs in common as a cell's shade and figure; columns go by the rows' numbers."""
    rows = [f"{place} {name_of(name)}" for place, name in enumerate(found.names, 1)]
    columns = [str(place) for place in range(1, len(rows) + 1)]
    frame = pd.DataFrame(
        [
            {
                "row": rows[i],
                "column": columns[j],
                "one": name_of(found.names[i]),
                "other": name_of(found.names[j]),
                "share": float(found.shares[i, j]),
                "figure": "" if i == j else f"{100 * found.shares[i, j]:.0f}",
            }
            for i, j in product(range(len(rows)), repeat=2)
        ]
    )
    base = alt.Chart(frame).encode(
        x=alt.X(
            "column:N",
            sort=columns,
            title=None,
            axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False, labelFontSize=12),
        ),
        y=alt.Y(
            "row:N",
            sort=rows,
            title=None,
            axis=alt.Axis(
                labelLimit=240, domain=False, ticks=False, labelFontSize=12, labelOverlap=False, labelFlush=False
            ),
        ),
    )
    cells = base.mark_rect(stroke=theme.PAPER, strokeWidth=1).encode(
        color=alt.Color("share:Q", scale=SCALE, legend=None),
        tooltip=["one:N", "other:N", alt.Tooltip("share:Q", format=".0%", title="in common")],
    )
    figures = base.mark_text(fontSize=12).encode(
        text="figure:N",
        color=alt.condition(alt.datum.share > turn(), alt.value(WHITE), alt.value(BLACK)),
    )
    return quiet(alt.layer(cells, figures).properties(height=FRAME + CELL * len(rows)))


def overlap_words(found: Overlap) -> str:
    """The picture in a sentence: the two most and least alike, and how far each shares the round's choice."""
    twos = found.pairs_of_detectors()
    (a, b, most), (c, d, least) = twos[0], twos[-1]
    told = f"Most alike: {name_of(a)} and {name_of(b)}, {most:.0%} in common. "
    told += f"Least: {name_of(c)} and {name_of(d)}, {least:.0%}. By chance: {found.chance:.0%}."
    if FLAGS in found.names:
        shares = [f"{name_of(n)} {found.between(FLAGS, n):.0%}" for n in found.names if n != FLAGS]
        told += f" In common with the round's flags: {', '.join(shares)}."
    return told


def families(found: Overlap) -> list[list[str]]:
    """Give runs of neighbours in the picture that each share nine tenths or more with the one before."""
    runs: list[list[str]] = []
    for place, name in enumerate(found.names):
        if place and found.shares[place, place - 1] >= ALIKE:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [run for run in runs if len(run) > 1]


def _lead(found: Overlap) -> str:
    many = (
        f"as many as the round flagged of them ({found.picked:,})"
        if found.by_flags
        else f"a twentieth ({found.picked:,}), since the round flagged none of them"
    )
    return (
        f"Of {found.pairs:,} pairs {RECORDED[found.observed][2:]}, each detector picks its most suspect: {many}, label "
        "by label. A cell says how many in a hundred two of them have in common; who picks alike stands together. "
        f"Two picks at random would have {found.chance:.0%} in common."
    )


def _words_html(found: Overlap) -> str:
    runs = families(found)
    told = f'<p class="soft">{escape(_lead(found))}</p>'
    if runs:
        lines = "".join(f"<li>{escape(' · '.join(name_of(name) for name in run))}</li>" for run in runs)
        told += f"<p>Nearly one and the same, so count these as one voice:</p><ul>{lines}</ul>"
    if FLAGS in found.names:
        others = [name for name in found.names if name != FLAGS]
        near = max(others, key=lambda name: found.between(FLAGS, name))
        far = min(others, key=lambda name: found.between(FLAGS, name))
        told += (
            f"<p>Nearest to the round's flags: <b>{escape(name_of(near))}</b>, {found.between(FLAGS, near):.0%} in "
            f"common; furthest: <b>{escape(name_of(far))}</b>, {found.between(FLAGS, far):.0%}.</p>"
        )
    return f'<section class="overlap-words">{told}</section>'


def _table(found: Overlap) -> str:
    head = [Column("detector"), *(Column(str(n), True, name_of(name)) for n, name in enumerate(found.names, 1))]
    rows = [
        [f"{n + 1} {name_of(name)}", *("–" if n == m else f"{share:.0%}" for m, share in enumerate(found.shares[n]))]
        for n, name in enumerate(found.names)
    ]
    return table(head, rows, f"Pairs that two detectors have in common, {RECORDED[found.observed][2:]}")


def show_overlap(round_file: RoundFile) -> None:
    """The section of the rounds page."""
    st.html("<h2>Which detectors pick the same pairs</h2>")
    st.fragment(_of_recorded)(round_file)


def _of_recorded(round_file: RoundFile) -> None:
    found = {observed: overlap(round_file, observed) for observed in RECORDED}
    there = [observed for observed, one in found.items() if one is not None]
    if not there:
        st.html('<p class="empty">Fewer than two detectors scored the pairs of this round.</p>')
        return
    observed = st.segmented_control(
        "Pairs",
        there,
        format_func=RECORDED.__getitem__,
        default=there[0],
        required=True,
        key="overlap_of",
        label_visibility="collapsed",
    )
    shown = found[there[0] if observed is None else observed]
    assert shown is not None
    picture, words = st.columns([5, 2], gap="medium")
    with picture:
        chart(overlap_chart(shown), overlap_words(shown), key=f"overlap_{shown.observed}")
    words.html(_words_html(shown))
    with st.expander("As a table"):
        st.html(_table(shown))
