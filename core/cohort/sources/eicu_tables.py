"""Reading the published eICU files: header, types, numbers, whose row it is; DuckDB with bounded memory.

Every column arrives as text and is cast by `TRY_CAST`, so that text where a number belongs is found and named by file,
column and row, never by its contents. Of the long tables only rows of kept stays stay on disk.
"""

from collections.abc import Mapping
from pathlib import Path

from core.cohort.sources.mimic_tables import AGAIN, MimicTables, quoted
from core.errors import SourceError

__all__ = ["RawFolder", "quoted"]

_LARGEST_ID, _LARGEST = 2.0**63, 1e30
_FAULTS = {1: ("numbers", "text"), 2: ("finite numbers", "NaN or infinity"), 3: ("", "fractions or numbers too large")}
"""What a cell of a number's column can be wrong in: what was expected, what came."""
KEY = "patientunitstayid"


def _is_id(column: str) -> bool:
    """Whether a column of numbers holds keys, which have no fractions."""
    return column.endswith("id")


def _fault(column: str) -> str:
    """Give SQL of what is wrong with a text cell where a number belongs: 0, or a key of `_FAULTS`."""
    number = f"TRY_CAST({column} AS DOUBLE)"
    reach = f"abs({number}) < {_LARGEST!r}"
    if _is_id(column):
        reach = f"{number} = floor({number}) AND abs({number}) < {_LARGEST_ID!r}"
    return (
        f"(CASE WHEN {column} IS NULL THEN 0 WHEN {number} IS NULL THEN 1 WHEN NOT isfinite({number}) THEN 2 "
        f"WHEN NOT ({reach}) THEN 3 ELSE 0 END)::UTINYINT"
    )


