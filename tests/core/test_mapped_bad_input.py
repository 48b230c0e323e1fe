"""A hospital's tables that are not what its mapping says: one line with file and row, nothing left; lenient counts."""

import gzip
from pathlib import Path

import pytest

from core.cohort.sources.tables import build_tables
from core.cohort.sources.tables_check import check_tables
from core.errors import ConfigError
from tests.core.mapped_fixture import (
    FILES,
    MARKER,
    Spoil,
    cell,
    copy_of,
    edited,
    every,
    hospital,
    read_rows,
    refused,
    replaced,
    write_rows,
)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hospital(tmp_path_factory.mktemp("hospital") / "example")


def _again(file: str, row: int) -> Spoil:
    def spoil(folder: Path) -> None:
        rows = read_rows(folder / file)
        write_rows(folder / file, [*rows, list(rows[row - 1])])

    return spoil


def _unit(row: dict[str, str], place: int) -> None:
    if row["item"] == "SYS" and place % 4 == 0:
        row["unit"] = "kPa"


def _tenfold(row: dict[str, str], place: int) -> None:
    if row["item"] == "HR":
        row["value"] = str(float(row["value"]) * 10)


def _packed(file: str, keep: float) -> Spoil:
    def spoil(folder: Path) -> None:
        whole = gzip.compress((folder / file).read_bytes())
        (folder / f"{file}.gz").write_bytes(whole[: int(len(whole) * keep)])
        edited(f'"{file}"', f'"{file}.gz"')(folder)

    return spoil


NEITHER_READS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    **{f"no {file}": ((lambda folder, file=file: (folder / file).unlink()), (file,)) for file in FILES},
    **{f"empty {file}": (replaced(file, lambda _: b""), (f"{file} with a header", "empty")) for file in FILES},
    **{f"cut {file}": (_packed(file, 0.6), (f"{file}.gz",)) for file in ("stays.csv", "vitals.csv")},
    **{
        f"semicolons in {file}": (
            replaced(file, lambda text: text.replace(b",", b";")),
            (f"{file} with commas", 'delimiter = "semicolon"'),
        )
        for file in ("stays.csv", "labs.csv")
    },
    "a header and nothing else": (replaced("stays.csv", lambda text: text.splitlines()[0] + b"\n"), ("stays.csv",)),
    "a renamed column": (
        replaced("vitals.csv", lambda text: text.replace(b"charted", b"charted_at", 1)),
        ("column charted (time of [[measurements]] number 1) in vitals.csv", "did you mean charted_at?"),
    ),
    "a mapping's other column": (
        edited('patient = "patient_no"', 'patient = "patient"'),
        ("column patient (patient of [stays]) in stays.csv", "did you mean patient_no?"),
    ),
    "a name that is not known": (
        edited('patient = "patient_no"', 'patient = "patient_no"\npatiant = "x"'),
        ("[stays] of mapping.toml", "'patiant' did you mean patient?"),
    ),
    "a channel that is not known": (
        edited('channel = "heart_rate"', 'channel = "heart_rat"'),
        ("number 1 of mapping.toml", "'heart_rat' did you mean heart_rate?"),
    ),
    "no TOML": (edited("[stays]", "[stays"), ("mapping.toml in TOML", "line")),
    "an expression that is none": (edited('code = "HR"', 'code = "/(/"'), ("[[codes]] number 1",)),
    "a file that is missing": (edited('"labs.csv"', '"lab.csv"'), ("lab.csv", "did you mean labs.csv?")),
    "a code that is nowhere": (
        edited('name = "Example hospital"', 'name = "Example"\ncodes_from = "mimic5"'),
        ("codes_from", "'mimic5'"),
    ),
}


@pytest.mark.parametrize("case", NEITHER_READS)
def test_what_neither_reader_can_use_is_told_in_one_line(example: Path, tmp_path: Path, case: str) -> None:
    mapping = copy_of(example, tmp_path / "source")
    spoil, told = NEITHER_READS[case]
    spoil(mapping.parent)
    message = refused(mapping, tmp_path / "cohort")
    assert all(part in message for part in told), message
    found = check_tables(mapping, lenient=True)[-1]
    assert found.level == "error"
    assert all(part in found.text for part in told), found.text


SET_ASIDE: dict[str, tuple[Spoil, tuple[str, ...], int]] = {
    "a repeated stay": (_again("stays.csv", 5), ("one row per stay_no in stays.csv", "row 62"), 1),
    "a stay without patient": (cell("stays.csv", 4, "patient_no", ""), ("patient_no in every row", "row 4"), 1),
    "a stay that ends before it begins": (
        cell("stays.csv", 9, "out_time", "2030-01-01 00:00:00"),
        ("end after they begin in stays.csv", "row 9"),
        1,
    ),
    "a time that is none": (cell("stays.csv", 3, "in_time", MARKER), ("times in column in_time", "row 3"), 1),
    "an age that is none": (cell("stays.csv", 11, "age", MARKER), ("numbers in column age", "row 11"), 1),
    "an age out of range": (cell("stays.csv", 7, "age", "412"), ("age from 0 to 130", "row 7"), 1),
    "a value of nobody": (cell("vitals.csv", 8, "stay_no", MARKER), ("stay_no of a stay", "vitals.csv", "row 8"), 1),
    "a value at no time": (cell("vitals.csv", 9, "charted", MARKER), ("charted within a year", "row 9"), 1),
    "a value of another year": (cell("labs.csv", 8, "charted", "1931-01-01"), ("labs.csv", "another time", "row 8"), 1),
    "a note of nobody": (cell("notes.csv", 6, "stay_no", MARKER), ("stay_no of a stay", "notes.csv", "row 6"), 1),
    "a diagnosis of nobody": (cell("diagnoses.csv", 6, "stay_no", MARKER), ("diagnoses.csv", "row 6"), 1),
    "a drug at no time": (cell("drugs.csv", 6, "given", MARKER), ("drugs.csv", "row 6"), 1),
    "another unit": (every("vitals.csv", _unit), ("[[codes]] has for sbp in vitals.csv", "'kpa'"), 300),
    "values out of range": (every("vitals.csv", _tenfold), ("heart_rate in /min between 0 and 350",), 1300),
    "a broken line": (
        replaced("labs.csv", lambda text: text.replace(b"\r\n", b",a,b,c\r\n", 3).replace(b",a,b,c", b"", 1)),
        ("labs.csv as a CSV file with 5 columns",),
        1,
    ),
}


