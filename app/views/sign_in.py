"""Signing in: with the identity provider, with a named account, or into the demo, whichever this server offers."""

import streamlit as st

from app import arrival, session
from app.listening import told
from app.plain import escape, literal
from app.run import DEMO_ADJUDICATOR, DEMO_NAME, DEMO_PASSWORD
from audit_store.errors import AccessError

DEMO_DOORS = (
    ("enter_demo", DEMO_NAME, "Enter the demo"),
    ("enter_demo_adjudicator", DEMO_ADJUDICATOR, "Enter as adjudicator: settle readers' conflicts"),
)


def _enter(name: str, password: str) -> None:
    try:
        session.sign_in(name, password)
    except AccessError as error:
        st.session_state["sign_in_error"] = session.in_words(error)


@session.guarded
def _enter_demo(name: str) -> None:
    _enter(name, DEMO_PASSWORD)


@session.guarded
def _enter_form() -> None:
    _enter(st.session_state.get("sign_in_name", ""), st.session_state.get("sign_in_password", ""))


@session.guarded
def _enter_provider() -> None:
    """Send the browser to the identity provider; it comes back with a token."""
    st.login()


def render() -> None:
    """The sign-in page; the demo is one press away where the workspace has a demo account."""
    open_ = session.demo_accounts()
    with st.container(key="sign_in_card"):
        _card([door for door in DEMO_DOORS if door[1] in open_])


def _card(demo: list[tuple[str, str, str]]) -> None:
    st.html(
        '<header class="welcome"><h1>MIRACL Audit</h1><p>Diagnosis labels that look wrong, beside the chart they came '
        "from. You read and say what is true; the record and the model's view come after your answer.</p></header>"
    )
    error = st.session_state.pop("sign_in_error", None) or arrival.refusal()
    if error:
        st.error(literal(error))
    if demo:
        st.html('<p class="demo-note">This workspace is a demo. Nothing in it is for the care of anyone.</p>')
    provider, passwords = arrival.provider(), arrival.passwords_allowed()
    if provider is not None:
        st.button(
            f"Sign in with {literal(provider.name)}",
            key="enter_provider",
            type="primary",
            on_click=_enter_provider,
            width="stretch",
        )
    if not passwords:
        return
    if provider is not None:
        st.html('<p class="or soft">Or with an account of this workspace:</p>')
    if demo and told().beyond:
        st.html(
            '<p class="soft">The demo account is closed here: its password is no secret, and others than the users of '
            "this machine reach this server. Use an account of your own.</p>"
        )
    elif demo:
        _demo(demo, first=provider is None)
    _form(first=provider is None and (not demo or told().beyond))
    if not demo and provider is None:
        st.html(
            '<p class="soft">No account yet? Whoever runs this server makes one with <code>miracl person add</code>.'
            "</p>"
        )


def _demo(doors: list[tuple[str, str, str]], first: bool) -> None:
    for key, name, words in doors:
        st.button(
            words,
            key=key,
            type="primary" if first and name == DEMO_NAME else "secondary",
            on_click=_enter_demo,
            args=(name,),
            width="stretch",
        )
    st.html(
        f'<p class="or soft">That signs in as {" or ".join(f"<b>{escape(name)}</b>" for _, name, _ in doors)}, '
        f"password <b>{escape(DEMO_PASSWORD)}</b>. Or use an account of your own:</p>"
    )


def _form(first: bool) -> None:
    with st.form("sign_in", border=False):
        st.text_input("Name", key="sign_in_name", autocomplete="username")
        st.text_input("Password", key="sign_in_password", type="password", autocomplete="current-password")
        st.form_submit_button(
            "Sign in", on_click=_enter_form, type="primary" if first else "secondary", width="stretch"
        )
