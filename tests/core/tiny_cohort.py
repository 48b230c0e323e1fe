"""A small invented cohort with something to learn: series and notes that follow the labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from core.cohort.store import Cohort, open_cohort, write_cohort

from .conftest import invented_tables, manifest_fields

WORDS = ["fever", "cough", "pain", "oedema", "rash", "ulcer", "tremor", "stroke", "jaundice", "anaemia"]


def learnable_tables(n_stays: int = 80, n_labels: int = 5, seed: int = 0, hours: int = 12) -> dict[str, pa.Table]:
    """Tables in which label 0 raises the heart rate and label k puts word k into the note.

    Every ninth stay has no series, every seventh no note; one has neither.
    """
    rng = np.random.default_rng(seed)
    tables = invented_tables(n_stays, n_labels, seed)
    truth = (rng.random((n_stays, n_labels)) < 0.4).astype(np.uint8)
    stay_ids = tables["stays"]["stay_id"].to_numpy()
    has_series, has_note = np.arange(n_stays) % 9 != 0, np.arange(n_stays) % 7 != 0
    tables["stays"] = tables["stays"].set_column(13, "has_series", pa.array(has_series))
    tables["stays"] = tables["stays"].set_column(14, "has_note", pa.array(has_note))
    lengths = rng.integers(3, hours + 1, n_stays) * has_series
    rows = np.repeat(np.arange(n_stays), lengths)
    hour = np.concatenate([np.arange(n) + 0.5 for n in lengths])
    value = 70 + 40 * truth[rows, 0] + rng.normal(0, 5, len(rows))
    tables["observations"] = pa.table(
        {
            "stay_id": stay_ids[rows],
            "hour": hour.astype(np.float32),
            "channel": ["heart_rate"] * len(rows),
            "value": value.astype(np.float32),
            "category": pa.nulls(len(rows), pa.string()),
        }
    )
    texts = []
    for row in np.flatnonzero(has_note):
        words = [WORDS[k] for k in np.flatnonzero(truth[row])] + list(rng.choice(WORDS[n_labels:], 2))
        texts.append(f"Came with {', '.join(words)}. Seen on day {row}.")
    tables["notes"] = pa.table(
        {
            "stay_id": stay_ids[has_note],
            "note_id": stay_ids[has_note] * 10,
            "hour": pa.array(np.full(has_note.sum(), 2.0, np.float32)),
            "category": ["history"] * len(texts),
            "text": texts,
            "model_start": pa.array(np.zeros(len(texts), np.int32)),
            "model_end": pa.array([len(text) for text in texts], pa.int32()),
        }
    )
    index = tables["labels"].column_names.index("observed")
    tables["labels"] = tables["labels"].set_column(index, "observed", pa.array(truth.ravel()))
    return tables


def learnable_cohort(folder: Path, n_stays: int = 80, n_labels: int = 5, seed: int = 0, hours: int = 12) -> Cohort:
    """Write and open such a cohort."""
    write_cohort(folder, learnable_tables(n_stays, n_labels, seed, hours), manifest_fields(n_labels))
    return open_cohort(folder)
