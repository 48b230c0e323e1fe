"""What a mapping misses, before anything is built: names, columns and types, and cheap counts. Nothing is written."""

from dataclasses import dataclass
from pathlib import Path

from core.cohort.mapping import FileSpec, Mapping, read_mapping
from core.cohort.sources.tables import check_cutoff, load_all, tables_of
from core.cohort.sources.tables_files import MappedTables
from core.cohort.sources.tables_series import ROLES, code_units, coded, names_of
from core.errors import MiraclError, SourceError

CHECKED_ROWS = 1_000_000
"""So many rows of each file are looked at."""
_TOLD, _OFTEN, _LONGEST = 5, 20, 40
"""So many codes are told, of so many rows at least, so long at most: what is rarer or longer may be anything."""
_MANY = 0.05
"""A share of rows that is worth a warning."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Parameters
    ----------
    level
        ``error``: it can't be built so; ``warning``: it can, and something is left out; ``info``.
    text
        One line.
    """

    level: str
    text: str


def check_tables(mapping: Path, *, cutoff_hours: float | None = 48.0, lenient: bool = False) -> list[Finding]:
    """Check a mapping of tables against its files without writing anything.

    Parameters
    ----------
    mapping, cutoff_hours, lenient
        As for `build_tables`; a strict check calls an error what only a lenient build sets aside.

    Returns
    -------
    list of Finding
        In the order they were found; no ``error`` among them: it can be built.
    """
    try:
        check_cutoff(cutoff_hours)
        read = read_mapping(mapping)
    except MiraclError as error:
        return [Finding("error", str(error))]
    raw = MappedTables(mapping.parent, read.name, lenient=True, limit=CHECKED_ROWS)
    return check_mapped(raw, read, cutoff_hours=cutoff_hours, lenient=lenient)


def check_mapped(raw: MappedTables, mapping: Mapping, *, cutoff_hours: float | None, lenient: bool) -> list[Finding]:
    """Check a mapping against tables that were opened leniently; they are closed in any case."""
    found: list[Finding] = []
    try:
        for name, spec in tables_of(mapping):
            found += _opened(raw, name, spec)
        if any(finding.level == "error" for finding in found):
            return found
        try:
            log, told = load_all(raw, mapping, cutoff_hours, lambda stage: None)
        except MiraclError as error:
            return [*found, *_set_aside(raw, lenient), Finding("error", str(error))]
        found += _set_aside(raw, lenient)
        found += [
            Finding("info", f"stays: {line['out']:,} of {line['in']:,} left after “{line['criterion']}”")
            for line in log.lines()
        ]
        for table, spec_of in zip(names_of(mapping), mapping.measurements, strict=True):
            code_units(raw, mapping.codes, table, spec_of)
            found += _mapped(raw, table, coded(spec_of)[0])
        found += _series(raw, mapping, told)
        for name, numbers in told["coding"].items():
            found.append(Finding("info", f"labels {name}: " + _spelt(numbers)))
        if mapping.notes:
            found.append(Finding("info", "notes: " + _spelt(told["note_reading"])))
            if not raw.count("SELECT count(*) FROM notes WHERE model_end IS NOT NULL"):
                found.append(Finding("warning", "notes: none that a model may read; see model and time in [[notes]]"))
        return found
    finally:
        raw.close()


def _opened(raw: MappedTables, name: str, spec: FileSpec) -> list[Finding]:
    try:
        raw.open(name, spec)
    except SourceError as error:
        return [Finding("error", str(error))]
    return []


def _set_aside(raw: MappedTables, lenient: bool) -> list[Finding]:
    """Tell what a lenient build leaves out; a strict one stops there."""
    level = "warning" if lenient else "error"
    return [Finding(level, f"{rows:,} rows {reason}") for reason, rows in raw.set_aside.items()]


def _spelt(numbers: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in numbers.items() if isinstance(value, int))


def _mapped(raw: MappedTables, table: str, code: str) -> list[Finding]:
    """Share of a table's rows whose code is a channel, and the commonest that are none."""
    source = raw.rows(table, ROLES)
    known = "code IN (SELECT code FROM code_known)"
    raw.sql.execute(
        f"CREATE OR REPLACE TABLE seen AS SELECT {code} AS code, count(*) AS n FROM ({source}) e GROUP BY 1"
    )
    total = raw.count("SELECT sum(n) FROM seen")
    mapped = raw.count(f"SELECT sum(n) FROM seen WHERE {known}")
    share = mapped / total if total else 0.0
    others = raw.sql.execute(
        f"SELECT code, n FROM seen WHERE n >= {_OFTEN} AND length(code) <= {_LONGEST} AND NOT {known} "
        f"ORDER BY n DESC, code LIMIT {_TOLD}"
    ).fetchall()
    left = "; commonest without a channel: " + ", ".join(f"{c} ({n:,})" for c, n in others) if others else ""
    return [Finding("info", f"{raw.file(table)}: {share:.1%} of {total:,} rows have a mapped code{left}"[:290])]


def _series(raw: MappedTables, mapping: Mapping, told: dict[str, dict[str, int]]) -> list[Finding]:
    held = raw.sql.execute("SELECT channel, count(*) FROM observation GROUP BY 1").fetchall()
    by_name = {mapping.channels[int(place)].name: int(count) for place, count in held}
    empty = [c.name for c in mapping.channels if c.model and c.name not in by_name]
    stays = raw.count("SELECT count(*) FROM stay")
    without = raw.count("SELECT count(*) FROM modality WHERE NOT has_series")
    outside, total = int(told["outside_stay"]), sum(by_name.values())  # type: ignore[call-overload]
    found = [Finding("info", f"measurements: {total:,} values in {len(by_name)} channels")]
    if empty:
        found.append(Finding("warning", f"channels that a model reads and nothing fills: {', '.join(empty)}"[:290]))
    if without:
        found.append(Finding("warning", f"stays without a series before the cut-off: {without:,} of {stays:,}"))
    if outside:
        level = "warning" if outside > _MANY * total else "info"
        found.append(Finding(level, f"values outside their stay, for readers alone: {outside:,} of {total:,}"))
    for kind, words in (
        ("removed_values", "values out of range, removed"),
        ("unreadable_values", "values that are no number, left out"),
        ("strange_units", "values in a unit that [[codes]] does not have, left out"),
    ):
        if told[kind]:
            text = f"{words}: " + ", ".join(f"{name} {count:,}" for name, count in told[kind].items())
            found.append(Finding("warning", text[:290]))
    return found
