"""`miracl build-cohort` for MIMIC: what it prints, and what it does with a folder that is not as published."""

import json
from pathlib import Path

from tests.core.mimic_fixture import mimic3, mimic4, write_folder
from tests.scripts.conftest import call_miracl


def test_a_mimic3_folder_becomes_a_cohort_and_a_bad_one_is_refused_in_one_line(tmp_path: Path) -> None:
    content = mimic3()
    content["ICUSTAYS"].append(dict(content["ICUSTAYS"][3]))
    folder = write_folder(tmp_path / "source", content)
    space = tmp_path / "space"
    refused = call_miracl("build-cohort", "mimic3", folder, "--workspace", space)
    assert refused.returncode == 2
    assert refused.stderr.strip().count("\n") == 0
    assert "one row per icustay_id in ICUSTAYS.csv; got 1 rows too many, first in row 11" in refused.stderr
    assert not (space / "cohort").exists()
    built = call_miracl("build-cohort", "mimic3", folder, "--workspace", space, "--lenient")
    assert built.returncode == 0
    assert "1 rows set aside" in built.stdout
    assert json.loads((space / "cohort" / "manifest.json").read_text())["counts"]["stays"] == 3


def test_mimic4_takes_its_notes_by_choice(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", mimic4())
    built = call_miracl("build-cohort", "mimic4", folder, "--workspace", tmp_path / "space", "--notes", "all")
    assert built.returncode == 0
    manifest = json.loads((tmp_path / "space" / "cohort" / "manifest.json").read_text())
    assert manifest["note_reading"]["choice"] == "all"
    assert manifest["source"] == "mimic4"
    wrong = call_miracl("build-cohort", "mimic4", folder, "--workspace", tmp_path / "other", "--notes", "everything")
    assert wrong.returncode == 2
    assert "pmh, admission, first48h, all" in wrong.stderr
