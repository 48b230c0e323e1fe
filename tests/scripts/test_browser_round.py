"""A person's sitting on a round that the trainer made: the browser's acts are what the next round is locked to."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest
from playwright.sync_api import expect

from audit_store.database import open_store
from audit_store.verify import verify
from audit_store.workspace import open_workspace
from tests.app.browser import browsing, chromium, serving
from tests.app.sitting import sit

from .conftest import SMALL, run_miracl

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PASSWORD = "long-password"


def test_answers_by_key_on_a_trained_round_are_exported_and_locked(workspace_with_round: Path, tmp_path: Path) -> None:
    chromium()
    place = ("--workspace", workspace_with_round)
    added = run_miracl("person", "add", "ada", "--role", "steward", "--password-stdin", *place, stdin=f"{PASSWORD}\n")
    assert added.returncode == 0, added.stderr
    store = open_store(open_workspace(workspace_with_round))
    with serving(workspace_with_round, tmp_path / "server.log") as address, browsing() as page:
        items = sit(page, address, store, "ada", PASSWORD, items=3)
        page.get_by_role("link", name="Export").click()
        page.get_by_role("button", name="Write the files").click()
        expect(page.get_by_role("button", name="manifest.json")).to_be_visible(timeout=30_000)
    assert verify(store) == []
    store.close()
    wanted = {
        (item.stay_id, key): int(key == item.label_keys[0]) for item in items for key in item.label_keys
    }  # P, or the first of two decided together

    folder = next((workspace_with_round / "exports").glob("export-*"))
    long = pd.read_parquet(folder / "labels_long.parquet").set_index(["stay_id", "label"])
    assert {pair: int(long.loc[pair, "cleaned"]) for pair in wanted} == wanted
    assert {long.loc[pair, "reviewers"] for pair in wanted} == {"ada"}

    trained = run_miracl("train", *place, *SMALL)
    assert trained.returncode == 0, trained.stderr
    with duckdb.connect(str(workspace_with_round / "rounds" / "round-0002.duckdb"), read_only=True) as connection:
        locked = connection.sql(
            "SELECT stay_id, label_key, given FROM pair JOIN label USING (label_id) WHERE partition = 'locked'"
        ).fetchall()
    assert {(stay, key): int(given) for stay, key, given in locked} == wanted
