"""Backups: whole while others write, refused where one byte is off, and the same workspace again once restored."""

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from audit_store import tables
from audit_store.backup import back_up
from audit_store.database import Store, open_store
from audit_store.decisions import adjudicate, new_token, of_pair, redact
from audit_store.errors import AccessError, ChainError, StoreError
from audit_store.exports import export_labels
from audit_store.fileio import file_digest
from audit_store.ledger import append, events_of, head
from audit_store.people import authenticate, operator, start_session
from audit_store.restore import restore
from audit_store.verify import head_of_manifest, verify, verify_head
from audit_store.workspace import create_workspace, open_workspace
from tests.postgres import Server

from .conftest import PASSWORD, Site

MakeSite = Callable[..., Site]


@pytest.fixture
def lived(make_site: MakeSite) -> Site:
    """A workspace with a round, answers, comments of which one was removed, an export and someone signed in."""
    site = make_site(20, 6)
    (stay, key), (other_stay, other_key) = site.flags()[:2]
    site.say("ann", stay, key, "present", comment="first")
    site.say("ben", stay, key, "absent")
    adjudicate(site.store, site.people["ada"], 1, stay, key, "present", comment="second", token=new_token())
    row = site.say("ann", other_stay, other_key, "absent", comment="Dr Quill")
    redact(site.store, site.people["sam"], row.comment_id, "named a colleague")
    export_labels(site.store, 1, site.people["sam"])
    start_session(site.store, site.people["ann"])
    model = site.workspace.model_folder(1)
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"\x00\x01" * 600)
    return site


def events(store: Store) -> list[tuple[Any, ...]]:
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(select(tables.event).order_by(tables.event.c.seq))]


def files(folder: Path) -> dict[str, str]:
    """Digests of all that never changes."""
    parts = ("rounds", "exports", "cohort", "models")
    found = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in [*found, folder / "secret"]}


@pytest.mark.parametrize("name", ["monday.tar", "monday"])
def test_a_restored_workspace_is_the_one_that_was_backed_up(lived: Site, tmp_path: Path, name: str) -> None:
    made = back_up(lived.store, operator(), tmp_path / name)
    assert oct(made.path.stat().st_mode & 0o777) == ("0o600" if made.path.is_file() else "0o700")
    assert events_of(lived.store, "access")[-1].data["what"] == "backup"
    restored = restore(made.path, tmp_path / "again", operator())
    store = open_store(restored.workspace)
    before, after = events(lived.store), events(store)
    assert after[:-1] == before
    assert events_of(store, "restore")[-1].data["hash"] == made.head.hash == before[-1][-1]
    assert files(restored.workspace.root) == files(lived.workspace.root)
    assert verify(store) == []
    assert authenticate(store, "ann", PASSWORD).name == "ann"
    with store.reading() as connection:
        assert connection.execute(select(tables.session)).first() is None
        texts = connection.execute(select(tables.comment.c.text)).scalars().all()
    assert sorted(words or "" for words in texts) == ["", "first", "second"]
    assert b"Quill" not in made.path.read_bytes() if made.path.is_file() else True
    modes = {oct(path.stat().st_mode & 0o777) for path in restored.workspace.root.rglob("*")}
    assert modes == {"0o600", "0o700"}
    store.close()
    assert not list(tmp_path.glob(".*"))


def _write(root: Path, number: int, until: Path) -> None:
    store = open_store(open_workspace(root))
    i = 0
    while not until.exists() and i < 5_000:
        with store.writing() as connection:
            append(connection, "test", f"writer-{number}", {"i": i})
        i += 1
    store.close()


def test_a_backup_taken_while_four_write_holds_a_prefix_of_what_they_wrote(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "workspace")
    store = open_store(workspace)
    enough = tmp_path / "enough"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(workspace.root, number, enough)) for number in range(4)]
    try:
        for writer in writers:
            writer.start()
        until = time.monotonic() + 60
        while head(store).count < 40 and time.monotonic() < until:
            time.sleep(0.05)
        made = back_up(store, operator(), tmp_path / "busy.tar")
        assert verify(store) == []  # others' writing is no finding
        ended = time.monotonic() + 60
        while head(store).count < made.head.count + 20 and time.monotonic() < ended:
            time.sleep(0.05)
    finally:
        enough.touch()
        for writer in writers:
            writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    restored = restore(made.path, tmp_path / "again", operator())
    again = open_store(restored.workspace)
    assert verify(again) == []
    kept, now = events(again)[:-1], events(store)
    assert 40 <= len(kept) == made.head.count < len(now)
    assert kept == now[: len(kept)]
    again.close()
    store.close()


def test_a_backup_that_was_changed_or_cut_is_refused_and_leaves_nothing(lived: Site, tmp_path: Path) -> None:
    path = back_up(lived.store, operator(), tmp_path / "whole.tar").path
    whole = path.read_bytes()
    rng = random.Random(11)
    spoiled = tmp_path / "spoiled.tar"
    for number in range(60):
        body = bytearray(whole)
        place = rng.randrange(4_000) if number % 3 == 0 else rng.randrange(len(body))
        if number % 4 == 3:
            body = body[:place]
        else:
            body[place] ^= rng.randrange(1, 256)
        spoiled.write_bytes(bytes(body))
        with pytest.raises(StoreError):
            restore(spoiled, tmp_path / "again", operator())
        assert not (tmp_path / "again").exists()
    spoiled.write_bytes(whole + b"\x00")
    with pytest.raises(StoreError, match="changed"):
        restore(spoiled, tmp_path / "again", operator())
    assert not [left for left in tmp_path.iterdir() if left.name.startswith(".")]


