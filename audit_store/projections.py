"""Comparing tables with the ledger they follow from, in one pass and value by value, as the database holds them.

Values are read without the types that usually stand between: a 2 for a true, or another separator in a time, reads as
the same value there and is a changed byte all the same.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Connection, DateTime, Table

from audit_store import tables
from audit_store.assignments import expanded, handed_over
from audit_store.ledger import Event, projected


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: where (a table or file), which row (its number or name), and what is wrong."""

    where: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.row}: {self.what}"


@contextmanager
def as_stored(connection: Connection) -> Iterator[None]:
    """Within the block SQLite's text is read even where its bytes are no UTF-8: it then equals nothing."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    before = driver.text_factory
    driver.text_factory = lambda body: body.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before


def shown(value: object) -> str:
    """Write a row's number or name so that it can be printed, whatever stands there."""
    return str(value).encode("utf-8", "replace").decode()[:80]


def rows_as_stored(connection: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """Rows of a table in the order of its key, columns in the table's order, values as the driver gives them."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.columns)
    key = ", ".join(quote(column.name) for column in table.primary_key)
    query = f"SELECT {columns} FROM {quote(table.name)} ORDER BY {key}"
    yield from map(tuple, connection.exec_driver_sql(query))


class Stored:
    """How a table's values are stored: turns what the ledger says of a row into what should be read."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.names = [column.name for column in table.columns]
        self._times = {column.name for column in table.columns if isinstance(column.type, DateTime)}
        self._writers: dict[str, Callable[[Any], Any]] = {}
        for column in table.columns:
            write = column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
            if write is not None:
                self._writers[column.name] = write

    def differing(self, row: tuple[Any, ...], wanted: Mapping[str, Any]) -> list[str]:
        """Columns of a stored row that are not as wanted."""
        return [
            name
            for name, held in zip(self.names, row, strict=True)
            if name in wanted and held != self._stored(name, wanted[name])
        ]

    def _stored(self, name: str, value: Any) -> Any:
        if name in self._times and isinstance(value, str):  # the ledger keeps times as text
            value = datetime.fromisoformat(value)
        write = self._writers.get(name)
        return value if write is None or value is None else write(value)


class Follower:
    """Walks one table beside the ledger; remembers the first row that does not follow from it."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.table = table
        self.found: Finding | None = None
        self._stored = Stored(connection, table)
        self._rows = rows_as_stored(connection, table)
        self._place = self._stored.names.index("id")
        self._next = next(self._rows, None)

    def expect(self, event: Event) -> None:
        """Compare the next row with what follows from the next event."""
        if self.found is not None:
            return
        row = self._next
        if row is None or row[self._place] > event.seq:
            self._find(event.seq, "is missing; the ledger has it")
        elif row[self._place] < event.seq:
            self._find(row[self._place], "stands in no event of the ledger")
        else:
            wrong = self._stored.differing(row, projected(event, self.table))
            if wrong:
                self._find(event.seq, f"differs from the ledger in {', '.join(wrong)}")
            self._next = next(self._rows, None)

    def end(self) -> Finding | None:
        """After the last event: rows that are left stand in none."""
        if self.found is None and self._next is not None:
            self._find(self._next[self._place], "stands in no event of the ledger")
        return self.found

    def _find(self, row: object, what: str) -> None:
        self.found = Finding(self.table.name, shown(row), what)


class Projections:
    """Every table that follows from the ledger, walked beside it.

    Parameters
    ----------
    connection
        An open transaction.
    handovers
        Every event of a handover, oldest first: a batch's rows are compared as the last one left them.
    """

    def __init__(self, connection: Connection, handovers: list[Event]) -> None:
        self._followers = {name: Follower(connection, table) for name, table in tables.PROJECTIONS.items()}
        self._handovers: dict[str, list[Event]] = {}
        for event in handovers:
            self._handovers.setdefault(str(event.data["batch"]), []).append(event)

    def expect(self, event: Event) -> None:
        """Take the next event of the chain."""
        if event.kind == "batch":
            rows = {row.seq: row for row in expanded(event)}
            for handover in self._handovers.get(str(event.data["batch"]), []):
                handed_over(handover, rows)
            for row in rows.values():
                self._followers["assignment"].expect(row)
        elif event.kind in self._followers:
            self._followers[event.kind].expect(event)

    def end(self) -> Iterator[Finding]:
        """After the last event: the first row of each table that does not hold."""
        for follower in self._followers.values():
            found = follower.end()
            if found is not None:
                yield found


def account_row(event: Event, first: Event) -> dict[str, Any]:
    """Give what an account's first and last events say of its row in `person`; its password hash is in neither.

    A column that a later schema added has its default where the event does not name it.
    """
    row: dict[str, Any] = {}
    for column in tables.person.columns:
        if column.name != "credential":
            default = False if isinstance(column.type, Boolean) else None
            row[column.name] = event.data.get(column.name, default)
    row["created_at"] = first.created_at
    return row
