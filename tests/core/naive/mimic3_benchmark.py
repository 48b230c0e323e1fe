"""The published procedure of mimic3-benchmarks, restated from its description: one stay at a time, nothing clever.

Subjects are extracted, events validated, episodes made and discretised as that project's papers and scripts describe.
It shares no code with the loader. `ours` turns single steps into the loader's, so that every difference between the two
has a name; with all of them the two must agree.
"""

import csv
import gzip
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

STEPS = (
    "blood only",
    "plausible range",
    "largest as a number",
    "oxygen above 1 is per cent",
    "closed at the left",
    "no eye opening is 1 point",
)
"""What the loader does otherwise.

Urine and other fluids are not read as blood; values out of range are removed; of several values of a moment the largest
number counts, not the last in the order of texts; inspired oxygen is divided by 100 where it is above 1, only there; a
value on the very hour opens an hour instead of closing one; "None", charted for eye opening, is 1 point, not 0.
"""
NOT_BLOOD = {51478, 51491, 51094, 50831}
_EPS = 1e-6
_MISSING = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "n/a", "#N/A"}
_NUMBER = re.compile(r"^(\d+(\.\d*)?|\.\d+)$")


@dataclass
class Episode:
    """One stay: its labels, and per hour and variable the score (None before imputing: not measured)."""

    stay: int
    labels: dict[str, int]
    hours: list[dict[str, float]]


def rows_of(folder: Path, table: str) -> Iterator[dict[str, str]]:
    """Rows of a published table, column names in capitals."""
    path = next(p for p in folder.iterdir() if p.name.upper().split(".")[0] == table)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="") as handle:
        for row in csv.DictReader(handle):
            yield {name.upper(): value for name, value in row.items()}


