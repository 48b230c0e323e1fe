"""Single acts of tampering, drawn at random: with a row of a table, a value, or a file."""

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LEFT_OUT = ("session", "sign_in_failure")
NEW_KEY = 1_000_003


class UnchangedError(Exception):
    """What was drawn changes nothing."""


def tables_with_rows(database: Path) -> list[str]:
    """Tables of a store that hold a row, without `LEFT_OUT`."""
    with _opened(database) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sorted(
            name
            for name in names
            if name not in LEFT_OUT and connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
        )


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a database without rules between tables; committed where nothing is raised."""
    connection = sqlite3.connect(database)
    connection.text_factory = lambda body: body.decode("utf-8", "surrogateescape")
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def spoil_store(database: Path, table: str, rng: np.random.Generator) -> str:
    """Tamper with one table once.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    UnchangedError, sqlite3.IntegrityError
        When what was drawn changes nothing, or the database's rules refuse it.
    """
    acts: tuple[Callable[..., str], ...] = (_byte, _byte, _byte, _removed, _doubled, _rows_swapped, _values_swapped)
    act = acts[int(rng.integers(len(acts)))]
    with _opened(database) as connection:
        columns = [(str(row[1]), int(row[5])) for row in connection.execute(f"PRAGMA table_info({table})")]
        before = connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
        what = act(connection, table, columns, rng)
        if connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() == before:
            raise UnchangedError
    return f"{table}: {what}"


Columns = list[tuple[str, int]]


def _some_row(connection: sqlite3.Connection, table: str, rng: np.random.Generator) -> int:
    rows = [number for (number,) in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
    return int(rows[int(rng.integers(len(rows)))])


def _byte(connection: sqlite3.Connection, table: str, columns: Columns, rng: np.random.Generator) -> str:
    row = _some_row(connection, table, rng)
    name = columns[int(rng.integers(len(columns)))][0]
    value = connection.execute(f"SELECT {name} FROM {table} WHERE rowid = ?", (row,)).fetchone()[0]
    if value is None:
        raise UnchangedError
    new, text = _other_byte(value, rng)
    connection.execute(f"UPDATE {table} SET {name} = {'CAST(? AS TEXT)' if text else '?'} WHERE rowid = ?", (new, row))
    return f"a byte of {name} in row {row}"


def _other_byte(value: Any, rng: np.random.Generator) -> tuple[Any, bool]:
    """Change one byte of a value as it is stored; whether the result is text."""
    if isinstance(value, int):
        body = bytearray(struct.pack(">q", value))
        place = 7 if rng.random() < 0.5 else int(rng.integers(8))
        body[place] ^= int(rng.integers(1, 256))
        return struct.unpack(">q", bytes(body))[0], False
    if isinstance(value, float):
        body = bytearray(struct.pack(">d", value))
        body[int(rng.integers(8))] ^= int(rng.integers(1, 256))
        return struct.unpack(">d", bytes(body))[0], False
    body = bytearray(value.encode("utf-8", "surrogateescape"))
    if not body:
        return b"x", True
    place = int(rng.integers(len(body)))
    other = (body[place] + int(rng.integers(1, 256))) % 256 if rng.random() < 0.5 else int(rng.integers(32, 127))
    if other == body[place]:
        raise UnchangedError
    body[place] = other
    return bytes(body), True


def _removed(connection: sqlite3.Connection, table: str, columns: Columns, rng: np.random.Generator) -> str:
    row = _some_row(connection, table, rng)
    connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
    return f"row {row} removed"


def _doubled(connection: sqlite3.Connection, table: str, columns: Columns, rng: np.random.Generator) -> str:
    """Write a row once more under another key; what must be unique besides gets another ending."""
    row = _some_row(connection, table, rng)
    values = dict(
        zip(
            [name for name, _ in columns],
            connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (row,)).fetchone(),
            strict=True,
        )
    )
    (last,) = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()
    unique = {name for name, place in columns if place} | _unique(connection, table)
    for name in unique:
        value = values[name]
        step = 1 if rng.random() < 0.5 else NEW_KEY
        values[name] = last + step if isinstance(value, int) else value if value is None else f"{value}x"
    marks = ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    return f"row {row} doubled"


def _unique(connection: sqlite3.Connection, table: str) -> set[str]:
    found: set[str] = set()
    for index in connection.execute(f"PRAGMA index_list({table})").fetchall():
        if index[2]:
            found |= {str(row[2]) for row in connection.execute(f"PRAGMA index_info({index[1]})")}
    return found


def _rows_swapped(connection: sqlite3.Connection, table: str, columns: Columns, rng: np.random.Generator) -> str:
    """Give two rows each other's key."""
    keys = [name for name, place in columns if place]
    one, other = _some_row(connection, table, rng), _some_row(connection, table, rng)
    if one == other or len(keys) != 1:
        raise UnchangedError
    held = [
        connection.execute(f"SELECT {keys[0]} FROM {table} WHERE rowid = ?", (r,)).fetchone()[0] for r in (one, other)
    ]
    aside: Any = -7 if isinstance(held[0], int) else "-aside-"
    for now, new in ((held[0], aside), (held[1], held[0]), (aside, held[1])):
        connection.execute(f"UPDATE {table} SET {keys[0]} = ? WHERE {keys[0]} = ?", (new, now))
    return f"rows {one} and {other} swapped"


def _values_swapped(connection: sqlite3.Connection, table: str, columns: Columns, rng: np.random.Generator) -> str:
    one, other = _some_row(connection, table, rng), _some_row(connection, table, rng)
    free = [name for name, place in columns if not place and name not in _unique(connection, table)]
    if one == other or not free:
        raise UnchangedError
    name = free[int(rng.integers(len(free)))]
    held = [connection.execute(f"SELECT {name} FROM {table} WHERE rowid = ?", (r,)).fetchone()[0] for r in (one, other)]
    for row, value in ((one, held[1]), (other, held[0])):
        connection.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, row))
    return f"{name} of rows {one} and {other} swapped"


def spoil_file(file: Path, others: Sequence[Path], rng: np.random.Generator) -> str:
    """Tamper with one file once: a byte, its end, all of it, or its contents for another's of its kind.

    Raises
    ------
    UnchangedError
        When what was drawn changes nothing.
    """
    body = bytearray(file.read_bytes())
    act = ("byte", "byte", "byte", "removed", "cut", "longer", "swapped")[int(rng.integers(7))]
    if act == "removed":
        file.unlink()
        return "removed"
    if act == "swapped":
        if not others:
            raise UnchangedError
        other = others[int(rng.integers(len(others)))]
        if other.read_bytes() == bytes(body):
            raise UnchangedError
        file.write_bytes(other.read_bytes())
        other.write_bytes(bytes(body))
        return f"swapped with {other.name}"
    if act == "longer":
        file.write_bytes(bytes(body) + b"\n")
        return "one byte longer"
    place = int(rng.integers(len(body)))
    if act == "cut":
        file.write_bytes(bytes(body[:place]))
        return f"cut at byte {place}"
    body[place] ^= int(rng.integers(1, 256))
    file.write_bytes(bytes(body))
    return f"byte {place} changed"
