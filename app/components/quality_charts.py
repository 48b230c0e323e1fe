"""Charts of the Quality page: dots with their intervals, quartiles of time, probabilities against findings."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from app import theme
from app.components.probability_chart import quiet

ROW, FRAME = 21, 84  # pixels: a line, and the axis around them
MARKS = {
    "missing": (theme.TEAL, "diamond", False),
    "wrong": (theme.OCHRE, "diamond", True),
    "plain": (theme.TEAL, "circle", True),
}


def _figures(frame: pd.DataFrame, first: str, *others: str) -> pd.DataFrame:
    """The rows that have a figure, as numbers."""
    return frame[frame[first].notna()].astype(dict.fromkeys((first, *others), float))


def _names(order: Sequence[str], limit: int) -> alt.Y:
    axis = alt.Axis(labelLimit=limit, labelOverlap=False, grid=True, ticks=False, domain=False, labelFontSize=13)
    return alt.Y("name:N", title=None, sort=list(order), axis=axis, scale=alt.Scale(padding=0.8))


def interval_chart(
    frame: pd.DataFrame,
    title: str,
    kind: str = "plain",
    *,
    domain: tuple[float, float] | None = None,
    percent: bool = True,
    limit: int = 190,
) -> Any:
    """One line a row: a dot, its 95 % interval as a thick line, and a thin one where "can't say" widens it.

    `frame` has name, estimate, low, high, floor, ceiling, n and few (words where there is nothing to draw).
    """
    told = _figures(frame, "estimate", "low", "high", "floor", "ceiling")
    colour, shape, filled = MARKS[kind]
    form = ".1%" if percent else ".2f"
    x_axis = alt.Axis(format="%" if percent else ".1f", tickCount=6, labelFontSize=13, titleFontSize=13)
    most = min(1.0, float(told["ceiling"].max()) * 1.04 + 0.005) if len(told) else 1.0
    scale = alt.Scale(domain=list(domain or (0.0, most)), nice=False, clamp=True)
    y = _names(frame["name"].tolist(), limit)
    tips = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("estimate:Q", format=form),
        alt.Tooltip("low:Q", title="from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
        alt.Tooltip("n:Q", title="readings"),
    ]
    base = alt.Chart(told).encode(y=y, tooltip=tips)
    thin = base.mark_rule(color=theme.INK_SOFT, strokeWidth=1).encode(
        x=alt.X("floor:Q", title=title, scale=scale, axis=x_axis), x2="ceiling"
    )
    thick = base.mark_rule(color=colour, strokeWidth=3).encode(x="low:Q", x2="high")
    dots = base.mark_point(
        shape=shape, filled=filled, fill=colour if filled else theme.PAPER, color=colour, size=80, opacity=1
    ).encode(x="estimate:Q")
    layers = [thin, thick, dots]
    few = frame[frame["estimate"].isna()]
    if len(few):
        words = alt.Chart(few).mark_text(align="left", dx=4, color=theme.INK_SOFT, fontSize=13, fontStyle="italic")
        layers.append(words.encode(x=alt.datum(scale.domain[0]), y=y, text="few:N"))
    return quiet(alt.layer(*layers).properties(height=FRAME + ROW * len(frame)))


def time_chart(frame: pd.DataFrame, limit: int = 190) -> Any:
    """Quartiles of seconds, a line a row: half of the readings lie within the bar, the tick is the middle one.

    `frame` has name, low, median, high (None where untold), n, few.
    """
    told = _figures(frame, "median", "low", "high")
    y = _names(frame["name"].tolist(), limit)
    tips = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("median:Q", title="middle", format=".0f"),
        alt.Tooltip("low:Q", title="a quarter below", format=".0f"),
        alt.Tooltip("high:Q", title="a quarter above", format=".0f"),
        alt.Tooltip("n:Q", title="readings"),
    ]
    base = alt.Chart(told).encode(y=y, tooltip=tips)
    axis = alt.Axis(tickCount=6, labelFontSize=13, titleFontSize=13)
    bars = base.mark_bar(color=theme.TEAL, opacity=0.35, height=10).encode(
        x=alt.X("low:Q", title="seconds at work on a question", scale=alt.Scale(zero=True), axis=axis), x2="high"
    )
    middle = base.mark_tick(color=theme.INK, thickness=3, size=14).encode(x="median:Q")
    layers = [bars, middle]
    few = frame[frame["median"].isna()]
    if len(few):
        words = alt.Chart(few).mark_text(align="left", dx=4, color=theme.INK_SOFT, fontSize=13, fontStyle="italic")
        layers.append(words.encode(x=alt.datum(0), y=y, text="few:N"))
    return quiet(alt.layer(*layers).properties(height=FRAME + ROW * len(frame)))


def calibration_chart(frame: pd.DataFrame) -> Any:
    """What readers found against what the round said; on the dashed line the probability holds.

    `frame` has said, estimate, low, high, n, holds (which pairs the share stands for).
    """
    holds = ["all pairs", "flags only"]
    axis = alt.Axis(format="%", tickCount=6, labelFontSize=13, titleFontSize=13)
    whole = alt.Scale(domain=[0, 1])
    line = (
        alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]}))
        .mark_line(color=theme.INK, strokeDash=[4, 3], strokeWidth=1.2)
        .encode(x=alt.X("x:Q", scale=whole), y=alt.Y("y:Q", scale=whole))
    )
    tips = [
        alt.Tooltip("said:Q", title="the round said", format=".1%"),
        alt.Tooltip("estimate:Q", title="readers found", format=".1%"),
        alt.Tooltip("low:Q", title="from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("n:Q", title="readings"),
        alt.Tooltip("holds:N", title="stands for"),
    ]
    base = alt.Chart(_figures(frame, "estimate", "said", "low", "high")).encode(
        x=alt.X("said:Q", title="P(label wrong), as the round says", scale=whole, axis=axis), tooltip=tips
    )
    reach = base.mark_rule(color=theme.TEAL, strokeWidth=3).encode(
        y=alt.Y("low:Q", title="found wrong by readers", scale=whole, axis=axis), y2="high"
    )
    dots = base.mark_point(filled=True, size=90, opacity=1, color=theme.TEAL).encode(
        y="estimate:Q",
        shape=alt.Shape(
            "holds:N",
            title="stands for",
            scale=alt.Scale(domain=holds, range=["circle", "triangle-up"]),
            legend=alt.Legend(orient="top", labelFontSize=13),
        ),
    )
    return quiet(alt.layer(line, reach, dots).properties(height=360))
