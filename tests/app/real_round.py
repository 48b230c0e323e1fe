"""A small real round: patients of the open eICU demo, and a network trained on them for two epochs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.workspace import create_workspace

SOURCE = (Path(__file__).parents[2] / "../shared/data/eicu-demo").resolve()
PATIENTS = 60
FLAGS = 60
SETTINGS = {  # everything small: what matters is that each table of the round is the trainer's own
    "optim.epochs": 2,
    "optim.warm_up": 1,
    "tensors.series.max_steps": 48,
    "tensors.passages.max_passages": 4,
    "peer.folds": 2,
    "peer.penalties": (0.3,),
    "peer.iterations": 5,
    "calibrated.ridges": (10.0,),
    "calibrated.siblings": "off",
    "correction.leave_alone": False,
}
COMPUTED = ("schema_version", "counts", "tables", "fingerprint")  # written anew with the part's own figures


def make_real_round(folder: Path, scratch: Path) -> None:
    """Build the demo's cohort, keep some patients (those of several visits first), train on them, publish round 1."""
    from core.cohort.sources.eicu import build_eicu
    from core.cohort.store import write_cohort
    from scripts.running import run_training

    build_eicu(SOURCE, scratch)
    workspace = create_workspace(folder)
    tables = {path.stem: pq.read_table(path) for path in sorted(scratch.glob("*.parquet"))}
    stays = tables["stays"]
    visits = stays.group_by("patient_id").aggregate([("stay_id", "count")])
    chosen = visits.sort_by([("stay_id_count", "descending"), ("patient_id", "ascending")])["patient_id"][:PATIENTS]
    kept = stays.filter(pc.is_in(stays["patient_id"], chosen.combine_chunks()))["stay_id"].combine_chunks()
    part = {name: _of(table, kept) for name, table in tables.items()}
    manifest = json.loads((scratch / "manifest.json").read_text(encoding="utf-8"))
    write_cohort(workspace.cohort, part, {key: value for key, value in manifest.items() if key not in COMPUTED})
    run_training(folder, preset="paper", size="compact", seed=30, device="cpu", budget=FLAGS, settings=SETTINGS)


def _of(table: pa.Table, stays: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table["stay_id"], stays))
