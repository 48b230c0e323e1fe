"""A mapping of Medical Event Data Standard codes: what bounds a stay, and which codes are channels, labels, notes.

It is a mapping of tables (`core.cohort.mapping`) over one long table of events, so that all else is the same.
"""

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from core.cohort.mapping import EventsSpec, FileSpec, LabelsSpec, Mapping, StaysSpec, check_whole, matchers_pattern
from core.cohort.mapping_codes import Matcher, matchers, read_channels, read_codes
from core.cohort.mapping_labels import read_label_set
from core.cohort.mapping_reader import Section, read_toml
from core.cohort.schema import EVIDENCE_KINDS
from core.errors import SourceError

SHIPPED = ("mimic4",)
"""Mappings that come with the package, by name."""
HELD_OUT = "held_out"
"""The split of MEDS that is tested on."""
EVENTS = "meds_event"
"""The view of all events with a time."""


@dataclass(frozen=True)
class MedsStays:
    """What bounds a stay and tells of its patient.

    Parameters
    ----------
    start, end
        Codes of the events at which a stay begins and ends.
    hospital_start, hospital_end
        The same for the stay in hospital around it, where known.
    birth
        Codes of the birth, where known.
    sex
        What is written for each code.
    stay, hospital_stay, ethnicity
        Further columns of the events, where the dataset has them: ids of its source, and the patient's.
    """

    start: tuple[Matcher, ...]
    end: tuple[Matcher, ...]
    hospital_start: tuple[Matcher, ...]
    hospital_end: tuple[Matcher, ...]
    birth: tuple[Matcher, ...]
    sex: dict[str, str]
    stay: str | None
    hospital_stay: str | None
    ethnicity: str | None


@dataclass(frozen=True)
class MedsView:
    """Events of some codes as a table of their own.

    Parameters
    ----------
    name
        Of the view.
    codes
        Which events.
    pattern
        An expression over the code; its groups are what `groups` names.
    groups
        Columns that the expression gives, in order.
    unit
        A further column of the events that holds the unit.
    """

    name: str
    codes: tuple[Matcher, ...]
    pattern: str = ""
    groups: tuple[str, ...] = ()
    unit: str | None = None


@dataclass(frozen=True)
class MedsMapping:
    """Everything a mapping of codes says: stays and views over the events, and the mapping of tables over those."""

    stays: MedsStays
    views: tuple[MedsView, ...]
    tables: Mapping
    extra: tuple[str, ...] = field(default=())


def read_meds_mapping(named: str, *, subject_splits: bool) -> MedsMapping:
    """Read a mapping of codes.

    Parameters
    ----------
    named
        A path, or one of `SHIPPED`.
    subject_splits
        Whether the dataset's own split is taken.

    Raises
    ------
    SourceError
        On the first thing in it that can't be used, with its place in the file.
    """
    path = Path(named)
    if named in SHIPPED:
        path = Path(str(files("core.cohort.sources").joinpath(f"meds_{named}.toml")))
    elif path.suffix != ".toml":
        raise SourceError(f"a .toml file or {', '.join(SHIPPED)} as --mapping", "another name", "write a mapping first")
    top = Section(path.name, "the top", read_toml(path))
    name, licence = top.text("name", path.stem) or path.stem, top.text("licence", "not stated") or ""
    own = top.section("stays")
    stays = _stays(own)
    spec = StaysSpec(
        FileSpec("[stays]", "", "meds_stay", _stay_columns(stays, subject_splits)),
        "hours",
        own.number("minimum_age"),
        own.flag("one_per_hospital_stay"),
        (HELD_OUT,),
    )
    if spec.minimum_age is not None and not stays.birth:
        raise own.refuse("birth", "none", 'write birth = "MEDS_BIRTH", or leave minimum_age out')
    own.done()
    channels, together = read_channels(top)
    codes = read_codes(top, channels)
    measured = top.section("measurements")
    by_patient = {"patient": "subject_id", "time": "time"}
    measurements = EventsSpec(
        FileSpec("[measurements]", "", EVENTS, {**by_patient, "code": "code", "value": "value"}),
        "timestamp",
        True,
        matchers_pattern(measured),
        measured.texts("no_unit"),
    )
    measured.done()
    views: list[MedsView] = []
    label_set = read_label_set(top)
    labels = tuple(_labels(section, stays, views) for section in top.sections("labels"))
    notes = tuple(_notes(section, views) for section in top.sections("notes"))
    evidence = tuple(_evidence(section, views) for section in top.sections("evidence"))
    top.done()
    found = (measurements,) if codes else ()
    check_whole(top, found, labels, codes)
    mapping = Mapping(path, name, licence, spec, found, notes, labels, evidence, channels, together, codes, label_set)
    extra = (stays.stay, stays.hospital_stay, stays.ethnicity, *(view.unit for view in views))
    return MedsMapping(stays, tuple(views), mapping, tuple(dict.fromkeys(column for column in extra if column)))


