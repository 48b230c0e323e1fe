"""A small cohort and hand-made rounds for the tests of the store."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from argon2 import PasswordHasher

from audit_store import people
from audit_store.database import Store, open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.people import Person, add_person, operator
from audit_store.rounds import RoundFile, open_round, publish_round
from audit_store.schema import ROUND_TABLES
from audit_store.workspace import DECISIONS_URL_VARIABLE, Workspace, create_workspace, open_workspace
from core.cohort.channels import CHANNELS
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES
from core.cohort.store import is_test_patient, stable_id, write_cohort
from tests.postgres import Server

FIRST_STAY = 1000
GROUPS = [
    {
        "key": "diabetes",
        "name": "Diabetes mellitus",
        "labels": ["diabetes_with_complications", "diabetes_without_complication"],
    },
    {
        "key": "hypertension",
        "name": "Hypertension",
        "labels": ["essential_hypertension", "hypertension_with_complications"],
    },
]


def write_small_cohort(folder: Path, n_stays: int = 40, n_labels: int = 25, uncoded: int = 0) -> dict[str, Any]:
    """A cohort of `n_stays` stays, two a patient, of which the last `uncoded` have no label rows."""
    rng = np.random.default_rng(7)
    keys = [f"p{i // 2}" for i in range(n_stays)]
    ids = np.arange(FIRST_STAY, FIRST_STAY + n_stays)
    labels = PHENOTYPES[:n_labels]
    coded = n_stays - uncoded
    stays = pa.table(
        {
            "stay_id": ids,
            "patient_id": [stable_id(key) for key in keys],
            "patient_key": keys,
            "hospital_stay_id": ids,
            "hospital_id": [1] * n_stays,
            "visit": [1 + i % 2 for i in range(n_stays)],
            "visit_order": ["exact"] * n_stays,
            "admitted_at": pa.array([None] * n_stays, pa.timestamp("us")),
            "los_hours": rng.uniform(20, 200, n_stays).round(1),
            "age": rng.uniform(20, 90, n_stays).astype("float32"),
            "sex": ["F"] * n_stays,
            "ethnicity": pa.array([None] * n_stays, pa.string()),
            "split": ["test" if is_test_patient(key) else "train" for key in keys],
            "has_series": [True] * n_stays,
            "has_note": [False] * n_stays,
        }
    )
    rows = coded * n_labels
    stated = pa.table(
        {
            "stay_id": np.repeat(ids[:coded], n_labels),
            "label": [label.key for label in labels] * coded,
            "source": ["icd"] * rows,
            "observed": (rng.random(rows) < 0.3).astype("uint8"),
            "code": pa.array([None] * rows, pa.string()),
            "hour": pa.array([None] * rows, pa.float32()),
            "priority": pa.array([None] * rows, pa.string()),
            "active_at_discharge": pa.array([None] * rows, pa.bool_()),
        }
    )
    present = {label.key for label in labels}
    return write_cohort(
        folder,
        {
            "stays": stays,
            "labels": stated,
            **{name: TABLES[name].empty_table() for name in ("observations", "notes", "review_evidence")},
        },
        {
            "name": "hand-made",
            "source": "synthetic",
            "primary_source": "icd",
            "cutoff_hours": 48.0,
            "labels": [
                {"key": label.key, "name": label.name, "description": "", "persistence": label.persistence}
                for label in labels
            ],
            "label_groups": [group for group in GROUPS if set(group["labels"]) <= present],
            "channels": [{"name": channel.name} for channel in CHANNELS[:1]],
            "attrition": [],
            "licence": "invented",
            "labels_against": "recorded",
        },
    )


def round_tables(
    stays: pa.Table,
    labels: pa.Table,
    label_keys: list[str],
    *,
    seed: int = 0,
    share: float = 0.1,
    epochs: int = 4,
    locks: pa.Table | None = None,
) -> dict[str, pa.Table]:
    """Round tables for stated labels, with invented scores; `share` of the train pairs are flagged."""
    rng = np.random.default_rng(seed)
    n = labels.num_rows
    place = np.searchsorted(stays["stay_id"].to_numpy(), labels["stay_id"].to_numpy())
    label_id = np.array([label_keys.index(key) for key in labels["label"].to_pylist()], dtype=np.int16)
    observed = labels["observed"].to_numpy().astype(np.uint8)
    split = np.array(stays["split"].to_pylist())[place]
    corrected = np.where(rng.random(n) < 0.3, 1.0 - observed, np.clip(observed + rng.normal(0, 0.2, n), 0, 1)).astype(
        np.float32
    )
    corrected = np.where(split == "test", observed, corrected).astype(np.float32)
    given = observed.astype(np.float32)
    partition = rng.choice(np.array(["clean", "uncertain", "noisy"]), n)
    if locks is not None:
        held = {(row["stay_id"], row["label_key"]): row["value"] for row in locks.to_pylist() if row["locked"]}
        for i, (stay, number) in enumerate(zip(labels["stay_id"].to_pylist(), label_id, strict=True)):
            if (stay, label_keys[number]) in held and split[i] == "train":
                given[i] = corrected[i] = held[stay, label_keys[number]]
                partition[i] = "locked"
    error = np.abs(corrected - observed).astype(np.float32)
    score = rng.random(n).astype(np.float32)
    order = np.lexsort((-score, -error))
    order = order[(split[order] == "train") & (partition[order] != "locked")][: int(share * n)]
    flagged = np.zeros(n, dtype=bool)
    flagged[order] = True
    rank = np.zeros(n, dtype=np.int32)
    rank[order] = np.arange(1, len(order) + 1)
    pair = pa.table(
        {
            "stay_id": labels["stay_id"],
            "patient_id": stays["patient_id"].to_numpy()[place],
            "visit": stays["visit"].to_numpy()[place],
            "split": split,
            "label_id": label_id,
            "observed": observed,
            "given": given,
            "probability": rng.random(n).astype(np.float32),
            "probability_series": pa.array([None] * n, pa.float32()),
            "probability_note": rng.random(n).astype(np.float32),
            "probability_peer": rng.random(n).astype(np.float32),
            "rank": np.ones(n, dtype=np.int16),
            "difficulty": rng.random(n).astype(np.float32),
            "selection_score": score,
            "uncertainty": rng.random(n).astype(np.float32),
            "partition": partition,
            "eligible": np.ones(n, dtype=bool),
            "corrected": corrected,
            "suggested": (corrected >= 0.5).astype(np.uint8),
            "flagged": flagged,
            "direction": np.where(observed == 1, "false_positive", "false_negative"),
            "error_probability": error,
            "suspicion_rank": pa.array(rank, mask=~flagged),
            "history": [bytes(row) for row in rng.integers(0, 256, (n, epochs)).astype(np.uint8)],
        }
    )
    names = {label.key: label for label in PHENOTYPES}
    label = pa.table(
        {
            "label_id": np.arange(len(label_keys), dtype=np.int16),
            "label_key": label_keys,
            "name": [names[key].name if key in names else key for key in label_keys],
            "description": [""] * len(label_keys),
            "persistence": [names[key].persistence if key in names else "acute" for key in label_keys],
            "prevalence": [0.3] * len(label_keys),
            "rho_plus": [0.1] * len(label_keys),
            "rho_minus": pa.array([None] * len(label_keys), pa.float64()),
        }
    )
    groups = [(number, c) for number in range(len(label_keys)) for c in (0, 1)]
    mixture = pa.table(
        {
            "label_id": [g[0] for g in groups],
            "observed_class": [g[1] for g in groups],
            "n": [1] * len(groups),
            **{name: [0.1] * len(groups) for name in ROUND_TABLES["mixture"].names[3:11]},
            "degenerate": [False] * len(groups),
        }
    )
    epoch = pa.table({"epoch": np.arange(epochs), "seconds": np.ones(epochs), "loss_total": np.ones(epochs)})
    first = pair.slice(0, 1)
    evidence = pa.table(
        {
            "stay_id": pa.concat_arrays([*first["stay_id"].chunks] * 2),
            "label_id": pa.concat_arrays([*first["label_id"].chunks] * 2),
            "kind": ["series", "note"],
            "evidence_stay_id": pa.concat_arrays([*first["stay_id"].chunks] * 2),
            "note_id": [None, 3],
            "char_start": [None, 0],
            "char_end": [None, 9],
            "channel": ["heart_rate", None],
            "hour_start": [1.0, None],
            "hour_end": [2.0, None],
            "method": ["gradient", "term"],
            "negated": [None, True],
            "weight": [0.1, -0.4],
        }
    )
    detector = pair.select(["stay_id", "label_id"]).append_column("loss", pa.array(score))
    detector = detector.append_column("visits", pa.array(np.round(score, 1), mask=score < 0.2))
    detector = detector.filter(pa.array(split == "train"))
    return {
        "label": label,
        "pair": pair,
        "mixture": mixture,
        "epoch": epoch,
        "evidence": evidence,
        "detector_score": detector,
    }


def round_info(round_id: int, fingerprint: str, **more: Any) -> dict[str, Any]:
    """What the trainer writes as round.json."""
    return {
        "round_id": round_id,
        "parent": round_id - 1 or None,
        "created_at": "2026-11-21T00:00:00+00:00",
        "preset": "miracl",
        "config": {"epochs": 4},
        "code_version": "0.1.0",
        "cohort_fingerprint": fingerprint,
        "cohort_name": "hand-made",
        "decisions_count": 0,
        "decisions_last_id": 0,
        "decisions_head": "",
        "seed": 1,
        "device": "cpu",
        "seconds": 1.5,
        "peak_memory_mb": 100.0,
        "budget": 20,
        "schema_version": 2,
        "calibrated": False,
        **more,
    }


@dataclass
class Site:
    """A workspace with a cohort, one round and some people."""

    workspace: Workspace
    store: Store
    people: dict[str, Person]
    manifest: dict[str, Any]

    @property
    def round(self) -> RoundFile:
        """The latest round."""
        return open_round(self.workspace)

    def tables(self, **options: Any) -> dict[str, pa.Table]:
        """Tables for a round on this cohort."""
        import pyarrow.parquet as pq

        folder = self.workspace.cohort
        keys = [str(label["key"]) for label in self.manifest["labels"]]
        return round_tables(
            pq.read_table(folder / "stays.parquet"), pq.read_table(folder / "labels.parquet"), keys, **options
        )

    def publish(self, round_id: int, **options: Any) -> Path:
        """Publish a round of invented scores."""
        info = round_info(round_id, self.manifest["fingerprint"])
        return publish_round(self.store, round_id, info, self.tables(**options), operator())

    def say(self, who: str, stay_id: int, label_key: str, answer: str, **more: Any) -> Any:
        """Record one answer."""
        reading = Reading(more.pop("round_id", 1), stay_id, label_key, answer, **more)
        return record(self.store, self.people[who], reading, new_token())

    def flags(self) -> list[tuple[int, str]]:
        """Flagged pairs, most suspect first."""
        rows = self.round.rows(
            "SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY suspicion_rank"
        )
        return [(int(stay), str(key)) for stay, key in rows]

    def singles(self) -> list[tuple[int, str]]:
        """Flagged pairs whose label is decided alone."""
        grouped = {key for keys in self.round.label_groups.values() for key in keys}
        return [(stay, key) for stay, key in self.flags() if key not in grouped]


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


PEOPLE = {
    "ann": "reviewer",
    "ben": "reviewer",
    "cat": "reviewer",
    "ada": "adjudicator",
    "sam": "steward",
    "aud": "auditor",
}
PASSWORD = "correct horse"


# Tests of what stands in the decisions store run on each database. Those that only read what decisions left, from one
# place in the store, do so in the gate (CI=true). Elsewhere a store is only needed to have one.
ON_BOTH = {
    "test_batches",
    "test_decisions",
    "test_exports",
    "test_ledger",
    "test_people",
    "test_protocol",
    "test_queue",
    "test_trail",
    "test_verify",
    "test_worklist",
}
ON_BOTH_IN_THE_GATE = {
    "test_cases",
    "test_export_preview",
    "test_labels",
    "test_quality_agreement",
    "test_quality_report",
    "test_rounds",
    "test_sampling",
}
POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `backend`, itself or through `site`, on both databases where its module is in `ON_BOTH`.

    ``@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)`` on a test chooses for itself.
    """
    chosen = any("backend" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize"))
    if "backend" in metafunc.fixturenames and not chosen:
        chosen_modules = ON_BOTH | (ON_BOTH_IN_THE_GATE if os.environ.get("CI") == "true" else set())
        both = metafunc.module.__name__.rpartition(".")[2] in chosen_modules
        metafunc.parametrize("backend", ["sqlite", POSTGRES] if both else ["sqlite"], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Which database the test's stores are on: sqlite or postgres."""
    return str(request.param)


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make place for the decisions of the one workspace that a test makes by itself: an empty store on PostgreSQL."""
    with ExitStack() as databases:
        if backend == "postgres":
            server: Server = request.getfixturevalue("postgres_server")
            monkeypatch.setenv(DECISIONS_URL_VARIABLE, databases.enter_context(server.fresh()))
        yield


class Built:
    """Workspaces built once in a run, by what was asked for; each test gets a copy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[object, ...], tuple[Path, dict[str, Person], dict[str, Any], str | None]] = {}

    def copy(
        self, folder: Path, server: Server | None, n_stays: int, n_labels: int, uncoded: int, train: bool
    ) -> tuple[dict[str, Person], dict[str, Any], str | None]:
        """Copy a workspace into `folder`; return its people, its cohort's manifest and the database to copy, if any."""
        key = (server is not None, n_stays, n_labels, uncoded, train)
        if key not in self._known:
            self._known[key] = self._build(server, n_stays, n_labels, uncoded, train)
        built, team, manifest, database = self._known[key]
        shutil.copytree(built, folder, dirs_exist_ok=True)
        return team, manifest, database

    def _build(
        self, server: Server | None, n_stays: int, n_labels: int, uncoded: int, train: bool
    ) -> tuple[Path, dict[str, Person], dict[str, Any], str | None]:
        folder = self._folder / str(len(self._known))
        database = None if server is None else server.named()
        with pytest.MonkeyPatch.context() as patch:
            if server is not None and database is not None:
                patch.setenv(DECISIONS_URL_VARIABLE, server.url(database))
            workspace = create_workspace(folder)
            manifest = write_small_cohort(workspace.cohort, n_stays, n_labels, uncoded)
            store = open_store(workspace)
            team = {name: add_person(store, operator(), name, PASSWORD, role=role) for name, role in PEOPLE.items()}
            site = Site(workspace, store, team, manifest)
            if train:
                site.publish(1)
            store.close()
            for round_id in workspace.round_ids():
                _close(workspace, round_id)
        return folder, team, manifest, database


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Workspaces that were built in this run."""
    return Built(tmp_path_factory.mktemp("built"))


@pytest.fixture
def make_site(
    tmp_path: Path, backend: str, built: Built, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Site]]:
    """Make a workspace with a cohort, people, and a round unless told otherwise."""
    made: list[Site] = []
    server: Server | None = request.getfixturevalue("postgres_server") if backend == "postgres" else None
    with ExitStack() as databases:

        def make(
            n_stays: int = 40, n_labels: int = 25, uncoded: int = 0, *, train: bool = True, folder: Path | None = None
        ) -> Site:
            root = folder or tmp_path / "workspace"
            team, manifest, database = built.copy(root, server, n_stays, n_labels, uncoded, train)
            if server is not None:
                monkeypatch.setenv(DECISIONS_URL_VARIABLE, databases.enter_context(server.fresh(database)))
            workspace = open_workspace(root)
            site = Site(workspace, open_store(workspace), team, manifest)
            made.append(site)
            return site

        yield make
        for site in made:
            site.store.close()
            for round_id in site.workspace.round_ids():
                _close(site.workspace, round_id)


def _close(workspace: Workspace, round_id: int) -> None:
    from audit_store import rounds

    path = str(workspace.round_path(round_id))
    for key in [key for key in rounds._OPEN if key[0] == path]:
        rounds._OPEN.pop(key).close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A workspace of forty stays, 25 labels and one round."""
    return make_site()