def variables(resources: Path) -> dict[int, tuple[str, str]]:
    """Item to (variable, label) for the items that are ready and occur."""
    found = {}
    with (resources / "itemid_to_variable_map.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["LEVEL2"] and row["STATUS"] == "ready" and int(row["COUNT"] or 0) > 0:
                found[int(row["ITEMID"])] = (row["LEVEL2"], row["MIMIC LABEL"])
    return found


def stays(folder: Path) -> list[dict[str, object]]:
    """Adults with one ICU stay in the admission and no transfer."""
    born = {int(r["SUBJECT_ID"]): datetime.fromisoformat(r["DOB"]) for r in rows_of(folder, "PATIENTS")}
    kept = []
    for row in rows_of(folder, "ICUSTAYS"):
        if row["FIRST_CAREUNIT"] == row["LAST_CAREUNIT"] and row["FIRST_WARDID"] == row["LAST_WARDID"]:
            kept.append(row)
    count: dict[str, int] = defaultdict(int)
    for row in kept:
        count[row["HADM_ID"]] += 1
    out: list[dict[str, object]] = []
    for row in kept:
        if count[row["HADM_ID"]] != 1:
            continue
        begin = datetime.fromisoformat(row["INTIME"])
        age = (begin - born[int(row["SUBJECT_ID"])]).total_seconds() / 3600 / 24 / 365
        if age < 0:
            age = 90
        if age >= 18 and row["LOS"]:
            out.append(
                {
                    "subject": int(row["SUBJECT_ID"]),
                    "hadm": int(row["HADM_ID"]),
                    "stay": int(row["ICUSTAY_ID"]),
                    "begin": begin,
                    "los": 24 * float(row["LOS"]),
                    "end": datetime.fromisoformat(row["OUTTIME"]),
                }
            )
    return out


def labels(folder: Path, resources: Path, kept: list[dict[str, object]]) -> dict[int, dict[str, int]]:
    """25 phenotypes of each stay's admission."""
    groups = yaml.safe_load((resources / "hcup_ccs_2015_definitions.yaml").read_text())
    wanted = {name: set(g["codes"]) for name, g in groups.items() if g["use_in_benchmark"]}
    codes = defaultdict(set)
    for row in rows_of(folder, "DIAGNOSES_ICD"):
        codes[int(row["HADM_ID"])].add(row["ICD9_CODE"])
    return {
        int(str(s["stay"])): {name: int(bool(mine & codes[int(str(s["hadm"]))])) for name, mine in wanted.items()}
        for s in kept
    }


def events(folder: Path, items: dict[int, tuple[str, str]], kept: list[dict[str, object]]) -> dict[int, list[dict]]:
    """Validated events of each stay: of its admission, of its ICU stay or of none."""
    by_admission = {s["hadm"]: s["stay"] for s in kept}
    found: dict[int, list[dict]] = defaultdict(list)
    for table in ("CHARTEVENTS", "LABEVENTS", "OUTPUTEVENTS"):
        for row in rows_of(folder, table):
            if int(row["ITEMID"]) not in items or not row["HADM_ID"]:
                continue
            stay = by_admission.get(int(row["HADM_ID"]))
            named = row.get("ICUSTAY_ID") or ""
            if stay is None or (named and int(named) != stay):
                continue
            found[int(str(stay))].append({**row, "TIME": datetime.fromisoformat(row["CHARTTIME"])})
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def clean(variable: str, label: str, value: str, unit: str, as_text: bool, ours: frozenset[str]) -> object:
    """What the procedure makes of a charted value; None drops it. Numbers come out as floats where it casts them."""
    unit, label = unit.lower(), label.lower()
    if variable in ("Systolic blood pressure", "Diastolic blood pressure"):
        if "/" in value:
            parts = re.match(r"^(\d+)/(\d+)$", value)
            assert parts is not None
            return float(parts.group(1 if variable.startswith("S") else 2))
        return float(value)
    if variable == "Capillary refill rate":
        return {"Normal <3 secs": 0.0, "Brisk": 0.0, "Abnormal >3 secs": 1.0, "Delayed": 1.0}.get(value)
    if variable == "Fraction inspired oxygen":
        number = float(value)
        if "oxygen above 1 is per cent" in ours:
            return number / 100 if number > 1 else number
        return number / 100 if "torr" not in unit and (as_text or number > 1) else number
    if variable in ("Glucose", "pH"):
        return float(value) if not as_text or _NUMBER.match(value) else None
    if variable == "Oxygen saturation":
        if as_text and not _NUMBER.match(value):
            return None
        return float(value) * 100 if float(value) <= 1 else float(value)
    if variable == "Temperature":
        number = float(value)
        return (number - 32) * 5 / 9 if number >= 79 else number
    if variable == "Weight":
        number = float(value)
        ounces = "oz" in unit or "oz" in label
        pounds = ounces or "lb" in unit or "lb" in label
        return (number / 16 if ounces else number) * (0.453592 if pounds else 1)
    if variable == "Height":
        return float(round(float(value) * 2.54)) if "in" in unit or "in" in label else float(value)
    return value if as_text else float(value)


def episode(
    stay: dict[str, object],
    mine: list[dict],
    items: dict[int, tuple[str, str]],
    scores: dict[str, dict],
    ranges: dict[str, tuple[float, float]],
    as_text: bool,
    ours: frozenset[str],
) -> list[dict[str, float]]:
    """Hours of one stay, each with the last value of every variable that was measured in it."""
    begin, end = stay["begin"], stay["end"]
    assert isinstance(begin, datetime)
    assert isinstance(end, datetime)
    present = [row for row in mine if row["VALUE"] not in _MISSING]
    charted: dict[tuple[datetime, str], list[object]] = defaultdict(list)
    for row in present:
        item = int(row["ITEMID"])
        if "blood only" in ours and item in NOT_BLOOD:
            continue
        variable, label = items[item]
        value = clean(variable, label, row["VALUE"], row.get("VALUEUOM") or "", as_text, ours)
        if value is None:
            continue
        if "plausible range" in ours and variable in ranges and not _within(value, ranges[variable]):
            continue
        charted[row["TIME"], variable].append(value)
    series = []
    for (moment, variable), values in charted.items():
        hour = (moment - begin).total_seconds() / 3600
        if not -_EPS < hour < float(str(stay["los"])) + _EPS:
            continue
        series.append((hour, variable, _last(values, "largest as a number" in ours, scores.get(variable))))
    if not series:
        return []
    series.sort(key=lambda entry: entry[0])
    left = "closed at the left" in ours
    last = series[-1][0]
    grid: list[dict[str, float]] = [{} for _ in range(int(last) + 1 if left else int(last + 1 - _EPS))]
    for hour, variable, value in series:
        place = int(hour) if left else int(hour - _EPS)
        score = scores[variable][str(value)] if variable in scores else float(str(value))
        grid[place][variable] = float(score)
    return grid


def _within(value: object, ends: tuple[float, float]) -> bool:
    return ends[0] <= float(str(value)) <= ends[1]


def _last(values: list[object], as_number: bool, scores: dict | None) -> object:
    """Of one moment's values the last in order: numbers before texts, texts by their letters."""
    if as_number:
        return max(values, key=lambda v: scores[str(v)] if scores else float(str(v)))
    return max(values, key=lambda v: (isinstance(v, str), v))


@dataclass
class Subjects:
    """What is read of the folder, once."""

    items: dict[int, tuple[str, str]]
    kept: list[dict[str, object]]
    coded: dict[int, dict[str, int]]
    found: dict[int, list[dict]]


def subjects(folder: Path, resources: Path) -> Subjects:
    """Stays, labels and validated events of the benchmark's cohort."""
    items, kept = variables(resources), stays(folder)
    return Subjects(items, kept, labels(folder, resources, kept), events(folder, items, kept))


def episodes(
    read: Subjects,
    scores: dict[str, dict],
    ranges: dict[str, tuple[float, float]],
    ours: frozenset[str] = frozenset(),
) -> dict[int, Episode]:
    """Every stay of the benchmark's cohort.

    A subject's values are read as texts where one of them is no number, as a table's column is.
    """
    texts = {
        s["subject"]
        for s in read.kept
        if any(r["VALUE"] not in _MISSING and not _is_number(r["VALUE"]) for r in read.found[int(str(s["stay"]))])
    }
    if "no eye opening is 1 point" in ours:
        scores = {name: {**known, **({"None": 1} if "None" in known else {})} for name, known in scores.items()}
    out = {}
    for s in read.kept:
        stay = int(str(s["stay"]))
        hours = episode(s, read.found[stay], read.items, scores, ranges, s["subject"] in texts, ours)
        out[stay] = Episode(stay, read.coded[stay], hours)
    return out
