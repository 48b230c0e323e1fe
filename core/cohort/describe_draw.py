"""Parts of the page about a cohort, as HTML and inline SVG: no script, no font, nothing from elsewhere."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

PAPER, TEAL, WASH, OCHRE = "#fbfaf6", "#0b5a66", "#e9eeea", "#8a5300"
HIDDEN = "–"
"""Stands where a count may not be shown."""
_TEAL, _OCHRE, _PAPER = (11, 90, 102), (138, 83, 0), (251, 250, 246)
_LIFT_REACH = 2.0
"""Lifts from 2⁻² to 2² have their own shade."""


def number(value: float | None) -> str:
    """Write a count with thousands apart."""
    return HIDDEN if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as per cent."""
    return HIDDEN if share is None else f"{100 * share:.{digits}f} %"


def _mixed(colour: tuple[int, int, int], strength: float) -> str:
    strength = min(max(strength, 0.0), 1.0)
    return "#" + "".join(f"{round(p + (c - p) * strength):02x}" for c, p in zip(colour, _PAPER, strict=True))


def _ink(shade: str) -> str:
    """Give black or white, whichever can be read better on a shade (contrast as WCAG 2 counts it)."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (int(shade[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, left: int = 1) -> str:
    """Draw a table whose cells are HTML; the first `left` columns are texts, the others numbers."""
    head = "".join(
        f'<th scope="col"{"" if i < left else " class=n"}>{escape(h)}</th>' if h else "<td></td>"
        for i, h in enumerate(headings)
    )
    body = "".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td{'' if i < left else ' class=n'}>{cell}</td>" for i, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bar(share: float | None) -> str:
    """Draw a share of a whole as a bar."""
    width = 0.0 if share is None else 100 * min(max(share, 0.0), 1.0)
    return f'<span class="bar"><span style="width:{width:.1f}%"></span></span>'


def histogram(rows: Sequence[dict[str, Any]], *, caption: str, first: str, counted: str) -> str:
    """Draw counts by class as bars that share one scale."""
    most = max((row["n"] or 0 for row in rows), default=0)
    lines = [[escape(row["name"]), bar((row["n"] or 0) / most if most else 0.0), number(row["n"])] for row in rows]
    return table([first, "", counted], lines, caption=caption, left=2)


def shares(rows: Sequence[dict[str, Any]], *, caption: str, first: str, counted: str) -> str:
    """Draw shares of one whole as bars, in whole per cent."""
    lines = [[escape(row["name"]), bar(row["share"]), percent(row["share"], 0)] for row in rows]
    return table([first, "", counted], lines, caption=caption, left=2)


def intervals(train: dict[str, Any] | None, test: dict[str, Any] | None, most: float) -> str:
    """Draw the shares of training (above) and test stays (below), each with its interval; the axis ends at `most`."""
    parts = []
    for held, y, colour in ((train, 6, TEAL), (test, 15, OCHRE)):
        if held is None:
            continue
        low, at, high = (200 * held[key] / most for key in ("low", "share", "high"))
        mark = (
            f'<circle cx="{at:.1f}" cy="{y}" r="3" fill="{colour}"/>'
            if held is train
            else f'<rect x="{at - 2.5:.1f}" y="{y - 2.5}" width="5" height="5" fill="{colour}"/>'
        )
        parts.append(f'<path d="M{low:.1f} {y}H{high:.1f}" stroke="{colour}" stroke-width="1.5"/>{mark}')
    return f'<svg class="mark" width="206" height="20" viewBox="-3 0 206 20" aria-hidden="true">{"".join(parts)}</svg>'


def heat_table(names: Sequence[str], values: Sequence[Sequence[float | None]], *, caption: str) -> str:
    """Draw a symmetric table of lifts: above 1 in one colour, below in another, none where too few share both."""
    head = "".join(f'<th scope="col"><span>{i}</span></th>' for i in range(1, len(names) + 1))
    body = []
    for i, (name, row) in enumerate(zip(names, values, strict=True)):
        cells = "".join(
            '<td class="same"></td>' if i == j else _heat_cell(value, f"{name} × {names[j]}")
            for j, value in enumerate(row)
        )
        body.append(f'<tr><th scope="row">{escape(name)} <b>{i + 1}</b></th>{cells}</tr>')
    return (
        f'<table class="heat"><caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _heat_cell(value: float | None, title: str) -> str:
    if value is None or value <= 0:
        return f'<td class="few" title="{escape(title)}: too few patients">·</td>'
    strength = math.log2(value) / _LIFT_REACH
    shade = _mixed(_TEAL if strength > 0 else _OCHRE, abs(strength) * 0.9)
    ink = _ink(shade)
    text = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    return f'<td style="background:{shade};color:{ink}" title="{escape(title)}: {value:.2f}">{text}</td>'


def _over_hours(parts: Sequence[str], hours: int, width: float, tall: int, left: int, label: str) -> str:
    """Put a picture over an axis of hours."""
    ticks = "".join(
        f'<text x="{left + hour * width:.1f}" y="{tall + 14}" class="tick">{hour}</text>'
        for hour in range(0, hours + 1, 6)
    )
    middle = left + hours * width / 2
    return (
        f'<svg class="wide" viewBox="0 0 905 {tall + 36}" role="img" aria-label="{escape(label)}">'
        f'{"".join(parts)}{ticks}<text x="{middle:.0f}" y="{tall + 32}" class="tick">'
        "hours from unit admission</text></svg>"
    )


def strips(rows: Sequence[dict[str, Any]], hours: int, *, label: str) -> str:
    """Draw one strip a channel, one cell an hour, darker where more stays have a value; `shares` may hold None."""
    left, width, height = 190, 700 / hours, 20
    parts = []
    for i, row in enumerate(rows):
        parts.append(f'<text x="{left - 8}" y="{i * height + 14}" class="name">{escape(row["name"])}</text>')
        for hour, share in enumerate(row["shares"]):
            shade = PAPER if share is None else _mixed(_TEAL, share * 0.95)
            parts.append(
                f'<rect x="{left + hour * width:.1f}" y="{i * height}" width="{width - 1:.1f}" height="{height - 2}" '
                f'fill="{shade}"><title>{escape(row["name"])}, hour {hour}: {percent(share, 0)}</title></rect>'
            )
    return _over_hours(parts, hours, width, len(rows) * height, left, label)


def raster(lines: Sequence[dict[str, Any]], hours: int, channels: int, *, label: str) -> str:
    """Draw one line a stay, one cell an hour, darker where more channels were measured; white after the stay's end."""
    left, width, height = 40, 850 / hours, 7
    parts = []
    for i, line in enumerate(lines):
        until = min(hours, max(1, math.ceil(line["los"])))
        parts.append(
            f'<rect x="{left}" y="{i * height}" width="{until * width:.1f}" height="{height - 1}" fill="{WASH}"/>'
        )
        start, before = 0, line["cells"].get(0, 0)
        for hour in range(1, hours + 1):
            now = line["cells"].get(hour, 0) if hour < hours else -1
            if now == before:
                continue
            if before:
                shade = _mixed(_TEAL, 0.12 + 0.88 * before / max(channels, 1))
                parts.append(
                    f'<rect x="{left + start * width:.1f}" y="{i * height}" width="{(hour - start) * width:.1f}" '
                    f'height="{height - 1}" fill="{shade}"/>'
                )
            start, before = hour, now
    return _over_hours(parts, hours, width, len(lines) * height, left, label)


def scale(low: str, high: str) -> str:
    """Draw what the shades mean, from light to dark."""
    cells = "".join(f'<i style="background:{_mixed(_TEAL, 0.05 + 0.9 * i / 6)}"></i>' for i in range(7))
    return f'<p class="scale">{escape(low)} {cells} {escape(high)}</p>'
