"""A hospital's own tables: the same cohort from any kind of file, and what each part of a mapping does."""

import csv
import gzip
import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from core.cohort.discretise import SeriesConfig, pack_series
from core.cohort.passages import readable_notes
from core.cohort.sources.tables import build_tables
from core.cohort.store import open_cohort, stable_id
from core.errors import SourceError
from tests.core.mapped_fixture import Spoil, copy_of, edited, hospital, read_rows, write_rows

SAME = ("stays", "observations", "notes", "labels")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hospital(tmp_path_factory.mktemp("hospital") / "example")


@pytest.fixture(scope="module")
def built(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("built") / "cohort"
    build_tables(example, target)
    return target


def _as_parquet(folder: Path) -> None:
    for path in sorted(folder.glob("*.csv")):
        pq.write_table(pacsv.read_csv(path), path.with_suffix(".parquet"))
        path.unlink()
    text = (folder / "mapping.toml").read_text().replace('.csv"', '.parquet"')
    (folder / "mapping.toml").write_text(text)


def _as_database(folder: Path, name: str) -> None:
    text = (folder / "mapping.toml").read_text()
    for path in sorted(folder.glob("*.csv")):
        header, *rows = read_rows(path)
        if name.endswith(".duckdb"):
            with duckdb.connect(str(folder / name)) as sql:
                sql.execute(f"CREATE TABLE {path.stem} AS SELECT * FROM read_csv('{path}')")
        else:
            connection = sqlite3.connect(folder / name)
            connection.execute(f"CREATE TABLE {path.stem} ({', '.join(header)})")
            connection.executemany(f"INSERT INTO {path.stem} VALUES ({', '.join('?' * len(header))})", rows)
            connection.commit()
            connection.close()
        text = text.replace(f'file = "{path.name}"', f'file = "{name}"\ntable = "{path.stem}"')
    (folder / "mapping.toml").write_text(text)


def _in_parts(folder: Path) -> None:
    header, *rows = read_rows(folder / "vitals.csv")
    write_rows(folder / "vitals-1.csv", [header, *rows[:3000]])
    with gzip.open(folder / "vitals-2.csv.gz", "wt", newline="") as handle:
        csv.writer(handle).writerows([header, *rows[3000:]])
    edited('"vitals.csv"', '"vitals-*.csv*"')(folder)


def _as_semicolons(folder: Path) -> None:
    for name in ("labs.csv", "vitals.csv"):
        header, *rows = read_rows(folder / name)
        with (folder / name).open("w", newline="") as handle:
            german = [[datetime.fromisoformat(cell).strftime("%d.%m.%Y %H:%M") if i == 1 else cell.replace(".", ",")
                       if i == 3 else cell for i, cell in enumerate(row)] for row in rows]  # fmt: skip
            csv.writer(handle, delimiter=";").writerows([header, *german])
        new = f'file = "{name}"\ndelimiter = "semicolon"\ndecimal = ","\ntime_format = "%d.%m.%Y %H:%M"'
        edited(f'file = "{name}"', new)(folder)


def _in_minutes(folder: Path) -> None:
    began = {row[0]: datetime.fromisoformat(row[3]) for row in read_rows(folder / "stays.csv")[1:]}
    for name in ("labs.csv", "vitals.csv"):
        header, *rows = read_rows(folder / name)
        for row in rows:
            row[1] = str((datetime.fromisoformat(row[1]) - began[row[0]]).total_seconds() / 60)
        write_rows(folder / name, [header, *rows])
        edited(f'file = "{name}"', f'file = "{name}"\ntime_is = "minutes"')(folder)


WAYS: dict[str, Spoil] = {
    "Parquet": _as_parquet,
    "DuckDB": lambda folder: _as_database(folder, "ward.duckdb"),
    "SQLite": lambda folder: _as_database(folder, "ward.sqlite"),
    "files in parts": _in_parts,
    "semicolons and commas": _as_semicolons,
    "minutes from admission": _in_minutes,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_data_is_the_same_cohort_from_any_kind_of_file(
    example: Path, built: Path, tmp_path: Path, way: str
) -> None:
    mapping = copy_of(example, tmp_path / "source")
    WAYS[way](mapping.parent)
    build_tables(mapping, tmp_path / "cohort")
    for name in SAME:
        ours, theirs = (pq.read_table(place / f"{name}.parquet") for place in (tmp_path / "cohort", built))
        assert ours.num_rows
        assert ours.equals(theirs), name


def test_values_are_those_of_a_naive_reading(example: Path, built: Path) -> None:
    began = {row[0]: datetime.fromisoformat(row[3]) for row in read_rows(example.parent / "stays.csv")[1:]}
    channels = {"HR": "heart_rate", "SYS": "sbp", "DIA": "dbp", "SAT": "spo2", "TEMP": "temperature"}
    naive: dict[tuple[int, float, str], float] = {}
    for stay, charted, item, value, _ in read_rows(example.parent / "vitals.csv")[1:]:
        number = (float(value) - 32) * 5 / 9 if item == "TEMP" else float(value)
        hour = (datetime.fromisoformat(charted) - began[stay]).total_seconds() / 3600
        naive[stable_id(stay), round(hour, 3), channels[item]] = number
    table = pq.read_table(built / "observations.parquet")
    table = table.filter(pc.is_in(table["channel"], value_set=pa.array(sorted(channels.values()))))
    found = {
        (stay, round(hour, 3), channel): value
        for stay, hour, channel, value in zip(
            *(table[name].to_pylist() for name in ("stay_id", "hour", "channel", "value")), strict=True
        )
    }
    assert found.keys() == naive.keys()
    assert all(abs(found[key] - naive[key]) < 1e-3 for key in naive)


def test_text_keys_are_hashed_and_kept_and_the_cohort_opens(built: Path) -> None:
    cohort = open_cohort(built)
    keys = {(row["kind"], row["key"]): row["id"] for row in pq.read_table(built / "keys.parquet").to_pylist()}
    assert keys["stay", "A-1000"] == stable_id("A-1000")
    assert set(cohort.stays["stay_id"].to_pylist()) == {v for (kind, _), v in keys.items() if kind == "stay"}
    patients = zip(cohort.stays["patient_key"].to_pylist(), cohort.stays["patient_id"].to_pylist(), strict=True)
    assert all(stable_id(key) == number for key, number in patients)
    assert cohort.manifest["channels"][-1]["name"] == "procalcitonin"
    assert not cohort.manifest["channels"][-1]["model"]


@pytest.mark.parametrize("cutoff", [2.0, 24.0])
def test_nothing_after_the_cutoff_reaches_a_model(example: Path, tmp_path: Path, cutoff: float) -> None:
    mapping = copy_of(example, tmp_path / "source")
    build_tables(mapping, tmp_path / "whole", cutoff_hours=cutoff)
    began = {row[0]: datetime.fromisoformat(row[3]) for row in read_rows(mapping.parent / "stays.csv")[1:]}
    for name in ("vitals.csv", "labs.csv", "notes.csv"):
        header, *rows = read_rows(mapping.parent / name)
        early = [r for r in rows if (datetime.fromisoformat(r[1]) - began[r[0]]).total_seconds() / 3600 < cutoff]
        # A note that the stay keeps its place by, in a category that no model reads.
        rest = [[stay, str(began[stay]), "kept", "x"] for stay in began] if name == "notes.csv" else []
        write_rows(mapping.parent / name, [header, *early, *rest])
    build_tables(mapping, tmp_path / "early", cutoff_hours=cutoff)
    whole, early = open_cohort(tmp_path / "whole"), open_cohort(tmp_path / "early")
    assert whole.observations.num_rows > early.observations.num_rows
    packs = [pack_series(cohort, SeriesConfig())[0] for cohort in (whole, early)]
    assert len(packs[0].values)
    np.testing.assert_array_equal(packs[0].values, packs[1].values)
    np.testing.assert_array_equal(packs[0].offsets, packs[1].offsets)
    texts = [set(c.notes["text"].take(pa.array(readable_notes(c).note_row)).to_pylist()) for c in (whole, early)]
    assert texts[0] == texts[1]
    spans = whole.notes.filter(pc.is_valid(whole.notes["model_end"]))
    assert pc.sum(pc.greater_equal(spans["hour"], cutoff)).as_py() in (0, None)


Rows = list[list[Any]]
STAYS: Rows = [
    ["stay", "patient", "case", "begin", "end", "age", "side"],
    [11, 1, 100, "2031-01-02 00:00", "2031-01-04 00:00", 50, "dev"],
    [12, 1, 100, "2031-01-05 00:00", "2031-01-06 00:00", 50, "dev"],
    [13, 2, 101, "2031-02-01 00:00", "2031-02-03 00:00", 17, "hold"],
    [14, 3, 102, "2031-03-01 00:00", "2031-03-03 00:00", 60, "hold"],
]
VITALS: Rows = [["stay", "at", "item", "value", "unit"], *([s, "2031-03-01 01:00", "HR", 80, ""] for s in (14,))]
DIAGNOSES: Rows = [["stay", "code"], *([stay, "I50.9"] for stay in (11, 12, 13, 14))]
BASE = """
[stays]
file = "stays.csv"
stay = "stay"
patient = "patient"
admitted = "begin"
discharged = "end"
{stays}
[[measurements]]
file = "vitals.csv"
{keys}
time = "at"
code = "item"
value = "value"
unit = "unit"
[labels]
{labels}
"""
BY_STAY = 'stay = "stay"\nother_stays = "ignore"'
CODED = 'file = "labels.csv"\nstay = "stay"\ncode = "code"\nsystem_is = "10"'
HEART_RATE = '[[codes]]\nchannel = "heart_rate"\ncode = "HR"\n'


def small(
    folder: Path,
    *,
    vitals: Rows = VITALS,
    labels: Rows = DIAGNOSES,
    stays: str = "",
    keys: str = BY_STAY,
    how: str = CODED,
    more: str = HEART_RATE,
    files: dict[str, Rows] | None = None,
) -> Path:
    """Write four stays of three patients and a mapping."""
    folder.mkdir()
    for name, rows in {"stays": STAYS, "vitals": vitals, "labels": labels, **(files or {})}.items():
        write_rows(folder / f"{name}.csv", [[str(value) for value in row] for row in rows])
    (folder / "mapping.toml").write_text(BASE.format(stays=stays, keys=keys, labels=how) + more, encoding="utf-8")
    return folder / "mapping.toml"


def rows_of(target: Path, name: str, *columns: str) -> list[tuple[Any, ...]]:
    table = pq.read_table(target / f"{name}.parquet")
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_code_and_unit_choose_how_a_value_is_read(tmp_path: Path) -> None:
    more = """
[[codes]]
channel = "glucose"
code = ["GLU*", "/^BZ[0-9]$/"]
unit = "mmol/L"
factor = 18.0
[[codes]]
channel = "glucose"
code = ["GLU*", "/^BZ[0-9]$/"]
unit = ["mg/dL"]
[[codes]]
channel = "gcs_eye"
code = "EYES"
values = { "wide open" = 4 }
[[codes]]
channel = "fio2"
code = "O2"
rule = "fraction"
"""
    charted = [
        ("GLU-A", "10", "mmol / l"), ("GLU-B", "100", "MG/DL"), ("BZ1", "90", "mg/dL"), ("BZ12", "1", "mg/dL"),
        ("EYES", "Wide open", ""), ("EYES", "to pain", ""), ("O2", "40", "%"),
    ]  # fmt: skip
    vitals = [VITALS[0], *([14, f"2031-03-01 0{i}:00", *row] for i, row in enumerate(charted))]
    build_tables(small(tmp_path / "s", vitals=vitals, more=more), tmp_path / "c")
    found = [(c, round(v, 4)) for c, v in rows_of(tmp_path / "c", "observations", "channel", "value")]
    assert found == [("glucose", 180), ("glucose", 100), ("glucose", 90), ("gcs_eye", 4), ("gcs_eye", 2), ("fio2", 0.4)]
    unstated = [VITALS[0], [14, "2031-03-01 00:00", "GLU-A", "10", ""]]
    with pytest.raises(SourceError, match=r"a unit that \[\[codes\]\] has for glucose"):
        build_tables(small(tmp_path / "u", vitals=unstated, more=more), tmp_path / "d")


def test_rows_known_by_the_patient_go_to_the_stay_of_their_time(tmp_path: Path) -> None:
    times = ("2031-01-01 23:00", "2031-01-03 00:00", "2031-01-04 12:00", "2031-01-05 01:00", "2031-01-09 00:00")
    vitals: Rows = [["who", "at", "item", "value", "unit"]]
    vitals += [[1, time, "HR", 80 + place, ""] for place, time in enumerate(times)] + [[9, times[0], "HR", 70, ""]]
    build_tables(small(tmp_path / "s", vitals=vitals, keys='patient = "who"'), tmp_path / "c")
    assert rows_of(tmp_path / "c", "observations", "stay_id", "value") == [(11, 81), (12, 83)]
    around = [["in", "out"], *[["2031-01-01", "2031-01-08"]] * 2, *[["2031-01-01", "2031-12-31"]] * 2]
    files = {"stays": [[*row, *both] for row, both in zip(STAYS, around, strict=True)]}
    wide = 'hospital_admitted = "in"\nhospital_discharged = "out"'
    mapping = small(tmp_path / "w", vitals=vitals, keys='patient = "who"', stays=wide, files=files)
    build_tables(mapping, tmp_path / "d")
    found = rows_of(tmp_path / "d", "observations", "stay_id", "value")
    assert found == [(11, 80), (11, 81), (11, 82), (12, 83)]


def test_criteria_and_a_split_column_are_followed_and_logged(tmp_path: Path) -> None:
    chosen = 'age = "age"\nhospital_stay = "case"\nminimum_age = 18\none_per_hospital_stay = true\n'
    chosen += 'split = "side"\ntest_values = ["hold"]'
    manifest = build_tables(small(tmp_path / "s", stays=chosen), tmp_path / "c")
    assert [(line["removed"], line["out"]) for line in manifest["attrition"]][2:5] == [(2, 2), (1, 1), (0, 1)]
    assert rows_of(tmp_path / "c", "stays", "stay_id", "split") == [(14, "test")]
    files = {"stays": [*STAYS[:2], [*STAYS[2][:-1], "hold"], *STAYS[3:]]}
    mapping = small(tmp_path / "b", stays='split = "side"\ntest_values = "hold"', files=files)
    with pytest.raises(SourceError, match=r"each patient on one side of side in stays\.csv.*first in row 2"):
        build_tables(mapping, tmp_path / "d")


OWN = """
[[label_set]]
key = "sepsis"
name = "Sepsis"
persistence = "acute"
icd10 = ["A40*", "A41*"]
codes = ["SEP-?", "SEPSIS"]
[[label_set]]
key = "delirium"
name = "Acute confusion"
codes = "DEL*"
"""


def test_a_label_set_of_ones_own_is_made_of_its_codes(tmp_path: Path) -> None:
    labels = [["stay", "code"], [14, "A41.9"], [13, "DEL-1"], [12, "I10"]]
    manifest = build_tables(small(tmp_path / "s", labels=labels, more=HEART_RATE + OWN), tmp_path / "c")
    assert [label["key"] for label in manifest["labels"]] == ["delirium", "sepsis"]
    assert rows_of(tmp_path / "c", "labels", "label", "observed", "code") == [
        ("delirium", 0, None), ("sepsis", 1, "A41.9"),
    ]  # fmt: skip


@pytest.mark.parametrize(("unlisted", "delirium"), [("unstated", None), ("absent", 0)])
def test_stated_labels_keep_what_is_not_stated_apart(tmp_path: Path, unlisted: str, delirium: int | None) -> None:
    how = f'file = "labels.csv"\nform = "values"\nstay = "stay"\nlabel = "what"\nvalue = "is"\nunlisted = "{unlisted}"'
    labels = [["stay", "what", "is"], [14, "Sepsis", "yes"]]
    build_tables(small(tmp_path / "s", labels=labels, how=how, more=HEART_RATE + OWN), tmp_path / "c")
    found = dict(rows_of(tmp_path / "c", "labels", "label", "observed"))
    assert found.get("delirium") == delirium
    assert found["sepsis"] == 1
    for place, (row, told) in enumerate(
        [
            ([14, "sepsis", "no"], "one row per stay and label in labels.csv.*row 3"),
            ([14, "seppsis", "1"], "labels of the cohort's label set as what in labels.csv.*row 3"),
            ([14, "delirium", "2"], "0, 1 or nothing as is in labels.csv.*row 3"),
        ]
    ):
        mapping = small(tmp_path / f"b{place}", labels=[*labels, row], how=how, more=HEART_RATE + OWN)
        with pytest.raises(SourceError, match=told):
            build_tables(mapping, tmp_path / "d")


def test_notes_are_read_by_category_and_time_and_what_tells_the_diagnosis_is_left_out(tmp_path: Path) -> None:
    notes: Rows = [["stay", "at", "stored", "kind", "text"]]
    notes += [
        [14, "2031-03-01 05:00", "", "Nursing day", "early"],
        [14, "2031-03-01 05:00", "2031-03-03 05:00", "Nursing night", "entered late"],
        [14, "2031-03-03 00:00", "", "nursing day", "on the hour"],
        [14, "", "", "Nursing day", "no time"],
        [14, "", "", "Past history", "known before"],
        [14, "2031-03-01 05:00", "", "ECG", "for readers"],
        [14, "2031-03-01 05:00", "", "Letter", "the diagnosis"],
        [14, "2031-03-01 05:00", "", "Nursing day", "early"],
    ]
    more = HEART_RATE + (
        '[[notes]]\nfile = "notes.csv"\nstay = "stay"\ntime = "at"\nentered = "stored"\ncategory = "kind"\n'
        'text = "text"\n'
        'model = ["nursing*", "Past history"]\nat_admission = "past history"\nleave_out = "letter"\n'
    )
    manifest = build_tables(small(tmp_path / "s", more=more, files={"notes": notes}), tmp_path / "c")
    read = {text: end is not None for text, end in rows_of(tmp_path / "c", "notes", "text", "model_end")}
    assert read == {
        "early": True, "entered late": False, "on the hour": False, "no time": False, "known before": True,
        "for readers": False,
    }  # fmt: skip
    assert (manifest["note_reading"]["left_out"], manifest["note_reading"]["repeated"]) == (1, 1)
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["fingerprint"] == manifest["fingerprint"]


def test_a_note_keeps_its_number_and_a_repeated_one_is_refused_with_its_row(tmp_path: Path) -> None:
    notes: Rows = [["stay", "id", "text"], [14, 7, "one"], [14, 8, "two"], [13, 8, "three"]]
    more = (
        HEART_RATE + '[[notes]]\nfile = "notes.csv"\nstay = "stay"\nnote = "id"\ncategory_is = "any"\ntext = "text"\n'
    )
    with pytest.raises(
        SourceError, match=r"one row per id in notes\.csv; got a repeated one in 1 rows, first in row 4"
    ):
        build_tables(small(tmp_path / "s", more=more, files={"notes": notes}), tmp_path / "c")
    notes[3][1] = 9
    build_tables(small(tmp_path / "t", more=more, files={"notes": notes}), tmp_path / "c")
    assert rows_of(tmp_path / "c", "notes", "note_id", "text") == [(9, "three"), (7, "one"), (8, "two")]
    notes[3][1] = "N-9"
    build_tables(small(tmp_path / "u", more=more, files={"notes": notes}), tmp_path / "d")
    assert rows_of(tmp_path / "d", "notes", "note_id")[0] == (stable_id("N-9"),)


def test_codes_count_in_their_own_system_and_the_first_listed_is_primary(tmp_path: Path) -> None:
    labels: Rows = [["stay", "code", "in", "rank"]]
    labels += [[14, "I509", "ICD-10-CM", 1], [14, "4280", "ICD10", 2], [14, "5849", "icd9", 3], [13, "Z00", 10, 1]]
    how = 'file = "labels.csv"\nstay = "stay"\ncode = "code"\nsystem = "in"\npriority = "rank"'
    vitals = [*VITALS, [13, "2031-02-01 01:00", "HR", 80, ""], [12, "2031-01-05 01:00", "HR", 80, ""]]
    manifest = build_tables(small(tmp_path / "s", vitals=vitals, labels=labels, how=how), tmp_path / "c")
    found = rows_of(tmp_path / "c", "labels", "stay_id", "label", "observed", "priority")
    assert [row for row in found if row[2]] == [
        (14, "acute_renal_failure", 1, "Other"), (14, "heart_failure", 1, "Primary"),
    ]  # fmt: skip
    assert {row[0] for row in found} == {13, 14}
    assert (manifest["not_recorded"], manifest["coding"]["icd"]["codes_in_no_label"]) == (1, 2)
    labels[2][2] = "SNOMED"
    with pytest.raises(SourceError, match=r"ICD-9 or ICD-10 in column in in labels\.csv.*first in row 3"):
        build_tables(small(tmp_path / "b", labels=labels, how=how), tmp_path / "d")
    dotted = [["stay", "code"], [14, "I50.9"], [14, "584.9"], [14, "V45.81"]]
    how = 'file = "labels.csv"\nstay = "stay"\ncode = "code"\nsystem_is = "form"'
    build_tables(small(tmp_path / "f", labels=dotted, how=how), tmp_path / "e")
    found = rows_of(tmp_path / "e", "labels", "label", "observed", "code")
    assert [(label, code) for label, told, code in found if told] == [
        ("acute_renal_failure", "584.9"), ("coronary_disease", "V45.81"), ("heart_failure", "I50.9"),
    ]  # fmt: skip


def test_keys_with_one_hash_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.cohort.sources.tables_stays.stable_id", lambda key: 7)
    files = {"stays": [[f"S{row[0]}" if place else row[0], *row[1:]] for place, row in enumerate(STAYS)]}
    with pytest.raises(SourceError, match="stay whose hashes differ; got two with one hash"):
        build_tables(small(tmp_path / "s", files=files), tmp_path / "c")


def test_a_hospital_without_measurements_is_its_notes(tmp_path: Path) -> None:
    folder = small(tmp_path / "s", files={"notes": [["stay", "text"], [14, "awake"]]}).parent
    text = (folder / "mapping.toml").read_text()
    text = text[: text.index("[[measurements]]")] + text[text.index("[labels]") : text.index("[[codes]]")]
    text += '[[notes]]\nfile = "notes.csv"\nstay = "stay"\ncategory_is = "any"\ntext = "text"\n'
    (folder / "mapping.toml").write_text(text)
    build_tables(folder / "mapping.toml", tmp_path / "c")
    assert rows_of(tmp_path / "c", "stays", "stay_id", "has_series", "has_note") == [(14, False, False)]
    (folder / "notes.csv").write_text("stay,text\n14,\n")
    with pytest.raises(SourceError, match="a stay with a measured value or a note; got none"):
        build_tables(folder / "mapping.toml", tmp_path / "d")
