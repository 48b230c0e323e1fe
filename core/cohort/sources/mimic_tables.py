"""Reading published files (MIMIC's; eICU's in `eicu_tables`): DuckDB over the raw CSV with bounded memory.

Every column arrives as text and is cast by `TRY_CAST`, so that what does not belong is found and named by file, column
and row, never by its contents. A strict reader refuses the first thing that is wrong. A lenient one sets the rows
aside that can be set aside and counts them; a file that is missing, empty, cut short or lacks a column is refused by
both.
"""

import csv
import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from core.errors import SourceError

AGAIN = "download the file again, or name the folder that holds the published files"
MEMORY = "2GB"
"""What DuckDB may hold; the rest lies, compressed, in a temporary folder."""
_LINE = re.compile(r"CSV Error on Line: (\d+)")
_NAMED = 5
"""So many columns are named in a message; of more, their number is told."""


def quoted(text: str) -> str:
    """Quote a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def listed(values: Iterable[int]) -> str:
    """Write numbers as an SQL list of texts."""
    return ", ".join(f"'{value}'" for value in sorted(set(values))) or "''"


def _few(columns: Sequence[str]) -> str:
    """Name columns in a message; of many, the first few and how many more."""
    return ", ".join(columns[:_NAMED]) + (f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else "")


def _named(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        path.name.lower().removesuffix(".gz").removesuffix(".csv"): path
        for path in sorted(folder.iterdir(), reverse=True)
        if path.name.lower().endswith((".csv", ".csv.gz"))
    }


class MimicTables:
    """Folders of published MIMIC tables behind one DuckDB connection.

    Parameters
    ----------
    folder
        The published folder; tables are looked for in it and in `parts` below it.
    product
        Name of the database, for messages.
    parts
        Names of sub-folders (``hosp``, ``icu``).
    notes
        A second folder with the notes' tables, where they are published apart.
    lenient
        Set aside and count what can be set aside, instead of refusing it.
    capitals
        The published names are in capitals; messages then name a missing file so.

    Attributes
    ----------
    sql
        The connection.
    read
        Files read so far, as named in the folder.
    set_aside
        What a lenient reader left out: reason, and how many rows.

    Raises
    ------
    SourceError
        When a folder does not exist.
    """

    def __init__(
        self,
        folder: Path,
        product: str,
        *,
        parts: tuple[str, ...] = (),
        notes: Path | None = None,
        lenient: bool = False,
        capitals: bool = False,
    ) -> None:
        if not folder.is_dir():
            raise SourceError(f"a folder of {product} tables", "no such folder", "name the folder of the download")
        if notes is not None and not notes.is_dir():
            raise SourceError(f"a folder of {product} notes", "no such folder", "name the folder of the notes")
        self.folder, self.product, self.lenient, self._capitals = folder, product, lenient, capitals
        self._files: dict[str, Path] = {}
        places = [folder, *(folder / part for part in parts)]
        places += [notes, notes / "note"] if notes is not None else []
        for place in places:
            self._files = {**_named(place), **self._files}
        self._roots = [root for root in (folder, notes) if root is not None]
        self.read: list[str] = []
        self.set_aside: dict[str, int] = {}
        self._spill = tempfile.TemporaryDirectory(prefix="miracl-source-")
        self.sql = duckdb.connect(str(Path(self._spill.name) / "work.duckdb"))
        self.sql.execute(f"SET temp_directory = {quoted(self._spill.name)}")
        self.sql.execute(f"SET memory_limit = {quoted(MEMORY)}")
        self.sql.execute(f"SET threads = {max(1, min(4, os.cpu_count() or 1))}")

    def close(self) -> None:
        """Close the connection and remove what DuckDB put on disk."""
        self.sql.close()
        self._spill.cleanup()

    def has(self, table: str) -> bool:
        """Whether a folder holds the table, as .csv or .csv.gz."""
        return table.lower() in self._files

    def require(self, table: str, why: str) -> None:
        """Raise a `SourceError` when the table is absent."""
        if not self.has(table):
            name = table.upper() if self._capitals else table
            raise SourceError(f"{name}.csv or {name}.csv.gz ({why})", "neither in the folder", AGAIN)

    def file(self, table: str) -> str:
        """Name the table's file as the user knows it: below the folder."""
        path = self._files[table.lower()]
        return next((str(path.relative_to(root)) for root in self._roots if path.is_relative_to(root)), path.name)

    def refuse(self, expected: str, came: str, todo: str, *, rows: int = 0) -> None:
        """Refuse what is wrong; a lenient reader counts it as `rows` set aside and goes on."""
        if not self.lenient:
            raise SourceError(expected, came, f"{todo}, or build with --lenient to set them aside")
        self.set_aside[f"not {expected}: {came}"] = self.set_aside.get(f"not {expected}: {came}", 0) + rows

    def header(self, table: str) -> list[str]:
        """Column names of a table, in small letters.

        Raises
        ------
        SourceError
            When the file is empty, can't be read, or has another delimiter.
        """
        name, path = self.file(table), self._files[table.lower()]
        opened = gzip.open if path.name.lower().endswith(".gz") else open
        try:
            with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
                names = next(csv.reader(handle), [])
        except UnicodeDecodeError:
            raise SourceError(f"{name} in UTF-8", "another encoding", AGAIN) from None
        except (OSError, EOFError, csv.Error, zlib.error):
            raise SourceError(f"{name} as a CSV file", "one that can't be read", AGAIN) from None
        if not names or not "".join(names).strip():
            raise SourceError(f"{name} with a header", "an empty file", AGAIN)
        if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
            mark = {";": "semicolons", "\t": "tabs", "|": "bars"}[other]
            raise SourceError(f"{name} with commas between its columns", mark, "save it with commas, as published")
        found = [column.strip().lower() for column in names]
        if len(set(found)) != len(found):
            raise SourceError(f"{name} with each column once", "a repeated column name", AGAIN)
        return found

    def look(self, tables: Iterable[str]) -> None:
        """Read the headers of those tables that are there: a file that can't be read is told before hours are spent."""
        for table in tables:
            if self.has(table):
                self.header(table)

    def rows(self, table: str, needed: Sequence[str], optional: Iterable[str] = ()) -> str:
        """Write SQL of a table's rows as text, blanks at either end gone and empty cells null.

        Parameters
        ----------
        needed
            Columns that must be there.
        optional
            Columns that are null where the file has none of that name.

        Raises
        ------
        SourceError
            On a missing column.
        """
        name, names = self.file(table), self.header(table)
        missing = [column for column in needed if column not in names]
        if missing:
            raise SourceError(
                f"{name} with columns {_few(needed)}",
                f"none named {_few(missing)} in a header of {len(names)}",
                "use the published table, or rename its columns",
            )
        if name not in self.read:
            self.read.append(name)
        declared = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in names)
        chosen = [f"nullif(trim({c}), '') AS {c}" for c in needed]
        chosen += [f"nullif(trim({c}), '') AS {c}" if c in names else f"NULL::VARCHAR AS {c}" for c in optional]
        lenient = ", ignore_errors = true, store_rejects = true" if self.lenient else ""
        path = quoted(str(self._files[table.lower()]))
        return (
            f"SELECT {', '.join(chosen)} FROM read_csv({path}, columns = {{{declared}}}, "
            f"header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
            f"null_padding = false{lenient})"
        )

    def create(self, name: str, query: str, table: str, *, ordered: bool = False) -> int:
        """Create a table from a query over `rows(table)`; return its number of rows.

        Parameters
        ----------
        ordered
            Keep the file's order, which takes more memory.

        Raises
        ------
        SourceError
            On a file that is cut short or damaged, with the line where it can be told.
        """
        try:
            self.sql.execute(f"SET preserve_insertion_order = {'true' if ordered else 'false'}")
            # The file, first in the query, has to stream past the small tables that it is joined to: how many rows it
            # holds can't be estimated, and a join turned round would lay them all in memory.
            self.sql.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
        except duckdb.OutOfMemoryException:
            raise SourceError(
                f"room for {self.file(table)}", f"more than {MEMORY} needed", "free disk space for temporary files"
            ) from None
        except duckdb.Error as error:
            raise self._damaged(table, str(error)) from None
        finally:
            self.sql.execute("RESET disabled_optimizers")
        self._count_rejects(table)
        return self.count(f"SELECT count(*) FROM {name}")

    def _damaged(self, table: str, message: str) -> SourceError:
        name, line = self.file(table), _LINE.search(message)
        if "GZIP" in message or "Input is not" in message:
            return SourceError(f"{name} as a whole gzip file", "one that is cut short or damaged", AGAIN)
        at = f", first in line {line.group(1)}" if line else ""
        if "nicode" in message or "utf-8" in message:
            return SourceError(f"{name} in UTF-8", f"another encoding{at}", AGAIN)
        columns = len(self.header(table))
        return SourceError(f"{name} as a CSV file with {columns} columns", f"one that is damaged{at}", AGAIN)

    def _count_rejects(self, table: str) -> None:
        """Count the lines that a lenient reader could not read as rows."""
        if not self.lenient:
            return
        found = self.sql.execute("SELECT count(DISTINCT line), min(line) FROM reject_errors").fetchall()[0]
        if found[0]:
            what = f"not lines of {self.file(table)} with all their columns: damaged, first in line {found[1]}"
            self.set_aside[what] = self.set_aside.get(what, 0) + int(found[0])
            self.sql.execute("DELETE FROM reject_errors")
            self.sql.execute("DELETE FROM reject_scans")

    def load(
        self,
        table: str,
        *,
        text: tuple[str, ...] = (),
        numbers: tuple[str, ...] = (),
        times: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
    ) -> int:
        """Load a short table under its own name, with its row numbers (`line`; the header is row 1).

        Parameters
        ----------
        text, numbers, times
            Columns kept as text, cast to 64-bit integers, cast to timestamps.
        optional
            Those of `text` that may be absent.

        Returns
        -------
        int
            Number of rows in the file.

        Raises
        ------
        SourceError
            On a missing column, a cell of another type, or a header and nothing else.
        """
        needed = [c for c in (*text, *numbers, *times) if c not in optional]
        source = self.rows(table, needed, optional)
        casts = [*text]
        casts += [f"TRY_CAST(TRY_CAST({c} AS DOUBLE) AS BIGINT) AS {c}" for c in numbers]
        casts += [f"TRY_CAST({c} AS TIMESTAMP) AS {c}" for c in times]
        checks = {c: f"{c} IS NOT NULL AND TRY_CAST({c} AS DOUBLE) IS NULL" for c in numbers}
        checks |= {c: f"{c} IS NOT NULL AND TRY_CAST({c} AS TIMESTAMP) IS NULL" for c in times}
        flags = [f"({check}) AS bad_{column}" for column, check in checks.items()]
        query = f"SELECT row_number() OVER () + 1 AS line, {', '.join([*casts, *flags])} FROM ({source})"
        count = self.create(table, query, table, ordered=True)
        if not count:
            raise SourceError(f"{self.file(table)} with rows", "a header and nothing else", AGAIN)
        for column in checks:
            kind = "numbers" if column in numbers else "times"
            self.only(table, f"NOT bad_{column}", f"{kind} in {self.file(table)}, column {column}", "other text")
            self.sql.execute(f"ALTER TABLE {table} DROP COLUMN bad_{column}")
        return count

    def only(self, table: str, condition: str, expected: str, came: str, todo: str = "mend those rows") -> None:
        """Refuse a loaded table that has rows beside a condition; a lenient reader deletes them."""
        bad = self.count(f"SELECT count(*) FROM {table} WHERE NOT coalesce({condition}, false)")
        if bad:
            first = self.count(f"SELECT min(line) FROM {table} WHERE NOT coalesce({condition}, false)")
            self.refuse(expected, f"{came} in {bad} rows, first in row {first}", todo, rows=bad)
            self.sql.execute(f"DELETE FROM {table} WHERE NOT coalesce({condition}, false)")

    def unique(self, table: str, key: str) -> None:
        """Refuse a repeated key; a lenient reader keeps its first row."""
        later = f"line NOT IN (SELECT min(line) FROM {table} GROUP BY {key})"
        bad = self.count(f"SELECT count(*) FROM {table} WHERE {later}")
        if bad:
            first = self.count(f"SELECT min(line) FROM {table} WHERE {later}")
            self.refuse(
                f"one row per {key} in {self.file(table)}",
                f"{bad} rows too many, first in row {first}",
                "remove the repeated rows",
                rows=bad,
            )
            self.sql.execute(f"DELETE FROM {table} WHERE {later}")

    def stream(self, query: str, schema: pa.Schema, rows: int) -> pa.RecordBatchReader:
        """Give the rows of a query in a schema, `rows` at a time, while other queries go on."""
        found = self.sql.cursor().sql(query).to_arrow_reader(rows)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in found:
                yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

        return pa.RecordBatchReader.from_batches(schema, batches())

    def lookup(self, name: str, columns: Mapping[str, Sequence[object]]) -> None:
        """Put a small dictionary of columns into a table."""
        self.sql.register("given", pa.table(dict(columns)))
        self.sql.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM given")
        self.sql.unregister("given")

    def count(self, query: str) -> int:
        """Return the first number of a query's first row; 0 where it is null."""
        rows = self.sql.execute(query).fetchall()
        return int(rows[0][0]) if rows and rows[0][0] is not None else 0
