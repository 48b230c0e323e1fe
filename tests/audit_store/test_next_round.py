"""Starting the next round: one at a time, watched from its folder, stopped, and told what became of it."""

import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from audit_store import next_round
from audit_store.errors import AccessError, WorkspaceError
from audit_store.ledger import events_of
from audit_store.next_round import (
    NextRound,
    next_round_status,
    shown_command,
    start_next_round,
    stop_next_round,
    train_arguments,
)
from audit_store.next_round_status import one_line
from audit_store.trail_words import sentence
from audit_store.verify import verify
from tests.audit_store.conftest import Site

TRAINER = """
import fcntl, json, os, pathlib, signal, sys, time
root, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
open(root / "started", "a").write("one ")
raised = []
signal.signal(signal.SIGINT, lambda *_: raised.append(1))
handle = os.open(root / "runs" / ".training.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("packing series and notes", flush=True)
folder = root / "runs" / "round-0002"
folder.mkdir(exist_ok=True)
(folder / "start.json").write_text("{}")
(folder / "config.json").write_text(json.dumps({"config": {"optim": {"epochs": 4}, "preset": "base"}, "seed": 7}))
(folder / "log.jsonl").write_text('{"epoch": 1, "seconds": 30.0}\\n')
if mode == "fail":
    print("miracl: expected a cohort in /srv/secret/ward3; got none; build one", file=sys.stderr)
    sys.exit(2)
if mode == "crash":
    raise RuntimeError("patient 4471 at /srv/secret")
until = time.monotonic() + 30
while time.monotonic() < until and not raised:
    time.sleep(0.02)
print("Stopped. The same command goes on from the last finished epoch.")
sys.exit(130)
"""


@pytest.fixture
def small(make_site: Callable[..., Site]) -> Iterator[Site]:
    site = make_site(n_stays=8, n_labels=2)
    yield site
    note = site.workspace.runs / ".next-round.json"
    if note.exists() and next_round_status(site.workspace).state == "running":
        os.kill(json.loads(note.read_text())["pid"], 9)


def command(site: Site, mode: str = "wait") -> list[str]:
    return [sys.executable, "-c", TRAINER, str(site.workspace.root), mode]


def reached(site: Site, holds: Callable[[NextRound], bool]) -> NextRound:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        now = next_round_status(site.workspace)
        if holds(now):
            return now
        time.sleep(0.02)
    raise AssertionError(next_round_status(site.workspace))


def started(site: Site) -> int:
    path = site.workspace.root / "started"
    return len(path.read_text().split()) if path.exists() else 0


def test_it_is_watched_while_it_runs_and_goes_on_later_once_stopped(small: Site) -> None:
    assert next_round_status(small.workspace).state == "none"
    start_next_round(small.store, small.people["sam"], command=command(small))
    now = reached(small, lambda n: n.epoch == 1)
    assert (now.state, now.round_id, now.epochs, now.seconds_left, now.actor) == ("running", 2, 4, 90.0, "sam")
    stop_next_round(small.store, small.people["sam"])
    now = reached(small, lambda n: n.state != "running")
    assert (now.state, now.epoch, now.epochs) == ("stopped", 1, 4)
    assert train_arguments(small.workspace) == ("--preset", "base", "--seed", "7", "--epochs", "4")
    for name in (".next-round.json", ".next-round.log", ".next-round.lock"):
        assert stat.S_IMODE((small.workspace.runs / name).stat().st_mode) == 0o600


def test_the_ledger_tells_who_started_stopped_and_took_up_a_round_and_how(small: Site) -> None:
    sam = small.people["sam"]
    start_next_round(small.store, sam, did_it_help=True, command=command(small))
    reached(small, lambda n: n.epoch == 1)
    start_next_round(small.store, sam, command=command(small))  # one is at work: nothing starts, nothing is noted
    for _ in range(2):
        stop_next_round(small.store, sam)
    reached(small, lambda n: n.state == "stopped")
    start_next_round(small.store, sam, command=command(small))
    told = [sentence(event) for kind in ("round_start", "round_stop") for event in events_of(small.store, kind)]
    shown = "miracl train --workspace workspace"
    assert told == [
        f"sam began to train round 2, and once more without the decisions: {shown} --seed 1 --did-it-help",
        f"sam went on to train round 2: {shown} --preset base --seed 7 --epochs 4",
        "sam asked the training of round 2 to stop",
        "sam asked the training of round 2 to stop at once",
    ]
    assert verify(small.store) == []


