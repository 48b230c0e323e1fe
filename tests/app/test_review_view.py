"""The one-pair screen: patient mode, blindness off, undo from anywhere, other readers, links that lead nowhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import app as app_package
from app import session
from audit_store.decisions import Reading, new_token, of_pair, recent, record
from audit_store.guidelines import load
from audit_store.ledger import events_of, head
from audit_store.people import add_person, end_session, operator
from audit_store.people import find_person as person_of
from audit_store.protocol import Terms, sign_protocol
from tests.app.conftest import page
from tests.app.extreme import FLAGS as EXTREMES
from tests.app.extreme import make_extreme
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace
from tests.app.test_views import words

MAIN = Path(app_package.__file__).with_name("main.py")
LASTING = [
    ("p-sugar", 0, "diabetes_with_complications", 0.93),
    ("p-kidney", 0, "septicemia", 0.9),
    ("p-sugar", 1, "diabetes_with_complications", 0.7),
]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.desk.SEEN_SECONDS", 0.0)
    monkeypatch.setattr("app.desk.HELD_SECONDS", 0.0)


def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[tuple[str, int, str, float]]) -> Invented:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    return make_workspace(folder, flags)


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def in_patient_mode(app: AppTest) -> AppTest:
    return app.toggle(key="patient_toggle").set_value(True).run()


def questions(app: AppTest) -> list[str]:
    return [b.label for b in app.button if str(b.key).startswith("question_")]


def test_patient_mode_asks_all_open_pairs_of_one_patient_before_the_next_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path, monkeypatch, FLAGS)
    app = in_patient_mode(page("review").run())
    assert "2 questions about this patient" in words(app)
    assert [label.count("now") for label in questions(app)] == [1, 0]
    assert "open" in questions(app)[1]
    app = press(press(app, "answer_present"), "next")
    assert "question 2 of 2 about this patient" in words(app)
    assert "answered" in questions(app)[0]
    assert "now" in questions(app)[1]
    assert "model:" not in words(app)  # blind again for the second
    app = press(app, "question_0")
    assert "question 1 of 2" in words(app)
    assert "recorded: absent" in words(app)
    app = press(press(app, "next"), "next")
    assert "renal failure" in words(app)


def test_a_reveal_in_patient_mode_gives_no_record_away_that_is_still_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path, monkeypatch, LASTING)
    app = press(in_patient_mode(page("review").run()), "answer_first")
    after = words(app)
    assert "recorded: absent" in after
    assert "asked of you too" in after
    assert "other visit" not in after.split("Also recorded")[0].split("across visits")[0]
    app = press(press(app, "next"), "answer_first")
    assert "asked of you too" not in words(app)


def test_with_blindness_off_the_buttons_say_what_the_label_will_be_and_the_row_says_it_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS[:1])
    sign_protocol(made.store, operator(), Terms(blind=False), load())
    app = page("review").run()
    said = words(app)
    assert "record in sight" in said
    assert "model: " in said
    recorded = "present" if "recorded: present" in said else "absent"
    other = "absent" if recorded == "present" else "present"
    labels = [b.label for b in app.button]
    assert f"Keep {recorded}" in labels
    assert f"Relabel to {other}" in labels
    press(app, f"answer_{other}")
    last = recent(made.store, person_of(made.store, NAME)).iloc[0]
    rows = of_pair(made.store, int(last["stay_id"]), str(last["label_key"]))
    assert rows["blinded"].tolist() == [False]
    assert rows["saw_suggestion"].tolist() == [True]


def test_undo_from_a_page_without_the_pair_brings_the_pair_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS[:1])
    app = press(press(page("review").run(), "answer_present"), "next")
    app = press(app, "another")
    assert "Nothing left to read here" in words(app)
    app = press(app, "undo")
    assert "Septicemia" in words(app)
    assert "recorded: absent" not in words(app)
    press(app, "answer_absent")
    rows = of_pair(made.store, made.stays[("p-three-visits", 1)], "septicemia")
    assert rows["answer"].tolist() == ["present", "retract", "absent"]
    assert rows["saw_suggestion"].tolist()[-1]


def test_a_pair_answered_is_never_offered_again_and_one_left_for_later_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path, monkeypatch, FLAGS[:2])
    app = press(press(page("review").run(), "answer_present"), "next")
    app = press(app, "next")
    app = press(app, "another")
    assert "pair 1 of 1" in words(app)
    assert "renal failure" in words(app)


def test_a_second_reader_learns_after_the_answer_that_another_answered_and_not_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS[:1])
    app = page("review").run()
    add_person(made.store, operator(), "noor", PASSWORD)
    stay = made.stays[("p-three-visits", 1)]
    record(made.store, person_of(made.store, "noor"), Reading(1, stay, "septicemia", "absent"), new_token())
    assert "another reader" not in words(app.run())
    after = words(press(app, "answer_present"))
    assert "another reader answered it too; both are kept" in after
    assert "noor" not in after
    assert "conflict" not in after
    rows = of_pair(made.store, stay, "septicemia")
    assert sorted(rows.loc[rows["current"], "answer"]) == ["absent", "present"]


def test_a_link_to_no_pair_of_this_round_is_one_line_and_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path, monkeypatch, FLAGS[:1])
    app = page("review")
    app.query_params["pair"] = "x" * 22
    app.run()
    assert not app.exception
    assert "This link leads to no pair of this round" in words(app)
    assert "Septicemia" in words(press(app, "go_on"))


def test_a_round_whose_cohort_is_gone_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS[:1])
    shutil.rmtree(made.folder / "cohort")
    app = page("review").run()
    assert not app.exception
    assert "Needed a cohort in the workspace" in words(app)


def test_a_key_that_comes_as_the_page_changes_writes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS[:1])
    app = page("review").run()
    monkeypatch.setattr("app.desk.SEEN_SECONDS", 60.0)
    press(app, "answer_present")
    assert "nothing was written" in app.toast[0].value
    assert len(of_pair(made.store, made.stays[("p-three-visits", 1)], "septicemia")) == 0


@pytest.fixture(scope="module")
def extreme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invented]:
    made = make_extreme(tmp_path_factory.mktemp("extreme") / "workspace")
    yield made
    made.store.close()


def test_very_long_very_many_and_nothing_at_all_are_pages_like_others(
    extreme: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(extreme.folder))
    app = page("review").run()
    said = []
    for _ in EXTREMES:
        assert not app.exception
        said.append(words(app))
        app = press(app, "notes")
        assert not app.exception
        app = press(app, "next")
    assert "The batch is through" in words(app)
    assert "v21" in said[1]
    assert "visit 21 of 40" in said[1]
    assert "Nothing was measured here" in said[3]
    assert "No notes were written" in said[3]
    assert "this stay has no notes" in said[4]
    assert "Nothing was measured here" in said[5]
    assert "<script" not in "".join(said)


def test_a_comment_typed_as_the_session_ended_is_said_to_be_lost_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path, monkeypatch, FLAGS)
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    app.text_input(key="sign_in_name").input(NAME)
    app.text_input(key="sign_in_password").input(PASSWORD)
    app.button[[b.label for b in app.button].index("Sign in")].click().run()
    press(app, "start")
    press(app, "answer_present")
    before = head(made.store).count
    end_session(made.store, app.session_state["session_secret"])  # as by a sign-out elsewhere, or after a while
    ended = head(made.store).count
    app.text_area[0].set_value("seen on the second look: cultures").run()
    said = words(app)
    assert "a comment that was still being typed is not" in said
    assert "Needed somebody signed in" not in said
    assert [button for button in app.button if button.label == "Sign in"]
    assert head(made.store).count == ended == before + 1
    assert len(events_of(made.store, "decision")) == 1
