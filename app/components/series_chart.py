"""Measured values over time: points, lines that stop at gaps, shaded normal ranges; nothing that was not measured.

Visits stand on one axis from left to right where their order is known, each with its own hours and a break between;
where it is not, they stand side by side under the words "order unknown". The charts may be dragged along and zoomed
with Ctrl and the wheel, all of them together (`linked_charts`); the hours can be chosen by button as well, so that
nothing needs a mouse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from app import theme
from app.components.visit_axis import (
    TICKS_ALL,
    WHOLE,
    Place,
    hour_ticks,
    lay_out,
    visit_titles,
    window_of,
)
from app.plain import escape
from audit_store.chart import ChannelInfo, Visit

Spec = dict[str, Any]

HEIGHT, TALL, FEW = 50, 66, 2  # pixels: a channel's, where more than a few stand in a column and where not
ROOMY = TALL / HEIGHT
"""How much higher all are where no notes stand below them."""
PAD_SHARE = 0.08
PADDING = {"left": 2, "right": 4, "top": 2, "bottom": 2}
EDGE_SHARE = 0.01
THIN_SHARE = 0.02
DRAWN = ("channel", "run", "x", "hour", "value", "visit", "shown", "standing")
ZOOM = {
    "name": "zoom",
    "select": {"type": "interval", "encodings": ["x"], "zoom": "wheel![event.shiftKey || event.ctrlKey]"},
    "bind": "scales",
}


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


def _shaded(left: Sequence[float], right: Sequence[float], low: float, high: float, fill: str, opacity: float) -> Spec:
    values = [{"x": a, "x2": b, "value": low, "y2": high} for a, b in zip(left, right, strict=True)]
    encoding = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    return {
        "data": {"values": values},
        "mark": {"type": "rect", "color": fill, "opacity": opacity, "clip": True},
        "encoding": encoding,
    }


def _normal_range(
    low: float | None, high: float | None, bottom: float, top: float, places: Sequence[Place]
) -> Spec | None:
    """The normal range where the axis shows some of it; one that is a single value is a thin band."""
    if low is None and high is None:
        return None
    band = (bottom if low is None else max(bottom, low), top if high is None else min(top, high))
    if band[1] < band[0]:
        return None
    if band[1] == band[0]:
        thin = (top - bottom) * THIN_SHARE
        band = (max(bottom, band[0] - thin), min(top, band[1] + thin))
    left, right = [p.left for p in places], [p.left + p.length for p in places]
    return _shaded(left, right, *band, theme.NORMAL_RANGE, 0.9)


def channel_spec(
    rows: pd.DataFrame,
    places: Sequence[Place],
    cutoff_hours: float | None,
    window: tuple[float, float],
    *,
    last: bool,
    first: bool,
    height: int = HEIGHT,
) -> Spec:
    """One channel: its normal range shaded, each measurement a point, joined only within a run of measurements."""
    name, title, unit = (str(rows[column].iloc[0]) for column in ("channel", "title", "unit"))
    low, high = _bound(rows["low"].iloc[0]), _bound(rows["high"].iloc[0])
    seen = rows[(rows["x"] >= window[0]) & (rows["x"] <= window[1])]
    bottom, top = _domain((seen if len(seen) else rows)["value"], low, high)
    x_axis: Spec = {
        "title": "hours from admission to the unit" if last else None,
        "labels": last,
        "ticks": last,
        "grid": False,
    }
    if last and len(places) > 1:
        x_axis["values"], x_axis["labelExpr"] = hour_ticks(places, window)
    elif last:
        x_axis["tickMinStep"], x_axis["tickCount"] = 1, TICKS_ALL
    edge = (window[1] - window[0]) * EDGE_SHARE
    span = {"domain": [window[0] - edge, window[1] + edge], "nice": False, "zero": False}
    x = {"field": "x", "type": "quantitative", "scale": span, "axis": x_axis}
    y_axis = {"tickCount": 3, "title": unit if unit not in ("", "None") else " ", "minExtent": 44, "maxExtent": 44}
    y_scale = {"domain": [bottom, top], "nice": False, "zero": False}
    y = {"field": "value", "type": "quantitative", "scale": y_scale, "axis": y_axis}
    layers: list[Spec] = []
    band = _normal_range(low, high, bottom, top, places)
    if band is not None:
        layers.append(band)
    if cutoff_hours is not None:
        late = [p for p in places if p.length > cutoff_hours]
        edges = [p.left + cutoff_hours for p in late], [p.left + p.length for p in late]
        layers.append(_shaded(*edges, bottom, top, theme.AFTER_CUTOFF, 0.45))
    mine: Spec = {"transform": [{"filter": {"field": "channel", "equal": name}}]}
    layers.append(
        {
            **mine,
            "mark": {"type": "line", "color": theme.TEAL, "strokeWidth": 1.4, "clip": True},
            "encoding": {"detail": {"field": "run"}, "order": {"field": "x", "type": "quantitative"}},
        }
    )
    layers.append(
        {
            **mine,
            "params": [ZOOM],
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 18, "clip": True},
            "encoding": {
                "shape": _by_standing(["triangle-down", "circle", "triangle-up"]),
                "color": _by_standing([theme.BRICK, theme.TEAL, theme.BRICK]),
                "tooltip": [
                    {"field": "visit", "title": "visit"},
                    {"field": "hour", "type": "quantitative", "title": "hour", "format": ".1f"},
                    {"field": "shown", "title": title},
                ],
            },
        }
    )
    if len(places) > 1:
        named = zip(places, visit_titles(places), strict=True)
        values = [{"x": p.left, "value": top, "name": name} for p, name in named]
        rule = {"type": "rule", "color": theme.INK_SOFT, "strokeDash": [2, 2], "clip": True}
        across = {"y": {"value": 0}, "y2": {"value": "height"}}
        layers.append({"data": {"values": values}, "mark": rule, "encoding": across})
        if first:
            text = {
                "type": "text",
                "clip": False,
                "align": "left",
                "dx": 3,
                "dy": -6,
                "fontSize": 10,
                "color": theme.INK,
            }
            layers.append({"data": {"values": values}, "mark": text, "encoding": {"text": {"field": "name"}}})
    offset = 5 if first and len(places) > 1 else 2
    heading = {"text": title, "anchor": "start", "fontSize": 11, "fontWeight": 600, "offset": offset, "frame": "group"}
    return {"height": height, "title": heading, "encoding": {"x": x, "y": y}, "layer": layers}


def _by_standing(values: Sequence[str]) -> Spec:
    scale = {"domain": ["low", "within", "high"], "range": list(values)}
    return {"field": "standing", "type": "nominal", "scale": scale, "legend": None}


def prepare(frame: pd.DataFrame, places: Sequence[Place]) -> pd.DataFrame:
    """Add where each measurement is drawn and what its tooltip says; rows without a number are left out."""
    left = {place.stay_id: place.left for place in places}
    titles = {place.stay_id: place.title for place in places}
    kept = frame[frame["value"].notna() & frame["stay_id"].isin(list(left))]
    stays = kept["stay_id"].tolist()
    value, low, high = (kept[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    visits = [titles[stay] for stay in stays]
    columns = (kept["category"].tolist(), value.tolist(), kept["unit"].tolist())
    shown = [
        category if isinstance(category, str) else f"{number:.4g} {unit if isinstance(unit, str) else ''}".strip()
        for category, number, unit in zip(*columns, strict=True)
    ]
    return kept.assign(
        x=kept["hour"].to_numpy(dtype=float) + np.array([left[stay] for stay in stays], dtype=float),
        visit=visits,
        # what a chart encodes can be read in the page: a visit's title, never its id
        run=[f"{title}.{segment}" for title, segment in zip(visits, kept["segment"].tolist(), strict=True)],
        shown=shown,
        standing=np.where(value < low, "low", np.where(value > high, "high", "within")),
    )


def series_spec(
    drawn: pd.DataFrame,
    places: Sequence[Place],
    channels: Sequence[str],
    cutoff_hours: float | None,
    window: str = WHOLE,
    *,
    roomy: bool = False,
) -> Spec | None:
    """The chosen channels one above the other on the same hours, or None where nothing was measured.

    A Vega-Lite description, as Altair would write it: building it through Altair's checked objects takes half a
    second a page, and this page is drawn after each key.
    """
    rows_of = {str(name): rows for name, rows in drawn.groupby("channel")}
    present = [name for name in channels if name in rows_of]
    if not present or not places:
        return None
    hours = window_of(places, window)
    height = round((TALL if len(channels) <= FEW else HEIGHT) * (ROOMY if roomy else 1))
    charts = [
        channel_spec(
            rows_of[name], places, cutoff_hours, hours, last=i == len(present) - 1, first=i == 0, height=height
        )
        for i, name in enumerate(present)
    ]
    quiet = {"labelColor": theme.INK_SOFT, "titleColor": theme.INK_SOFT, "gridColor": theme.WASH}
    small = {"titleFontWeight": "normal", "titleFontSize": 10, "labelFontSize": 10}
    return {
        "vconcat": charts,
        "resolve": {"scale": {"x": "shared"}},
        "spacing": 4,
        # fit-x: the frame's own choice for layers in a stack is "pad", which draws past the right edge
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": PADDING,
        "config": {
            "background": theme.CARD,
            "font": theme.FONT,
            # thousands of points, each with a label of its own, help nobody; the chart's words are its alternative text
            "aria": False,
            "mark": {"aria": False},  # else the groups of marks stay, as pictures without a name
            "view": {"stroke": theme.LINE},
            "axis": {**quiet, **small},
        },
    }


@dataclass(frozen=True)
class Drawing:
    """The charts of some channels, laid out: data, description and spoken name of each column, and the legend."""

    parts: tuple[tuple[pa.Table, Spec, str], ...]
    legend: str


def lay_out_charts(
    frame: pd.DataFrame,
    visits: Sequence[Visit],
    channels: Sequence[ChannelInfo],
    cutoff_hours: float | None,
    order_known: bool,
    window: str = WHOLE,
    *,
    roomy: bool = False,
) -> Drawing | None:
    """Lay out the chosen channels in two columns on one time axis, higher if `roomy`; None where none was measured."""
    measured = set(frame["channel"].unique()) if len(frame) else set()
    names = [channel.name for channel in channels if channel.name in measured]
    missing = [channel.title for channel in channels if channel.name not in measured]
    if not names:
        return None
    places = lay_out(visits, frame)
    drawn = prepare(frame, places)
    half = (len(names) + 1) // 2
    titles = {channel.name: channel.title for channel in channels}
    parts = []
    for part in (names[:half], names[half:]):
        chart = series_spec(drawn, places, part, cutoff_hours, window, roomy=roomy)
        if chart is not None:
            spoken = "Over time: " + ", ".join(titles[name] for name in part)
            rows = drawn.loc[drawn["channel"].isin(part), list(DRAWN)]
            # as the page is sent: turned into Arrow here, while the pair before is being read
            parts.append((pa.Table.from_pandas(rows, preserve_index=False), chart, spoken))
    words = ["shaded green: normal range", "▲▼ outside it", "lines stop where nothing was measured"]
    if cutoff_hours is not None and any(place.length > cutoff_hours for place in places):
        words.append(f"shaded violet: after the model's {cutoff_hours:.0f} h")
    if len(visits) > 1 and not order_known:
        words.insert(0, "<b>visits side by side: order unknown</b>")
    words.append("Ctrl + wheel zooms, dragging moves along, a double click goes back")
    if missing:
        words.append("not measured: " + escape(", ".join(missing)))
    return Drawing(tuple(parts), f'<p class="legend">{" · ".join(words)}</p>')


def draw(drawing: Drawing | None, key: str, before: Callable[[], None] | None = None) -> None:
    """Draw what was laid out, in two columns: the legend's words, then, after `before`, the charts above them."""
    if drawing is None:
        st.html('<p class="empty">None of these channels was measured here. Decide from the rest.</p>')
        return
    charts = st.container()
    st.html(drawing.legend)
    if before is not None:
        before()
    columns = charts.columns(2, gap="small") if len(drawing.parts) > 1 else [charts]
    for i, (column, (data, chart, spoken)) in enumerate(zip(columns, drawing.parts, strict=False)):
        column.vega_lite_chart(data, chart, width="stretch", theme=None, key=f"{key}_{i}", alt=spoken)