@pytest.mark.parametrize("case", SET_ASIDE)
def test_what_can_be_set_aside_is_refused_with_its_row(example: Path, tmp_path: Path, case: str) -> None:
    mapping = copy_of(example, tmp_path / "source")
    spoil, told, _ = SET_ASIDE[case]
    spoil(mapping.parent)
    message = refused(mapping, tmp_path / "cohort")
    assert all(part in message for part in told), message
    assert "--lenient" in message or case == "a broken line"


def test_a_lenient_build_counts_every_one_of_them_by_its_reason(example: Path, tmp_path: Path) -> None:
    mapping = copy_of(example, tmp_path / "source")
    for spoil, _, _ in SET_ASIDE.values():
        spoil(mapping.parent)
    manifest = build_tables(mapping, tmp_path / "cohort", lenient=True)
    for case, (_, told, least) in SET_ASIDE.items():
        counts = [rows for reason, rows in manifest["set_aside"].items() if told[0].split(" as a CSV")[0] in reason]
        assert counts, case
        # A stay that is set aside leaves its rows without one: those are set aside too.
        assert sum(counts) >= least, case
        if case.startswith(("a repeated stay", "a stay", "a time", "an age")):
            assert counts == [1], case
    assert manifest["counts"]["stays"] == 60 - 5
    assert sum("set aside" in line["criterion"] for line in manifest["attrition"]) == len(manifest["set_aside"])
    assert MARKER not in str(manifest["attrition"])


def test_a_check_of_what_can_be_built_tells_shares_and_counts_and_writes_nothing(example: Path) -> None:
    before = sorted(path.name for path in example.parent.iterdir())
    found = [(finding.level, finding.text) for finding in check_tables(example)]
    assert ("info", "vitals.csv: 100.0% of 7,460 rows have a mapped code") in found
    assert ("info", "measurements: 8,532 values in 9 channels") in found
    assert any(level == "warning" and "nothing fills: capillary_refill, fio2" in text for level, text in found)
    assert not any(level == "error" for level, _ in found)
    assert sorted(path.name for path in example.parent.iterdir()) == before


def test_a_check_calls_an_error_what_only_a_lenient_build_sets_aside(example: Path, tmp_path: Path) -> None:
    mapping = copy_of(example, tmp_path / "source")
    for case in ("a repeated stay", "a value of nobody", "another unit"):
        SET_ASIDE[case][0](mapping.parent)
    strict, lenient = check_tables(mapping), check_tables(mapping, lenient=True)
    assert sum(finding.level == "error" for finding in strict) == 3
    assert [finding.text for finding in strict] == [finding.text for finding in lenient]
    assert not any(finding.level == "error" for finding in lenient)
    assert sorted(path.name for path in mapping.parent.parent.iterdir()) == ["source"]


def test_an_example_is_not_written_over_what_is_there(example: Path) -> None:
    with pytest.raises(ConfigError, match="an empty or new folder"):
        hospital(example.parent)


def test_another_encoding_is_told_and_can_be_named(example: Path, tmp_path: Path) -> None:
    mapping = copy_of(example, tmp_path / "source")
    replaced("notes.csv", lambda text: text.replace(b"Admitted", b"Fu\xdfpilz", 1))(mapping.parent)
    assert "notes.csv in UTF-8" in refused(mapping, tmp_path / "cohort")
    edited('category = "kind"', 'category = "kind"\nencoding = "latin-1"')(mapping.parent)
    build_tables(mapping, tmp_path / "cohort")
    assert (tmp_path / "cohort" / "manifest.json").is_file()


def test_a_stray_value_out_of_range_or_in_another_unit_is_counted_and_no_reason_to_refuse(
    example: Path, tmp_path: Path
) -> None:
    mapping = copy_of(example, tmp_path / "source")
    for spoil in (
        cell("vitals.csv", 2, "value", "999"),
        cell("vitals.csv", 3, "unit", "kPa"),
        cell("vitals.csv", 4, "value", "not done"),
    ):
        spoil(mapping.parent)
    manifest = build_tables(mapping, tmp_path / "cohort")
    assert manifest["removed_values"] == {"heart_rate": 1}
    assert manifest["strange_units"] == {"sbp": 1}
    assert manifest["unreadable_values"] == {"dbp": 1}


def test_a_cohort_that_is_there_stays_when_a_new_one_is_refused(example: Path, tmp_path: Path) -> None:
    mapping = copy_of(example, tmp_path / "source")
    build_tables(mapping, tmp_path / "cohort")
    before = (tmp_path / "cohort" / "manifest.json").read_bytes()
    replaced("stays.csv", lambda _: b"")(mapping.parent)
    with pytest.raises(Exception, match=r"stays\.csv with a header"):
        build_tables(mapping, tmp_path / "cohort")
    assert (tmp_path / "cohort" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
