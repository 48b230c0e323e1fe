"""ICD-9 and ICD-10 definitions of the 25 phenotypes, and how a code string is read.

The lists stand in `phenotypes.json` (origin and licence in NOTICE.md), codes without dots. A code counts only if it is
in the list of its own system: "E87.1" is ICD-10 (hyponatraemia), "E871.0" would be ICD-9 (an object left in the body).
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from core.cohort.labelset import PHENOTYPES

_NINE_NUMERIC = re.compile(r"\d{3}(\.\d{1,2})?")
_NINE_E = re.compile(r"E\d{3}(\.\d)?")
_NINE_V = re.compile(r"V\d{2}(\.\d{1,2})?")
_TEN = re.compile(r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?")


@dataclass(frozen=True)
class Definition:
    """The codes that make a phenotype.

    Parameters
    ----------
    description
        One sentence.
    icd9, icd10
        Codes without dots, upper case.
    """

    description: str
    icd9: frozenset[str]
    icd10: frozenset[str]


@cache
def definitions() -> dict[str, Definition]:
    """Definitions by label key, in `label_id` order."""
    raw = json.loads(files("core.cohort").joinpath("phenotypes.json").read_text(encoding="utf-8"))
    return {
        label.key: Definition(
            raw[label.key]["description"], frozenset(raw[label.key]["icd9"]), frozenset(raw[label.key]["icd10"])
        )
        for label in PHENOTYPES
    }


@cache
def _by_code() -> dict[tuple[int, str], tuple[str, ...]]:
    found: dict[tuple[int, str], tuple[str, ...]] = {}
    for key, definition in definitions().items():
        for system, codes in ((9, definition.icd9), (10, definition.icd10)):
            for code in codes:
                found[system, code] = (*found.get((system, code), ()), key)
    return found


def code_system(code: str) -> int | None:
    """Tell a dotted code's system by its form.

    Parameters
    ----------
    code
        One code with its dot, as a source publishes it.

    Returns
    -------
    9, 10, or None where the form is neither's.

    Notes
    -----
    ICD-9 writes E codes with three digits before the dot, ICD-10 with two. V codes are read as ICD-9: in ICD-10
    they are transport accidents, whose codes have seven characters and are in no phenotype.
    """
    if _NINE_NUMERIC.fullmatch(code) or _NINE_E.fullmatch(code) or _NINE_V.fullmatch(code):
        return 9
    return 10 if _TEN.fullmatch(code) else None


def bare(code: str) -> str:
    """Strip blanks and the dot, in capitals: the form of the definitions."""
    return code.strip().upper().replace(".", "")


def phenotypes_of(code: str, system: int | None) -> tuple[str, ...]:
    """Label keys whose definition of that system holds exactly this code.

    Parameters
    ----------
    code
        With or without dot.
    system
        9 or 10; None matches nothing.
    """
    return () if system is None else _by_code().get((system, bare(code)), ())


def manifest_labels() -> list[dict[str, Any]]:
    """Entries of the manifest's `labels`, in `label_id` order."""
    known = definitions()
    return [
        {
            "key": label.key,
            "name": label.name,
            "description": known[label.key].description,
            "persistence": label.persistence,
            "group": label.group,
            "codes": {"icd9": sorted(known[label.key].icd9), "icd10": sorted(known[label.key].icd10)},
            "guideline": label.key,
        }
        for label in PHENOTYPES
    ]


def manifest_label_groups() -> list[dict[str, Any]]:
    """Entries of the manifest's `label_groups`: labels that are decided together."""
    names = {"diabetes": "Diabetes mellitus", "hypertension": "Hypertension"}
    return [
        {"key": key, "name": name, "labels": [label.key for label in PHENOTYPES if label.group == key]}
        for key, name in names.items()
    ]
