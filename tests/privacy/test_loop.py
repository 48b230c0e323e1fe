"""After the loop: nobody was called, nothing stands open to others, and no text is where it should not be."""

import shutil
import stat
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.privacy.conftest import BROKEN, CRASH, SMALL, Loop
from tests.privacy.planted import PATIENT_WORDS, WORDS, files, found_in
from tests.privacy.sealed import processes, tried

BY_DESIGN = {
    # Fitted on notes, so patients' data: they stay in the workspace, and the README says so.
    "cache": {"note", "note category"},
    "models": {"note", "note category"},
    # The store of people, comments and events itself.
    "decisions.sqlite": {"display name", "attestation", "comment", "adjudication comment", "redaction"},
    # Labels are named in a round, and in the header of the listfile.
    "rounds": {"label name"},
    "exports": {"label name"},
    # Made to be handed to an inspector: who acted and why, and comments only where asked for.
    "trail.csv": {"display name", "attestation", "redaction", "label name"},
    "trail.jsonl": {"display name", "attestation", "redaction", "label name"},
}


def test_no_verb_of_the_loop_looks_up_a_name_or_connects(loop: Loop) -> None:
    assert processes(loop.notes) >= 4
    assert tried(loop.notes) == []


def test_a_sealed_process_that_does_call_out_is_stopped_and_noted(loop: Loop, tmp_path: Path) -> None:
    other = Loop(tmp_path, tmp_path)
    call = "import urllib.request; urllib.request.urlopen('http://hospital.invalid/')"
    assert other.run("name", "-c", call) != 0
    assert other.run("number", "-c", "import socket; socket.create_connection(('192.0.2.7', 80), 1)") != 0
    assert tried(other.notes) == ["socket.getaddrinfo hospital.invalid", "socket.getaddrinfo 192.0.2.7"]


def test_duckdb_may_not_fetch_an_extension_where_a_round_is_read(loop: Loop) -> None:
    from audit_store.rounds import open_round
    from audit_store.workspace import open_workspace

    round_file = open_round(open_workspace(loop.workspace))
    try:
        with pytest.raises(duckdb.Error):
            round_file.cursor().execute("INSTALL httpfs")
        with pytest.raises(duckdb.Error):
            round_file.cursor().execute("SELECT * FROM read_csv('/etc/hostname')").fetchall()
    finally:
        round_file.close()


def test_all_that_the_loop_wrote_is_its_owner_s_alone_although_the_umask_let_everyone_in(loop: Loop) -> None:
    written = [loop.workspace, *loop.workspace.rglob("*"), *loop.temporary.rglob("*"), *loop.home.rglob("*")]
    assert {path.suffix for path in written} >= {".sqlite", ".duckdb", ".parquet", ".json", ".csv", ".npz"}
    open_to_others = {
        str(path.relative_to(loop.folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in written
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert open_to_others == {}


def test_the_words_of_patients_and_people_stand_only_where_they_belong(loop: Loop) -> None:
    found: dict[str, set[str]] = {}
    for path in files(loop.workspace):
        place = path.relative_to(loop.workspace).parts[0].removesuffix("-wal").removesuffix("-shm")
        if place != "cohort":
            found.setdefault(place, set()).update(found_in(path))
    assert {place: kinds for place, kinds in found.items() if kinds - BY_DESIGN.get(place, set())} == {}
    assert found["decisions.sqlite"] >= {"comment", "display name"}  # the search does find what is there
    assert "note" in found["models"] | found["cache"]
    for path in [*files(loop.temporary), *files(loop.home)]:
        assert found_in(path) == set(), path


def _told(loop: Loop) -> dict[str, str]:
    """What the processes said, and each of their logs."""
    logs = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in loop.notes.glob("debug-*.log")}
    return {**loop.said, **logs}


def test_neither_output_nor_any_library_s_log_at_its_lowest_level_holds_a_word_or_a_stay(loop: Loop) -> None:
    told = _told(loop)
    assert "sqlalchemy.engine" in "".join(told.values())  # the logs were on
    assert loop.said["acts"].count("refused:") == 12
    stays = pq.read_table(loop.workspace / "cohort" / "stays.parquet")
    numbers = [str(value) for name in ("stay_id", "patient_id") for value in stays[name].to_pylist()]
    wanted = [word for kind, word in WORDS.items() if kind not in ("label name", "display name")]
    for name, text in told.items():
        assert [word for word in wanted if word in text.lower()] == [], name
        assert [number for number in numbers if len(number) > 5 and number in text] == [], name
    shown = [name for name, text in told.items() if WORDS["display name"] in text]
    assert shown == ["verbs"]  # `person add` answers with the name just typed


def test_a_crash_in_training_tells_its_place_and_not_its_words(loop: Loop) -> None:
    assert loop.run("crash", "-c", CRASH, "train", *SMALL, "--workspace", loop.workspace) == 1
    said = loop.said["crash"]
    assert "a fault in the program: ValueError at " in said
    assert "Traceback" not in said
    assert [word for word in PATIENT_WORDS if word in said] == []


def test_a_malformed_workspace_is_told_in_one_line_without_its_contents(loop: Loop, tmp_path: Path) -> None:
    copy = Loop(tmp_path, tmp_path / "workspace")
    planted = f'"{WORDS["note"]} of {WORDS["patient key"]}" '.encode() * 40
    broken = ("decisions.sqlite", "cohort/notes.parquet", "cohort/manifest.json", "rounds/round-0001.duckdb")
    for name in broken:
        shutil.copytree(loop.workspace, copy.workspace / name, ignore=shutil.ignore_patterns("cache", "models"))
        file = copy.workspace / name / name
        body = file.read_bytes()
        file.write_bytes(body[: len(body) // 3] + planted + body[len(body) // 2 :])
    assert copy.run("broken", "-c", BROKEN, copy.workspace, *broken) == 0
    said = copy.said["broken"]
    assert "Traceback" not in said
    assert said.count("miracl: expected ") >= 6
    for name, text in _told(copy).items():
        assert [word for word in WORDS.values() if word in text.lower()] == [], name
