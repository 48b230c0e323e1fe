"""The Quality page: with nothing read, with one answer, filled, and with a store that does not answer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.components.quality_words import bounds, few, interval, percent, points, told
from audit_store.batches import batch_items, draw_batch
from audit_store.decisions import Reading, new_token, record, record_together
from audit_store.guidelines import load
from audit_store.people import add_person, authenticate, operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.quality.shares import Share, weighted_share
from audit_store.rounds import open_round
from tests.app.conftest import page
from tests.app.invented import NAME, PASSWORD, Invented, make_workspace

READERS = ("hedda", "iven", "jorun")


def filled(folder: Path, role: str = "steward") -> Invented:
    """An invented workspace in which three people read an audit, controls, flags and each other's pairs."""
    made = make_workspace(folder, role=role, found=True)
    sign_protocol(
        made.store,
        operator(),
        Terms(batch_size=40, budget=200, audit_share=0.4, control_share=0.2, double_share=0.2),
        load(),
    )
    round_file = open_round(made.store.workspace)
    rng = np.random.default_rng(9)
    for name in READERS:
        person = add_person(made.store, operator(), name, PASSWORD, display_name=f"Dr {name.title()} Holt")
        batch = draw_batch(made.store, person, round_file)
        assert batch is not None
        for item in batch_items(made.store, round_file, person, batch):
            true = rng.random() < 0.3
            said = [
                Reading(
                    1,
                    item.stay_id,
                    key,
                    "present" if true and key == item.label_keys[0] else "absent",
                    active_seconds=float(rng.uniform(20, 90)),
                )
                for key in item.label_keys
            ]
            if len(said) > 1:
                record_together(made.store, person, said, new_token())
            else:
                record(made.store, person, said[0], new_token())
    return made


def words(app: AppTest) -> str:
    """Everything on the page that a reader could read."""
    html = [str(element.proto.body) for element in app.get("html")]
    rest = [b.label for b in app.button] + [str(e.value) for kind in ("error", "info") for e in app.get(kind)]
    return "\n".join([*html, *rest])


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invented]:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    made = filled(folder)
    yield made
    made.store.close()


def test_with_nothing_read_the_page_says_what_to_do_and_how_sure_an_audit_would_be(invented: Invented) -> None:
    app = page("quality").run()
    assert not app.exception
    assert "Nothing has been read yet" in words(app)
    assert "No random audit to judge by yet" in words(app)
    assert "± 4.8 %" in words(app)  # a hundred readings of which 5 % are wrong
    assert app.button(key="to_queue").label == "Go to the queue"


def test_with_one_answer_every_part_says_too_few(invented: Invented) -> None:
    person = authenticate(invented.store, NAME, PASSWORD)
    record(invented.store, person, Reading(1, invented.stays["p-kidney", 0], "shock", "present"), new_token())
    app = page("quality").run()
    assert not app.exception
    text = words(app)
    assert "you are R1" in text
    for said in ("No random audit", "No pair has been read blind by two people", "Too few answers yet"):
        assert said in text
    assert "too few (1)" in text


def test_a_store_that_does_not_answer_is_one_line(invented: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("quality").run()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    app.run()
    assert not app.exception
    assert "The store did not answer" in words(app)
    assert "secret" not in words(app)


def test_a_filled_page_shows_each_part_as_a_picture_and_a_table_without_names(made: Invented) -> None:
    app = page("quality").run()
    assert not app.exception
    text = words(app)
    for heading in (
        "How much noise is left",
        "For whom?",
        "Do readers agree?",
        "Do readers follow the tool?",
        "Does the probability hold?",
        "How long reading takes",
    ):
        assert heading in text
    assert text.count('<h1 class="page">') == 1
    assert "R1 and R2" in text
    assert "Holt" not in text
    assert not [name for name in READERS if name in text.lower()]
    assert not [str(stay) for stay in made.stays.values() if str(stay) in text]
    charts = app.get("vega_lite_chart") + app.get("arrow_vega_lite_chart")
    assert len(charts) >= 6
    assert text.count("<caption") >= 6
    assert "women" in text
    choice = next(one for one in app.get("button_group") if one.key == "noise_shown")
    choice.set_value(["As handed out, after corrections"]).run()
    assert not app.exception


@pytest.mark.parametrize(
    ("part", "said"), [(None, "—"), (0.0, "0 %"), (0.0432, "4.3 %"), (0.0999, "10 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_a_percentage_has_tenths_below_ten(part: float | None, said: str) -> None:
    assert percent(part) == said


def test_figures_in_words_say_too_few_and_keep_their_interval() -> None:
    some = weighted_share(np.arange(100) < 5, unsure=np.arange(100) > 94)
    assert told(some) == f"5.3 % ({interval(some)})"
    assert interval(some) == "1.7 to 12 %"
    assert bounds(some).endswith(" %")
    none = Share(4, 4, 0, 0, None, None, None, None, None)
    assert told(none) == interval(none) == few(4) == "too few (4)"
    assert bounds(none) == "—"
    assert points((0.104, 0.04, 0.17)) == "+10 points (+4 to +17)"
    assert points(None) == "too few to compare"
