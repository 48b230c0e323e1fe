"""The one-pair screen: read the patient, say what is true, then see what the record and the model say."""

import time
from html import escape

import pandas as pd
import streamlit as st

from app import acts, session
from app import desk as desks
from app.components import keys, notes_view, panel_view, reveal, series_chart, strip
from app.desk import Desk, Sheet
from audit_store.chart import Chart, Header, LabelInfo, Visit
from audit_store.guidelines import Group, Guideline
from audit_store.panel import panel
from audit_store.people import log_access
from audit_store.queue import Item, QueueFilter, find_item
from audit_store.reasons import numbers, reasons
from audit_store.rounds import Pair
from audit_store.terms import Mark, marks_from, passages

CHANNELS_AT_FIRST = 6
FEWEST_CHANNELS = 4
PASSAGES = 8
THIS_VISIT, ALL_VISITS = "this visit", "all visits"


def _guideline_html(guideline: Guideline) -> str:
    def part(title: str, lines: tuple[str, ...]) -> str:
        rows = "".join(f"<li>{escape(line)}</li>" for line in lines)
        return f"<h5>{title}</h5><ul>{rows}</ul>" if lines else ""

    return (
        f'<section class="guideline"><h4>{escape(guideline.name)}</h4>'
        + part("Present when", guideline.present_when)
        + part("Absent when", guideline.absent_when)
        + part("Can't say when", guideline.cannot_tell_when)
        + f'<p class="soft">guideline version {guideline.version}</p></section>'
    )


def _question(group: Group | None, guidelines: list[Guideline]) -> str:
    if group is not None and len(guidelines) > 1:
        return f"<b>{escape(group.name)}</b> {escape(group.question)}"
    return f"<b>{escape(guidelines[0].name)}</b> {escape(guidelines[0].question)}"


def _head(desk: Desk, header: Header, group: Group | None, guidelines: list[Guideline]) -> None:
    with st.container(horizontal=True, key="head", vertical_alignment="center", gap="small"):
        place = f"pair {desk.at + 1} of {len(desk.items)} · stay {escape(header.text)}"
        st.html(
            f'<div class="head"><p class="place">{place}</p>'
            f'<h1 class="question">{_question(group, guidelines)}</h1></div>'
        )
        with st.popover("Guideline", icon=":material/menu_book:", key="guideline"):
            st.html("".join(_guideline_html(guideline) for guideline in guidelines))
        with st.popover("Settings", icon=":material/tune:", key="settings"):
            st.toggle(
                "Pause after each answer",
                value=desk.pause,
                key="pause",
                on_change=acts.set_pause,
                help="Off: one key answers and goes on; what the record said of the last pair stays in sight.",
            )


@st.fragment
def _series(chart: Chart, stay_id: int, visits: tuple[Visit, ...], guidelines: list[Guideline], token: str) -> None:
    acute = all(guideline.persistence == "acute" for guideline in guidelines)
    wanted = list(dict.fromkeys(name for guideline in guidelines for name in guideline.series))
    with st.container(horizontal=True, key="series_head", vertical_alignment="center", gap="small"):
        st.html("<h4>Measured over time</h4>")
        scope = THIS_VISIT
        if len(visits) > 1:
            scope = str(
                st.segmented_control(
                    "Visits",
                    [THIS_VISIT, ALL_VISITS],
                    default=THIS_VISIT if acute else ALL_VISITS,
                    required=True,
                    key=f"scope_{token}",
                    label_visibility="collapsed",
                )
            )
        shown_visits = visits if scope == ALL_VISITS else tuple(v for v in visits if v.is_this)
        stays = [visit.stay_id for visit in shown_visits]
        measured = chart.channels_of(stays)
        titles = {channel.name: channel.title for channel in measured}
        first = [name for name in wanted if name in titles]
        rest = [channel.name for channel in measured if channel.name not in first]
        default = first[:CHANNELS_AT_FIRST] if len(first) >= FEWEST_CHANNELS else (first + rest)[:FEWEST_CHANNELS]
        with st.popover("Channels", icon=":material/stacked_line_chart:", key="channels"):
            chosen = st.multiselect(
                "Channels shown",
                [*first, *rest],
                default=default,
                format_func=titles.__getitem__,
                key=f"channels_{token}_{scope}",
                help="The channels this question needs stand first.",
            )
    if not measured:
        st.html('<p class="empty">Nothing was measured here, or it is not in this data. Decide from the rest.</p>')
        return
    missing = [chart.channel(name) for name in wanted if name not in titles]
    frame = chart.series(stays, channels=list(chosen))
    series_chart.draw(
        frame,
        shown_visits,
        [*(chart.channel(name) for name in chosen), *missing],
        chart.cutoff_hours,
        chart.order_known(stay_id),
        key=f"series_{token}",
    )


