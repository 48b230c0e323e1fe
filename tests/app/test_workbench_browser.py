"""By keyboard alone, in a real browser: two batches, a change, undo across them, a conflict, an export."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from app.desk import HELD_SECONDS, SEEN_SECONDS
from audit_store.adjudication import adjudications_of
from audit_store.batches import open_batch_of
from audit_store.database import Store, open_store
from audit_store.decisions import Reading, new_token, of_pair, record
from audit_store.guidelines import load
from audit_store.ledger import events_of
from audit_store.people import add_person, find_person, operator
from audit_store.protocol import Terms, current_protocol, sign_protocol
from audit_store.queue import Item
from audit_store.rounds import open_round
from audit_store.workspace import open_workspace
from tests.app.browser import browsing, chromium, serving, settled
from tests.app.invented import make_workspace
from tests.app.real_round import SOURCE, make_real_round
from tests.app.sitting import asked

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PASSWORD = "one of several long passwords"
PEOPLE = {"ada": "reviewer", "judith": "adjudicator", "sam": "steward"}
BATCH = 10
MOST_TABS = 60
SEEN = 1000 * SEEN_SECONDS + 150
LET_GO = 1000 * (HELD_SECONDS + SEEN_SECONDS) + 200


@dataclass(frozen=True)
class Place:
    """A workspace that is being served."""

    folder: Path
    store: Store
    address: str


class Typist:
    """A person with a keyboard and no mouse, whose keystrokes are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.strokes = 0

    def key(self, name: str, wait: float = SEEN) -> None:
        """One key, once the page has stood there for a moment."""
        self.page.wait_for_timeout(wait)
        self.page.keyboard.press(name)
        self.strokes += 1
        self.page.wait_for_timeout(100)
        settled(self.page)

    def to(self, words: str) -> None:
        """Tab until the focus is on the control of that name."""
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            named = self.page.evaluate(
                "() => { const e = document.activeElement; return [e.getAttribute('aria-label'), e.innerText, "
                "...[...(e.labels || [])].map((l) => l.innerText)].filter(Boolean).join(' '); }"
            )
            if words in " ".join(str(named).split()) and len(str(named)) < 200:
                return
        raise AssertionError(f"no way to “{words}” by the Tab key")

    def press(self, words: str) -> None:
        """Tab to a control and press it."""
        self.to(words)
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(150)
        settled(self.page)

    def sign_in(self, address: str, name: str) -> None:
        """From an empty tab to the queue."""
        self.page.goto(address)
        self.page.get_by_label("Name", exact=True).wait_for(timeout=30_000)
        settled(self.page)
        self.to("Name")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".who")).to_be_visible(timeout=30_000)
        settled(self.page)

    def without_pause(self) -> None:
        """In the settings: a key answers and goes on."""
        self.press("Settings")
        self.to("Pause after each answer")
        self.page.keyboard.press("Space")
        settled(self.page)
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(200)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    chromium()
    top = tmp_path_factory.mktemp("workbench")
    folder = top / "workspace"
    if SOURCE.is_dir():
        make_real_round(folder, top / "whole")
    else:
        make_workspace(folder).store.close()
    store = open_store(open_workspace(folder))
    for name, role in PEOPLE.items():
        add_person(store, operator(), name, PASSWORD, display_name=f"Dr {name.title()}", role=role)
    sign_protocol(store, operator(), Terms(batch_size=BATCH), load())
    with serving(folder, top / "server.log") as address:
        yield Place(folder, store, address)
    store.close()


