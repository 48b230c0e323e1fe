"""Each screen with nothing to do, with one item, and with a store that does not answer."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from audit_store.decisions import of_pair
from audit_store.people import add_person, operator
from tests.app.invented import FLAGS, NAME, PASSWORD, Invented, make_workspace, write_invented_cohort

MAIN = Path(__file__).parents[2] / "app" / "main.py"
VIEWS = ("queue", "review", "rounds", "export")
ONE = FLAGS[:1]


def opened(view: str | None = None) -> AppTest:
    """The whole app, signed in, on one of its pages."""
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    app.text_input(key="sign_in_name").input(NAME)
    app.text_input(key="sign_in_password").input(PASSWORD)
    app.button[[b.label for b in app.button].index("Sign in")].click().run()
    return turned(app, view) if view else app


def turned(app: AppTest, view: str) -> AppTest:
    """Another page, the way the app itself goes there."""
    app.session_state["go"] = view
    return app.run()


def words(app: AppTest) -> str:
    """Everything on the page that a reader could read."""
    html = [str(element.proto.body) for element in app.get("html")]
    rest = [b.label for b in app.button] + [str(e.value) for kind in ("error", "info", "toast") for e in app.get(kind)]
    return "\n".join(part for part in [*html, *rest] if "<style" not in part)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(folder))
    monkeypatch.setattr("app.desk.SEEN_SECONDS", 0.0)
    return folder


@pytest.fixture
def one(place: Path) -> Invented:
    return make_workspace(place, ONE)


@pytest.fixture
def found(place: Path) -> Invented:
    return make_workspace(place, ONE, found=True)


@pytest.fixture
def nothing(place: Path) -> Invented:
    return make_workspace(place, [])


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("queue", "Nothing to read"),
        ("review", "Nothing left to read here"),
        ("rounds", "Nothing was flagged"),
        ("export", "Nothing yet. Each label stays as recorded"),
    ],
)
def test_a_view_with_nothing_to_do_says_what_to_do_next(nothing: Invented, view: str, said: str) -> None:
    app = opened(view)
    assert not app.exception
    assert said in words(app)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("queue", "Start reviewing · 1 open"),
        ("review", "pair 1 of 1"),
        ("rounds", "Flagged for review"),
        ("export", "Write the files"),
    ],
)
def test_a_view_with_one_item_shows_it(one: Invented, view: str, said: str) -> None:
    app = opened(view)
    assert not app.exception
    assert said in words(app)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_whose_store_does_not_answer_says_so_in_one_line(
    one: Invented, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened()

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("secret detail of the machine")

    monkeypatch.setattr("app.session.open_store", broken)
    turned(app, view)
    assert not app.exception
    assert "The store did not answer" in words(app)
    assert "secret" not in words(app)
    assert "Traceback" not in words(app)


def test_a_folder_that_is_no_workspace_is_one_line_on_the_first_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(tmp_path / "nowhere"))
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert not app.exception
    assert "This page can't be shown" in words(app)


def test_a_workspace_without_a_round_says_which_command_makes_one(place: Path) -> None:
    make_workspace(place, with_round=False)
    app = opened("review")
    assert "miracl train" in words(app)


def test_a_cohort_changed_since_the_round_was_trained_is_told_and_nothing_is_asked(one: Invented, place: Path) -> None:
    write_invented_cohort(place / "cohort", patients=5)
    app = opened("review")
    assert "cohort" in words(app)
    assert not any(button.key == "answer_present" for button in app.button)


def test_a_wrong_password_is_told_without_saying_which_of_the_two_was_wrong(one: Invented) -> None:
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    told = []
    for name in (NAME, "nobody"):
        app.text_input(key="sign_in_name").input(name)
        app.text_input(key="sign_in_password").input("not the password")
        app.button[[b.label for b in app.button].index("Sign in")].click().run()
        told.append([e.value for e in app.error])
    assert told[0] == told[1]
    assert len(told[0]) == 1


def test_a_demo_says_so_on_every_page(place: Path) -> None:
    make_workspace(place, ONE, demo=True)
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert "This workspace is a demo" in words(app)
    app.button(key="enter_demo").click().run()
    for view in VIEWS:
        turned(app, view)
        assert not app.exception
        assert "DEMO" in words(app)


def test_a_round_without_findings_says_how_to_get_them(one: Invented) -> None:
    said = words(opened("rounds"))
    assert "read no decisions yet" in said
    assert "estimates no noise rates" not in said
    assert "Read as one for all labels: of the stays that have a label, about <b>10%</b>" in said
    assert "did not weigh what its correction may do" in said
    assert "No detector scored a flagged pair" in said


def test_a_round_tells_whether_it_helped_what_harm_it_expects_and_how_noisy_labels_look(found: Invented) -> None:
    app = opened("rounds")
    assert not app.exception
    said = words(app)
    assert "The decisions helped." in said
    assert "difference +0.014, 95 % interval +0.004 to +0.025 over 1,204 patients" in said
    assert "Do no harm" in said
    assert "recorded absent, no noise found" in said
    assert "How noisy the record looks" in said
    assert "Agreement is no proof" in said


def test_a_calibrated_round_tells_how_many_such_labels_are_wrong_and_shows_each_detector(found: Invented) -> None:
    app = opened("review")
    app.button(key="answer_present").click().run()
    said = words(app)
    assert re.search(r"model: present, (about \d in 10|19 in 20 or more) such labels are wrong", said)
    assert "rank 1 of 1" not in said.split("Rank of suspicion")[0]
    assert "Where each detector puts it" in said
    assert "leant the other way (AUM)" in said
    assert "the regression trained without this patient says" in said


@pytest.mark.parametrize("made", ["one", "found"])
def test_before_the_answer_the_page_holds_nothing_of_the_record_or_the_model(
    made: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(made)
    app = opened("review")
    before = words(app)
    for word in (
        "such labels are wrong",
        "etector",
        "regression",
        "most suspect",
        "twentieth",
        "recorded: absent",
        "recorded: present",
        "model:",
        "suspected",
        "rank 1",
        "false_negative",
        "accept",
        "reject",
    ):
        assert word not in before
    assert "asked now" in before


def test_an_answer_is_in_the_store_before_the_reveal_and_the_reveal_says_what_it_does(one: Invented) -> None:
    app = opened("review")
    app.button(key="answer_present").click().run()
    rows = of_pair(one.store, one.stays[("p-three-visits", 1)], "septicemia")
    assert rows["answer"].tolist() == ["present"]
    after = words(app)
    assert "recorded: absent · model: present, rank 1 of 1" in after
    assert "you accept the correction" in after


def test_a_less_sure_answer_and_its_reason_are_written_with_the_same_key(one: Invented) -> None:
    app = opened("review")
    app.button(key="certainty").click().run()
    app.text_area[0].input("culture drawn late").run()
    app.button(key="answer_absent").click().run()
    rows = of_pair(one.store, one.stays[("p-three-visits", 1)], "septicemia")
    assert rows["certainty"].tolist() == ["low"]
    assert rows["comment"].tolist() == ["culture drawn late"]
    assert "you reject the correction" in words(app)


def test_a_certainty_changed_after_the_answer_is_a_second_row(one: Invented) -> None:
    app = opened("review")
    app.button(key="answer_present").click().run()
    app.button(key="certainty").click().run()
    rows = of_pair(one.store, one.stays[("p-three-visits", 1)], "septicemia")
    assert rows["certainty"].tolist() == ["high", "low"]
    assert rows["answer"].tolist() == ["present", "present"]


def test_the_last_pair_is_followed_by_a_closing_page_and_undo_reaches_back_from_there(one: Invented) -> None:
    app = opened("review")
    app.button(key="answer_present").click().run()
    app.button(key="next").click().run()
    assert "The batch is through" in words(app)
    app.button(key="undo").click().run()
    assert "pair 1 of 1" in words(app)
    rows = of_pair(one.store, one.stays[("p-three-visits", 1)], "septicemia")
    assert rows["answer"].tolist() == ["present", "retract"]
    assert "recorded: absent" not in words(app)


def test_someone_who_may_not_decide_is_told_so_and_nothing_is_written(one: Invented) -> None:
    add_person(one.store, operator(), "olga", PASSWORD, role="auditor")
    app = AppTest.from_file(str(MAIN), default_timeout=30).run()
    app.text_input(key="sign_in_name").input("olga")
    app.text_input(key="sign_in_password").input(PASSWORD)
    app.button[[b.label for b in app.button].index("Sign in")].click().run()
    turned(app, "review")
    app.button(key="answer_present").click().run()
    assert len(of_pair(one.store, one.stays[("p-three-visits", 1)], "septicemia")) == 0
