"""The tables of `miracl benchmark scale`: time a stay and epoch by size, MIRACL's own share, and the profile."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pyarrow as pa

from scripts.benchmarks.scale_cohort import SHAPES
from scripts.benchmarks.scale_profile import CONTRAST, ORDER

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("shape", pa.string()),
        ("stays", pa.int64()),
        ("preset", pa.string()),
        ("epoch", pa.int64()),
        ("seconds", pa.float64()),
        ("own_seconds", pa.float64()),
        ("wall_seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("padding", pa.float64()),
        ("memory_mib", pa.float64()),
        ("test_map", pa.float64()),
        ("load", pa.float64()),
        ("made_at", pa.string()),
    ]
)
"""Columns of ``scale.parquet``, a row an epoch: `own_seconds` of selection and correction; wall, processor time and
peak memory are the run's, `padding` how many times the real tokens a batch's network sees."""
LINEAR = 0.10
MS_ASKED = {("hours48", "cpu"): 8.0}
"""Most milliseconds a stay and epoch (issue 7)."""


def a_stay(rows: Sequence[Row], preset: str) -> float:
    """Milliseconds a stay and epoch, the median of all epochs but the first; NaN where there is none."""
    chosen = [1000 * row["seconds"] / row["stays"] for row in rows if row["preset"] == preset and row["epoch"] > 1]
    return median(chosen) if chosen else float("nan")


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Write all: sizes, MIRACL's share, the profile."""
    lines = [
        f"{about['device']}; {about['cpu']}, {about['cores']} cores, {about['threads']} threads, PyTorch "
        f"{about['torch']}; data {about['resident']}, precision {about['precision']}"
        f"{', compiled' if about['compiled'] else ''}; {about['epochs']} epochs in batches of {about['batch']}; "
        f"commit {about['commit']}; {about['taken_at']}; load {_loads(rows)}",
    ]
    for name in dict.fromkeys(row["shape"] for row in rows):
        lines += ["", f"{name}: {SHAPES[name].words}.", "", *_sizes([r for r in rows if r["shape"] == name], about)]
    lines += ["", "Where a step's time goes, milliseconds a stay (share of the step):", "", *_profile(about)]
    return "\n".join(lines)


def _sizes(rows: Sequence[Row], about: Mapping[str, Any]) -> list[str]:
    lines = [
        "| stays | ms a stay and epoch | to the smallest | tokens with padding | processor, ms a stay and epoch | "
        "all epochs | selection and correction, s an epoch | of an epoch | backbone, ms | own share | memory | asked |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    first = float("nan")
    ours = next((row["preset"] for row in rows), "")
    for stays in sorted({row["stays"] for row in rows}):
        here = [row for row in rows if row["stays"] == stays]
        mine = [row for row in here if row["preset"] == ours]
        ms, plain = a_stay(here, ours), a_stay(here, "bce")
        first = ms if first != first else first
        own = [row["own_seconds"] for row in mine if row["own_seconds"] is not None]
        told = median(own) if own else float("nan")
        epoch = ms * stays / 1000
        cpu = 1000 * mine[0]["cpu_seconds"] / (stays * len(mine))
        kind = "cpu" if str(about["device"]).startswith("cpu") else "cuda"
        most = MS_ASKED.get((mine[0]["shape"], kind))
        asked = "–" if most is None else f"≤ {most:.0f} ms: {'yes' if ms <= most else 'no'}"
        lines.append(
            f"| {stays:,} | {ms:.2f} | {ms / first:.2f} | × {mine[0]['padding']:.2f} | {cpu:.2f} | "
            f"{mine[0]['wall_seconds']:.1f} s | {told:.3f} | {_share(told / epoch)} | {_number(plain)} | "
            f"{_share(ms / plain - 1)} | {mine[0]['memory_mib']:,.0f} MiB | {asked} |"
        )
    return lines


def _profile(about: Mapping[str, Any]) -> list[str]:
    profiles: Mapping[str, Mapping[str, float]] = about["profiles"]
    lines = ["| part | " + " | ".join(profiles) + " |", "|---" * (1 + len(profiles)) + "|"]
    whole = {name: sum(spent[part] for part in ORDER) for name, spent in profiles.items()}
    for part in (*ORDER, CONTRAST):
        cells = [f"{spent[part]:.3f} ({_share(spent[part] / whole[name])})" for name, spent in profiles.items()]
        lines.append(f"| {part.replace('_', ' ')} | " + " | ".join(cells) + " |")
    lines.append("| step | " + " | ".join(f"{seconds:.3f}" for seconds in whole.values()) + " |")
    return lines


def _share(value: float) -> str:
    return "–" if value != value else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def _loads(rows: Sequence[Row]) -> str:
    loads = [row["load"] for row in rows]
    return f"{min(loads):.1f}–{max(loads):.1f}" if loads else "–"
