"""CITATION.cff of an export for publication: Citation File Format 1.2.0, what only its authors know marked as such."""

import json
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from audit_store.errors import ExportError

FILL_IN = "FILL IN"
"""Stands where a person has to write before publishing."""
_DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")
_LONGEST = 300


@dataclass(frozen=True)
class Citation:
    """What an export for publication is to be cited as.

    Parameters
    ----------
    title
        Of the data set; None: made from the cohort's name.
    authors
        People as ``Family, Given``, or institutions by name; none: a mark to fill in.
    doi
        As 10.…/…, without its resolver; None where there is none yet.
    """

    title: str | None = None
    authors: tuple[str, ...] = ()
    doi: str | None = None

    def __post_init__(self) -> None:
        for words in (self.title, *self.authors):
            if words is not None and not (words.strip() and words.isprintable() and len(words) <= _LONGEST):
                raise ExportError(
                    f"a title and authors in one line of 1–{_LONGEST} characters", "other text", "type them again"
                )
        if len(set(self.authors)) != len(self.authors):
            raise ExportError("each author once", "one twice", "leave the second out")
        if self.doi is not None and not _DOI.fullmatch(self.doi):
            raise ExportError("a DOI such as 10.5281/zenodo.1003150", "other text", "give it without its address")


def citation_text(asked: Citation, cohort: str, round_id: int, abstract: str, version: str, day: date) -> str:
    """Write the file; each value in JSON's quotes, which YAML reads as they are.

    Parameters
    ----------
    asked
        Title, authors, DOI.
    cohort, round_id, abstract, version
        What the labels are of, in words.
    day
        Of release.
    """
    fields: list[tuple[str, Any]] = [
        ("cff-version", "1.2.0"),
        ("message", "Please cite these labels as below, and the data set that they belong to as its authors ask."),
        ("type", "dataset"),
        ("title", asked.title or f"Audited diagnosis labels of {cohort}, round {round_id}"),
        ("version", version),
        ("date-released", day.isoformat()),
        ("abstract", abstract),
        ("keywords", ["electronic health records", "phenotyping", "label noise", "expert review"]),
    ]
    if asked.doi is not None:
        fields.append(("doi", asked.doi))
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields]
    notes = [f"# {FILL_IN}: {words}" for words in placeholders(asked)]
    return "\n".join([*notes, *lines, "authors:", *_authors(asked.authors)]) + "\n"


def placeholders(asked: Citation) -> list[str]:
    """Say what a person has to fill in before publishing."""
    told = [] if asked.authors else ["authors"]
    return [*told, *([] if asked.doi else ["doi, once there is one"]), "license, as the source's licence allows"]


def _authors(authors: tuple[str, ...]) -> list[str]:
    lines = []
    for author in authors or (f"{FILL_IN}: authors",):
        family, comma, given = (part.strip() for part in author.partition(","))
        if comma and family and given:
            lines += [
                f"  - family-names: {json.dumps(family, ensure_ascii=False)}",
                f"    given-names: {json.dumps(given, ensure_ascii=False)}",
            ]
        else:
            lines.append(f"  - name: {json.dumps(author.strip(), ensure_ascii=False)}")
    return lines
