"""Role × action, the smaller walk: what `miracl benchmark trust --only roles` tries in full."""

from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher

from audit_store import people, queue, roles
from audit_store.people import Person
from audit_store.verify import verify
from scripts.benchmarks.trust_acts import ACTS, NO_ACT, Ground, unlisted
from scripts.benchmarks.trust_roles import Actor, make_ground, try_cell, walk


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        made = make_ground(tmp_path_factory.mktemp("roles"))
        yield made
        made.store.close()


def test_every_public_act_of_the_store_stands_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unlisted() == []
    assert not NO_ACT.keys() & {act.name for act in ACTS}

    def wipe(store: Any, actor: Person) -> None:
        """An act that somebody adds and nobody lists."""

    wipe.__module__ = queue.__name__
    monkeypatch.setattr(queue, "wipe", wipe, raising=False)
    assert unlisted() == ["queue.wipe"]


@pytest.mark.slow
def test_what_a_role_allows_works_and_what_it_does_not_is_refused_and_writes_nothing(ground: Ground) -> None:
    cells = walk(ground, lambda line: None, every=8)
    assert [cell for cell in cells if cell.wrong is not None] == []
    assert {cell.allowed for cell in cells} == {True, False}
    assert len(cells) > 240
    assert verify(ground.store) == []


def test_the_walk_finds_a_gate_that_is_open(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    act = next(act for act in ACTS if act.name == "roles.log_access")
    monkeypatch.setattr(roles, "require_now", lambda connection, person, action: person)
    nobody = Actor("nobody", Person("nobody", "Nobody", "steward"), None)
    assert try_cell(ground, act, nobody).wrong == "it worked"
