"""The frame around every screen: the bar at the top, and the one line shown when something can't be opened."""

from collections.abc import Callable
from html import escape
from typing import Any

import streamlit as st

from app import session
from audit_store.people import Person


def trouble(error: Exception) -> None:
    """The page for what can't be opened: one line and what to do."""
    line = escape(session.in_words(error))
    st.html(f'<section class="empty-page" role="alert"><h2>This page can\'t be shown</h2><p>{line}</p></section>')
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Try again", key="again", type="primary")


def top_bar(pages: dict[str, Any], person: Person) -> None:
    """The bar at the top: where one is, who is signed in, which round, and that a demo is one."""
    number = session.store().workspace.latest_round()
    with st.container(horizontal=True, key="topbar", vertical_alignment="center", gap="small"):
        st.html('<span class="mark">MIRACL Audit</span>')
        for page in pages.values():
            st.page_link(page)
        demo = '<span class="demo">DEMO · not for care</span>' if session.is_demo() else ""
        at = "no round yet" if number is None else f"round {number}"
        st.html(f'<span class="who">{demo} {escape(person.display_name or person.name)} · {at}</span>')
        st.button("Sign out", key="sign_out", type="tertiary", on_click=session.sign_out)


def guarded(render: Callable[[], None]) -> Callable[[], None]:
    """A screen that says in one line what went wrong instead of showing it."""

    def show() -> None:
        try:
            render()
        except Exception as error:
            trouble(error)

    return show