def _stays(section: Section) -> MedsStays:
    sex = section.take("sex")
    fits = isinstance(sex, dict) and all(isinstance(v, str) for v in sex.values())
    if sex is not None and not fits:
        raise section.refuse("sex as a table of texts by code", "something else", 'write sex = { "GENDER//F" = "F" }')
    found = MedsStays(
        matchers(section, "start"),
        matchers(section, "end"),
        matchers(section, "hospital_start"),
        matchers(section, "hospital_end"),
        matchers(section, "birth"),
        sex or {},
        section.text("stay"),
        section.text("hospital_stay"),
        section.text("ethnicity"),
    )
    if not found.start or not found.end:
        raise section.refuse("start and end", "none", 'write start = "ICU_ADMISSION//*", or what your codes are')
    return found


def _stay_columns(stays: MedsStays, subject_splits: bool) -> dict[str, str]:
    roles = ["patient", "stay", "admitted", "discharged", "hospital_stay"]
    roles += ["age"] if stays.birth else []
    roles += ["sex"] if stays.sex else []
    roles += ["ethnicity"] if stays.ethnicity else []
    roles += ["hospital_admitted", "hospital_discharged"] if stays.hospital_start and stays.hospital_end else []
    roles += ["split"] if subject_splits else []
    return {role: role for role in roles}


def _view(section: Section, views: list[MedsView], groups: tuple[str, ...], unit: str | None = None) -> MedsView:
    codes = matchers(section, "code")
    if not codes:
        raise section.refuse("code", "none", 'write code = "PREFIX//*", or a list')
    name = f"meds_{section.where.strip('[]').split(']')[0]}_{len(views)}"
    view = MedsView(name, codes, matchers_pattern(section), groups, unit)
    views.append(view)
    return view


def _labels(section: Section, stays: MedsStays, views: list[MedsView]) -> LabelsSpec:
    view = _view(section, views, ())
    two = bool(view.pattern) and re.compile(view.pattern).groups == 2
    views[-1] = view = MedsView(view.name, view.codes, view.pattern, ("system", "code") if two else ("code",))
    key = {"hospital_stay": stays.hospital_stay} if stays.hospital_stay else {"patient": "subject_id"}
    system = section.choice("system_is", ("", "9", "10", "form")) if section.has("system_is") else ""
    columns = {**key, "time": "time", "code": "code", **({"system": "system"} if two else {})}
    name = section.text("source", "icd") or "icd"
    section.done()
    return LabelsSpec(FileSpec(section.where, "", view.name, columns), name, "codes", system, "unstated", {}, True)


def _notes(section: Section, views: list[MedsView]) -> EventsSpec:
    view = _view(section, views, ("category",))
    constants = {"category": text} if (text := section.text("category_is")) else {}
    columns = {"patient": "subject_id", "time": "time", "text": "text_value"}
    if not constants:
        columns["category"] = "category" if view.pattern else "code"
    found = EventsSpec(
        FileSpec(section.where, "", view.name, columns, constants),
        "timestamp",
        True,
        model=matchers(section, "model"),
        leave_out=matchers(section, "leave_out"),
    )
    section.done()
    return found


def _evidence(section: Section, views: list[MedsView]) -> EventsSpec:
    unit = section.text("unit")
    view = _view(section, views, ("name",), unit)
    kind = section.choice("kind_is", EVIDENCE_KINDS)
    columns = {"patient": "subject_id", "time": "time", "name": "told", "value": "numeric_value", "text": "text_value"}
    columns |= {"unit": unit} if unit else {}
    found = EventsSpec(FileSpec(section.where, "", view.name, columns, {"kind": kind}), "timestamp", True)
    section.done()
    return found
