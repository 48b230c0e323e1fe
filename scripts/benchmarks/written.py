"""A single benchmark's table, raw rows and machine, each written aside and renamed; and what memory a process holds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import RunError
from core.fileio import replacing


def write_benchmark(
    out: Path,
    name: str,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    schema: pa.Schema | None = None,
) -> None:
    """Write ``NAME.md``, ``NAME.parquet`` and ``NAME.json`` into a folder.

    Parameters
    ----------
    out
        The folder; made where it is not there.
    name
        Of the benchmark.
    table
        Markdown.
    rows
        What was measured, a mapping each.
    about
        Machine, versions and options, JSON-able.
    schema
        Of the rows; from their values where not given.

    Raises
    ------
    RunError
        When the folder can't be written in.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / f"{name}.md") as path:
            path.write_text(table + "\n", encoding="utf-8")
        with replacing(out / f"{name}.parquet") as path:
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), path, compression="zstd")
        with replacing(out / f"{name}.json") as path:
            path.write_text(json.dumps(dict(about), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise RunError(f"a folder to write in at {out}", came, "name another with --out") from None


def memory_mib(process: int | str = "self") -> float:
    """Memory that a process holds now, MiB: its resident set; NaN where the system does not tell."""
    return _status(process, "VmRSS")


def peak_mib(process: int | str = "self") -> float:
    """Most memory that a process has held since it was started, MiB; unlike getrusage, not what its parent had."""
    return _status(process, "VmHWM")


def _status(process: int | str, name: str) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), float("nan"))


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile of values, linear between neighbours; NaN where there are none."""
    return float(np.quantile(np.asarray(values, np.float64), share)) if len(values) else float("nan")


def told(value: float, most: float | None = None) -> str:
    """``yes`` or ``no`` where a value is held against the most that was asked; a dash where there is nothing to say."""
    if most is None or np.isnan(value):
        return "–"
    return "yes" if value <= most else "no"
