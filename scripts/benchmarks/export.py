"""How long an export of 1,494,950 cleaned labels takes, as CSV and as Parquet, and what memory it needs.

    miracl benchmark export

Each export runs in a process of its own (`export_writing`) on a workspace invented as for the store's benchmark, at a
sixteenth, a quarter and the full size. Nothing is asserted here: times hang on what else runs.
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

from audit_store.exports import FORMATS
from core.errors import RunError
from scripts.benchmarks.machine import ROOT, machine, now
from scripts.benchmarks.store import DECISIONS, PAIRS, QUICK_DECISIONS, QUICK_PAIRS, SHARES
from scripts.benchmarks.store_site import LABELS, fractions, invented_site
from scripts.benchmarks.written import quantile, told, write_benchmark

REPEATS = 5
ASKED = {"csv": 6.0, "parquet": 2.0}
"""Most seconds at the full size (issue 7), median of several."""

SCHEMA = pa.schema(
    [
        ("format", pa.string()),
        ("pairs", pa.int64()),
        ("number", pa.int64()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("manifest_seconds", pa.float64()),
        ("bytes", pa.int64()),
        ("idle_mib", pa.float64()),
        ("peak_mib", pa.float64()),
        ("load", pa.float64()),
        ("made_at", pa.string()),
    ]
)
"""Columns of ``export.parquet``; `manifest_seconds` from the profiled run, the last of each."""

Row = dict[str, Any]


def run(pairs: int = PAIRS, out: Path | None = None, *, quick: bool = False, say: Callable[[str], object]) -> str:
    """Measure at each share of the size, write the table with rows and machine, and give the table.

    Parameters
    ----------
    pairs
        The full size.
    out
        Folder of the results; None writes none.
    quick
        A tiny size that only shows that everything runs.
    say
        Told what is being done.
    """
    repeats, decisions = (1, QUICK_DECISIONS) if quick else (REPEATS, DECISIONS)
    pairs = min(pairs, QUICK_PAIRS) if quick else pairs
    rows: list[Row] = []
    functions: dict[str, dict[str, float]] = {}
    for stays in fractions(pairs, SHARES):
        with tempfile.TemporaryDirectory(prefix="miracl-export-") as aside:
            site = invented_site(Path(aside) / "workspace", stays, 1, decisions, say)
            for kind in FORMATS:
                say(f"{kind} of {stays * LABELS:,} labels …")
                found = [written(site.workspace.root, kind) for _ in range(repeats)]
                found.append(written(site.workspace.root, kind, profiled=True))
                functions[kind] = found[-1].pop("functions")
                rows += [_row(kind, stays * LABELS, number, **each) for number, each in enumerate(found, start=1)]
    packages = {name: version(name) for name in ("duckdb", "pyarrow")}
    about = {**machine(), **packages, "pairs": pairs, "decisions": decisions, "functions": functions}
    about["taken_at"] = now()
    table = markdown(rows, about)
    if out is not None:
        write_benchmark(out, "export", table, rows, about, SCHEMA)
    return table


def written(folder: Path, kind: str, profiled: bool = False) -> dict[str, Any]:
    """Export in a process of its own; RunError where it fails."""
    command = [sys.executable, "-m", "scripts.benchmarks.export_writing", str(folder), kind]
    more = ["--profile"] if profiled else []
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RunError("a process that exports", last[:200], "see what it says when started by hand")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _row(kind: str, pairs: int, number: int, **more: Any) -> Row:
    known = {"format": kind, "pairs": pairs, "number": number, **more, "load": getloadavg()[0], "made_at": now()}
    return {name: known.get(name) for name in SCHEMA.names}


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Write the table, and under it where the time of the largest went."""
    full = max((row["pairs"] for row in rows), default=0)
    lines = [
        f"One round, {about['decisions']:,} answers; {about['cpu']}, {about['cores']} cores, DuckDB {about['duckdb']}, "
        f"Arrow {about['pyarrow']}; commit {about['commit']}; {about['taken_at']}",
        "",
        "| format | labels | median | slowest | processor | manifest | bytes | memory at most | n | asked | met |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in FORMATS:
        for pairs in sorted({row["pairs"] for row in rows}):
            here = [row for row in rows if row["format"] == kind and row["pairs"] == pairs]
            plain = [row for row in here if row["manifest_seconds"] is None]
            manifest = [row["manifest_seconds"] for row in here if row["manifest_seconds"] is not None]
            seconds = [row["seconds"] for row in plain]
            asked = ASKED[kind] if pairs == full and kind in ASKED else None
            median = quantile(seconds, 0.5)
            lines.append(
                f"| {kind} | {pairs:,} | {median:.2f} s | {max(seconds, default=float('nan')):.2f} s | "
                f"{quantile([row['cpu_seconds'] for row in plain], 0.5):.2f} s | {quantile(manifest, 0.5):.3f} s | "
                f"{max((row['bytes'] for row in plain), default=0):,} | "
                f"{quantile([row['peak_mib'] for row in plain], 0.5):.0f} MiB | {len(plain)} | "
                f"{f'≤ {asked:.0f} s' if asked else '–'} | {told(median, asked)} |"
            )
    for kind, spent in about["functions"].items():
        words = ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
        lines += ["", f"Where the largest {kind} went, seconds with all that is called, profiled: {words}."]
    return "\n".join(lines)
