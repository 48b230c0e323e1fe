"""What the benchmarks measure: the cohorts, the planted noise, the figures of a run, and the verbs themselves."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.config import make_config
from core.errors import ConfigError
from core.metrics.ranking import ranking_metrics
from scripts.benchmarks import ablation, cost, detection, repair, robustness
from scripts.benchmarks.cohorts import prepare, synthetic_name
from scripts.benchmarks.command import rows_folder
from scripts.benchmarks.fits import precision_at_recall, run
from scripts.benchmarks.machine import commit, machine
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.robustness import Plan, quick
from scripts.benchmarks.rows import KEY, SCHEMAS, Row, read_rows, write_rows
from scripts.benchmarks.runner import Job, Place
from scripts.benchmarks.scene import config_of, digest, set_scene

from .conftest import ROOT, call_miracl, run_miracl

TENSORS = make_config("miracl", "compact").tensors


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("benchmarks"))


def plan(place: Place, **given: object) -> Plan:
    fields = {
        "methods": ("bce",), "noises": ("sym20",), "seeds": range(2), "cohort": synthetic_name(4000),
        "size": "compact", "epochs": 30, "place": place,
    }  # fmt: skip
    return Plan(**{**fields, **given})  # type: ignore[arg-type]


def small(place: Place, method: str, noise: str = "sym20", table: str = "robustness") -> Job:
    return robustness.jobs(quick(plan(place, methods=(method,), noises=(noise,))), table)[0]


def test_jobs_finish_one_seed_and_one_noise_before_the_next(place: Place) -> None:
    made = robustness.jobs(plan(place, methods=("bce", "gce"), noises=("sym20", "bal20")))
    assert [(job.seed, job.noise, job.method) for job in made] == [
        (seed, noise, method) for seed in (0, 1) for noise in ("sym20", "bal20") for method in ("bce", "gce")
    ]


@pytest.mark.parametrize("wrong", [{"methods": ("best",)}, {"noises": ("loud",)}], ids=["method", "noise"])
def test_unknown_names_are_refused_before_anything_runs(place: Place, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="among"):
        plan(place, **wrong)


def test_every_method_and_every_variant_makes_a_config(place: Place) -> None:
    everything = plan(place, methods=tuple(METHODS), seeds=range(1))
    jobs = [*robustness.jobs(everything), *ablation.jobs(everything, tuple(ablation.VARIANTS))]
    assert len({config_of(job).to_json() for job in jobs}) >= len(METHODS) - 1
    with pytest.raises(ConfigError, match="variants"):
        ablation.jobs(everything, ("nothing",))


def test_a_methods_digest_changes_with_its_own_options_alone(place: Place) -> None:
    job = robustness.jobs(plan(place, methods=("gce",)))[0]
    assert digest(replace(job, options=(("method.gce.q", 0.5),))) != digest(job)
    assert digest(replace(job, options=(("method.focal.gamma", 1.0),))) == digest(job)
    assert digest(replace(job, options=(("loss.ortho", 0.25),))) != digest(job)


def test_a_seed_has_its_own_patients_and_noise_that_every_method_shares(place: Place) -> None:
    first, second = (prepare(synthetic_name(120), seed, TENSORS, place.cache, None) for seed in (0, 1))
    assert first.packed.fingerprint != second.packed.fingerprint
    noisy, planted = first.planted("sym20", 0)
    again, _ = prepare(synthetic_name(120), 0, TENSORS, place.cache, None).planted("sym20", 0)
    other, _ = first.planted("sym20", 1)
    np.testing.assert_array_equal(noisy.observed, again.observed)
    assert (noisy.observed != other.observed).any()
    tested = np.asarray(first.packed.is_test)
    np.testing.assert_array_equal(noisy.observed[tested], first.packed.observed[tested])
    assert 0.1 < (noisy.observed != planted.truth)[~tested].mean() < 0.3


def test_a_packed_cohort_is_taken_from_the_cache(place: Place) -> None:
    made = prepare(synthetic_name(60), 5, TENSORS, place.cache, None)
    folders = sorted(path.name for path in (place.cache / "cohorts").iterdir())
    stamp = (made.cohort.folder / "manifest.json").stat().st_mtime_ns
    prepare.__globals__["_prepared"].cache_clear()
    again = prepare(synthetic_name(60), 5, TENSORS, place.cache, None)
    assert (again.cohort.folder / "manifest.json").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in (place.cache / "cohorts").iterdir()) == folders


@pytest.mark.parametrize("name", ["mimic", "synthetic-many", "eicu-demo"])
def test_a_cohort_that_can_not_be_had_is_one_line(place: Place, name: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        prepare(name, 0, TENSORS, place.cache, None)


def test_precision_at_recall_of_a_list_worked_by_hand() -> None:
    wrong = np.array([True, False, True, False, False])
    told = precision_at_recall(wrong, np.array([5.0, 4.0, 3.0, 2.0, 1.0]))
    # Half of the two wrong pairs is found by the first alone; both by the first three.
    assert told == [1.0] * 10 + [pytest.approx(2 / 3)] * 10
    assert precision_at_recall(np.zeros(3, np.bool_), np.ones(3)) == []


@pytest.fixture(scope="session")
def trained(place: Place) -> dict[str, dict[str, list[Row]]]:
    return {name: dict(run(small(place, name))) for name in ("bce", "miracl", "regression")}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bce", "miracl", "regression"])
def test_a_runs_row_has_the_tables_columns_and_figures_that_hold_together(
    trained: dict[str, dict[str, list[Row]]], place: Place, name: str, tmp_path: Path
) -> None:
    (row,) = trained[name]["robustness"]
    assert set(row) <= set(SCHEMAS["robustness"].names)
    assert row["positives"] + row["negatives"] == row["pairs"]
    scene, _ = set_scene(small(place, name))
    member = scene.pairs.member
    assert row["wrong_before"] == int((scene.pairs.observed != scene.planted.truth)[member].sum())
    assert row["accuracy_before"] == pytest.approx(1 - row["wrong_before"] / row["pairs"])
    assert len(row["bootstrap"]) == 200
    assert row["chance"] == pytest.approx(
        ranking_metrics(scene.prepared.packed.observed[scene.test], np.zeros((len(scene.test), 25), np.float32)).chance
    )
    write_rows(tmp_path, trained[name])
    assert read_rows(tmp_path, "robustness")[0]["map"] == row["map"]


@pytest.mark.parametrize("name", ["bce", "miracl"])
def test_labels_repaired_and_harmed_account_for_the_change(trained: dict[str, dict[str, list[Row]]], name: str) -> None:
    (row,) = trained[name]["robustness"]
    repaired = row["repaired_positive"] + row["repaired_negative"]
    harmed = row["harmed_positive"] + row["harmed_negative"]
    assert row["wrong_after"] == row["wrong_before"] - repaired + harmed
    assert row["accuracy_after"] == pytest.approx(1 - row["wrong_after"] / row["pairs"])
    assert (repaired, harmed) == (0, 0) or name != "bce"
    assert row["map_best"] == pytest.approx(max(row["map_by_epoch"]))
    assert row["map"] == pytest.approx(row["map_by_epoch"][-1])


def test_every_detector_is_measured_on_the_plain_network_and_its_own_on_the_others(
    trained: dict[str, dict[str, list[Row]]], tmp_path: Path
) -> None:
    from core.detectors.registry import DETECTORS

    found = {(r["detector"], r["observed_class"]) for r in trained["bce"]["detection"]}
    assert found == {(name, group) for name in DETECTORS for group in ("positive", "negative", "pooled")}
    assert {r["detector"] for r in trained["miracl"]["detection"]} == {"miracl_score"}
    assert {r["detector"] for r in trained["regression"]["detection"]} == {"regression"}
    write_rows(tmp_path, trained["bce"])
    (row,) = trained["bce"]["robustness"]
    assert detection.finished(tmp_path) == {tuple(row[name] for name in KEY)}
    write_rows(tmp_path, {"detection": [r for r in trained["bce"]["detection"] if r["detector"] != "aum"]})
    assert detection.finished(tmp_path) == set()


def test_nothing_is_detected_on_clean_labels(place: Place) -> None:
    made = run(small(place, "regression", "clean"))
    assert made["detection"] == []
    assert made["robustness"][0]["wrong_before"] == 0


def test_simulated_reviews_repair_what_the_curves_say_and_lock_it(place: Place) -> None:
    rows = repair.run(small(place, "miracl", table="repair"))["repair"]
    by_order = {name: [r for r in rows if r["order"] == name] for name in ("method", "loss", "random")}
    reviewed = [r["reviewed"] for r in by_order["method"]]
    assert reviewed == [k * reviewed[1] for k in range(repair.ROUNDS + 2)]
    for lines in by_order.values():
        assert [r["reviewed"] for r in lines] == reviewed
        assert all(a["repaired"] <= b["repaired"] for a, b in pairwise(lines))
        assert lines[0]["repaired"] == 0
    first = rows[0]
    assert [r["repaired"] for r in by_order["random"]] == pytest.approx(
        [k * first["wrong_before"] / first["pairs"] for k in reviewed]
    )
    assert [r["retrained"] for r in by_order["method"]] == [True] * (repair.ROUNDS + 1) + [False]
    assert all(r["map"] is not None for r in by_order["method"][:-1])


def test_cost_is_told_beside_the_backbones_in_the_same_process(place: Place) -> None:
    made = cost.jobs(quick(plan(place, methods=("miracl", "bce"), epochs=5)))
    rows = {job.method: cost.run(job)["cost"] for job in made}
    assert [r["ratio"] for r in rows["bce"]] == [1.0] * cost.REPEATS
    for row in rows["miracl"]:
        assert row["ratio"] == pytest.approx(row["seconds_per_epoch"] / row["bce_seconds_per_epoch"])
        assert 0 < row["own_share"] < 1
        assert row["peak_mib"] > 50
        assert row["outside_seconds"] > 0


def test_rows_say_what_they_were_made_on(tmp_path: Path) -> None:
    told = machine()
    assert told["torch"][0].isdigit()
    assert told["cores"] >= 1
    assert commit(tmp_path) == "unknown"


def test_a_quick_look_leaves_the_kept_rows_alone(tmp_path: Path) -> None:
    from contextlib import ExitStack

    with ExitStack() as stack:
        folder = rows_folder(None, True, stack)
        assert folder.is_dir()
        assert ROOT not in folder.parents
        assert rows_folder(tmp_path, True, stack) == tmp_path
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cohort", "mimic"], "eicu-demo"),
        (["--cohort", "eicu-history"], "--data"),
        (["--size", "huge"], "size"),
        (["--methods", "best"], "methods"),
    ],
    ids=["cohort", "data", "size", "method"],
)
def test_what_no_run_can_take_is_one_line_before_any_begins(tmp_path: Path, options: list[str], told: str) -> None:
    done = call_miracl("benchmark", "robustness", *options, "--rows", tmp_path, "--cache", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["robustness", "detection"])
def test_the_quick_benchmark_runs_and_a_second_time_runs_nothing(place: Place, tmp_path: Path, verb: str) -> None:
    options = ("benchmark", verb, "--quick", "--rows", tmp_path / "rows", "--cache", place.cache)
    began = time.perf_counter()
    done = run_miracl(*options, "--out", tmp_path / "table.md")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 180
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| --- |" in text
    assert text.strip() in done.stdout
    before = (tmp_path / "rows" / "robustness.parquet").read_bytes()
    again = run_miracl(*options)
    assert again.returncode == 0, again.stderr
    n = len(robustness.QUICK_METHODS if verb == "robustness" else detection.QUICK_METHODS)
    assert f"{n} runs, {n} of them finished before" in again.stderr
    assert (tmp_path / "rows" / "robustness.parquet").read_bytes() == before


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_runs_and_says_how_to_go_on(place: Place, tmp_path: Path) -> None:
    options = [
        "benchmark", "robustness", "--quick", "--methods", "regression,bce,miracl,gce", "--workers", "1",
        "--rows", str(tmp_path), "--cache", str(place.cache),
    ]  # fmt: skip
    command = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "robustness.parquet").exists():
        assert time.monotonic() < deadline
        assert command.poll() is None
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGINT)
    out, error = command.communicate(timeout=60)
    assert command.returncode == 130, error
    assert "The same command goes on" in out
    kept = {row["method"] for row in read_rows(tmp_path, "robustness")}
    assert "regression" in kept
    done = run_miracl(*options)
    assert done.returncode == 0, done.stderr
    assert f"4 runs, {len(kept)} of them finished before" in done.stderr
    assert {row["method"] for row in read_rows(tmp_path, "robustness")} == {"regression", "bce", "miracl", "gce"}
