"""Past histories as a reference: read from the paths, hidden from the model, folded from labels to illnesses."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from scripts.benchmarks.charted import ILLNESSES, charted, history_file, without_history
from scripts.benchmarks.history import columns, folded, folded_suspicion

HEAD = "pasthistoryid,patientunitstayid,pasthistorypath\n"
SYSTEMS = "notes/Progress Notes/Past History/Organ Systems"
LABELS = (
    "copd", "diabetes_with_complications", "diabetes_without_complication", "chronic_kidney_disease", "shock",
    "essential_hypertension", "hypertension_with_complications",
)  # fmt: skip


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "patient.csv").write_text("patientunitstayid\n11\n", encoding="utf-8")
    (folder / "pastHistory.csv").write_text(
        HEAD
        + f"1,12,{SYSTEMS}/Pulmonary/COPD/COPD  - severe\n"
        + f"2,12,{SYSTEMS}/Endocrine (R)/Insulin Dependent Diabetes/insulin dependent diabetes\n"
        + f"3,14,{SYSTEMS}/Renal  (R)/Renal Insufficiency/renal insufficiency - creatinine 1-2\n"
        + f"4,15,{SYSTEMS}/Cardiovascular (R)/Arrhythmias/atrial fibrillation\n"
        + f"5,99,{SYSTEMS}/Pulmonary/COPD/COPD  - severe\n",
        encoding="utf-8",
    )
    return folder


def test_a_history_names_illnesses_and_a_stay_without_one_is_not_known(demo: Path) -> None:
    found, known = charted(demo, np.array([11, 12, 14, 15]))
    assert list(ILLNESSES) == ["diabetes", "hypertension", "kidney disease", "COPD"]
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(known, [False, True, True, True])


def test_a_stay_after_the_last_of_the_cohort_is_nobodys(demo: Path) -> None:
    found, known = charted(demo, np.array([11, 12]))
    np.testing.assert_array_equal(found[:, 3], [0, 1])
    np.testing.assert_array_equal(known, [False, True])


def test_the_model_gets_every_table_but_the_histories(demo: Path) -> None:
    with without_history(demo) as source:
        assert [path.name for path in source.iterdir()] == ["patient.csv"]
        assert (source / "patient.csv").read_text(encoding="utf-8").endswith("11\n")
    assert (demo / "patient.csv").exists()
    assert not source.exists()


@pytest.mark.parametrize("data", [None, Path("nowhere")], ids=["none", "nowhere"])
def test_without_the_demo_it_is_one_line(data: Path | None) -> None:
    with pytest.raises(ConfigError, match="--data"):
        history_file(data)


def test_an_illness_is_as_likely_as_its_likeliest_label_and_as_suspect_as_the_labels_recorded_like_it() -> None:
    places = columns(LABELS)
    assert places == [[1, 2], [5, 6], [3], [0]]
    probability = np.array([[0.1, 0.2, 0.7, 0.3, 0.9, 0.4, 0.6]])
    np.testing.assert_allclose(folded(probability, places), [[0.7, 0.6, 0.3, 0.1]])
    np.testing.assert_allclose(folded(np.stack([probability, 1 - probability]), places)[1], [[0.8, 0.6, 0.7, 0.9]])
    # Diabetes is recorded by its second label: the first label's suspicion is of an absence and says nothing of it.
    observed = np.array([[0, 0, 1, 0, 0, 0, 0]], np.uint8)
    np.testing.assert_allclose(folded_suspicion(probability, observed, places), [[0.7, 0.6, 0.3, 0.1]])
    observed[0, 1:3] = (1, 0)
    np.testing.assert_allclose(folded_suspicion(probability, observed, places)[0, 0], 0.2)
