"""Workspaces that the trust benchmark may harm: invented patients, rounds in which most pairs are flagged, accounts."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.database import Store, open_store
from audit_store.guidelines import load as load_guidelines
from audit_store.people import Person, add_person, find_person, operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.rounds import publish_round
from audit_store.workspace import Workspace, create_workspace, open_workspace
from core.cohort.sources.synthetic import NoiseSpec, build_synthetic
from scripts.benchmarks.screen_tables import round_info, round_tables

PASSWORD = "trust is tried"
STEWARD = "steward"
FLAGGED_SHARE = 0.75
NOISE = NoiseSpec(kind="balanced", rho_plus=0.2)
FLAGS_ONLY = Terms(batch_size=60, double_share=0.0, control_share=0.0, audit_share=0.0)
AS_USED = Terms(batch_size=20)


@dataclass(frozen=True)
class Place:
    """A workspace's folder and the decisions it keeps elsewhere (None: in the folder)."""

    folder: Path
    url: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find the decisions."""
        return {} if self.url is None else {"MIRACL_DECISIONS_URL": self.url}

    def workspace(self) -> Workspace:
        """Open the workspace."""
        return open_workspace(self.folder)


def reviewer(number: int) -> str:
    """Name of a reviewer's account, from 1."""
    return f"reviewer-{number:02}"


def make_cohort(folder: Path, stays: int, seed: int) -> Workspace:
    """Make a workspace of invented patients without a round."""
    workspace = create_workspace(folder)
    build_synthetic(workspace.cohort, stays=stays, seed=seed, noise=NOISE, noise_seed=seed + 1)
    return workspace


def invented_round(workspace: Workspace, round_id: int, seed: int) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Give what the trainer would hand over: round.json's fields and the round's tables, scores drawn."""
    read = {name: pq.read_table(workspace.cohort / f"{name}.parquet") for name in ("stays", "labels")}
    notes = pq.read_table(workspace.cohort / "notes.parquet", columns=["stay_id", "note_id"])
    tables = round_tables(read["stays"], read["labels"], notes, seed + round_id, share=FLAGGED_SHARE)
    return round_info(round_id, workspace.manifest(), tables, round_id), tables


def furnish(store: Store, reviewers: int, terms: Terms, seed: int) -> list[Person]:
    """Publish round 1, add people and sign a protocol; return the reviewers."""
    info, tables = invented_round(store.workspace, 1, seed)
    publish_round(store, 1, info, tables, operator())
    steward = account(store, STEWARD, "steward")
    sign_protocol(store, steward, terms, load_guidelines())
    return [account(store, reviewer(i + 1), "reviewer") for i in range(reviewers)]


def account(store: Store, name: str, role: str) -> Person:
    """Find an account, or add it."""
    return find_person(store, name) or add_person(store, operator(), name, PASSWORD, role=role)


def make_place(folder: Path, *, stays: int, reviewers: int, terms: Terms, seed: int) -> Place:
    """Make a workspace with a round, people and a protocol; its store is closed again."""
    store = open_store(make_cohort(folder, stays, seed))
    try:
        furnish(store, reviewers, terms, seed)
    finally:
        store.close()
    return Place(folder)


def write_run(workspace: Workspace, out: Path, round_id: int, seed: int) -> None:
    """Write what a finished training run leaves in its folder: the round's tables, round.json and a model."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "model").mkdir(parents=True)
    info, tables = invented_round(workspace, round_id, seed)
    for name, table in tables.items():
        pq.write_table(table, out / f"{name}.parquet")
    (out / "round.json").write_text(json.dumps(info), encoding="utf-8")
    (out / "model" / "weights.bin").write_bytes(bytes(range(256)) * 64)
