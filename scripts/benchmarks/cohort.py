"""How long it takes to make a cohort of 300 million charted rows, and what memory and disk it needs.

    miracl benchmark cohort --scratch DIR

The rows are invented in published form (`cohort_invent`), and the cohort is built in a process of its own with a
temporary folder that is watched. Beside it: the published demos where they are, and discretising with one thread.
Nothing is asserted here: times hang on what else runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from os import getloadavg
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import RunError
from scripts.benchmarks.cohort_invent import bytes_needed, check_room, invent
from scripts.benchmarks.machine import ROOT, machine, now
from scripts.benchmarks.written import write_benchmark

ROWS = 300_000_000
QUICK_ROWS = 60_000
STAYS, QUICK_STAYS = 10_000, 200
DEMOS = {"eicu": "eicu-demo", "mimic3": "mimic-iii-demo", "mimic4": "mimic-iv-demo"}
"""Source and folder of the open demos."""
ASKED = {"generated": 720.0, "demo": 30.0, "memory": 4096.0, "discretise": 2000.0}
"""Most seconds at the full size, most seconds of a demo, most MiB, fewest stays a second a core (issue 6)."""
_LOOK_SECONDS = 0.5

SCHEMA = pa.schema(
    [
        ("what", pa.string()),
        ("source", pa.string()),
        ("rows", pa.int64()),
        ("packed", pa.bool_()),
        ("stays", pa.int64()),
        ("observations", pa.int64()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("peak_mib", pa.float64()),
        ("temporary_mib", pa.float64()),
        ("bytes", pa.int64()),
        ("load", pa.float64()),
        ("made_at", pa.string()),
    ]
)
"""Columns of ``cohort.parquet``; `what` is generated, build, demo or discretise."""

Row = dict[str, Any]


def run(
    rows: int = ROWS,
    out: Path | None = None,
    *,
    scratch: Path | None = None,
    demos: Path | None = None,
    packed: bool = False,
    quick: bool = False,
    say: Callable[[str], object],
) -> str:
    """Measure, write the table with rows and machine, and give the table.

    Parameters
    ----------
    rows
        Charted rows to invent.
    out
        Folder of the results; None writes none.
    scratch
        Where the rows and temporary files lie; the system's temporary folder when not given.
    demos
        Folder with the open demos under their usual names; those that are there are built too.
    packed
        Gzip the rows.
    quick
        A tiny size that only shows that everything runs.
    say
        Told what is being done, and beforehand what disk it takes.

    Raises
    ------
    RunError
        When the disk is too small, or a process fails.
    """
    rows, stays = (min(rows, QUICK_ROWS), QUICK_STAYS) if quick else (rows, STAYS)
    found: list[Row] = []
    stages: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="miracl-cohort-", dir=scratch) as name:
        place = Path(name)
        check_room(place, rows, packed)
        say(f"{rows:,} rows take about {bytes_needed(rows, packed) / 1e9:.1f} GB of disk in {place.parent.name or '/'}")
        started, processor = time.monotonic(), time.process_time()
        made = invent(place / "source", rows, packed=packed)
        spent = {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - processor}
        size = sum(path.stat().st_size for path in (place / "source").iterdir())
        found.append(_row("generated", "mimic3", rows=rows, packed=packed, stays=made, bytes=size, **spent))
        say(f"reading {size / 1e9:.1f} GB …")
        answer = measured(["build", "mimic3", str(place / "source"), str(place / "cohort")], place / "temporary")
        stages["mimic3"] = answer.pop("stages")
        found.append(_row("build", "mimic3", rows=rows, packed=packed, **answer))
        for source, folder in DEMOS.items():
            if demos is None or not (demos / folder).is_dir():
                continue
            say(f"the demo in {folder} …")
            target = place / f"demo-{source}"
            answer = measured(["build", source, str(demos / folder), str(target)], place / "temporary")
            stages[folder] = answer.pop("stages")
            found.append(_row("demo", source, **answer))
        say(f"discretising {stays:,} stays with one thread …")
        found.append(_row("discretise", "memory", **measured(["discretise", str(stays)], place / "temporary")))
    packages = {name: version(name) for name in ("duckdb", "pyarrow")}
    about = {**machine(), **packages, "rows": rows, "packed": packed, "stages": stages, "taken_at": now()}
    table = markdown(found, about)
    if out is not None:
        write_benchmark(out, "cohort", table, found, about, SCHEMA)
    return table


def measured(words: Sequence[str], temporary: Path) -> dict[str, Any]:
    """Run a measurement in a process of its own; its answer, with the most that its temporary folder held.

    Raises
    ------
    RunError
        When the process fails.
    """
    temporary.mkdir(exist_ok=True)
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") if words[0] == "discretise" else {}
    environment = {**os.environ, "TMPDIR": str(temporary), **one}
    most = 0
    with (
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as wrong,
        subprocess.Popen(
            [sys.executable, "-m", "scripts.benchmarks.cohort_building", *words],
            stdout=said,
            stderr=wrong,
            cwd=ROOT,
            env=environment,
        ) as process,
    ):
        while process.poll() is None:
            most = max(most, _size(temporary))
            time.sleep(_LOOK_SECONDS)
        said.seek(0)
        wrong.seek(0)
        if process.returncode:
            last = (wrong.read().strip().splitlines() or ["no word"])[-1]
            raise RunError("a process that builds", last[:200], "see what it says when started by hand")
        answer: dict[str, Any] = json.loads(said.read().splitlines()[-1])
    return {**answer, "temporary_mib": most / 2**20}


def _size(folder: Path) -> int:
    """Bytes that the files below a folder take on disk; what goes away meanwhile counts for nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


