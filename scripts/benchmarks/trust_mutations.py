"""Ways to spoil a file: its bytes, what stands in its place, a cell or column of a table, a value deep in JSON.

Each function takes a seeded generator and returns what it did in words, for the counterexample's sake.
"""

import csv
import gzip
import io
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Rng = random.Random
DEEP = 100_000
"""Brackets of JSON nested too deep for any reader."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, 1e308, -1e308, float("nan"), float("inf"), 0.5, "", "x", "1", "2026-13-45",
    "é\u202e", "\ud800", "a\x00b", "x" * 10_000, [], [1, "2", None], {}, {"a": {"b": []}}, "../../etc",
    "'; DROP TABLE pair; --",
)  # fmt: skip
ODD_CELLS = (
    "", " ", "NaN", "inf", "-inf", "1e400", "1e300", "-1", "-9223372036854775809", "9223372036854775808", "0.5", "0x10",
    "1,5", "12 34", "1e", "text", "é", "\u202etxet", "a\x00b", '"', '""', "'", "a\nb", "null", "None", "True",
    "2026-01-01", "x" * 100_000, "|", "%", "\\", "{0}", "9" * 400, "> 89", "\ufeff", "\u00a0", "１２",
)  # fmt: skip


def spoil_bytes(rng: Rng, path: Path) -> str:
    """Spoil a file's bytes, or put something else in its place."""
    chosen = rng.choice(_BYTES)
    chosen(rng, path)
    return chosen.__name__.strip("_").replace("_", " ")


def _cut_short(rng: Rng, path: Path) -> None:
    content = path.read_bytes()
    size = len(content)
    places = (0, 1, 4, 8, 16, size // 2, size - 1, size - 8, rng.randrange(size + 1))
    path.write_bytes(content[: max(0, rng.choice(places))])


def _flipped_bits(rng: Rng, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 3, 50))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def _zeros_inside(rng: Rng, path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content) + 1)
    length = rng.choice((1, 16, 4096))
    content[start : start + length] = bytes(length)
    path.write_bytes(bytes(content))


def _bytes_appended(rng: Rng, path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(rng.choice((b"\x00", b"\n\n", rng.randbytes(100), b"}", b"\xff\xfe")))


def _other_encoding(rng: Rng, path: Path) -> None:
    text = path.read_bytes().decode("latin-1")
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500"))
    path.write_bytes(text.encode(encoding, "replace"))


def _latin_1_letters(rng: Rng, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(5):
        content.insert(rng.randrange(len(content) + 1), rng.choice((0xE9, 0xFC, 0x80, 0xFF)))
    path.write_bytes(bytes(content))


def _random_bytes(rng: Rng, path: Path) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 7, 64, 5000))))


