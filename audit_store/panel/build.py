"""The panel: what a guideline says its label needs, and what is stored of it, of this stay and the patient's others."""

import dataclasses
from dataclasses import dataclass

from audit_store.chart import Chart
from audit_store.guidelines import Guideline, Guidelines, load
from audit_store.panel import circulation, organs, record
from audit_store.panel.items import ITEMS, Item
from audit_store.panel.rules import AGAINST, NEUTRAL, RULES, SUPPORTS, Finding, Limits, at
from audit_store.panel.view import Mention, Reading, RowRef, View, number

CRITERIA = (circulation, organs, record)
"""The modules whose import registers their criteria."""

VALUE, NOT_RECORDED, NOT_IN_DATA = "value", "not recorded for this stay", "not in this data"
DEFAULT_LIMITS = Limits()
_LONG = 96
_KEPT = 40
_MANY = 6
_IN_HEADLINE = 8
_SHOWN = 4


@dataclass(frozen=True)
class PanelValue:
    """One stored entry: which visit, when, what; and where it is stored."""

    stay_id: int
    visit_title: str
    hour: float | None
    text: str
    value: float | None
    unit: str
    after_cutoff: bool
    ref: RowRef


@dataclass(frozen=True)
class PanelItem:
    """One line of the panel.

    Parameters
    ----------
    status
        ``value``, ``not recorded for this stay`` or ``not in this data`` (the source holds no such thing at all).
    text, details
        One line for the screen; further lines for the fold.
    direction
        Of its findings: all one way, else ``neutral``.
    findings
        What the guideline's criteria found here, each with the stored rows.
    values, other_visits
        Entries of this stay and of the others.
    after_cutoff
        Some shown entry of this stay is later than what the model reads.
    """

    key: str
    title: str
    status: str
    text: str
    details: tuple[str, ...]
    direction: str
    findings: tuple[Finding, ...]
    values: tuple[PanelValue, ...]
    other_visits: tuple[PanelValue, ...]
    after_cutoff: bool


