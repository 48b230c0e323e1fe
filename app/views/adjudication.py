"""Adjudication: the pairs whose readers disagree, one at a time, with both reasons and without names."""

import time

import streamlit as st

from app import bench as benches
from app import session
from app.bench import Bench, CaseSheet
from app.components import keys, panel_view, panes, rationales, reveal, strip
from app.components.page import Column, empty, heading, make_room, section, table
from app.plain import escape, literal
from app.prepare import Prepared, Shelf
from audit_store.cases import settled
from audit_store.chart import masked
from audit_store.people import log_access
from audit_store.queue import Item
from audit_store.rounds import Pair
from audit_store.terms import marks_from

SHOWN = 25
DISAGREE, UNSURE = "readers disagree", "no reader could say"


def _name(context: session.Context, item: Item) -> str:
    if item.label_group is not None:
        return str(context.guidelines.groups[item.label_group].name)
    return context.round_file.label_names[item.label_keys[0]]


def render() -> None:
    """The case on the bench, or the list of cases."""
    context = session.context()
    bench = st.session_state.get(benches.BENCH)
    if bench is not None and bench.round_id != context.round_file.info.round_id:
        bench = None
        benches.leave()
    asked = st.query_params.get("case")
    if bench is None and asked:
        bench = benches.open_bench(context)
        benches.bring(context, bench, asked)
        st.session_state[benches.BENCH] = bench
    if bench is None:
        _list(context)
    elif bench.item is None:
        _closing(bench)
    else:
        _case(context, bench, bench.item)


def _list(context: session.Context) -> None:
    heading(
        "Adjudication",
        "Pairs that others read and did not settle. You see the readers' reasons, not their names; the record and the "
        "model's view come after your answer.",
    )
    view = st.segmented_control(
        "Which pairs",
        [DISAGREE, UNSURE],
        default=DISAGREE,
        required=True,
        key="case_kind",
        label_visibility="collapsed",
    )
    unsure = view == UNSURE
    bench = benches.open_bench(context, unsure)
    if bench.items:
        count = len(bench.items)
        st.button(
            f"Start · {count:,} {'pair waits' if count == 1 else 'pairs wait'}",
            key="start_cases",
            type="primary",
            on_click=benches.start,
            args=(unsure, None),
        )
        section("Waiting, the longest first")
        with st.container(key="case_list", gap=None):
            for item in bench.items[:SHOWN]:
                st.button(
                    f"{literal(_name(context, item))} · stay {masked(item.stay_id)}",
                    key=f"case_{item.token}",
                    type="tertiary",
                    icon=":material/balance:",
                    on_click=benches.start,
                    args=(unsure, item.token),
                )
        if count > SHOWN:
            st.html(f'<p class="soft">and {count - SHOWN:,} more; they follow in this order</p>')
    elif unsure:
        empty(
            "Nobody was left in doubt", "Pairs where each reader said “can't say” will stand here. They need nothing."
        )
    else:
        empty(
            "No readers disagree",
            "A pair comes here when one reader says present and another absent. Until a share of the pairs is read "
            "twice there is nothing to settle; go on reviewing, or come back later.",
        )
    _left_out(bench)
    _settled(context)


def _left_out(bench: Bench) -> None:
    if bench.own:
        words = "1 more is left to somebody else" if bench.own == 1 else f"{bench.own:,} more are left to somebody else"
        st.html(f'<p class="note-line soft">{words}: you are one of the readers.</p>')
    if bench.gone:
        words = "1 pair is" if bench.gone == 1 else f"{bench.gone:,} pairs are"
        st.html(f'<p class="note-line soft">{words} no longer in this round and can\'t be opened.</p>')


