"""axe-core finds nothing serious on any page or in any state of it, and nothing there is small, cut off or unnamed."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from app.run import DEMO_NAME, DEMO_PASSWORD
from audit_store.people import add_person, operator
from tests.app import axe
from tests.app.browser import browsing, chromium, serving
from tests.app.invented import PASSWORD, Invented, make_workspace
from tests.app.looks import faults
from tests.app.sitting import sign_in
from tests.app.tour import before_signing_in, go, trouble, walk

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Invented, str]]:
    chromium()
    folder = tmp_path_factory.mktemp("axe")
    made = make_workspace(folder / "workspace", demo=True, found=True)
    add_person(made.store, operator(), "judith", PASSWORD, display_name="Dr Judith Ames", role="adjudicator")
    with serving(made.folder, folder / "server.log") as address:
        yield made, address
    made.store.close()


def looked_at(page: Page, states: Iterator[str]) -> dict[str, list[str]]:
    """What is wrong, by state, of those where something is."""
    found = {}
    for state in states:
        wrong = [*map(str, axe.findings(page)), *faults(page)]
        if wrong:
            found[state] = wrong
    return found


def told(found: dict[str, list[str]]) -> str:
    return "\n".join(f"{state}:\n  " + "\n  ".join(lines) for state, lines in found.items())


def test_the_script_of_axe_is_a_recent_one() -> None:
    version = axe.source().split("axe v", 1)[1].split("\n", 1)[0]
    assert tuple(int(part) for part in version.split(".")[:2]) >= (4, 10)


def test_axe_sees_what_it_is_asked_for(place: tuple[Invented, str]) -> None:
    with browsing() as page:
        for _ in before_signing_in(page, place[1]):
            page.evaluate("document.querySelector('.welcome p').style.color = '#c8c8c8'")
            assert [finding.rule for finding in axe.findings(page)] == ["color-contrast"]
            page.evaluate("document.querySelector('.welcome p').style.fontSize = '11px'")
            assert [line.split(":")[0] for line in faults(page)] == ["text of 11.0 px"]
            break


def test_no_page_or_state_a_steward_meets_keeps_anyone_out(place: tuple[Invented, str]) -> None:
    made, address = place
    with browsing(1024, 768) as page:
        found = looked_at(page, walk(page, address, DEMO_NAME, DEMO_PASSWORD))
        found |= looked_at(page, trouble(page, made.folder))
    assert not found, told(found)


def test_no_page_an_adjudicator_alone_meets_keeps_anyone_out(place: tuple[Invented, str]) -> None:
    with browsing(1440, 900) as page:
        sign_in(page, place[1], "judith", PASSWORD)
        go(page, "Adjudication")
        found = looked_at(page, iter(["adjudication"]))
    assert not found, told(found)
