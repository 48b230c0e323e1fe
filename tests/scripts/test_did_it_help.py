"""A round and its twin without decisions: the comparison itself, and the run that makes it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_store import rounds
from audit_store.database import open_store
from audit_store.rounds import open_round
from audit_store.schema import COMPARISON
from audit_store.workspace import open_workspace
from core.config import PRESETS, make_config
from core.errors import RunError
from core.metrics.ranking import ranking_metrics
from core.progress import Silent
from scripts.did_it_help import compare, held_out, lay_decisions, write_comparison
from scripts.presets import DEFAULT_PRESET, FAMILIES, preset_help
from scripts.status import describe_help, describe_workspace

from .conftest import SMALL, run_miracl
from .test_loop import decide

LABELS = ["shock", "copd"]
NO_LOCKS = pa.table(
    {
        "stay_id": pa.array([], pa.int64()),
        "label_key": pa.array([], pa.string()),
        "value": pa.array([], pa.float32()),
        "locked": pa.array([], pa.bool_()),
    }
)


def locks(*rows: tuple[int, str, float, bool]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(NO_LOCKS.column_names, row, strict=True)) for row in rows], schema=NO_LOCKS.schema
    )


def write_out(folder: Path, observed: np.ndarray, probability: np.ndarray, order: np.ndarray | None = None) -> Path:
    """A finished run's out/ with these held-out pairs, and one training stay."""
    folder.mkdir()
    n, width = observed.shape
    rows, columns = np.indices(observed.shape)
    table = pa.table(
        {
            "stay_id": rows.ravel() + 10,
            "patient_id": rows.ravel() // 2,
            "label_id": columns.ravel().astype(np.int16),
            "observed": observed.ravel().astype(np.uint8),
            "probability": probability.ravel().astype(np.float32),
            "split": pa.array(["test"] * (n * width), pa.string()),
        }
    )
    trained = {"stay_id": 1, "patient_id": 99, "label_id": 0, "observed": 1, "probability": 0.9, "split": "train"}
    table = pa.concat_tables([table, pa.Table.from_pylist([trained], schema=table.schema)])
    if order is not None:
        table = table.take(pa.array(order))
    pq.write_table(table, folder / "pair.parquet")
    labels = pa.table({"label_id": pa.array(range(width), pa.int16()), "label_key": LABELS[:width]})
    pq.write_table(labels, folder / "label.parquet")
    return folder


