"""Each label has a guideline whose words, items and criteria exist, and whose digest follows every word."""

import re
from pathlib import Path

import pytest

from audit_store.guidelines import SHIPPED, GuidelineError, load, read
from audit_store.panel import RULES
from audit_store.panel.items import ITEMS
from audit_store.terms import load_terms
from core.cohort.channels import BY_NAME
from core.cohort.labelset import PHENOTYPES


def test_the_shipped_file_has_the_label_set_in_order_with_its_names_persistence_and_groups() -> None:
    guidelines = load()
    assert [(g.key, g.name, g.persistence, g.group) for g in guidelines.values()] == [
        (p.key, p.name, p.persistence, p.group) for p in PHENOTYPES
    ]


def test_every_item_criterion_and_channel_that_a_guideline_names_exists_and_none_is_idle() -> None:
    guidelines, lists = load(), load_terms().lists
    shown = {key for g in guidelines.values() for key in g.shows}
    asked = {key for g in guidelines.values() for key in g.criteria}
    assert (shown, asked) == (set(ITEMS), set(RULES))
    assert {c for g in guidelines.values() for c in g.series} <= set(BY_NAME)
    assert {rule.item for rule in RULES.values()} <= set(ITEMS)
    for item in ITEMS.values():
        assert set(item.channels) <= set(BY_NAME)
        assert {*item.lists, *item.note_lists, *item.charted} <= set(lists)


def test_every_guideline_asks_one_question_about_this_stay_and_says_when_absent_and_when_unclear() -> None:
    for guideline in load().values():
        assert re.fullmatch(r"Did the patient have .+ during this stay\?", guideline.question)
        assert guideline.present_when
        assert guideline.absent_when
        assert guideline.cannot_tell_when
        codes = [reason.code for reason in guideline.reason_codes]
        assert len(codes) == len(set(codes)) >= 7
        assert "history" in guideline.shows
        assert "admission_diagnosis" in guideline.shows


def test_a_group_has_one_question_and_three_answers_that_write_both_rows() -> None:
    group = load().group_of("diabetes_without_complication")
    assert group is not None
    assert group.labels == ("diabetes_with_complications", "diabetes_without_complication")
    assert [(a.key, tuple(a.values.values())) for a in group.answers] == [
        ("neither", ("absent", "absent")),
        ("first", ("present", "absent")),
        ("second", ("absent", "present")),
    ]
    assert load().group_of("shock") is None


def test_the_digest_changes_with_a_word_and_stays_with_a_rereading(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    assert read(path)["shock"].version_id == load()["shock"].version_id
    path.write_text(
        text.replace("Vasopressors for a low pressure.", "Vasopressors for any pressure."), encoding="utf-8"
    )
    changed = read(path)
    assert changed["shock"].digest != load()["shock"].digest
    assert changed["septicemia"].digest == load()["septicemia"].digest
    assert re.fullmatch(r"shock@1:[0-9a-f]{16}", changed["shock"].version_id)


@pytest.mark.parametrize(
    ("find", "put"),
    [
        ('question = "Did the patient have shock during this stay?"\n', ""),
        ('question = "Did the patient have shock during this stay?"', "question = 3"),
        ('persistence = "lifelong"', 'persistence = "eternal"'),
        ('group = "diabetes"', 'group = "sugar"'),
        ("version = 1", "version = 0"),
        ('key = "neither"', 'key = "none"'),
        ("[group.diabetes]", "[group.diabetes"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_line(tmp_path: Path, find: str, put: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert find in text
    path = tmp_path / "guidelines.toml"
    path.write_text(text.replace(find, put, 1), encoding="utf-8")
    with pytest.raises(GuidelineError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GuidelineError):
        read(tmp_path / "absent.toml")
    with pytest.raises(GuidelineError):
        load()["gout"]