def test_a_folder_backup_in_which_a_file_was_changed_added_or_lost_is_refused(lived: Site, tmp_path: Path) -> None:
    folder = back_up(lived.store, operator(), tmp_path / "whole").path
    for act in ("changed", "longer", "added", "lost", "linked"):
        spoiled = tmp_path / act
        shutil.copytree(folder, spoiled)
        target = spoiled / "exports" / "export-0001" / "labels_long.csv"
        if act == "changed":
            target.write_bytes(target.read_bytes().replace(b"0", b"1", 1))
        elif act == "longer":
            target.write_bytes(target.read_bytes() + b"\n")
        elif act == "added":
            target.with_name("more.csv").write_text("more")
        elif act == "linked":
            (spoiled / "cohort" / "link").symlink_to(tmp_path)
        else:
            target.unlink()
        with pytest.raises(StoreError):
            restore(spoiled, tmp_path / "again", operator())
        assert not (tmp_path / "again").exists()


def test_a_backup_without_the_cohort_says_so_and_is_whole_once_the_cohort_is_back(lived: Site, tmp_path: Path) -> None:
    made = back_up(lived.store, operator(), tmp_path / "small.tar", cohort=False, models=False)
    full = back_up(lived.store, operator(), tmp_path / "full.tar")
    assert made.parts["cohort"] < full.parts["cohort"]
    assert "models" not in made.parts
    restored = restore(made.path, tmp_path / "again", operator())
    assert not restored.cohort
    store = open_store(restored.workspace)
    assert {finding.where.split("/")[0] for finding in verify(store)} == {"cohort"}
    shutil.copytree(lived.workspace.cohort, restored.workspace.cohort, dirs_exist_ok=True)
    assert verify(store) == []
    store.close()


def test_places_that_hold_something_are_never_written_over(lived: Site, tmp_path: Path) -> None:
    path = back_up(lived.store, operator(), tmp_path / "whole.tar").path
    before = path.read_bytes()
    count = head(lived.store).count
    for taken in (path, tmp_path, lived.workspace.root / "inside.tar", tmp_path / "no" / "folder.tar"):
        with pytest.raises(StoreError):
            back_up(lived.store, operator(), taken)
    assert head(lived.store).count == count
    assert path.read_bytes() == before
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    for taken in (full, lived.workspace.root, tmp_path / "no" / "folder"):
        with pytest.raises(StoreError):
            restore(path, taken, operator())
    assert [left.name for left in full.iterdir()] == ["something"]
    with pytest.raises(StoreError):
        restore(tmp_path / "none.tar", tmp_path / "again", operator())
    empty = tmp_path / "empty"
    empty.mkdir()
    assert restore(path, empty, operator()).workspace.root == empty


def test_only_those_who_hold_everything_may_take_everything(lived: Site, tmp_path: Path) -> None:
    for who in ("ann", "ada", "aud"):
        with pytest.raises(AccessError):
            back_up(lived.store, lived.people[who], tmp_path / "mine.tar")
        with pytest.raises(AccessError):
            restore(tmp_path / "mine.tar", tmp_path / "again", lived.people[who])
    assert not list(tmp_path.glob("*mine*"))


@pytest.mark.parametrize("what", ["answer", "round", "export", "cohort"])
def test_a_workspace_that_does_not_hold_is_not_backed_up(lived: Site, tmp_path: Path, what: str) -> None:
    if what == "answer":
        with lived.store.writing() as connection:
            connection.execute(text("UPDATE decision SET answer = 'absent'"))
    else:
        folder = lived.workspace.root
        name = {"round": "rounds/round-0001.duckdb", "export": "exports/export-0001/listfile.csv"}.get(what)
        path = folder / (name or "cohort/stays.parquet")
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(bytes(body))
    with pytest.raises(ChainError):
        back_up(lived.store, operator(), tmp_path / "bad.tar")
    assert not list(tmp_path.glob("*bad*"))


def test_a_tail_cut_after_a_backup_is_found_by_its_manifest(lived: Site, tmp_path: Path) -> None:
    older = back_up(lived.store, operator(), tmp_path / "older").path
    newer = back_up(lived.store, operator(), tmp_path / "newer").path
    rolled_back = open_store(restore(older, tmp_path / "again", operator()).workspace)
    assert verify(rolled_back) == []
    for folder, lost in ((older, False), (newer, True)):
        kept = head_of_manifest(folder / "backup.json")
        assert (verify_head(rolled_back, kept.count, kept.hash) is not None) is lost
    rolled_back.close()


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_backup_goes_from_either_database_to_either(
    lived: Site, tmp_path: Path, postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = back_up(lived.store, operator(), tmp_path / "from-server.tar").path
    (stay, key) = lived.flags()[0]
    wanted = of_pair(lived.store, stay, key)["answer"].tolist()
    before = events(lived.store)
    monkeypatch.delenv("MIRACL_DECISIONS_URL")
    embedded = open_store(restore(first, tmp_path / "embedded", operator()).workspace)
    assert events(embedded)[:-1] == before
    assert verify(embedded) == []
    second = back_up(embedded, operator(), tmp_path / "from-file.tar").path
    embedded.close()
    with postgres_server.fresh() as url:
        workspace = restore(second, tmp_path / "served", operator(), url=url).workspace
        assert not (workspace.root / "decisions.sqlite").exists()
        monkeypatch.setenv("MIRACL_DECISIONS_URL", url)
        served = open_store(workspace)
        assert events(served)[: len(before)] == before
        assert verify(served) == []
        assert of_pair(served, stay, key)["answer"].tolist() == wanted
        with pytest.raises(StoreError, match="empty"):
            restore(second, tmp_path / "twice", operator(), url=url)
        assert not (tmp_path / "twice").exists()
        served.close()
