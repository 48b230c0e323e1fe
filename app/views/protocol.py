"""The protocol: on what terms pairs are read, who signed them when, and what changed since."""

import pandas as pd
import streamlit as st

from app import session
from app.components import terms_picture
from app.components.page import Column, Markup, heading, section, table
from app.plain import escape
from audit_store.errors import DecisionError
from audit_store.people import list_people
from audit_store.protocol import (
    LARGEST_BATCH,
    LARGEST_BUDGET,
    LARGEST_SHARE,
    SMALLEST_BATCH,
    Protocol,
    Terms,
    check_terms,
    current_protocol,
    list_protocols,
    sign_protocol,
)

LEAD = "On what terms pairs are read, signed before the first batch."
MARK = 8  # characters of the hash that are shown


def mark(protocol: Protocol) -> str:
    """What a protocol is called on screens: the first characters of its hash."""
    return protocol.hash[:MARK]


@session.guarded
def _sign() -> None:
    context = session.context()
    signed = sign_protocol(context.store, context.person, _of_form(), context.guidelines)
    session.say(f"Signed. From now on batches are drawn under protocol {mark(signed)}.")


def _day(moment: object) -> str:
    return pd.Timestamp(str(moment)).strftime("%-d %B %Y, %H:%M UTC")


def _signed(context: session.Context, protocol: Protocol, names: dict[str, str]) -> None:
    who = escape(names.get(protocol.actor, protocol.actor.replace("operator:", "the operator ")))
    st.html(
        f'<p class="verdict-line good">Signed by <b>{who}</b> on <b>{_day(protocol.created_at)}</b>, '
        f'mark <b class="hash">{escape(mark(protocol))}</b>. Each decision read under it carries this mark.</p>'
    )


def _terms(terms: Terms) -> None:
    section("What a batch is made of")
    st.html(terms_picture.html(terms))
    section("What the random audit will tell")
    st.html(terms_picture.widths(terms))
    section("The terms in words")
    st.html('<ul class="terms">' + "".join(f"<li>{words}</li>" for words in terms_picture.sentences(terms)) + "</ul>")


def _changed(context: session.Context, protocol: Protocol) -> None:
    section("Guidelines")
    now = {key: context.guidelines[key].version_id for key in context.guidelines}
    changed = [key for key, version in now.items() if protocol.guideline_versions.get(key) != version]
    if not changed:
        st.html(f"<p>All {len(now)} guidelines are as they were signed.</p>")
    else:
        verb = "has" if len(changed) == 1 else "have"
        st.html(
            f'<p class="warn">{len(changed)} of {len(now)} guidelines {verb} changed since the signature. Sign again, '
            "so that the protocol names what readers see.</p>"
        )
    with st.expander("Guidelines by label"):
        rows = []
        for key, version in now.items():
            signed = protocol.guideline_versions.get(key)
            rows.append([context.guidelines[key].name, _version(signed), _version(version), _word(signed, version)])
        st.html(table((Column("Label"), Column("Signed"), Column("Now"), Column("Since")), rows, "Guidelines by label"))


def _word(signed: str | None, now: str) -> Markup:
    if signed == now:
        return Markup("the same")
    return Markup("<b>new</b>" if signed is None else "<b>changed</b>")


def _version(version_id: str | None) -> str:
    """Version number and the first characters of its digest."""
    if version_id is None:
        return "none"
    number, _, digest = version_id.partition("@")[2].partition(":")
    return f"version {number} ({digest[:4]})"


def _form(context: session.Context, protocol: Protocol | None) -> None:
    section("Sign a protocol" if protocol is None else "Change the terms")
    terms = Terms() if protocol is None else protocol.terms
    st.html(
        '<p class="soft">Batches already drawn keep the terms they were drawn under; decisions already made keep their '
        "mark.</p>"
    )
    with st.container(key="card_terms"):
        one, two = st.columns(2, gap="large")
        with one:
            st.number_input("Pairs in a batch", SMALLEST_BATCH, LARGEST_BATCH, terms.batch_size, 5, key="terms_size")
            limited = st.toggle("Stop after a number of pairs", terms.budget is not None, key="terms_limited")
            if limited:
                st.number_input(
                    "Pairs to read in a round", 1, LARGEST_BUDGET, terms.budget or 1_000, 50, key="terms_budget"
                )
            st.toggle(
                "Read blind",
                terms.blind,
                key="terms_blind",
                help="The recorded value, the suggestion and the reason a pair is shown appear after the answer.",
            )
        with two:
            for key, title, share, why in (
                ("double", "Read by a second person", terms.double_share, "Measures how far readers agree."),
                ("control", "Controls", terms.control_share, "Pairs that were not flagged: they show over-agreement."),
                ("audit", "Random audit", terms.audit_share, "Drawn at random: they tell the noise that is left."),
            ):
                st.slider(
                    title,
                    0,
                    round(100 * LARGEST_SHARE),
                    round(100 * share),
                    format="%d %% of a batch",
                    key=f"terms_{key}",
                    help=why,
                )
        try:
            picked = _of_form()
            check_terms(picked)
            st.html(terms_picture.html(picked))
        except DecisionError as refused:
            picked = None
            st.html(f'<p class="warn" role="alert">{escape(session.in_words(refused))}</p>')
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                f"Sign as {context.person.display_name or context.person.name}",
                key="sign_protocol",
                type="primary",
                disabled=picked is None,
                on_click=_sign,
            )
            st.html(
                '<span class="soft">Your name, the time and a mark over the terms go into the trail. '
                "This is no electronic signature.</span>"
            )


def _of_form() -> Terms:
    """The terms as the form has them."""
    state = st.session_state
    return Terms(
        batch_size=int(state["terms_size"]),
        budget=int(state["terms_budget"]) if state["terms_limited"] else None,
        blind=bool(state["terms_blind"]),
        double_share=state["terms_double"] / 100,
        control_share=state["terms_control"] / 100,
        audit_share=state["terms_audit"] / 100,
    )


def _history(context: session.Context, names: dict[str, str]) -> None:
    signed = list_protocols(context.store)
    if len(signed) < 2:
        return
    section("Signed before")
    columns = (Column("Signed"), Column("By"), Column("Mark"), *terms_picture.COLUMNS)
    rows = [
        [
            _day(row["created_at"]),
            names.get(row["actor"], row["actor"]),
            str(row["protocol_hash"])[:MARK],
            *terms_picture.cells(row),
        ]
        for row in signed.to_dict("records")
    ]
    st.html(table(columns, rows, "Protocols, the newest first"))


def render() -> None:
    """What was signed, in words; for stewards the form that signs."""
    context = session.context()
    heading("Protocol", LEAD)
    protocol = current_protocol(context.store)
    people = list_people(context.store)
    names = dict(zip(people["name"], people["display_name"], strict=True))
    if protocol is None:
        st.html(
            '<p class="note-line">Nothing is signed yet. Until then everyone reads the free queue, and nothing can '
            "be said of the noise that is left."
            + ("" if context.may("sign_protocol") else " A steward signs the protocol on this page.")
            + "</p>"
        )
    else:
        _signed(context, protocol, names)
        _terms(protocol.terms)
        _changed(context, protocol)
    if context.may("sign_protocol"):
        _form(context, protocol)
    _history(context, names)
