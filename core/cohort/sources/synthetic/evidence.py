"""What a reader finds beside series and notes: drugs, procedures, cultures, imaging, ECG, the admission diagnosis.

Each item of ``evidence.toml`` is found more often where its phenotype is present; it also misses, and it also strays.
Times run to the end of the stay, past a model's cut-off. No trainer opens the table that this becomes.
"""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import REVIEW_EVIDENCE
from core.cohort.sources.synthetic.config import read_toml
from core.cohort.sources.synthetic.patients import Patients

_KEYS = {label.key: i for i, label in enumerate(PHENOTYPES)}
_FIRST_HOURS = 6.0
_REPEATED_EVERY = 12.0
_MOST_REPEATS = 6


@cache
def findings() -> dict[str, Any]:
    """Parse ``evidence.toml`` once."""
    return read_toml("evidence.toml")


def _hours(when: str, los: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    luck = rng.random(len(los))
    if when == "first":
        return np.minimum(_FIRST_HOURS, 0.5 * los) * luck
    if when == "late":
        return los * (0.5 + 0.5 * luck)
    return los * luck


def _found(item: dict[str, Any], patients: Patients, rng: np.random.Generator) -> np.ndarray:
    """Rows of the stays in which an item is found: a noisy or over the phenotypes that lead to it."""
    without = np.full(len(patients.los), 1.0 - item["stray"])
    for key, share in item["hit"].items():
        without = without * np.where(patients.truth[:, _KEYS[key]], 1.0 - share, 1.0)
    return np.flatnonzero(rng.random(len(without)) > without)


def _admissions(patients: Patients, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """One admission diagnosis per stay: an acute phenotype that is present, or something unspecific."""
    table = findings()["admission"]
    acute = np.array([_KEYS[key] for key in table["texts"]])
    weight = patients.truth[:, acute] * rng.random((len(patients.los), len(acute)))
    best = weight.argmax(1)
    vague = (weight.max(1) == 0) | (rng.random(len(best)) < table["miss"])
    named = list(table["texts"].values())
    other = (rng.random(len(best)) * len(table["other"])).astype(int)
    texts = [table["other"][o] if v else named[b] for b, o, v in zip(best, other, vague, strict=True)]
    return np.arange(len(best)), texts


def draw_evidence(patients: Patients, stay_ids: np.ndarray, rng: np.random.Generator) -> pa.Table:
    """Draw the `review_evidence` table of all stays."""
    parts: list[pa.Table] = []

    def add(item: dict[str, Any], rows: np.ndarray, hour: np.ndarray, texts: list[str] | None = None) -> None:
        n = len(rows)
        if "value" in item:
            low, high = item["value"]
            value = pa.array(np.round(low + (high - low) * rng.random(n), 2), pa.float32())
        else:
            value = pa.nulls(n, pa.float32())
        text = pa.array(texts) if texts is not None else pa.array([item.get("text")] * n, pa.string())
        parts.append(
            pa.table(
                {
                    "stay_id": pa.array(stay_ids[rows]),
                    "hour": pa.array(np.round(hour, 2), pa.float32()),
                    "kind": pa.array([item["kind"]] * n, pa.string()),
                    "name": pa.array([item["name"]] * n, pa.string()),
                    "value": value,
                    "unit": pa.array([item.get("unit")] * n, pa.string()),
                    "text": text.cast(pa.string()),
                    "source": pa.array([f"synthetic {item['kind']}"] * n, pa.string()),
                },
                schema=REVIEW_EVIDENCE,
            )
        )

    for item in findings()["item"]:
        rows = _found(item, patients, rng)
        hour = _hours(item["when"], patients.los[rows], rng)
        add(item, rows, hour)
        if item["kind"] != "drug" or item["when"] == "first":
            continue
        for _ in range(_MOST_REPEATS):
            hour = hour + _REPEATED_EVERY * (0.75 + 0.5 * rng.random(len(rows)))
            going = (hour < patients.los[rows]) & (rng.random(len(rows)) < 0.6)
            rows, hour = rows[going], hour[going]
            add(item, rows, hour)
    rows, texts = _admissions(patients, rng)
    add(
        {"kind": "admission_diagnosis", "name": "Admission diagnosis"},
        rows,
        np.zeros(len(rows)),
        texts,
    )
    return pa.concat_tables(parts)
