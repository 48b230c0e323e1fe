"""How long one epoch's selection and correction take, beside a plain restatement of the same.

    python -m scripts.benchmarks.select --stays 59798 --labels 25 --out workspace/benchmarks

draws probabilities that an epoch-wise learner of noisy labels might give, runs dynamics, ranks, 2L mixtures, partition
and correction on every epoch from the warm-up's end, and prints a Markdown table. The plain side is Python loops over
pairs and their whole history, on a subsample and scaled by the number of pairs, and one scikit-learn fit a group on all
pairs. Writes the table, the raw rows and the machine under `out`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from core.correction.cooccurrence import FilterConfig, cooccurrence, negative_filter
from core.correction.relabel import CorrectionConfig, corrected_labels, predicted_labels
from core.errors import ConfigError
from core.noise.injection import NoiseConfig, inject
from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.selection.mixture import MixtureConfig
from core.selection.partition import select
from core.training import choose_device
from scripts.benchmarks.machine import machine, now
from scripts.benchmarks.select_on_device import on_device
from scripts.benchmarks.select_ratios import (
    NOISE_STAYS,
    Ratio,
    dynamics_ratio,
    held,
    mixtures_ratio,
    noise_ratio,
)
from scripts.benchmarks.select_ratios import markdown as ratio_lines
from scripts.benchmarks.written import write_benchmark

PLAIN = Path(__file__).parents[2] / "tests" / "core" / "naive" / "selection.py"


@dataclass(frozen=True)
class Workload:
    """What is timed.

    Parameters
    ----------
    stays, labels, epochs
        Size; the paper's is 59,798 × 25 over 30 epochs.
    warm_up
        Epochs without correction; timing starts at the end of the last of them.
    mean_positives
        Labels per stay, 4.575 [MIMIC-IV phenotypes, paper].
    noise
        Symmetric noise rate.
    plain_stays
        Stays on which the loops of the plain side run.
    seed
        Of labels, noise and probabilities.
    """

    stays: int = 59_798
    labels: int = 25
    epochs: int = 30
    warm_up: int = 5
    mean_positives: float = 4.575
    noise: float = 0.2
    plain_stays: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """Recorded labels, and per epoch the three probabilities of each pair."""

    observed: np.ndarray
    epochs: Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]


def invented(load: Workload) -> Learned:
    """Labels at the paper's prevalence, and a learner that first learns, then slowly memorises."""
    rng = np.random.default_rng(load.seed)
    prevalence = rng.gamma(2.0, 1.0, load.labels)
    prevalence = np.clip(prevalence * load.mean_positives / prevalence.sum(), 0.02, 0.6)
    present = (rng.random((load.stays, load.labels)) < prevalence).astype(np.uint8)
    noise = NoiseConfig("symmetric", rate=load.noise)
    observed = inject(present, np.ones(present.shape, np.bool_), noise, noise.generator(load.seed)).observed
    learned = (3.0 * present - 1.5 + np.log(prevalence / (1 - prevalence))).astype(np.float32)
    memorised = 0.1 * observed.astype(np.float32) - 0.05

    def epochs() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        stream = np.random.default_rng(load.seed + 1)
        for t in range(1, load.epochs + 1):
            z = learned * np.float32(min(1.0, t / load.warm_up)) + memorised * np.float32(t)
            a, b, c = (1 / (1 + np.exp(-z - 0.8 * stream.standard_normal(z.shape, np.float32))) for _ in range(3))
            yield a, b, c

    return Learned(observed, epochs)


def ours(load: Workload, config: SelectionConfig, mixture: MixtureConfig) -> list[dict[str, Any]]:
    """Seconds of each part, for each epoch at whose end labels are corrected."""
    data = invented(load)
    observed, rows = data.observed, []
    member = np.ones(observed.shape, np.bool_)
    has = np.random.default_rng(load.seed).random((2, load.stays)) < 0.8
    base, correction = observed.astype(np.float32), CorrectionConfig()
    begin = time.perf_counter()
    eligible = negative_filter(observed, member, member, cooccurrence(observed, member), FilterConfig())
    once = time.perf_counter() - begin
    dynamics = LearningDynamics(observed.shape, config.dynamics_lag)
    for t, (p, p_series, p_note) in enumerate(data.epochs(), start=1):
        begin, worked = time.perf_counter(), time.process_time()
        dynamics.update(correct_predictions(p, observed))
        updated = time.perf_counter()
        if t < load.warm_up:
            continue
        found = select(p, observed, member, dynamics, config, mixture)
        selected = time.perf_counter()
        predicted = predicted_labels(p, p_series, p_note, has[0], has[1], correction)
        corrected_labels(base, predicted, found.uncertainty, observed, eligible, member, config=correction)
        ended = time.perf_counter()
        rows.append(
            {
                "metric": config.metric,
                "epoch": t,
                "seconds": ended - begin,
                "processor_seconds": time.process_time() - worked,
                "seconds_update": updated - begin,
                "seconds_select": selected - updated,
                "seconds_correct": ended - selected,
                "seconds_filter_once_a_round": once,
                "noisy": found.counts(member)["noisy"],
                "degenerate": int(found.mixtures.degenerate.sum()),
                "iterations": int(found.mixtures.iterations.sum()),
            }
        )
    return rows


