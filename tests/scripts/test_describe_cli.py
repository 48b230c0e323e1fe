"""`miracl cohort describe`, eICU in published form by the command, and what a mistyped folder leaves behind."""

import json
from pathlib import Path

import pytest

from tests.core.eicu_published import write_published
from tests.scripts.conftest import call_miracl


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("eicu") / "source", stays=30, rows=150)


def test_a_published_eicu_folder_becomes_a_cohort_and_a_page_about_it(source: Path, tmp_path: Path) -> None:
    space = tmp_path / "space"
    built = call_miracl("build-cohort", "eicu", source, "--workspace", space, "--unit-stays", "first", "--lenient")
    assert built.returncode == 0, built.stderr
    assert "the first unit stay of its hospital stay" in built.stdout
    assert json.loads((space / "cohort" / "manifest.json").read_text())["lenient"] is True
    told = call_miracl("cohort", "describe", "--workspace", space, "--min-cell", "1")
    assert told.returncode == 0, told.stderr
    page = (space / "cohort.html").read_text(encoding="utf-8")
    assert "Cohort eICU" in page
    assert "Small counts are shown." in page
    other = call_miracl("cohort", "describe", "--workspace", space, "--out", tmp_path / "page.html")
    assert other.returncode == 0
    assert "fewer than 10 patients" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["eicu", "mimic3", "mimic4"])
def test_a_mistyped_folder_leaves_no_workspace_behind(tmp_path: Path, verb: str) -> None:
    done = call_miracl("build-cohort", verb, tmp_path / "nowhere", "--workspace", tmp_path / "space")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failed_build_leaves_a_workspace_that_was_there_as_it_was(source: Path, tmp_path: Path) -> None:
    space = tmp_path / "space"
    assert call_miracl("build-cohort", "eicu", source, "--workspace", space).returncode == 0
    before = {path: path.read_bytes() for path in space.rglob("*") if path.is_file()}
    assert call_miracl("build-cohort", "eicu", tmp_path / "nowhere", "--workspace", space).returncode == 2
    assert {path: path.read_bytes() for path in space.rglob("*") if path.is_file()} == before


def test_describing_without_a_cohort_is_one_line(tmp_path: Path) -> None:
    done = call_miracl("cohort", "describe", "--workspace", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
