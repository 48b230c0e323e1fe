"""A sitting outlives a reload of its browser tab, and nothing else.

The browser keeps the session's secret in the tab's own storage: it goes with the tab, is never sent with a request
(as a cookie would be, to every port of the machine), and never stands in an address. The store decides whether the
session still lives; an idle one is over however well its secret was kept.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

_KEY = "tab_session"
_SCRIPT = """
export default function ({ data, setTriggerValue }) {
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


def _mount(data: dict[str, Any], on_kept: Callable[[], None]) -> None:
    with st.container(key="tab_session_box"):
        _component(key=_KEY, data=data, on_kept_change=on_kept)


def keep(place: str, ticket: str) -> None:
    """Let the tab keep a sitting's ticket (`session.ticket`) under the workspace's name."""
    _mount({"task": "keep", "place": place, "ticket": ticket}, _nothing)


def drop(place: str) -> None:
    """Let the tab forget what it kept for a workspace."""
    _mount({"task": "drop", "place": place}, _nothing)


def ask(place: str, found: Callable[[str], None]) -> None:
    """Ask the tab for what it kept; `found` is called with it before the page is drawn anew."""

    def take() -> None:
        kept = getattr(st.session_state.get(_KEY), "kept", None)
        if isinstance(kept, str):
            found(kept)

    _mount({"task": "ask", "place": place}, take)


def _nothing() -> None:
    """No value comes back from keeping or dropping."""