def in_tensors(load: Workload, device: str) -> tuple[list[dict[str, Any]], str]:
    """The same in tensors on a device, once, on one thread as numpy's is where that is the CPU."""
    data = invented(load)
    observed, member = data.observed, np.ones(data.observed.shape, np.bool_)
    has = np.random.default_rng(load.seed).random((2, load.stays)) < 0.8
    eligible = negative_filter(observed, member, member, cooccurrence(observed, member), FilterConfig())
    threads, place = torch.get_num_threads(), choose_device(device)
    torch.set_num_threads(1 if place.type == "cpu" else threads)
    try:
        return on_device(observed, data.epochs(), load.warm_up, has, eligible, place)
    finally:
        torch.set_num_threads(threads)


def plain_module() -> Any:
    """Load the restatement from the project's tests, wherever the command is run."""
    spec = spec_from_file_location("plain_selection", PLAIN)
    if spec is None or spec.loader is None:
        raise ConfigError(f"the plain restatement at {PLAIN.name}", "no such file", "measure in a copy of the project")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(load: Workload) -> dict[str, float]:
    """Seconds of the last epoch's plain restatement: loops on a subsample, scaled, and library fits on all pairs."""
    naive = plain_module()
    data = invented(load)
    observed = data.observed
    some = slice(0, min(load.plain_stays, load.stays))
    scale = load.stays / len(observed[some])
    dynamics = LearningDynamics(observed.shape)
    history = []
    for p, _, _ in data.epochs():
        right = correct_predictions(p, observed)
        dynamics.update(right)
        history.append(right[some].copy())
    config = SelectionConfig()
    found = select(p, observed, np.ones(observed.shape, np.bool_), dynamics, config, MixtureConfig())
    y, member = observed[some], np.ones(observed[some].shape, np.bool_)
    marks = [time.perf_counter()]
    D = naive.difficulty(np.stack(history), "mean_seg")
    marks.append(time.perf_counter())
    Z = naive.metric(naive.ranks(p[some]), D, y, config.alpha, load.epochs, "class_oriented")
    naive.min_max(Z, y, member)
    marks.append(time.perf_counter())
    for label in range(load.labels):
        for kind in (0, 1):
            naive.library_mixture(found.score[observed[:, label] == kind, label])
    marks.append(time.perf_counter())
    U = np.zeros(y.shape)
    for (i, label), z in np.ndenumerate(found.score[some]):
        c = int(y[i, label])
        _, U[i, label] = naive.grade(z, found.mixtures.mean_clean[label, c], found.mixtures.mean_noisy[label, c])
    naive.corrected(y, p[some], U, member, member)
    marks.append(time.perf_counter())
    difficulty, score, mixtures, correction = np.diff(marks).tolist()
    return {
        "difficulty": difficulty * scale,
        "rank and score": score * scale,
        "mixtures": mixtures,
        "partition and correction": correction * scale,
    }


def ratios(load: Workload, repeats: int) -> tuple[list[Ratio], str]:
    """Each part against the plain restatement, `repeats` times in turn; RunError where both do not say the same."""
    naive, data, mixture = plain_module(), invented(load), MixtureConfig()
    observed = data.observed
    right = np.empty((load.epochs, *observed.shape), np.bool_)
    dynamics = LearningDynamics(observed.shape)
    for t, (p, _, _) in enumerate(data.epochs()):
        right[t] = correct_predictions(p, observed)
        dynamics.update(right[t])
    score = select(p, observed, np.ones(observed.shape, np.bool_), dynamics, SelectionConfig(), mixture).score
    found, note = [], ""
    for _ in range(repeats):
        found.append(dynamics_ratio(right, naive, load.plain_stays))
        for ratio, said in mixtures_ratio(score, observed, naive, mixture):
            found.append(ratio)
            note = note or said
        found.append(noise_ratio(observed, naive, NOISE_STAYS * load.plain_stays, load.seed))
    held(found)
    return found, note


