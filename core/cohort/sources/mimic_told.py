"""What readers see of charted items and laboratory results: `mimic_evidence.toml`, read once."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Told:
    """One kind of charted item or laboratory result for readers.

    Parameters
    ----------
    ids
        `itemid`s.
    kind, name
        Of the evidence row; ``{}`` in the name takes what was charted.
    change
        Only where it differs from what was charted before.
    skip
        Charted texts that say nothing, in small letters.
    """

    ids: tuple[int, ...]
    kind: str
    name: str
    change: bool
    skip: tuple[str, ...]


@cache
def vocabulary() -> dict[str, Any]:
    """Read the file."""
    return tomllib.loads(files("core.cohort.sources").joinpath("mimic_evidence.toml").read_text(encoding="utf-8"))


@cache
def told(part: str) -> tuple[Told, ...]:
    """Entries of a part, ``chart`` or ``labs``."""
    return tuple(
        Told(
            tuple(entry["ids"]),
            entry.get("kind", "finding"),
            entry["name"],
            entry.get("change", False),
            tuple(entry.get("skip", ())),
        )
        for entry in vocabulary()[part].values()
    )


def told_items(table: str) -> tuple[int, ...]:
    """Give the item numbers that readers see of a table of events."""
    part = {"chartevents": "chart", "labevents": "labs"}.get(table)
    return tuple(number for entry in told(part) for number in entry.ids) if part else ()
