"""`miracl benchmark trust`: every promise of the README's Trust section, tried to break, in one table.

The workspaces, servers and databases it harms are made in a scratch folder and thrown away; no other workspace is
touched.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from core.errors import RunError
from core.fileio import replacing
from scripts.benchmarks.machine import machine, now
from scripts.benchmarks.trust_frame import Line, Size, run_parts

SCHEMA = pa.schema(
    [
        ("size", pa.string()),
        ("part", pa.string()),
        ("promise", pa.string()),
        ("asked", pa.string()),
        ("found", pa.string()),
        ("passed", pa.bool_()),
        ("measured", pa.bool_()),
        ("counterexample", pa.string()),
        ("made_at", pa.string()),
        ("machine", pa.string()),
    ]
)
PACKAGES = ("miracl-audit", "sqlalchemy", "duckdb", "streamlit", "pyarrow")


def run(names: Sequence[str], size: Size, out: Path, console: Console) -> list[Line]:
    """Run parts, print the table, and write it with its rows and the machine under `out`.

    Parameters
    ----------
    names
        Parts of `trust_frame.PARTS`.
    size
        How much is tried.
    out
        Folder of ``trust.md``, ``trust.parquet`` and ``trust.json``; made where it is missing.
    console
        Where progress and the table are shown.

    Returns
    -------
    list of Line
        One a promise.

    Raises
    ------
    RunError
        When the folder can't be written in; nothing is tried then.
    """
    _check_folder(out)
    scratch = Path(tempfile.mkdtemp(prefix="miracl-trust-"))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=None)
            part = ""

            def begin(name: str) -> None:
                nonlocal part
                part = name
                progress.update(task, description=name)

            def say(words: str) -> None:
                progress.update(task, description=f"{part}: {words}")

            lines = run_parts(size, scratch, say, names, begin)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    about = {**machine(), **{name: version(name) for name in PACKAGES}, "size": asdict(size), "made_at": now()}
    console.print(table(lines))
    console.print(summary(lines), markup=False)
    write(out, lines, about)
    return lines


def _check_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise RunError(f"a folder to write in at {out}", came, "name another with --out") from None


def failed(lines: Sequence[Line]) -> list[Line]:
    """Lines that were tried and did not hold."""
    return [line for line in lines if line.measured and not line.passed]


def verdict(line: Line) -> str:
    """Give one word: pass, FAIL or not measured."""
    if not line.measured:
        return "not measured"
    return "pass" if line.passed else "FAIL"


def table(lines: Sequence[Line]) -> Table:
    """Lay the lines out for a terminal."""
    shown = Table(title="Trust", title_justify="left", show_lines=False)
    for heading in ("part", "promise", "asked", "found", "result"):
        shown.add_column(heading, overflow="fold")
    colour = {"pass": "green", "FAIL": "bold red", "not measured": "yellow"}
    for line in lines:
        word = verdict(line)
        shown.add_row(line.part, line.promise, line.asked, line.found, Text(word, style=colour[word]))
        if line.counterexample is not None:
            shown.add_row("", Text(f"first counterexample: {line.counterexample}", style="red"), "", "", "")
    return shown


def summary(lines: Sequence[Line]) -> str:
    """Say in one line how many held."""
    held = sum(line.measured and line.passed for line in lines)
    open_ones = sum(not line.measured for line in lines)
    words = f"{held} of {len(lines)} promises held"
    if failed(lines):
        words += f"; {len(failed(lines))} did not"
    return words + (f"; {open_ones} could not be measured here." if open_ones else ".")


def markdown(lines: Sequence[Line], about: dict[str, Any]) -> str:
    """Give the table in Markdown, with the machine under it."""
    rows = ["| part | promise | asked | found | result |", "|---|---|---|---|---|"]
    for line in lines:
        word = verdict(line)
        if line.counterexample is not None:
            word += f": {line.counterexample}"
        cells = (line.part, line.promise, line.asked, line.found, word)
        rows.append("| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |")
    told = ", ".join(f"{name} {about[name]}" for name in ("cpu", "cores", "python", *PACKAGES, "commit"))
    return "\n".join([*rows, "", summary(lines), f"Made {about['made_at']} ({about['size']['name']}): {told}.", ""])


def write(out: Path, lines: Sequence[Line], about: dict[str, Any]) -> None:
    """Write table, rows and machine beside each other."""
    told = json.dumps(about, indent=2)
    rows = [
        {**asdict(line), "size": about["size"]["name"], "made_at": about["made_at"], "machine": told} for line in lines
    ]
    with replacing(out / "trust.md") as path:
        path.write_text(markdown(lines, about), encoding="utf-8")
    with replacing(out / "trust.parquet") as path:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression="zstd")
    with replacing(out / "trust.json") as path:
        path.write_text(told + "\n", encoding="utf-8")
