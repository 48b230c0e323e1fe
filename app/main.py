"""The entry point: which page is shown to whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import arrival, session, theme
from app.components import tab_session
from app.frame import guarded, top_bar, trouble
from app.plain import literal
from app.views import account, adjudication, export, people, protocol, quality, queue, review, rounds, sign_in, trail
from audit_store.people import PERMISSIONS, Person


@dataclass(frozen=True)
class Screen:
    """A page: its name in the bar, what draws it, and the act that a role must allow for the page to be offered."""

    title: str
    render: Callable[[], None]
    action: str = "view"


SCREENS: dict[str, Screen] = {
    "queue": Screen("Queue", queue.render),
    "review": Screen("Review", review.render),
    "adjudication": Screen("Adjudication", adjudication.render, "adjudicate"),
    "rounds": Screen("Rounds", rounds.render),
    "quality": Screen("Quality", quality.render, "view"),
    "export": Screen("Export", export.render),
    "trail": Screen("Trail", trail.render, "read_trail"),
    "protocol": Screen("Protocol", protocol.render),
    "people": Screen("People", people.render, "manage_people"),
    "account": Screen("Account", account.render),
}


def screens_for(person: Person | None) -> dict[str, Screen]:
    """The pages that a person's role opens; before anyone is signed in, all (each shows the sign-in page)."""
    if person is None:
        return SCREENS
    if person.temporary or person.barred:  # nothing before the password is their own, and their attestation holds
        return {"account": SCREENS["account"]}
    return {name: screen for name, screen in SCREENS.items() if screen.action in PERMISSIONS[person.role]}


def main() -> None:
    """Draw the page asked for; the sign-in page in its place while nobody is signed in."""
    session.settle_memory()
    trouble_line: Exception | None = None
    person: Person | None = None
    try:
        person = session.current_person() or arrival.let_in()
    except Exception as error:
        trouble_line = error
    screens = screens_for(person)
    pages = {
        name: st.Page(guarded(screen.render), title=screen.title, url_path=name, default=name == "queue")
        for name, screen in screens.items()
    }
    page = st.navigation(list(pages.values()), position="hidden")
    here = next(name for name, other in pages.items() if other.url_path == page.url_path)
    title = screens[here].title if person is not None else "Sign in"
    st.set_page_config(page_title=f"{title} · MIRACL Audit", page_icon=theme.icon(), layout="wide")
    st.html(theme.style_sheet())
    if trouble_line is not None:
        trouble(trouble_line)
        return
    try:
        line = session.notice()
        if person is None:
            _outside(line)
            return
        target = st.session_state.pop("go", None)
        if target in pages:
            st.switch_page(pages[target])
        _inside(pages, person, here)
    except Exception as error:
        trouble(error)
        return
    if line:
        st.toast(literal(line))
    with session.drawing(person):
        page.run()


def _outside(line: str | None) -> None:
    """The sign-in page; a reloaded tab brings its sitting back by itself."""
    if line:
        st.info(literal(line))
    sign_in.render()
    place = session.workspace().workspace_id
    if session.has_left():
        tab_session.drop(place)
    else:
        tab_session.ask(place, session.resume)


def _inside(pages: Mapping[str, Any], person: Person, here: str) -> None:
    """The bar, and the tab's ticket for a reload."""
    top_bar(pages, person, here)
    ticket = session.ticket()
    if ticket is not None:
        place = session.workspace().workspace_id
        tab_session.keep(place, ticket, session.seconds_to_look(), session.looks(), session.look)


if __name__ == "__main__":
    main()
