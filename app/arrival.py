"""Coming in, vouched for by the identity provider; which ways in a server has."""

import streamlit as st

from app import session
from app.provider import identity_here, is_vouched, passwords_shut
from audit_store.admission import StaleTokenError, admit
from audit_store.errors import AccessError
from audit_store.identity import Identity
from audit_store.people import Person

_REFUSED = "provider_refused"


def provider() -> Identity | None:
    """The identity provider that the workspace names."""
    return identity_here(session.workspace())


def passwords_allowed() -> bool:
    """Whether accounts with a password may sign in."""
    return not passwords_shut(session.workspace())


def let_in() -> Person | None:
    """Open a sitting for whom the identity provider vouches, where the browser brings a token that opened none yet.

    A token that has ended or was used lets nobody in and is passed over; another refusal is told on the page.
    """
    identity = provider()
    if identity is None or session.has_left() or _REFUSED in st.session_state:
        return None
    claims = st.user.to_dict()
    if not is_vouched(claims):
        return None
    try:
        person, secret = admit(session.store(), identity, claims)
    except StaleTokenError:
        st.session_state[_REFUSED] = None
        return None
    except AccessError as error:
        st.session_state[_REFUSED] = session.in_words(error)
        return None
    session.hold(secret, person)
    return session.current_person()


def refusal() -> str | None:
    """Why the identity provider's word did not let somebody in."""
    text = st.session_state.get(_REFUSED)
    return None if text is None else str(text)
