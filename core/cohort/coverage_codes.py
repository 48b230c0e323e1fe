"""ICD-10's chapters, and the General Equivalence Mappings from ICD-10-CM to ICD-9-CM."""

import re
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.errors import SourceError

_CHAPTERS = (
    ("A00", "I Infectious and parasitic diseases"),
    ("C00", "II Neoplasms"),
    ("D50", "III Blood and immune system"),
    ("E00", "IV Endocrine, nutritional and metabolic"),
    ("F00", "V Mental and behavioural"),
    ("G00", "VI Nervous system"),
    ("H00", "VII Eye"),
    ("H60", "VIII Ear"),
    ("I00", "IX Circulatory system"),
    ("J00", "X Respiratory system"),
    ("K00", "XI Digestive system"),
    ("L00", "XII Skin"),
    ("M00", "XIII Musculoskeletal system"),
    ("N00", "XIV Genitourinary system"),
    ("O00", "XV Pregnancy and childbirth"),
    ("P00", "XVI Perinatal period"),
    ("Q00", "XVII Congenital"),
    ("R00", "XVIII Symptoms and abnormal findings"),
    ("S00", "XIX Injury and poisoning"),
    ("U00", "XXII Special purposes"),
    ("V00", "XX External causes"),
    ("Z00", "XXI Factors influencing health"),
)
"""First category and name of each chapter (WHO), in order of the codes."""
_TEN = re.compile(r"[A-Z][0-9][0-9A-Z]{1,5}")
_FLAGS = re.compile(r"[01]{3}[0-9]{2}")
_NO_MAP, _APPROXIMATE, _COMBINATION = 1, 0, 2
"""Places of the flags: approximate, no map, combination, scenario, choice list (CMS, 2018)."""
_TODO = "give CMS's mappings from ICD-10 to ICD-9, such as 2018_I10gem.txt"


def chapter_of(category: str) -> str:
    """Name the chapter of a three-character category."""
    place = bisect_right([first for first, _ in _CHAPTERS], category) - 1
    return _CHAPTERS[max(place, 0)][1]


def read_gems(path: Path) -> pa.Table:
    """Read a file of General Equivalence Mappings: code, target and five flags in each line, blanks between.

    Returns
    -------
    pyarrow.Table
        code, target (without dots), approximate, combination; lines that say that there is no counterpart are left out.

    Raises
    ------
    SourceError
        When the file is missing, empty, not text, of another form, or maps the other way.
    """
    if not path.is_file():
        raise SourceError(f"the file {path.name}", "no such file", _TODO)
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError):
        raise SourceError(f"{path.name} as a text file", "one that can't be read", _TODO) from None
    rows = [line for line in lines if line]
    if not rows:
        raise SourceError(f"{path.name} with mappings", "an empty file", _TODO)
    bad = [n for n, line in enumerate(lines, 1) if line and (len(line) != 3 or not _FLAGS.fullmatch(line[2]))]
    if bad:
        came = f"other text in {len(bad)} lines, first in line {bad[0]}"
        raise SourceError(f"code, target and five flags in each line of {path.name}", came, _TODO)
    codes, targets, flags = (np.array(column) for column in zip(*rows, strict=True))
    wrong = np.array([_TEN.fullmatch(code) is None for code in codes])
    if wrong.mean() > 0.5:
        raise SourceError(f"ICD-10 codes first in {path.name}", "codes of another system", _TODO)
    digits = np.array([list(flag) for flag in flags])
    kept = digits[:, _NO_MAP] == "0"
    return pa.table(
        {
            "code": codes[kept],
            "target": targets[kept],
            "approximate": digits[kept, _APPROXIMATE] == "1",
            "combination": digits[kept, _COMBINATION] == "1",
        }
    )
