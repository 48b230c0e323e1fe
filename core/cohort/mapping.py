"""A hospital's mapping: which file and column of its own long tables is what in a cohort.

A mapping is a TOML file. `read_mapping` reads and checks all of it before any table is opened; names that are not
known are told with the nearest. What the parts mean stands in SOURCES.md.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from core.cohort.channels import Channel
from core.cohort.mapping_codes import CodeEntry, Matcher, matchers, read_channels, read_codes
from core.cohort.mapping_labels import LabelSet, read_label_set
from core.cohort.mapping_reader import Section, read_toml
from core.cohort.schema import EVIDENCE_KINDS

HOURS = {"timestamp": 0.0, "hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600, "days": 24.0}
"""What a time column may count, and the hours of one; ``timestamp``: a date and time of day."""
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
ENCODINGS = ("utf-8", "latin-1", "utf-16")
KEYS = ("stay", "hospital_stay", "patient")
"""What a row may be found by, the narrowest first."""


@dataclass(frozen=True)
class FileSpec:
    """A file of the hospital's, or a table of its database, and its columns.

    Parameters
    ----------
    where
        Its table in the mapping, for messages.
    file
        Path below the mapping's folder, a glob, or a database; empty for a view that is already there.
    table
        Name of the table in a database, or of the view.
    columns
        Column by role.
    constants
        Text by role, for what the file has no column for.
    delimiter, encoding, decimal, time_format
        How its text is written; `time_format` as ``%d.%m.%Y %H:%M``, empty for ISO 8601.
    """

    where: str
    file: str
    table: str
    columns: dict[str, str]
    constants: dict[str, str] = field(default_factory=dict)
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    time_format: str = ""

    @property
    def key(self) -> str:
        """What its rows are found by: ``stay``, ``hospital_stay`` or ``patient``."""
        return next((key for key in KEYS if key in self.columns), "")


@dataclass(frozen=True)
class StaysSpec:
    """Who is in the cohort."""

    source: FileSpec
    los_unit: str
    minimum_age: float | None
    one_per_hospital_stay: bool
    test_values: tuple[str, ...]


@dataclass(frozen=True)
class EventsSpec:
    """A long table with times: measurements, notes or evidence.

    Parameters
    ----------
    time_is
        One of `HOURS`.
    pattern
        Of measurements: an expression over the code whose groups are the code and its unit; empty: as it is.
    no_unit
        Of measurements: units that say none is stated.
    ignore_others
        Whether rows of stays that are not in the stays' file are passed over.
    model, at_admission, leave_out
        Of notes: categories that a model may read, that were known at admission, that are not kept at all.
    """

    source: FileSpec
    time_is: str
    ignore_others: bool
    pattern: str = ""
    no_unit: tuple[str, ...] = ()
    model: tuple[Matcher, ...] = ()
    at_admission: tuple[Matcher, ...] = ()
    leave_out: tuple[Matcher, ...] = ()


@dataclass(frozen=True)
class LabelsSpec:
    """A source of labels.

    Parameters
    ----------
    name
        Of the source, in the labels' table.
    form
        ``codes`` (diagnosis codes) or ``values`` (stay, label, value).
    system
        Of codes: 9, 10, ``form`` (told by a dotted code's form) or empty (a column, or the hospital's own codes).
    unlisted
        Of values: what a label without a row is, in a stay that has any: ``unstated`` or ``absent``.
    values
        Of values: 1 or 0 by text.
    """

    source: FileSpec
    name: str
    form: str
    system: str
    unlisted: str
    values: dict[str, float]
    ignore_others: bool


@dataclass(frozen=True)
class Mapping:
    """Everything a mapping says."""

    path: Path
    name: str
    licence: str
    stays: StaysSpec
    measurements: tuple[EventsSpec, ...]
    notes: tuple[EventsSpec, ...]
    labels: tuple[LabelsSpec, ...]
    evidence: tuple[EventsSpec, ...]
    channels: tuple[Channel, ...]
    together: dict[str, str]
    codes: tuple[CodeEntry, ...]
    label_set: LabelSet

    def files(self) -> list[FileSpec]:
        """Every file it names, in the order they are read."""
        events = [spec.source for spec in (*self.measurements, *self.notes, *self.evidence)]
        return [self.stays.source, *events, *(spec.source for spec in self.labels)]


_STAY_ROLES = (
    *("patient", "stay", "admitted", "discharged", "los", "age", "sex", "ethnicity", "hospital_stay", "hospital"),
    *("hospital_admitted", "hospital_discharged", "visit", "split"),
)
ANSWERS = {"1": 1, "0": 0, "true": 1, "false": 0, "yes": 1, "no": 0, "present": 1, "absent": 0, "1.0": 1, "0.0": 0}
"""What a label's value may be; an empty one is not stated."""