class RawFolder(MimicTables):
    """A folder of published eICU tables behind one DuckDB connection.

    Parameters
    ----------
    folder
        Folder with `patient.csv` or `patient.csv.gz` and the other published tables.
    lenient
        Set aside and count what can be set aside, instead of refusing it.

    Attributes
    ----------
    sql
        The connection; `load` puts typed tables into it under the published names.

    Raises
    ------
    SourceError
        When the folder does not exist or holds no patient table.
    """

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        super().__init__(folder, "eICU", lenient=lenient)
        if not self.has("patient"):
            self.close()
            raise SourceError(
                "an eICU folder with patient.csv or patient.csv.gz",
                f"{len(self._files)} CSV files, none of that name",
                "name the folder that holds the published eICU tables",
            )

    def load(  # type: ignore[override]
        self,
        table: str,
        text: tuple[str, ...] = (),
        numbers: tuple[str, ...] = (),
        *,
        rows: bool = False,
        where: str = "true",
        made: Mapping[str, str] | None = None,
    ) -> int:
        """Load columns of a table into the connection, under the table's name: rows of kept stays.

        Of `patient` all rows are loaded, with their place in the file (`line`; the header is row 1).

        Parameters
        ----------
        table
            Published name; a published id column among `text` or `numbers` is kept as named.
        text
            Columns kept as text; blanks at either end go, empty becomes null.
        numbers
            Columns cast to double; empty becomes null. All tables but `patient` have `patientunitstayid` among them.
        rows
            Refuse a file that has a header and nothing else.
        where
            SQL over the file's columns as text: other rows are neither kept nor checked.
        made
            Columns to keep in place of the texts they are made of: name, and SQL over `text`.

        Returns
        -------
        int
            Number of rows kept.

        Raises
        ------
        SourceError
            On a missing column, text or NaN or infinity where a number belongs, a row of no known stay, a file
            without rows, or one cut short.
        """
        source = self.rows(table, [*text, *numbers])
        keyed = table != "patient"
        kept = [f"{sql} AS {name}" for name, sql in made.items()] if made else list(text)
        kept += [f"TRY_CAST({column} AS DOUBLE) AS {column}" for column in numbers]
        kept += [f"{_fault(column)} AS fault_{column}" for column in numbers]
        join, whose = "", "false AS orphan, true AS mine"
        if keyed:
            join = f"LEFT JOIN known ON known.stay_id = TRY_CAST(TRY_CAST({KEY} AS DOUBLE) AS BIGINT)"
            whose = "known.stay_id IS NULL AS orphan, coalesce(known.kept, true) AS mine"
        else:
            kept.append("row_number() OVER () + 1 AS line")
        faulty = " + ".join(f"fault_{column}" for column in numbers)
        query = f"SELECT {', '.join(kept)}, {whose} FROM ({source}) {join} WHERE {where}"
        self.create(
            table, f"SELECT * EXCLUDE (mine) FROM ({query}) WHERE mine OR {faulty} > 0", table, ordered=not keyed
        )
        self._refuse_faults(table, numbers, source, where)
        self._refuse_orphans(table, source, where, keyed)
        drop = [f"fault_{column}" for column in numbers] + ["orphan"]
        for column in drop:
            self.sql.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        count = self.count(f"SELECT count(*) FROM {table}")
        if rows and not count:
            raise SourceError(f"{self.file(table)} with rows", "a header and nothing else", AGAIN)
        return count

    def _refuse_faults(self, table: str, numbers: tuple[str, ...], source: str, where: str) -> None:
        """Refuse cells that are no numbers; a lenient reader sets their rows aside."""
        wanted = [f"count(*) FILTER (fault_{column} = {fault})" for column in numbers for fault in _FAULTS]
        counts = iter(self.one(f"SELECT {', '.join(wanted)} FROM {table}"))
        for column in numbers:
            for fault, (kind, came) in _FAULTS.items():
                if bad := int(next(counts)):
                    expected = kind or ("whole numbers" if _is_id(column) else "numbers in reach")
                    first = self._first_row(source, where, f"{_fault(column)} = {fault}")
                    self.refuse(
                        f"{expected} in {self.file(table)}, column {column}",
                        f"{came} in {bad} rows, first in row {first}",
                        "correct or empty those cells",
                        rows=bad,
                    )
                    self.sql.execute(f"DELETE FROM {table} WHERE fault_{column} = {fault}")

    def _refuse_orphans(self, table: str, source: str, where: str, keyed: bool) -> None:
        """Refuse rows of a stay that `patient` does not have; a lenient reader sets them aside."""
        bad = self.count(f"SELECT count(*) FROM {table} WHERE orphan") if keyed else 0
        if not bad:
            return
        stay = f"TRY_CAST(TRY_CAST({KEY} AS DOUBLE) AS BIGINT)"
        first = self._first_row(source, where, f"coalesce({stay} NOT IN (SELECT stay_id FROM known), true)")
        self.refuse(
            f"the stay of every row of {self.file(table)} in {self.file('patient')}",
            f"none in {bad} rows, first in row {first}",
            "remove those rows",
            rows=bad,
        )
        self.sql.execute(f"DELETE FROM {table} WHERE orphan")

    def _first_row(self, source: str, where: str, condition: str) -> int:
        """Find the first row of a file, the header being row 1, that meets a condition."""
        self.sql.execute("SET preserve_insertion_order = true")
        return self.count(
            f"SELECT min(line) FROM (SELECT row_number() OVER () + 1 AS line, * FROM ({source})) "
            f"WHERE ({where}) AND {condition}"
        )

    def load_optional(
        self,
        table: str,
        text: tuple[str, ...],
        numbers: tuple[str, ...] = (),
        where: str = "true",
        made: Mapping[str, str] | None = None,
    ) -> bool:
        """Load a table if the folder has it; return whether it has."""
        if not self.has(table):
            return False
        self.load(table, text, numbers, where=where, made=made)
        return True

    def one(self, query: str) -> tuple[float, ...]:
        """Return the first row of a query that returns counts."""
        rows = self.sql.execute(query).fetchall()
        return tuple(0 if value is None else value for value in rows[0]) if rows else ()
