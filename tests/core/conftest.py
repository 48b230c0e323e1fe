"""Tiny invented cohorts for the tests of `core`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.cohort.channels import manifest_channels
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES
from core.cohort.store import is_test_patient, stable_id, write_cohort


def manifest_fields(n_labels: int = 25) -> dict[str, Any]:
    """A manifest's own fields for the first `n_labels` phenotypes and every channel."""
    return {
        "name": "invented",
        "source": "synthetic",
        "primary_source": "icd",
        "cutoff_hours": 48.0,
        "labels": [
            {
                "key": label.key,
                "name": label.name,
                "description": "",
                "persistence": label.persistence,
                "group": label.group,
                "codes": {"icd9": [], "icd10": []},
                "guideline": label.key,
            }
            for label in PHENOTYPES[:n_labels]
        ],
        "label_groups": [],
        "channels": manifest_channels(),
        "attrition": [],
        "licence": "invented data, no licence needed",
        "labels_against": "recorded",
    }


def invented_tables(n_stays: int = 12, n_labels: int = 25, seed: int = 0) -> dict[str, pa.Table]:
    """Tables of invented patients with one or two stays each, every table filled."""
    rng = np.random.default_rng(seed)
    patients = [f"p{i // 2}" for i in range(n_stays)]
    stay_ids = np.arange(1000, 1000 + n_stays)
    stays = {
        "stay_id": stay_ids,
        "patient_id": [stable_id(p) for p in patients],
        "patient_key": patients,
        "hospital_stay_id": stay_ids + 5,
        "hospital_id": [1] * n_stays,
        "visit": [1 + i % 2 for i in range(n_stays)],
        "visit_order": ["exact"] * n_stays,
        "admitted_at": pa.array([None] * n_stays, pa.timestamp("us")),
        "los_hours": rng.uniform(30, 90, n_stays),
        "age": rng.uniform(20, 90, n_stays).astype("float32"),
        "sex": ["F", "M"] * (n_stays // 2) + ["F"] * (n_stays % 2),
        "ethnicity": pa.array([None] * n_stays, pa.string()),
        "split": ["test" if is_test_patient(p) else "train" for p in patients],
        "has_series": [True] * n_stays,
        "has_note": [True] * n_stays,
    }
    hours = np.tile(np.arange(0.5, 24.5, 1.0, dtype="float32"), n_stays)
    observations = {
        "stay_id": np.repeat(stay_ids, 24),
        "hour": hours,
        "channel": ["heart_rate"] * len(hours),
        "value": rng.normal(85, 12, len(hours)).astype("float32"),
        "category": pa.array([None] * len(hours), pa.string()),
    }
    text = "Known hypertension. Denies diabetes. Admitted with chest pain."
    notes = {
        "stay_id": stay_ids,
        "note_id": stay_ids * 10,
        "hour": [2.0] * n_stays,
        "category": ["history"] * n_stays,
        "text": [text] * n_stays,
        "model_start": [0] * n_stays,
        "model_end": [len(text)] * n_stays,
    }
    keys = [label.key for label in PHENOTYPES[:n_labels]]
    labels = {
        "stay_id": np.repeat(stay_ids, n_labels),
        "label": keys * n_stays,
        "source": ["icd"] * (n_stays * n_labels),
        "observed": rng.integers(0, 2, n_stays * n_labels).astype("uint8"),
        "code": pa.array([None] * (n_stays * n_labels), pa.string()),
        "hour": pa.array([None] * (n_stays * n_labels), pa.float32()),
        "priority": pa.array([None] * (n_stays * n_labels), pa.string()),
        "active_at_discharge": pa.array([None] * (n_stays * n_labels), pa.bool_()),
    }
    return {
        "stays": pa.table(stays),
        "observations": pa.table(observations),
        "notes": pa.table(notes),
        "labels": pa.table(labels),
        "review_evidence": TABLES["review_evidence"].empty_table(),
    }


@pytest.fixture
def cohort_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write an invented cohort under the test's folder and return its path."""

    def make(n_stays: int = 12, n_labels: int = 25, seed: int = 0) -> Path:
        folder = tmp_path / "cohort"
        write_cohort(folder, invented_tables(n_stays, n_labels, seed), manifest_fields(n_labels))
        return folder

    return make
