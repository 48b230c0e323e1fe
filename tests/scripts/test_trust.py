"""The trust benchmark's frame: what it prints, writes and returns."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from core.errors import ConfigError, RunError
from scripts.benchmarks import trust, trust_frame
from scripts.benchmarks.trust_frame import FULL, QUICK, Line, Say, Size, chosen_parts, run_parts

HELD = Line("kills", "nothing is lost", "12 kills", "all there", passed=True)
BROKEN = Line("crowd", "none twice", "4 × 20", "a pair [twice] | here", passed=False, counterexample="ann on pair 3")
ABSENT = Line("disk", "a full disk is one line", "once", "no tmpfs here", passed=False, measured=False)


def given(monkeypatch: pytest.MonkeyPatch, lines: list[Line]) -> None:
    """Let every part give the lines that are its own."""

    def load(name: str) -> trust_frame.Part:
        def part(size: Size, scratch: Path, say: Say) -> list[Line]:
            assert scratch.is_dir()
            say("at it")
            return [line for line in lines if line.part == name]

        return part

    monkeypatch.setattr(trust_frame, "load_part", load)


def test_every_line_is_printed_and_written_with_its_first_counterexample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, [HELD, BROKEN, ABSENT])
    console = Console(record=True, width=160)
    found = trust.run(["kills", "crowd", "disk"], QUICK, tmp_path, console)
    assert found == [HELD, BROKEN, ABSENT]
    assert trust.failed(found) == [BROKEN]  # what could not be tried counts neither way
    shown = console.export_text()
    for words in ("pass", "FAIL", "not measured", "ann on pair 3", "1 of 3 promises held; 1 did not; 1 could not"):
        assert words in shown
    rows = pq.read_table(tmp_path / "trust.parquet").to_pylist()
    assert [(row["promise"], row["passed"], row["measured"], row["counterexample"]) for row in rows] == [
        ("nothing is lost", True, True, None),
        ("none twice", False, True, "ann on pair 3"),
        ("a full disk is one line", False, False, None),
    ]
    table = (tmp_path / "trust.md").read_text()
    assert "| crowd | none twice | 4 × 20 | a pair [twice] / here | FAIL: ann on pair 3 |" in table
    assert "sqlalchemy" in table
    assert not list(tmp_path.glob("*.part"))


def test_a_part_that_breaks_off_does_not_pass_and_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, [HELD])
    good = trust_frame.load_part

    def load(name: str) -> trust_frame.Part:
        if name == "kills":
            return good(name)
        raise {"crowd": ValueError("secret words"), "roles": ModuleNotFoundError(name="audit_store.gone")}.get(
            name, ModuleNotFoundError(name="playwright")
        )

    monkeypatch.setattr(trust_frame, "load_part", load)
    found = run_parts(QUICK, tmp_path, lambda _: None, ["kills", "crowd", "roles", "disk"])
    assert [(line.passed, line.measured) for line in found] == [
        (True, True),
        (False, True),
        (False, True),
        (False, False),
    ]
    assert "secret words" not in str(found)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match="--out"):
        trust.run(["kills"], QUICK, tmp_path / "taken", Console(quiet=True))


def test_parts_are_named_one_by_one_and_an_unknown_name_is_refused() -> None:
    assert chosen_parts(None) == list(trust_frame.PARTS)
    assert chosen_parts("roles, kills") == ["kills", "roles"]
    for words in ("kills,luck", " , "):
        with pytest.raises(ConfigError, match="parts of kills"):
            chosen_parts(words)


def test_the_quick_size_is_smaller_in_everything() -> None:
    for name in ("kills", "tamperings", "inputs", "reviewers", "decisions"):
        assert 0 < getattr(QUICK, name) < getattr(FULL, name)


@pytest.mark.parametrize("name", list(trust_frame.PARTS))
def test_every_part_can_be_loaded(name: str) -> None:
    assert callable(trust_frame.load_part(name))
