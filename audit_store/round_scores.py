"""How one group's selection scores fall into parts, and where the parts are cut."""

from dataclasses import dataclass
from itertools import pairwise

from audit_store.round_reader import RoundFile
from audit_store.schema import PARTITIONS


@dataclass(frozen=True)
class PartRange:
    """One part of a group: how many pairs, and the lowest and highest selection score (0–1, high = suspect)."""

    part: str
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Cut:
    """Where one part ends and the next begins: half-way between the highest score of one and the lowest of the other.

    Parameters
    ----------
    at
        Selection score, 0–1.
    below, above
        The parts on either side.
    """

    at: float
    below: str
    above: str


def part_ranges(round_file: RoundFile, label_key: str, observed: int) -> list[PartRange]:
    """Give the parts of the pairs of one label and recorded value, in the order of `PARTITIONS`; none without pairs."""
    found = round_file.rows(
        "SELECT partition, count(*), min(selection_score), max(selection_score) FROM pair "
        "WHERE label_id = ? AND observed = ? GROUP BY partition",
        (round_file.label_id(label_key), observed),
    )
    made = [PartRange(str(part), int(n), float(low), float(high)) for part, n, low, high in found]
    return sorted(made, key=lambda item: PARTITIONS.index(item.part))


def cuts(ranges: list[PartRange]) -> list[Cut]:
    """Give the cuts between parts that scores tell apart; settled pairs, and parts that overlap, have none."""
    scored = [item for item in ranges if item.part != "locked"]
    return [
        Cut((lower.high + upper.low) / 2, lower.part, upper.part)
        for lower, upper in pairwise(scored)
        if lower.high <= upper.low
    ]
