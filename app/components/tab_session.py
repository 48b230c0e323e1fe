"""A sitting outlives a reload of its browser tab, and nothing else; and a page that nobody uses ends with its session.

The browser keeps the session's secret in the tab's own storage: it goes with the tab, is never sent with a request
(as a cookie would be, to every port of the machine), and never stands in an address. Scripts of the page could read it
there, so the server's content policy lets no script run but its own, and no note's text becomes markup. The store
decides whether the session still lives: an idle, ended or twelve hours old one is over however well its secret was
kept, and so is one whose account was closed.

The page also keeps a clock. When the session would have ended for want of use, the page asks the server, which looks
without counting it as use: an unattended screen goes back to the sign-in page by itself.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

_KEY = "tab_session"
_WAIT = "tab_session_wait"
_SCRIPT = """
export default function ({ data, setTriggerValue }) {
  clearTimeout(window.miraclLook);
  if (data.task === "keep") {
    window.miraclLook = setTimeout(() => setTriggerValue("looked", data.looks), 1000 * data.seconds);
  }
  try {
    if (data.task === "keep") sessionStorage.setItem(data.place, data.ticket);
    else if (data.task === "drop") sessionStorage.removeItem(data.place);
    else {
      const kept = sessionStorage.getItem(data.place);
      if (kept) setTriggerValue("kept", kept);
    }
  } catch (refused) {
    console.info("this browser keeps nothing: a reload signs out");
  }
}
"""
_component = st.components.v2.component("miracl_tab_session", js=_SCRIPT, isolate_styles=False)


def _mount(data: dict[str, Any], on_kept: Callable[[], None], on_looked: Callable[[], None]) -> None:
    with st.container(key="tab_session_box"):
        _component(key=_KEY, data=data, on_kept_change=on_kept, on_looked_change=on_looked)


def keep(place: str, ticket: str, seconds: float, looks: int, look: Callable[[], None]) -> None:
    """Let the tab keep a sitting's ticket, and ask after a while whether its session lives.

    Parameters
    ----------
    place
        The workspace's name, under which the tab keeps it.
    ticket
        What brings the sitting back (`session.ticket`).
    seconds
        After how long the page asks; counted anew only where `looks` or the ticket has changed.
    looks
        How often it has asked.
    look
        Called before the page is drawn because it asked.
    """
    known = st.session_state.get(_WAIT)
    if known is None or known[:2] != (ticket, looks):
        known = st.session_state[_WAIT] = (ticket, looks, round(seconds))
    _mount({"task": "keep", "place": place, "ticket": ticket, "seconds": known[2], "looks": looks}, _nothing, look)


def drop(place: str) -> None:
    """Let the tab forget what it kept for a workspace."""
    _mount({"task": "drop", "place": place}, _nothing, _nothing)


def ask(place: str, found: Callable[[str], None]) -> None:
    """Ask the tab for what it kept; `found` is called with it before the page is drawn anew."""

    def take() -> None:
        kept = getattr(st.session_state.get(_KEY), "kept", None)
        if isinstance(kept, str):
            found(kept)

    _mount({"task": "ask", "place": place}, take, _nothing)


def _nothing() -> None:
    """No value comes back from keeping or dropping."""
