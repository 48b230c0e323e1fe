"""A small invented hospital with its mapping, to follow or to try: what `build-cohort tables --example` writes."""

import csv
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np

from core.errors import ConfigError

MAPPING = "mapping.toml"
_STAYS, _PATIENTS, _HOURS = 60, 45, 50
_BEGIN = datetime(2031, 1, 1)  # noqa: DTZ001  (a hospital's local time)
_FORM = "%Y-%m-%d %H:%M:%S"
_VITALS = (("HR", "bpm", 85.0, 12.0), ("SYS", "mmHg", 120.0, 15.0), ("DIA", "mmHg", 65.0, 9.0), ("SAT", "%", 96.0, 2.0))
_LABS = (("GLU", "mmol/L", 7.5, 1.5), ("KREA", "umol/L", 95.0, 20.0), ("NA", "mmol/L", 139.0, 3.0))
_CODES = ("I50.9", "N17.9", "J96.00", "A41.9", "I10", "E11.9", "I48.91", "Z38.00")
_PHRASES = (
    "Short of breath at rest, needs oxygen.",
    "Urine output low since the evening.",
    "Awake and orientated, eats a little.",
    "Known high blood pressure, takes ramipril.",
    "Pulse irregular, rate controlled.",
    "Fever in the night, blood cultures taken.",
)


def write_example(folder: Path) -> Path:
    """Write the example's tables and mapping; return the mapping's path.

    Parameters
    ----------
    folder
        Where they go; it may not hold anything yet. Always the same 60 stays of 45 invented patients.

    Raises
    ------
    ConfigError
        When the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("an empty or new folder for the example", "one that holds something", "name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[object]]] = {name: [] for name in ("stays", "vitals", "labs", "notes", "diagnoses")}
    rows["drugs"] = []
    for place in range(_STAYS):
        _stay(rows, place, rng)
    headers = {
        "stays": ["stay_no", "patient_no", "case_no", "in_time", "out_time", "age", "sex"],
        "vitals": ["stay_no", "charted", "item", "value", "unit"],
        "labs": ["stay_no", "charted", "item", "value", "unit"],
        "notes": ["stay_no", "written", "kind", "text"],
        "diagnoses": ["stay_no", "icd10", "rank"],
        "drugs": ["stay_no", "given", "drug", "dose", "unit"],
    }
    for name, header in headers.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows([header, *rows[name]])
    text = files("core.cohort.sources").joinpath("tables_example.toml").read_text(encoding="utf-8")
    (folder / MAPPING).write_text(text, encoding="utf-8")
    return folder / MAPPING


def _stay(rows: dict[str, list[list[object]]], place: int, rng: np.random.Generator) -> None:
    """Add one stay; who has heart failure breathes faster and saturates worse, so that there is something to learn."""
    stay, patient = f"A-{1000 + place}", f"P{place % _PATIENTS:03d}"
    begin = _BEGIN + timedelta(hours=int(place) * 97)
    length = int(rng.integers(20, _HOURS + 30))
    ill = rng.random(len(_CODES)) < 0.35
    at = {hour: (begin + timedelta(hours=int(hour))).strftime(_FORM) for hour in range(length + 1)}
    end = (begin + timedelta(hours=length)).strftime(_FORM)
    rows["stays"].append([stay, patient, f"C{place:04d}", at[0], end, 40 + place % 50, "FM"[place % 2]])
    for hour in range(0, length, 2):
        for item, unit, mean, spread in _VITALS:
            value = rng.normal(
                mean + (15 if item == "HR" and ill[0] else 0) - (5 if item == "SAT" and ill[2] else 0), spread
            )
            rows["vitals"].append([stay, at[hour], item, round(min(value, 100) if item == "SAT" else value, 1), unit])
        fahrenheit = round(rng.normal(101.5 if ill[3] else 98.2, 0.6), 1)
        rows["vitals"].append([stay, at[hour], "TEMP", fahrenheit, "F"])
    for hour in range(1, length, 12):
        for item, unit, mean, spread in _LABS:
            value = rng.normal(mean * (2.2 if item == "KREA" and ill[1] else 1), spread)
            rows["labs"].append([stay, at[hour], item, round(value, 1), unit])
        rows["labs"].append([stay, at[hour], "PCT", round(rng.gamma(2.0, 3.0 if ill[3] else 0.2), 2), "ng/mL"])
    told = [phrase for phrase, has in zip(_PHRASES, ill[[0, 1, 7, 4, 6, 3]], strict=True) if has]
    rows["notes"].append([stay, at[2], "admission", "Admitted from the ward. " + " ".join(told)])
    rows["notes"].append([stay, end, "discharge letter", "Discharged in better health. " + " ".join(told)])
    rows["diagnoses"] += [
        [stay, code, rank + 1] for rank, code in enumerate(np.array(_CODES)[ill].tolist() or ["Z38.00"])
    ]
    rows["drugs"].append([stay, at[3], "furosemide" if ill[0] else "paracetamol", 40 if ill[0] else 1000, "mg"])
