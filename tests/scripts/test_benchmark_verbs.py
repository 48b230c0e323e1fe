"""The verbs of `miracl benchmark` that came last, what a run's labels count as, and whose order is a method's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.fit import Fitted, fit
from core.metrics.harm import handed_out, label_accuracy
from scripts import benchmark_single_cli
from scripts.benchmarks.fits import corrected, own_suspicion
from scripts.benchmarks.portrait import load_portraits
from scripts.benchmarks.results import BEGIN, END
from scripts.benchmarks.robustness import Plan, jobs, quick
from scripts.benchmarks.rows import write_rows
from scripts.benchmarks.runner import Place
from scripts.benchmarks.scene import Scene, digest, set_scene
from tests.scripts.benchmark_rows import runs

from .conftest import call_miracl


def scene_of(place: Place, method: str) -> tuple[Scene, Fitted]:
    torch.set_num_threads(1)
    plan = quick(Plan((method,), ("sym20",), range(1), "synthetic-4000", "compact", 5, place))
    plan = replace(plan, options=(*plan.options, ("method.linc.warm_up", 3)))
    scene, packed = set_scene(jobs(plan)[0])
    fitted = fit(packed, scene.pairs, scene.config, seed=0, place=torch.device("cpu"))
    assert fitted is not None
    return scene, fitted


@pytest.fixture(scope="module")
def linc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Fitted]:
    return scene_of(Place(tmp_path_factory.mktemp("verbs")), "linc")


def test_linc_is_ranked_by_its_own_accumulator(linc: tuple[Scene, Fitted]) -> None:
    scene, fitted = linc
    own = own_suspicion(fitted)
    np.testing.assert_array_equal(own, fitted.method.accumulated.numpy())  # type: ignore[attr-defined]
    assert fitted.traces.selection is not None
    assert not np.array_equal(own, fitted.traces.selection.score)
    told = replace(fitted, error_probability=np.full_like(own, 0.25))
    assert (own_suspicion(told) == 0.25).all()
    assert np.unique(own[scene.pairs.member]).size > 100


def test_a_label_half_way_between_counts_as_recorded_everywhere(linc: tuple[Scene, Fitted]) -> None:
    scene, fitted = linc
    member, truth, observed = scene.pairs.member, scene.planted.truth, scene.pairs.observed
    half = corrected(scene, replace(fitted, corrected=np.full(observed.shape, 0.5, np.float32)))
    assert half["wrong_after"] == int((member & (observed != truth)).sum())
    assert half["repaired_positive"] == half["harmed_positive"] == half["repaired_negative"] == 0
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 0.3, 0.5, 0.7, 1], np.float32), observed.shape)
    row = corrected(scene, replace(fitted, corrected=labels))
    told = label_accuracy(observed, labels, truth, member)
    assert row["accuracy_after"] == pytest.approx(told["pooled"].after)
    for name in ("positive", "negative"):
        assert (row[f"repaired_{name}"], row[f"harmed_{name}"]) == (told[name].better, told[name].worse)


def test_a_label_is_handed_out_turned_only_past_the_middle() -> None:
    observed = np.array([[1, 1, 1, 0, 0, 0]], np.uint8)
    labels = np.array([[0.5, 0.49, 1.0, 0.5, 0.51, 0.0]], np.float32)
    assert handed_out(observed, labels).tolist() == [[1, 0, 1, 0, 1, 0]]


def test_only_methods_that_leave_classes_alone_hang_on_how_the_peer_reads_rates(tmp_path: Path) -> None:
    def changed(method: str, option: str, value: Any) -> bool:
        job = jobs(Plan((method,), ("sym20",), range(1), "synthetic-4000", "compact", 5, Place(tmp_path)))[0]
        return digest(replace(job, options=((option, value),))) != digest(job)

    for method, hangs in (("miracl", True), ("calibrated", True), ("paper", False), ("bce", False)):
        assert changed(method, "calibrated.anchor_low", 0.07) == hangs
    assert changed("miracl", "correction.leave_alone", False)
    assert not changed("gce", "correction.leave_alone", False)
    assert changed("bce", "detectors.linc.epochs", 4)


def test_the_report_is_written_from_rows_with_figures_and_the_readme_s_tables(tmp_path: Path) -> None:
    course = {"map_by_epoch": [0.2, 0.3, 0.35]}
    rows = [
        row
        for method, value in (("bce", 0.4), ("calibrated", 0.45))
        for noise in ("clean", "sym20")
        for row in runs(method, noise, [value, value + 0.01], **course)
    ]
    write_rows(tmp_path / "rows", {"robustness": rows})
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    done = call_miracl(
        "benchmark", "report", "--rows", tmp_path / "rows", "--out", tmp_path / "made" / "RESULTS.md",
        "--figures", tmp_path / "made" / "figures", "--readme", readme,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "made" / "RESULTS.md").read_text(encoding="utf-8")
    assert "`miracl benchmark report`" in text
    assert "(figures/map_by_epoch.svg)" in text
    assert (tmp_path / "made" / "figures" / "map_by_epoch.svg").is_file()
    assert "calibrated" in readme.read_text(encoding="utf-8")


def test_without_rows_the_report_is_refused_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    done = call_miracl("benchmark", "report", "--rows", tmp_path / "none", "--out", tmp_path / "RESULTS.md")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "miracl benchmark robustness" in done.stderr
    assert not (tmp_path / "RESULTS.md").exists()


def test_the_tree_s_own_readme_has_the_marks_once_and_in_order() -> None:
    text = (benchmark_single_cli.ROOT / "README.md").read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert text.index(BEGIN) < text.index(END)


def test_a_portrait_is_kept_beside_the_rows(tmp_path: Path) -> None:
    options = ("--stays", "120", "--epochs", "6", "--noise", "sym20", "--cache", tmp_path / "cache")
    done = call_miracl("benchmark", "portrait", *options, "--rows", tmp_path / "rows")
    assert done.returncode == 0, done.stderr
    (portrait,) = load_portraits(tmp_path / "rows")
    assert (portrait.method, portrait.noise, portrait.cohort) == ("bce", "sym20", "synthetic-120")
    assert json.loads((tmp_path / "rows" / "portrait-bce-sym20.json").read_text())["seed"] == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--method", "regression"], "trains a network"), (["--noise", "loud"], "noise")],
    ids=["regression", "noise"],
)
def test_a_portrait_that_can_not_be_had_is_one_line(tmp_path: Path, options: list[str], told: str) -> None:
    done = call_miracl("benchmark", "portrait", *options, "--rows", tmp_path / "rows", "--cache", tmp_path / "cache")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert told in done.stderr


def test_the_verb_for_sources_runs_one_of_each_and_prints_its_table(tmp_path: Path) -> None:
    done = call_miracl(
        "benchmark", "sources", "--quick", "--variants", "majority", "--scenarios", "careful", "--workers", "1",
        "--rows", tmp_path / "rows", "--cache", tmp_path / "cache", "--out", tmp_path / "table.md",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "one careless, one careful" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "rows" / "sources.parquet").is_file()
