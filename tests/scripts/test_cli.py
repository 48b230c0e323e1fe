"""What the command says of itself, and how it refuses bad input."""

import re
from pathlib import Path

import pytest
import typer

from scripts.cli import app
from scripts.progress import spell_seconds
from scripts.running import parse_settings

from .conftest import call_miracl, run_miracl

ROOT = Path(__file__).parents[2]


def commands() -> list[tuple[str, ...]]:
    """Every verb the command has, as the words a user types."""
    found: list[tuple[str, ...]] = []
    for entry in app.registered_commands:
        assert entry.callback is not None
        found.append(((entry.name or entry.callback.__name__.replace("_", "-")),))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for entry in group.typer_instance.registered_commands:
            assert group.name is not None
            assert entry.callback is not None
            found.append((group.name, entry.name or entry.callback.__name__))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_help_opens_with_what_it_does_and_an_example(words: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    text = command.help or ""
    assert re.match(r"[A-Z][a-z]+ ", text)
    assert f"Example: miracl {' '.join(words)}" in text


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_is_in_the_readme(words: tuple[str, ...]) -> None:
    assert f"miracl {' '.join(words)}" in (ROOT / "README.md").read_text(encoding="utf-8")


def assert_one_line(done: object, *words: str) -> None:
    stderr = done.stderr  # type: ignore[attr-defined]
    assert done.returncode == 2, stderr  # type: ignore[attr-defined]
    lines = [line for line in stderr.strip().splitlines() if line.startswith("miracl: ")]
    progress = [line for line in stderr.strip().splitlines() if not line.startswith("miracl: ")]
    assert len(lines) == 1, stderr
    assert all(line in {"packing series and notes"} for line in progress), stderr
    for word in words:
        assert word in lines[0]


def test_a_missing_workspace_is_one_line_of_a_process_too(tmp_path: Path) -> None:
    assert_one_line(run_miracl("status", "--workspace", tmp_path / "nowhere"), "workspace")
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_source_is_one_line_and_nothing_is_built(tmp_path: Path) -> None:
    done = call_miracl("build-cohort", "eicu", tmp_path / "nowhere", "--workspace", tmp_path / "ws")
    assert_one_line(done, "expected", "got")
    assert not (tmp_path / "ws" / "cohort").exists() or not any((tmp_path / "ws" / "cohort").iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "best"],
        ["--size", "huge"],
        ["--set", "optim.epochs"],
        ["--set", "optim.speed=9"],
        ["--set", "optim.epochs=many"],
        ["--set", "optim.learning_rate=NaN"],
        ["--device", "abacus"],
        ["--precision", "half"],
        ["--note-encoder", "no/such-model"],
    ],
    ids=" ".join,
)
def test_bad_training_options_are_one_line(workspace_with_cohort: Path, options: list[str]) -> None:
    done = call_miracl("train", "--workspace", workspace_with_cohort, "--size", "compact", *options)
    assert_one_line(done, "expected", "got")
    assert list((workspace_with_cohort / "rounds").glob("*.duckdb")) == []


def test_a_choice_that_is_none_is_told_with_those_there_are(workspace_with_cohort: Path) -> None:
    done = call_miracl("train", "--workspace", workspace_with_cohort, "--precision", "half")
    assert_one_line(done, "one of auto, single, bfloat16", "'half'")


def test_training_without_a_cohort_names_the_command(tmp_path: Path) -> None:
    call_miracl("build-cohort", "synthetic", "--workspace", tmp_path / "ws", "--stays", "60")
    for path in (tmp_path / "ws" / "cohort").rglob("*.*"):
        path.unlink()
    assert_one_line(call_miracl("train", "--workspace", tmp_path / "ws"), "build-cohort")


def test_review_without_people_names_the_command(workspace_with_round: Path) -> None:
    assert_one_line(call_miracl("review", "--workspace", workspace_with_round), "person add")


def test_a_taken_port_is_one_line(workspace_with_round: Path) -> None:
    import socket

    added = call_miracl(
        "person", "add", "ada", "--password-stdin", "--workspace", workspace_with_round, stdin="long-password\n"
    )
    assert added.returncode == 0, added.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_one_line(call_miracl("review", "--workspace", workspace_with_round, "--port", port), "--port")


def test_people_are_listed_and_disabled(workspace_with_cohort: Path) -> None:
    place = ("--workspace", workspace_with_cohort)
    assert "Nobody yet" in call_miracl("person", "list", *place).stdout
    assert call_miracl("person", "add", "ada", "--password-stdin", *place, stdin="long-password\n").returncode == 0
    assert_one_line(call_miracl("person", "add", "ada", "--password-stdin", *place, stdin="long-password\n"), "taken")
    assert_one_line(call_miracl("person", "add", "bo", "--password-stdin", *place, stdin="short\n"), "8")
    assert call_miracl("person", "disable", "ada", *place).returncode == 0
    assert re.search(r"ada\b.*\bno\b", call_miracl("person", "list", *place).stdout)


def test_settings_are_read_as_json_or_text() -> None:
    assert parse_settings(["a.b=3", "c=true", "d=text", "e=[0.6,0.2,0.2]"]) == {
        "a.b": 3,
        "c": True,
        "d": "text",
        "e": [0.6, 0.2, 0.2],
    }


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (75.2, "1 min 15 s"), (3725, "1 h 02 min")])
def test_seconds_are_spelt(seconds: float, text: str) -> None:
    assert spell_seconds(seconds) == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--budget", "many"], "--budget"),
        (["demo", "--stays", "10"], "--stays"),
        (["train", "--nope"], "--nope"),
        (["bogus"], "bogus"),
        (["build-cohort", "eicu"], "source"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_words_that_the_command_does_not_take_are_one_line(words: list[str], told: str) -> None:
    assert_one_line(call_miracl(*words), told, "--help")


def test_a_group_without_a_verb_shows_its_help() -> None:
    done = call_miracl("person")
    assert done.returncode == 2
    assert re.search(r"Usage: .* person ", done.stdout)
