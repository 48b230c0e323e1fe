"""The one-pair screen: read the patient, say what is true, then see what the record and the model say."""

import time

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import acts, session
from app import desk as desks
from app.components import keys, page, panel_view, panes, patient_list, reveal, strip
from app.desk import Desk, Sheet
from app.frame import guarded
from app.plain import escape, literal
from app.prepare import Prepared, Shelf
from audit_store.chart import Header
from audit_store.errors import RoundError
from audit_store.guidelines import Group, Guideline
from audit_store.people import log_access
from audit_store.protocol import current_protocol
from audit_store.queue import Item, find_item
from audit_store.rounds import Pair
from audit_store.terms import marks_from

WORDS_FIRST = 0.08
"""Seconds from the words to the charts: a browser draws at once what comes at once, and two charts take it longer than
all the words. The access is noted meanwhile."""


def _question(group: Group | None, guidelines: list[Guideline]) -> str:
    if group is not None and len(guidelines) > 1:
        return f"<b>{escape(group.name)}</b> {escape(group.question)}"
    return f"<b>{escape(guidelines[0].name)}</b> {escape(guidelines[0].question)}"


def _place(desk: Desk, header: Header) -> str:
    place = f"pair {desk.at + 1} of {len(desk.items)}"
    if desk.patient_mode:
        asked = desk.of_patient()
        number = next(i for i, item in enumerate(asked, 1) if desk.item is not None and item.token == desk.item.token)
        place += f" · question {number} of {len(asked)} about this patient"
    way = '<span class="tag way">blind reading</span>'
    if not desk.blind:
        way = '<span class="tag way open">record in sight</span>'
    return f'{way}<span class="where">{place} · stay {escape(header.text)}</span>'


def _head(desk: Desk, header: Header, group: Group | None, guidelines: list[Guideline]) -> DeltaGenerator:
    head = st.container(horizontal=True, key="head", vertical_alignment="center", gap="small")
    head.html(
        f'<div class="head"><p class="place">{_place(desk, header)}</p>'
        f'<h1 class="question">{_question(group, guidelines)}</h1></div>'
    )
    return head


def _tools(head: DeltaGenerator, desk: Desk, guidelines: list[Guideline]) -> None:
    """What opens from the head: the guideline, and settings."""
    with head:
        with st.popover("Guideline", icon=":material/menu_book:", key="guideline"):
            st.html("".join(panes.guideline_html(guideline) for guideline in guidelines))
        with st.popover("Settings", icon=":material/tune:", key="settings"):
            st.toggle(
                "Pause after each answer",
                value=desk.pause,
                key="pause",
                on_change=acts.set_pause,
                help="Off: one key answers and goes on; what the record said of the last pair stays in sight.",
            )
            st.toggle(
                "Patient mode",
                value=desk.patient_mode,
                key="patient_toggle",
                on_change=acts.set_patient_mode,
                help="All open questions about one patient one after the other, on one chart.",
            )


def _closing(desk: Desk) -> None:
    done = sum(
        desk.sheets[item.token].answered if item.token in desk.sheets else item.state != "open" for item in desk.items
    )
    if desk.items:
        later = len(desk.items) - done
        words = f"You answered {done} of {len(desk.items)}" + (f" and left {later} for later." if later else ".")
        title = "The batch is through"
    else:
        title, words = "Nothing left to read here", "You have answered every open pair of these labels."
    last = f'<div class="last"><span class="soft">last pair</span> {desk.last_line}</div>' if desk.last_line else ""
    st.html(f'<section class="empty-page"><h1 class="page">{title}</h1><p>{words}</p>{last}</section>')
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Another batch", key="another", type="primary", shortcut="J", on_click=acts.another_batch)
        if desk.items:
            st.button("Previous", key="previous", shortcut="K", on_click=acts.move, args=("", -1))
        st.button("Undo my last answer", key="undo", shortcut="U", on_click=acts.take_back_last, type="tertiary")


