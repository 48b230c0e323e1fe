"""What the reports share: which rows count, cells of mean ± sd, Markdown tables, and what made the rows."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.metrics.compare import mean_sd
from core.noise.settings import HOSPITAL, SETTINGS, SEVEN
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.rows import Row

K = TypeVar("K")

NONE = "–"
"""A cell without a figure."""

VERSIONS = {name: method.version for name, method in METHODS.items()}

NATURAL = {"recorded": "as recorded"}
"""Noise that nobody planted."""

COHORTS = {
    "eicu-demo": "eICU demo, noise planted in recorded labels",
    "eicu-history": "eICU demo, four lifelong illnesses",
}
AGAINST = {"eicu-demo": "recorded labels, themselves noisy", "eicu-history": "charted past histories"}

ORDER = ("clean", *SEVEN, "bal40", *HOSPITAL)
"""Noises from left to right; others follow as they come."""


@dataclass(frozen=True)
class Course:
    """Rows that may stand in one table: of one cohort, network size and number of epochs."""

    cohort: str
    size: str
    epochs: int

    @property
    def title(self) -> str:
        """As a sentence spells it."""
        return self.titled(COHORTS)

    def titled(self, cohorts: Mapping[str, str]) -> str:
        """The same with other names of cohorts."""
        name, _, stays = self.cohort.rpartition("-")
        known = f"synthetic cohort, {int(stays):,} stays" if name == "synthetic" and stays.isdigit() else self.cohort
        return f"{cohorts.get(self.cohort, known)}, {self.size} size, {self.epochs} epochs"

    @property
    def against(self) -> str:
        """What predictions and flags are scored against."""
        return AGAINST.get(self.cohort, "clean labels")

    @property
    def recorded(self) -> bool:
        """Whether the truth is not known, as it is of invented patients alone."""
        return not self.cohort.startswith("synthetic")


def courses(rows: Iterable[Row], versions: Mapping[str, str] = VERSIONS) -> dict[Course, list[Row]]:
    """Rows of each method's present version, by what may stand in one table; known truth first, then the largest."""
    found: dict[Course, list[Row]] = {}
    for row in rows:
        if row["version"] == versions.get(row["method"], row["version"]):
            found.setdefault(Course(row["cohort"], row["size"], row["epochs"]), []).append(row)
    return dict(sorted(found.items(), key=lambda item: (item[0].recorded, -len(item[1]), str(item[0]))))


def noises_of(rows: Iterable[Row]) -> list[str]:
    """Noises that the rows have, in the order of the tables."""
    present = dict.fromkeys(row["noise"] for row in rows)
    return [name for name in ORDER if name in present] + [name for name in present if name not in ORDER]


def noise_title(name: str) -> str:
    """A noise as the tables spell it."""
    return SETTINGS[name].title if name in SETTINGS else NATURAL.get(name, name)


def method_title(name: str) -> str:
    """A method as the tables spell it."""
    return METHODS[name].title if name in METHODS else name


def by_seed(rows: Iterable[Row], value: str) -> dict[int, float]:
    """A measure by seed, without those that have no answer."""
    return {row["seed"]: float(row[value]) for row in rows if answered(row.get(value))}


def answered(value: object) -> bool:
    """Whether there is a figure."""
    return isinstance(value, int | float) and not math.isnan(value)


def grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    """Rows by a key, in the order in which keys come."""
    found: dict[K, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def figure(value: float | None, digits: int = 3) -> str:
    """`0.4231` → ``.423``; –.423 with a true minus sign; a dash without a figure."""
    if value is None or not answered(value):
        return NONE
    text = f"{abs(value):.{digits}f}"
    text = text[1:] if text.startswith("0.") else text
    return f"−{text}" if value < 0 and float(f"{value:.{digits}f}") != 0 else text


def plus_minus(values: Iterable[float], digits: int = 3, runs: int = 0) -> str:
    """Mean ± standard deviation (ddof 1), the mean alone of a single run; how many runs, where it is not `runs`."""
    told = mean_sd(list(values))
    if told.n == 0:
        return NONE
    few = f" ({told.n})" if runs and told.n != runs else ""
    mean = figure(told.mean, digits)
    return mean + few if math.isnan(told.sd) else f"{mean} ± {figure(told.sd, digits)}{few}"


def p_value(p: float) -> str:
    """A p value to two figures that count, never rounded to 0; a dash where there was no test."""
    if not answered(p):
        return NONE
    if p >= 0.1:
        return figure(p, 2)
    if p >= 0.001:
        return figure(p, 3 if p >= 0.01 else 4)
    return f"{p:.1e}" if p > 0 else "< 1e-300"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (list(head), rule, *map(list, lines)))


def made_by(rows: Sequence[Row]) -> str:
    """Runs, seeds, machine and commits of some rows, in one line."""
    runs = {(row["cohort"], row["method"], row["noise"], row["seed"]) for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    commits = grouped(rows, lambda row: str(row.get("commit") or "unknown"))
    told = ", ".join(f"`{commit}`" for commit in commits)
    machines = dict.fromkeys(
        f"{'CPU' if row.get('device') == 'cpu' else row.get('device')} ({row.get('cpu')}; torch {row.get('torch')}, "
        f"numpy {row.get('numpy')}, Python {row.get('python')})"
        for row in rows
    )
    return (
        f"{len(runs)} runs; seeds {', '.join(map(str, seeds))}; {'; '.join(machines)}; "
        f"commit{'s' if len(commits) > 1 else ''} {told}."
    )


def several_options(rows: Iterable[Row]) -> list[str]:
    """Methods of which some rows were made with other options than others."""
    return sorted(
        name
        for name, mine in grouped(rows, lambda row: str(row["method"])).items()
        if len({row.get("options") for row in mine}) > 1
    )


def sections(
    rows: Sequence[Row],
    write: Callable[[Course, list[Row]], list[str]],
    versions: Mapping[str, str] = VERSIONS,
    cohorts: Mapping[str, str] = COHORTS,
) -> str:
    """One heading a cohort (spelled as in `cohorts`), size and number of epochs."""
    parts = []
    for course, mine in courses(rows, versions).items():
        title = course.titled(cohorts)
        parts += [
            f"### {title if course.recorded else title.capitalize()}",
            *write(course, mine),
            f"Made by: {made_by(mine)}",
        ]
        if mixed := several_options(mine):
            parts.append(f"Some rows were made with other options than others of the same method: {', '.join(mixed)}.")
    return "\n\n".join(parts)


def bold_if(text: str, best: bool) -> str:
    """The best of a column in bold."""
    return f"**{text}**" if best else text


def average(values: Sequence[float]) -> float | None:
    """Mean; None of nothing."""
    return math.fsum(values) / len(values) if len(values) else None
