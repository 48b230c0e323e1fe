"""People: who may sign in, what each may do, and what they attested."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import wraps
from typing import Any
from urllib.parse import urlparse

import pandas as pd
import streamlit as st

from app import session
from app.components.page import Column, Markup, heading, section, table
from app.components.role_words import ROLE_WORDS, ROLES, role_words
from app.plain import escape, literal
from audit_store.attestations import attestation_required, require_attestation
from audit_store.database import Store
from audit_store.people import (
    Person,
    add_person,
    disable_person,
    enable_person,
    people_table,
    set_attestation,
    set_password,
    set_role,
    temporary_password,
)

_ERROR, _TOLD, _HANDED = "people_error", "people_told", "people_handed"
_ADD = ("add_name", "add_display", "add_attestation")
ATTESTED = {"holds": "holds", "expired": "expired", "none": "none noted"}


def _act(act: Callable[..., str]) -> Callable[..., None]:
    """Do an act and keep its line, or what went wrong, for the page drawn next."""

    @wraps(act)
    def run(*args: Any) -> None:
        st.session_state.pop(_HANDED, None)
        try:
            person = session.current_person()
            if person is not None:
                st.session_state[_TOLD] = act(session.store(), person, *args)
        except Exception as error:
            st.session_state[_ERROR] = session.in_words(error)

    return run


@_act
def _add(store: Store, actor: Person) -> str:
    name = str(st.session_state.get("add_name", "")).strip().lower()
    password = temporary_password()
    day: date | None = st.session_state.get("add_expires")
    person = add_person(
        store,
        actor,
        name,
        password,
        display_name=str(st.session_state.get("add_display", "")).strip() or None,
        role=str(st.session_state["add_role"]),
        temporary=True,
        attestation=str(st.session_state.get("add_attestation", "")),
        attestation_expires=None if day is None else day.isoformat(),
    )
    st.session_state[_HANDED] = (person.name, password)
    for key in _ADD:
        st.session_state[key] = ""
    return f"{person.display_name} can sign in as {person.name}."


@_act
def _password(store: Store, actor: Person, name: str) -> str:
    password = temporary_password()
    set_password(store, actor, name, password)
    st.session_state[_HANDED] = (name, password)
    return f"{name} has a new password and was signed out everywhere."


@_act
def _role(store: Store, actor: Person, name: str) -> str:
    role = str(st.session_state[f"role_{name}"])
    set_role(store, actor, name, role)
    return f"{name} is now {role_words(role)}."


@_act
def _close(store: Store, actor: Person, name: str) -> str:
    disable_person(store, actor, name)
    return f"{name} can no longer sign in. What they decided stays."


@_act
def _open(store: Store, actor: Person, name: str) -> str:
    enable_person(store, actor, name)
    return f"{name} can sign in again."


@_act
def _attest(store: Store, actor: Person, name: str) -> str:
    day: date | None = st.session_state.get(f"attest_day_{name}")
    text = str(st.session_state.get(f"attest_{name}", ""))
    person = set_attestation(store, actor, name, text, None if day is None else day.isoformat())
    if person.attestation is None:
        return f"No attestation stands for {name} any more."
    return f"{name}: {person.attestation}, until {person.attestation_expires}."


@_act
def _ask_attestation(store: Store, actor: Person) -> str:
    required = not attestation_required(store)
    require_attestation(store, actor, required)
    return "An attestation is asked of everyone now." if required else "People without an attestation are let in again."


def _put_away() -> None:
    st.session_state.pop(_HANDED, None)


def render() -> None:
    """The accounts, one to change, and a new one."""
    person = session.current_person()
    if person is None:
        return
    rows = people_table(session.store(), person)
    heading("People", "Who may sign in and what each may do. Every change is in the trail; no password ever is.")
    _lines()
    st.html(f'<div class="people">{_table_html(rows)}</div>')
    left, right = st.columns(2, gap="large")
    with left:
        _change(person, rows)
    with right:
        _new()
        _rule(session.store())


def _lines() -> None:
    error, told = st.session_state.pop(_ERROR, None), st.session_state.pop(_TOLD, None)
    if error:
        st.error(literal(error))
    elif told:
        st.success(literal(told))
    handed = st.session_state.get(_HANDED)
    if handed:
        name, password = handed
        with st.container(key="card_handed"):
            st.html(
                f'<p>Temporary password for <b>{escape(name)}</b>: <code class="handed">{escape(password)}</code></p>'
                '<p class="soft">It is shown this once and kept nowhere. Hand it over in person; until they choose '
                "their own, the account can do nothing else.</p>"
            )
            st.button("It is handed over, put it away", key="put_away", on_click=_put_away)


def _state(row: Mapping[Any, Any]) -> str:
    words = ["active" if row["active"] else "closed"]
    words += ["demo"] if row["demo"] else []
    words += ["temporary password"] if row["temporary"] and row["active"] else []
    return ", ".join(words)


def _attestation(row: Mapping[Any, Any]) -> str | Markup:
    if row["attested"] == "none":
        return ATTESTED["none"]
    text = escape(f"{row['attestation']}, until {row['attestation_expires']}")
    if row["attested"] == "expired":
        return Markup(f'<span class="expired">▲ expired</span> {text}')
    return Markup(text)


def _origin(issuer: str | None) -> str:
    """How somebody signs in: by a password, or through which provider's host."""
    return "password" if not issuer else urlparse(issuer).hostname or "identity provider"


