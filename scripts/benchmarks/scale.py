"""How training grows with the data: a stay's milliseconds an epoch at parts of MIMIC-IV's size, and where they go.

    miracl benchmark scale --fraction 1/64,1/16
    python -m scripts.benchmarks.scale --fraction 1 --device cuda --epochs 30

needs PyTorch, NumPy, Arrow and scikit-learn alone. MIRACL and its backbone (plain cross-entropy, same network) are run
on the same invented cohort (`scale_cohort`) through the loop that trains rounds, selection, correction and test metrics
in each epoch. Their difference is MIRACL's own share; selection and correction are timed inside it too.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from os import getloadavg
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from core.batching import plan_batches
from core.cohort.tensors import PackedCohort
from core.config import TrainConfig, make_config
from core.errors import ConfigError
from core.execution import Execution
from core.fit import fit
from core.locks import Pairs, lay_on_pairs
from core.methods.base import EpochEnd, Setting
from core.methods.miracl import Miracl
from core.methods.registry import make_method
from core.resident import bytes_of, feeds
from core.training import choose_device
from scripts.benchmarks.machine import device_name, machine, now
from scripts.benchmarks.scale_cohort import SHAPES, STAYS, Shape, invented
from scripts.benchmarks.scale_profile import profile
from scripts.benchmarks.scale_tables import SCHEMA, Row, markdown
from scripts.benchmarks.written import write_benchmark

BATCH = 128
EPOCHS_CPU, EPOCHS_CUDA = 4, 30
_LEAST = 160
PROFILED = 12
"""Batches of the profile, the first two not counted."""
BACKBONE, OURS = "bce", "paper"
_MIB = 1 << 20


def config_of(preset: str, epochs: int, quick: bool) -> TrainConfig:
    """Options of a run: the paper's sizes and batch; the regression beside the network is left out."""
    more: dict[str, Any] = {"optim.epochs": epochs, "optim.batch": BATCH, "correction.leave_alone": False}
    more["optim.warm_up"] = min(5, max(1, epochs - 2))
    if quick:
        more |= {"model.hidden": 16, "model.ffn": 32, "model.fusion_layers": 1, "optim.batch": 32}
    return make_config(preset, "paper", **more)


@contextmanager
def own_seconds() -> Iterator[list[float]]:
    """Collect the seconds of each epoch's selection and correction."""
    plain, spent = Miracl.end_epoch, list[float]()

    def timed(self: Miracl, t: int, end: EpochEnd) -> None:
        begun = time.perf_counter()
        plain(self, t, end)
        if t >= self.config.optim.warm_up:
            spent.append(time.perf_counter() - begun)

    with patch.object(Miracl, "end_epoch", timed):
        yield spent


def run(
    fractions: tuple[Fraction, ...] = (Fraction(1, 64), Fraction(1, 16)),
    shapes: tuple[str, ...] = ("hours48", "paper"),
    out: Path | None = None,
    *,
    device: str = "auto",
    epochs: int | None = None,
    execution: Execution | None = None,
    backbone: bool = True,
    quick: bool = False,
    say: Callable[[str], object] = print,
) -> str:
    """Measure each fraction of the paper's stays in each shape, write table, rows and machine, and give the table.

    Parameters
    ----------
    fractions
        Parts of 59,798 stays.
    shapes
        Names of `SHAPES`.
    out
        Folder of the results; None writes none.
    device
        ``auto``, ``cpu`` or ``cuda``.
    epochs
        Of each run; 4 on CPU, 30 on CUDA where not given.
    execution
        Where data lie, precision, compilation.
    backbone
        Also train the backbone, for MIRACL's own share.
    quick
        A tiny network on few stays that only shows that everything runs.
    say
        Told what is being done.

    Raises
    ------
    ConfigError
        On a shape that is none, or a fraction outside (0, 1].
    """
    unknown = set(shapes) - set(SHAPES)
    if unknown or not all(0 < fraction <= 1 for fraction in fractions):
        raise ConfigError(f"shapes of {', '.join(SHAPES)} and fractions above 0 up to 1", "others", "mend them")
    place, how = choose_device(device), execution or Execution()
    count = epochs or (EPOCHS_CUDA if place.type == "cuda" else EPOCHS_CPU)
    rows: list[Row] = []
    profiles: dict[str, dict[str, float]] = {}
    for name in shapes:
        for stays in sorted({_LEAST if quick else max(_LEAST, int(STAYS * fraction)) for fraction in fractions}):
            say(f"{stays:,} stays, {SHAPES[name].words} …")
            begun = time.perf_counter()
            packed = invented(stays, SHAPES[name])
            pairs = lay_on_pairs(packed, None)
            say(f"{bytes_of(packed) / 2**30:.2f} GiB of inputs in {time.perf_counter() - begun:.0f} s")
            for preset in (OURS, BACKBONE) if backbone else (OURS,):
                rows += _trained(packed, pairs, preset, count, place, how, quick, SHAPES[name], say)
            where = _profiled(packed, pairs, config_of(OURS, count, quick), place, how)
            profiles[f"{name}, {stays:,} stays"] = where
    about = {
        **machine(), "device": device_name(place.type), "threads": torch.get_num_threads(), "epochs": count,
        "batch": BATCH, "resident": how.resident, "precision": how.precision, "compiled": how.compiled,
        "profiles": profiles, "taken_at": now(),
    }  # fmt: skip
    table = markdown(rows, about)
    if out is not None:
        write_benchmark(out, "scale" if place.type == "cpu" else "scale-cuda", table, rows, about, SCHEMA)
    return table