def read_mapping(path: Path) -> Mapping:
    """Read a mapping of tables.

    Raises
    ------
    SourceError
        On the first thing in it that can't be used, with its place in the file.
    """
    top = Section(path.name, "the top", read_toml(path))
    name, licence = top.text("name", path.stem) or path.stem, top.text("licence", "not stated") or ""
    written = top.section("files")
    house = {key: written.take(key) for key in ("delimiter", "encoding", "decimal", "time_format")}
    written.done()
    stays = _stays(top.section("stays"), house)
    measurements = tuple(_measurements(section, house) for section in top.sections("measurements"))
    notes = tuple(_notes(section, house) for section in top.sections("notes"))
    label_set = read_label_set(top)
    labels = tuple(_labels(section, house) for section in top.sections("labels"))
    evidence = tuple(_evidence(section, house) for section in top.sections("evidence"))
    channels, together = read_channels(top)
    codes = read_codes(top, channels)
    top.done()
    check_whole(top, measurements, labels, codes)
    return Mapping(
        path, name, licence, stays, measurements, notes, labels, evidence, channels, together, codes, label_set
    )


def check_whole(
    top: Section,
    measurements: tuple[EventsSpec, ...],
    labels: tuple[LabelsSpec, ...],
    codes: tuple[CodeEntry, ...],
) -> None:
    """Refuse a mapping that no cohort can come of: no labels, sources of one name, measurements without codes."""
    if not labels:
        raise top.refuse("[labels]", "none", "say where the labels or the diagnosis codes are")
    names = [spec.name for spec in labels]
    if len(set(names)) != len(names):
        raise top.refuse("each label source once", "a name twice", 'give each [[labels]] its own source = "…"')
    if measurements and not codes:
        raise top.refuse("[[codes]] for [[measurements]]", "none", "say which code is which channel")


def file_spec(section: Section, house: dict[str, object], roles: tuple[str, ...], fixed: tuple[str, ...]) -> FileSpec:
    """Read what a file's table says of the file and its columns.

    Parameters
    ----------
    house
        How text is written, unless the file's own table says otherwise.
    roles
        Roles that a column may have.
    fixed
        Those that may be one text for all rows (``code_is``).
    """
    file = section.need("file")
    table = section.text("table", "") or ""
    own = {key: section.take(key) if section.has(key) else house[key] for key in house}
    delimiter = str(own["delimiter"] or ",")
    delimiter = DELIMITERS.get(delimiter, delimiter)
    if len(delimiter) != 1:
        raise section.refuse(f"delimiter as one mark or of {', '.join(DELIMITERS)}", "other text", "choose one")
    encoding, decimal = str(own["encoding"] or "utf-8").lower(), str(own["decimal"] or ".")
    if encoding not in ENCODINGS:
        raise section.refuse(f"encoding of {', '.join(ENCODINGS)}", f"{encoding!r}", "choose one, or convert the file")
    if decimal not in (".", ","):
        raise section.refuse('decimal "." or ","', "another mark", "choose one of them")
    columns = {role: column for role in roles if (column := section.text(role)) is not None}
    constants = {role: text for role in fixed if (text := section.text(f"{role}_is")) is not None}
    return FileSpec(
        section.where, file, table, columns, constants, delimiter, encoding, decimal, str(own["time_format"] or "")
    )


def _needs(section: Section, spec: FileSpec, *roles: str) -> None:
    for role in roles:
        if role not in spec.columns and role not in spec.constants:
            section.need(role)


