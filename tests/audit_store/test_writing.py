"""What a decision costs, counted and not timed; and writers of one process waiting in line."""

import os
import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event

from audit_store import database
from audit_store.errors import StoreError
from audit_store.head_file import LENGTH, mirror_head, read_head_file
from audit_store.ledger import head
from audit_store.people import log_access

from .conftest import Site

STATEMENTS = 10


def test_a_decision_is_one_commit_of_few_statements_and_waits_for_no_other_file(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = site.singles()
    site.say("ann", *pairs[0], "present")  # connections are made, the head's file stands
    seen: Counter[str] = Counter()
    real = os.fsync

    def fsync(handle: int) -> None:
        seen["fsync"] += 1
        real(handle)

    def executed(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen["statement"] += 1

    def committed(_c: Any) -> None:
        seen["commit"] += 1

    engine = site.store._reader
    monkeypatch.setattr(os, "fsync", fsync)
    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "commit", committed)
    try:
        site.say("ann", *pairs[1], "absent")
        decided = dict(seen)
        seen.clear()
        log_access(site.store, site.people["ann"], "chart", 1, *pairs[2])
    finally:
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "commit", committed)
    assert decided == {"commit": 1, "statement": decided["statement"]}
    assert decided["statement"] <= STATEMENTS
    assert seen["commit"] == 1
    assert seen["fsync"] == 0
    assert read_head_file(site.workspace.head_file) == (head(site.store).count, head(site.store).hash)


def test_a_writer_waits_for_its_turn_and_is_told_when_none_comes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if site.store._reader.dialect.name != "sqlite":
        pytest.skip("PostgreSQL puts writers in line by itself")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 150)
    pair = site.singles()[0]
    done: list[int] = []

    def later() -> None:
        done.append(site.say("ben", *pair, "present").id)

    with site.store.writing(), pytest.raises(StoreError, match="a turn in the decisions store"):
        site.say("ann", *pair, "present")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 30_000)
    with site.store.writing():
        waiting = threading.Thread(target=later)
        waiting.start()
        waiting.join(0.2)
        assert not done
    waiting.join(20)
    assert done == [head(site.store).count]


def test_a_head_that_comes_late_does_not_replace_a_later_one(site: Site) -> None:
    path = site.workspace.head_file
    now = read_head_file(path)
    assert now is not None
    mirror_head(path, now[0] - 1, "0" * 64)
    assert read_head_file(path) == now
    mirror_head(path, now[0] + 1, "f" * 64)
    assert read_head_file(path) == (now[0] + 1, "f" * 64)
    assert path.stat().st_size == LENGTH
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{", encoding="ascii")
    assert read_head_file(path) is None
    mirror_head(path, *now)
    assert read_head_file(path) == now