def test_two_stewards_who_press_at_once_start_one(small: Site) -> None:
    barrier = threading.Barrier(2)
    found: list[Any] = []

    def press() -> None:
        barrier.wait()
        found.append(start_next_round(small.store, small.people["sam"], command=command(small)))

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reached(small, lambda n: n.epoch == 1)
    start_next_round(small.store, small.people["sam"], command=command(small))
    assert started(small) == 1
    assert [now.state for now in found] == ["running", "running"]
    stop_next_round(small.store, small.people["sam"])
    reached(small, lambda n: n.state == "stopped")


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("fail", "expected a cohort in ward3; got none; build one"),
        ("crash", "it ended without saying why; its log is in the workspace's runs folder"),
    ],
)
def test_a_failure_is_one_line_without_paths_or_a_traceback(small: Site, mode: str, line: str) -> None:
    start_next_round(small.store, small.people["sam"], command=command(small, mode))
    now = reached(small, lambda n: n.state == "failed")
    assert now.line == line


def test_a_finished_round_is_told_until_the_next_one(small: Site) -> None:
    done = [sys.executable, "-c", "pass"]
    start_next_round(small.store, small.people["sam"], command=done)
    reached(small, lambda n: n.state == "failed")
    small.publish(2)
    now = next_round_status(small.workspace)
    assert (now.state, now.round_id) == ("finished", 2)
    small.publish(3)
    assert next_round_status(small.workspace).state == "none"


def test_a_trainer_of_the_command_line_is_seen_and_none_is_started_beside_it(small: Site) -> None:
    import fcntl

    with (small.workspace.runs / ".training.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert start_next_round(small.store, small.people["sam"], command=command(small)).state == "elsewhere"
        assert stop_next_round(small.store, small.people["sam"]).state == "elsewhere"
    assert started(small) == 0


@pytest.mark.parametrize("who", ["ann", "ada", "aud"])
def test_only_those_who_may_publish_rounds_start_or_stop_one(small: Site, who: str) -> None:
    with pytest.raises(AccessError):
        start_next_round(small.store, small.people[who], command=command(small))
    with pytest.raises(AccessError):
        stop_next_round(small.store, small.people[who])
    assert started(small) == 0


def test_without_the_trainer_on_this_machine_nothing_starts(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_round, "trainer_installed", lambda: False)
    with pytest.raises(WorkspaceError, match="the machine that trains"):
        start_next_round(small.store, small.people["sam"])


def test_a_command_that_is_not_there_is_one_line(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_round.shutil, "which", lambda _: None)
    with pytest.raises(WorkspaceError, match="a trainer that can be started"):
        start_next_round(small.store, small.people["sam"], command=["/nowhere/miracl"])
    assert next_round_status(small.workspace).state == "failed"
    assert events_of(small.store, "round_start") == []


def test_a_start_that_the_ledger_cannot_hold_starts_nothing(small: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(next_round, "append", full)
    with pytest.raises(OSError, match="no space"):
        start_next_round(small.store, small.people["sam"], command=command(small))
    assert started(small) == 0
    assert next_round_status(small.workspace).state == "none"


def test_the_command_shown_names_no_folder_of_this_machine(small: Site) -> None:
    said = shown_command(small.workspace, did_it_help=True)
    assert said == "miracl train --workspace workspace --seed 1 --did-it-help"
    assert "/" not in said


def test_a_line_loses_its_paths_and_its_length() -> None:
    assert one_line("  no space on /mnt/a b/disk,\n see /var/log/x.log ") == "no space on a b/disk, see x.log"
    assert len(one_line("long " * 200)) == 300
