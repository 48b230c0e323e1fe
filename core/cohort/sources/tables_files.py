"""Opening a hospital's own tables: CSV, Parquet, tables of a DuckDB or SQLite database, or a glob of files.

Every column arrives as text and is cast by `TRY_CAST`, as `MimicTables` does it, so that the same data gives the same
cohort from any kind of file, and what does not belong is named by file, column and row.
"""

import csv
import glob
import gzip
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from core.cohort.mapping import FileSpec
from core.cohort.mapping_reader import nearest
from core.cohort.sources.mimic_tables import MimicTables, quoted
from core.errors import SourceError

_AGAIN = "write the file again, or mend the mapping"
_MARKS = {";": "semicolon", "\t": "tab", "|": "bar", ",": "comma"}
_BATCH = 1 << 16
_GZIP = b"\x1f\x8b"
_PARQUET = (".parquet", ".pq")
_DATABASES = (".duckdb", ".ddb", ".sqlite", ".sqlite3", ".db")


def name_sql(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class MappedTables(MimicTables):
    """The files of a mapping behind one DuckDB connection; a table is named by its place in the mapping.

    Parameters
    ----------
    folder
        What the mapping's paths are below.
    product
        The cohort's name.
    lenient
        Set aside and count what can be set aside.
    limit
        Read at most so many rows of a table; None: all of it.
    """

    def __init__(self, folder: Path, product: str, *, lenient: bool = False, limit: int | None = None) -> None:
        super().__init__(folder, product, lenient=lenient)
        self.limit = limit
        self._specs: dict[str, FileSpec] = {}
        self._columns: dict[str, dict[str, str]] = {}
        self._parts: dict[str, list[Path]] = {}
        self._bases: dict[str, list[str]] = {}

    def open(self, name: str, spec: FileSpec) -> None:
        """Find a table's files and look at its columns; nothing of it is read yet.

        Raises
        ------
        SourceError
            When there is no such file, it can't be read as what its name says, or it lacks a column of the mapping.
        """
        self._specs[name] = spec
        if not spec.file:
            self._parts[name], names = [], self._described(name, f"SELECT * FROM {name_sql(spec.table)}")
            self._bases[name] = [f"SELECT * FROM {name_sql(spec.table)}"]
        else:
            self._parts[name] = self._found(spec)
            names = self.header(name)
        by_small = {column.lower(): column for column in names}
        for role, column in spec.columns.items():
            if column.lower() not in by_small:
                raise SourceError(
                    f"column {column} ({role} of {spec.where}) in {self.file(name)}",
                    f"none of that name: {nearest(column, names)}".rstrip(": "),
                    "mend the mapping, or the file's header",
                )
        self._columns[name] = {role: by_small[column.lower()] for role, column in spec.columns.items()}

    def _found(self, spec: FileSpec) -> list[Path]:
        path = self.folder / Path(spec.file).expanduser()
        paths = [path]
        if any(mark in spec.file for mark in "*?["):
            paths = [self.folder / text for text in sorted(glob.glob(spec.file, root_dir=self.folder, recursive=True))]
        if not paths or not all(one.is_file() for one in paths):
            near = nearest(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise SourceError(
                f"{spec.file} (file of {spec.where})",
                f"no such file {near}".strip(),
                "mend the path: it is below the mapping",
            )
        return paths

    def has(self, table: str) -> bool:
        """Whether a table was opened."""
        return table in self._specs

    def file(self, table: str) -> str:
        """Name the table's file as the mapping does."""
        spec = self._specs[table]
        return f"{spec.file}, table {spec.table}" if spec.file and spec.table else spec.file or spec.where

    def header(self, table: str) -> list[str]:
        """Column names of a table; of several files, those that all have.

        Raises
        ------
        SourceError
            When a file is empty, can't be read, or has another delimiter.
        """
        spec = self._specs[table]
        parts = []
        names: list[str] = []
        for place, path in enumerate(self._parts[table]):
            kind = path.name.lower()
            if kind.endswith((".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")):
                found, base = self._csv(path, spec)
            elif kind.endswith(_PARQUET):
                base = f"SELECT * FROM read_parquet({quoted(str(path))})"
                found = self._described(table, base)
            elif kind.endswith(_DATABASES):
                base = self._database(table, path, place)
                found = self._described(table, base)
            else:
                raise SourceError(
                    f"{spec.file} as .csv, .tsv, .csv.gz, .parquet, .duckdb or .sqlite", "another ending", "rename it"
                )
            if names and {n.lower() for n in names} != {n.lower() for n in found}:
                raise SourceError(f"{spec.file} with the same columns in every file", f"others in {path.name}", _AGAIN)
            names = names or found
            parts.append(base)
        self._bases[table] = parts
        return names

    def _csv(self, path: Path, spec: FileSpec) -> tuple[list[str], str]:
        name, delimiter = path.name, "\t" if ".tsv" in path.name.lower() and spec.delimiter == "," else spec.delimiter
        packed = name.lower().endswith(".gz")
        try:
            with path.open("rb") as raw:
                start = raw.read(2)
            if packed and start and start != _GZIP:
                raise SourceError(f"{name} as a gzip file", "one that is not packed", "take .gz off its name")
            opened = gzip.open if packed else open
            encoding = "utf-8-sig" if spec.encoding == "utf-8" else spec.encoding
            with opened(path, "rt", encoding=encoding, newline="") as handle:
                names = [column.strip() for column in next(csv.reader(handle, delimiter=delimiter), [])]
        except UnicodeError:
            raise SourceError(
                f"{name} in {spec.encoding.upper()}",
                "another encoding",
                'write encoding = "latin-1", or save it as UTF-8',
            ) from None
        except (OSError, EOFError, csv.Error):
            raise SourceError(f"{name} as a CSV file", "one that can't be read or is cut short", _AGAIN) from None
        if not "".join(names):
            raise SourceError(f"{name} with a header", "an empty file", _AGAIN)
        if len(names) == 1 and (other := next((mark for mark in _MARKS if mark in names[0]), None)):
            todo = f'write delimiter = "{_MARKS[other]}" in {spec.where} or [files]'
            raise SourceError(f"{name} with {_MARKS[delimiter]}s between its columns", f"{_MARKS[other]}s", todo)
        if len({column.lower() for column in names}) != len(names):
            raise SourceError(f"{name} with each column once", "a repeated column name", _AGAIN)
        declared = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in names)
        lenient = ", ignore_errors = true, store_rejects = true" if self.lenient else ""
        return names, (
            f"SELECT * FROM read_csv({quoted(str(path))}, columns = {{{declared}}}, header = true, "
            f"auto_detect = false, delim = {quoted(delimiter)}, quote = '\"', escape = '\"', "
            f"encoding = {quoted(spec.encoding)}, null_padding = false{lenient})"
        )

    def _database(self, table: str, path: Path, place: int) -> str:
        spec = self._specs[table]
        if not spec.table:
            raise SourceError(f"table in {spec.where}", "none", f"say which table of {path.name} is meant")
        with path.open("rb") as handle:
            lite = handle.read(15) == b"SQLite format 3"
        if lite:
            return self._sqlite(path, spec, f"{table} {place} of sqlite")
        alias = name_sql(f"{table} {place}")
        try:
            self.sql.execute(f"ATTACH IF NOT EXISTS {quoted(str(path))} AS {alias} (READ_ONLY)")
        except duckdb.Error:
            raise SourceError(
                f"{path.name} as a database", "one that can't be opened, or is in use", "close it elsewhere"
            ) from None
        return f"SELECT * FROM {alias}.{'.'.join(name_sql(part) for part in spec.table.split('.'))}"

    def _sqlite(self, path: Path, spec: FileSpec, copy: str) -> str:
        """Copy a table's columns as text: DuckDB's own reader of SQLite is a download that may not be there."""
        wanted = ", ".join(
            f"CAST({name_sql(c)} AS TEXT) AS {name_sql(c)}" for c in dict.fromkeys(spec.columns.values())
        )
        # SQLite reads a quoted name that is no column as a text, so the columns are looked up first.
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({name_sql(spec.table)})")]
            if not names:
                raise SourceError(f"table {spec.table} in {path.name}", "none of that name", "mend the mapping")
            if any(c.lower() not in {n.lower() for n in names} for c in spec.columns.values()):
                return f"SELECT {', '.join(f'NULL AS {name_sql(n)}' for n in names)}"
            cursor = connection.execute(f"SELECT {wanted} FROM {name_sql(spec.table)}")
            schema = pa.schema([(c, pa.string()) for c in dict.fromkeys(spec.columns.values())])
            self.sql.register("given", schema.empty_table())
            self.sql.execute(f"CREATE OR REPLACE TABLE {name_sql(copy)} AS SELECT * FROM given")
            while batch := cursor.fetchmany(_BATCH):
                columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
                self.sql.register("given", pa.table(columns, schema))
                self.sql.execute(f"INSERT INTO {name_sql(copy)} SELECT * FROM given")
        except sqlite3.Error:
            raise SourceError(f"{path.name} as a database", "one that is damaged", _AGAIN) from None
        finally:
            connection.close()
        return f"SELECT * FROM {name_sql(copy)}"

    def _described(self, table: str, base: str) -> list[str]:
        try:
            return [str(row[0]) for row in self.sql.execute(f"DESCRIBE {base}").fetchall()]
        except duckdb.CatalogException:
            raise SourceError(
                f"table {self._specs[table].table} in {self._specs[table].file}",
                "none of that name",
                "mend the mapping",
            ) from None
        except duckdb.Error as error:
            raise self._damaged(table, str(error)) from None

    def _damaged(self, table: str, message: str) -> SourceError:
        if any(path.name.lower().endswith(_PARQUET) for path in self._parts[table]):
            return SourceError(f"{self.file(table)} as a Parquet file", "one that is cut short or damaged", _AGAIN)
        told = super()._damaged(table, message)
        return SourceError(told.expected, told.came, _AGAIN)

    def _count_rejects(self, table: str) -> None:
        """Count the lines that were no rows; only a reader of CSV keeps them."""
        if any("read_csv(" in base for base in self._bases[table]):
            super()._count_rejects(table)

    def rows(self, table: str, needed: Iterable[str], optional: Iterable[str] = ()) -> str:
        """Write SQL of a table's rows by role, as text, blanks at either end gone and empty cells null.

        Parameters
        ----------
        needed, optional
            Roles; one that the mapping does not give is null.
        """
        if self.file(table) not in self.read:
            self.read.append(self.file(table))
        limit = f" LIMIT {self.limit}" if self.limit is not None else ""
        chosen = self._chosen(table, (*needed, *optional))
        return " UNION ALL ".join(f"(SELECT {chosen} FROM ({base}){limit})" for base in self._bases[table])

    def _chosen(self, table: str, roles: Iterable[str]) -> str:
        spec, columns = self._specs[table], self._columns[table]
        return ", ".join(
            f"nullif(trim({name_sql(columns[role])}::VARCHAR), '') AS {role}"
            if role in columns
            else f"{quoted(spec.constants[role])} AS {role}"
            if role in spec.constants
            else f"NULL::VARCHAR AS {role}"
            for role in dict.fromkeys(roles)
        )

    def first(self, table: str, roles: Iterable[str], condition: str, join: str = "") -> str:
        """Tell where the first row that meets a condition over its roles stands: “, first in row 7”.

        A file's header is row 1; of several files the file is named too. Nothing is told of a database.

        Parameters
        ----------
        join
            SQL that adds the row's stay, for a condition that needs it.
        """
        self.sql.execute("SET preserve_insertion_order = true")
        for path, base in zip(self._parts[table], self._bases[table], strict=False):
            line = self.count(
                f"SELECT min(e.line) FROM (SELECT row_number() OVER () AS line, {self._chosen(table, roles)} "
                f"FROM ({base})) e {join} WHERE {condition}"
            )
            if line:
                return self._row(table, path, line)
        return ""

    def place(self, table: str, line: int) -> str:
        """Tell where a row stands that is the `line`-th of all the table's files: “, first in row 7”."""
        for path, base in zip(self._parts[table], self._bases[table], strict=False):
            held = self.count(f"SELECT count(*) FROM ({base})")
            if line <= held:
                return self._row(table, path, line)
            line -= held
        return ""

    def _row(self, table: str, path: Path, line: int) -> str:
        kind = path.name.lower()
        if kind.endswith(_DATABASES):
            return ""
        row = line if kind.endswith(_PARQUET) else line + 1
        return f", first in row {row}" + (f" of {path.name}" if len(self._parts[table]) > 1 else "")

    def refuse_rows(
        self, table: str, roles: Iterable[str], condition: str, expected: str, came: str, rows: int, todo: str
    ) -> None:
        """Refuse rows that meet a condition, telling the first; a lenient reader counts them."""
        if rows:
            at = "" if self.lenient else self.first(table, roles, condition)
            self.refuse(f"{expected} in {self.file(table)}", f"{came} in {rows} rows{at}", todo, rows=rows)

    def only_rows(self, loaded: str, table: str, condition: str, expected: str, came: str, todo: str) -> None:
        """Refuse a loaded table (with `line`) that has rows beside a condition; a lenient reader deletes them."""
        bad = self.count(f"SELECT count(*) FROM {loaded} WHERE NOT coalesce({condition}, false)")
        if bad:
            line = self.count(f"SELECT min(line) FROM {loaded} WHERE NOT coalesce({condition}, false)")
            at = "" if self.lenient else self.place(table, line)
            self.refuse(f"{expected} in {self.file(table)}", f"{came} in {bad} rows{at}", todo, rows=bad)
            self.sql.execute(f"DELETE FROM {loaded} WHERE NOT coalesce({condition}, false)")

    def number(self, table: str, column: str) -> str:
        """Give SQL of a text as a finite number, with the file's decimal mark."""
        text = f"replace({column}, ',', '.')" if self._specs[table].decimal == "," else column
        return f"CASE WHEN isfinite(TRY_CAST({text} AS DOUBLE)) THEN TRY_CAST({text} AS DOUBLE) END"

    def time(self, table: str, column: str) -> str:
        """Give SQL of a text as a time, in the file's form."""
        form = self._specs[table].time_format
        time = f"try_strptime({column}, {quoted(form)})" if form else f"TRY_CAST({column} AS TIMESTAMP)"
        return f"CASE WHEN isfinite({time}) THEN {time} END"

    def key(self, column: str) -> str:
        """Give SQL of a key as it is compared: a whole number that came as a fraction without it."""
        whole = f"regexp_replace({column}, '^(-?[0-9]+)\\.0+$', '\\1')"
        return f"CASE WHEN suffix({column}, '.0') THEN {whole} ELSE {column} END"