def _gone(error: RoundError) -> None:
    """What a link that leads nowhere shows: one line, and a way on."""
    st.html(
        '<section class="empty-page" role="alert"><h1 class="page">This link leads to no pair of this round</h1>'
        f"<p>{escape(session.in_words(error))}</p></section>"
    )
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Go to the next open pair", key="go_on", type="primary")


def _from_address(context: session.Context) -> Desk:
    desk = st.session_state.get("desk")
    if desk is None or desk.round_id != context.round_file.info.round_id:
        asked = st.query_params.pop("pair", None)
        if asked:
            # a link shows its pair, in the batch that holds it; it draws none
            desk = desks.desk_for(context, find_item(context.store, context.round_file, asked))
        else:
            desk = desks.open_batch(context)
        st.session_state["desk"] = desk
    return desk


def render() -> None:
    """One pair: what it needs on the left, series and notes on the right, the answer bar at the foot.

    The page is a fragment of its own: a key draws it anew and leaves the frame around it alone.
    """
    _page()


@st.fragment
@guarded
def _page() -> None:
    person = session.current_person()
    if person is None or session.offers_another_round():
        st.rerun(scope="app")  # the frame has something to say
    line = session.notice()
    if line:
        st.toast(literal(line))
    with session.drawing(person):
        _draw()


def _draw() -> None:
    context = session.context()
    try:
        desk = _from_address(context)
    except RoundError as error:
        _gone(error)
        return
    signed = current_protocol(context.store)
    desk.blind = (signed is None or signed.terms.blind) if desk.batch is None else desk.batch.blind
    desk.patient_mode = bool(st.session_state.get("patient_mode", desk.patient_mode))
    desk.gather(context, free=signed is None)
    desk.touch(time.monotonic())
    item = desk.item
    if item is None:
        st.query_params.clear()
        _closing(desk)
        return
    try:
        _pair(context, desk, item)
    finally:
        _note(context, desk, item)  # also when a key interrupts the drawing: what may have been seen is on the log
    desk.shown(desk.sheets[item.token].token, time.monotonic())
    _read_ahead(context, desk)


def _pair(context: session.Context, desk: Desk, item: Item) -> None:
    shelf: Shelf = st.session_state.setdefault("shelf", Shelf())
    sheet = desk.sheet(context)
    made = shelf.get(context, item)
    if desk.whole_notes:
        sheet.opened.add("whole_notes")
    # Blind and before the answer the round's pair is not even read: nothing of it can reach the page.
    told = sheet.answered or not desk.blind
    pairs = [context.round_file.pair(item.stay_id, key) for key in item.label_keys] if told else []
    evidence = {pair.label_key: context.round_file.evidence(item.stay_id, pair.label_key) for pair in pairs}
    marks = tuple(mark for rows in evidence.values() for mark in marks_from(rows))
    line = _line(desk, sheet, item, pairs)
    page.make_room(line, notes=context.chart.has_notes)
    head = _head(desk, made.header, made.group, made.guidelines)
    # The frames first, then the words; at last the charts and what looks the same for every pair or is folded away: the
    # answers, the address, what a line of the panel opens to. Till then the answers of the pair before stand there.
    left, right = st.columns([5, 8], gap="small")
    anchor = desk.anchor()
    left_pane = _scrolling(left.container(key="left_pane"), "left", item.token)
    series_pane = right.container(key="series_pane")
    notes_pane = _scrolling(right.container(key="notes_pane"), "notes", anchor)
    with left_pane:
        panel = _left(context, desk, item, made, pairs, evidence)
    with notes_pane:
        panes.notes_pane(context, item, made.visits, marks, desk.whole_notes, bool(pairs), anchor=anchor, made=made)
    foot = st.container(key="foot")
    foot.html(line)
    out: list[bool] = []

    def words_are_out() -> None:
        if out:
            return  # charts alone are drawn anew
        out.append(True)
        since = time.monotonic()
        _note(context, desk, item)
        time.sleep(max(0.0, since + WORDS_FIRST - time.monotonic()))

    with series_pane:
        panes.series_pane(
            context.chart,
            item.stay_id,
            made.visits,
            made.guidelines,
            item.token,
            anchor=anchor,
            together=_together(desk),
            made=made,
            before_charts=words_are_out,
        )
    if panel is not None:
        panel.html(panel_view.panels_html(*made.panels))
        st.session_state["unfolded"] = item.token
    with foot:
        _answer_bar(desk, sheet, item, made, pairs)
    st.query_params["pair"] = item.token
    _tools(head, desk, made.guidelines)


