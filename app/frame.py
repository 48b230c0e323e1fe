"""The frame around every screen: the bar at the top, and the one line shown when something can't be opened."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from app import session
from app.components import landmarks, linked_charts
from app.plain import escape, literal
from audit_store.people import Person

IN_THE_BAR = 6  # more pages than this, and those used once in a while go behind "More"
ONCE_IN_A_WHILE = ("trail", "people", "protocol")
ACCOUNT = "account"


def trouble(error: Exception) -> None:
    """The page for what can't be opened: one line and what to do."""
    line = escape(session.in_words(error))
    st.html(f'<section class="empty-page" role="alert"><h1>This page can\'t be shown</h1><p>{line}</p></section>')
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button("Try again", key="again", type="primary")


def top_bar(pages: Mapping[str, Any], person: Person, here: str) -> None:
    """The bar at the top: where one is, who is signed in, which round, and that a demo is one.

    Parameters
    ----------
    pages
        The pages offered to this person, by their path, in order.
    person
        Who is signed in.
    here
        Path of the page on the screen.
    """
    place = session.store().workspace
    number = session.round_at_hand(place)
    newer = session.newer_round(place)
    session.note_offered(newer)
    first, more = split(tuple(pages))
    with st.container(horizontal=True, key="topbar", vertical_alignment="center", gap="small"):
        st.html('<span class="mark">MIRACL<span class="wide"> Audit</span></span>')
        for name in first:
            with st.container(key="here" if name == here else None, width="content"):
                st.page_link(pages[name])
        if more:
            current = pages[here].title if here in more else None
            with st.popover("More" if current is None else f"More: {current}", key="more_here" if current else "more"):
                for name in more:
                    st.page_link(pages[name])
        if newer is not None:
            st.button(
                f"Round {newer} is ready",
                key="newer_round",
                help=f"You are reading round {number}. Finish your batch first if you like; nothing is lost.",
                on_click=session.take_up,
                args=(newer,),
            )
        demo = ""
        if session.is_demo():
            demo = '<span class="demo">DEMO<span class="wide"> · not for care</span></span> '
        at = "no round yet" if number is None else f"round {number}"
        st.html(f'<span class="who">{demo}{escape(at)}</span>')
        name = person.display_name or person.name
        if ACCOUNT in pages:
            with st.container(key="here" if here == ACCOUNT else "own_account", width="content"):
                st.page_link(pages[ACCOUNT], label=literal(name))
        st.button("Sign out", key="sign_out", type="tertiary", on_click=session.sign_out)
    landmarks.tell(here)
    linked_charts.link("series_pane")  # here, where it is drawn once and not with each pair


def split(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which pages stand in the bar and which behind "More": all in the bar while there are few."""
    names = tuple(name for name in names if name != ACCOUNT)  # a person's own name leads there
    if len(names) <= IN_THE_BAR:
        return names, ()
    return tuple(n for n in names if n not in ONCE_IN_A_WHILE), tuple(n for n in names if n in ONCE_IN_A_WHILE)


def guarded(render: Callable[[], None]) -> Callable[[], None]:
    """A screen that says in one line what went wrong instead of showing it."""

    def show() -> None:
        try:
            render()
        except Exception as error:
            trouble(error)

    return show
