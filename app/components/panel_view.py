"""What this label needs: the panel's items as lines that open, with their values, times and units."""

from app.plain import escape
from audit_store.panel import PanelItem, PanelResult, PanelValue

DIRECTIONS = {"supports": ("▲", "for"), "against": ("▽", "against"), "neutral": ("", "")}
MISSING = ("not recorded for this stay", "not in this data")
SHOWN_VALUES = 40
LATE = "some of it after the model's cut-off"


def _when(hour: float | None) -> str:
    return "time not known" if hour is None else f"{hour:.0f} h"


def _value_row(value: PanelValue, with_visit: bool) -> str:
    visit = f"<td>{escape(value.visit_title)}</td>" if with_visit else ""
    late = '<span class="tag">after the cut-off</span>' if value.after_cutoff else ""
    return f"<tr>{visit}<td>{_when(value.hour)}</td><td>{escape(value.text)} {late}</td></tr>"


def _values(title: str, values: tuple[PanelValue, ...], with_visit: bool) -> str:
    if not values:
        return ""
    rows = "".join(_value_row(value, with_visit) for value in values[:SHOWN_VALUES])
    more = len(values) - SHOWN_VALUES
    rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
    return f"<h3>{title}</h3><table>{rows}</table>{rest}"


def item_html(item: PanelItem, *, folded: bool = False) -> str:
    """One line of the panel; opens to findings and values where it has any, unless only what is `folded` is asked."""
    sign, word = DIRECTIONS[item.direction]
    missing = item.status in MISSING
    text = escape(item.text if item.text or not missing else item.status)
    side = f'<span class="side {item.direction}"><span aria-hidden="true">{sign}</span> {word}</span>' if word else ""
    late = f' <span class="late" title="{LATE}" aria-label="{LATE}">◔</span>' if item.after_cutoff else ""
    line = f'<span class="line"><b class="name">{escape(item.title)}</b> {text}{late}</span>{side}'
    inner = "".join(f"<li>{escape(finding.text)}</li>" for finding in item.findings)
    inner = f"<ul>{inner}</ul>" if inner else ""
    told = {finding.text for finding in item.findings}
    inner += "".join(f'<p class="soft">{escape(detail)}</p>' for detail in item.details if detail not in told)
    inner += _values("This stay", item.values, False) + _values("Other visits", item.other_visits, True)
    state = " missing" if missing else ""
    if inner and folded:
        inner = " "
    if not inner:
        return f'<div class="item flat{state}">{line}</div>'
    return f'<details class="item{state}"><summary>{line}</summary><div class="inner">{inner}</div></details>'


def panel_html(result: PanelResult, *, folded: bool = False) -> str:
    """The panel: what there is first, what is missing after, in its own words."""
    there = [item for item in result.items if item.status not in MISSING]
    absent = [item for item in result.items if item.status in MISSING]
    body = "".join(item_html(item, folded=folded) for item in [*there, *absent])
    late = any(item.after_cutoff for item in there)
    legend = (
        '<p class="legend">◔ some of it after the model\'s cut-off; it counts for you all the same</p>' if late else ""
    )
    return f'<section class="panel"><h2 class="pane">What this question needs</h2>{body}{legend}</section>'


def panels_html(*results: PanelResult, folded: bool = False) -> str:
    """The panel of one label, or of labels decided together (an item that both need stands there once).

    Parameters
    ----------
    results
        One for each label.
    folded
        Only what is seen before a line is opened: a quarter of it, for a first drawing.
    """
    first, *others = results
    seen = {item.title for item in first.items}
    body = panel_html(first, folded=folded)
    for other in others:
        rest = tuple(item for item in other.items if item.title not in seen)
        body += "".join(item_html(item, folded=folded) for item in rest)
    return body
