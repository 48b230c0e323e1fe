"""What a screen reader is told of the frame where Streamlit has no argument for it: the bar, and the page at hand."""

import streamlit as st

_SCRIPT = """
export default function ({ data }) {
  const tell = () => {
    const bar = document.querySelector(".st-key-topbar");
    if (!bar) return;
    bar.setAttribute("role", "navigation");
    bar.setAttribute("aria-label", data.name);
    bar.querySelectorAll("[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
    bar.querySelector(".st-key-here a, .st-key-more_here button")?.setAttribute("aria-current", "page");
  };
  tell();
  const late = setTimeout(tell, 250);
  return () => clearTimeout(late);
}
"""
_component = st.components.v2.component("miracl_landmarks", js=_SCRIPT, isolate_styles=False)


def tell(here: str) -> None:
    """Name the bar as navigation and its current link as the page one is on.

    Parameters
    ----------
    here
        Path of the page on the screen; a change of it lets the browser look again.
    """
    with st.container(key="landmarks_box"):
        _component(key="landmarks", data={"name": "Pages and account", "here": here})
