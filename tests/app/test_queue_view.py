"""The queue page: nothing to do, one item, batches; what it gives away to whom; a store that does not answer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from streamlit.testing.v1 import AppTest

from app import desk as desks
from app import session
from app.components.pair_links import link
from audit_store import people
from audit_store.batches import batch_items, draw_batch, list_batches
from audit_store.decisions import Reading, new_token, of_pair, record_together
from audit_store.errors import DecisionError
from audit_store.guidelines import load
from audit_store.people import Person, add_person, operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.rounds import RoundFile, open_round
from tests.app.conftest import page
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace

TERMS = Terms(batch_size=6, double_share=0.0, control_share=0.2, audit_share=0.2)
GIVING_AWAY = ("control", "random audit", "suspected", "recorded", "error")


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Invented]:
    """Make the workspace that the environment names; with `terms` its protocol is signed."""

    def made(
        terms: Terms | None = None, flags: list[tuple[str, int, str, float]] | None = None, role: str = "reviewer"
    ) -> Invented:
        monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(tmp_path / "workspace"))
        place = make_workspace(tmp_path / "workspace", flags, role=role)
        if terms is not None:
            sign_protocol(place.store, operator(), terms, load())
        return place

    return made


def me(place: Invented) -> tuple[Person, RoundFile]:
    return Person(NAME, "Dr Mara Vance", "reviewer"), open_round(place.store.workspace)


def words(app: AppTest) -> str:
    html = [str(element.proto.body) for element in app.get("html")]
    rest = [b.label for b in app.button] + [str(e.value) for e in [*app.error, *app.info]]
    return "\n".join([*html, *rest])


def pairs(app: AppTest) -> str:
    """The list's HTML."""
    return next((str(e.proto.body) for e in app.get("html") if 'class="pairs"' in str(e.proto.body)), "")


def answer(place: Invented, count: int) -> None:
    person, round_file = me(place)
    batch = draw_batch(place.store, person, round_file)
    assert batch is not None
    for item in batch_items(place.store, round_file, person, batch)[:count]:
        said = [Reading(1, item.stay_id, key, "absent", active_seconds=60.0) for key in item.label_keys]
        record_together(place.store, person, said, new_token())


def test_a_round_without_a_flag_says_what_to_do_next(make: Callable[..., Invented]) -> None:
    make(flags=[])
    app = page("queue").run()
    assert "Nothing to read" in words(app)
    assert not [button for button in app.button if "reviewing" in button.label]


def test_one_open_pair_without_a_protocol_is_read_from_the_free_queue(make: Callable[..., Invented]) -> None:
    make(flags=FLAGS[:1], role="steward")
    app = page("queue").run()
    said = words(app)
    assert "Start reviewing · 1 open" in said
    assert "No protocol is signed" in said
    assert pairs(app).count("<a ") == 1
    app.button(key="start").click().run()
    assert not app.exception
    assert app.session_state["desk"].batch is None
    assert app.session_state["go"] == "review"


def test_one_press_draws_the_batch_and_the_queue_then_goes_on_with_it(make: Callable[..., Invented]) -> None:
    place = make(TERMS)
    app = page("queue").run()
    app.button(key="start").click().run()
    desk = app.session_state["desk"]
    assert (len(desk.items), desk.batch.size, desk.at) == (6, 6, 0)
    person, round_file = me(place)
    first = desk.items[0]
    said = [Reading(1, first.stay_id, key, "absent", active_seconds=60.0) for key in first.label_keys]
    record_together(place.store, person, said, new_token())
    app = page("queue").run()
    html = words(app)
    assert "Batch of 6" in html
    assert "<b>1</b> answered, <b>5</b> left, about 5 minutes at your pace." in html
    app.button(key="start").click().run()
    assert app.session_state["desk"].at == 1
    assert len(list_batches(place.store, round_file)) == 1
    rows = of_pair(place.store, first.stay_id, first.label_keys[0])
    assert rows["reviewer"].tolist() == [NAME]


def test_a_blind_readers_page_tells_neither_purpose_nor_direction_nor_an_order_of_suspicion(
    make: Callable[..., Invented],
) -> None:
    place = make(TERMS)
    answer(place, 0)
    app = page("queue").run()
    listed = pairs(app)
    assert listed.count("<a ") == 6
    assert not [word for word in GIVING_AWAY if word in listed]
    assert not any(str(stay) in words(app) for stay in place.stays.values())
    keys = [box.key for box in app.selectbox]
    assert "filter_purpose" not in keys
    assert "filter_reader" not in keys
    assert not {"most suspect", "probability of error"} & set(app.selectbox(key="filter_order").options)
    assert not any("Batches" in str(e.proto.body) for e in app.get("html"))


