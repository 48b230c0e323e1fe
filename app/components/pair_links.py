"""Links to pairs that open here: a click goes to the pair without loading the page anew.

The link itself is a plain one with a random token, so that it can also be copied or opened in another tab.
"""

from collections.abc import Callable

import streamlit as st

from app.components.page import Markup
from app.plain import escape

_KEY = "pair_links"
_SCRIPT = """
export default function ({ setTriggerValue }) {
  const open = (event) => {
    const link = event.target.closest?.("a[data-pair]");
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    setTriggerValue("opened", link.dataset.pair);
  };
  document.addEventListener("click", open);
  return () => document.removeEventListener("click", open);
}
"""
_component = st.components.v2.component("miracl_pair_links", js=_SCRIPT, isolate_styles=False)


def link(token: str, words: str) -> Markup:
    """A link to the pair of a token, as HTML."""
    safe = escape(token)
    return Markup(f'<a class="pair" href="review?pair={safe}" data-pair="{safe}">{escape(words)}</a>')


def listen(opened: Callable[[str], None]) -> None:
    """Open pairs by click on this page; `opened` is called with the link's token before the page is drawn anew."""

    def take() -> None:
        token = getattr(st.session_state.get(_KEY), "opened", None)
        if isinstance(token, str):
            opened(token)

    with st.container(key="pair_links_box"):
        _component(key=_KEY, on_opened_change=take)
