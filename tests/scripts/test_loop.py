"""The whole loop through the command: cohort, round, decisions, export, next round; and what kills leave behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from audit_store.database import open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.labels import locks
from audit_store.people import add_person, operator
from audit_store.queue import next_items
from audit_store.rounds import open_round
from audit_store.workspace import open_workspace
from core.detectors.registry import DETECTORS

from .conftest import SMALL, run_miracl

ROOT = Path(__file__).parents[2]
VOLATILE = ("created_at", "seconds", "peak_memory_mb")


def table(path: Path, name: str, without: tuple[str, ...] = ()) -> pd.DataFrame:
    with duckdb.connect(str(path), read_only=True) as connection:
        frame = connection.sql(f"SELECT * FROM {name}").df()
    return frame.drop(columns=[column for column in without if column in frame])


def decide(workspace: Path, answers: int = 12) -> list[tuple[int, str, str]]:
    """Answer the first flagged pairs against the record, every third with it; returns (stay, label, answer)."""
    store = open_store(open_workspace(workspace))
    ada = add_person(store, operator(), "ada", "long-password", role="reviewer")
    round_file = open_round(store.workspace)
    given = []
    for number, item in enumerate(next_items(store, round_file, ada, limit=answers)):
        for key in item.label_keys:
            observed = round_file.pair(item.stay_id, key).observed
            value = observed if number % 3 == 0 else 1 - observed
            answer = "present" if value else "absent"
            record(
                store,
                ada,
                Reading(round_id=1, stay_id=item.stay_id, label_key=key, answer=answer),
                new_token(),
            )
            given.append((item.stay_id, key, answer))
    round_file.close()
    store.close()
    return given


@pytest.mark.slow
def test_decisions_are_exported_and_locked_into_the_next_round(workspace_with_round: Path) -> None:
    given = decide(workspace_with_round)
    assert len(given) >= 12

    exported = run_miracl("export", "--workspace", workspace_with_round)
    assert exported.returncode == 0, exported.stderr
    folder = next((workspace_with_round / "exports").glob("export-*"))
    long = pd.read_parquet(folder / "labels_long.parquet").set_index(["stay_id", "label"])
    for stay, key, answer in given:
        row = long.loc[(stay, key)]
        assert int(row["cleaned"]) == (answer == "present")
        assert row["basis"] in {"kept", "relabelled"}
        assert "ada" in str(row["reviewers"])
        assert int(row["round"]) == 1
    untouched = long.drop(index=[(stay, key) for stay, key, _ in given])
    assert (untouched["cleaned"] == untouched["observed"]).all()

    trained = run_miracl("train", "--workspace", workspace_with_round, *SMALL)
    assert trained.returncode == 0, trained.stderr
    second = workspace_with_round / "rounds" / "round-0002.duckdb"
    pairs = table(second, "pair").merge(table(second, "label")[["label_id", "label_key"]], on="label_id")
    pairs = pairs.set_index(["stay_id", "label_key"])
    for stay, key, answer in given:
        row = pairs.loc[(stay, key)]
        value = float(answer == "present")
        assert row["partition"] == "locked"
        assert row["given"] == value
        assert row["corrected"] == value
        assert not row["flagged"]
    first = table(workspace_with_round / "rounds" / "round-0001.duckdb", "pair")
    assert (pairs["partition"] == "locked").sum() == len(given)
    merged = first.merge(pairs.reset_index(), on=["stay_id", "label_id"], suffixes=("", "_2"))
    assert (merged["observed"] == merged["observed_2"]).all()
    info = table(second, "round").iloc[0]
    assert int(info["parent"]) == 1
    assert int(info["decisions_count"]) == len(given)

    verified = run_miracl("verify", "--workspace", workspace_with_round)
    assert verified.returncode == 0, verified.stdout
    status = run_miracl("status", "--workspace", workspace_with_round)
    assert "Round 2" in status.stdout


def test_a_round_keeps_every_detector_the_peer_and_the_correction_s_diagnosis(trained_workspace: Path) -> None:
    path = trained_workspace / "rounds" / "round-0001.duckdb"
    pairs, labels = table(path, "pair"), table(path, "label")
    assert pairs["probability_peer"].between(0, 1).all()
    assert labels[["rho_plus", "rho_minus"]].apply(lambda rate: rate.between(0, 1)).all(axis=None)
    held = pairs[pairs["split"] == "train"].iloc[0]
    store = open_store(open_workspace(trained_workspace))
    round_file = open_round(store.workspace)
    places = round_file.detector_places(int(held["stay_id"]), labels["label_key"][held["label_id"]])
    harm = round_file.harm()
    round_file.close()
    store.close()
    assert [place.name for place in places] == list(DETECTORS)
    assert all(1 <= place.place <= place.n for place in places)
    assert len(harm) == 2 * len(labels)
    assert (harm["changed"] <= harm["pairs"]).all()
    assert harm["reason"].str.len().gt(0).all()


def same_round(one: Path, two: Path) -> None:
    for name in ("label", "pair", "mixture", "epoch", "evidence", "detector_score", "harm"):
        pd.testing.assert_frame_equal(table(one, name, VOLATILE), table(two, name, VOLATILE), check_exact=True)


@pytest.mark.slow
def test_a_killed_trainer_goes_on_to_the_same_round_bit_for_bit(
    workspace_with_cohort: Path, trained_workspace: Path
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", "train", "--workspace", str(workspace_with_cohort), *SMALL],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    log = workspace_with_cohort / "runs" / "round-0001" / "log.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and run.poll() is None:
        if log.is_file() and len(log.read_text().splitlines()) >= 2:
            break
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (workspace_with_cohort / "rounds" / "round-0001.duckdb").exists()
    assert "unfinished" in run_miracl("status", "--workspace", workspace_with_cohort).stdout

    again = run_miracl("train", "--workspace", workspace_with_cohort, *SMALL)
    assert again.returncode == 0, again.stderr
    name = "rounds/round-0001.duckdb"
    same_round(trained_workspace / name, workspace_with_cohort / name)


@pytest.mark.slow
def test_an_unfinished_run_with_other_options_is_refused(workspace_with_cohort: Path) -> None:
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "scripts.cli",
            "train",
            "--workspace",
            str(workspace_with_cohort),
            *SMALL,
            "--epochs",
            "60",
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    checkpoint = workspace_with_cohort / "runs" / "round-0001" / "checkpoint.pt"
    until = time.monotonic() + 120
    while time.monotonic() < until and run.poll() is None and not checkpoint.is_file():
        time.sleep(0.02)
    busy = run_miracl("train", "--workspace", workspace_with_cohort, *SMALL)
    run.send_signal(signal.SIGINT)
    status = run.wait()
    assert status == 130
    assert busy.returncode == 2
    assert "one training run at a time" in busy.stderr
    other = run_miracl("train", "--workspace", workspace_with_cohort, *SMALL, "--preset", "paper")
    assert other.returncode == 2
    assert len(other.stderr.strip().splitlines()) == 1
    fresh = run_miracl("train", "--workspace", workspace_with_cohort, *SMALL, "--preset", "paper", "--fresh")
    assert fresh.returncode == 0, fresh.stderr


@pytest.mark.slow
def test_a_changed_cohort_is_refused_unless_allowed(workspace_with_round: Path) -> None:
    rebuilt = run_miracl("build-cohort", "synthetic", "--workspace", workspace_with_round, "--stays", "170")
    assert rebuilt.returncode == 0, rebuilt.stderr
    done = run_miracl("train", "--workspace", workspace_with_round, *SMALL)
    assert done.returncode == 2
    assert "cohort" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (workspace_with_round / "rounds" / "round-0002.duckdb").exists()


@pytest.mark.slow
def test_what_was_fixed_at_the_start_of_a_run_stays_fixed(workspace_with_round: Path) -> None:
    from scripts.bridge import begin

    store = open_store(open_workspace(workspace_with_round))
    start, table_at_start = begin(store, 2)
    decide(workspace_with_round, 3)
    store = open_store(open_workspace(workspace_with_round))
    again, table_again = begin(store, 2)
    assert again == start
    assert table_again.equals(table_at_start)
    assert locks(store, before_round=2).decisions_count >= 3
    store.close()


def test_the_demo_refuses_a_workspace_with_patients(workspace_with_cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    shutil.copytree(workspace_with_cohort, folder)
    path = folder / "cohort" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"] = "eicu"
    path.write_text(json.dumps(manifest))
    done = run_miracl("demo", "--workspace", folder, "--no-serve")
    assert done.returncode == 2
    assert "--workspace" in done.stderr