def test_what_was_answered_is_listed_with_its_purpose_and_taken_back_from_the_page(
    make: Callable[..., Invented],
) -> None:
    place = make(TERMS)
    answer(place, 6)
    app = page("queue").run()
    app.selectbox(key="filter_state").select("done").run()
    assert pairs(app).count("<a ") == 6
    assert "control" in pairs(app)
    assert len([button for button in app.button if button.label == "Take back"]) == 6
    next(button for button in app.button if button.label == "Take back").click().run()
    assert len([button for button in app.button if button.label == "Take back"]) == 5
    assert "5</b> answered" in words(app)


def test_an_auditor_sees_batches_purposes_and_readers_and_no_way_to_read(make: Callable[..., Invented]) -> None:
    place = make(TERMS, role="auditor")
    ben = add_person(place.store, operator(), "ben", PASSWORD, display_name="Dr Ben Ito", role="reviewer")
    assert draw_batch(place.store, ben, open_round(place.store.workspace)) is not None
    app = page("queue").run()
    assert not app.exception
    assert "Dr Ben Ito" in words(app)
    assert not [button for button in app.button if "reviewing" in button.label or button.key == "draw"]
    app.selectbox(key="filter_purpose").select("control").run()
    assert "control" in pairs(app)
    assert "random audit" not in pairs(app)


def test_a_steward_draws_a_batch_for_a_reader_and_one_that_anybody_takes(make: Callable[..., Invented]) -> None:
    place = make(TERMS, role="steward")
    add_person(place.store, operator(), "ben", PASSWORD, display_name="Dr Ben Ito", role="reviewer")
    app = page("queue").run()
    app.number_input(key="draw_size").set_value(2)
    app.selectbox(key="draw_reader").select("ben")
    app.button(key="draw").click().run()
    app.selectbox(key="draw_reader").select("")
    app.button(key="draw").click().run()
    made = list_batches(place.store, open_round(place.store.workspace))
    assert made["size"].tolist() == [2, 2]
    assert made["person"].iloc[0] == "ben"
    assert "A batch waits for a reader" in words(app)
    app.button(key="take").click().run()
    assert NAME in list_batches(place.store, open_round(place.store.workspace))["person"].tolist()


def test_another_batch_is_the_next_one_and_the_open_one_comes_back_when_nothing_is_left(
    make: Callable[..., Invented],
) -> None:
    place = make(TERMS)
    person, round_file = me(place)
    context = session.Context(place.store, person, round_file, None, load())  # type: ignore[arg-type]
    first = desks.open_batch(context)
    assert first.batch is not None
    assert desks.open_batch(context).batch == first.batch
    seen = {item.token for item in first.items}
    for _ in range(50):
        last = desks.open_batch(context, fresh=True)
        assert last.batch is not None
        if last.batch.name == first.batch.name:  # nothing is left to draw
            break
        assert not seen & {item.token for item in last.items}
        seen |= {item.token for item in last.items}
    assert last.batch is not None
    assert last.batch.name == first.batch.name
    assert desks.desk_for(context, first.items[2]).at == 2
    with pytest.raises(DecisionError, match="a batch of yours"):
        desks.open_named(context, "made up")


def test_a_row_opens_its_pair_without_drawing_a_batch(
    make: Callable[..., Invented], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(TERMS)
    source = """
import streamlit as st
from app import session
from app.views import queue
from audit_store.queue import next_items
from tests.app.invented import NAME, PASSWORD

if "session_secret" not in st.session_state:
    session.sign_in(NAME, PASSWORD)
    context = session.context()
    queue._open(next_items(context.store, context.round_file, context.person)[2].token)
"""
    app = AppTest.from_string(source, default_timeout=30).run()
    desk = app.session_state["desk"]
    assert (len(desk.items), desk.at, desk.batch) == (1, 0, None)
    assert len(list_batches(place.store, open_round(place.store.workspace))) == 0
    assert link('"><b>', "x<y").startswith('<a class="pair" href="review?pair=&quot;')


def test_a_store_that_does_not_answer_is_told_in_one_line(
    make: Callable[..., Invented], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(TERMS)
    app = page("queue").run()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.run()
    assert not app.exception
    assert "The store did not answer" in words(app)
    assert "secret" not in words(app)
