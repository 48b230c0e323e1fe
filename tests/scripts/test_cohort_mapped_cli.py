"""`miracl build-cohort tables` and `meds`: an example to follow, a check with its status, a cohort."""

from pathlib import Path

from tests.scripts.conftest import run_miracl


def test_a_newcomer_writes_the_example_spoils_it_is_told_mends_it_and_builds_it(tmp_path: Path) -> None:
    folder, space = tmp_path / "example", tmp_path / "space"
    assert run_miracl("build-cohort", "tables", "--example", folder).returncode == 0
    mapping = folder / "mapping.toml"
    mapping.write_text(mapping.read_text().replace('"stay_no"', '"stay_nr"', 1))
    spoilt = run_miracl("build-cohort", "tables", mapping, "--workspace", space, "--check")
    assert spoilt.returncode == 2
    told = "column stay_nr (stay of [stays]) in stays.csv; got none of that name: did you mean stay_no?"
    assert told in spoilt.stdout
    assert not space.exists()
    mapping.write_text(mapping.read_text().replace('"stay_nr"', '"stay_no"', 1))
    built = run_miracl("build-cohort", "tables", mapping, "--workspace", space)
    assert built.returncode == 0
    assert "60 stays of 45 patients" in built.stdout


def test_a_meds_folder_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    space = tmp_path / "space"
    refused = run_miracl("build-cohort", "meds", tmp_path, "--mapping", "mimic4", "--workspace", space)
    assert refused.returncode == 2
    assert refused.stderr.strip().count("\n") == 0
    assert "data/**/*.parquet" in refused.stderr
    assert not (space / "cohort").exists()