@dataclass(frozen=True)
class PanelResult:
    """The panel of one (stay, label): its items in the guideline's order, and one line for the top of the screen."""

    label_key: str
    stay_id: int
    items: tuple[PanelItem, ...]
    headline: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in order of items."""
        return tuple(finding for item in self.items for finding in item.findings)


def panel(
    chart: Chart,
    label_key: str,
    stay_id: int,
    guidelines: Guidelines | None = None,
    rules: Limits = DEFAULT_LIMITS,
) -> PanelResult:
    """Build the panel of a (stay, label).

    Parameters
    ----------
    chart
        The opened cohort.
    label_key, stay_id
        The pair that is asked about. Coded diagnoses are never read, so a panel gives no recorded label away.
    guidelines
        By default those that ship.
    rules
        Thresholds.
    """
    guideline = (guidelines or load())[label_key]
    view = View(chart, label_key, stay_id)
    findings = [finding for key in guideline.criteria if (finding := RULES[key].check(view, rules)) is not None]
    by_item: dict[str, list[Finding]] = {}
    for finding in findings:
        by_item.setdefault(RULES[finding.rule].item, []).append(finding)
    keys = _keys(guideline, by_item)
    items = tuple(_item(view, key, ITEMS[key], tuple(by_item.get(key, ()))) for key in keys)
    first = sorted(items, key=lambda item: item.key != "admission_diagnosis")
    parts = [_brief(view, ITEMS[item.key], item) for item in first]
    return PanelResult(label_key, stay_id, items, " · ".join([p for p in parts if p][:_IN_HEADLINE]))


def warm(chart: Chart) -> None:
    """Learn once per cohort which lists of evidence its source has at all (a second or so), so that no screen waits."""
    chart.warm()
    view = View(chart, chart.label_keys[0], chart.first_stay)
    for key in {key for item in ITEMS.values() for key in (*item.lists, *item.charted)}:
        view.source_has_list(key)


def _keys(guideline: Guideline, by_item: dict[str, list[Finding]]) -> list[str]:
    return [*guideline.shows, *[key for key in by_item if key not in guideline.shows]]


def _direction(findings: tuple[Finding, ...]) -> str:
    ways = {finding.direction for finding in findings} - {NEUTRAL}
    return ways.pop() if len(ways) == 1 else NEUTRAL


def _item(view: View, key: str, item: Item, findings: tuple[Finding, ...]) -> PanelItem:
    if item.mentions:
        return _mentions_item(view, key, item, findings)
    lines, values, others, unmeasured = [], [], [], []
    for name in item.channels:
        channel = view.chart.channel(name)
        own = view.readings(name)
        prefix = f"{channel.title} " if len(item.channels) > 1 else ""
        if own:
            lines.append(prefix + trend(own))
            values += [_value(r, prefix + r.words) for r in _chosen(own)]
        elif view.chart.has_channel(name):
            unmeasured.append(f"{channel.title}: not measured in this stay")
        else:
            unmeasured.append(f"{channel.title}: not in this data")
        for stay in view.others:
            elsewhere = view.readings(name, stay)
            if elsewhere:
                others.append(dataclasses.replace(_value(elsewhere[-1]), text=prefix + trend(elsewhere)))
    rows = _rows(view, item, elsewhere=False)
    if item.charted and not lines:
        rows += view.rows(*item.charted)
    rows += view.note_hits(*item.note_lists)
    if rows:
        lines.append(_listed(rows))
        values += [_value(r, _entry(r)) for r in rows[:_KEPT]]
    elsewhere_rows = _rows(view, item, elsewhere=True)
    for stay in view.others:
        of_stay = [r for r in elsewhere_rows if r.stay_id == stay]
        if of_stay:
            others.append(_value(of_stay[0], _listed(of_stay)))
    details = tuple(finding.text for finding in findings) + tuple(unmeasured)
    late = any(v.after_cutoff for v in values)
    if lines:
        status, text = VALUE, " · ".join(lines)
    elif _in_source(view, item):
        status, text = NOT_RECORDED, f"no record of {item.absent}" if item.absent else "not measured in this stay"
        text = "; ".join([text, *(finding.text for finding in findings)])  # a side is never told without its ground
        details = tuple(finding.text for finding in findings)
    else:
        status, text = NOT_IN_DATA, NOT_IN_DATA
        details = tuple(finding.text for finding in findings)
    return PanelItem(
        key, item.title, status, text, details, _direction(findings), findings, tuple(values), tuple(others), late
    )


def _mentions_item(view: View, key: str, item: Item, findings: tuple[Finding, ...]) -> PanelItem:
    mentions = view.mentions()
    own = [m for m in mentions if m.stay_id == view.stay_id]
    values = tuple(_mention_value(m) for m in own[:_KEPT])
    others = tuple(_mention_value(m) for m in mentions if m.stay_id != view.stay_id)[:_KEPT]
    if own:
        status, text = VALUE, "; ".join(f.text for f in findings) or "mentioned, of the family only"
    elif view.chart.notes([view.stay_id]):
        elsewhere = "; ".join(f.text for f in findings)
        status, text = NOT_RECORDED, "not named in this stay's notes" + (f"; {elsewhere}" if elsewhere else "")
    else:
        status, text = NOT_RECORDED, "this stay has no notes"
    late = any(m.after_cutoff for m in own)
    return PanelItem(
        key,
        item.title,
        status,
        text,
        (),
        _direction(findings),
        findings,
        values,
        others,
        late,
    )


def _rows(view: View, item: Item, elsewhere: bool) -> list[Reading]:
    rows = view.rows(*item.lists, elsewhere=elsewhere)
    seen = {(r.ref, r.text) for r in rows}
    for kind in item.kinds:
        rows += [r for r in view.of_kind(kind, elsewhere) if (r.ref, r.text) not in seen]
    return sorted(rows, key=lambda r: (int(r.visit_title[1:]), r.hour if r.hour is not None else -1e9))


def _in_source(view: View, item: Item) -> bool:
    return (
        any(view.chart.has_channel(name) for name in item.channels)
        or any(view.source_has_kind(kind) for kind in item.kinds)
        or any(view.source_has_list(key) for key in (*item.lists, *item.charted))
        or (bool(item.note_lists) and view.chart.has_notes)
    )


def trend(readings: list[Reading]) -> str:
    """One line on a channel of one stay: "1.1 → 2.4 mg/dL over 36 h (highest 3; 5 measured)"."""
    values = [r.value for r in readings if r.value is not None]
    unit = readings[0].unit
    if len(values) == 1:
        return f"{readings[0].words}{at(readings[0])}"
    first, last, low, high = values[0], values[-1], min(values), max(values)
    hours = (readings[-1].hour or 0.0) - (readings[0].hour or 0.0)
    if len(values) > _MANY:
        beyond = [f"{number(low)}–{number(high)}"]
    else:
        beyond = [f"highest {number(high)}"] * (high > max(first, last)) + [f"lowest {number(low)}"] * (
            low < min(first, last)
        )
    inside = "; ".join([*beyond, f"{len(values)} measured"])
    return f"{number(first)} → {number(last)} {unit}".rstrip() + f" over {hours:.0f} h ({inside})"


def _chosen(readings: list[Reading]) -> list[Reading]:
    """At most `_KEPT` values: the first, the last, the smallest and the largest among them."""
    if len(readings) <= _KEPT:
        return readings
    step = len(readings) / _KEPT
    chosen = {int(i * step) for i in range(_KEPT)} | {len(readings) - 1}
    chosen |= {min(range(len(readings)), key=lambda i: readings[i].value or 0.0)}
    chosen |= {max(range(len(readings)), key=lambda i: readings[i].value or 0.0)}
    return [readings[i] for i in sorted(chosen)]


def _value(reading: Reading, text: str = "") -> PanelValue:
    return PanelValue(
        reading.stay_id,
        reading.visit_title,
        reading.hour,
        text or reading.words,
        reading.value,
        reading.unit,
        reading.after_cutoff,
        reading.ref,
    )


def _mention_value(mention: Mention) -> PanelValue:
    text = f"{mention.span.text} ({mention.span.status})"
    return PanelValue(
        mention.stay_id, mention.visit_title, mention.hour, text, None, "", mention.after_cutoff, mention.ref
    )


_ASKS_FOR_RESULT = ("micro", "imaging", "ecg")


def _entry(row: Reading) -> str:
    """Write an evidence row: its words, then value or text; where a result is due and missing, say so."""
    parts = [row.words]
    if row.value is not None:
        parts.append(f"{number(row.value)} {row.unit}".strip())
    if row.text and row.text.lower() not in row.words.lower() and row.words.lower() not in row.text.lower():
        parts.append(row.text)
    elif row.kind in _ASKS_FOR_RESULT and row.value is None and not row.text:
        parts.append("result not recorded")
    return ": ".join(parts[:1]) + (f" ({', '.join(parts[1:])})" if len(parts) > 1 else "")


def _listed(rows: list[Reading]) -> str:
    """Name the rows once each, with the first time and how often, as far as one line allows."""
    groups: dict[str, list[Reading]] = {}
    for row in rows:
        groups.setdefault(_entry(dataclasses.replace(row, value=None)) if row.text else row.words, []).append(row)
    said: list[str] = []
    for words, group in groups.items():
        numbers = [number(r.value) for r in group if r.value is not None]
        shown = f" {' → '.join(numbers[:_SHOWN])}{' …' if len(numbers) > _SHOWN else ''} {group[0].unit}".rstrip()
        again = f" ×{len(group)}" if len(group) > 1 and not numbers else ""
        late = ", after the model's cut-off" if all(r.after_cutoff for r in group) else ""
        said.append(f"{words}{shown if numbers else ''}{at(group[0])}{again}{late}")
        if sum(map(len, said)) > _LONG and len(said) < len(groups):
            return ", ".join(said) + f" and {len(groups) - len(said)} more"
    return ", ".join(said)


def _brief(view: View, item: Item, shown: PanelItem) -> str:
    if not item.brief or shown.status != VALUE:
        return ""
    if item.mentions:
        mark = {SUPPORTS: "named in the record", AGAINST: "denied in the record"}.get(shown.direction)
        return mark or ""
    for name in item.channels:
        own = [r.value for r in view.readings(name) if r.value is not None]
        if own:
            title = item.brief if name == item.channels[0] else view.chart.channel(name).title
            if len(own) == 1:
                return f"{title} {number(own[0])}"
            wide = len(own) > _MANY
            return (
                f"{title} {number(min(own))}–{number(max(own))}"
                if wide
                else f"{title} {number(own[0])}→{number(own[-1])}"
            )
    rows = _rows(view, item, elsewhere=False)
    return f"{item.brief}: {rows[0].words}" if rows else ""
