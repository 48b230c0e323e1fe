"""A few kills and a small crowd, by the trust benchmark's own functions; and that their checks can fail."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from audit_store import tables
from audit_store.database import open_store
from audit_store.ledger import events_of
from audit_store.people import operator
from audit_store.rounds import note_rounds, write_round
from audit_store.verify import verify
from scripts.benchmarks.trust_checks import Acts, half_files, leftovers, lost_or_halved, reopen, unfinished, unsound
from scripts.benchmarks.trust_crowd import Crowd, Done, lost_or_twice, serve
from scripts.benchmarks.trust_kills import REVIEWERS, Tally, Target
from scripts.benchmarks.trust_site import AS_USED, Place, invented_round, make_place, reviewer
from scripts.benchmarks.trust_sitting import context_of, items
from scripts.benchmarks.trust_victims import settle

READERS = REVIEWERS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("made") / "ward", stays=60, reviewers=READERS, terms=AS_USED, seed=1)


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(made.folder, tmp_path / "ward")
    place = Place(tmp_path / "ward")
    yield place
    settle(place)
    open_store(place.workspace()).close()


@pytest.mark.slow
def test_killed_readers_exports_and_publishing_leave_nothing_lost_nothing_by_half(place: Place) -> None:
    target, tally = Target(place, random.Random(4)), Tally()
    for kind in ("reader", "export", "reader", "publish", "reader", "export", "publish"):
        target.shoot(kind, tally)
    target.clean(tally)
    assert tally.wrong == {}
    assert tally.kills >= 4
    assert len(target.acts.kept) > 3
    assert tally.slowest < 2.0


def answered(place: Place, count: int) -> Acts:
    """What a reader would have told of a few acts."""
    from app.acts import write_answers

    acts, context = Acts(), context_of(place, reviewer(1))
    for desk, item, sheet in items(context):
        token, answers = sheet.token, dict.fromkeys(item.label_keys, "absent")
        write_answers(context, desk, sheet, item, answers)
        acts.begun[token] = acts.kept[token] = len(answers)
        if len(acts.kept) == count and max(acts.kept.values()) > 1:
            return acts
        count = max(count, len(acts.kept) + 1)
    raise AssertionError("no labels that are decided together")


def test_a_lost_a_halved_and_a_strange_act_are_each_noticed(place: Place) -> None:
    acts = answered(place, 3)
    store = open_store(place.workspace())
    assert lost_or_halved(store, acts) is None
    assert unsound(store) is None
    acts.kept["never-written"] = acts.begun["never-written"] = 1
    assert lost_or_halved(store, acts) == "an acknowledged act of 1 rows has 0"
    del acts.kept["never-written"]
    several = next(token for token, rows in acts.begun.items() if rows > 1)
    kept = acts.kept.pop(several)
    with store.writing() as connection:
        first = select(tables.decision.c.id).where(tables.decision.c.act == several).limit(1).scalar_subquery()
        connection.execute(delete(tables.decision).where(tables.decision.c.id == first))
    assert lost_or_halved(store, acts) == f"an act of {kept} rows was kept by half ({kept - 1})"
    assert unsound(store) is not None
    del acts.begun[several]
    assert lost_or_halved(store, acts) == "an act that nobody began"
    store.close()


def test_a_half_export_and_what_a_dead_process_left_aside_are_noticed(place: Place) -> None:
    opened = reopen(place)
    assert half_files(opened.store) is None
    assert opened.events > 0
    (place.folder / "exports" / "export-0001").mkdir()
    assert half_files(opened.store) == "export-0001 stands without its manifest"
    assert leftovers(place.folder) == []
    (place.folder / "exports" / ".export.99999999.part").mkdir()
    assert leftovers(place.folder) == ["exports/.export.99999999.part"]
    opened.store.close()


def test_a_round_that_a_kill_left_without_its_line_in_the_ledger_gets_it_once(place: Place) -> None:
    settle(place)
    store = open_store(place.workspace())
    write_round(store.workspace, 2, *invented_round(store.workspace, 2, 1))
    assert unsound(store) is None
    assert "stands in no event of the ledger" in str(unfinished(store))
    assert note_rounds(store, [1, 2], operator()) == [2]
    assert note_rounds(store, [1, 2], operator()) == []
    assert [event.data["round_id"] for event in events_of(store, "round")] == [1, 2]
    assert verify(store) == []
    store.close()


def test_a_small_crowd_on_one_store_loses_nothing_and_a_loss_would_show(place: Place) -> None:
    crowd = Crowd(place, READERS, 8, servers=1, pace=0.0)
    done = Done(serve(place, [reviewer(i + 1) for i in range(READERS)], 8, 0.0, 1), [])
    store = open_store(place.workspace())
    assert lost_or_twice(crowd, done, store) is None
    assert verify(store) == []
    token = done.hurried[0].kept[0].token
    with store.writing() as connection:
        connection.execute(delete(tables.decision).where(tables.decision.c.act == token))
    assert lost_or_twice(crowd, done, store) is not None
    done.hurried[1].errors.append("StoreError: no turn")
    assert lost_or_twice(crowd, done, store) == f"{reviewer(2)}: StoreError: no turn"
    store.close()
