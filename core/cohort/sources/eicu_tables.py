"""Reading the published eICU files: header, types, numbers, duplicates; DuckDB in memory, everything read as text.

Every column arrives as text and is cast by `TRY_CAST`, so that text where a number belongs is found and refused with
its column's name, and never with its contents.
"""

import csv
import gzip
import re
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import duckdb

from core.errors import SourceError

_HINT = "download the eICU folder again, or name the folder that holds the published files"
_NAMED = 5
"""So many columns are named in a message; of more, their number is told."""
_LARGEST_ID, _LARGEST = 2.0**63, 1e30
_OTHERS = ("text", "NaN or infinity", "fractions or numbers too large")
_LINE = re.compile(r"\bLine: (\d+)")


def quoted(text: str) -> str:
    """Quote a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _listed(names: Sequence[str]) -> str:
    """Name columns in a message; of many, the first few and how many more."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _is_id(column: str) -> bool:
    """Whether a column of numbers holds keys, which have no fractions."""
    return column.endswith("id")


def _whole(column: str, number: str) -> str:
    """Give SQL of whether a finite number may stand in a column: keys are whole, nothing is beyond a float's reach."""
    if _is_id(column):
        return f"({number} = floor({number}) AND abs({number}) < {_LARGEST_ID!r})"
    return f"abs({number}) < {_LARGEST!r}"


