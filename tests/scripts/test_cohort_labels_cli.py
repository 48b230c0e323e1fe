"""Labels in by the command: what it prints, refuses, and says of rounds that stand on the cohort as it was."""

import json
from pathlib import Path

import pytest

from audit_store.workspace import create_workspace
from core.cohort.store import write_cohort
from tests.core.conftest import invented_tables, manifest_fields
from tests.core.mimic_fixture import mimic3, write_folder
from tests.scripts.conftest import call_miracl

LABELS = "stay_id,label,value\n1000,copd,1\n1001,copd,0\n"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A workspace with an invented cohort."""
    folder = tmp_path / "space"
    write_cohort(create_workspace(folder).cohort, invented_tables(), manifest_fields())
    return folder


def test_a_file_and_the_notes_become_sources_and_the_command_says_what_came(space: Path, tmp_path: Path) -> None:
    path = tmp_path / "reader.csv"
    path.write_text(f"{LABELS}7,copd,1\n")
    refused = call_miracl("cohort", "add-labels", path, "--source", "reader", "-w", space)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "stays that the cohort lacks in 1 rows, first in row 4" in refused.stderr
    added = call_miracl("cohort", "add-labels", path, "--source", "reader", "--lenient", "-w", space)
    assert added.returncode == 0
    assert "2 labels of 2 stays as source reader (1 present); 10 stays without any." in added.stdout
    assert "Set aside: 1, not stays of the cohort" in added.stdout
    noted = call_miracl("cohort", "add-labels", "--from-notes", "-w", space)
    assert noted.returncode == 0
    assert "as source note_terms" in noted.stdout
    assert "A round corrects source icd (billing codes); sources in all: 3." in noted.stdout


def test_a_cohort_that_rounds_stand_on_changes_only_when_told(space: Path, tmp_path: Path) -> None:
    path = tmp_path / "reader.csv"
    path.write_text(LABELS)
    (space / "rounds" / "round-0001.duckdb").write_bytes(b"")
    before = (space / "cohort" / "manifest.json").read_bytes()
    refused = call_miracl("cohort", "add-labels", path, "-w", space)
    assert refused.returncode == 2
    assert "1 rounds, which could no longer be exported" in refused.stderr
    assert (space / "cohort" / "manifest.json").read_bytes() == before
    assert call_miracl("cohort", "add-labels", path, "--yes", "--primary", "-w", space).returncode == 0
    assert json.loads((space / "cohort" / "manifest.json").read_text())["primary_source"] == "file"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "got neither"),
        (("labels.csv", "--from-notes"), "got both"),
        (("--from-notes", "--primary"), "--primary or --form"),
        (("labels.csv", "--threshold", "1.5"), "a threshold between 0 and 1"),
    ],
)
def test_options_that_exclude_one_another_are_refused(words: tuple[str, ...], message: str, space: Path) -> None:
    refused = call_miracl("cohort", "add-labels", *words, "-w", space)
    assert refused.returncode == 2
    assert message in refused.stderr


def test_a_build_with_a_wrong_label_file_leaves_no_workspace(tmp_path: Path) -> None:
    folder, path = write_folder(tmp_path / "source", mimic3()), tmp_path / "listfile.csv"
    path.write_text("stay_id,label,value\n101,copd,5\n")
    words = ("build-cohort", "mimic3", folder, "--labels", path, "-w", tmp_path / "space")
    refused = call_miracl(*words)
    assert refused.returncode == 2
    assert "0, 1 or blank as a label in listfile.csv" in refused.stderr
    assert not (tmp_path / "space").exists()
    path.write_text("stay_id,label,value\n101,copd,1\n")
    built = call_miracl(*words, "--labels-source", "ward")
    assert built.returncode == 0
    assert "1 labels of 1 stays as source ward (1 present); 2 stays without any." in built.stdout
    assert call_miracl("build-cohort", "mimic3", folder, "--labels-form", "long").returncode == 2
