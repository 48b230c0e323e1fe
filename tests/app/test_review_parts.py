"""Parts of the one-pair screen: titles that fit, hours, names as they are, what an answer is told, reading ahead."""

import itertools
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import prepare
from app.components import keys, notes_view, patient_list, reveal, strip, visit_axis
from app.desk import Desk, Sheet
from app.prepare import Shelf
from audit_store.chart import LabelInfo, Note, Visit
from audit_store.chart.records import StripCell
from audit_store.chart.strip import strip as lay_out_strip
from audit_store.guidelines import load
from audit_store.queue import Item, QueueFilter
from tests.app.invented import MARKUP


def places(lengths: list[float], asked: int) -> list[visit_axis.Place]:
    out, left = [], 0.0
    for i, length in enumerate(lengths):
        out.append(visit_axis.Place(i, f"v{i + 1}", left, length, i == asked))
        left += length + 0.05 * sum(lengths)
    return out


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0.1, 500.0), min_size=1, max_size=40), st.data())
def test_visit_titles_never_overlap_and_the_asked_one_is_always_told(lengths: list[float], data: st.DataObject) -> None:
    asked = data.draw(st.integers(0, len(lengths) - 1))
    made = places(lengths, asked)
    titles = visit_axis.visit_titles(made)
    total = made[-1].left + made[-1].length
    spans = [
        (
            p.left / total * visit_axis.NARROWEST,
            p.left / total * visit_axis.NARROWEST + visit_axis.LETTER * len(t),
        )
        for p, t in zip(made, titles, strict=True)
        if t
    ]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert titles[asked].startswith(f"v{asked + 1}")


def test_the_hours_of_one_long_visit_can_be_chosen_and_those_of_several_or_a_short_one_are_all() -> None:
    long, short = places([200.0], 0), places([20.0], 0)
    assert visit_axis.window_of(long, visit_axis.WHOLE) == (0.0, 200.0)
    assert visit_axis.window_of(long, visit_axis.FIRST) == (0.0, 24.0)
    assert visit_axis.window_of(long, visit_axis.LAST) == (176.0, 200.0)
    assert visit_axis.window_of(short, visit_axis.LAST) == (0.0, 20.0)
    two = places([100.0, 100.0], 1)
    assert visit_axis.window_of(two, visit_axis.LAST) == (0.0, two[1].left + 100.0)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab *_`[]()<>#:$~|\\{}.-!&=^+")), max_size=40))
def test_a_name_on_a_button_is_the_name_and_never_markup(text: str) -> None:
    shown = patient_list.literal(text)
    assert re.sub(r"\\(.)", r"\1", shown).replace("\u2060", "") == " ".join(text.split())
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`\[<#:$~|{!&]", shown)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.data())
def test_the_list_of_questions_is_as_long_for_each_of_a_patients_and_holds_the_current_one(
    count: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, count - 1))
    listed = patient_list.window(count, at)
    assert at in listed
    assert len(listed) == min(count, patient_list.SHOWN)
    assert 0 <= listed.start <= listed.stop <= count


def cells(states: list[str], asked: int) -> list[StripCell]:
    return [StripCell(i, f"v{i + 1}", i == asked, state, None) for i, state in enumerate(states)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["present", "absent", "not coded"]), min_size=1, max_size=40), st.data())
def test_a_strip_of_many_visits_keeps_each_visit_in_one_cell_of_its_own_state(
    states: list[str], data: st.DataObject
) -> None:
    asked = data.draw(st.integers(0, len(states) - 1))
    made = cells(states, asked)
    runs = strip.runs(made)
    assert [cell for run in runs for cell in run] == made
    assert all(len({cell.state for cell in run}) == 1 for run in runs)
    assert [run for run in runs if any(cell.is_this for cell in run)] == [[made[asked]]]
    if len(made) <= strip.MANY:
        assert len(runs) == len(made)