def _scrolling(pane: DeltaGenerator, name: str, what: str) -> DeltaGenerator:
    """The part of a pane that scrolls; another one for another question, so that each starts at its top."""
    return pane.container(key=f"scroll_{name}_{what}")


def _left(
    context: session.Context,
    desk: Desk,
    item: Item,
    made: Prepared,
    pairs: list[Pair],
    evidence: dict[str, pd.DataFrame],
) -> DeltaGenerator | None:
    """Draw the left pane, a new pair's panel folded; give the panel's place where what it opens to is still to come."""
    chart, withheld = context.chart, desk.withheld(item) if desk.blind else {}
    if desk.patient_mode:
        names = {key: context.guidelines[key].name for other in desk.of_patient() for key in other.label_keys}
        patient_list.draw(desk, made.visits, names, desk.sheets[item.token].token, acts.jump)
    if pairs:
        panes.why_pane(context, item, pairs, evidence, withheld)
    shown = [
        (guideline.name, chart.strip(item.stay_id, key, not pairs, withheld.get(key, frozenset())))
        for key, guideline in zip(item.label_keys, made.guidelines, strict=True)
    ]
    asked = frozenset(key for key, stays in withheld.items() if item.stay_id in stays)
    strip.draw(shown, made.visits, panes.others_of(made.others, asked), made.header.coded)
    if st.session_state.get("unfolded") == item.token:
        st.html(panel_view.panels_html(*made.panels))  # as it stands: a line that was opened stays open
        return None
    panel = st.empty()
    panel.html(panel_view.panels_html(*made.panels, folded=True))
    return panel


def _together(desk: Desk) -> bool:
    return desk.patient_mode and len({item.stay_id for item in desk.of_patient()}) > 1


def _read_ahead(context: session.Context, desk: Desk) -> None:
    """Prepare the item that comes next while this one is read."""
    place = desk.at + 1
    if place < len(desk.items):
        item, together = desk.items[place], _together(desk)
        shelf: Shelf = st.session_state["shelf"]
        shelf.ahead(context, item, lambda made: panes.lay_out_ahead(context.chart, item, made, together))


def _line(desk: Desk, sheet: Sheet, item: Item, pairs: list[Pair]) -> str:
    """HTML of what stands above the answers."""
    if sheet.answered:
        return reveal.line_html(pairs, sheet.answers, others=sheet.others)
    if pairs:
        return reveal.open_line_html(pairs)
    if desk.last_line:
        return f'<div class="last"><span class="soft">last pair</span> {desk.last_line}</div>'
    return reveal.waiting_html(len(item.label_keys))


def _answer_bar(desk: Desk, sheet: Sheet, item: Item, made: Prepared, pairs: list[Pair]) -> None:
    recorded = None if desk.blind else {pair.label_key: int(pair.observed) for pair in pairs}
    keys.answer_bar(
        desk,
        item,
        sheet,
        keys.choices(item.label_keys, made.group, recorded),
        made.guidelines[0].reason_codes,
        on_answer=acts.answer,
        on_undo=acts.take_back,
        on_move=acts.move,
        on_notes=acts.turn_notes,
        on_certainty=acts.certainty,
        on_details=acts.details,
    )


def _note(context: session.Context, desk: Desk, item: Item) -> None:
    """Put on the log, once a sitting, that this person opened the chart, and the whole notes where they did."""
    _log_once(context, item, "chart")
    if desk.whole_notes:
        _log_once(context, item, "note")


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