@st.fragment
def _notes_pane(
    context: session.Context, item: Item, visits: tuple[Visit, ...], marks: tuple[Mark, ...], whole: bool, marked: bool
) -> None:
    chart = context.chart
    titles = {visit.stay_id: f"{visit.title} (asked)" if visit.is_this else visit.title for visit in visits}
    known = chart.order_known(item.stay_id)
    every = chart.notes([visit.stay_id for visit in visits])
    with st.container(horizontal=True, key="notes_head", vertical_alignment="center", gap="small"):
        st.html(f"<h4>{'Whole notes' if whole else 'Notes: the passages that matter first'}</h4>")
        options: list[int | str] = [visit.stay_id for visit in visits]
        if not whole:
            options = ["all", *options]
        place: int | str = "all" if not whole else item.stay_id
        if len(visits) > 1:
            chosen = st.segmented_control(
                "Visit",
                range(len(options)),
                default=options.index(place),
                required=True,
                format_func=lambda i: "all visits" if options[i] == "all" else titles[int(options[i])],
                key=f"note_visit_{item.token}_{whole}",
                label_visibility="collapsed",
            )
            place = options[int(chosen or 0)]
        if not known and len(visits) > 1:
            st.html('<span class="tag">order unknown</span>')
    notes = every if place == "all" else tuple(note for note in every if note.stay_id == place)
    if whole:
        notes_view.draw_whole(notes, titles, item.label_keys, marks)
        return
    found = [p for key in item.label_keys for p in passages(notes, key, marks, limit=PASSAGES, this_stay=item.stay_id)]
    found = sorted(found, key=lambda p: -p.score)
    once = {(p.note_id, p.start): p for p in reversed(found)}
    kept = [p for p in found if once[(p.note_id, p.start)] is p][:PASSAGES]
    notes_view.draw_passages(kept, visits, notes, marked)


def _others(context: session.Context, item: Item) -> list[LabelInfo]:
    """Other labels recorded here, less those that the queue may ask about next: their record would be given away."""
    pairs = context.round_file.pairs_of_stay(item.stay_id)
    asked = set(pairs.loc[pairs["flagged"], "label_key"])
    return [label for label in context.chart.other_labels(item.stay_id, item.label_keys[0]) if label.key not in asked]


def _why(context: session.Context, item: Item, pairs: list[Pair], evidence: dict[str, pd.DataFrame]) -> None:
    mixtures = context.round_file.mixtures()
    for pair in [pair for pair in pairs if pair.flagged] or pairs[:1]:
        shown = context.chart.strip(item.stay_id, pair.label_key, blind=False)
        result = panel(context.chart, pair.label_key, item.stay_id, context.guidelines)
        places = context.round_file.detector_places(item.stay_id, pair.label_key)
        why = reasons(pair, shown, evidence[pair.label_key], result, pair.label_name, places=places)
        group = mixtures[mixtures["label_key"] == pair.label_key]
        reveal.draw_why(
            pair,
            why,
            numbers(pair, group),
            places,
            titled=len(pairs) > 1,
            key=f"history_{item.token}_{pair.label_key}",
        )


