"""The panes of a pair's page that other screens show too: series, notes, the guideline, why it was flagged."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from app.components import notes_view, reveal, series_chart, visit_axis
from app.plain import escape
from app.prepare import Prepared, best_passages
from app.session import Context
from audit_store.chart import Chart, LabelInfo, Visit, statements
from audit_store.guidelines import Guideline
from audit_store.panel import panel
from audit_store.queue import Item
from audit_store.reasons import numbers, reasons
from audit_store.rounds import Pair
from audit_store.terms import Mark

CHANNELS_AT_FIRST = 6
FEWEST_CHANNELS = 4
THIS_VISIT, ALL_VISITS = "this visit", "all visits"
POINTS, POINTS_OF_MANY, MANY = 240, 120, 8  # most points a channel: a chart is some 300 pixels wide
TABS = 6  # visits shown as tabs; more are a list to choose from
SHORT_STAY = 36.0  # hours: a stay no longer than this is not cut into windows


def guideline_html(guideline: Guideline) -> str:
    """A guideline in full, escaped."""

    def part(title: str, lines: tuple[str, ...]) -> str:
        rows = "".join(f"<li>{escape(line)}</li>" for line in lines)
        return f"<h3>{title}</h3><ul>{rows}</ul>" if lines else ""

    return (
        f'<section class="guideline"><h2 class="pane">{escape(guideline.name)}</h2>'
        + part("Present when", guideline.present_when)
        + part("Absent when", guideline.absent_when)
        + part("Can't say when", guideline.cannot_tell_when)
        + f'<p class="soft">guideline version {guideline.version}</p></section>'
    )


def first_channels(chart: Chart, stays: Sequence[int], guidelines: Sequence[Guideline]) -> tuple[list[str], list[str]]:
    """The channels shown at first, and all that can be shown, those that the question needs standing first."""
    measured = {channel.name: channel.title for channel in chart.channels_of(stays)}
    wanted = dict.fromkeys(name for guideline in guidelines for name in guideline.series)
    first = [name for name in wanted if name in measured]
    rest = [name for name in measured if name not in wanted]
    default = first[:CHANNELS_AT_FIRST] if len(first) >= FEWEST_CHANNELS else (first + rest)[:FEWEST_CHANNELS]
    return default, [*first, *rest]


def lay_out_series(
    chart: Chart,
    stay_id: int,
    visits: Sequence[Visit],
    guidelines: Sequence[Guideline],
    chosen: Sequence[str],
    window: str = visit_axis.WHOLE,
) -> series_chart.Drawing | None:
    """Lay out the chosen channels of some visits; what the question needs and nobody measured is named."""
    stays = [visit.stay_id for visit in visits]
    measured = {channel.name for channel in chart.channels_of(stays)}
    wanted = dict.fromkeys(name for guideline in guidelines for name in guideline.series)
    missing = [chart.channel(name) for name in wanted if name not in measured]
    return series_chart.lay_out_charts(
        chart.series(stays, channels=list(chosen), max_points=POINTS if len(chosen) <= MANY else POINTS_OF_MANY),
        visits,
        [*(chart.channel(name) for name in chosen), *missing],
        chart.cutoff_hours,
        chart.order_known(stay_id),
        window,
        roomy=not chart.has_notes,
    )


def scope_at_first(guidelines: Sequence[Guideline], visits: Sequence[Visit], together: bool = False) -> str:
    """An acute condition is read in its own visit, others over all; several visits asked about stay in sight."""
    acute = all(guideline.persistence == "acute" for guideline in guidelines)
    return THIS_VISIT if len(visits) < 2 or (acute and not together) else ALL_VISITS


def lay_out_ahead(chart: Chart, item: Item, made: Prepared, together: bool = False) -> None:
    """Lay out the charts that an item's page shows at first."""
    scope = scope_at_first(made.guidelines, made.visits, together)
    visits = made.visits if scope == ALL_VISITS else tuple(v for v in made.visits if v.is_this)
    chosen, _ = first_channels(chart, [visit.stay_id for visit in visits], made.guidelines)
    key = ("series", scope, tuple(chosen), visit_axis.WHOLE)
    made.once(key, lambda: lay_out_series(chart, item.stay_id, visits, made.guidelines, chosen))