def strip_of(persistence: str, states: list[int | None], *, known: bool = True, **more: Any) -> str:
    label = LabelInfo(0, "copd", "COPD", "", persistence, None)
    visits = tuple(
        Visit(i, "··", i + 1, f"v{i + 1}", i == 0, i, "exact" if known else "unknown", None, 24.0, "")
        for i in range(len(states))
    )
    recorded = {(i, "copd"): (state, None) for i, state in enumerate(states)}
    coded = frozenset(i for i, state in enumerate(states) if state is not None)
    return lay_out_strip(label, visits, recorded, coded, known, more.get("blind", False), **_hidden(more)).note


def _hidden(more: dict[str, Any]) -> dict[str, Any]:
    return {"withheld": more["withheld"]} if "withheld" in more else {}


def test_a_lifelong_condition_missing_after_a_visit_that_has_it_is_odd_in_words() -> None:
    assert "Odd for a lifelong condition: v2 has it, v3 after it not" in strip_of("lifelong", [0, 1, 0])
    assert "from v2 on, as one expects" in strip_of("lifelong", [0, 1, 1])
    assert "whose order is not known" in strip_of("lifelong", [1, 0], known=False)
    assert "Odd" not in strip_of("acute", [1, 0, 1])
    assert "no other visit is coded" in strip_of("lifelong", [1, None], blind=True)


def test_a_visit_that_is_withheld_counts_nowhere_in_the_strip() -> None:
    assert "recorded at 0 of 1" in strip_of("lifelong", [0, 1], withheld=frozenset({1}))
    assert strip_of("lifelong", [0, 1], blind=True, withheld=frozenset({1})).startswith("lifelong: no other visit")


def test_with_blindness_off_each_button_says_what_the_label_will_be() -> None:
    given_ = keys.choices(["septicemia"], None, {"septicemia": 1})
    assert [c.words for c in given_] == ["Keep present", "Relabel to absent", "Can't say"]
    group = load().group_of("diabetes_with_complications")
    assert group is not None
    recorded = dict(zip(group.labels, (1, 0), strict=True))
    starts = {c.key: c.words.split(":")[0] for c in keys.choices(group.labels, group, recorded)}
    assert starts == {"1": "Keep", "2": "Relabel", "A": "Relabel", "S": "Can't say"}


def pair(**more: Any) -> Any:
    made = {"label_key": "copd", "label_name": "COPD", "observed": 0, "suggested": 1, "flagged": True}
    made |= {
        "suspicion_rank": 1,
        "n_flagged": 8,
        "direction": "false_negative",
        "calibrated": False,
        "error_probability": 0.9,
    }
    return SimpleNamespace(**(made | more))


def line(the_pair: Any, answer: str, purpose: str, **more: Any) -> str:
    decision: Any = SimpleNamespace(answer=answer, purpose=purpose)
    return re.sub(r"<[^>]*>", "", reveal.line_html([the_pair], {"copd": decision}, **more))


def test_only_a_flag_has_its_correction_accepted_or_rejected() -> None:
    assert "you accept the correction" in line(pair(), "present", "flag")
    assert "you reject the correction" in line(pair(), "absent", "double_review")
    unflagged = pair(flagged=False, suspicion_rank=None)
    for purpose in ("control", "random_audit", "flag"):
        for answer in ("present", "absent"):
            said = line(unflagged, answer, purpose)
            assert "correction" not in said
            assert "you change the record" in said or "you keep the record" in said


def test_a_control_and_an_audit_pair_say_so_after_the_answer_and_a_flag_does_not() -> None:
    unflagged = pair(flagged=False, suspicion_rank=None, suggested=0)
    assert "this pair was not flagged: a control" in line(unflagged, "absent", "control")
    assert "drawn at random" in line(unflagged, "absent", "random_audit")
    assert "control" not in line(pair(), "absent", "flag")
    assert "random" not in line(pair(), "absent", "flag")


