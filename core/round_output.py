"""Writing a trained round: tables, network, preprocessing and record, aside and then renamed into place."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from core.cohort.tensors import save_preprocessing
from core.evidence import EVIDENCE, attribution_mode, explain
from core.fileio import sync_directory
from core.models.miracl import Batch
from core.progress import Progress, in_quarters, nothing
from core.round_tables import (
    EPOCH,
    Round,
    default_budget,
    detector_table,
    harm_table,
    label_table,
    mixture_table,
    pair_table,
)

SCHEMA_VERSION = 2
_MEGABYTE_KB = 1024


def can_explain() -> bool:
    """Whether attribution is installed; training does without it."""
    return find_spec("captum") is not None


def evidence_table(
    made: Round, pairs: pa.Table, place: torch.device, progress: Progress, ask: Callable[[], None] = nothing
) -> pa.Table:
    """Table ``evidence``: what moved the probability of the flagged pairs, most suspect first.

    It is empty where Captum is not installed (a machine that only trains), and ``round.json`` says so. Where a stay's
    prediction depends on its batch, no stay's evidence is its own, and words alone are told.
    """
    if not can_explain():
        progress.stage("no evidence: captum is not installed")
        return EVIDENCE.empty_table()
    flagged = pairs.filter(pairs["flagged"]).sort_by("suspicion_rank")
    rows = np.searchsorted(np.asarray(made.packed.stay_ids), flagged["stay_id"].to_numpy())
    labels = flagged["label_id"].to_numpy().astype(np.int64)
    model = made.fitted.model

    def forward(
        series: torch.Tensor, series_lengths: torch.Tensor, notes: torch.Tensor, note_lengths: torch.Tensor
    ) -> torch.Tensor:
        nobody = torch.zeros_like(series_lengths)
        logits: torch.Tensor = model(Batch(nobody, nobody, series, series_lengths, notes, note_lengths)).logits
        return logits

    alone = not made.fitted.method.companions
    with attribution_mode(model):
        return explain(
            made.cohort, made.packed, rows.astype(np.int64), labels, forward if alone else None, place,
            progress=in_quarters(progress, ask),
        )  # fmt: skip


def round_record(made: Round, place: torch.device, budget: int) -> dict[str, Any]:
    """``round.json``: where the round came from and what it took."""
    try:
        code = version("miracl-audit")
    except PackageNotFoundError:
        code = "unknown"
    identity, decisions = made.identity, made.identity["decisions"]
    return {
        "round_id": identity["round_id"],
        "parent": identity["parent"],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "preset": made.config.preset,
        "config": made.config.to_dict(),
        "code_version": code,
        "cohort_fingerprint": made.cohort.fingerprint,
        "cohort_name": str(made.cohort.manifest.get("name", "")),
        "decisions_count": decisions["count"],
        "decisions_last_id": decisions["last_id"],
        "decisions_head": decisions["head"],
        "seed": identity["seed"],
        "device": place.type,
        "seconds": round(sum(row["seconds"] for row in made.fitted.rows), 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEGABYTE_KB, 1),
        "budget": budget,
        "evidence": can_explain(),
        "calibrated": made.fitted.error_probability is not None,
        "stays_without_either": made.packed.without_either,
        "schema_version": SCHEMA_VERSION,
    }


def write_round(
    out: Path,
    made: Round,
    place: torch.device,
    budget: int | None,
    progress: Progress,
    ask: Callable[[], None] = nothing,
) -> Path:
    """Write all tables and the model beside `out`, then rename.

    Parameters
    ----------
    out
        The folder to make; it exists complete or not at all.
    made, place
        The round, and the device of its network.
    budget
        Pairs to flag, or None for the config's share.
    progress
        Told what is being written.
    ask
        Called for every flag explained; may raise `core.progress.Halted`, which leaves `out` as it was.
    """
    if budget is None:
        budget = default_budget(int(made.pairs.stated.sum()), made.config.review)
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "model").mkdir(parents=True, mode=0o700)
    pairs = pair_table(made, budget)
    progress.stage(f"evidence for {int(pairs['flagged'].to_numpy().sum()):,} flags")
    tables = {
        "label": label_table(made),
        "pair": pairs,
        "mixture": mixture_table(made.fitted.selection.mixtures),
        "epoch": pa.Table.from_pylist(made.fitted.rows, schema=EPOCH),
        "evidence": evidence_table(made, pairs, place, progress, ask),
        "detector_score": detector_table(made),
        "harm": harm_table(made),
    }
    for name, table in tables.items():
        pq.write_table(table, aside / f"{name}.parquet", compression="zstd")
    torch.save(
        {name: w.detach().cpu() for name, w in made.fitted.model.state_dict().items()}, aside / "model" / "weights.pt"
    )
    (aside / "model" / "config.json").write_text(made.config.to_json(), encoding="utf-8")
    save_preprocessing(aside / "model", made.packed)
    record = round_record(made, place, budget)
    (aside / "round.json").write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
    _sync_tree(aside)
    os.replace(aside, out)
    sync_directory(out.parent)
    return out


def _sync_tree(folder: Path) -> None:
    """Make every file the owner's alone and flush it with its directory."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.chmod(path, 0o600)
            with path.open("rb+") as handle:
                os.fsync(handle.fileno())
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        sync_directory(path)
