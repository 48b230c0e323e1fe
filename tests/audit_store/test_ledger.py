"""The chain: appended to by many at once, and whole."""

import multiprocessing
import os
from pathlib import Path

import pytest

from audit_store.database import GENESIS, open_store, read_head_file
from audit_store.errors import StoreError
from audit_store.fileio import canonical_json
from audit_store.ledger import append, event_hash, events_of, head, trail, walk
from audit_store.people import operator
from audit_store.verify import verify, verify_head
from audit_store.workspace import create_workspace, open_workspace

from .conftest import Site


def test_each_event_follows_from_the_one_before(site: Site) -> None:
    with site.store.reading() as connection:
        rows = list(walk(connection))
    previous = GENESIS
    for number, row in enumerate(rows, start=1):
        assert row.seq == number
        assert row.prev_hash == previous
        assert row.hash == event_hash(previous, row.payload)
        previous = row.hash
    assert head(site.store).hash == previous
    assert read_head_file(site.workspace.head_file) == (len(rows), previous)


def test_a_hash_worked_by_hand() -> None:
    import hashlib

    body = '{"a":1}'
    made = hashlib.blake2b(
        (64).to_bytes(8, "big") + GENESIS.encode() + len(body).to_bytes(8, "big") + body.encode(), digest_size=32
    )
    assert event_hash(GENESIS, canonical_json({"a": 1})) == made.hexdigest()


def test_canonical_json_has_one_text_for_one_value() -> None:
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_an_act_that_fails_leaves_no_trace(site: Site) -> None:
    before = head(site.store)

    def fail() -> None:
        with site.store.writing() as connection:
            append(connection, "test", "ann", {})
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert head(site.store) == before
    assert read_head_file(site.workspace.head_file) == (before.count, before.hash)
    assert verify(site.store) == []


def _write(root: Path, number: int, times: int) -> None:
    store = open_store(open_workspace(root))
    for i in range(times):
        with store.writing() as connection:
            append(connection, "test", f"writer-{number}", {"i": i})


def test_processes_that_write_at_once_keep_the_chain_whole(tmp_path: Path, place: None) -> None:
    workspace = create_workspace(tmp_path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, number, 15)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    store = open_store(workspace)
    assert head(store).count == 60
    assert verify(store) == []
    kept = read_head_file(workspace.head_file)
    assert kept == (60, head(store).hash)
    for number in range(4):
        mine = [event.data["i"] for event in events_of(store, "test") if event.actor == f"writer-{number}"]
        assert mine == list(range(15))
    store.close()


def test_the_trail_is_filtered_and_latest_first(site: Site) -> None:
    frame = trail(site.store, kinds=["person"], limit=3)
    assert frame["seq"].is_monotonic_decreasing
    assert set(frame["kind"]) == {"person"}
    assert len(trail(site.store, actor="nobody")) == 0
    assert set(trail(site.store)["actor"]) == {operator().name}


def test_a_head_kept_elsewhere_is_found_again(site: Site) -> None:
    kept = head(site.store)
    site.say("ann", *site.singles()[0], "present")
    assert verify_head(site.store, kept.count, kept.hash) is None
    assert verify_head(site.store, 0, GENESIS) is None
    lost = verify_head(site.store, 10_000, kept.hash)
    assert lost is not None
    assert "cut" in lost.what
    assert verify_head(site.store, kept.count, GENESIS) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to a read-only folder")
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_read_only_folder_is_one_line(site: Site) -> None:
    site.workspace.root.chmod(0o500)
    try:
        with pytest.raises(StoreError):
            site.say("ann", *site.singles()[0], "present")
    finally:
        site.workspace.root.chmod(0o700)