@pytest.fixture
def pair_of_runs(tmp_path: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    observed = (rng.random((60, 2)) < 0.4).astype(np.uint8)
    good = np.clip(observed * 0.5 + rng.random(observed.shape) * 0.6, 0, 1).astype(np.float32)
    bad = rng.random(observed.shape).astype(np.float32)
    order = rng.permutation(observed.size + 1)
    return write_out(tmp_path / "a", observed, good, order), write_out(tmp_path / "b", observed, bad), good, observed


def test_the_difference_is_that_of_the_two_runs_metrics_whatever_the_rows_order(
    pair_of_runs: tuple[Path, Path, np.ndarray, np.ndarray],
) -> None:
    one, two, good, observed = pair_of_runs
    row = compare(one, two, NO_LOCKS, seed=3).to_pylist()[0]
    assert row["metric"] == "map"
    assert row["with_decisions"] == pytest.approx(ranking_metrics(observed, good).map)
    assert row["difference"] == pytest.approx(row["with_decisions"] - row["without_decisions"])
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert row["n_patients"] == 30
    assert row["note"] == "recorded labels"
    assert compare(one, two, NO_LOCKS, seed=3).to_pylist()[0] == row
    turned = compare(two, one, NO_LOCKS, seed=3).to_pylist()[0]
    assert turned["difference"] == pytest.approx(-row["difference"])


def test_a_run_compared_with_itself_shows_no_difference(pair_of_runs: tuple[Path, Path, Any, Any]) -> None:
    row = compare(pair_of_runs[0], pair_of_runs[0], NO_LOCKS, seed=3).to_pylist()[0]
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


def test_held_out_labels_are_measured_as_readers_decided_them(pair_of_runs: tuple[Path, Path, Any, Any]) -> None:
    one, two, _, observed = pair_of_runs
    decided = locks(
        (10, "copd", 1.0 - observed[0, 1], True),
        (11, "shock", float(observed[1, 0]), True),
        (12, "shock", 0.5, False),
        (1, "shock", 1.0, True),
        (999, "shock", 1.0, True),
        (13, "unknown", 1.0, True),
    )
    truth, count = lay_decisions(held_out(one), decided, LABELS)
    expected = observed.copy()
    expected[0, 1] = 1 - expected[0, 1]
    np.testing.assert_array_equal(truth, expected)
    assert count == 2
    row = compare(one, two, decided, seed=0).to_pylist()[0]
    assert row["note"] == "recorded labels; 2 of 120 as decided"


def test_without_a_held_out_label_there_is_no_comparison(tmp_path: Path) -> None:
    nothing = np.zeros((4, 2), np.uint8)
    one = write_out(tmp_path / "a", nothing, np.full((4, 2), 0.5))
    path = write_comparison(one, one, NO_LOCKS, seed=0)
    assert pq.read_table(path).equals(COMPARISON.empty_table())
    empty = write_out(tmp_path / "b", nothing[:0], np.zeros((0, 2)))
    assert compare(empty, empty, locks((1, "shock", 1.0, True)), seed=0).num_rows == 0


def test_runs_on_other_stays_are_not_compared(pair_of_runs: tuple[Path, Path, Any, Any], tmp_path: Path) -> None:
    other = write_out(tmp_path / "c", pair_of_runs[3][:40], pair_of_runs[2][:40])
    with pytest.raises(RunError, match="--fresh"):
        compare(pair_of_runs[0], other, NO_LOCKS, seed=0)


def test_the_help_names_every_preset_by_its_family() -> None:
    named = [name for names in FAMILIES.values() for name in names]
    assert len(set(named)) == len(named)
    assert set(PRESETS) <= set(named)
    assert DEFAULT_PRESET in PRESETS
    assert all(name in preset_help() for name in PRESETS)


@pytest.mark.slow
def test_a_twin_without_decisions_is_stopped_resumed_and_kept_as_the_rounds_comparison(
    workspace_with_round: Path,
) -> None:
    from scripts.bridge import run_round

    decide(workspace_with_round)
    rounds._OPEN.clear()
    space = open_workspace(workspace_with_round)
    store = open_store(space)
    config = make_config("miracl", "compact", **{"optim.epochs": 6, "model.hidden": 16, "model.ffn": 32})
    twin = space.twin_folder(2)

    def train(stop: bool) -> int | None:
        return run_round(
            store, config, seed=3, device="cpu", budget=None, progress=Silent(), did_it_help=True,
            should_stop=lambda: stop and (twin / "checkpoint.pt").exists(),
        )  # fmt: skip

    assert train(True) is None
    assert (space.run_folder(2) / "out").is_dir()
    assert not space.round_path(2).exists()
    assert "once more without the decisions" in " ".join(describe_workspace(store))
    held = json.loads((twin / "config.json").read_text())
    assert held["locks"] == ""
    assert train(False) == 2
    assert not twin.exists()
    assert not space.run_folder(2).exists()
    round_file = open_round(space, 2)
    row = round_file.comparison().iloc[0]
    assert row["with_decisions"] - row["without_decisions"] == pytest.approx(row["difference"])
    assert row["low"] <= row["difference"] <= row["high"]
    assert round_file.info.decisions_count > 0
    line = describe_help(round_file)
    assert line is not None
    assert line.startswith("Did the decisions help? ")
    assert line in describe_workspace(store)
    store.close()


@pytest.mark.slow
def test_without_decisions_nothing_is_trained_twice(workspace_with_round: Path) -> None:
    small = [*SMALL, "--epochs", "6", "--did-it-help"]
    done = run_miracl("train", "--workspace", workspace_with_round, *small)
    assert done.returncode == 0, done.stderr
    assert "Nothing to compare" in done.stdout
    assert "once more" not in done.stderr
    space = open_workspace(workspace_with_round)
    assert open_round(space, 2).comparison().empty
    assert "Did the decisions help" not in run_miracl("status", "--workspace", workspace_with_round).stdout
