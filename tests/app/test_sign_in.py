"""Signing in on the screen: which ways a server offers, what an expired attestation leaves, and pages nobody uses."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.listening import BEYOND_VARIABLE
from app.run import DEMO_NAME, DEMO_PASSWORD
from audit_store import people, sessions
from audit_store.attestations import require_attestation
from audit_store.database import utc_now
from audit_store.ledger import events_of
from audit_store.people import add_person, operator, set_attestation
from tests.app.entering import MAIN, QUICK, entered, said
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invented]:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    monkeypatch.setattr(people, "_HASHER", QUICK)
    made = make_workspace(folder, FLAGS[:1])
    yield made
    made.store.close()


def write_identity(place: Invented, passwords: bool) -> None:
    path = place.folder / "identity.toml"
    path.write_text(
        '[provider]\nname = "St. *Anna*"\nserver_metadata_url = "https://login.example.org/x"\nclient_id = "m"\n'
        f'client_secret = "hush"\n[roles]\ng = "reviewer"\n[rules]\npasswords = {str(passwords).lower()}\n',
        encoding="utf-8",
    )
    path.chmod(0o600)


def test_the_page_offers_the_ways_that_the_workspace_names(place: Invented) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert "Sign in with" not in said(app)
    write_identity(place, passwords=True)
    both = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert "St" in next(b.label for b in both.button if b.label.startswith("Sign in with"))
    assert both.text_input(key="sign_in_password") is not None
    assert "hush" not in said(both)
    inside = entered("queue")
    assert "reviewing" in said(inside)

    write_identity(place, passwords=False)  # what was opened by a password ends at the next drawing
    inside.run()
    assert "reviewing" not in said(inside)
    assert "signed out" in said(inside)
    shut = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert not [field for field in shut.text_input if field.key == "sign_in_password"]
    assert "Sign in with" in said(shut)


def test_a_file_that_is_wrong_is_one_line_and_no_way_in(place: Invented) -> None:
    write_identity(place, passwords=False)
    (place.folder / "identity.toml").chmod(0o644)
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert "chmod 600" in said(app).lower()
    assert not app.text_input
    assert not app.exception


def test_beyond_this_machine_the_demo_is_closed_and_the_page_says_why(
    place: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_person(place.store, operator(), DEMO_NAME, DEMO_PASSWORD, role="steward", demo=True)
    inside = entered("queue", DEMO_NAME, DEMO_PASSWORD)
    assert "reviewing" in said(inside)
    monkeypatch.setenv(BEYOND_VARIABLE, "1")
    assert "reviewing" not in said(inside.run())
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert "Enter the demo" not in said(app)
    assert DEMO_PASSWORD not in said(app)
    assert "The demo account is closed here" in said(app)
    before = len(events_of(place.store, "sign_in"))
    refused = entered(None, DEMO_NAME, DEMO_PASSWORD)
    assert "closed here" in "".join(str(e.value) for e in refused.error)
    assert len(events_of(place.store, "sign_in")) == before
    assert "reviewing" in said(entered("queue", NAME, PASSWORD))


def test_an_expired_attestation_leaves_the_account_page_and_one_line(place: Invented) -> None:
    yesterday = (utc_now() - timedelta(days=1)).date().isoformat()
    inside = entered("queue")
    assert "reviewing" in said(inside)
    set_attestation(place.store, operator(), NAME, "DUA 1.5", yesterday)
    for page in ("queue", "review", "trail", "people"):
        inside.session_state["go"] = page
        told = said(inside.run())
        assert f"ended on {yesterday}" in told, page
        assert "reviewing" not in told
        assert "Queue" not in told
    again = entered()  # they can sign in, and read why
    assert f"ended on {yesterday}" in said(again)
    assert "A steward" not in said(again)
    set_attestation(place.store, operator(), NAME, "DUA 1.6", "2999-01-01")
    inside.session_state["go"] = "queue"
    assert "reviewing" in said(inside.run())
    set_attestation(place.store, operator(), NAME, None, None)
    assert "reviewing" in said(inside.run())
    require_attestation(place.store, operator(), True)
    assert "none is noted for you" in said(inside.run())


def test_a_steward_asks_everyone_for_an_attestation_on_the_screen(place: Invented) -> None:
    add_person(place.store, operator(), "stella", PASSWORD, role="steward")
    app = entered("people", "stella")
    app.button(key="ask_attestation").click().run()
    assert "attestation of your own first" in said(app)
    set_attestation(place.store, operator(), "stella", "DUA 1.5", "2999-01-01")
    app.button(key="ask_attestation").click().run()
    assert "asked of everyone" in said(app)
    assert "password" in said(app)
    app.button(key="ask_attestation").click().run()
    assert [event.data["require_attestation"] for event in events_of(place.store, "access_rule")] == [True, False]


def test_a_page_that_nobody_uses_ends_with_its_session(place: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = entered("queue")
    began = utc_now()
    for minutes in (20, 29):  # the page asks by itself: that is no use
        monkeypatch.setattr(sessions, "utc_now", lambda minutes=minutes: began + timedelta(minutes=minutes))
        app.session_state["looking"] = True
        app.run()
        assert "reviewing" in said(app)
    monkeypatch.setattr(sessions, "utc_now", lambda: began + timedelta(minutes=31))
    app.session_state["looking"] = True
    app.run()
    assert "reviewing" not in said(app)
    assert "Sign in to go on" in said(app)

    used = entered("queue")
    began = utc_now() + timedelta(minutes=31)
    for minutes in (20, 40, 60):
        monkeypatch.setattr(sessions, "utc_now", lambda minutes=minutes: began + timedelta(minutes=minutes))
        assert "reviewing" in said(used.run()), minutes


def test_signing_out_ends_the_sitting_in_the_store(place: Invented) -> None:
    app = entered("queue")
    ticket = app.session_state["session_secret"]
    app.button(key="sign_out").click().run()
    assert people.resume_session(place.store, ticket) is None
    assert "session_secret" not in app.session_state
    assert "reviewing" not in said(app)
    assert events_of(place.store, "sign_out")