def _settled(context: session.Context) -> None:
    section("Settled")
    rows = settled(context.store, context.round_file, context.person)
    if rows.empty:
        st.html('<p class="empty">What you settle is listed here. It can be settled again; every answer is kept.</p>')
        return
    names = context.round_file.label_names
    shown = rows.head(SHOWN).to_dict("records")
    body = [
        (
            names.get(row["label_key"], row["label_key"].replace("_", " ")),
            masked(int(row["stay_id"])),
            f"{row['created_at']:%Y-%m-%d %H:%M} UTC",
            "you" if row["adjudicator"] == context.person.name else "another adjudicator",
            reveal.ANSWER_WORDS[row["answer"]],
            rationales.locked_words(row["answer"]) if row["counts"] else "replaced by a later one",
        )
        for row in shown
    ]
    columns = [Column(name) for name in ("label", "stay", "when", "by", "settled as", "what follows")]
    st.html(table(columns, body, "Pairs that were settled"))
    again = {
        str(row["item_token"]): f"{names.get(row['label_key'], row['label_key'])} · stay {masked(int(row['stay_id']))}"
        for row in shown
        if row["counts"] and not row["own"]
    }
    if not again:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        token = st.selectbox(
            "Settle one again", list(again), format_func=again.__getitem__, key="settled_pick", width=420
        )
        st.button("Open it", key="settled_open", on_click=benches.start, args=(False, token))


def _closing(bench: Bench) -> None:
    done = len([sheet for sheet in bench.sheets.values() if sheet.answered])
    left = len(bench.items) - done
    heading("Adjudication")
    empty(
        "That was the last one",
        f"You settled {done} of {len(bench.items)}" + (f" and left {left} for later." if left else "."),
    )
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Back to the list", key="leave", type="primary", on_click=benches.leave)
        st.button("Previous", key="previous", shortcut="K", on_click=benches.move, args=("", -1))


def _withheld(bench: Bench, item: Item, key: str) -> frozenset[int]:
    """Other stays of this patient that still wait on the bench for the same label: their record stays hidden."""
    return frozenset(
        other.stay_id
        for other in bench.items
        if other.patient_id == item.patient_id
        and other.stay_id != item.stay_id
        and key in other.label_keys
        and not (other.token in bench.sheets and bench.sheets[other.token].answered)
    )


def _prepared(context: session.Context, bench: Bench, item: Item) -> Prepared:
    shelf: Shelf = st.session_state.setdefault("bench_shelf", Shelf())
    made = shelf.get(context, item)
    if bench.at + 1 < len(bench.items):
        shelf.ahead(context, bench.items[bench.at + 1])
    return made


def _head(bench: Bench, item: Item, made: Prepared) -> None:
    asked = made.group or made.guidelines[0]
    place = f"case {bench.at + 1} of {len(bench.items)} · stay {escape(made.header.text)}"
    with st.container(horizontal=True, key="head", vertical_alignment="center", gap="small"):
        st.html(
            f'<div class="head"><p class="place">{place}</p>'
            f'<h1 class="question"><b>{escape(asked.name)}</b> {escape(asked.question)}</h1></div>'
        )
        with st.popover("Guideline", icon=":material/menu_book:", key="guideline"):
            st.html("".join(panes.guideline_html(guideline) for guideline in made.guidelines))
        st.button("All cases", key="leave", icon=":material/list:", on_click=benches.leave)


