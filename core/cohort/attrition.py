"""The log of who is in a cohort: each criterion with how many came in, were removed and went on."""

from core.errors import CohortError


class Attrition:
    """Criteria in the order they were applied.

    Parameters
    ----------
    criterion
        What the first count is of, e.g. "unit stays in the source".
    count
        How many there are.
    """

    def __init__(self, criterion: str, count: int) -> None:
        if count < 0:
            raise CohortError("a count of zero or more", str(count), "count again")
        self._lines: list[dict[str, int | str]] = [{"criterion": criterion, "in": count, "removed": 0, "out": count}]

    @property
    def remaining(self) -> int:
        """How many are left."""
        return int(self._lines[-1]["out"])

    def keep(self, criterion: str, remaining: int) -> None:
        """Log a criterion that left `remaining`; the last line's `out` is this line's `in`.

        Raises
        ------
        CohortError
            When more remain than came in, or fewer than none.
        """
        before = self.remaining
        if not 0 <= remaining <= before:
            raise CohortError(f"between 0 and {before} left by “{criterion}”", str(remaining), "count again")
        self._lines.append({"criterion": criterion, "in": before, "removed": before - remaining, "out": remaining})

    def note(self, criterion: str) -> None:
        """Log a line that removes nothing, e.g. stays kept as not recorded."""
        self.keep(criterion, self.remaining)

    def lines(self) -> list[dict[str, int | str]]:
        """Return the manifest's `attrition`: criterion, in, removed, out."""
        return [dict(line) for line in self._lines]
