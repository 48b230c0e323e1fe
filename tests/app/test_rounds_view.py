"""The Rounds page: one round, several, a trainer at work, a store that does not answer."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.components import next_round
from app.components.next_round import outcome_html, progress_words, time_words
from app.components.overlap_view import BLACK, WHITE, name_of, overlap_words, shade, turn
from app.plain import escape
from app.theme import contrast
from audit_store.detector_overlap import FLAGS as FLAGS_OWN
from audit_store.detector_overlap import overlap
from audit_store.next_round import NextRound
from audit_store.people import add_person, operator
from audit_store.rounds import open_round, publish_round
from tests.app.conftest import page
from tests.app.invented import FLAGS, PASSWORD, Invented, make_workspace, round_tables
from tests.app.test_views import words


def second_round(made: Invented, flags: int = 3) -> None:
    info = {
        "round_id": 2,
        "parent": 1,
        "created_at": "2026-11-22T08:00:00+00:00",
        "preset": "miracl",
        "config": {},
        "code_version": "0.1.0",
        "cohort_fingerprint": str(made.store.workspace.manifest()["fingerprint"]),
        "cohort_name": "invented",
        "decisions_count": 3,
        "decisions_last_id": 0,
        "decisions_head": "",
        "seed": 30,
        "device": "cpu",
        "seconds": 12.0,
        "peak_memory_mb": 300.0,
        "budget": flags,
        "schema_version": 2,
        "calibrated": False,
    }
    publish_round(made.store, 2, info, round_tables(FLAGS[:flags]), operator())


def key_of(app: AppTest, key: str) -> bool:
    return key in [button.key for button in app.button]


def test_a_first_round_has_nothing_to_compare_and_says_how_the_next_one_starts(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_round, "trainer_installed", lambda: False)
    app = page("rounds").run()
    assert not app.exception
    said = words(app)
    assert "What changed since" not in said
    assert "The trainer is not installed beside these pages" in said
    assert app.code[0].value.startswith("miracl train --workspace workspace")
    assert str(invented.folder.parent) not in app.code[0].value
    assert not key_of(app, "start_round")
    assert said.count("<h1") == 1


def test_two_rounds_are_compared_in_figures_pictures_and_a_table(invented: Invented) -> None:
    second_round(invented)
    app = page("rounds").run()
    assert not app.exception
    said = words(app)
    assert "What changed since the round before" in said
    assert "<dt>flags still there</dt><dd>3</dd>" in said
    assert f"<dt>flags gone, not settled</dt><dd>{len(FLAGS) - 3}</dd>" in said
    assert "What changed by label, round 1 to 2" in said
    app.selectbox(key="round_shown").set_value(1).run()
    assert "<h2>Round 1</h2>" in words(app)
    assert "What changed since" not in words(app)


def test_a_steward_starts_the_round_by_a_button_where_the_trainer_is_and_others_read_the_command(
    invented: Invented, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_round, "trainer_installed", lambda: True)
    pressed: list[bool] = []

    def start(store: object, person: object, *, did_it_help: bool) -> NextRound:
        pressed.append(did_it_help)
        return NextRound("running", 2)

    monkeypatch.setattr(next_round, "start_next_round", start)
    app = page("rounds").run()
    app.checkbox(key="train_did_it_help").check().run()
    app.button(key="start_round").click().run()
    assert pressed == [True]
    add_person(invented.store, operator(), "rita", PASSWORD, role="reviewer")
    other = AppTest.from_string(
        "from app import session\nimport streamlit as st\nfrom app.frame import guarded\nfrom app.views import rounds\n"
        f"if 'session_secret' not in st.session_state:\n    session.sign_in('rita', '{PASSWORD}')\n"
        "guarded(rounds.render)()\n",
        default_timeout=30,
    ).run()
    assert not key_of(other, "start_round")
    assert "A steward starts it" in words(other)


def test_a_trainer_at_work_is_shown_with_a_way_to_stop_it(invented: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    now = NextRound("running", 2, 12, 30, seconds_left=75.0, actor="Dr Mara Vance", started_at="2026-11-21T09:30:00")
    monkeypatch.setattr(next_round, "next_round_status", lambda _: now)
    stopped: list[str] = []
    monkeypatch.setattr(next_round, "stop_next_round", lambda _, person: stopped.append(person.name))
    app = page("rounds").run()
    assert not app.exception
    assert "started by Dr Mara Vance at 09:30 UTC" in words(app)
    assert not key_of(app, "start_round")
    app.button(key="stop_round").click().run()
    assert len(stopped) == 1


def test_a_finished_round_is_offered_and_taken_up_only_when_pressed(invented: Invented) -> None:
    app = page("rounds").run()
    second_round(invented)
    note = '{"round_id": 2, "pid": 1, "stop_asked": 0, "actor": "Dr Mara Vance", "started_at": "2026-11-21T09:30:00"}'
    (invented.store.workspace.runs / ".next-round.json").write_text(note, encoding="utf-8")
    app.run()
    assert "<h2>Round 1</h2>" in words(app)
    assert "Round 2 is ready" in words(app)
    app.button(key="take_up_round").click().run()
    assert "<h2>Round 2</h2>" in words(app)
    assert not key_of(app, "take_up_round")


def test_a_store_that_does_not_answer_is_one_line(invented: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("rounds").run()

    def gone() -> session.Context:
        raise OSError("disk /secret/place gone")

    monkeypatch.setattr(session, "context", gone)
    app.run()
    assert not app.exception
    assert "The store did not answer" in words(app)
    assert "secret" not in words(app)


def test_without_a_round_the_page_says_what_to_run(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_workspace(tmp_path_factory.mktemp("bare") / "workspace", with_round=False)
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(made.folder))
    app = page("rounds").run()
    assert not app.exception
    assert "miracl train" in words(app)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NextRound("running", 3), "Round 3: getting ready"),
        (NextRound("running", 3, 0, 30, stage="packing series and notes"), "Round 3: packing series and notes"),
        (NextRound("running", 3, 12, 30, seconds_left=8000), "Round 3: epoch 12 of 30 done, about 2 h 13 min left"),
        (
            NextRound("running", 3, 1, 30, twin=True, seconds_left=20),
            "Round 3 once more, without the decisions: epoch 1 of 30 done, less than a minute left",
        ),
        (NextRound("running", 3, 30, 30), "Round 3: trained; being written"),
    ],
)
def test_progress_is_a_sentence(now: NextRound, said: str) -> None:
    assert progress_words(now) == said


def test_what_became_of_a_round_is_escaped() -> None:
    assert "&lt;b&gt;" in outcome_html(NextRound("failed", 2, line="<b>no disk</b>"))
    assert time_words(3600) == "about 1 h 00 min"


def test_the_overlap_of_detectors_is_a_picture_in_words_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_workspace(tmp_path / "workspace", found=True)
    monkeypatch.setenv(session.WORKSPACE_VARIABLE, str(made.folder))
    app = page("rounds").run()
    assert not app.exception
    found = overlap(open_round(made.store.workspace), 0)
    assert found is not None
    said = words(app)
    assert "Which detectors pick the same pairs" in said
    assert f"as many as the round flagged of them ({found.picked:,})" in said
    assert f"{found.between(FLAGS_OWN, 'loss'):.0%}" in overlap_words(found)
    assert all(escape(name_of(name)) in said for name in found.names)
    made.store.close()


def test_figures_on_every_shade_of_the_overlap_can_be_read() -> None:
    shades = [step / 100 for step in range(101)]
    ink = [WHITE if share > turn() else BLACK for share in shades]
    assert min(contrast(text, shade(share)) for text, share in zip(ink, shades, strict=True)) >= 4.5
