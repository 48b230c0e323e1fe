"""A cohort has the guidelines of its own labels: shipped, of chest films, or in plain words."""

import pytest

from audit_store.guideline_sets import FILMS, guidelines_of, plain_guideline
from audit_store.guidelines import load
from audit_store.panel import RULES
from audit_store.panel.items import ITEMS
from core.cohort.channels import BY_NAME
from core.cohort.phenotypes import manifest_label_groups, manifest_labels
from core.cohort.sources.chexpert import FINDINGS, chexpert_labels

GOUT = {"key": "gout", "name": "gout", "description": "Urate crystals in a joint", "persistence": "recurrent"}


def test_the_25_phenotypes_or_some_of_them_have_the_shipped_file_and_its_digests_as_signed() -> None:
    for labels in (manifest_labels(), manifest_labels()[:5]):
        assert guidelines_of(labels, manifest_label_groups()) is load()


def test_each_chest_film_label_has_a_guideline_whose_items_criteria_and_channels_exist() -> None:
    found = guidelines_of(chexpert_labels())
    assert [(g.key, g.name, g.persistence) for g in found.values()] == [
        (label.key, label.name, label.persistence) for label in FINDINGS
    ]
    assert list(load(FILMS)) == list(found)
    for guideline in found.values():
        assert guideline.question.startswith("Did a chest film of this stay show ")
        assert {"chest_imaging", "history"} <= set(guideline.shows) <= set(ITEMS)
        assert set(guideline.criteria) <= set(RULES)
        assert set(guideline.series) <= set(BY_NAME)
        assert guideline.absent_when
        assert guideline.cannot_tell_when
        assert {"reported", "insufficient", "other"} <= {code.code for code in guideline.reason_codes}


def test_a_label_of_the_hospital_s_own_is_asked_about_in_plain_words() -> None:
    found = guidelines_of([*manifest_labels()[:2], GOUT])
    assert found["gout"].question == "Did the patient have gout during this stay?"
    assert "Urate crystals in a joint" in found["gout"].present_when[0]
    assert set(found["gout"].shows) <= set(ITEMS)
    assert set(found["gout"].criteria) <= set(RULES)
    assert {code.code for code in found["gout"].reason_codes} >= {"documented", "other"}
    first = manifest_labels()[0]["key"]
    assert found[first].version_id == load()[first].version_id
    assert plain_guideline({**GOUT, "description": "Other words"}).version_id != found["gout"].version_id


def test_labels_are_asked_about_together_only_where_both_are_there() -> None:
    diabetes = [entry for entry in manifest_labels() if entry["group"] == "diabetes"]
    alone = guidelines_of([diabetes[0], GOUT], manifest_label_groups())
    assert alone.group_of(diabetes[0]["key"]) is None
    both = guidelines_of([*diabetes, GOUT], manifest_label_groups())
    assert both.group_of(diabetes[0]["key"]) == load().groups["diabetes"]


@pytest.mark.parametrize(("labels", "together"), [(["gout", "tophi"], True), (["gout", "tophi", "copd"], False)])
def test_a_pair_of_the_hospital_s_own_group_has_three_answers(labels: list[str], together: bool) -> None:
    tophi = {"key": "tophi", "name": "tophaceous gout", "description": "", "persistence": "lifelong"}
    copd = next(entry for entry in manifest_labels() if entry["key"] == "copd")
    found = guidelines_of([GOUT, tophi, copd], [{"key": "urate", "name": "urate disease", "labels": labels}])
    group = found.group_of("gout")
    if not together:
        assert group is None
        return
    assert group is not None
    assert [(answer.key, *answer.values.values()) for answer in group.answers] == [
        ("neither", "absent", "absent"),
        ("first", "present", "absent"),
        ("second", "absent", "present"),
    ]
