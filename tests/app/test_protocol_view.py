"""The protocol page: unsigned, signed, changed; a steward signs, a reviewer reads."""

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from app import session
from app.components import terms_picture
from audit_store import people
from audit_store.guidelines import load
from audit_store.people import operator
from audit_store.protocol import Terms, current_protocol, list_protocols, sign_protocol
from tests.app.conftest import page
from tests.app.invented import FLAGS, NAME, Invented, make_workspace


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(tmp_path / "workspace"))
    return tmp_path / "workspace"


@pytest.fixture
def steward(folder: Path) -> Invented:
    return make_workspace(folder, FLAGS[:1], role="steward")


@pytest.fixture
def reviewer(folder: Path) -> Invented:
    return make_workspace(folder, FLAGS[:1], role="reviewer")


def words(app: AppTest) -> str:
    return "\n".join(str(element.proto.body) for element in app.get("html"))


def test_an_unsigned_protocol_tells_a_reviewer_who_signs_it_and_offers_no_form(reviewer: Invented) -> None:
    app = page("protocol").run()
    assert not app.exception
    assert "Nothing is signed yet" in words(app)
    assert "A steward signs" in words(app)
    assert not app.button


def test_a_steward_changes_the_terms_and_signs_them_by_name(steward: Invented) -> None:
    app = page("protocol").run()
    app.number_input(key="terms_size").set_value(40)
    app.slider(key="terms_double").set_value(20)
    app.toggle(key="terms_limited").set_value(True)
    app.run()
    app.number_input(key="terms_budget").set_value(400)
    app.button(key="sign_protocol").click().run()
    assert not app.exception
    signed = current_protocol(steward.store)
    assert signed is not None
    assert signed.actor == NAME
    assert signed.terms == Terms(batch_size=40, budget=400, double_share=0.2)
    said = words(app)
    assert "Signed by <b>Dr Mara Vance</b>" in said
    assert signed.hash[:8] in said
    assert signed.hash[:9] not in said
    assert "All 25 guidelines are as they were signed" in said
    assert "<b>8 second readings</b>" in said


def test_terms_that_leave_no_room_for_flags_are_told_and_cannot_be_signed(steward: Invented) -> None:
    app = page("protocol").run()
    for key in ("double", "control", "audit"):
        app.slider(key=f"terms_{key}").set_value(50)
    app.run()
    assert not app.exception
    assert "lower one of them" in words(app).lower()
    assert app.button(key="sign_protocol").disabled
    assert current_protocol(steward.store) is None


def test_a_reviewer_reads_the_terms_the_changes_since_and_the_history_but_signs_nothing(reviewer: Invented) -> None:
    sign_protocol(reviewer.store, operator(), Terms(blind=False), load())
    changed = dict(list(load().items())[1:])
    sign_protocol(reviewer.store, operator(), Terms(), changed)
    app = page("protocol").run()
    said = words(app)
    assert "1 of 25 guidelines has changed since the signature" in said
    assert "Everyone reads <b>blind</b>" in said
    assert "Signed before" in said
    assert "not blind" in said
    assert len(list_protocols(reviewer.store)) == 2
    assert not app.button


def test_the_expected_interval_narrows_with_what_is_read_and_is_not_told_without_an_audit() -> None:
    told = terms_picture.widths(Terms())
    widths = [float(part.split(" points")[0]) for part in told.split("± ")[1:]]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == len(terms_picture.BATCHES)
    assert "nothing can be said" in terms_picture.widths(Terms(audit_share=0.0))
    assert len(terms_picture.widths(Terms(budget=60)).split("± ")) == 2


def test_the_bar_holds_as_many_pairs_as_the_batch() -> None:
    terms = Terms(batch_size=7, double_share=0.3, control_share=0.0)
    drawn = terms_picture.html(terms)
    assert "Of 7 pairs" in drawn
    assert "control" not in drawn


def test_a_store_that_does_not_answer_is_told_in_one_line(reviewer: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("protocol").run()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.run()
    assert not app.exception
    assert "The store did not answer" in words(app)
    assert "secret" not in words(app)
