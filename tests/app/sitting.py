"""A sitting on whatever round a workspace holds: the pair is known by the page's link, the rows by the store."""

from urllib.parse import parse_qs, urlparse

import pandas as pd
from playwright.sync_api import Page, expect

from app.desk import HELD_SECONDS, SEEN_SECONDS
from audit_store.database import Store
from audit_store.decisions import of_pair
from audit_store.queue import Item, find_item
from audit_store.rounds import RoundFile, open_round
from tests.app.browser import settled

REVEALING = (
    "recorded: absent",
    "recorded: present",
    "model:",
    "rank ",
    "suspected",
    "you accept",
    "you reject",
    "probability",
    "such labels are wrong",
    "detector",
    "most suspect twentieth",
)
PAUSE = 1000 * (HELD_SECONDS + SEEN_SECONDS) + 200


def press(page: Page, key: str) -> None:
    """Press a key as a person does: once, after the page has stood there."""
    page.wait_for_timeout(PAUSE)
    page.keyboard.press(key)
    page.wait_for_timeout(150)
    settled(page)


def line(page: Page) -> str:
    """What the page says of the record and the model."""
    return page.locator(".reveal-line").inner_text()


def sign_in(page: Page, address: str, name: str, password: str) -> None:
    """Sign in and wait for the queue."""
    page.goto(address)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="reviewing")).to_be_visible(timeout=30_000)
    settled(page)


def start(page: Page) -> None:
    """From the queue to the first pair."""
    page.get_by_role("button", name="reviewing").click()
    expect(page.locator(".question")).to_be_visible(timeout=30_000)
    settled(page)


def own(store: Store, name: str, item: Item, label_key: str) -> pd.DataFrame:
    """One reader's rows on one label of an item."""
    rows = of_pair(store, item.stay_id, label_key)
    return rows[rows["reviewer"] == name]


def asked(page: Page, store: Store, round_file: RoundFile) -> Item:
    """The item that the page's link names."""
    token = parse_qs(urlparse(page.url).query)["pair"][0]
    return find_item(store, round_file, token)


def assert_blind(page: Page, item: Item) -> None:
    """Nothing in the page tells what is recorded or proposed, nor whose stay it is."""
    body = page.locator("[data-testid=stApp]").inner_text().lower()
    source = page.content()
    assert not [word for word in REVEALING if word in body]
    assert "false_negative" not in source
    assert "false_positive" not in source
    assert "asked now" in page.locator(".cell.this").first.inner_text()
    assert str(item.stay_id) not in page.url + source
    assert str(item.patient_id) not in page.url + source


def sit(page: Page, address: str, store: Store, name: str, password: str, items: int = 3) -> list[Item]:
    """Answer some items: blind, by key; see the reveal; change; take the change back; go on. Rows are checked."""
    round_file = open_round(store.workspace)
    sign_in(page, address, name, password)
    start(page)
    done = []
    for _ in range(items):
        item = asked(page, store, round_file)
        assert_blind(page, item)
        together = len(item.label_keys) > 1
        press(page, "1" if together else "p")
        expect(page.locator(".verdict").first).to_be_visible(timeout=30_000)
        first = item.label_keys[0]
        rows = own(store, name, item, first)
        assert rows["answer"].tolist() == ["present"]
        assert rows["blinded"].tolist() == [True]
        pair = round_file.pair(item.stay_id, first)
        assert f"recorded: {'present' if pair.observed else 'absent'}" in line(page)
        press(page, "a")
        settled(page)
        assert own(store, name, item, first)["answer"].tolist() == ["present", "absent"]
        press(page, "u")
        rows = own(store, name, item, first)
        assert rows["answer"].tolist() == ["present", "absent", "retract"]
        assert rows.loc[rows["current"], "answer"].tolist() == ["present"]
        for key in item.label_keys[1:]:
            others = own(store, name, item, key)
            assert others.loc[others["current"], "answer"].tolist() == ["absent"]
        done.append(item)
        press(page, "j")
    return done
