"""Measured values over time: points, lines that stop at gaps, shaded normal ranges; nothing that was not measured.

Visits stand on one axis from left to right where their order is known, each with its own hours and a break between;
where it is not, they stand side by side under the words "order unknown".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import altair as alt
import pandas as pd
import streamlit as st

from app import theme
from audit_store.chart import ChannelInfo, Visit

HEIGHT = 58
BREAK_SHARE = 0.05  # width of the break between two visits, of all hours shown
PAD_SHARE = 0.08
PADDING = {"left": 2, "right": 4, "top": 2, "bottom": 2}
TICKS_ALL = 8
STEPS = (1, 2, 4, 6, 12, 24, 48, 72, 120, 240, 480, 960)


@dataclass(frozen=True)
class Place:
    """Where a visit stands on the axis: hours from `left` to `left + length`."""

    stay_id: int
    title: str
    left: float
    length: float
    is_this: bool


def lay_out(visits: Sequence[Visit], frame: pd.DataFrame) -> list[Place]:
    """Put visits side by side in their order; unit stays of known distance within a day keep it."""
    last = frame.groupby("stay_id")["hour"].max() if len(frame) else pd.Series(dtype=float)
    first = frame.groupby("stay_id")["hour"].min() if len(frame) else pd.Series(dtype=float)
    lengths = {v.stay_id: max(v.los_hours, float(last.get(v.stay_id, 0.0)), 1.0) for v in visits}
    starts = {v.stay_id: min(0.0, float(first.get(v.stay_id, 0.0))) for v in visits}
    gap = BREAK_SHARE * sum(lengths.values())
    places: list[Place] = []
    left = 0.0
    for i, visit in enumerate(visits):
        if i:
            left += gap
        left -= starts[visit.stay_id]
        places.append(Place(visit.stay_id, visit.title, left, lengths[visit.stay_id], visit.is_this))
        left += lengths[visit.stay_id]
    return places


def _ticks(places: Sequence[Place]) -> tuple[list[float], str]:
    total = sum(place.length for place in places)
    step = next((s for s in STEPS if total / s <= TICKS_ALL), STEPS[-1])
    values: list[float] = []
    for place in places:
        count = int(place.length // step)
        values += [place.left + step * i for i in range(count + 1)]
    expression = "format(datum.value, '.0f')"
    for place in places:
        shifted = f"format(datum.value - {place.left:.6f}, '.0f')"
        expression = f"datum.value >= {place.left - 1e-6:.6f} ? {shifted} : {expression}"
        if place is places[0]:
            expression = shifted
    return values, expression


def _domain(values: pd.Series, low: float | None, high: float | None) -> tuple[float, float]:
    bottom, top = float(values.min()), float(values.max())
    if high is not None and bottom > high:
        bottom = high
    if low is not None and top < low:
        top = low
    pad = (top - bottom) * PAD_SHARE or max(abs(top) * PAD_SHARE, 0.5)
    return bottom - pad, top + pad


def _bound(value: object) -> float | None:
    return None if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]


def channel_chart(
    frame: pd.DataFrame,
    title: str,
    unit: str,
    places: Sequence[Place],
    cutoff_hours: float | None,
    *,
    last: bool,
    first: bool,
) -> alt.LayerChart:
    """One channel: its normal range shaded, each measurement a point, joined only within a run of measurements."""
    low, high = _bound(frame["low"].iloc[0]), _bound(frame["high"].iloc[0])
    bottom, top = _domain(frame["value"], low, high)
    right = places[-1].left + places[-1].length
    x_scale = alt.Scale(domain=[places[0].left - right * 0.01, right * 1.01], nice=False, zero=False)
    y_scale = alt.Scale(domain=[bottom, top], nice=False, zero=False)
    ticks, expression = _ticks(places)
    x_axis = alt.Axis(
        values=ticks,
        labelExpr=expression,
        title="hours from admission to the unit" if last else None,
        labels=last,
        ticks=last,
        grid=False,
        titleFontSize=10,
        labelFontSize=10,
    )
    x = alt.X("x:Q", scale=x_scale, axis=x_axis)
    y_axis = alt.Axis(tickCount=3, title=unit or None, titleFontSize=10, labelFontSize=10, minExtent=44, maxExtent=44)
    y = alt.Y("value:Q", scale=y_scale, axis=y_axis)
    layers: list[alt.Chart] = []
    band_low, band_high = max(bottom, low if low is not None else bottom), min(top, high if high is not None else top)
    if (low is not None or high is not None) and band_high >= band_low:
        if band_high == band_low:
            thin = (top - bottom) * 0.02
            band_low, band_high = max(bottom, band_low - thin), min(top, band_high + thin)
        band = pd.DataFrame({"x": [p.left for p in places], "x2": [p.left + p.length for p in places]})
        band["value"], band["y2"] = band_low, band_high
        layers.append(
            alt.Chart(band).mark_rect(color=theme.NORMAL_RANGE, opacity=0.9).encode(x=x, x2="x2", y=y, y2="y2")
        )
    late = [p for p in places if cutoff_hours is not None and p.length > cutoff_hours]
    if late and cutoff_hours is not None:
        shade = pd.DataFrame({"x": [p.left + cutoff_hours for p in late], "x2": [p.left + p.length for p in late]})
        shade["value"], shade["y2"] = bottom, top
        layers.append(
            alt.Chart(shade).mark_rect(color=theme.AFTER_CUTOFF, opacity=0.45).encode(x=x, x2="x2", y=y, y2="y2")
        )
    runs = alt.Chart(frame).mark_line(color=theme.TEAL, strokeWidth=1.4)
    layers.append(runs.encode(x=x, y=y, detail="run:N", order="x:Q"))
    points = alt.Chart(frame).mark_point(filled=True, opacity=1, size=18)
    layers.append(
        points.encode(
            x=x,
            y=y,
            shape=alt.Shape(
                "standing:N",
                scale=alt.Scale(domain=["low", "within", "high"], range=["triangle-down", "circle", "triangle-up"]),
                legend=None,
            ),
            color=alt.Color(
                "standing:N",
                scale=alt.Scale(domain=["low", "within", "high"], range=[theme.BRICK, theme.TEAL, theme.BRICK]),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("visit:N", title="visit"),
                alt.Tooltip("hour:Q", title="hour", format=".1f"),
                alt.Tooltip("shown:N", title=title),
            ],
        )
    )
    if len(places) > 1:
        edges = pd.DataFrame({"x": [p.left for p in places], "value": top})
        edges["name"] = [f"{p.title} (asked)" if p.is_this else p.title for p in places]
        layers.append(alt.Chart(edges).mark_rule(color=theme.INK_SOFT, strokeDash=[2, 2]).encode(x=x))
        if first:
            words = alt.Chart(edges).mark_text(align="left", dx=3, dy=-6, fontSize=10, color=theme.INK)
            layers.append(words.encode(x=x, y=y, text="name:N"))
    name = alt.TitleParams(title, anchor="start", fontSize=11, fontWeight=600, offset=6 if len(places) > 1 else 2)
    return alt.layer(*layers).properties(height=HEIGHT, title=name)


def prepare(frame: pd.DataFrame, places: Sequence[Place]) -> pd.DataFrame:
    """Add where each measurement is drawn and what its tooltip says; rows without a number are left out."""
    left = {place.stay_id: place.left for place in places}
    titles = {place.stay_id: place.title for place in places}
    drawn = frame[frame["value"].notna() & frame["stay_id"].isin(list(left))].copy()
    drawn["x"] = drawn["hour"].astype(float) + drawn["stay_id"].map(left)
    drawn["visit"] = drawn["stay_id"].map(titles)
    # what a chart encodes can be read in the page: a visit's title, never its id
    drawn["run"] = [f"{title}.{segment}" for title, segment in zip(drawn["visit"], drawn["segment"], strict=True)]
    columns = (drawn["category"], drawn["value"], drawn["unit"])
    drawn["shown"] = [
        str(category) if isinstance(category, str) else f"{value:.4g} {unit if isinstance(unit, str) else ''}".strip()
        for category, value, unit in zip(*columns, strict=True)
    ]
    drawn["standing"] = "within"
    drawn.loc[drawn["value"] < drawn["low"], "standing"] = "low"
    drawn.loc[drawn["value"] > drawn["high"], "standing"] = "high"
    return drawn


def series_chart(
    frame: pd.DataFrame, visits: Sequence[Visit], channels: Sequence[str], cutoff_hours: float | None
) -> alt.VConcatChart | None:
    """The chosen channels one above the other on the same hours, or None where nothing was measured."""
    places = lay_out(visits, frame)
    drawn = prepare(frame, places)
    present = [name for name in channels if (drawn["channel"] == name).any()]
    if not present or not places:
        return None
    charts = []
    for i, name in enumerate(present):
        rows = drawn[drawn["channel"] == name]
        charts.append(
            channel_chart(
                rows[["run", "x", "hour", "value", "visit", "shown", "standing", "low", "high"]],
                str(rows["title"].iloc[0]),
                str(rows["unit"].iloc[0] or ""),
                places,
                cutoff_hours,
                last=i == len(present) - 1,
                first=i == 0,
            )
        )
    # fit-x: the frame's own choice for layers in a stack is "pad", which draws past the right edge
    stacked = alt.vconcat(
        *charts, spacing=4, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), padding=PADDING
    )
    stacked = stacked.configure_view(stroke=theme.LINE).configure(background=theme.CARD, font=theme.FONT)
    return stacked.configure_axis(
        labelColor=theme.INK_SOFT, titleColor=theme.INK_SOFT, gridColor=theme.WASH, titleFontWeight="normal"
    )


def draw(
    frame: pd.DataFrame,
    visits: Sequence[Visit],
    channels: Sequence[ChannelInfo],
    cutoff_hours: float | None,
    order_known: bool,
    key: str,
) -> None:
    """Draw the chosen channels in two columns on one time axis."""
    measured = set(frame["channel"].unique()) if len(frame) else set()
    names = [channel.name for channel in channels if channel.name in measured]
    missing = [channel.title for channel in channels if channel.name not in measured]
    if not names:
        st.html('<p class="empty">None of these channels was measured here. Decide from the rest.</p>')
        return
    half = (len(names) + 1) // 2
    columns = st.columns(2, gap="small") if len(names) > 1 else [st.container()]
    for i, (column, part) in enumerate(zip(columns, (names[:half], names[half:]), strict=False)):
        chart = series_chart(frame, visits, part, cutoff_hours)
        if chart is not None:
            column.altair_chart(chart, width="stretch", theme=None, key=f"{key}_{i}")
    words = ["shaded green: normal range", "▲▼ outside it", "lines stop where nothing was measured"]
    if cutoff_hours is not None:
        words.append(f"shaded violet: after the model's {cutoff_hours:.0f} h")
    if len(visits) > 1 and not order_known:
        words.insert(0, "<b>visits side by side: order unknown</b>")
    if missing:
        words.append("not measured: " + escape(", ".join(missing)))
    st.html(f'<p class="legend">{" · ".join(words)}</p>')
