"""How a row of eICU's structured notes is read: as form control, as readers' text, or as a phrase of the model's.

A note row is a path of menus ("…/Pulmonary/Auscultation/Rales/bibasilar rales"). The last parts of the path make the
phrase ("bibasilar rales"), the first part below the note's own menus its heading ("Pulmonary").
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """What becomes of the rows with one path.

    Parameters
    ----------
    category
        The note's category: ``past history``, ``physical exam``, ``progress note``, ``procedure note``,
        ``interventions and plan``.
    heading
        Heading of the phrase's line.
    phrase
        The phrase; a charted value follows it.
    model
        Whether a model may read it.
    """

    category: str
    heading: str
    phrase: str
    model: bool


_FORM = re.compile(
    r"/(View and Save|View Options|Include Rx|Skip Screen Options \d+|Source of Patient Information:"
    r"|Enter surgery Information\?|Billing Options|Time-Out Process|system unique note types"
    r"|Allergies / Preadmission Medications)(/|$)"
    r"|Obtain Options/(Performed|Performed - Structured|Not Performed|Not Obtainable|Unknown)$"
    r"|/GCS/Score/scored$|/Interventions/[^/]+/Other/Other$|/Print Options/"
)
"""Menus that steer the form and say nothing of the patient."""

_STRUCTURE = {
    *("location", "severity", "type", "one", "two", "three", "character", "score", "obtain options"),
    *("hemodynamic data", "vital sign and physiological data", "weight and i&o"),
}
"""Menu levels that carry no meaning of their own."""
_OPEN_SECTIONS = ("Review Of Systems", "Social History / Family History", "Surgery", "Admission Page One")
"""Sections of progress notes that a model may read: they describe the patient, not what was done or concluded."""
_LEVELS = 4
"""Path parts that may enter a phrase where its last ones are generic."""
_GENERIC = re.compile(
    r"(ab)?normal|absent|present|negative|positive|reduced|increased|decreased|multiple|other|none|unknown|good|poor"
    r"|equal|lower|mid|upper|left|right|[lr]|[0-9.+]+|i{1,3}|iv|vi?|yes|no|mild|moderate|severe|rare|heavy|general|paced|tender"
    r"|current|highest|lowest|admission|delta|pending|adequate|sinus|regular|irregular|diffuse|.{0,2}"
    r"|\([a-z ]+\)|(eyes|motor|verbal) score"
    r"|(anterior|posterior) lung field\(s\)|grade|[av](/v)? paced|reduced bilaterally"
)
"""Leaves that mean nothing without what stands above them."""


def _lower(text: str) -> str:
    """Lower the capitals of plain words, not of abbreviations."""
    return re.sub(r"\b[A-Z][a-z]+\b", lambda m: m.group().lower(), text)


def _tidy(part: str) -> str:
    part = part.replace("&&", "&").replace(" (R)", "").replace("- ", " - ")
    return re.sub(r"\s+", " ", part.replace("Print ", "").replace('"', "")).strip(" :")


def _stems(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"[a-z0-9]+", text.lower())}


def _phrase(parts: list[str], *, named: bool = False) -> str:
    """Join the leaf with as many parts above it as it needs; a part whose words the phrase already has is left out.

    With `named`, the part above always comes along: of a history the menu is the disease ("non-insulin dependent
    diabetes medication dependent").
    """
    kept: list[str] = []
    for part in (_tidy(p) for p in reversed(parts)):
        if not part or (kept and (part.lower() in _STRUCTURE or _stems(part) <= _stems(" ".join(kept)))):
            continue
        generic = not kept or _GENERIC.fullmatch(kept[-1].lower())
        if kept and not generic and (len(kept) > 1 or (len(kept[-1].split()) > 1 and not named)):
            break
        kept.append(part)
        if len(kept) == _LEVELS:
            break
    return _lower(" ".join(reversed(kept)))


def read_past_history(path: str, value: str) -> Reading | None:
    """Read a `pasthistorypath` and its `pasthistoryvalue`; None for form controls."""
    if _FORM.search(path):
        return None
    parts = _parts(path, value)
    rest = parts[parts.index("Organ Systems") + 2 :] if "Organ Systems" in parts else parts[-1:]
    return Reading("past history", "Past history", _phrase(rest, named=True), True) if rest else None


def read_physical_exam(path: str, value: str) -> Reading | None:
    """Read a `physicalexampath` and its `physicalexamvalue`; None for form controls."""
    if _FORM.search(path):
        return None
    parts = _parts(path, value)
    if parts.count("Physical Exam") < 1:
        return None
    heading, *rest = parts[len(parts) - parts[::-1].index("Physical Exam") :] or [""]
    return Reading("physical exam", heading, _phrase(rest), True) if rest else None


def read_note(path: str, value: str) -> Reading | None:
    """Read a `notepath` and its `notevalue`; None for form controls.

    Interventions, diagnoses, assessment and plan and procedure notes all but name the label: readers only; so is any
    section that is not known to describe the patient alone.
    """
    if _FORM.search(path):
        return None
    parts = _parts(path, value)
    if "Procedure Notes" in parts:
        rest = parts[parts.index("Procedure Notes") + 1 :]
        heading = "Site" if rest[0] == "Shared" else rest[0]
        return Reading("procedure note", heading, _phrase(rest[1:]), False) if len(rest) > 1 else None
    if "Progress Notes" not in parts:
        return Reading("interventions and plan", "Other", _phrase(parts), False)
    section, *rest = parts[parts.index("Progress Notes") + 1 :]
    if section.startswith(_OPEN_SECTIONS):
        heading, rest = _open_section(section, rest)
        return Reading("progress note", heading, _phrase(rest), True) if rest else None
    return Reading("interventions and plan", section, _phrase(rest), False) if rest else None


def _open_section(section: str, rest: list[str]) -> tuple[str, list[str]]:
    if section.startswith("Social"):
        heading = "Family history" if rest and rest[0] == "Family History" else "Social history"
        return heading, [p for p in rest if p not in ("Social History", "Family History")]
    if section.startswith("Review"):
        return "Review of systems", rest[1:]
    return ("Surgery", rest[1:]) if section == "Surgery" else ("Admission", rest)


_SLASHED = ("Hematology/Oncology", "FEV1/FVC Ratio", "Ears/Nose/Mouth/Throat", "Drains/Tubes/Fistulas")
"""Menu names that hold slashes themselves."""


def _parts(path: str, value: str) -> list[str]:
    """Split a path into menu names; the last one is the value, which may hold slashes and be named twice."""
    menus = path.removesuffix(value).removesuffix("/") if value and path.endswith(f"/{value}") else path
    menus = menus.removesuffix(f"/{value}") if value else menus
    for name in _SLASHED:
        menus = menus.replace(name, name.replace("/", "\x00"))
    names = [part.replace("\x00", "/") for part in re.split(r"(?<! )/(?! )", menus)]
    return [*names, value] if menus != path else names
