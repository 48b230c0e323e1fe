"""A workspace for the store's and the exports' benchmarks: ten rounds of any size over a cohort of little else.

Stays and labels are drawn; there are no series and a note in ten stays. The rounds' tables are those of the screens'
benchmark (`screen_tables`), invented once a size: the rounds differ in their number alone.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.database import Store, open_store
from audit_store.people import operator
from audit_store.rounds import open_round, publish_round
from audit_store.workspace import Workspace, create_workspace
from core.cohort.channels import manifest_channels
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES
from core.cohort.store import write_cohort
from scripts.benchmarks.screen_tables import round_info, round_tables
from scripts.benchmarks.screen_workspace import account, answer_flags

LABELS = len(PHENOTYPES)
STAYS = 59_798
"""Of the paper's MIMIC-IV cohort; times 25 labels, 1,494,950 pairs."""
READERS = ("reader-01", "reader-02", "reader-03")
NOTE_EVERY = 10
MEAN_POSITIVES = 4.575
_VISITS = 1.4
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Written:
    """What writing one round took: seconds, seconds of processor time, bytes of the file."""

    round_id: int
    seconds: float
    cpu_seconds: float
    bytes: int


@dataclass(frozen=True)
class Site:
    """The workspace, its store, and what writing each round took."""

    workspace: Workspace
    store: Store
    written: tuple[Written, ...]


def cohort_tables(stays: int, seed: int) -> dict[str, pa.Table]:
    """Stays of patients with one visit or several, labels at the paper's prevalence, a short note in one of ten."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, stays + 1, dtype=np.int64)
    patient = np.sort(rng.integers(1, max(2, int(stays / _VISITS)), stays)).astype(np.int64)
    first = np.searchsorted(patient, patient)
    test = np.random.default_rng([seed, 1]).random(int(patient.max()) + 1) < _TEST_SHARE
    noted = ids[::NOTE_EVERY]
    prevalence = rng.gamma(2.0, 1.0, LABELS)
    prevalence = np.clip(prevalence * MEAN_POSITIVES / prevalence.sum(), 0.02, 0.6)
    observed = (rng.random((stays, LABELS)) < prevalence).astype(np.uint8)
    text = "Came with pain and fever. Seen by the team, no new complaints. " * 4
    keys = np.array([label.key for label in PHENOTYPES], dtype=object)
    n = stays * LABELS
    made = {
        "stays": {
            "stay_id": ids, "patient_id": patient, "patient_key": [f"p{number}" for number in patient.tolist()],
            "hospital_stay_id": ids, "hospital_id": np.ones(stays, np.int64),
            "visit": (np.arange(stays) - first + 1).astype(np.int32), "visit_order": ["exact"] * stays,
            "admitted_at": pa.nulls(stays, pa.timestamp("us")), "los_hours": rng.uniform(24, 200, stays),
            "age": pa.nulls(stays, pa.float32()), "sex": pa.nulls(stays, pa.string()),
            "ethnicity": pa.nulls(stays, pa.string()), "split": np.where(test[patient], "test", "train").astype(object),
            "has_series": np.zeros(stays, bool), "has_note": np.isin(ids, noted),
        },
        "notes": {
            "stay_id": noted, "note_id": noted * 10, "hour": pa.nulls(len(noted), pa.float32()),
            "category": ["history"] * len(noted), "text": [text] * len(noted),
            "model_start": np.zeros(len(noted), np.int32), "model_end": np.full(len(noted), len(text), np.int32),
        },
        "labels": {
            "stay_id": np.repeat(ids, LABELS), "label": np.tile(keys, stays), "source": ["icd"] * n,
            "observed": observed.ravel(), "code": pa.nulls(n, pa.string()), "hour": pa.nulls(n, pa.float32()),
            "priority": pa.nulls(n, pa.string()), "active_at_discharge": pa.nulls(n, pa.bool_()),
        },
    }  # fmt: skip
    tables = {name: pa.table({key: pa.array(column) for key, column in made[name].items()}) for name in made}
    return {name: tables.get(name, schema.empty_table()) for name, schema in TABLES.items()}


def manifest_fields(stays: int) -> dict[str, Any]:
    """Give the invented cohort's own fields."""
    labels: list[dict[str, Any]] = [
        {
            "key": label.key, "name": label.name, "description": "", "persistence": label.persistence,
            "group": label.group, "codes": {"icd9": [], "icd10": []}, "guideline": label.key,
        }
        for label in PHENOTYPES
    ]  # fmt: skip
    return {
        "name": f"{stays} invented stays", "source": "synthetic", "primary_source": "icd", "cutoff_hours": 48.0,
        "labels": labels, "label_groups": [], "channels": manifest_channels(), "attrition": [],
        "licence": "invented data, no licence needed", "labels_against": "recorded",
    }  # fmt: skip


def invented_site(
    folder: Path, stays: int, rounds: int, decisions: int, say: Callable[[str], object], seed: int = 30
) -> Site:
    """Make a workspace with rounds of `stays` × 25 pairs, and answers in its store; the writes are timed.

    Parameters
    ----------
    folder
        Where it goes; not there yet.
    stays, rounds, decisions
        How much.
    say
        Told what is being made.
    seed
        Of all that is drawn.
    """
    workspace = create_workspace(folder)
    store = open_store(workspace)
    say(f"cohort of {stays:,} invented stays …")
    tables = cohort_tables(stays, seed)
    write_cohort(workspace.cohort, tables, manifest_fields(stays))
    given = {name: tables[name] for name in ("stays", "labels", "notes")}
    made = round_tables(given["stays"], given["labels"], given["notes"], seed)
    left = _as_a_trainer_leaves(workspace.cache / "tables", made)
    written = []
    for round_id in range(1, rounds + 1):
        say(f"round {round_id} of {rounds}: {stays * LABELS:,} pairs …")
        info = round_info(round_id, workspace.manifest(), made, seed)
        begun, worked = time.perf_counter(), time.process_time()
        path = publish_round(store, round_id, info, left, operator())
        took, cpu = time.perf_counter() - begun, time.process_time() - worked
        written.append(Written(round_id, took, cpu, path.stat().st_size))
    people = [account(store, name) for name in READERS]
    answer_flags(store, open_round(workspace), people, decisions, say)
    return Site(workspace, store, tuple(written))


def _as_a_trainer_leaves(folder: Path, tables: dict[str, pa.Table]) -> dict[str, Path]:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    return {name: folder / f"{name}.parquet" for name in tables}


def stays_of(pairs: int) -> int:
    """Stays whose pairs are at least `pairs`."""
    return max(1, -(-pairs // LABELS))


def fractions(pairs: int, shares: Iterable[float]) -> list[int]:
    """Stays at each share of a number of pairs, ascending, none twice."""
    return sorted({stays_of(int(pairs * share)) for share in shares})
