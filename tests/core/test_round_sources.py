"""Rounds of the methods that weigh several label sources: they get all of a cohort's, and say so when there is one."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from core.cohort.labelset import PHENOTYPES
from core.cohort.store import Cohort, open_cohort, write_cohort
from core.config import make_config
from core.methods.registry import METHODS, WEIGHING
from core.methods.sources import LabelSources
from core.progress import Silent
from core.training import sources_of, train_round

from .conftest import manifest_fields
from .tiny_cohort import learnable_cohort, learnable_tables

TINY: dict[str, Any] = {
    "model.hidden": 16, "model.ffn": 32, "model.experts": 4, "optim.batch": 32, "optim.epochs": 3, "optim.warm_up": 2,
}  # fmt: skip


class Told(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return learnable_cohort(tmp_path_factory.mktemp("made") / "cohort")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return told_by_three(tmp_path_factory.mktemp("made") / "cohort")


def told_by_three(folder: Path, read: int = 5) -> Cohort:
    """The labels as two readers tell the first `read`, and codes (the primary source) that lost every second one."""
    parts = learnable_tables()
    labels = parts["labels"]
    observed = labels["observed"].to_numpy()
    coded = observed * (np.arange(len(observed)) % 2)
    index, said = labels.column_names.index("source"), labels.column_names.index("observed")
    told = [labels.set_column(said, "observed", pa.array(coded))]
    first = pa.array([label.key for label in PHENOTYPES[:read]])
    by_readers = labels.filter(pc.is_in(labels["label"], first))
    told += [by_readers.set_column(index, "source", pa.array([name] * len(by_readers))) for name in ("ada", "bo")]
    parts["labels"] = pa.concat_tables([table.cast(labels.schema) for table in told])
    write_cohort(folder, parts, manifest_fields(5))
    return open_cohort(folder)


def round_of(cohort: Cohort, run: Path, preset: str, watch: Silent | None = None) -> Path:
    torch.set_num_threads(1)
    out = train_round(cohort, run, make_config(preset, "compact", **TINY), round_id=1, seed=3, progress=watch)
    assert out is not None
    return out


def test_the_methods_that_weigh_sources_are_registered() -> None:
    assert set(WEIGHING) <= set(METHODS)


@pytest.mark.parametrize("preset", WEIGHING)
def test_each_reads_all_sources_of_the_cohort(several: Cohort, tmp_path: Path, preset: str) -> None:
    watch = Told()
    out = round_of(several, tmp_path / "run", preset, watch)
    assert f"{preset} over 3 label sources: icd, ada, bo" in watch.lines
    pair = pq.read_table(out / "pair.parquet").to_pandas()
    train = pair[pair["split"] == "train"]
    sources = LabelSources.of_cohort(several)
    rows = np.searchsorted(several.stays["stay_id"].to_numpy(), train["stay_id"])
    agreed = sources.values[1][rows, train["label_id"]]
    assert (agreed != train["observed"]).sum() > 20
    if preset != "attention_on_label":
        np.testing.assert_array_equal(train["suggested"], agreed)
    else:
        assert (train["corrected"] != train["observed"]).any()


def test_of_a_label_that_one_source_alone_tells_dawid_skene_leaves_the_doubt_to_the_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its posterior is the record there: a doubt of 0 would say that every such label is right."""
    doubt = 0.3125
    monkeypatch.setattr(
        "core.methods.consensus.peer_posterior", lambda packed, *_: np.full(packed.observed.shape, doubt, np.float32)
    )
    out = round_of(told_by_three(tmp_path / "cohort", read=1), tmp_path / "run", "dawid_skene")
    pair = pq.read_table(out / "pair.parquet").to_pandas()
    train = pair[pair["split"] == "train"]
    of_one = train["label_id"] > 0
    assert (train["error_probability"][of_one] == doubt).all()
    assert not (train["error_probability"][~of_one] == doubt).any()
    assert (train["error_probability"][~of_one] > 0.5).any(), "two readers against the code"


@pytest.mark.parametrize("preset", WEIGHING)
def test_with_one_source_each_is_plain_cross_entropy_and_says_so(alone: Cohort, tmp_path: Path, preset: str) -> None:
    watch = Told()
    out = round_of(alone, tmp_path / "one", preset, watch)
    assert [line for line in watch.lines if "one label source alone, icd" in line and preset in line]
    plain = round_of(alone, tmp_path / "plain", "bce")
    ours, theirs = (
        pq.read_table(o / "pair.parquet").sort_by([("stay_id", "ascending"), ("label_id", "ascending")])
        for o in (out, plain)
    )
    near = 0.02 if preset == "attention_on_label" else 1e-6  # its labels are rounded by a steep sigmoid, not a step
    np.testing.assert_allclose(ours["probability"].to_numpy(), theirs["probability"].to_numpy(), atol=near)
    np.testing.assert_allclose(ours["corrected"].to_numpy(), theirs["corrected"].to_numpy(), atol=near)


def test_other_methods_are_given_the_primary_source_alone(several: Cohort) -> None:
    watch = Told()
    assert sources_of(several, make_config("miracl", "compact"), watch) is None
    assert watch.lines == []