def _table_html(rows: pd.DataFrame) -> str:
    body = [
        (
            row["name"],
            row["display_name"],
            Markup(f'<b>{escape(row["role"])}</b> <span class="soft">{escape(ROLE_WORDS[row["role"]])}</span>'),
            _state(row),
            _origin(row["issuer"]),
            "never" if pd.isna(row["last_sign_in"]) else f"{row['last_sign_in']:%Y-%m-%d %H:%M} UTC",
            _attestation(row),
        )
        for row in rows.to_dict("records")
    ]
    names = ("name", "shown as", "role", "state", "signs in by", "last sign-in", "data-use attestation")
    return table([Column(name) for name in names], body, "Accounts")


def _change(person: Person, rows: pd.DataFrame) -> None:
    section("Change an account")
    names = dict(zip(rows["name"], rows["display_name"], strict=True))
    name = st.selectbox(
        "Account",
        list(names),
        format_func=lambda key: key if names[key] == key else f"{names[key]} ({key})",
        key="people_pick",
    )
    row = rows[rows["name"] == name].iloc[0]
    if row["issuer"]:
        st.html('<p class="soft">Role and password are the identity provider\'s; they hold from the next sign-in.</p>')
    else:
        _role_of(name, str(row["role"]))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Data-use attestation", row["attestation"] or "", max_chars=200, key=f"attest_{name}")
        day = row["attestation_expires"]
        st.date_input(
            "Holds until",
            date.fromisoformat(day) if day else None,
            key=f"attest_day_{name}",
            format="YYYY-MM-DD",
            width=150,
        )
        st.button("Note it", key="set_attestation", on_click=_attest, args=(name,))
    with st.container(horizontal=True):
        if row["active"]:
            st.button("Close the account", key="disable", icon=":material/block:", on_click=_close, args=(name,))
        else:
            st.button("Open the account again", key="enable", icon=":material/undo:", on_click=_open, args=(name,))
        if name == person.name:
            st.html('<p class="soft">Your own password: on the page Account.</p>')
        elif not row["demo"] and not row["issuer"]:
            st.button("Give a new password", key="reset", icon=":material/key:", on_click=_password, args=(name,))


def _role_of(name: str, role: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Role", ROLES, index=ROLES.index(role), format_func=role_words, key=f"role_{name}")
        st.button("Change the role", key="set_role", on_click=_role, args=(name,))


def _rule(store: Store) -> None:
    section("Data-use attestations")
    asked = attestation_required(store)
    words = (
        "Everyone has to have one: without, nothing but the page Account opens."
        if asked
        else "People without one are let in; one that has expired keeps its person to the page Account."
    )
    st.html(f'<p class="soft">{words}</p>')
    label = "Let people in without one" if asked else "Ask everyone for one"
    st.button(label, key="ask_attestation", on_click=_ask_attestation)


def _new() -> None:
    section("Add a person")
    with st.form("add_person", border=False):
        st.text_input("Name to sign in with (a–z, 0–9 . - _)", key="add_name", max_chars=32)
        st.text_input("Name shown", key="add_display", max_chars=200)
        st.selectbox("Role of the new person", ROLES, format_func=role_words, key="add_role")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Attestation (optional)",
                key="add_attestation",
                max_chars=200,
                placeholder="the agreement they attested",
            )
            st.date_input("Until", None, key="add_expires", format="YYYY-MM-DD", width=150)
        st.form_submit_button("Add, with a temporary password", on_click=_add, type="primary")
