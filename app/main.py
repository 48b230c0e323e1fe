"""The entry point: which page is shown to whom."""

from collections.abc import Callable

import streamlit as st

from app import session, theme
from app.frame import guarded, top_bar, trouble
from app.views import export, queue, review, rounds, sign_in

PAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "queue": ("Queue", queue.render),
    "review": ("Review", review.render),
    "rounds": ("Rounds", rounds.render),
    "export": ("Export", export.render),
}


def main() -> None:
    """Draw the page asked for; the sign-in page in its place while nobody is signed in."""
    st.set_page_config(page_title="MIRACL Audit", page_icon=theme.icon(), layout="wide")
    st.html(theme.style_sheet())
    pages = {
        name: st.Page(guarded(render), title=title, url_path=name, default=name == "queue")
        for name, (title, render) in PAGES.items()
    }
    page = st.navigation(list(pages.values()), position="hidden")
    try:
        person = session.current_person()
        line = session.notice()
        if person is None:
            if line:
                st.info(line)
            sign_in.render()
            return
        target = st.session_state.pop("go", None)
        if target is not None:
            st.switch_page(pages[target])
        top_bar(pages, person)
    except Exception as error:
        trouble(error)
        return
    if line:
        st.toast(line)
    page.run()


if __name__ == "__main__":
    main()
