"""Sections of a MIMIC discharge summary, by the headings its writers use.

A discharge summary is written at the end of the stay: only the sections that state what was known at admission may be
read by a model. A section runs from its heading to the next heading of any kind.
"""

import re

ADMISSION_SECTIONS: dict[str, tuple[str, ...]] = {
    "chief complaint": ("chief complaint", "reason for admission"),
    "history of present illness": ("history of present illness", "history of the present illness", "hpi"),
    "past medical history": (
        "past medical history",
        "past medical/surgical history",
        "past medical and surgical history",
        "medical history",
        "past history",
        "pmh",
        "pmhx",
        "pmh/psh",
        "past surgical history",
        "psh",
        "surgical history",
        "gynecologic history",
        "obstetric history",
        "oncologic history",
        "past oncologic history",
        "cardiac history",
        "psychiatric history",
        "past psychiatric history",
    ),
    "social history": ("social history",),
    "family history": ("family history",),
    "social and family history": ("social/family history", "social and family history"),
    "admission examination": (
        "physical exam on admission",
        "physical examination on admission",
        "admission physical exam",
        "admission physical examination",
        "admission exam",
        "exam on admission",
        "initial physical exam",
    ),
    "medications on admission": (
        "medications on admission",
        "admission medications",
        "preadmission medications",
        "the preadmission medication list is accurate and complete",
        "the preadmission medication list may be inaccurate and requires futher investigation",
        "the preadmission medication list may be inaccurate and requires further investigation",
        "home medications",
        "medications prior to admission",
    ),
}
"""Sections known at admission, and how they are headed (small letters)."""
PAST_HISTORY = "past medical history"
_LATER: tuple[str, ...] = (
    *(
        "name",
        "unit no",
        "admission date",
        "discharge date",
        "date of birth",
        "sex",
        "service",
        "allergies",
        "attending",
    ),
    *("major surgical or invasive procedure", "physical exam", "physical examination", "pertinent results", "labs"),
    *("imaging", "studies", "microbiology", "brief hospital course", "hospital course", "discharge physical exam"),
    *(
        "discharge exam",
        "physical exam on discharge",
        "discharge medications",
        "discharge disposition",
        "discharge labs",
    ),
    *("discharge diagnosis", "discharge diagnoses", "discharge condition", "discharge instructions", "followup"),
    *("followup instructions", "follow-up instructions", "facility", "review of systems", "ros", "transitional issues"),
    *("active issues", "chronic issues", "admission labs", "labs on admission", "relevant results", "ed course"),
    *("in the ed", "primary diagnosis", "secondary diagnosis", "primary", "secondary", "code status", "addendum"),
    *(
        "reports",
        "procedures",
        "consults",
        "assessment and plan",
        "impression",
        "medications on discharge",
        "on discharge",
    ),
    *(
        "surgical history",
        "gynecologic history",
        "obstetric history",
        "allergies/adverse reactions",
        "adverse reactions",
    ),
    *(
        "on transfer",
        "transfer exam",
        "micu course",
        "icu course",
        "acute issues",
        "summary",
        "discharge",
        "labs on discharge",
    ),
)
_NAMES = {name: section for section, names in ADMISSION_SECTIONS.items() for name in names}
_HEADING = re.compile(
    r"^[ \t>*#=_-]*("
    + "|".join(re.escape(name) for name in sorted((*_NAMES, *_LATER), key=len, reverse=True))
    + r")(?:[ \t]*:|[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_OTHER_HEADING = re.compile(r"^[ \t]*[A-Z][A-Za-z/&,'() -]{2,60}:[ \t]*$", re.MULTILINE)
_DISCHARGE = re.compile(
    r"(?i)\b(on|at|upon|prior to) discharge\b|\bdischarge(d)? (exam|physical|diagnos|medic|labs|home)"
)
_BLANKS = re.compile(r"[ \t]+")
_GAPS = re.compile(r"\s*\n\s*")


def sections(text: str) -> dict[str, str]:
    """Cut out the sections that were known at admission.

    Parameters
    ----------
    text
        A discharge summary.

    Returns
    -------
    dict
        Section to its text, in the order of `ADMISSION_SECTIONS`; blanks shortened, de-identification marks kept. A
        section ends at the next heading; a part of it that speaks of the discharge is cut off there.
    """
    marks = [(m.start(), m.end(), _NAMES.get(m.group(1).lower(), "")) for m in _HEADING.finditer(text)]
    known = {start for start, _, _ in marks}
    others = [m for m in _OTHER_HEADING.finditer(text) if m.start() not in known and "history" not in m.group().lower()]
    marks += [(m.start(), m.end(), "") for m in others]
    marks.sort()
    found: dict[str, list[str]] = {}
    ends = [start for start, _, _ in marks[1:]] + [len(text)]
    for (_, begin, section), end in zip(marks, ends, strict=False):
        if not section:
            continue
        body = text[begin:end]
        if (late := _DISCHARGE.search(body)) is not None:
            body = body[: body.rfind("\n", 0, late.start()) + 1]
        body = _GAPS.sub("\n", _BLANKS.sub(" ", body)).strip(" \n:")
        if body and body.strip("_. \n"):
            found.setdefault(section, []).append(body)
    return {section: "\n".join(found[section]) for section in ADMISSION_SECTIONS if section in found}
