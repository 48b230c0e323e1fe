"""Tampering in small: what `miracl benchmark trust` tries a thousand times."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher

from audit_store import people
from audit_store.workspace import open_workspace
from scripts.benchmarks import trust_tamper
from scripts.benchmarks.trust_frame import Size
from scripts.benchmarks.trust_lived import make_lived
from scripts.benchmarks.trust_spoil import LEFT_OUT, tables_with_rows
from scripts.benchmarks.trust_tamper import watched_files

SIZE = Size("test", kills=0, tamperings=72, inputs=0, reviewers=0, decisions=0, seed=3)


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def test_every_tampering_is_found_and_a_verify_that_sees_nothing_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trust_tamper.lines(SIZE, tmp_path, lambda words: None)
    assert [line.counterexample for line in found] == [None] * 4
    assert all(line.passed for line in found)

    lived = make_lived(tmp_path / "again", SIZE.seed)
    names = tables_with_rows(lived.folder / "decisions.sqlite")
    # Closed before the file is written over: a log that an open connection keeps would outlive it.
    with closing(sqlite3.connect(lived.folder / "decisions.sqlite")) as connection:
        every = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(names) == every - set(LEFT_OUT)
    kinds = {path.suffix for path in watched_files(open_workspace(lived.folder))}
    assert kinds == {".duckdb", ".json", ".parquet", ".csv", ".md"}
    monkeypatch.setattr(trust_tamper, "verify", lambda store: [])
    blind = trust_tamper._rows(lived, 13, np.random.default_rng(1), lambda words: None)
    assert not blind.passed
    assert "nothing was found" in str(blind.counterexample)
