"""The adjudicator's page: nothing of names, nothing of the record before the answer, one row for one press."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from audit_store import people
from audit_store.adjudication import adjudicate, adjudications_of
from audit_store.decisions import Reading, new_token, pair_state, record, record_together
from audit_store.ledger import events_of
from audit_store.people import Person, add_person, operator
from audit_store.queue import item_token
from tests.app.entering import QUICK, entered, said
from tests.app.invented import FLAGS, PASSWORD, Invented, make_workspace
from tests.app.sitting import REVEALING

KEY = "septicemia"
WHO = {"anouk": "Dr Anouk Reed", "benno": "Benno Okafor"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invented:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    monkeypatch.setattr(people, "_HASHER", QUICK)
    monkeypatch.setattr("app.desk.SEEN_SECONDS", 0.0)
    return make_workspace(folder, FLAGS, role="adjudicator")


@pytest.fixture
def readers(place: Invented) -> dict[str, Person]:
    return {
        name: add_person(place.store, operator(), name, PASSWORD, display_name=shown) for name, shown in WHO.items()
    }


@pytest.fixture
def conflict(place: Invented, readers: dict[str, Person]) -> int:
    """One pair on which two readers disagree; returns its stay."""
    stay = place.stays[("p-three-visits", 1)]
    for name, answer, why in (("anouk", "present", "<b>cultures</b> grew"), ("benno", "absent", "only a differential")):
        record(place.store, readers[name], Reading(1, stay, KEY, answer, comment=why), new_token())
    return stay


def started() -> AppTest:
    app = entered("adjudication")
    return app.button(key="start_cases").click().run()


def rows(place: Invented, stay: int) -> list[str]:
    return [row.answer for row in adjudications_of(place.store, stay, KEY)]


def test_without_a_conflict_the_page_says_what_brings_one(place: Invented) -> None:
    app = entered("adjudication")
    assert not app.exception
    assert "No readers disagree" in said(app)
    assert "What you settle is listed here" in said(app)
    app.segmented_control(key="case_kind").set_value("no reader could say").run()
    assert "Nobody was left in doubt" in said(app)


def test_a_store_that_does_not_answer_is_one_line(place: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = entered()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.session_state["go"] = "adjudication"
    app.run()
    assert not app.exception
    assert "The store did not answer" in said(app)
    assert "secret" not in said(app)


def test_before_the_answer_there_are_two_reasons_no_names_and_nothing_of_the_record(
    place: Invented, conflict: int
) -> None:
    app = entered("adjudication")
    assert "Start · 1 pair waits" in said(app)
    app.button(key="start_cases").click().run()
    assert not app.exception
    text = said(app)
    for word in ("Reader A", "Reader B", "only a differential", "&lt;b&gt;cultures&lt;/b&gt; grew", "read blind"):
        assert word in text
    for word in (*WHO, *WHO.values(), "Reed", "Okafor"):
        assert word.lower() not in text.lower()
    assert not [word for word in REVEALING if word in text.lower()]
    assert str(conflict) not in text


def test_a_settled_pair_shows_what_it_locked_and_is_listed(place: Invented, conflict: int) -> None:
    app = started()
    app.button(key="answer_present").click().run()
    assert rows(place, conflict) == ["present"]
    assert pair_state(place.store, conflict, KEY).locked
    text = said(app)
    assert "recorded: absent" in text
    assert "you accept the correction · locked as present" in text
    app.button(key="next").click().run()
    assert "That was the last one" in said(app)
    app.button(key="leave").click().run()
    assert "locked as present: the next round and exports take it" in said(app)
    assert "No readers disagree" in said(app)


def test_a_held_key_and_a_double_click_write_one_adjudication(
    place: Invented, conflict: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = started()
    app.button(key="answer_present").click().run()
    for _ in range(3):
        app.button(key="answer_present").click().run()
    assert rows(place, conflict) == ["present"]
    monkeypatch.setattr("app.desk.SEEN_SECONDS", 60.0)
    app.button(key="answer_absent").click().run()
    assert rows(place, conflict) == ["present"]


def test_a_second_thought_is_a_second_row_and_the_list_opens_a_settled_pair_again(
    place: Invented, conflict: int
) -> None:
    app = started()
    app.button(key="answer_present").click().run()
    app.button(key="answer_cannot_tell").click().run()
    assert rows(place, conflict) == ["present", "cannot_tell"]
    assert "not locked" in said(app)
    app.button(key="leave").click().run()
    assert "replaced by a later one" in said(app)
    app.button(key="settled_open").click().run()
    app.button(key="answer_absent").click().run()
    assert rows(place, conflict) == ["present", "cannot_tell", "absent"]


def test_a_comment_goes_with_the_answer_or_settles_again_with_it(place: Invented, conflict: int) -> None:
    app = started()
    app.text_area[0].input("two bottles of two").run()
    assert rows(place, conflict) == []
    app.button(key="answer_present").click().run()
    (row,) = adjudications_of(place.store, conflict, KEY)
    assert row.comment_digest is not None
    app.text_area[0].input("two bottles of two, same strain").run()
    assert rows(place, conflict) == ["present", "present"]


def test_of_two_adjudicators_at_once_both_are_kept_and_the_later_is_told(place: Invented, conflict: int) -> None:
    eve = add_person(place.store, operator(), "eve", PASSWORD, role="adjudicator")
    app = started()
    adjudicate(place.store, eve, 1, conflict, KEY, "absent", token=new_token())
    app.button(key="answer_present").click().run()
    assert rows(place, conflict) == ["absent", "present"]
    text = said(app)
    assert "another adjudicator settled this as <b>absent</b>" in text
    assert "eve" not in text.split("another adjudicator")[1][:80]


def test_a_reader_is_not_asked_to_settle_their_own_pair(place: Invented, conflict: int) -> None:
    both = add_person(place.store, operator(), "cleo", PASSWORD, role="adjudicator")
    record(place.store, both, Reading(1, conflict, KEY, "present"), new_token())
    app = entered("adjudication", "cleo")
    text = said(app)
    assert "1 more is left to somebody else: you are one of the readers." in text
    assert not [b for b in app.button if b.key == "start_cases"]
    app.query_params["case"] = item_token(place.store.workspace, conflict, [KEY])
    app.run()
    assert "Reader A" not in said(app)
    assert "a pair that you did not read" in said(app)


def test_labels_decided_together_are_one_question_and_both_rows(place: Invented, readers: dict[str, Person]) -> None:
    stay = place.stays[("p-sugar", 1)]
    keys = ("diabetes_with_complications", "diabetes_without_complication")
    for name, present in (("anouk", keys[0]), ("benno", keys[1])):
        made = [Reading(1, stay, key, "present" if key == present else "absent") for key in keys]
        record_together(place.store, readers[name], made, new_token())
    app = started()
    assert not app.exception
    words = [choice.label for choice in app.button if str(choice.key).startswith("answer_")]
    assert all(f"<b>{word}</b>, sure" in said(app) for word in words[:2])
    app.button(key="answer_first").click().run()
    states = [pair_state(place.store, stay, key) for key in keys]
    assert [state.state for state in states] == ["adjudicated", "adjudicated"]
    assert sorted(int(state.value or 0) for state in states) == [0, 1]


def test_opening_a_case_is_logged_once(place: Invented, conflict: int) -> None:
    app = started()
    app.button(key="notes").click().run()
    opened = [event.data["what"] for event in events_of(place.store, "access")]
    assert opened == ["chart", "note"]


def test_the_page_is_offered_to_adjudicators_alone(place: Invented) -> None:
    for role in ("reviewer", "steward", "auditor"):
        add_person(place.store, operator(), role, PASSWORD, role=role)
        app = entered("adjudication", role)
        assert not app.exception
        assert "Start ·" not in said(app)
        assert "Pairs that others read" not in said(app)
