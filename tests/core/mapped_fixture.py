"""The example hospital in a folder of a test's own, and ways to spoil it; every patient in it is invented."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cohort.sources.tables import build_tables
from core.cohort.sources.tables_example import MAPPING, write_example
from core.errors import MiraclError

Spoil = Callable[[Path], None]
MARKER = "Zebulon"
FILES = ("stays.csv", "vitals.csv", "labs.csv", "notes.csv", "diagnoses.csv", "drugs.csv")


def hospital(folder: Path) -> Path:
    """Write the example; return its mapping."""
    return write_example(folder)


def copy_of(mapping: Path, folder: Path) -> Path:
    """Copy an example that is to be spoilt; return the copy's mapping."""
    shutil.copytree(mapping.parent, folder)
    return folder / MAPPING


def read_rows(path: Path) -> list[list[str]]:
    """Rows of a file, the header first."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    """Write a file anew."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)


def cell(file: str, row: int, column: str, value: str) -> Spoil:
    """Change one cell; the header is row 1."""

    def spoil(folder: Path) -> None:
        rows = read_rows(folder / file)
        rows[row - 1][rows[0].index(column)] = value
        write_rows(folder / file, rows)

    return spoil


def every(file: str, change: Callable[[dict[str, str], int], None]) -> Spoil:
    """Change every row by a function of its cells and its number."""

    def spoil(folder: Path) -> None:
        header, *rows = read_rows(folder / file)
        changed = [dict(zip(header, row, strict=True)) for row in rows]
        for place, row in enumerate(changed, start=2):
            change(row, place)
        write_rows(folder / file, [header, *([row[name] for name in header] for row in changed)])

    return spoil


def edited(old: str, new: str) -> Spoil:
    """Change the mapping's text."""

    def spoil(folder: Path) -> None:
        text = (folder / MAPPING).read_text(encoding="utf-8")
        assert old in text
        (folder / MAPPING).write_text(text.replace(old, new, 1), encoding="utf-8")

    return spoil


def replaced(file: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a file's bytes."""

    def spoil(folder: Path) -> None:
        (folder / file).write_bytes(change((folder / file).read_bytes()))

    return spoil


def refused(mapping: Path, target: Path, *, lenient: bool = False) -> str:
    """The one line in which a hospital is refused; nothing may be left behind."""
    with pytest.raises(MiraclError) as caught:
        build_tables(mapping, target, lenient=lenient)
    message = str(caught.value)
    assert "\n" not in message
    assert MARKER not in message
    assert not target.exists()
    assert list(target.parent.glob(f".{target.name}*")) == []
    return message