def _trained(
    packed: PackedCohort,
    pairs: Pairs,
    preset: str,
    epochs: int,
    place: torch.device,
    execution: Execution,
    quick: bool,
    shape: Shape,
    say: Callable[[str], object],
) -> list[Row]:
    """Train once and give a row an epoch."""
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    begun, worked = time.perf_counter(), time.process_time()
    with own_seconds() as own:
        fitted = fit(packed, pairs, config_of(preset, epochs, quick), seed=30, place=place, execution=execution)
    assert fitted is not None
    wall, cpu = time.perf_counter() - begun, time.process_time() - worked
    stays = len(packed.stay_ids)
    say(f"  {preset}: {wall:.1f} s, {cpu:.1f} s of processor time")
    late = [None] * (epochs - len(own)) + list(own)
    memory = torch.cuda.max_memory_allocated(place) / _MIB if place.type == "cuda" else _resident_mib()
    shared = {"shape": shape.name, "stays": stays, "preset": preset, "wall_seconds": wall, "cpu_seconds": cpu}
    shared["padding"] = padding(packed, planned(packed, pairs, config_of(preset, epochs, quick)))
    return [
        {
            **shared, "epoch": row["epoch"], "seconds": row["seconds"], "own_seconds": late[i], "memory_mib": memory,
            "test_map": row["test_map"], "load": getloadavg()[0], "made_at": now(),
        }
        for i, row in enumerate(fitted.rows)
    ]  # fmt: skip


def planned(packed: PackedCohort, pairs: Pairs, config: TrainConfig) -> list[np.ndarray]:
    """Give the batches of the first epoch."""
    rows, optim = np.flatnonzero(pairs.training), config.optim
    return plan_batches(
        rows, packed.series_lengths, packed.note_lengths, packed.patient_ids, size=optim.batch_size(len(rows)),
        seed=30, epoch=1, sampler=optim.sampler, group_size=optim.group_size, bucket_steps=optim.bucket_steps,
    )  # fmt: skip


def padding(packed: PackedCohort, batches: list[np.ndarray]) -> float:
    """How many times the stays' own hours and note tokens the batches hold, each padded to its longest stay."""
    series, notes = packed.series_lengths, packed.note_lengths
    held = sum(len(rows) * int(series[rows].max() + notes[rows].max()) for rows in batches)
    return held / sum(int(series[rows].sum() + notes[rows].sum()) for rows in batches)


def _resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else _MIB)


def _profiled(
    packed: PackedCohort, pairs: Pairs, config: TrainConfig, place: torch.device, execution: Execution
) -> dict[str, float]:
    setting = Setting(config, packed, pairs, place, 30, execution=execution)
    torch.manual_seed(30)
    method = make_method(setting)
    model = method.network().to(place)
    method.begin_epoch(1)
    batches = planned(packed, pairs, config)
    feed, _ = feeds(packed, place, execution, alone=True)
    return profile(method, model, feed, batches[:PROFILED])


def fractions_in(text: str) -> tuple[Fraction, ...]:
    """Read ``1/64,1/16``.

    Raises
    ------
    ConfigError
        Where a part is no fraction.
    """
    try:
        return tuple(Fraction(part.strip()) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise ConfigError("fractions such as 1/64,1/16", "another form", "mend --fraction") from None


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fraction", default="1/64,1/16", help="parts of 59,798 stays")
    parser.add_argument("--shape", default="hours48,paper", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--resident", default="auto")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--no-backbone", action="store_true", help="leave the backbone, and MIRACL's share, out")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("workspace/benchmarks"))
    given = parser.parse_args()
    execution = Execution(given.resident, given.precision, given.compiled)
    table = run(
        fractions_in(given.fraction), tuple(given.shape.split(",")), given.out, device=given.device,
        epochs=given.epochs, execution=execution, backbone=not given.no_backbone, quick=given.quick,
    )  # fmt: skip
    print(table)


if __name__ == "__main__":
    main()
