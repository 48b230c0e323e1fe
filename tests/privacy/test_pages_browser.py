"""Every page on texts that were written to be obeyed: nothing of them runs, is drawn, is fetched, or leaks.

One server under the seal with every library's log at its lowest level, one browser that may resolve no name, and a walk
past all pages as a steward and as an adjudicator. What the walk saw is looked at by the tests one by one.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Page, expect

from tests.app.browser import browsing, chromium, serving, settled
from tests.app.hostile import MARK, SHORT, make_hostile, obeyed
from tests.app.invented import NAME, PASSWORD, Invented
from tests.app.sitting import press, sign_in, start
from tests.app.tour import WAIT, go, offered
from tests.privacy import sealed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@dataclass
class Walk:
    """What a walk past all pages came upon."""

    made: Invented
    address: str
    notes: Path
    log: Path
    obeyed: dict[str, list[str]] = field(default_factory=dict)
    literal: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    cookies: list[dict[str, object]] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Note what the page asks for, says and trips over."""
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.faults.append(str(error)[:200]))
        page.on("framenavigated", lambda frame: self.places.add(frame.url))

    def look(self, page: Page, state: str) -> None:
        """Note what stands on the page, in its address and title, and in the browser's storage."""
        settled(page)
        self.obeyed[state] = obeyed(page)
        if SHORT[:60] in page.locator("body").inner_text():
            self.literal.add(state)
        self.places |= {page.url, page.title()}
        self.kept.add(
            str(page.evaluate("[Object.entries(localStorage), Object.entries(sessionStorage), history.state]"))
        )


def _listed(page: Page) -> None:
    """Open the first list of the page that is not a page's own."""
    page.get_by_role("combobox").first.click()
    page.wait_for_timeout(300)


def _as_steward(walk: Walk) -> None:
    with browsing() as page:
        walk.listen(page)
        sign_in(page, walk.address, NAME, PASSWORD)
        walk.look(page, "queue")
        start(page)
        walk.look(page, "review before the answer")
        press(page, "n")
        walk.look(page, "review, whole notes")
        press(page, "n")
        press(page, "p")
        expect(page.locator(".verdict").first).to_be_visible(timeout=WAIT)
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        walk.look(page, "review after the answer")
        page.locator("[data-testid='stVegaLiteChart']").last.hover(force=True)
        press(page, "u")
        walk.look(page, "review, taken back")
        for title in offered(page):
            if title == "Review":
                continue
            go(page, title)
            page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
            walk.look(page, title.lower())
            if title in ("Queue", "People"):
                _listed(page)
                walk.look(page, f"{title.lower()}, a list open")
                page.keyboard.press("Escape")
        walk.cookies = [dict(cookie) for cookie in page.context.cookies()]


def _as_adjudicator(walk: Walk) -> None:
    with browsing(1024, 768) as page:
        walk.listen(page)
        page.goto(walk.address)
        page.get_by_label("Name", exact=True).fill("cleo")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".st-key-topbar")).to_be_visible(timeout=WAIT)
        settled(page)  # the bar stands there before its links do
        go(page, "Adjudication")
        walk.look(page, "adjudication, the list")
        page.get_by_role("button", name="Acute and unspecified renal failure").first.click()
        expect(page.locator(".rationales")).to_be_visible(timeout=WAIT)
        walk.look(page, "adjudication, a case")


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    chromium()
    folder = tmp_path_factory.mktemp("pages")
    made = make_hostile(folder / "workspace")
    notes, log = folder / "seal", folder / "server.log"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sealed.environment(notes, loud=True).items():
            if os.environ.get(name) != value:
                patch.setenv(name, value)
        with serving(made.folder, log) as address:
            seen = Walk(made, address, notes, log)
            _as_steward(seen)
            _as_adjudicator(seen)
    made.store.close()
    return seen


def test_no_page_takes_a_text_for_markup_a_formula_an_icon_or_a_script(walk: Walk) -> None:
    assert {state: found for state, found in walk.obeyed.items() if found} == {}
    assert walk.dialogs == []
    assert walk.faults == []


def test_the_texts_stand_on_the_pages_as_they_were_typed(walk: Walk) -> None:
    assert walk.literal >= {
        "review before the answer",
        "review, whole notes",
        "review after the answer",
        "people",
        "people, a list open",
        "adjudication, a case",
    }


def test_what_is_looked_for_would_be_found(walk: Walk) -> None:
    with browsing() as page:
        page.set_content(f"<b class=planted>b</b><a href='http://{MARK}/a'>x</a><strong>stars</strong>")
        assert obeyed(page) == ["B from a text", f"href=http://{MARK}/a", "bold stars"]


def test_the_browser_asks_nothing_of_anyone_but_the_server(walk: Walk) -> None:
    own = urlparse(walk.address).netloc
    assert [url for url in walk.requests if urlparse(url).scheme in ("ws", "wss")]
    outside = [url for url in walk.requests if urlparse(url).scheme not in ("data", "blob")]
    assert {urlparse(url).netloc for url in outside} == {own}


def test_the_server_looks_up_no_name_and_connects_to_nothing(walk: Walk) -> None:
    assert sealed.processes(walk.notes) == 1
    assert sealed.tried(walk.notes) == []


def test_addresses_titles_and_storage_hold_no_text_no_stay_and_no_name(walk: Walk) -> None:
    kept = "\n".join([*walk.places, *walk.kept, *map(str, walk.cookies), *walk.requests])
    stays = [str(stay) for stay in walk.made.stays.values()]
    assert [word for word in (MARK, "planted", PASSWORD, NAME, *stays) if word in kept] == []
    assert all("MIRACL Audit" in place or place.startswith(("http", "about:")) for place in walk.places)


def test_the_server_s_logs_hold_no_text_no_stay_and_no_name(walk: Walk) -> None:
    logs = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in walk.notes.glob("debug-*.log")}
    logs["server.log"] = walk.log.read_text(encoding="utf-8", errors="replace")
    assert "sqlalchemy.engine" in "".join(logs.values())
    stays = [str(stay) for stay in walk.made.stays.values()]
    for name, text in logs.items():
        held = [word for word in (MARK, "planted", "Vance", PASSWORD, *stays) if word in text]
        assert held == [], name