SECONDS_ASKED = 0.3
"""Most seconds of selection and correction an epoch for 1,494,950 pairs (issue 7)."""
_NUMBERS = ("seconds", "processor_seconds", "seconds_update", "seconds_select", "seconds_correct")
SCHEMA = pa.schema(
    [
        ("repeat", pa.int64()),
        ("metric", pa.string()),
        ("epoch", pa.int64()),
        *((name, pa.float64()) for name in (*_NUMBERS, "seconds_filter_once_a_round")),
        *((name, pa.int64()) for name in ("noisy", "degenerate", "iterations")),
        ("part", pa.string()),
        *((name, pa.float64()) for name in ("ours", "plain", "apart")),
        ("plain_pairs", pa.int64()),
    ]
)
"""Columns of ``select.parquet``: an epoch a row, and a timing of both sides a row (`metric` is then ``ratio``)."""


def run(
    stays: int = 59_798,
    labels: int = 25,
    epochs: int = 30,
    repeats: int = 3,
    with_plain: bool = True,
    device: str = "auto",
    out: Path | None = Path("workspace/benchmarks"),
) -> str:
    """Measure, print the table and write it with the raw rows and the machine under `out`; give the table."""
    load = Workload(stays, labels, epochs)
    rows = []
    for config in (SelectionConfig(), SelectionConfig(metric="loss")):
        for repeat in range(repeats):
            rows += [{"repeat": repeat, **row} for row in ours(load, config, MixtureConfig())]
    placed, apart = in_tensors(load, device)
    rows += [{"repeat": 0, **row} for row in placed]
    restated = with_plain and PLAIN.is_file()
    by_loops = plain(load) if restated else {}
    both, note = ratios(load, repeats) if restated else ([], "")
    about = {**machine(), "stays": stays, "labels": labels, "epochs": epochs, "plain_seconds": by_loops}
    about["taken_at"] = now()
    told = f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, NumPy {about['numpy']}, scikit-learn "
    told += f"{about['sklearn']}; commit {about['commit']}; {about['taken_at']}"
    table = "\n".join([told, "", _table(load, rows, by_loops), "", apart])
    if both:
        table += "\n\n" + "\n".join([*ratio_lines(both, stays * labels), "", f"Mixtures: {note}."])
    elif with_plain:
        table += "\n\nPlain restatement left out: it lies in the project's tests, which this install lacks."
    print(table)
    if out is not None:
        rows += [{"repeat": i, "metric": "ratio", **asdict(ratio)} for i, ratio in enumerate(both)]
        filled = [{name: row.get(name) for name in SCHEMA.names} for row in rows]
        write_benchmark(out, "select", table, filled, about, SCHEMA)
    return table


def _table(load: Workload, rows: list[dict[str, Any]], by_loops: dict[str, float]) -> str:
    def seconds(metric: str, part: str, reduce: Callable[[list[float]], float] = statistics.median) -> float:
        return reduce([row[part] for row in rows if row["metric"] == metric])

    pairs = load.stays * load.labels
    lines = [
        f"{pairs:,} pairs ({load.stays:,} stays × {load.labels} labels), epochs {load.warm_up} to {load.epochs}; "
        "seconds an epoch, median over epochs and repeats (processor: time on a core, all threads)",
        "",
        "| score | dynamics' update | selection | correction | all | slowest epoch | processor |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = {"z": "Z: rank and difficulty", "loss": "loss, every value distinct"}
    kinds |= {row["metric"]: f"Z in tensors, {row['metric'][2:]}" for row in rows if row["metric"] not in kinds}
    for metric, name in kinds.items():
        parts = [seconds(metric, f"seconds_{p}") for p in ("update", "select", "correct")]
        figures = [*parts, seconds(metric, "seconds"), seconds(metric, "seconds", max)]
        figures.append(seconds(metric, "processor_seconds"))
        lines.append(f"| {name} | " + " | ".join(f"{f:.4f}" for f in figures) + " |")
    if by_loops:
        total, fast = sum(by_loops.values()), seconds("z", "seconds")
        used = min(load.plain_stays, load.stays)
        lines += [
            "",
            f"Plain restatement, epoch {load.epochs}: {total:.1f} s, {total / fast:,.0f} times as long. "
            + ", ".join(f"{name} {value:.1f}" for name, value in by_loops.items())
            + f" (mixtures measured on all pairs, the rest on {used} stays and scaled).",
        ]
    return "\n".join(lines)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stays", type=int, default=59_798)
    parser.add_argument("--labels", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto", help="of the row in tensors: auto, cpu or cuda")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain restatement out")
    parser.add_argument("--out", type=Path, default=Path("workspace/benchmarks"))
    given = parser.parse_args()
    run(given.stays, given.labels, given.epochs, given.repeats, not given.no_plain, given.device, given.out)


if __name__ == "__main__":
    main()
