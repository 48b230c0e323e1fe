"""The audit trail: who did what and when, in sentences; checked on demand; as a file to hand over."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial

import streamlit as st

from app import session
from app.components.page import Column, heading, section, table
from app.plain import escape
from audit_store.comments import redact
from audit_store.database import Store, utc_now
from audit_store.ledger import head
from audit_store.people import PERMISSIONS, Person, log_access
from audit_store.trail_file import LONGEST_DOWNLOAD, csv_text, json_lines
from audit_store.trail_view import PAGE, PARTS, TrailFilter, TrailPage, finding_words, trail_choices, trail_page
from audit_store.verify import verify

EVERYONE, ANY_ROUND = "everyone", "any round"
FINDINGS_SHOWN = 5
DAY = "YYYY-MM-DD"
_UP_TO, _PAGE, _CHECK, _OPENED = "trail_up_to", "trail_page", "trail_check", "trail_opened"


def render() -> None:
    """Filters, the lines, the chain's check, and the download."""
    person = session.current_person()
    if person is None:
        return
    store = session.store()
    heading("Audit trail", "Everything that was done here, latest first. Nothing is ever changed or removed.")
    if not st.session_state.get(_OPENED):
        log_access(store, person, "trail")
        st.session_state[_OPENED] = True
    left, right = st.columns([7, 3], gap="large")
    with left:
        chosen = _filters(store, person)
        _lines(store, person, chosen)
    with right:
        _check(store)
        _download(store, person, chosen)
        if "redact" in PERMISSIONS[person.role]:
            _redaction()
        st.html(
            '<p class="soft">The trail keeps who, what, when and why, and every old value. This software is not '
            "validated under 21 CFR Part 11 and has no electronic signature.</p>"
        )


def _turned() -> None:
    """Start again at the latest line: another filter."""
    st.session_state.pop(_UP_TO, None)
    st.session_state[_PAGE] = 0


def _filters(store: Store, person: Person) -> TrailFilter:
    kinds, people, rounds = trail_choices(store, person)
    with st.container(horizontal=True, vertical_alignment="bottom", key="trail_filters", gap="small"):
        wanted = st.multiselect(
            "What",
            list(kinds),
            format_func=kinds.__getitem__,
            placeholder="everything",
            key="trail_kinds",
            on_change=_turned,
            width=260,
        )
        who = st.selectbox("Who", [EVERYONE, *people], key="trail_person", on_change=_turned, width=170)
        number = st.selectbox(
            "Round",
            [None, *rounds],
            format_func=lambda n: ANY_ROUND if n is None else f"round {n}",
            key="trail_round",
            on_change=_turned,
            width=130,
        )
        first = st.date_input("From (UTC)", value=None, key="trail_from", on_change=_turned, width=140, format=DAY)
        last = st.date_input("To (UTC)", value=None, key="trail_to", on_change=_turned, width=140, format=DAY)
    return TrailFilter(
        kinds=tuple(wanted),
        person=None if who == EVERYONE else who,
        since=None if first is None else datetime.combine(first, time.min),
        until=None if last is None else datetime.combine(last + timedelta(days=1), time.min),
        round_id=number,
        up_to=st.session_state.get(_UP_TO),
    )


def _go(page: int) -> None:
    st.session_state[_PAGE] = page


def _lines(store: Store, person: Person, chosen: TrailFilter) -> None:
    at = int(st.session_state.get(_PAGE, 0))
    shown = trail_page(store, person, chosen, at)
    st.session_state[_UP_TO] = shown.up_to
    if not shown.lines:
        st.html('<p class="empty">Nothing matches these filters. Widen the days, or take a filter away.</p>')
        st.button("Look again", key="trail_newest", icon=":material/refresh:", on_click=_turned)
        return
    _pager(shown, at)
    rows = [
        (
            f"{line.created_at:%Y-%m-%d %H:%M:%S}",
            f"{line.text} ({line.clock})" if line.clock else line.text,
            line.kind,
            f"{line.seq:,}",
        )
        for line in shown.lines
    ]
    columns = [Column("time, UTC"), Column("what was done"), Column("kind"), Column("event", number=True)]
    st.html(f'<div class="trail">{table(columns, rows, "Events, latest first")}</div>')


def _pager(shown: TrailPage, at: int) -> None:
    first = at * PAGE + 1
    last = first + len(shown.lines) - 1
    with st.container(horizontal=True, vertical_alignment="center", key="trail_pager", gap="small"):
        st.html(f'<p class="soft" role="status">{first:,} to {last:,} of {shown.total:,}</p>')
        st.button("Newer", key="trail_newer", disabled=at == 0, on_click=_go, args=(at - 1,))
        st.button("Older", key="trail_older", disabled=last >= shown.total, on_click=_go, args=(at + 1,))
        st.button("Latest", key="trail_newest", icon=":material/refresh:", type="tertiary", on_click=_turned)