def _case(context: session.Context, bench: Bench, item: Item) -> None:
    st.query_params["case"] = item.token
    sheet = bench.case(context)
    made = _prepared(context, bench, item)
    _log_once(context, item, "chart")
    if bench.whole_notes:
        _log_once(context, item, "note")
    # Before the answer the round's pair is not even read: nothing of it can reach the page.
    pairs = [context.round_file.pair(item.stay_id, key) for key in item.label_keys] if sheet.answered else []
    evidence = {pair.label_key: context.round_file.evidence(item.stay_id, pair.label_key) for pair in pairs}
    marks = tuple(mark for rows in evidence.values() for mark in marks_from(rows))
    withheld = {key: _withheld(bench, item, key) for key in item.label_keys}
    line = _line(item, sheet, pairs)
    make_room(line, told=bool(sheet.overtook), notes=context.chart.has_notes)
    _head(bench, item, made)
    left, right = st.columns([5, 8], gap="small")
    with left, st.container(key="left_pane"):
        st.html(rationales.rationales_html(made.guidelines, sheet.said, made.group))
        if pairs:
            panes.why_pane(context, item, pairs, evidence, withheld)
        strips = [
            (g.name, context.chart.strip(item.stay_id, key, blind=not sheet.answered, withheld=withheld[key]))
            for key, g in zip(item.label_keys, made.guidelines, strict=True)
        ]
        strip.draw(strips, made.visits, made.others, made.header.coded)
        st.html(panel_view.panels_html(*made.panels))
    with right:
        with st.container(key="series_pane"):
            panes.series_pane(context.chart, item.stay_id, made.visits, made.guidelines, item.token, made=made)
        with st.container(key="notes_pane"):
            panes.notes_pane(context, item, made.visits, marks, bench.whole_notes, bool(pairs), made=made)
    _foot(bench, item, sheet, made, line)
    bench.shown(sheet.token, time.monotonic())


def _line(item: Item, sheet: CaseSheet, pairs: list[Pair]) -> str:
    if pairs:
        return rationales.settled_html(pairs, sheet.mine)
    if sheet.earlier:
        words = ", ".join(dict.fromkeys(reveal.ANSWER_WORDS[row.answer] for row in sheet.earlier.values()))
        text = f"Settled before by another adjudicator as {words}. Your answer would take its place; both are kept."
        return f'<p class="reveal-line" role="status">{escape(text)}</p>'
    return reveal.waiting_html(len(item.label_keys))


def _foot(bench: Bench, item: Item, sheet: CaseSheet, made: Prepared, line: str) -> None:
    token = sheet.token
    standing = {key: row.answer for key, row in sheet.mine.items()}
    with st.bottom:
        st.html(line)
        if sheet.overtook:
            words = ", ".join(dict.fromkeys(reveal.ANSWER_WORDS[row.answer] for row in sheet.overtook.values()))
            st.html(
                f'<p class="warn overtook" role="status">While you were reading, another adjudicator settled this as '
                f"<b>{escape(words)}</b>. Both are kept; yours came later and counts.</p>"
            )
        with st.container(horizontal=True, key="answers", gap="small", vertical_alignment="center"):
            for choice in keys.choices(item.label_keys, made.group):
                chosen = sheet.answered and choice.answers == standing
                st.button(
                    f"✓ {choice.words}" if chosen else choice.words,
                    key=f"answer_{choice.name}",
                    shortcut=choice.key,
                    on_click=benches.settle,
                    args=(token, choice.name, choice.answers),
                )
            st.button(
                "Previous", key="previous", shortcut="K", type="tertiary", on_click=benches.move, args=(token, -1)
            )
            st.button(
                "Next",
                key="next",
                shortcut="J",
                type="primary" if sheet.answered else "tertiary",
                on_click=benches.move,
                args=(token, 1),
            )
            notes = "Passages" if bench.whole_notes else "Whole notes"
            st.button(notes, key="notes", shortcut="N", type="tertiary", on_click=benches.turn_notes, args=(token,))
            with st.popover("Comment", key="details"):
                st.text_area(
                    "Comment",
                    sheet.comment,
                    max_chars=keys.COMMENT_LIMIT,
                    height=90,
                    key=f"case_comment_{item.token}",
                    on_change=benches.comment,
                    args=(item, f"case_comment_{item.token}"),
                    placeholder="Optional: why. Kept apart from the answer, so that it can be redacted.",
                )


def _log_once(context: session.Context, item: Item, what: str) -> None:
    seen: set[tuple[str, str]] = st.session_state.setdefault("logged", set())
    if (item.token, what) not in seen:
        seen.add((item.token, what))
        round_id = context.round_file.info.round_id
        log_access(context.store, context.person, what, round_id, item.stay_id, item.label_keys[0])
