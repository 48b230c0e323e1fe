"""Exports: complete or absent, and what their manifest says is so."""

import csv
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audit_store import exports
from audit_store.database import open_store
from audit_store.errors import AccessError, ExportError, RoundError
from audit_store.export_citation import Citation
from audit_store.exports import export_labels, list_exports, recover
from audit_store.labels import Policy, cleaned_long
from audit_store.ledger import events_of, head
from audit_store.people import operator
from audit_store.verify import verify
from audit_store.workspace import open_workspace

from .conftest import Site, write_small_cohort

MakeSite = Callable[..., Site]
FILES = {
    "labels_long.csv",
    "labels_long.parquet",
    "labels_wide.csv",
    "labels_wide.parquet",
    "listfile.csv",
    "DATA_CARD.md",
    "manifest.json",
}

READS = {f"reads/{name}.{kind}" for name in ("reads", "adjudications") for kind in ("csv", "parquet")} | {
    "CITATION.cff"
}


def test_an_export_holds_what_its_manifest_says(site: Site) -> None:
    pair = site.singles()[0]
    observed, _ = site.round.stated(*pair)
    site.say("ann", *pair, "present" if observed == 0 else "absent")
    before = head(site.store)
    folder = export_labels(site.store, None, site.people["sam"])
    assert {path.name for path in folder.iterdir()} == FILES
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["decisions"]["head"] == {"count": before.count, "hash": before.hash}
    assert (manifest["round"], manifest["licence"], manifest["actor"]) == (1, "invented", "sam")
    assert manifest["counts"]["changed"] == 1
    assert sum(manifest["counts"]["basis"].values()) == manifest["counts"]["pairs"] == 1000
    for item in manifest["files"]:
        body = (folder / item["name"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == item["sha256"]
        assert len(body) == item["bytes"]
    assert {item["name"] for item in manifest["files"]} == FILES - {"manifest.json"}
    text = (folder / "labels_long.csv").read_text()
    row = next(row for row in csv.DictReader(text.splitlines()) if row["changed"] == "true")
    assert (int(row["stay_id"]), row["label"], row["reviewers"], row["round"]) == (*pair, "ann", "1")
    kept = pq.read_table(folder / "labels_long.parquet")
    assert kept.equals(cleaned_long(site.store, site.round))
    assert [event.actor for event in events_of(site.store, "export")] == ["sam"]
    assert verify(site.store) == []


def test_the_same_decisions_give_the_same_files(site: Site) -> None:
    one = export_labels(site.store, 1, operator())
    two = export_labels(site.store, 1, operator())
    assert (one.name, two.name) == ("export-0001", "export-0002")
    for name in FILES - {"manifest.json", "DATA_CARD.md"}:  # these name the ledger's head, which the first export moved
        assert (one / name).read_bytes() == (two / name).read_bytes()
    frame = list_exports(site.store)
    assert frame["number"].tolist() == [2, 1]
    assert frame["complete"].all()


def test_an_export_belongs_to_its_owner_alone(site: Site) -> None:
    folder = export_labels(site.store, 1, operator())
    assert folder.stat().st_mode & 0o077 == 0
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("formats", [(), ("xlsx",), ("csv", "xlsx")])
def test_unknown_formats_are_refused(site: Site, formats: tuple[str, ...]) -> None:
    with pytest.raises(ExportError, match="csv, parquet"):
        export_labels(site.store, 1, operator(), formats=formats)
    assert list(site.workspace.exports.iterdir()) == []


def test_only_those_who_may_export_do(site: Site) -> None:
    with pytest.raises(AccessError):
        export_labels(site.store, 1, site.people["ann"])
    assert list(site.workspace.exports.iterdir()) == []


def test_a_cohort_that_changed_since_is_refused(site: Site) -> None:
    write_small_cohort(site.workspace.cohort, 42)
    with pytest.raises(RoundError, match="changed since the round was trained"):
        export_labels(site.store, 1, operator())
    assert list(site.workspace.exports.iterdir()) == []


@pytest.mark.parametrize("step", ["write_forms", "write_text", "manifest_of", "_note", "sync_directory"])
def test_a_failure_at_any_step_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    before = head(site.store)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, step, fail)
    with pytest.raises(ExportError, match="No space left"):
        export_labels(site.store, 1, operator())
    assert list(site.workspace.exports.iterdir()) == []
    assert head(site.store) == before


def test_a_failure_after_the_rename_takes_the_folder_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = head(site.store)
    real = exports.sync_directory

    def fail(folder: Path) -> None:
        if folder == site.workspace.exports:
            raise OSError(5, "Input/output error")
        real(folder)

    monkeypatch.setattr(exports, "sync_directory", fail)
    with pytest.raises(ExportError, match="Input/output"):
        export_labels(site.store, 1, operator())
    assert list(site.workspace.exports.iterdir()) == []
    assert head(site.store) == before


def test_an_export_without_its_line_in_the_ledger_gets_it_the_next_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_labels(site.store, 1, site.people["sam"], Policy(low_certainty=True))
    copy = site.workspace.exports / "export-0007"
    copy.mkdir(mode=0o700)
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "number": 7}))
    assert [finding.where for finding in verify(site.store)] == ["exports/export-0007"]
    assert recover(site.store) == [7]
    assert recover(site.store) == []
    assert verify(site.store) == []
    assert export_labels(site.store, 1, operator()).name == "export-0008"


def _export_for_ever(root: Path) -> None:
    store = open_store(open_workspace(root))
    while True:
        export_labels(store, 1, operator(), reads=Citation())


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_export_is_complete_or_absent(make_site: MakeSite, seed: int) -> None:
    site = make_site(20, 6)
    site.say("ann", *site.flags()[0], "present")
    context = multiprocessing.get_context("fork" if os.environ.get("MIRACL_FORK") else "spawn")
    writer = context.Process(target=_export_for_ever, args=(site.workspace.root,))
    writer.start()
    deadline = time.monotonic() + 60
    while not list(site.workspace.exports.glob("export-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.013 * seed)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    for folder in site.workspace.exports.glob("export-*"):
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES | READS
    recover(site.store)
    assert verify(site.store) == []
    assert list(site.workspace.exports.glob(".*")) == []
    assert list_exports(site.store)["complete"].all()
