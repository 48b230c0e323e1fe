"""Accounts on the screen: who may sign in, temporary passwords, attestations; one's own password."""

import json
import re
from pathlib import Path

import pytest

from app import session
from app.plain import literal
from audit_store import people
from audit_store.errors import AccessError
from audit_store.ledger import trail
from audit_store.people import add_person, authenticate, find_person, list_people, operator
from tests.app.entering import QUICK, entered, said
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace

OWN = "my own good password"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invented:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    monkeypatch.setattr(people, "_HASHER", QUICK)
    return make_workspace(folder, FLAGS[:1])


def test_a_new_person_gets_a_temporary_password_that_is_shown_once_and_has_to_be_changed(place: Invented) -> None:
    app = entered("people")
    assert "Dr Mara Vance" in said(app)
    app.text_input(key="add_name").input("nora")
    app.text_input(key="add_display").input("Nora <b>N</b>")
    next(b for b in app.button if b.label.startswith("Add, with")).click().run()
    assert not app.exception
    found = re.search(r'class="handed">([^<]+)<', said(app))
    assert found is not None
    given = found.group(1)
    assert "Nora &lt;b&gt;N&lt;/b&gt;" in said(app)
    app.button(key="put_away").click().run()
    assert given not in said(app)
    assert given not in json.dumps(trail(place.store, limit=500)["payload"].tolist())

    other = entered("queue", "nora", given)
    assert "Choose your own password" in said(other)
    assert "reviewing" not in said(other)
    other.text_input(key="account_old").input(given)
    other.text_input(key="account_new").input(OWN)
    other.text_input(key="account_again").input(OWN + "x")
    next(b for b in other.button if b.label == "Change the password").click().run()
    assert "The two new passwords differ" in said(other)
    other.text_input(key="account_old").input(given)
    other.text_input(key="account_new").input(OWN)
    other.text_input(key="account_again").input(OWN)
    next(b for b in other.button if b.label == "Change the password").click().run()
    assert not other.exception
    nora = authenticate(place.store, "nora", OWN)
    assert not nora.temporary
    other.session_state["go"] = "queue"
    assert "reviewing" in said(other.run())


def test_what_a_steward_does_to_an_account_is_told_in_one_line(place: Invented) -> None:
    add_person(place.store, operator(), "nora", PASSWORD, display_name="Nora")
    app = entered("people")
    app.selectbox(key="people_pick").set_value("nora").run()
    app.selectbox(key="role_nora").set_value("adjudicator")
    app.button(key="set_role").click().run()
    assert "nora is now adjudicator" in said(app)
    app.text_input(key="attest_nora").input("DUA 1.5")
    app.button(key="set_attestation").click().run()
    assert "an attestation and its last day" in said(app)
    app.date_input(key="attest_day_nora").set_value("2027-01-01")
    app.button(key="set_attestation").click().run()
    assert literal("nora: DUA 1.5, until 2027-01-01.") in said(app)
    app.button(key="disable").click().run()
    assert "can no longer sign in" in said(app)
    with pytest.raises(AccessError):
        authenticate(place.store, "nora", PASSWORD)
    app.button(key="enable").click().run()
    app.button(key="reset").click().run()
    assert "Temporary password for <b>nora</b>" in said(app)
    found = find_person(place.store, "nora")
    assert found is not None
    assert (found.role, found.temporary, found.attestation) == ("adjudicator", True, "DUA 1.5")


def test_the_last_steward_can_neither_be_closed_nor_demoted(place: Invented) -> None:
    app = entered("people")
    app.button(key="disable").click().run()
    assert "make another person a steward first" in said(app).lower()
    app.selectbox(key=f"role_{NAME}").set_value("auditor")
    app.button(key="set_role").click().run()
    assert "make another person a steward first" in said(app).lower()
    assert list_people(place.store).iloc[0]["role"] == "steward"


def test_a_name_that_is_taken_is_refused_in_one_line(place: Invented) -> None:
    app = entered("people")
    app.text_input(key="add_name").input(NAME)
    next(b for b in app.button if b.label.startswith("Add, with")).click().run()
    assert "a name that is free" in said(app)
    assert "handed" not in said(app)


def test_everyone_may_change_their_own_password_and_stays_signed_in(place: Invented) -> None:
    add_person(place.store, operator(), "nora", PASSWORD, role="auditor")
    app = entered("account", "nora")
    for key, value in (("account_old", "wrong one"), ("account_new", OWN), ("account_again", OWN)):
        app.text_input(key=key).input(value)
    next(b for b in app.button if b.label == "Change the password").click().run()
    assert "does not match" in said(app)
    for key, value in (("account_old", PASSWORD), ("account_new", OWN), ("account_again", OWN)):
        app.text_input(key=key).input(value)
    next(b for b in app.button if b.label == "Change the password").click().run()
    assert "Changed." in said(app)
    assert OWN not in said(app)
    assert authenticate(place.store, "nora", OWN).name == "nora"


def test_the_demos_password_is_left_alone(place: Invented) -> None:
    add_person(place.store, operator(), "guest", PASSWORD, demo=True)
    app = entered("account", "guest")
    assert "The demo account is shared" in said(app)
    assert not [b for b in app.button if b.label == "Change the password"]


def test_a_store_that_does_not_answer_is_one_line(place: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = entered()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.session_state["go"] = "people"
    app.run()
    assert "The store did not answer" in said(app)
    assert "secret" not in said(app)


def test_people_are_managed_by_stewards_alone(place: Invented) -> None:
    for role in ("reviewer", "adjudicator", "auditor"):
        add_person(place.store, operator(), role, PASSWORD, role=role)
        app = entered("people", role)
        assert not app.exception
        assert "Add a person" not in said(app)
