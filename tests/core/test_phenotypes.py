"""Code lists of the 25 phenotypes and how codes are read."""

from pathlib import Path

import pytest
import yaml

from core.cohort.labelset import PHENOTYPES
from core.cohort.phenotypes import (
    bare,
    code_system,
    definitions,
    manifest_label_groups,
    manifest_labels,
    phenotypes_of,
)

RESOURCES = Path(__file__).resolve().parents[2] / "../shared/data/resources"


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("584.9", 9),
        ("486", 9),
        ("E980.2", 9),
        ("E871.0", 9),
        ("V45.81", 9),
        ("N17.9", 10),
        ("E87.1", 10),
        ("E46", 10),
        ("I10", 10),
        ("S06.5", 10),
        ("31.1", None),
        ("", None),
        ("sepsis", None),
    ],
)
def test_the_form_of_a_dotted_code_tells_its_system(code: str, system: int | None) -> None:
    assert code_system(code) == system


def test_a_code_counts_in_its_own_system_alone() -> None:
    assert phenotypes_of("E87.1", 10) == ("fluid_electrolyte_disorders",)
    assert phenotypes_of("E87.1", 9) == ()
    assert phenotypes_of("E87.1", None) == ()


def test_codes_match_exactly_not_by_prefix() -> None:
    assert phenotypes_of("584.9", 9) == ("acute_renal_failure",)
    assert phenotypes_of("584", 9) == ()
    assert phenotypes_of("N17", 10) == ()
    assert phenotypes_of("N17.90", 10) == ()


def test_dots_blanks_and_case_do_not_matter() -> None:
    assert bare(" n17.9 ") == "N179"
    assert phenotypes_of(" n17.9 ", 10) == phenotypes_of("N179", 10) == ("acute_renal_failure",)


def test_no_code_stands_in_two_phenotypes() -> None:
    for system in ("icd9", "icd10"):
        codes = [code for definition in definitions().values() for code in getattr(definition, system)]
        assert len(codes) == len(set(codes))


def test_every_label_has_codes_of_both_systems_and_a_description() -> None:
    assert list(definitions()) == [label.key for label in PHENOTYPES]
    for definition in definitions().values():
        assert definition.icd9
        assert definition.icd10
        assert definition.description.endswith(".")


def test_manifest_entries_are_in_label_order_and_groups_name_their_labels() -> None:
    entries = manifest_labels()
    assert [entry["key"] for entry in entries] == [label.key for label in PHENOTYPES]
    assert set(entries[0]) == {"key", "name", "description", "persistence", "group", "codes", "guideline"}
    groups = {group["key"]: group["labels"] for group in manifest_label_groups()}
    assert groups == {
        "diabetes": ["diabetes_with_complications", "diabetes_without_complication"],
        "hypertension": ["essential_hypertension", "hypertension_with_complications"],
    }


@pytest.mark.data
@pytest.mark.skipif(not RESOURCES.is_dir(), reason="the published definition files are not here")
def test_the_lists_are_those_of_the_published_definitions() -> None:
    both = yaml.safe_load((RESOURCES / "miracl_flexcare/icd_9_10_definitions_2.yaml").read_text())
    nine = yaml.safe_load((RESOURCES / "mimic3benchmark/hcup_ccs_2015_definitions.yaml").read_text())
    for label in PHENOTYPES:
        definition = definitions()[label.key]
        assert definition.icd9 == {str(code) for code in nine[label.name]["codes"]}
        assert definition.icd9 | definition.icd10 == {str(code) for code in both[label.name]["codes"]}
        assert not definition.icd9 & definition.icd10
