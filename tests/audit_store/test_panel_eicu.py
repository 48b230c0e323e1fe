"""Panels on the open eICU demo: what a reader gets for five labels, and what is said to be missing."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from audit_store.chart import Chart
from audit_store.panel import PanelItem, panel, warm

SOURCE = (Path(__file__).parents[2] / "../shared/data/eicu-demo").resolve()
FIVE = (
    "septicemia",
    "acute_renal_failure",
    "diabetes_with_complications",
    "diabetes_without_complication",
    "copd",
    "acute_myocardial_infarction",
)

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="the eICU demo is not in ../shared/data/eicu-demo"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from core.cohort.sources.eicu import build_eicu

    target = tmp_path_factory.mktemp("eicu") / "cohort"
    build_eicu(SOURCE, target)
    return target


@pytest.fixture(scope="module")
def chart(folder: Path) -> Chart:
    opened = Chart.open(folder)
    warm(opened)
    return opened


@pytest.fixture(scope="module")
def evidence(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder / "review_evidence.parquet").to_pandas()


def item(chart: Chart, label: str, stay: int, key: str) -> PanelItem:
    return next(i for i in panel(chart, label, stay).items if i.key == key)


def rules(chart: Chart, label: str, stay: int) -> dict[str, str]:
    return {finding.rule: finding.direction for finding in panel(chart, label, stay).findings}


def stays(evidence: pd.DataFrame, kind: str, name: str, most: int = 40) -> list[int]:
    rows = evidence[(evidence["kind"] == kind) & evidence["name"].str.contains(name, regex=True)]
    return [int(s) for s in sorted(set(rows["stay_id"]))[:most]]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("septicemia", r"^Sepsis, "),
        ("acute_renal_failure", r"^Renal failure, acute"),
        ("diabetes_with_complications", r"^Diabetic ketoacidosis"),
        ("copd", r"^Emphysema/bronchitis"),
        ("acute_myocardial_infarction", r"^Infarction, acute myocardial"),
    ],
)
def test_an_admission_diagnosis_of_the_label_supports_it(
    chart: Chart, evidence: pd.DataFrame, label: str, name: str
) -> None:
    found = stays(evidence, "admission_diagnosis", name)
    assert len(found) >= 15
    assert all(rules(chart, label, stay).get("admission_names_it") == "supports" for stay in found)


def test_ketoacidosis_on_admission_speaks_against_diabetes_without_complication(
    chart: Chart, evidence: pd.DataFrame
) -> None:
    for stay in stays(evidence, "admission_diagnosis", r"^Diabetic ketoacidosis", 20):
        assert "admission_names_it" not in rules(chart, "diabetes_without_complication", stay)


def test_charted_vasopressors_and_antibiotics_are_shown_with_their_hour(chart: Chart, evidence: pd.DataFrame) -> None:
    for stay in stays(evidence, "drug", r"norepinephrine", 20):
        shown = item(chart, "septicemia", stay, "pressors")
        assert shown.status == "value"
        assert "norepinephrine" in " ".join(v.text for v in shown.values)
        assert all(v.hour is not None for v in shown.values)


def test_what_eicu_does_not_hold_is_said_to_be_not_in_this_data(chart: Chart) -> None:
    stay = chart.first_stay
    for label, key in (
        ("diabetes_with_complications", "hba1c"),
        ("diabetes_with_complications", "osmolality"),
        ("heart_failure", "bnp"),
        ("lipid_disorders", "lipid_panel"),
    ):
        assert item(chart, label, stay, key).status == "not in this data"


def test_copd_in_the_past_history_is_named_in_the_record_and_not_denied(chart: Chart, folder: Path) -> None:
    notes = pq.read_table(folder / "notes.parquet").to_pandas()
    named = notes[notes["text"].str.contains(r"COPD\s+- (?:moderate|severe|no limitations)", regex=True)]
    for stay in [int(s) for s in sorted(set(named["stay_id"]))[:60]]:
        found = rules(chart, "copd", stay)
        assert found.get("named_in_notes") == "supports"
        assert "denied_in_notes" not in found


def test_the_kdigo_rise_agrees_with_a_plain_restatement(chart: Chart, folder: Path) -> None:
    table = pq.read_table(folder / "observations.parquet", filters=[("channel", "=", "creatinine")]).to_pandas()
    sample = sorted(set(table["stay_id"]))[::12]
    agreed = 0
    for stay in sample:
        rows = table[table["stay_id"] == stay].sort_values("hour")
        hours, values = rows["hour"].tolist(), rows["value"].tolist()
        rises = [
            round(values[j] - values[i], 3) >= 0.3
            for i in range(len(values))
            for j in range(i + 1, len(values))
            if hours[j] - hours[i] <= 48.0001
        ]
        agreed += ("kdigo_rise" in rules(chart, "acute_renal_failure", int(stay))) == any(rises)
    assert agreed == len(sample) > 100


def test_no_screen_of_the_five_shows_a_whole_id_or_calls_a_drug_not_given(chart: Chart, folder: Path) -> None:
    ids = [int(s) for s in pq.read_table(folder / "stays.parquet")["stay_id"].to_pylist()[::120]]
    for stay in ids:
        assert str(stay) not in chart.header(stay).text
        for label in FIVE:
            result = panel(chart, label, stay)
            words = " ".join([result.headline, *[text for i in result.items for text in (i.text, *i.details)]])
            assert "not given" not in words.lower()
            assert str(stay) not in words
