"""How long the store takes at MIMIC's size: a round written, the queue, the counts, and what memory it holds.

    miracl benchmark store

invents rounds of 1,494,950 pairs, ten of them in one workspace, and the same at a sixteenth and a quarter; queries run
in a process of their own (`store_serving`), which opens the store as the app does. Nothing is asserted here: times hang
on what else runs.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from os import getloadavg
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import RunError
from scripts.benchmarks.machine import ROOT, machine, now
from scripts.benchmarks.store_site import LABELS, Written, fractions, invented_site
from scripts.benchmarks.written import quantile, told, write_benchmark

PAIRS = 1_494_950
SHARES = (1 / 16, 1 / 4, 1.0)
DECISIONS = 3_000
QUICK_PAIRS, QUICK_ROUNDS, QUICK_DECISIONS, QUICK_REPEATS = 10_000, 2, 40, 1
REPEATS = 8
MIB = 1 << 20

SCHEMA = pa.schema(
    [
        ("measure", pa.string()),
        ("pairs", pa.int64()),
        ("rounds", pa.int64()),
        ("number", pa.int64()),
        ("milliseconds", pa.float64()),
        ("cpu_ms", pa.float64()),
        ("mib", pa.float64()),
        ("load", pa.float64()),
        ("made_at", pa.string()),
    ]
)
"""Columns of ``store.parquet``. `number` 0 of a query is its first, caches cold; it is in no percentile."""

WRITE, HELD, PEAK, FILE = "a round written", "memory held", "memory at most", "a round's file"
ASKED: dict[str, tuple[float, float]] = {
    WRITE: (0.5, 5_000.0),
    "queue of one label": (0.95, 10.0),
    "queue of all": (0.95, 50.0),
    "items of the queue counted": (0.95, 60.0),
    "counts by label and state": (0.95, 60.0),
}
"""The share of the quantile that is held against a most, and the most in milliseconds (issue 7), full size."""
MEMORY_MIB = 1024.0

Row = dict[str, Any]


def run(
    pairs: int = PAIRS,
    rounds: int = 10,
    out: Path | None = None,
    *,
    quick: bool = False,
    say: Callable[[str], object],
) -> str:
    """Measure at each share of the size, write the table with rows and machine, and give the table.

    Parameters
    ----------
    pairs, rounds
        The full size.
    out
        Folder of the results; None writes none.
    quick
        A tiny size that only shows that everything runs.
    say
        Told what is being done.
    """
    decisions, repeats = DECISIONS, REPEATS
    if quick:
        pairs, rounds = min(pairs, QUICK_PAIRS), min(rounds, QUICK_ROUNDS)
        decisions, repeats = QUICK_DECISIONS, QUICK_REPEATS
    rows: list[Row] = []
    for stays in fractions(pairs, SHARES):
        with tempfile.TemporaryDirectory(prefix="miracl-store-") as aside:
            rows += _at(Path(aside), stays, rounds, decisions, repeats, say)
    about = {**machine(), "duckdb": version("duckdb"), "pairs": pairs, "rounds": rounds, "decisions": decisions}
    about["taken_at"] = now()
    table = markdown(rows, about)
    if out is not None:
        write_benchmark(out, "store", table, rows, about, SCHEMA)
    return table


def _at(aside: Path, stays: int, rounds: int, decisions: int, repeats: int, say: Callable[[str], object]) -> list[Row]:
    pairs = stays * LABELS
    site = invented_site(aside / "workspace", stays, rounds, decisions, say)
    rows = [_written(written, pairs, rounds) for written in site.written]
    rows += [_row(FILE, pairs, rounds, written.round_id, mib=written.bytes / MIB) for written in site.written]
    say(f"queries on {rounds} rounds of {pairs:,} pairs …")
    served = serve(site.workspace.root, repeats)
    rows += [_row(row.pop("measure"), pairs, rounds, row.pop("number"), **row) for row in served["rows"]]
    rows.append(_row(HELD, pairs, rounds, 1, mib=served["held_mib"]))
    rows.append(_row(PEAK, pairs, rounds, 1, mib=served["peak_mib"]))
    return rows


def serve(folder: Path, repeats: int) -> dict[str, Any]:
    """Time the queries in a process of its own; RunError where it fails."""
    command = [sys.executable, "-m", "scripts.benchmarks.store_serving", str(folder), "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RunError("a process that serves the store", last[:200], "see what it says when started by hand")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _written(written: Written, pairs: int, rounds: int) -> Row:
    took = {"milliseconds": 1000 * written.seconds, "cpu_ms": 1000 * written.cpu_seconds}
    return _row(WRITE, pairs, rounds, written.round_id, **took)


def _row(measure: str, pairs: int, rounds: int, number: int, **more: Any) -> Row:
    known = {"measure": measure, "pairs": pairs, "rounds": rounds, "number": number, **more}
    known |= {"load": getloadavg()[0], "made_at": now()}
    return {name: known.get(name) for name in SCHEMA.names}


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Write the table: a line a measure and size, what was asked of the full one, and how it grew."""
    full = max((row["pairs"] for row in rows), default=0)
    lines = [
        f"{about['rounds']} rounds, {about['decisions']:,} answers in the store; {about['cpu']}, {about['cores']} "
        f"cores, Python {about['python']}, DuckDB {about['duckdb']}; commit {about['commit']}; {about['taken_at']}; "
        f"load {_loads(rows)}",
        "",
        "| what | pairs a round | p50 | p95 | first | processor (p50) | n | asked | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for measure, (share, most) in ASKED.items():
        for pairs in sorted({row["pairs"] for row in rows}):
            chosen = [row for row in rows if row["measure"] == measure and row["pairs"] == pairs]
            times = [row["milliseconds"] for row in chosen if row["number"] > 0]
            first = [row["milliseconds"] for row in chosen if row["number"] == (1 if measure == WRITE else 0)]
            asked = most if pairs == full else None
            words = f"p{100 * share:.0f} ≤ {_ms(most)}" if asked is not None else "–"
            lines.append(
                f"| {measure} | {pairs:,} | {_ms(quantile(times, 0.5))} | {_ms(quantile(times, 0.95))} | "
                f"{_ms(max(first, default=float('nan')))} | {_ms(quantile([r['cpu_ms'] for r in chosen], 0.5))} | "
                f"{len(times)} | {words} | {told(quantile(times, share), asked)} |"
            )
    for measure in (FILE, HELD, PEAK):
        for pairs in sorted({row["pairs"] for row in rows}):
            values = [row["mib"] for row in rows if row["measure"] == measure and row["pairs"] == pairs]
            asked = MEMORY_MIB if pairs == full and measure == PEAK else None
            words = f"≤ {MEMORY_MIB:.0f} MiB" if asked is not None else "–"
            middle = quantile(values, 0.5)
            lines.append(f"| {measure} | {pairs:,} | {middle:.0f} MiB | – | – | – | {len(values)} | {words} | ")
            lines[-1] += f"{told(middle, asked)} |"
    return "\n".join(lines)


def _ms(value: float) -> str:
    if value != value:
        return "–"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.1f} ms"


def _loads(rows: Sequence[Row]) -> str:
    loads = [row["load"] for row in rows]
    return f"{min(loads):.1f}–{max(loads):.1f}" if loads else "–"