def _other_line_ends(rng: Rng, path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n"))))


def _gone(rng: Rng, path: Path) -> None:
    path.unlink()


def _a_folder_there(rng: Rng, path: Path) -> None:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inside").write_text("x", encoding="utf-8")


def _a_link_to_itself(rng: Rng, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _a_link_to_nothing(rng: Rng, path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _another_format(rng: Rng, path: Path) -> None:
    kind = rng.choice(("sqlite", "duckdb", "parquet", "json", "gz", "html", "pickle"))
    path.unlink()
    if kind == "sqlite":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (a INTEGER)")
        connection.commit()
        connection.close()
    elif kind == "duckdb":
        with duckdb.connect(str(path)) as made:
            made.execute("CREATE TABLE other (a INTEGER)")
    elif kind == "parquet":
        pq.write_table(pa.table({"other": [1, 2]}), path)
    else:
        contents = {
            "json": b'{"other": 1}',
            "gz": gzip.compress(b"a,b\n1,2\n"),
            "html": b"<!doctype html><title>Sign in</title>",
            "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05other\x94.",
        }
        path.write_bytes(contents[kind])


_BYTES: tuple[Callable[[Rng, Path], None], ...] = (
    _cut_short, _cut_short, _flipped_bits, _flipped_bits, _zeros_inside, _bytes_appended, _other_encoding,
    _latin_1_letters, _random_bytes, _other_line_ends, _gone, _a_folder_there, _a_link_to_itself, _a_link_to_nothing,
    _another_format,
)  # fmt: skip


def spoil_json(rng: Rng, path: Path) -> str:
    """Change a value, a key or the form of a JSON file; one time in four, its bytes."""
    if rng.random() < 0.25:
        return spoil_bytes(rng, path)
    if rng.random() < 0.08:
        path.write_text("[" * DEEP + "]" * DEEP, encoding="utf-8")
        return "JSON nested too deep"
    if rng.random() < 0.08:
        value = rng.choice(ODD_VALUES)
        path.write_text(json.dumps(value), encoding="utf-8")
        return f"JSON that is {_short(value)}"
    body = json.loads(path.read_text(encoding="utf-8"))
    told = spoil_value(rng, body)
    path.write_text(json.dumps(body), encoding="utf-8")
    return told


def spoil_value(rng: Rng, body: Any) -> str:
    """Change one value or key somewhere in parsed JSON, in place."""
    where, holder = "", body
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not places:
            return "nothing: an empty place"
        key = rng.choice(places)
        inner = holder[key]
        where += f".{key}"
        if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
            holder = inner
            continue
        if isinstance(holder, dict) and rng.random() < 0.2:
            del holder[key]
            return f"{where} left out"
        value = rng.choice(ODD_VALUES)
        holder[key] = value
        return f"{where} = {_short(value)}"


def _short(value: object) -> str:
    words = str(value) if isinstance(value, int) and abs(value) > 2**64 else repr(value)
    return words[:40]


def spoil_csv(rng: Rng, path: Path) -> str:
    """Change header, cells, rows or separators of a CSV file, gzipped or not; one time in five, its bytes."""
    if rng.random() < 0.2:
        return spoil_bytes(rng, path)
    packed = path.name.endswith(".gz")
    content = path.read_bytes()
    text = (gzip.decompress(content) if packed else content).decode("utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    delimiter, told = ",", ""
    kind = rng.choice(
        ("cell", "cell", "cell", "cell", "column", "column", "header", "rows", "ragged", "separator", "pack")
    )
    if kind == "cell":
        row, column = rng.randrange(1, len(rows)), rng.randrange(len(rows[0]))
        value = rng.choice(ODD_CELLS)
        rows[row][column] = value
        told = f"{rows[0][column]} = {value[:20]!r} in row {row}"
    elif kind == "column":
        told = _spoil_column(rng, rows)
    elif kind == "header":
        place = rng.randrange(len(rows[0]))
        rows[0][place] = rng.choice(
            ("", " ", "x" * 500, "a b", 'a"b', "a'b", "a;b", rows[0][place].upper(), "\ufeffx", "é")
        )
        told = f"header {place} = {rows[0][place][:20]!r}"
    elif kind == "rows":
        told = rng.choice(("no rows", "no header", "twice the rows", "shuffled rows", "first row twice", "a blank row"))
        body = rows[1:]
        rows = {
            "no rows": rows[:1],
            "no header": body,
            "twice the rows": [rows[0], *body, *body],
            "shuffled rows": [rows[0], *rng.sample(body, len(body))],
            "first row twice": [rows[0], body[0], *body],
            "a blank row": [rows[0], [], *body],
        }[told]
    elif kind == "ragged":
        row = rng.randrange(1, len(rows))
        rows[row] = rng.choice((rows[row][:-1], [*rows[row], "more"], rows[row] * 2, ['"']))
        told = f"row {row} of {len(rows[row])} cells"
    elif kind == "separator":
        delimiter = rng.choice((";", "\t", "|"))
        told = f"separated by {delimiter!r}"
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    body_bytes = buffer.getvalue().encode("utf-8", "surrogatepass")
    if kind == "pack":
        told = "packed where it says it is not, or the other way round"
        packed = not packed
    path.write_bytes(gzip.compress(body_bytes) if packed else body_bytes)
    return told


def _spoil_column(rng: Rng, rows: list[list[str]]) -> str:
    place = rng.randrange(len(rows[0]))
    name = rows[0][place]
    kind = rng.choice(("left out", "renamed", "twice", "all the same", "all odd"))
    if kind == "left out":
        for row in rows:
            del row[place]
    elif kind == "renamed":
        rows[0][place] = name + "_x"
    elif kind == "twice":
        for row in rows:
            row.append(row[place])
    else:
        value = rows[1][place] if kind == "all the same" else rng.choice(ODD_CELLS)
        for row in rows[1:]:
            row[place] = value
    return f"column {name} {kind}"


_TYPES: tuple[pa.DataType, ...] = (
    pa.string(), pa.int64(), pa.int8(), pa.float64(), pa.float16(), pa.bool_(), pa.binary(), pa.timestamp("us"),
    pa.duration("s"), pa.date32(), pa.large_string(), pa.list_(pa.int64()), pa.decimal128(20, 3), pa.null(),
)  # fmt: skip


def spoil_table(rng: Rng, table: pa.Table) -> tuple[pa.Table, str]:
    """Change a table's columns, types, rows or single cells."""
    kind = rng.choice(
        ("drop", "rename", "type", "type", "cell", "cell", "cell", "nulls", "rows", "rows", "extra", "twice")
    )
    place = rng.randrange(table.num_columns)
    field = table.schema.field(place)
    column = table.column(place)
    if kind == "drop":
        return table.remove_column(place), f"no column {field.name}"
    if kind == "rename":
        names = [name + "_x" if i == place else name for i, name in enumerate(table.column_names)]
        return table.rename_columns(names), f"{field.name} renamed"
    if kind == "extra":
        return table.append_column("extra", pa.array([{"a": 1}] * table.num_rows)), "another column"
    if kind == "twice":
        return table.append_column(field.name, column), f"{field.name} twice"
    if kind == "rows":
        return _spoil_rows(rng, table)
    if kind == "nulls":
        made = pa.nulls(table.num_rows, field.type)
        return table.set_column(place, pa.field(field.name, field.type), made), f"{field.name} all empty"
    wanted = rng.choice(_TYPES) if kind == "type" else field.type
    values = column.to_pylist()
    told = f"{field.name} as {wanted}"
    if kind == "cell" and values:
        row = rng.randrange(len(values))
        values[row] = rng.choice(_odd_for(wanted))
        told = f"{field.name} = {_short(values[row])} in row {row}"
    try:
        array = pa.array(values, wanted)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, AttributeError):
        array, told = pa.nulls(table.num_rows, wanted), f"{field.name} as {wanted}, all empty"
    return table.set_column(place, pa.field(field.name, wanted), array), told


def _odd_for(kind: pa.DataType) -> tuple[Any, ...]:
    if pa.types.is_floating(kind):
        return (None, float("nan"), float("inf"), -1.0, 1e30, 0.5)
    if pa.types.is_integer(kind):
        info = np.iinfo(str(kind))
        return (None, 0, int(info.max), int(info.min), 77)
    if pa.types.is_boolean(kind):
        return (None, True, False)
    if pa.types.is_string(kind):
        return (None, "", " ", "x", "a\x00b", "é\u202e", "x" * 100_000)
    return (None,)


def _spoil_rows(rng: Rng, table: pa.Table) -> tuple[pa.Table, str]:
    kind = rng.choice(("none", "half", "first twice", "all twice", "shuffled", "reversed"))
    order = np.arange(table.num_rows)
    chosen = {
        "none": order[:0],
        "half": order[: len(order) // 2],
        "first twice": np.concatenate([order[:1], order]),
        "all twice": np.concatenate([order, order]),
        "shuffled": np.array(rng.sample(order.tolist(), len(order)), dtype=np.int64),
        "reversed": order[::-1],
    }[kind]
    return table.take(pa.array(chosen)), f"rows: {kind}"


def spoil_parquet(rng: Rng, path: Path) -> str:
    """Change the table in a Parquet file; one time in four, the file's bytes."""
    if rng.random() < 0.25:
        return spoil_bytes(rng, path)
    table, told = spoil_table(rng, pq.read_table(path))
    pq.write_table(table, path)
    return told


def spoil_any(rng: Rng, path: Path) -> str:
    """Spoil a file in the way that fits its name."""
    if path.suffix in (".json", ".jsonl") and rng.random() < 0.8:
        try:
            return spoil_json(rng, path)
        except ValueError:
            return spoil_bytes(rng, path)
    if path.suffix == ".parquet":
        return spoil_parquet(rng, path)
    return spoil_bytes(rng, path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
