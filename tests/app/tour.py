"""A walk past every page and state of the workbench: axe looks at each, and the gallery takes its picture."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.app.browser import settled
from tests.app.sitting import press, sign_in, start

POPOVER = '[data-testid="stPopover"] button'
WAIT = 30_000


def at(page: Page, title: str) -> None:
    """Wait until the page of a title stands there."""
    expect(page).to_have_title(re.compile(f"^{re.escape(title)}"), timeout=WAIT)
    settled(page)


def offered(page: Page) -> list[str]:
    """Titles of the pages the bar offers, those behind "More" too."""
    bar = page.locator(".st-key-topbar")
    titles = [text.strip() for text in bar.locator("a").all_inner_texts()]
    titles[-1] = "Account"  # the person's own name
    if bar.get_by_role("button", name="More").count():
        with more(page):
            popped = page.locator('[data-testid="stPopoverBody"] a')
            popped.first.wait_for(timeout=WAIT)
            titles += [text.strip() for text in popped.all_inner_texts()]
    return titles


@contextmanager
def more(page: Page) -> Iterator[None]:
    """The "More" menu, open; closed after where it still is."""
    button = page.locator(".st-key-topbar").get_by_role("button", name="More")
    button.click()
    page.locator('[data-testid="stPopoverBody"]').first.wait_for(timeout=WAIT)
    yield
    if page.locator('[data-testid="stPopoverBody"]:visible').count():
        page.keyboard.press("Escape")
        page.wait_for_timeout(150)


def go(page: Page, title: str) -> None:
    """To a page by the bar, as a person goes."""
    bar = page.locator(".st-key-topbar")
    link = bar.get_by_role("link", name=title, exact=True)
    if title == "Account":
        bar.get_by_role("link").last.click()
    elif link.count():
        link.click()
    else:
        with more(page):
            page.locator('[data-testid="stPopoverBody"]').get_by_role("link", name=title, exact=True).click()
            at(page, title)
    at(page, title)


def opened(page: Page, name: str) -> Iterator[str]:
    """Each menu of the page opened and closed, each tab turned to, all folds opened."""
    main = page.locator('[data-testid="stMain"], [data-testid="stBottom"]')
    for place in range(main.locator(POPOVER).count()):
        button = main.locator(POPOVER).nth(place)
        if not button.is_visible() or "More" in button.inner_text():
            continue
        label = " ".join(button.inner_text().split())
        button.click()
        page.locator('[data-testid="stPopoverBody"]').first.wait_for(timeout=WAIT)
        settled(page)
        yield f"{name}, {label} open"
        page.keyboard.press("Escape")
        page.wait_for_timeout(150)
    for place in range(1, page.get_by_role("tab").count()):
        tab = page.get_by_role("tab").nth(place)
        tab.click()
        settled(page)
        yield f"{name}, {tab.inner_text()}"
    closed = page.locator("details:not([open]) > summary")
    if closed.count():
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        page.wait_for_timeout(200)
        yield f"{name}, folds open"


def before_signing_in(page: Page, address: str) -> Iterator[str]:
    """The sign-in page, and a wrong password."""
    page.goto(address)
    page.get_by_label("Name", exact=True).wait_for(timeout=WAIT)
    settled(page)
    yield "sign-in"
    page.get_by_label("Name", exact=True).fill("nobody")
    page.get_by_label("Password", exact=True).fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").first.wait_for(timeout=WAIT)
    settled(page)
    yield "sign-in refused"


def review(page: Page) -> Iterator[str]:
    """A pair before and after its answer, with its menus, the whole notes and the help."""
    yield "review before the answer"
    yield from opened(page, "review before the answer")
    press(page, "n")
    expect(page.locator(".notes, .note").first).to_be_visible(timeout=WAIT)
    yield "review, whole notes"
    press(page, "n")
    press(page, "h")
    yield "review, help"
    page.keyboard.press("Escape")
    press(page, "1" if page.get_by_role("button", name="Present").count() == 0 else "p")
    expect(page.locator(".verdict").first).to_be_visible(timeout=WAIT)
    settled(page)
    yield "review after the answer"
    yield from opened(page, "review after the answer")


def walk(page: Page, address: str, name: str, password: str) -> Iterator[str]:
    """Every page and state that an account is offered; yields the name of each while it stands there."""
    yield from before_signing_in(page, address)
    sign_in(page, address, name, password)
    yield "queue"
    yield from opened(page, "queue")
    start(page)
    yield from review(page)
    yield from pages(page)


def pages(page: Page) -> Iterator[str]:
    """The pages of the bar, one after the other."""
    for title in offered(page):
        if title == "Review":
            continue
        go(page, title)
        again = "queue after an answer" if title == "Queue" else title.lower()
        yield again
        if title != "Queue":
            yield from opened(page, again)


@contextmanager
def without_cohort(workspace: Path) -> Iterator[None]:
    """A workspace whose cohort is gone, for a while."""
    there, gone = workspace / "cohort", workspace / "cohort-away"
    there.rename(gone)
    try:
        yield
    finally:
        gone.rename(there)


def trouble(page: Page, workspace: Path) -> Iterator[str]:
    """The page shown where the cohort can't be opened."""
    with without_cohort(workspace):
        go(page, "Queue")
        page.get_by_role("button", name="Try again").wait_for(timeout=WAIT)
        settled(page)
        yield "trouble"
