"""What a cohort is like, in counts: who is in it, its labels, what was measured and noted; nothing that names a person.

DuckDB reads the Parquet tables as a stream, so that size shows in time and not in memory. A count that fewer patients
than `min_cell` stand behind is not given, and neither is a share that it would follow from.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from core.cohort.describe_counts import Counts
from core.cohort.describe_page import page
from core.cohort.sources.mimic_tables import MEMORY, quoted
from core.cohort.store import read_manifest
from core.errors import CohortError, ConfigError
from core.fileio import replacing

MIN_CELL = 10
"""Fewest patients behind a count that is shown, when nothing else is asked for."""
HOURS = 48
"""Hours of the stay that coverage is shown for, where the cohort has no cut-off."""
_TABLES = ("stays", "observations", "notes", "labels")


def describe(cohort: Path, out: Path, *, min_cell: int = MIN_CELL) -> Path:
    """Write a page about a cohort: one HTML file that needs neither server nor network.

    Parameters
    ----------
    cohort
        The cohort's folder.
    out
        The page; replaced only once the new one is complete.
    min_cell
        Counts of fewer patients than this are not shown; 1 shows all.

    Returns
    -------
    Path
        The page, absolute.

    Raises
    ------
    CohortError
        When the folder holds no cohort, or a table is missing or can't be read.
    """
    manifest = read_manifest(cohort)
    found = measure(cohort, manifest, min_cell=min_cell)
    target = out.expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as aside:
        aside.write_text(page(manifest, found), encoding="utf-8")
    return target


def measure(cohort: Path, manifest: Mapping[str, Any], *, min_cell: int = MIN_CELL) -> dict[str, Any]:
    """Count what the page shows.

    Returns
    -------
    dict
        `min_cell`, `hours`, and a part for each section; counts that may not be shown are None.

    Raises
    ------
    CohortError
        When a table is missing or can't be read.
    ConfigError
        When `min_cell` is below 1.
    """
    if min_cell < 1:
        raise ConfigError("a smallest cell of 1 patient or more", str(min_cell), "give a number such as 10")
    for name in _TABLES:
        if not (cohort / f"{name}.parquet").is_file():
            raise CohortError(f"{name}.parquet in the cohort", "no such file", "build the cohort again")
    cutoff = manifest.get("cutoff_hours")
    hours = max(1, int(min(cutoff or HOURS, HOURS)))
    with tempfile.TemporaryDirectory(prefix="miracl-describe-") as spill, duckdb.connect(":memory:") as sql:
        sql.execute(f"SET temp_directory = {quoted(spill)}")
        sql.execute(f"SET memory_limit = {quoted(MEMORY)}")
        sql.execute(f"SET threads = {max(1, min(4, os.cpu_count() or 1))}")
        try:
            for name in _TABLES:
                source = quoted(str(cohort / f"{name}.parquet"))
                sql.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({source})")
            return Counts(sql, manifest, min_cell, hours).all()
        except (duckdb.IOException, duckdb.InvalidInputException):
            raise CohortError(
                "the cohort's tables as Parquet files", "one cut short or damaged", "build the cohort again"
            ) from None
