"""The audit trail on the screen."""

from pathlib import Path

import pytest
from sqlalchemy import text

from app import session
from audit_store import people
from audit_store.decisions import Reading, new_token, of_pair, record
from audit_store.ledger import events_of, head
from audit_store.people import add_person, find_person, log_access, operator
from audit_store.trail_view import PAGE
from tests.app.entering import QUICK, entered, said
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invented:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    monkeypatch.setattr(people, "_HASHER", QUICK)
    return make_workspace(folder, FLAGS[:1])


def test_the_trail_tells_what_was_done_and_that_it_was_opened_once(place: Invented) -> None:
    stay = place.stays[("p-three-visits", 1)]
    mara = find_person(place.store, NAME)
    assert mara is not None
    record(place.store, mara, Reading(1, stay, "septicemia", "present", comment="<i>words</i>"), new_token())
    app = entered("trail")
    assert not app.exception
    words = said(app)
    assert "mara answered &#x27;present&#x27; (high certainty) on Septicemia" in words
    assert "mara opened the audit trail" in words
    assert "words" not in words.replace("passwords", "")
    assert "no electronic signature" in words
    app.run()
    opened = [event for event in events_of(place.store, "access") if event.data["what"] == "trail"]
    assert len(opened) == 1


def test_a_steward_removes_the_text_of_a_comment_and_an_auditor_is_not_offered_to(place: Invented) -> None:
    mara = find_person(place.store, NAME)
    assert mara is not None
    stay = place.stays[("p-three-visits", 1)]
    row = record(place.store, mara, Reading(1, stay, "septicemia", "present", comment="a colleague"), new_token())
    app = entered("trail")
    app.number_input(key="redact_event").set_value(row.id)
    app.text_input(key="redact_why").input("names a colleague").run()
    app.button(key="redact").click().run()
    assert not app.exception
    assert f"removed the text of the comment of event {row.id}: names a colleague" in said(app)
    assert of_pair(place.store, stay, "septicemia")["comment"].tolist() == [None]
    add_person(place.store, operator(), "olga", PASSWORD, role="auditor")
    other = entered("trail", "olga")
    assert not [button for button in other.button if button.key == "redact"]


def test_filters_that_leave_nothing_say_so(place: Invented) -> None:
    app = entered("trail")
    app.multiselect(key="trail_kinds").set_value(["round"]).run()
    assert "published round 1" in said(app)
    app.selectbox(key="trail_person").set_value(NAME).run()
    assert "Nothing matches these filters" in said(app)


def test_older_and_newer_turn_pages(place: Invented) -> None:
    mara = find_person(place.store, NAME)
    assert mara is not None
    for _ in range(PAGE):
        log_access(place.store, mara, "export", 1)
    app = entered("trail")
    assert f"1 to {PAGE} of" in said(app)
    app.button(key="trail_older").click().run()
    assert f"{PAGE + 1} to" in said(app)
    assert "added the account" in said(app)
    app.button(key="trail_newer").click().run()
    assert f"1 to {PAGE} of" in said(app)


def test_the_check_says_what_was_walked_and_the_head(place: Invented) -> None:
    app = entered("trail")
    app.button(key="trail_check_now").click().run()
    words = said(app)
    assert "It holds." in words
    assert head(place.store).hash in words
    assert "rounds, cohort, exports" in words


def test_the_check_names_the_first_row_that_does_not_hold(place: Invented) -> None:
    with place.store.writing() as connection:
        connection.execute(text("UPDATE event SET payload = replace(payload, 'mara', 'tara') WHERE seq = 1"))
    app = entered("trail")
    app.button(key="trail_check_now").click().run()
    words = said(app)
    assert "It does not hold." in words
    assert "event, row 1: was changed" in words


def test_a_store_that_does_not_answer_is_one_line(place: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = entered()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.session_state["go"] = "trail"
    app.run()
    assert "The store did not answer" in said(app)
    assert "secret" not in said(app)


def test_the_trail_is_offered_to_those_who_may_read_it(place: Invented) -> None:
    for role, offered in (("reviewer", False), ("adjudicator", False), ("auditor", True)):
        add_person(place.store, operator(), role, PASSWORD, role=role)
        app = entered("trail", role)
        assert not app.exception
        assert ("Does the chain hold?" in said(app)) is offered