@st.fragment
def series_pane(
    chart: Chart,
    stay_id: int,
    visits: tuple[Visit, ...],
    guidelines: list[Guideline],
    token: str,
    *,
    anchor: str | None = None,
    together: bool = False,
    made: Prepared | None = None,
    before_charts: Callable[[], None] | None = None,
) -> None:
    """Measured values over time, with the choice of visits, hours and channels.

    Parameters
    ----------
    token
        Names the question: its channels are chosen anew for each.
    anchor
        Names the pane where the questions of one patient share it (patient mode); the token else.
    together
        Whether questions about several visits share the pane.
    made
        Where laid-out charts are kept.
    before_charts
        Called once the pane's words are drawn.
    """
    anchor = anchor or token
    with st.container(horizontal=True, key="series_head", vertical_alignment="center", gap="small"):
        st.html('<h2 class="pane">Over time</h2>')
        scope = THIS_VISIT
        if len(visits) > 1:
            scope = str(
                st.segmented_control(
                    "Visits",
                    [THIS_VISIT, ALL_VISITS],
                    default=scope_at_first(guidelines, visits, together),
                    required=True,
                    key=f"scope_{anchor}",
                    label_visibility="collapsed",
                )
            )
        shown = visits if scope == ALL_VISITS else tuple(v for v in visits if v.is_this)
        default, every = first_channels(chart, [visit.stay_id for visit in shown], guidelines)
        window = visit_axis.WHOLE
        if every and len(shown) == 1 and shown[0].los_hours > SHORT_STAY:
            window = str(
                st.segmented_control(
                    "Hours",
                    visit_axis.WINDOWS,
                    default=visit_axis.WHOLE,
                    required=True,
                    key=f"hours_{anchor}",
                    label_visibility="collapsed",
                    format_func=lambda name: "whole stay" if name == visit_axis.WHOLE else name,
                )
            )
        with st.popover("Channels", icon=":material/stacked_line_chart:", key="channels"):
            chosen = st.multiselect(
                "Channels shown",
                every,
                default=default,
                format_func=lambda name: chart.channel(name).title,
                key=f"channels_{token}_{scope}",
                help="The channels this question needs stand first. The charts can be dragged along, and zoomed with "
                "Ctrl and the wheel; a double click sets them back.",
            )
    if not every:
        st.html('<p class="empty">Nothing was measured here, or it is not in this data. Decide from the rest.</p>')
        return

    def lay_out() -> series_chart.Drawing | None:
        return lay_out_series(chart, stay_id, shown, guidelines, chosen, window)

    key = ("series", scope, tuple(chosen), window)
    drawing = made.once(key, lay_out) if made else lay_out()
    series_chart.draw(drawing, key=f"series_{token}", before=before_charts)


def _visit_choice(options: Sequence[int | str], place: int | str, titles: dict[int, str], key: str) -> int | str:
    """Which visit's notes: tabs for a few, a list for many."""
    words = ["all visits" if option == "all" else titles[int(option)] for option in options]
    at = options.index(place)
    if len(options) > TABS + 1:
        chosen = st.selectbox(
            "Visit",
            range(len(options)),
            index=at,
            format_func=words.__getitem__,
            key=key,
            label_visibility="collapsed",
            width=160,
        )
    else:
        chosen = st.segmented_control(
            "Visit",
            range(len(options)),
            default=at,
            required=True,
            format_func=words.__getitem__,
            key=key,
            label_visibility="collapsed",
        )
    return options[int(chosen or 0)]


@st.fragment
def notes_pane(
    context: Context,
    item: Item,
    visits: tuple[Visit, ...],
    marks: tuple[Mark, ...],
    whole: bool,
    marked: bool,
    *,
    anchor: str | None = None,
    made: Prepared | None = None,
) -> None:
    """The passages that matter first, or whole notes, by visit; `anchor` and `made` as in `series_pane`."""
    chart, anchor = context.chart, anchor or item.token
    titles = {visit.stay_id: f"{visit.title} (asked)" if visit.is_this else visit.title for visit in visits}
    known = chart.order_known(item.stay_id)
    every = chart.notes([visit.stay_id for visit in visits])
    with st.container(horizontal=True, key="notes_head", vertical_alignment="center", gap="small"):
        order = "" if known or len(visits) < 2 else ' <span class="tag">order unknown</span>'
        st.html(f'<h2 class="pane">{"Whole notes" if whole else "Notes: what matters first"}{order}</h2>')
        options: list[int | str] = [*([] if whole else ["all"]), *(visit.stay_id for visit in visits)]
        place: int | str = item.stay_id if whole else "all"
        if len(visits) > 1:
            place = _visit_choice(options, place, titles, f"note_visit_{anchor}_{whole}")
    notes = every if place == "all" else tuple(note for note in every if note.stay_id == place)
    if whole:
        notes_view.draw_whole(notes, titles, item.label_keys, marks)
        return
    ahead = made is not None and place == "all" and not marks
    kept = made.passages if made is not None and ahead else best_passages(notes, item, marks)
    notes_view.draw_passages(kept, visits, notes, marked, item.stay_id)


def others_of(others: Sequence[LabelInfo], asked: frozenset[str]) -> list[LabelInfo]:
    """Other labels recorded here, less those about which this person is still asked."""
    return [label for label in others if label.key not in asked]


def why_pane(
    context: Context,
    item: Item,
    pairs: Sequence[Pair],
    evidence: dict[str, pd.DataFrame],
    withheld: dict[str, frozenset[int]] | None = None,
) -> None:
    """Why each flagged label was flagged; where none was, what the model makes of the first.

    What would tell the record of a visit that is `withheld` is left out: its cell, and what compares visits.
    """
    mixtures = context.round_file.mixtures()
    for pair in [pair for pair in pairs if pair.flagged] or list(pairs[:1]):
        hidden = (withheld or {}).get(pair.label_key, frozenset())
        shown = context.chart.strip(item.stay_id, pair.label_key, blind=False, withheld=hidden)
        result = panel(context.chart, pair.label_key, item.stay_id, context.guidelines)
        places = context.round_file.detector_places(item.stay_id, pair.label_key)
        if hidden:
            places = [place for place in places if place.name != "visits"]
        said = statements(context.chart, item.stay_id, pair.label_key)
        why = reasons(pair, shown, evidence[pair.label_key], result, pair.label_name, places=places, statements=said)
        group = mixtures[mixtures["label_key"] == pair.label_key]
        reveal.draw_why(
            pair,
            why,
            numbers(pair, group),
            places,
            titled=len(pairs) > 1,
            key=f"history_{item.token}_{pair.label_key}",
        )
