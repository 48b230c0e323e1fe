"""One sitting in a real browser against a real server: the rows of the store are checked after each step."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from audit_store.decisions import of_pair
from audit_store.ledger import trail
from audit_store.people import add_person, operator
from audit_store.queue import item_token
from audit_store.rounds import open_round
from audit_store.verify import verify
from tests.app.browser import browsing, chromium, serving, settled
from tests.app.invented import NAME, PASSWORD, Invented, make_workspace
from tests.app.sitting import PAUSE, asked, assert_blind, line, press, sign_in, sit, start

pytestmark = [
    pytest.mark.browser,
    # Playwright's and asyncio's own sockets, collected after the browser has gone
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Invented, str]]:
    chromium()
    folder = tmp_path_factory.mktemp("browser")
    made = make_workspace(folder / "workspace")
    with serving(made.folder, folder / "server.log") as address:
        yield made, address
    made.store.close()


def rows(made: Invented, key: tuple[str, int], label: str) -> pd.DataFrame:
    return of_pair(made.store, made.stays[key], label)


def test_a_sitting_from_sign_in_to_export_writes_exactly_what_was_answered(place: tuple[Invented, str]) -> None:
    made, address = place
    requests = []
    with browsing() as page:
        page.on("request", lambda request: requests.append(request.url))
        sign_in(page, address, NAME, PASSWORD)
        start(page)
        question = page.locator(".question")
        expect(question).to_contain_text("Septicemia")

        # before the answer: nothing in the page tells what is recorded or proposed
        item = asked(page, made.store, open_round(made.store.workspace))
        assert (item.stay_id, item.label_keys) == (made.stays[("p-three-visits", 1)], ("septicemia",))
        assert_blind(page, item)
        for key in ("Present", "Absent", "Can't say"):
            box = page.get_by_role("button", name=key).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 900
        assert page.title() == "Review · MIRACL Audit"  # the note's script did not run
        assert "<script>" not in page.locator(".notes").inner_html()

        # a held key writes one decision
        page.wait_for_timeout(PAUSE)
        page.keyboard.down("p")
        for _ in range(25):
            page.wait_for_timeout(40)
            page.keyboard.down("p")
        page.keyboard.up("p")
        expect(page.locator(".verdict")).to_be_visible(timeout=20_000)
        settled(page)
        pair = (("p-three-visits", 1), "septicemia")
        found = rows(made, *pair)
        assert found["answer"].tolist() == ["present"]
        assert found["blinded"].tolist() == [True]
        assert not found["saw_suggestion"].any()

        # the reveal, in words
        assert "recorded: absent" in line(page)
        assert "model: present, rank 1 of 8" in line(page)
        assert "you accept the correction" in line(page)

        # a change is a second row, marked as seen
        press(page, "a")
        expect(page.locator(".verdict")).to_contain_text("you reject the correction")
        found = rows(made, *pair)
        assert found["answer"].tolist() == ["present", "absent"]
        assert found["saw_suggestion"].tolist() == [False, True]
        assert found["current"].tolist() == [False, True]

        # an undo gives the answer before it back
        press(page, "u")
        expect(page.locator(".verdict")).to_contain_text("you accept the correction")
        found = rows(made, *pair)
        assert found["answer"].tolist() == ["present", "absent", "retract"]
        assert found.loc[found["current"], "answer"].tolist() == ["present"]

        # keep and go on
        press(page, "j")
        expect(question).to_contain_text("renal failure")
        assert page.locator(".verdict").count() == 0
        press(page, "s")
        expect(page.locator(".verdict")).to_contain_text("the recorded value stays")
        assert rows(made, ("p-kidney", 0), "acute_renal_failure")["answer"].tolist() == ["cannot_tell"]

        # labels decided together: one key, two rows
        press(page, "j")
        expect(question).to_contain_text("Diabetes")
        press(page, "1")
        expect(page.locator(".verdict").first).to_be_visible()
        both = [
            rows(made, ("p-sugar", 0), key)["answer"].tolist()
            for key in ("diabetes_with_complications", "diabetes_without_complication")
        ]
        assert both == [["present"], ["absent"]]

        # back, and the whole notes
        press(page, "k")
        expect(question).to_contain_text("renal failure")
        press(page, "n")
        expect(page.locator("details.note").first).to_be_visible()

        # without the pause one key answers and goes on, and a held key still writes one row
        page.get_by_role("button", name="Settings").click()
        page.get_by_text("Pause after each answer").click()
        settled(page)
        page.keyboard.press("Escape")
        press(page, "j")
        press(page, "j")
        expect(question).to_contain_text("infarction")
        page.wait_for_timeout(PAUSE)
        before = len(trail(made.store, kinds=("decision",), limit=500))
        page.keyboard.down("a")
        for _ in range(30):
            page.wait_for_timeout(40)
            page.keyboard.down("a")
        page.keyboard.up("a")
        expect(question).not_to_contain_text("infarction", timeout=20_000)
        settled(page)
        assert rows(made, ("p-heart", 0), "acute_myocardial_infarction")["answer"].tolist() == ["absent"]
        assert len(trail(made.store, kinds=("decision",), limit=500)) == before + 1

        # export
        page.get_by_role("link", name="Export").click()
        expect(page.get_by_role("button", name="Write the files")).to_be_visible(timeout=20_000)
        page.get_by_role("button", name="Write the files").click()
        expect(page.get_by_role("button", name="manifest.json")).to_be_visible(timeout=20_000)
        settled(page)
        page.wait_for_timeout(500)
        with page.expect_download() as waiting:
            page.get_by_role("button", name="labels_long.csv").click()
        table = pd.read_csv(Path(waiting.value.path()))
        row = table[(table["stay_id"] == made.stays[pair[0]]) & (table["label"] == pair[1])].iloc[0]
        assert (row["observed"], row["cleaned"], row["basis"]) == (0, 1, "relabelled")

    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert verify(made.store) == []


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_the_answer_bar_and_all_panes_are_in_sight_without_scrolling(
    place: tuple[Invented, str], width: int, height: int
) -> None:
    _, address = place
    with browsing(width, height) as page:
        sign_in(page, address, NAME, PASSWORD)
        start(page)
        for name in ("left_pane", "series_pane", "notes_pane", "answers"):
            box = page.locator(f".st-key-{name}").bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height, name
            assert box["x"] + box["width"] <= width, name
        panes_end_above_the_foot(page)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_labels_decided_together_have_a_taller_foot_and_the_panes_make_room(
    place: tuple[Invented, str], width: int, height: int
) -> None:
    made, address = place
    keys = ("diabetes_with_complications", "diabetes_without_complication")
    token = item_token(made.store.workspace, made.stays["p-sugar", 0], keys)
    with browsing(width, height) as page:
        sign_in(page, address, NAME, PASSWORD)
        page.goto(f"{address}/review?pair={token}")
        expect(page.locator(".question")).to_contain_text("Diabetes", timeout=30_000)
        expect(page.locator(".reveal-line.two")).to_be_visible()
        settled(page)
        panes_end_above_the_foot(page)


def test_an_opened_line_of_the_panel_stays_open_while_its_pair_stands_there(place: tuple[Invented, str]) -> None:
    _, address = place
    with browsing() as page:
        sign_in(page, address, NAME, PASSWORD)
        start(page)
        line = page.locator(".panel details.item").first
        line.locator("summary").click()
        expect(line.locator(".inner tr, .inner li, .inner p").first).to_be_visible()
        for key, there in (("l", "Not sure"), ("n", "Passages"), ("l", "Sure")):
            press(page, key)
            expect(page.get_by_role("button", name=there, exact=False).first).to_be_visible()
            settled(page)
            assert page.locator(".panel details.item[open]").count() == 1, key


def panes_end_above_the_foot(page: Page) -> None:
    foot = page.locator(".st-key-foot").bounding_box()
    assert foot is not None
    for name in ("left_pane", "notes_pane"):
        pane = page.locator(f".st-key-{name}").bounding_box()
        assert pane is not None
        assert 0 <= foot["y"] - pane["y"] - pane["height"] <= 60, name


def test_another_reader_sits_down_to_the_same_round_blind(place: tuple[Invented, str]) -> None:
    made, address = place
    add_person(made.store, operator(), "noor", PASSWORD)
    with browsing(1024, 768) as page:
        done = sit(page, address, made.store, "noor", PASSWORD, items=2)
    assert len(done) == 2
    assert verify(made.store) == []
