"""A person's sitting on a round that the trainer made: the browser's acts are what the next round is locked to."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from app.desk import HELD_SECONDS
from audit_store.database import open_store
from audit_store.decisions import recent
from audit_store.people import find_person
from audit_store.workspace import open_workspace
from tests.app.browser import browsing, chromium, serving, settled

from .conftest import SMALL, run_miracl

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PASSWORD = "long-password"


def press(page: Page, key: str) -> None:
    page.wait_for_timeout(int(HELD_SECONDS * 1000) + 100)
    page.keyboard.press(key)
    page.wait_for_timeout(100)
    settled(page)


def answer(page: Page, key: str) -> None:
    """Answer the pair on the screen; of labels decided together, A says neither and 1 the first."""
    together = page.locator(".st-key-answers").get_by_role("button", name="Present").count() == 0
    press(page, "1" if together and key == "p" else key)
    expect(page.locator(".verdict").first).to_be_visible(timeout=20_000)


def test_answers_by_key_on_a_trained_round_are_exported_and_locked(workspace_with_round: Path, tmp_path: Path) -> None:
    chromium()
    place = ("--workspace", workspace_with_round)
    added = run_miracl("person", "add", "ada", "--role", "steward", "--password-stdin", *place, stdin=f"{PASSWORD}\n")
    assert added.returncode == 0, added.stderr
    with serving(workspace_with_round, tmp_path / "server.log") as address, browsing() as page:
        page.goto(address)
        page.get_by_label("Name", exact=True).fill("ada")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="reviewing").click()
        expect(page.locator(".question")).to_be_visible(timeout=20_000)
        settled(page)
        assert page.locator(".verdict").count() == 0

        answer(page, "a")
        line = page.locator(".reveal-line").inner_text()
        assert "recorded:" in line
        assert "model:" in line
        press(page, "u")
        assert page.locator(".verdict").count() == 0
        answer(page, "p")
        for key in ("a", "s", "p"):
            press(page, "j")
            answer(page, key)

        page.get_by_role("link", name="Export").click()
        page.get_by_role("button", name="Write the files").click()
        expect(page.get_by_role("button", name="manifest.json")).to_be_visible(timeout=20_000)

    store = open_store(open_workspace(workspace_with_round))
    ada = find_person(store, "ada")
    assert ada is not None
    acts = recent(store, ada)
    standing = acts[~acts["taken_back"] & acts["answer"].isin(["present", "absent"])]
    store.close()
    assert len(standing) >= 3
    assert (acts["answer"] == "cannot_tell").any()

    folder = next((workspace_with_round / "exports").glob("export-*"))
    long = pd.read_parquet(folder / "labels_long.parquet").set_index(["stay_id", "label"])
    trained = run_miracl("train", *place, *SMALL)
    assert trained.returncode == 0, trained.stderr
    with duckdb.connect(str(workspace_with_round / "rounds" / "round-0002.duckdb"), read_only=True) as connection:
        locked = connection.sql(
            "SELECT stay_id, label_key, given FROM pair JOIN label USING (label_id) WHERE partition = 'locked'"
        ).df()
    locked = locked.set_index(["stay_id", "label_key"])
    assert len(locked) == len(standing)
    for row in standing.itertuples():
        value = int(row.answer == "present")
        assert int(long.loc[(row.stay_id, row.label_key), "cleaned"]) == value
        assert int(locked.loc[(row.stay_id, row.label_key), "given"]) == value
