"""One CSV file that a user gives, behind DuckDB: everything as text, and what is wrong told by file, column and row.

The published tables have readers of their own; this one takes files of any column names: label files, reports' labels.
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

MEMORY = "1GB"
"""What DuckDB may hold; the rest lies in a temporary folder."""
_LINE = re.compile(r"\bLine: (\d+)")
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def quoted(text: str) -> str:
    """Quote a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


class Reader:
    """A DuckDB connection for files that users give, and what a lenient reader left out of them.

    Parameters
    ----------
    lenient
        Set aside and count what can be set aside, instead of refusing it.

    Attributes
    ----------
    sql
        The connection.
    set_aside
        Reason, and how many rows.
    """

    def __init__(self, lenient: bool = False) -> None:
        self.lenient = lenient
        self.set_aside: dict[str, int] = {}
        self._spill = tempfile.TemporaryDirectory(prefix="miracl-labels-")
        self.sql = duckdb.connect(":memory:")
        self.sql.execute(f"SET temp_directory = {quoted(self._spill.name)}")
        self.sql.execute(f"SET memory_limit = {quoted(MEMORY)}")

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.sql.close()
        self._spill.cleanup()

    def refuse(self, expected: str, came: str, todo: str, rows: int) -> None:
        """Refuse what is wrong; a lenient reader counts it as `rows` set aside and goes on."""
        if not self.lenient:
            raise SourceError(expected, came, f"{todo}, or give --lenient to set them aside")
        self.set_aside[f"not {expected}: {came}"] = self.set_aside.get(f"not {expected}: {came}", 0) + rows

    def count(self, query: str) -> int:
        """Return the first number of a query's first row; 0 where it is null."""
        rows = self.sql.execute(query).fetchall()
        return int(rows[0][0]) if rows and rows[0][0] is not None else 0

    def load(self, path: Path, table: str, columns: Sequence[int] | None = None) -> list[str]:
        """Load a file into `table`: its row numbers (`line`; the header is row 1) and the columns c0, c1, … as text.

        Blanks at either end are gone, and empty cells are null.

        Parameters
        ----------
        columns
            Places of the columns to keep; None keeps all.

        Returns
        -------
        list of str
            The header's names as they stand.

        Raises
        ------
        SourceError
            On a file that is missing, empty, cut short, damaged, in another encoding or with another delimiter.
        """
        names = header(path)
        kept = range(len(names)) if columns is None else columns
        declared = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
        chosen = ", ".join(f"nullif(trim(c{place}), '') AS c{place}" for place in kept)
        lenient = ", ignore_errors = true, store_rejects = true" if self.lenient else ""
        try:
            self.sql.execute(
                f"CREATE OR REPLACE TABLE {table} AS SELECT row_number() OVER () + 1 AS line, {chosen} FROM read_csv("
                f"{quoted(str(path))}, columns = {{{declared}}}, header = true, auto_detect = false, delim = ',', "
                f"quote = '\"', escape = '\"', null_padding = false{lenient})"
            )
        except duckdb.Error as error:
            raise _damaged(path, str(error), len(names)) from None
        if self.lenient:
            self._count_rejects(path)
        if not self.count(f"SELECT count(*) FROM {table}"):
            raise SourceError(f"{path.name} with rows", "a header and nothing else", "give the whole file")
        return names

    def _count_rejects(self, path: Path) -> None:
        found = self.sql.execute("SELECT count(DISTINCT line), min(line) FROM reject_errors").fetchall()[0]
        if found[0]:
            self.refuse(f"lines of {path.name} with all their columns", f"first in line {found[1]}", "", int(found[0]))
            self.sql.execute("DELETE FROM reject_errors")
            self.sql.execute("DELETE FROM reject_scans")


def header(path: Path) -> list[str]:
    """Names of a CSV file's columns as they stand, blanks at either end gone.

    Raises
    ------
    SourceError
        When the file is missing, empty, can't be read, has another delimiter, or a name twice.
    """
    if not path.is_file():
        raise SourceError(f"the file {path.name}", "no such file", "name a CSV file that exists")
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
            names = [name.strip() for name in next(csv.reader(handle), [])]
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} in UTF-8", "another encoding", "save it in UTF-8") from None
    except (OSError, EOFError, csv.Error, zlib.error):
        raise SourceError(f"{path.name} as a CSV file", "one that can't be read", "give the file again") from None
    if not any(names):
        raise SourceError(f"{path.name} with a header", "an empty file", "give the whole file")
    if len(names) == 1 and (other := next((mark for mark in _MARKS if mark in names[0]), None)):
        raise SourceError(f"{path.name} with commas between its columns", _MARKS[other], "save it with commas")
    if len({name.lower() for name in names}) != len(names):
        raise SourceError(f"{path.name} with each column once", "a repeated column name", "leave one of them out")
    return names


def _damaged(path: Path, message: str, columns: int) -> SourceError:
    line = _LINE.search(message)
    at = f", first in line {line.group(1)}" if line else ""
    todo = "give the file again, or --lenient to set such lines aside"
    if "GZIP" in message or "Input is not" in message:
        return SourceError(f"{path.name} as a whole gzip file", "one that is cut short", "give the file again")
    if "nicode" in message or "utf-8" in message:
        return SourceError(f"{path.name} in UTF-8", f"another encoding{at}", "save it in UTF-8")
    return SourceError(f"{path.name} as a CSV file with {columns} columns", f"one that is damaged{at}", todo)