def _row(what: str, source: str, **more: Any) -> Row:
    known = {"what": what, "source": source, **more, "load": getloadavg()[0], "made_at": now()}
    return {name: known.get(name) for name in SCHEMA.names}


def markdown(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Write the table: what, how long, how fast, what memory and disk, what was asked."""
    lines = [
        f"{about['cpu']}, {about['cores']} cores, DuckDB {about['duckdb']}, Arrow {about['pyarrow']}; commit "
        f"{about['commit']}; {about['taken_at']}",
        "",
        "| what | size | seconds | processor | speed | memory at most | temporary files | load | asked |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row, about) for row in rows]
    for name, spent in about["stages"].items():
        words = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in spent.items())
        lines += ["", f"{name}, seconds: {words}."]
    return "\n".join(lines)


def _line(row: Row, about: dict[str, Any]) -> str:
    kind = "gzipped" if about["packed"] else "plain"
    full = about["rows"] >= ROWS
    if row["what"] == "generated":
        what, size, asked = f"rows invented, {kind}", f"{row['rows']:,} rows, {row['bytes'] / 1e9:.2f} GB", "–"
        speed = f"{row['rows'] / row['seconds'] / 1e6:.2f} M rows/s"
    elif row["what"] == "build":
        what, size = f"mimic3 cohort, {kind}", f"{row['rows']:,} rows → {row['observations']:,} values"
        speed = f"{row['rows'] / row['seconds'] / 1e6:.2f} M rows/s"
        asked = f"≤ {ASKED['generated']:.0f} s, ≤ {ASKED['memory']:.0f} MiB" if full else f"≤ {ASKED['memory']:.0f} MiB"
    elif row["what"] == "demo":
        what, size = f"demo, {row['source']}", f"{row['stays']:,} stays, {row['observations']:,} values"
        speed, asked = f"{row['observations'] / row['seconds'] / 1e6:.2f} M values/s", f"≤ {ASKED['demo']:.0f} s"
    else:
        what, size = "discretise and impute, 1 thread", f"{row['stays']:,} stays of 48 h, 17 channels"
        speed = f"{row['stays'] / row['cpu_seconds']:,.0f} stays/s of processor"
        asked = f"≥ {ASKED['discretise']:,.0f} stays/s"
    memory, temporary = (
        "–" if row[name] is None else f"{row[name]:,.0f} MiB" for name in ("peak_mib", "temporary_mib")
    )
    return (
        f"| {what} | {size} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} s | {speed} | {memory} | {temporary} | "
        f"{row['load']:.1f} | {asked} |"
    )