def test_another_readers_answer_is_told_as_such_whether_or_not_the_two_agree() -> None:
    both = [line(pair(), answer, "double_review", others=True) for answer in ("present", "absent")]
    assert all("another reader answered it too; both are kept" in said for said in both)
    assert len({said.split("too;")[1] for said in both}) == 1


def test_markup_in_a_label_name_is_shown_as_it_was_written() -> None:
    named = pair(label_name=MARKUP)
    decision: Any = SimpleNamespace(answer="absent", purpose="flag")
    drawn = reveal.line_html([named, pair(label_key="x")], {"copd": decision})
    drawn += reveal.open_line_html([named, named]) + reveal.why_html(named, [], True)
    drawn += strip.other_labels_html([LabelInfo(0, "x", MARKUP, "", "acute", None)], True)
    assert "<script" not in drawn
    assert "<b>b</b>" not in drawn


@contextmanager
def within(limit: float) -> Iterator[None]:
    """Fail where the block takes more processor time than this [s]; the quadratic code before took 26 s."""
    start = time.process_time()
    yield
    assert time.process_time() - start < limit


def test_a_note_of_two_hundred_thousand_characters_full_of_finds_is_drawn_in_seconds() -> None:
    text = ("Sepsis suspected, no septic shock. Father had sepsis. " * 4000)[:200_000]
    note = Note(1, 2, 1, 3.0, "Nursing", text, False, 0, len(text), False)
    with within(8.0):
        drawn = notes_view.note_html(note, "v1", ["septicemia"], (), opened=True)
        found = prepare.best_passages((note,), item())
    assert drawn.count('class="term') > 5000
    assert found


def item(token: str = "t", stay: int = 1, patient: int = 1, label: str = "septicemia") -> Item:
    return Item(token, stay, patient, 1, (label,), None, "open")


def test_what_is_open_of_a_patient_is_withheld_until_it_is_answered() -> None:
    items = [item("a", 1), item("b", 2), item("c", 3, patient=2), item("d", 1, label="copd")]
    desk = Desk(1, QueueFilter(), items)
    assert desk.withheld(items[0]) == {"septicemia": frozenset({2}), "copd": frozenset({1})}
    desk.sheets["b"] = Sheet("page", {"septicemia": SimpleNamespace()})  # type: ignore[dict-item]
    assert desk.withheld(items[0]) == {"copd": frozenset({1})}


def test_three_quick_j_are_three_pages_on_and_a_held_j_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(1, QueueFilter(), [item("a")])
    desk.sheets["a"] = Sheet("page")
    assert all(desk.accepts("page", "move_1", now, seen=False) for now in (0.0, 0.3, 0.6))
    assert not any(desk.accepts("page", "move_1", 0.6 + 0.03 * n, seen=False) for n in range(1, 60))


def context() -> Any:
    return SimpleNamespace(
        chart=SimpleNamespace(fingerprint="f"),
        round_file=SimpleNamespace(info=SimpleNamespace(round_id=1)),
        guidelines=SimpleNamespace(),
    )


def test_an_item_read_ahead_is_not_read_again_and_one_that_failed_is(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def fake(chart: Any, round_file: Any, guidelines: Any, wanted: Item) -> Any:
        read.append(wanted.token)
        if wanted.token == "bad" and threading.current_thread().name.startswith("prepare"):
            raise OSError("a disk that did not answer")
        return SimpleNamespace(token=wanted.token)

    monkeypatch.setattr(prepare, "prepare", fake)
    shelf = Shelf()
    shelf.ahead(context(), item("good"))
    assert shelf.get(context(), item("good")).token == "good"
    assert shelf.get(context(), item("good")).token == "good"
    assert read == ["good"]
    shelf.ahead(context(), item("bad"))
    assert shelf.get(context(), item("bad")).token == "bad"
    for n in range(2 * prepare.KEPT):
        shelf.get(context(), replace(item(), token=f"n{n}"))
    assert len(shelf._kept) == prepare.KEPT
