"""One's own account: what it may do, and a new password."""

import streamlit as st

from app import session
from app.components.page import heading, section
from app.components.role_words import role_words
from app.plain import escape
from audit_store.people import SIGN_IN, Person, change_own_password

_ERROR, _DONE = "account_error", "account_done"
_FIELDS = ("account_old", "account_new", "account_again")


def _change() -> None:
    """Set the new password, and go on with a fresh sitting: the old ones have ended."""
    old, new, again = (str(st.session_state.get(name, "")) for name in _FIELDS)
    if new != again:
        st.session_state[_ERROR] = "The two new passwords differ. Type the same one twice."
        return
    try:
        person = session.current_person()
        if person is None:
            return
        change_own_password(session.store(), person, old, new)
        session.sign_in(person.name, new)
    except Exception as error:
        st.session_state[_ERROR] = session.in_words(error)
        return
    for name in _FIELDS:
        st.session_state[name] = ""
    st.session_state[_DONE] = True


def _facts(person: Person) -> list[tuple[str, str]]:
    agreement = "none noted; a steward notes it on the page People"
    if person.attestation:
        agreement = f"{person.attestation}, until {person.attestation_expires}"
    return [
        ("name", person.name),
        ("shown as", person.display_name),
        ("role", role_words(person.role)),
        ("data-use attestation", agreement),
        ("signs in", "with a password" if person.issuer is None else f"through {person.issuer}"),
    ]


def _barred(person: Person) -> str:
    """Why nothing but this page opens, and who mends it."""
    if person.attestation_expires:
        came = f"Your data-use attestation ended on {person.attestation_expires}"
    else:
        came = "This workspace asks for a data-use attestation, and none is noted for you"
    return f"{came}. Until a steward notes one on the page People, nothing but this page opens."


def render() -> None:
    """What the account is, and the form for another password."""
    person = session.current_person()
    if person is None:
        return
    if person.temporary:
        heading("Choose your own password", "The one you were given is known to the person who gave it to you.")
    else:
        heading("Your account")
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in _facts(person))
        st.html(f'<dl class="account">{rows}</dl>')
    if person.barred:
        st.html(f'<p class="note-line" role="alert">{escape(_barred(person))}</p>')
    if person.issuer is not None:
        st.html('<p class="note-line">Your role and password are kept by the identity provider.</p>')
        return
    if person.demo:
        st.html('<p class="note-line">The demo account is shared: its password stays as it is.</p>')
        return
    if not person.temporary:
        section("Another password")
    if st.session_state.pop(_DONE, False):
        st.success("Changed. Other sittings of yours were signed out.")
    error = st.session_state.pop(_ERROR, None)
    if error:
        st.error(error)
    with st.form("own_password", border=False, width=420):
        st.text_input("Password now", key=_FIELDS[0], type="password", autocomplete="current-password")
        st.text_input(
            f"New password, {SIGN_IN.shortest_password} characters or more",
            key=_FIELDS[1],
            type="password",
            autocomplete="new-password",
        )
        st.text_input("The new one again", key=_FIELDS[2], type="password", autocomplete="new-password")
        st.form_submit_button("Change the password", on_click=_change, type="primary")
