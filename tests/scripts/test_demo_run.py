"""The demo is ready to be read and to be settled: its accounts, its protocol and its conflicts stand, once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.run import DEMO_ADJUDICATOR, DEMO_NAME
from audit_store.adjudication import adjudicate, conflicts, rationales
from audit_store.database import Store
from audit_store.decisions import Reading, new_token, record
from audit_store.errors import AccessError
from audit_store.export_preview import preview
from audit_store.guidelines import load
from audit_store.labels import locks
from audit_store.ledger import events_of
from audit_store.people import add_person, find_person, operator
from audit_store.protocol import Terms, current_protocol, list_protocols, protocol_is_current
from audit_store.quality.report import quality
from audit_store.rounds import open_round
from audit_store.trail_words import sentence
from audit_store.verify import verify
from scripts import demo_run
from scripts.demo_people import COMMENT, CONFLICTS, READERS, leave_conflicts
from tests.app.invented import FLAGS, PASSWORD, make_workspace, publish_first


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The demo as it is after two runs of its command; a hand-made round in place of a trained one."""
    made = make_workspace(tmp_path / "demo", with_round=False)

    def train(*_: Any, **__: Any) -> int:
        publish_first(made.store, FLAGS)
        return 1

    monkeypatch.setattr(demo_run, "run_training", train)
    for _ in range(2):
        assert demo_run.prepare(made.folder, stays=10, epochs=1, seed=1, say=print) == 1
    yield made.store
    made.store.close()


def test_a_first_visitor_to_the_demo_can_draw_a_batch_at_once(demo: Store) -> None:
    signed = current_protocol(demo)
    assert signed is not None
    assert signed.terms == Terms()
    assert signed.actor.startswith("operator:")
    assert len(list_protocols(demo)) == 1
    assert protocol_is_current(demo, load())
    visitor = find_person(demo, DEMO_NAME)
    assert visitor is not None
    assert visitor.demo


def test_a_visitor_finds_conflicts_of_simulated_readers_who_cannot_come_back(demo: Store) -> None:
    found = conflicts(demo)
    assert len(found) == CONFLICTS
    assert set(found["readers"]) == {";".join(sorted(READERS))}
    assert found["label_key"].is_unique
    for name in READERS:
        reader = find_person(demo, name)
        assert reader is not None
        assert not reader.active
        row = found.iloc[0]
        again = Reading(1, int(row["stay_id"]), str(row["label_key"]), "present")
        with pytest.raises(AccessError):
            record(demo, reader, again, new_token())
    told = [sentence(event) for event in events_of(demo, "decision")]
    assert len(told) == CONFLICTS * len(READERS)
    assert all(line.startswith("simulated-reader-") and "reason: simulated" in line for line in told)
    assert verify(demo) == []


def test_what_simulated_readers_say_reaches_no_label_and_no_figure(demo: Store) -> None:
    round_file = open_round(demo.workspace)
    shown = preview(demo, round_file)
    assert (shown.changed, shown.waiting["conflict"]) == (0, CONFLICTS)
    assert locks(demo, 2).table.num_rows == 0
    steward = find_person(demo, DEMO_NAME)
    assert steward is not None
    assert quality(demo, steward, round_file).readings == 0


def test_the_demos_adjudicator_settles_one_and_their_word_counts(demo: Store) -> None:
    judge = find_person(demo, DEMO_ADJUDICATOR)
    assert judge is not None
    row = conflicts(demo).iloc[0]
    stay, key = int(row["stay_id"]), str(row["label_key"])
    assert [told.comment for told in rationales(demo, judge, stay, key)] == [COMMENT] * len(READERS)
    adjudicate(demo, judge, 1, stay, key, "present", token=new_token())
    assert len(conflicts(demo)) == CONFLICTS - 1
    assert preview(demo, open_round(demo.workspace)).basis["adjudicated"] == 1


def test_a_demo_stopped_half_way_through_its_conflicts_goes_on_with_them(demo: Store, tmp_path: Path) -> None:
    made = make_workspace(tmp_path / "other")
    reader = add_person(made.store, operator(), "simulated-reader-1", PASSWORD, demo=True)
    row = conflicts(demo).iloc[0]
    said = Reading(1, int(row["stay_id"]), str(row["label_key"]), "present", reason_code="simulated")
    record(made.store, reader, said, new_token())
    leave_conflicts(made.store, open_round(made.store.workspace))
    keys = ["stay_id", "label_key"]
    assert conflicts(made.store)[keys].equals(conflicts(demo)[keys])
    made.store.close()
