"""What a person does at the screens, one act at a time: press, answer, hold a key, filter, ask for a long series."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from audit_store import tables
from audit_store.database import Store
from core.errors import RunError
from scripts.benchmarks.screen_page import LIMIT_MS, PERSON_MS, settled, sign_in, timed

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

HELD_MS = 2_000
REPEAT_MS = 40
MANY_CHANNELS = 17
Told = dict[str, Any]

WATCH = """() => {
  window.shown = new Set();
  const look = () => { const p = document.querySelector('.place'); if (p) window.shown.add(p.textContent); };
  look();
  window.watcher = new MutationObserver(look);
  window.watcher.observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def start(page: "Page") -> None:
    """From the queue to the first pair."""
    page.locator(".st-key-start button").click()
    page.locator(".question").wait_for(timeout=LIMIT_MS)
    settled(page)


def clear_batch(page: "Page") -> None:
    """Take up another batch where this one is through."""
    another = page.locator(".st-key-another button")
    if another.count():
        page.wait_for_timeout(PERSON_MS)  # sooner, it would be taken for the J that led here, still held
        another.click()
        page.locator(".question").wait_for(timeout=LIMIT_MS)
        settled(page)


def press(page: "Page", key: str) -> Told:
    """Press a key once, after the page has stood there as long as a person needs."""
    page.wait_for_timeout(PERSON_MS)
    return timed(page, lambda: page.keyboard.press(key))


def answers_go_on(page: "Page") -> None:
    """Switch off the pause on the reveal, so that one key answers and shows the next pair."""
    page.get_by_role("button", name="Settings").click()
    toggle = page.locator(".st-key-pause label").first
    toggle.wait_for(timeout=LIMIT_MS)
    if page.locator(".st-key-pause input").is_checked():
        toggle.click()
    settled(page)
    page.keyboard.press("Escape")
    settled(page)


def hold_key(page: "Page", store: Store, key: str) -> tuple[int, int]:
    """Hold a key for two seconds; return the most answers written for one pair and label, and how many were shown."""
    page.wait_for_timeout(PERSON_MS)
    before = last_decision(store)
    page.evaluate(WATCH)
    for _ in range(HELD_MS // REPEAT_MS):
        page.keyboard.down(key)
        page.wait_for_timeout(REPEAT_MS)
    page.keyboard.up(key)
    settled(page)
    page.wait_for_timeout(PERSON_MS)
    shown = int(page.evaluate("() => { window.watcher.disconnect(); return window.shown.size; }"))
    c = tables.decision.c
    with store.reading() as connection:
        rows = connection.execute(select(c.stay_id, c.label_key).where(c.id > before)).all()
    pairs = [(row.stay_id, row.label_key) for row in rows]
    return max((pairs.count(pair) for pair in pairs), default=0), shown


def last_decision(store: Store) -> int:
    """Id of the store's last decision, 0 where there is none."""
    c = tables.decision.c
    with store.reading() as connection:
        found = connection.execute(select(c.id).order_by(c.id.desc()).limit(1)).scalar()
    return int(found or 0)


def change_filters(page: "Page", times: int) -> Iterator[tuple[str, Callable[[], Told]]]:
    """Change the queue's filters in turn, whatever they are: an option of each list, a part of each row of choices."""
    lists = '[data-testid="stMain"] [data-testid="stMultiSelect"], [data-testid="stMain"] [data-testid="stSelectbox"]'
    rows = '[data-testid="stMain"] [data-testid="stButtonGroup"]'
    done = turn = 0
    while done < times:
        kinds: list[tuple[str, Callable[[], Told]]] = []
        for place in range(page.locator(lists).count()):
            words = _words(page.locator(lists).nth(place))
            kinds.append((words, partial(_choose, page, lists, place, turn)))
        for place in range(page.locator(rows).count()):
            kinds.append(("choices", partial(_switch, page, rows, place)))
        if not kinds:
            raise RunError("a queue page with filters", "none", "see the page")
        yield kinds[turn % len(kinds)]
        done, turn = done + 1, turn + 1


def _words(control: "Locator") -> str:
    label = control.locator("label").first
    return label.inner_text() if label.count() else "list"


def _choose(page: "Page", lists: str, place: int, turn: int) -> Told:
    """Open a list and take an option that is not taken yet; the clock starts at the press on it."""
    page.wait_for_timeout(300)
    page.locator(lists).nth(place).locator("input").first.click()
    free = _free_options(page)
    told = timed(page, free.nth(turn % free.count()).click, on="pointerdown")
    page.keyboard.press("Escape")
    page.mouse.click(5, 5)
    settled(page)
    return told


def _free_options(page: "Page", limit_ms: float = LIMIT_MS) -> "Locator":
    """Options of the open list that are not taken."""
    page.locator('[role="option"]').first.wait_for(timeout=limit_ms)
    return page.locator('[role="option"]:not([aria-selected="true"])')


def _switch(page: "Page", rows: str, place: int) -> Told:
    """Press the first choice of a row that is not taken."""
    page.wait_for_timeout(300)
    free = page.locator(rows).nth(place).locator('[aria-checked="false"], [aria-pressed="false"]').first
    told = timed(page, free.click, on="pointerdown")
    settled(page)
    return told


def draw_series(
    page: "Page", address: str, links: Sequence[str], account: tuple[str, str], times: int
) -> Iterator[Callable[[], Told]]:
    """Draw all seventeen channels of stays of twenty days: the last channel is taken out and put in again."""
    sign_in(page, f"{address}/review?pair={links[0]}", *account)
    page.locator(".question").wait_for(timeout=LIMIT_MS)
    settled(page)
    for _ in range(times):
        yield lambda: _all_channels(page)


def _all_channels(page: "Page") -> Told:
    """Draw all seventeen channels; a list that a redrawing page has closed meanwhile is opened again, twice at most."""
    from playwright.sync_api import TimeoutError as TooLong

    for _ in range(2):
        try:
            return _last_channel(page, LIMIT_MS / 3)
        except TooLong:
            page.keyboard.press("Escape")
            settled(page)
    return _last_channel(page, LIMIT_MS)


def _last_channel(page: "Page", limit_ms: float) -> Told:
    """Bring the choice to one channel less than all seventeen, then time the press that puts the last one in."""
    page.wait_for_timeout(300)
    control = page.locator('[data-testid="stPopoverBody"] [data-testid="stMultiSelect"]').first
    if not control.count() or not control.is_visible():
        page.locator(".st-key-channels button").first.click()
    control.wait_for(timeout=limit_ms)
    field = control.locator("input").first
    tags = control.locator("[data-tag]")
    tags.first.wait_for(timeout=limit_ms)
    for _ in range(2 * MANY_CHANNELS):
        now = tags.count()
        field.click()
        if now >= MANY_CHANNELS:
            page.keyboard.press("Backspace")
            tags.nth(now - 1).wait_for(state="detached", timeout=limit_ms)
        else:
            last = _free_options(page, limit_ms).last  # the first may be "select all"
            if now == MANY_CHANNELS - 1:
                return timed(page, last.click, on="pointerdown")
            last.click()
            tags.nth(now).wait_for(timeout=limit_ms)
        settled(page)
    raise RunError("a stay with seventeen channels", "fewer to choose", "make the workspace anew")