def _keyed(section: Section, spec: FileSpec, time_is: str) -> bool:
    """Check that rows can be found, and say whether rows of other stays are passed over."""
    others = section.choice("other_stays", ("refuse", "ignore"))
    if not spec.key:
        raise section.refuse("stay, hospital_stay or patient", "none", "name the column whose stay a row belongs to")
    if spec.key != "stay" and time_is != "timestamp":
        raise section.refuse("time as a timestamp where rows are not keyed by stay", time_is, "name the stay's column")
    return others == "ignore"


def _stays(section: Section, house: dict[str, object]) -> StaysSpec:
    spec = file_spec(section, house, _STAY_ROLES, ())
    _needs(section, spec, "stay", "patient")
    if "los" not in spec.columns:
        _needs(section, spec, "admitted", "discharged")
    found = StaysSpec(
        spec,
        section.choice("los_unit", ("hours", "days", "minutes")),
        section.number("minimum_age"),
        section.flag("one_per_hospital_stay"),
        tuple(value.lower() for value in section.texts("test_values")) or ("test", "1", "true"),
    )
    for flag, role in ((found.minimum_age is not None, "age"), (found.one_per_hospital_stay, "hospital_stay")):
        if flag:
            _needs(section, spec, role)
    section.done()
    return found


def _measurements(section: Section, house: dict[str, object]) -> EventsSpec:
    spec = file_spec(section, house, (*KEYS, "time", "code", "value", "unit"), ("code", "unit"))
    _needs(section, spec, "time", "code", "value")
    time_is = section.choice("time_is", tuple(HOURS))
    pattern = matchers_pattern(section)
    found = EventsSpec(spec, time_is, _keyed(section, spec, time_is), pattern, section.texts("no_unit"))
    section.done()
    return found


def matchers_pattern(section: Section) -> str:
    """Read `pattern`, an expression with one group or two."""
    text = section.text("pattern", "") or ""
    if text:
        try:
            groups = re.compile(text).groups
        except re.error as error:
            raise section.refuse("pattern as an expression", f"{error}", "mend it") from None
        if groups not in (1, 2):
            raise section.refuse("pattern with one group or two", f"{groups} groups", "put the code in ( )")
    return text


def _notes(section: Section, house: dict[str, object]) -> EventsSpec:
    spec = file_spec(section, house, (*KEYS, "note", "time", "entered", "category", "text"), ("category",))
    _needs(section, spec, "category", "text")
    time_is = section.choice("time_is", tuple(HOURS))
    found = EventsSpec(
        spec,
        time_is,
        _keyed(section, spec, time_is),
        model=matchers(section, "model"),
        at_admission=matchers(section, "at_admission"),
        leave_out=matchers(section, "leave_out"),
    )
    section.done()
    return found


def _labels(section: Section, house: dict[str, object]) -> LabelsSpec:
    form = section.choice("form", ("codes", "values"))
    roles = ("code", "system", "priority", "time") if form == "codes" else ("label", "value", "time")
    spec = file_spec(section, house, (*KEYS, *roles), ())
    _needs(section, spec, *(("code",) if form == "codes" else ("label", "value")))
    system = section.choice("system_is", ("", "9", "10", "form")) if section.has("system_is") else ""
    values = {text: float(answer) for text, answer in ANSWERS.items()} | section.numbers_by_text("values")
    if not set(values.values()) <= {0.0, 1.0}:
        raise section.refuse("values of 0 and 1", "another number", 'write values = { "text" = 1 }')
    unlisted = section.choice("unlisted", ("unstated", "absent"))
    name = section.text("source", "icd" if form == "codes" else "given") or ""
    found = LabelsSpec(spec, name, form, system, unlisted, values, _keyed(section, spec, "timestamp"))
    if spec.key == "patient":
        _needs(section, spec, "time")
    section.done()
    return found


def _evidence(section: Section, house: dict[str, object]) -> EventsSpec:
    roles = (*KEYS, "time", "kind", "name", "value", "unit", "text")
    spec = file_spec(section, house, roles, ("kind", "name", "unit"))
    _needs(section, spec, "kind", "name")
    if spec.constants.get("kind", EVIDENCE_KINDS[0]) not in EVIDENCE_KINDS:
        raise section.refuse(f"kind_is of {', '.join(EVIDENCE_KINDS)}", "another word", "choose one of them")
    time_is = section.choice("time_is", tuple(HOURS))
    found = EventsSpec(spec, time_is, _keyed(section, spec, time_is))
    section.done()
    return found