def _check(store: Store) -> None:
    section("Does the chain hold?")
    if st.button("Check the chain now", key="trail_check_now", icon=":material/link:", type="primary"):
        _run_check(store)
    kept = st.session_state.get(_CHECK)
    if kept is None:
        st.html(
            '<p class="soft">Walks every event from the first and compares the tables, round files, the cohort and the '
            "exports with what it says. <code>miracl verify</code> does the same.</p>"
        )
        return
    st.html(kept)


def _run_check(store: Store) -> None:
    with st.status("Checking …", expanded=True) as status:
        done: list[str] = []

        def progress(part: str) -> None:
            done.append(part)
            status.update(label=f"Checking {len(done)} of {len(PARTS)}: {part} …")
            st.write(f"{part}: {PARTS.get(part, part)}")

        before = head(store)
        found = verify(store, progress)
        status.update(label="Checked", state="complete" if not found else "error", expanded=False)
    when = f"{utc_now():%Y-%m-%d %H:%M} UTC"
    checked = f"{before.count:,} events, {', '.join(part for part in done if part != 'ledger')}"
    if found:
        rows = "".join(f"<li>{escape(finding_words(finding))}</li>" for finding in found[:FINDINGS_SHOWN])
        more = len(found) - FINDINGS_SHOWN
        st.session_state[_CHECK] = (
            f'<div class="verdict-line bad" role="status"><p><b>It does not hold.</b> The first row of each part that '
            f"fails:</p><ul>{rows}</ul>{f'<p>and {more:,} more</p>' if more > 0 else ''}<p>Find out what changed "
            f"before anyone decides further; <code>miracl verify</code> lists everything. Checked {when}.</p></div>"
        )
        return
    st.session_state[_CHECK] = (
        f'<div class="verdict-line good" role="status"><p><b>It holds.</b> Checked {when}: {escape(checked)}.</p>'
        f'<p>Head: <code class="hash">{before.count}:{before.hash}</code></p>'
        "<p>Keep the head elsewhere: a tail that was cut shows only against it "
        "(<code>miracl verify --head</code>).</p></div>"
    )


def _download(store: Store, person: Person, chosen: TrailFilter) -> None:
    section("Download")
    comments = st.toggle("With the text of comments", value=False, key="trail_comments")
    withheld = (
        " What unanswered pairs were drawn for, and answers on them, are withheld from people who read."
        if "decide" in PERMISSIONS[person.role]
        else ""
    )
    st.html(
        '<p class="soft">The table is what the filters leave; the JSON lines are the whole chain, which anyone can '
        f"check. Oldest first, at most the latest {LONGEST_DOWNLOAD:,} events; <code>miracl trail --export</code> has "
        "no limit. "
        + ("Comments may quote the chart: patient data." if comments else "Comments stand by their digests alone.")
        + f"{withheld} The download itself is noted.</p>"
    )
    everything = replace(chosen, up_to=None)
    with st.container(horizontal=True, gap="small"):
        for name, words, make, mime in (
            ("trail.csv", "Table (CSV)", partial(csv_text, store, person, everything), "text/csv"),
            ("trail.jsonl", "Chain (JSON lines)", partial(json_lines, store, person), "application/x-ndjson"),
        ):
            st.download_button(
                words,
                data=partial(make, comments=comments),
                file_name=name,
                mime=mime,
                key=f"download_{name}_{comments}",
                icon=":material/download:",
                on_click="ignore",
            )


@session.guarded
def _redact() -> None:
    person = session.current_person()
    if person is None:
        return
    number = st.session_state.get("redact_event")
    redact(session.store(), person, int(number or 0), str(st.session_state.get("redact_why", "")))
    st.session_state["redact_why"] = ""
    _turned()
    session.say(f"The text of the comment of event {number} is gone; the answer and its digest stay.")


def _redaction() -> None:
    with st.expander("Remove the text of a comment"):
        st.html(
            '<p class="soft">For a comment that names a person or says more than it should. The answer, the digest and '
            "who removed it stay.</p>"
        )
        st.number_input("Number of its event", min_value=1, value=None, step=1, format="%d", key="redact_event")
        st.text_input("Why", key="redact_why", max_chars=200)
        ready = st.session_state.get("redact_event") is not None and bool(
            str(st.session_state.get("redact_why", "")).strip()
        )
        st.button("Remove it for ever", key="redact", disabled=not ready, on_click=_redact)
