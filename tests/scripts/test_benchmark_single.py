"""The benchmarks store, export, select and scale: their arithmetic by hand, and each on the smallest data."""

import importlib.util
import json
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from audit_store.database import open_store
from audit_store.queue import counts
from audit_store.rounds import open_round
from audit_store.workspace import open_workspace
from core.errors import ConfigError, RunError
from core.execution import Execution
from core.locks import lay_on_pairs
from core.selection.difficulty import SelectionConfig
from core.selection.mixture import MixtureConfig
from scripts.benchmarks import export, export_writing, scale, select_ratios, store, store_serving
from scripts.benchmarks.performance import DOCUMENT, filled
from scripts.benchmarks.scale_cohort import SHAPES, invented, lengths
from scripts.benchmarks.scale_profile import ORDER
from scripts.benchmarks.select import Workload, _table, in_tensors, ours, ratios
from scripts.benchmarks.store_site import LABELS, cohort_tables, fractions, invented_site, stays_of
from scripts.benchmarks.written import memory_mib, peak_mib, quantile, told, write_benchmark

ABOUT = {"rounds": 10, "decisions": 3000, "cpu": "a processor", "cores": 2, "python": "3.11", "duckdb": "2.0"}
ABOUT |= {"commit": "abc", "taken_at": "today", "pyarrow": "20", "torch": "2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of forty invented stays with one round."""
    made = invented_site(tmp_path_factory.mktemp("site") / "workspace", 40, 1, 6, lambda words: None)
    assert [written.round_id for written in made.written] == [1]
    assert made.written[0].seconds > 0
    return made.workspace.root


def test_sizes_hold_at_least_the_pairs_that_are_asked() -> None:
    assert stays_of(1_494_950) == 59_798
    assert stays_of(26) == 2
    assert fractions(1_494_950, (1 / 16, 1 / 4, 1.0)) == [3738, 14950, 59798]
    assert fractions(25, (1 / 16, 1.0)) == [1]


def test_an_invented_round_holds_every_pair_and_answers_are_on_its_flags(folder: Path) -> None:
    kept = open_store(open_workspace(folder))
    round_file = open_round(kept.workspace)
    assert round_file.n_pairs == 40 * LABELS
    states = counts(kept, round_file)
    assert states["flagged"].sum() == round_file.n_flagged
    assert states["flagged"].sum() - states["open"].sum() == 5  # six answers, one pair by two readers
    tables = cohort_tables(200, 3)
    assert tables["labels"].num_rows == 200 * LABELS
    split = dict(zip(*(tables["stays"][name].to_pylist() for name in ("patient_id", "split")), strict=True))
    for patient, part in zip(*(tables["stays"][name].to_pylist() for name in ("patient_id", "split")), strict=True):
        assert split[patient] == part  # no patient in both


def test_queries_are_timed_after_a_first_that_is_kept_apart(folder: Path) -> None:
    served = store_serving.measure(folder, 1)
    for number in (0, 1):
        words = [row["measure"] for row in served["rows"] if row["number"] == number]
        assert words.count("queue of one label") == LABELS
        assert set(words) == set(store.ASKED) - {store.WRITE}
    assert 0 < served["idle_mib"] <= served["peak_mib"]


def test_the_stores_table_holds_the_full_size_alone_against_what_is_asked() -> None:
    rows = [
        store._row("queue of one label", 100, 10, n, milliseconds=m, cpu_ms=1.0) for n, m in ((0, 900.0), (1, 99.0))
    ]
    rows += [
        store._row("queue of one label", 400, 10, n, milliseconds=m, cpu_ms=1.0) for n, m in ((0, 900.0), (1, 9.0))
    ]
    rows += [store._row(store.WRITE, 400, 10, n, milliseconds=m, cpu_ms=1.0) for n, m in ((1, 4000.0), (2, 7000.0))]
    rows += [store._row(store.PEAK, 400, 10, 1, mib=1100.0)]
    lines = [line for line in store.markdown(rows, ABOUT).splitlines() if line.startswith("| ")]
    told_of = {(line.split(" | ")[0][2:], line.split(" | ")[1]): line.split("|")[-2].strip() for line in lines}
    assert told_of["queue of one label", "100"] == "–"
    assert told_of["queue of one label", "400"] == "yes"  # the first, of 900 ms, is in no percentile
    assert told_of[store.WRITE, "400"] == "no"
    assert told_of[store.PEAK, "400"] == "no"
    assert told_of["queue of all", "400"] == "–"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_export_is_timed_whole_and_leaves_nothing(folder: Path, kind: str) -> None:
    found = export_writing.measure(folder, kind, profiled=True)
    assert found["bytes"] > 40 * LABELS
    assert found["seconds"] >= max(found["functions"].values()) > 0
    assert "exports.export_labels" in found["functions"]
    assert 0 < found["manifest_seconds"] < found["seconds"]
    assert not list((folder / "exports").glob("export-*"))


def test_the_exports_table_is_by_medians_without_the_profiled_run() -> None:
    shared = {"cpu_seconds": 1.0, "bytes": 5, "idle_mib": 1.0, "peak_mib": 2.0}
    rows = [export._row("csv", 400, n, seconds=s, **shared) for n, s in ((1, 5.0), (2, 5.5), (3, 9.0))]
    rows.append(export._row("csv", 400, 4, seconds=50.0, manifest_seconds=0.25, **shared))
    table = export.markdown(rows, {**ABOUT, "functions": {"csv": {"labels.cleaned_long": 1.5}}})
    line = next(line for line in table.splitlines() if line.startswith("| csv"))
    assert line.split(" | ")[2:4] == ["5.50 s", "9.00 s"]
    assert line.endswith("| ≤ 6 s | yes |")
    assert "0.250 s" in line
    assert "labels.cleaned_long 1.50" in table


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")
def test_both_sides_of_a_ratio_say_the_same_and_one_that_does_not_is_refused() -> None:
    found, note = ratios(Workload(stays=120, epochs=6, warm_up=2, plain_stays=20), repeats=1)
    assert {ratio.part for ratio in found} >= set(select_ratios.ASKED)
    assert all(ratio.ours > 0 and ratio.plain > 0 for ratio in found)
    assert int(note.split()[0]) > 10
    wrong = select_ratios.Ratio("dynamics", 1.0, 2000.0, 10, 2e-6)
    assert wrong.times == 2000
    with pytest.raises(RunError, match="dynamics"):
        select_ratios.held([*found, wrong])
    lines = select_ratios.markdown([select_ratios.Ratio("mixtures", 1.0, t, 10, 0.0) for t in (30, 39, 50)], 10)
    assert lines[-1].split(" | ")[3:6] == ["39 (30–50)", "≥ 40", "no"]


def test_selection_in_tensors_is_timed_beside_the_hosts_and_says_the_same() -> None:
    load = Workload(stays=150, labels=4, epochs=6, warm_up=2)
    rows, note = in_tensors(load, "cpu")
    host = ours(load, SelectionConfig(), MixtureConfig())
    for name in ("epoch", "noisy", "degenerate", "iterations"):
        assert [row[name] for row in rows] == [row[name] for row in host], name
    assert "epoch: 0 pairs in another partition" in note
    assert float(note.rstrip(".").split()[-1]) <= 1e-6
    loss = [{**row, "metric": "loss"} for row in host]
    table = _table(load, [{**row, "repeat": 0} for row in [*host, *loss, *rows]], {})
    assert "| Z in tensors, on cpu |" in table


def test_lengths_have_the_median_and_mean_that_are_asked_and_no_more_than_the_longest() -> None:
    drawn = lengths(np.random.default_rng(0), 200_000, 50, 85, 100_000)
    assert np.median(drawn) == pytest.approx(50, abs=1)
    assert drawn.mean() == pytest.approx(85, abs=2)
    assert lengths(np.random.default_rng(0), 1000, 50, 85, 64).max() == 64
    assert set(lengths(np.random.default_rng(0), 9, 48, 48, 48).tolist()) == {48}


def test_the_packed_cohort_is_aligned_keeps_half_precision_and_leaves_test_labels_as_they_are() -> None:
    packed = invented(200, SHAPES["paper"])
    assert packed.notes.vectors.dtype == np.float16
    assert packed.series.offsets[-1] == len(packed.series.values)
    assert packed.note_lengths.max() <= 512
    assert (packed.note_lengths > 0).all()
    pairs = lay_on_pairs(packed, None)
    assert 0 < pairs.training.sum() < 200
    for patient in np.unique(packed.patient_ids):
        assert len(set(packed.is_test[packed.patient_ids == patient].tolist())) == 1
    again = invented(200, SHAPES["paper"])
    np.testing.assert_array_equal(again.series.values, packed.series.values)
    np.testing.assert_array_equal(again.notes.vectors, packed.notes.vectors)


def test_scale_trains_both_and_tells_where_a_step_goes(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        table = scale.run(
            (Fraction(1, 64), Fraction(1, 16)), ("hours48",), tmp_path, device="cpu", epochs=3,
            execution=Execution(resident="on"), quick=True, say=lambda words: None,
        )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    rows = pq.read_table(tmp_path / "scale.parquet").to_pylist()
    assert [(row["preset"], row["epoch"]) for row in rows] == [(p, e) for p in ("paper", "bce") for e in (1, 2, 3)]
    assert [row["own_seconds"] is not None for row in rows] == [True, True, True, False, False, False]
    spent = next(iter(json.loads((tmp_path / "scale.json").read_text())["profiles"].values()))
    assert all(spent[part] > 0 for part in ORDER if part != "other forward")
    assert "| 160 |" in table


def test_a_fraction_or_shape_that_is_none_is_one_line() -> None:
    assert scale.fractions_in("1/64, 1/16") == (Fraction(1, 64), Fraction(1, 16))
    for words in ("1/0", "half", ""):
        with pytest.raises(ConfigError, match="fractions"):
            scale.fractions_in(words)
    with pytest.raises(ConfigError, match="shapes"):
        scale.run((Fraction(2),), ("hours48",), say=lambda words: None)
    with pytest.raises(ConfigError, match="shapes"):
        scale.run((Fraction(1, 2),), ("weeks",), say=lambda words: None)


def test_results_are_written_whole_and_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "out", "x", "| a |", [{"n": 1}], {"cores": 2})
    assert (tmp_path / "out" / "x.md").read_text() == "| a |\n"
    assert pq.read_table(tmp_path / "out" / "x.parquet").to_pylist() == [{"n": 1}]
    assert json.loads((tmp_path / "out" / "x.json").read_text()) == {"cores": 2}
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--out"):
        write_benchmark(tmp_path / "file", "x", "", [], {})


def test_memory_is_read_and_a_value_is_held_against_the_most() -> None:
    assert 0 < memory_mib() <= peak_mib() + 1
    assert math.isnan(memory_mib(2**30))
    assert math.isnan(quantile([], 0.5))
    assert [told(1.0, 2.0), told(3.0, 2.0), told(3.0), told(float("nan"), 2.0)] == ["yes", "no", "–", "–"]


def test_tables_take_the_place_of_what_stood_between_their_marks(tmp_path: Path) -> None:
    (tmp_path / "store.md").write_text("| new |\n")
    text = "a\n<!-- table: store -->\n\n| old |\n\n<!-- end -->\nb\n<!-- table: scale-gpu -->\nkept\n<!-- end -->\n"
    made, done, left = filled(text, tmp_path)
    assert (done, left) == (["store"], ["scale-gpu"])
    assert made == text.replace("| old |", "| new |")
    assert filled(made, tmp_path)[0] == made


def test_every_mark_of_the_document_is_one_that_a_benchmark_writes() -> None:
    marks = re.findall(r"<!-- table: ([\w-]+) -->", DOCUMENT.read_text(encoding="utf-8"))
    assert sorted(marks) == ["cohort", "export", "scale", "scale-cuda", "scale-paper", "select", "store"]