def _closing(desk: Desk) -> None:
    done = len([sheet for sheet in desk.sheets.values() if sheet.answered])
    if desk.items:
        later = len(desk.items) - done
        words = f"You answered {done} of {len(desk.items)}" + (f" and left {later} for later." if later else ".")
        title = "The batch is through"
    else:
        title, words = "Nothing left to read here", "You have answered every open pair of these labels."
    st.html(f'<section class="empty-page"><h2>{title}</h2><p>{words}</p></section>')
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Another batch", key="another", type="primary", on_click=acts.another_batch)
        if desk.items:
            st.button("Previous", key="previous", shortcut="K", on_click=acts.move, args=("", -1))
            st.button("Undo", key="undo", shortcut="U", on_click=acts.take_back_last, type="tertiary")


def _from_address(context: session.Context) -> Desk:
    desk = st.session_state.get("desk")
    if desk is None or desk.round_id != context.round_file.info.round_id:
        desk = desks.open_batch(context, QueueFilter())
        asked = st.query_params.get("pair")
        if asked:
            desk.bring(find_item(context.store, context.round_file, asked))
        st.session_state["desk"] = desk
    return desk


def render() -> None:
    """One pair: what it needs on the left, series and notes on the right, the answer bar at the foot."""
    context = session.context()
    desk = _from_address(context)
    desk.touch(time.monotonic())
    item = desk.item
    if item is None:
        st.query_params.clear()
        _closing(desk)
        return
    st.query_params["pair"] = item.token
    chart, sheet = context.chart, desk.sheet(context)
    guidelines = [context.guidelines[key] for key in item.label_keys]
    group = context.guidelines.group_of(item.label_keys[0]) if len(item.label_keys) > 1 else None
    visits = chart.visits(item.stay_id)
    header = chart.header(item.stay_id)
    _log_once(context, item, "chart")
    if desk.whole_notes:
        sheet.opened.add("whole_notes")
        _log_once(context, item, "note")
    # Before the answer the round's pair is not even read: nothing of it can reach the page.
    pairs = [context.round_file.pair(item.stay_id, key) for key in item.label_keys] if sheet.answered else []
    evidence = {pair.label_key: context.round_file.evidence(item.stay_id, pair.label_key) for pair in pairs}
    marks = tuple(mark for rows in evidence.values() for mark in marks_from(rows))
    _head(desk, header, group, guidelines)
    left, right = st.columns([5, 8], gap="small")
    with left, st.container(key="left_pane"):
        if pairs:
            _why(context, item, pairs, evidence)
        shown = [
            (guideline.name, chart.strip(item.stay_id, key, blind=not sheet.answered))
            for key, guideline in zip(item.label_keys, guidelines, strict=True)
        ]
        strip.draw(shown, visits, _others(context, item), header.coded)
        panel_view.draw(*[panel(chart, key, item.stay_id, context.guidelines) for key in item.label_keys])
    with right:
        with st.container(key="series_pane"):
            _series(chart, item.stay_id, visits, guidelines, item.token)
        with st.container(key="notes_pane"):
            _notes_pane(context, item, visits, marks, desk.whole_notes, bool(pairs))
    _foot(desk, sheet, item, group, guidelines, pairs)
    desk.shown(sheet.token, time.monotonic())


def _foot(
    desk: Desk, sheet: Sheet, item: Item, group: Group | None, guidelines: list[Guideline], pairs: list[Pair]
) -> None:
    with st.bottom:
        if pairs:
            st.html(reveal.line_html(pairs, sheet.answers))
        elif desk.last_line:
            st.html(f'<div class="last"><span class="soft">last pair</span> {desk.last_line}</div>')
        else:
            st.html(reveal.waiting_html(len(item.label_keys)))
        keys.answer_bar(
            desk,
            item,
            sheet,
            keys.choices(item.label_keys, group),
            guidelines[0].reason_codes,
            on_answer=acts.answer,
            on_undo=acts.take_back,
            on_move=acts.move,
            on_notes=acts.turn_notes,
            on_certainty=acts.certainty,
            on_details=acts.details,
        )


def _log_once(context: session.Context, item: Item, what: str) -> None:
    seen: set[tuple[str, str]] = st.session_state.setdefault("logged", set())
    if (item.token, what) not in seen:
        seen.add((item.token, what))
        log_access(
            context.store,
            context.person,
            what,
            round_id=context.round_file.info.round_id,
            stay_id=item.stay_id,
            label_key=item.label_keys[0],
        )
