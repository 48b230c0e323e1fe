"""One measurement of `miracl benchmark cohort`, in a process of its own: its answer is the last line, in JSON.

python -m scripts.benchmarks.cohort_building build mimic3 FOLDER TARGET
python -m scripts.benchmarks.cohort_building discretise STAYS
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.cohort.channels import MODEL_CHANNELS, manifest_channels
from core.cohort.discretise import SeriesConfig, pack_series
from core.cohort.store import Cohort
from scripts.benchmarks.written import peak_mib

HOURS = 48
MEASURED = 0.5
"""Share of the hours in which a channel of the invented stays has a value."""
REPEATS = 3


def building(source: str) -> Callable[..., dict[str, Any]]:
    """Give the source's function."""
    from core.cohort.sources.eicu import build_eicu
    from core.cohort.sources.mimic3 import build_mimic3
    from core.cohort.sources.mimic4 import build_mimic4

    sources: dict[str, Callable[..., dict[str, Any]]] = {
        "eicu": build_eicu,
        "mimic3": build_mimic3,
        "mimic4": build_mimic4,
    }
    return sources[source]


def build(source: str, folder: Path, target: Path) -> dict[str, Any]:
    """Build a cohort and say what it took, stage by stage."""
    said: list[tuple[str, float]] = []

    def say(stage: str) -> None:
        said.append((stage, time.monotonic()))

    started, processor = time.monotonic(), time.process_time()
    manifest = building(source)(folder, target, progress=say)
    said.append(("end", time.monotonic()))
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - processor,
        "peak_mib": peak_mib(),
        "stays": manifest["counts"]["stays"],
        "observations": manifest["counts"]["observations"],
        "bytes": sum(path.stat().st_size for path in target.iterdir()),
        "stages": {stage: after - at for (stage, at), (_, after) in pairwise(said)},
    }


def invented_cohort(stays: int, seed: int = 0) -> Cohort:
    """Give stays of 48 hours in memory: each of the 17 channels has a value in half of the hours."""
    rng = np.random.default_rng(seed)
    grid = rng.random((stays, HOURS, len(MODEL_CHANNELS))) < MEASURED
    row, hour, channel = np.nonzero(grid)
    low, high = (np.array([c.plausible[i] for c in MODEL_CHANNELS]) for i in (0, 1))
    scored = np.array([c.codes is not None for c in MODEL_CHANNELS])
    drawn = low[channel] + rng.random(len(row)) * (high - low)[channel]
    value = np.where(scored[channel], np.floor(drawn), drawn).astype(np.float32)
    names = np.array([c.name for c in MODEL_CHANNELS])
    observations = pa.table(
        {
            "stay_id": pa.array(row.astype(np.int64)),
            "hour": pa.array((hour + rng.random(len(row)) * 0.99).astype(np.float32)),
            "channel": pa.array(names[channel]),
            "value": pa.array(value),
            "category": pa.nulls(len(row), pa.string()),
        }
    )
    table = pa.table(
        {
            "stay_id": pa.array(np.arange(stays, dtype=np.int64)),
            "los_hours": pa.array(np.full(stays, 72.0)),
            "split": pa.array(np.where(np.arange(stays) % 5 == 0, "test", "train")),
        }
    )
    manifest = {"channels": manifest_channels(), "cutoff_hours": float(HOURS), "labels": [], "primary_source": "icd"}
    return Cohort(Path(), manifest, table, observations, pa.table({}), pa.table({}))


def discretise(stays: int) -> dict[str, Any]:
    """Bin, impute, normalise and pack the stays, several times; the median."""
    cohort = invented_cohort(stays)
    spent: list[tuple[float, float]] = []
    for _ in range(REPEATS):
        started, processor = time.monotonic(), time.process_time()
        pack_series(cohort, SeriesConfig())
        spent.append((time.process_time() - processor, time.monotonic() - started))
    cpu, wall = sorted(spent)[len(spent) // 2]
    held = cohort.observations.num_rows
    return {"seconds": wall, "cpu_seconds": cpu, "peak_mib": peak_mib(), "stays": stays, "observations": held}


def main(words: list[str]) -> int:
    """Do what the words say."""
    if words[:1] == ["discretise"]:
        answer = discretise(int(words[1]))
    else:
        answer = build(words[1], Path(words[2]), Path(words[3]))
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