class RawFolder:
    """A folder of published eICU tables behind one in-memory DuckDB connection.

    Parameters
    ----------
    folder
        Folder with `patient.csv` or `patient.csv.gz` and the other published tables.

    Attributes
    ----------
    sql
        The connection; `load` puts typed tables into it under the published names.

    Raises
    ------
    SourceError
        When the folder does not exist or holds no patient table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise SourceError("a folder of eICU tables", "no such folder", "name the folder that holds patient.csv.gz")
        self._files = {
            path.name.lower().removesuffix(".gz").removesuffix(".csv"): path
            for path in sorted(folder.iterdir(), reverse=True)
            if path.name.lower().endswith((".csv", ".csv.gz"))
        }
        if "patient" not in self._files:
            raise SourceError(
                "an eICU folder with patient.csv or patient.csv.gz",
                f"{len(self._files)} CSV files, none of that name",
                "name the folder that holds the published eICU tables",
            )
        self.sql = duckdb.connect(":memory:")
        self._spill = tempfile.TemporaryDirectory(prefix="miracl-eicu-")
        self.sql.execute(f"SET temp_directory = {quoted(self._spill.name)}")
        self.read: list[str] = []

    def close(self) -> None:
        """Close the connection, forget its tables and remove what DuckDB put on disk for want of memory."""
        self.sql.close()
        self._spill.cleanup()

    def has(self, table: str) -> bool:
        """Whether the folder holds `table`.csv or `table`.csv.gz."""
        return table.lower() in self._files

    def require(self, table: str, why: str) -> None:
        """Raise a `SourceError` when `table` is absent."""
        if not self.has(table):
            raise SourceError(f"{table}.csv or {table}.csv.gz ({why})", "neither in the folder", _HINT)

    def header(self, table: str) -> list[str]:
        """Column names of a table, in lower case.

        Raises
        ------
        SourceError
            When the file is empty or can't be read.
        """
        path = self._files[table.lower()]
        opened = gzip.open if path.name.lower().endswith(".gz") else open
        try:
            with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
                names = next(csv.reader(handle), [])
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error):
            raise SourceError(f"{path.name} as a CSV file", "one that can't be read", _HINT) from None
        if not names:
            raise SourceError(f"{path.name} with a header", "an empty file", _HINT)
        return [name.strip().lower() for name in names]

    def load(
        self,
        table: str,
        text: tuple[str, ...] = (),
        numbers: tuple[str, ...] = (),
        *,
        rows: bool = False,
        where: str = "true",
    ) -> int:
        """Load columns of a table into the connection, under the table's name.

        Parameters
        ----------
        table
            Published name; a published id column among `text` or `numbers` is kept as named.
        text
            Columns kept as text; blanks at either end go, empty becomes null.
        numbers
            Columns cast to double; empty becomes null.
        rows
            Refuse a file that has a header and nothing else.
        where
            SQL over the file's columns as text: other rows are neither kept nor checked.

        Returns
        -------
        int
            Number of rows.

        Raises
        ------
        SourceError
            On a missing column, text or NaN or infinity where a number belongs, a file without rows, or one cut
            short.
        """
        path = self._files[table.lower()]
        names = self.header(table)
        missing = [column for column in (*text, *numbers) if column not in names]
        if missing:
            raise SourceError(
                f"{path.name} with the published columns, commas between them",
                f"none named {_listed(missing)} in a header of {len(names)}",
                "use the published table, or rename its columns",
            )
        declared = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
        clean = [f"nullif(trim({column}), '') AS {column}" for column in text]
        clean += [f"TRY_CAST(nullif(trim({column}), '') AS DOUBLE) AS {column}" for column in numbers]
        clean += [
            f"nullif(trim({column}), '') IS NOT NULL AND TRY_CAST({column} AS DOUBLE) IS NULL AS bad_{column}"
            for column in numbers
        ]
        source = (
            f"read_csv({quoted(str(path))}, columns = {{{declared}}}, header = true, auto_detect = false, delim = ',', "
            "quote = '\"', escape = '\"', null_padding = false)"
        )
        try:
            self.sql.execute(
                f"CREATE OR REPLACE TABLE {table} AS SELECT {', '.join(clean)} FROM {source} WHERE {where}"
            )
        except duckdb.Error as error:
            line = _LINE.search(str(error))
            came = f"one that is damaged or cut short{f', at line {line.group(1)}' if line else ''}"
            raise SourceError(f"{path.name} as a CSV file with {len(names)} columns", came, _HINT) from None
        self.read.append(path.name)
        checks = ["count(*)"]
        for column in numbers:
            whole = _whole(column, column)
            checks += [
                f"count(*) FILTER (bad_{column})",
                f"count(*) FILTER (NOT isfinite({column}))",
                f"count(*) FILTER (NOT ({whole}))",
            ]
        counts = self.one(f"SELECT {', '.join(checks)} FROM {table}")
        for column, *found in zip(numbers, counts[1::3], counts[2::3], counts[3::3], strict=True):
            kept = "whole numbers" if _is_id(column) else "numbers in reach"
            for kind, came, count in zip(("numbers", "finite numbers", kept), _OTHERS, found, strict=True):
                if count:
                    row = self._first_row(source, where, column)
                    raise SourceError(
                        f"{kind} in {path.name}, column {column}",
                        f"{came} in {int(count)} rows{f', first in row {row}' if row else ''}",
                        "correct or empty those cells",
                    )
            self.sql.execute(f"ALTER TABLE {table} DROP COLUMN bad_{column}")
        if rows and not counts[0]:
            raise SourceError(f"{path.name} with rows", "a header and nothing else", _HINT)
        return int(counts[0])

    def _first_row(self, source: str, where: str, column: str) -> int | None:
        """Count, from 1, to the first row after the header whose cell is not what the column needs."""
        number = f"TRY_CAST({column} AS DOUBLE)"
        good = f"coalesce(isfinite({number}) AND {_whole(column, number)}, false)"
        try:
            found = self.sql.execute(
                f"SELECT min(line) FROM (SELECT row_number() OVER () AS line, * FROM {source}) "
                f"WHERE ({where}) AND nullif(trim({column}), '') IS NOT NULL AND NOT {good}"
            ).fetchone()
        except duckdb.Error:
            return None
        return int(found[0]) if found and found[0] is not None else None

    def load_optional(
        self, table: str, text: tuple[str, ...], numbers: tuple[str, ...] = (), where: str = "true"
    ) -> bool:
        """Load a table if the folder has it; return whether it has."""
        if not self.has(table):
            return False
        self.load(table, text, numbers, where=where)
        return True

    def one(self, query: str) -> tuple[float, ...]:
        """Return the first row of a query that returns counts."""
        rows = self.sql.execute(query).fetchall()
        return tuple(0 if value is None else value for value in rows[0]) if rows else ()