def comes(page: Page, claim: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it becomes true: on a busy machine a key is taken up some time after it was pressed."""
    for _ in range(int(seconds * 10)):
        if claim():
            return True
        page.wait_for_timeout(100)
    return claim()


def rows_of(place: Place, name: str, item: Item) -> list[pd.DataFrame]:
    """A reader's rows on each label of an item."""
    found = [of_pair(place.store, item.stay_id, key) for key in item.label_keys]
    return [rows[rows["reviewer"] == name] for rows in found]


def answer_key(item: Item, place: int) -> str:
    """Present or absent in turn; where labels are one question, the first or neither."""
    return "pa"[place % 2] if len(item.label_keys) == 1 else "1a"[place % 2]


def test_a_batch_takes_one_keystroke_a_decision_and_a_held_key_writes_one(place: Place) -> None:
    round_file = open_round(place.store.workspace)
    ada = find_person(place.store, "ada")
    assert ada is not None
    with browsing() as page:
        typist = Typist(page)
        typist.sign_in(place.address, "ada")
        typist.press("Start reviewing")
        expect(page.locator(".question")).to_be_visible(timeout=30_000)
        batch = open_batch_of(place.store, round_file, ada)
        assert batch is not None
        typist.without_pause()
        typist.strokes = 0
        read: list[Item] = []

        def answered(number: int) -> Item:
            item = asked(page, place.store, round_file)
            assert item.token not in {other.token for other in read}  # no pair comes twice
            typist.key(answer_key(item, number))
            read.append(item)
            assert comes(page, lambda: all(len(rows) for rows in rows_of(place, "ada", item)))
            settled(page)
            assert [len(rows) for rows in rows_of(place, "ada", item)] == [1] * len(item.label_keys)
            return item

        for number in range(batch.size):
            answered(number)
        assert typist.strokes == len(read) == batch.size

        # the batch is through: J draws the next one; undo reaches back across the two
        expect(page.get_by_text("The batch is through")).to_be_visible(timeout=20_000)
        typist.key("j", LET_GO)
        assert comes(
            page, lambda: getattr(open_batch_of(place.store, round_file, ada), "name", batch.name) != batch.name
        )
        second = open_batch_of(place.store, round_file, ada)
        assert second is not None
        assert second.name != batch.name
        settled(page)
        again = [read[-1], answered(0)]
        for item in again[::-1]:
            typist.key("u", LET_GO)
            assert comes(page, lambda token=item.token: asked(page, place.store, round_file).token == token)  # type: ignore[misc]
            settled(page)
            assert [rows["answer"].tolist()[-1] for rows in rows_of(place, "ada", item)] == ["retract"] * len(
                item.label_keys
            )
        for item in again:
            assert asked(page, place.store, round_file).token == item.token
            typist.key("a", LET_GO)
            assert comes(page, lambda it=item: all(rows["current"].any() for rows in rows_of(place, "ada", it)))  # type: ignore[misc]
            settled(page)
            for rows in rows_of(place, "ada", item):
                assert rows.loc[rows["current"], "answer"].tolist() == ["absent"]
                assert rows["saw_suggestion"].tolist()[-1]
        typist.strokes = 0
        for number in range(1, second.size - 1):
            answered(number)
        assert typist.strokes == second.size - 2

        # a key held for two seconds writes at most one decision on each pair shown
        last = asked(page, place.store, round_file)
        page.wait_for_timeout(LET_GO)
        page.keyboard.down("s")
        for _ in range(50):
            page.wait_for_timeout(40)
            page.keyboard.down("s")
        page.keyboard.up("s")
        page.wait_for_timeout(500)
        settled(page)
        assert [len(rows) for rows in rows_of(place, "ada", last)] == [1] * len(last.label_keys)
        done = open_batch_of(place.store, round_file, ada)
        assert done is None or done.name != second.name

        # back to the last pair: record and model stand there; a change is a second row, seen; undo gives the first back
        typist.key("k")
        expect(page.locator(".verdict").first).to_be_visible(timeout=20_000)
        typist.key("a", LET_GO)
        assert comes(page, lambda: len(rows_of(place, "ada", last)[0]) == 2)
        after = rows_of(place, "ada", last)[0]
        assert after["saw_suggestion"].tolist() == [False, True]
        typist.key("u", LET_GO)
        assert comes(page, lambda: len(rows_of(place, "ada", last)[0]) == 3)
        after = rows_of(place, "ada", last)[0]
        assert after["answer"].tolist() == ["cannot_tell", "absent", "retract"]
        assert after.loc[after["current"], "answer"].tolist() == ["cannot_tell"]

    protocol = current_protocol(place.store)
    assert protocol is not None
    ours = {(item.stay_id, key) for item in read for key in item.label_keys}
    rows = [e.data for e in events_of(place.store, "decision") if e.data["answer"] != "retract"]
    told = [data for data in rows if (data["stay_id"], data["label_key"]) in ours]
    assert len(told) == len(ours) + sum(len(item.label_keys) for item in again)
    assert {data["protocol_hash"] for data in told} == {protocol.hash}
    assert {data["batch"] for data in told} == {batch.name, second.name}


def contradicted(place: Place) -> tuple[int, str]:
    """A second reader says absent where Ada said present; the pair's stay and label."""
    ben = add_person(place.store, operator(), "ben", PASSWORD, role="reviewer")
    round_file = open_round(place.store.workspace)
    grouped = {key for labels in round_file.label_groups.values() for key in labels}
    for event in events_of(place.store, "decision"):
        stay, key = int(event.data["stay_id"]), str(event.data["label_key"])
        if event.data["answer"] == "present" and key not in grouped:
            record(place.store, ben, Reading(round_file.info.round_id, stay, key, "absent"), new_token())
            return stay, key
    raise AssertionError("Ada said present of no label that stands alone")


def test_a_conflict_is_settled_the_labels_leave_and_the_chain_holds(place: Place) -> None:
    stay, key = contradicted(place)
    with browsing(1024, 768) as page:
        typist = Typist(page)
        typist.sign_in(place.address, "judith")
        typist.press("Adjudication")
        typist.press("Start · 1 pair waits")
        expect(page.locator(".question")).to_be_visible(timeout=30_000)
        shown = page.locator("main").inner_text()
        assert "Ada" not in shown
        assert "Reader A" in shown
        typist.key("a", LET_GO)
        found = adjudications_of(place.store, stay, key)
        assert [made.answer for made in found] == ["absent"]

    with browsing() as page:
        typist = Typist(page)
        typist.sign_in(place.address, "sam")
        typist.press("Export")
        typist.press("Write the files")
        expect(page.get_by_text("manifest.json").first).to_be_visible(timeout=30_000)

    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "verify", "--workspace", str(place.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
