"""Every registered method learns planted data through the one loop, a tenth of the training labels being wrong."""

import ast
import importlib
import pkgutil
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

import core.methods
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import TrainConfig, make_config
from core.fit import Checkpoints, Fitted, fit
from core.locks import Pairs, lay_on_pairs
from core.methods.multit import MultiT
from core.methods.pair_losses import REGULARISED
from core.methods.registry import METHODS
from core.methods.sources import LabelSources

from .test_selection_signatures import FORBIDDEN
from .tiny_cohort import learnable_cohort

ABOVE_CHANCE = 0.1
TINY: dict[str, object] = {
    "model.hidden": 16,
    "model.ffn": 32,
    "model.heads": 2,
    "model.experts": 4,
    "optim.epochs": 8,
    "optim.warm_up": 3,
    "optim.batch": 16,
    "optim.learning_rate": 0.01,
    "optim.scheduler": "constant",
}
STAGES: dict[str, object] = {  # so that the second stage of each method has its turn
    "method.multit.warm_up": 3,
    "method.multit.sample_epoch": 3,
    "method.multit.min_selected": 10,
    "method.linc.warm_up": 3,
    "method.mllsc.start_epoch": 6,
}


@dataclass(frozen=True)
class Planted:
    packed: PackedCohort
    pairs: Pairs
    sources: LabelSources
    chance: float


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Notes and series that follow the labels; training labels flipped, three sources that err each in its own way."""
    folder = tmp_path_factory.mktemp("planted")
    packed = pack_cohort(learnable_cohort(folder / "cohort", n_stays=160), tiny("bce").tensors, folder / "cache")
    rng = np.random.default_rng(5)
    is_test = np.asarray(packed.is_test)
    flips = (rng.random((4, *packed.observed.shape)) < 0.1) & ~is_test[:, None]
    noisy = packed.observed ^ flips.astype(np.uint8)
    packed = replace(packed, observed=noisy[0])
    there = np.broadcast_to(packed.stated, noisy[1:].shape)
    sources = LabelSources(noisy[1:].astype(np.float32), there, ("codes", "notes", "reader"))
    return Planted(packed, lay_on_pairs(packed, None), sources, float(packed.observed[is_test].mean()))


def tiny(name: str, preset: str = "miracl", **options: object) -> TrainConfig:
    return make_config(preset, "compact", **{"method.name": name, **TINY, **STAGES, **options})


def final_map(planted: Planted, config: TrainConfig) -> float:
    torch.set_num_threads(1)
    found = fit(planted.packed, planted.pairs, config, seed=1, place=torch.device("cpu"), sources=planted.sources)
    assert found is not None
    assert np.isfinite(found.corrected).all()
    assert ((found.corrected >= 0) & (found.corrected <= 1)).all()
    test = np.asarray(planted.packed.is_test)
    assert (found.corrected[test] == planted.pairs.base[test]).all()
    return float(found.rows[-1]["test_map"])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_learns_planted_data(name: str, planted: Planted) -> None:
    assert final_map(planted, tiny(name)) > planted.chance + ABOVE_CHANCE


def test_the_regularised_preset_learns_too_and_decays_from_the_first_epoch(planted: Planted) -> None:
    config = tiny("bce", "bce_regularised")
    assert {"model.dropout": config.model.dropout, "optim.weight_decay": config.optim.weight_decay,
            "optim.decay_from": config.optim.decay_from} == REGULARISED  # fmt: skip
    assert final_map(planted, config) > planted.chance + ABOVE_CHANCE


@pytest.mark.parametrize(
    ("name", "options"),
    [("linc", {}), ("multit", {}), ("mllsc", {"method.mllsc.pos_rule": "quantile"})],
    ids=["linc", "multit", "mllsc"],
)
def test_a_stopped_run_goes_on_to_the_same_end(
    name: str, options: dict[str, object], planted: Planted, tmp_path: Path
) -> None:
    """Stopped once in the warm-up and once in the second stage, against a run that was left alone."""
    config = tiny(name, **{"method.mllsc.start_epoch": 3, "optim.epochs": 5, **options})
    batches = -(-int(planted.pairs.training.sum()) // 16)

    def run(folder: Path, stop_after: int | None = None) -> Fitted | None:
        folder.mkdir(exist_ok=True)
        asked = count()
        return fit(
            planted.packed, planted.pairs, config, seed=1, place=torch.device("cpu"),
            checkpoints=Checkpoints(folder, "this run"),
            should_stop=lambda: stop_after is not None and next(asked) >= stop_after,
        )  # fmt: skip

    whole = run(tmp_path / "whole")
    for after in (2 * batches + 1, 2 * batches + 1):
        assert run(tmp_path / "parts", after) is None
    parts = run(tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert np.array_equal(whole.probability[0], parts.probability[0])
    assert np.array_equal(whole.corrected, parts.corrected)
    if name == "multit":
        told, again = (cast("MultiT", fitted.method).estimated for fitted in (whole, parts))
        assert told is not None
        assert again is not None
        assert np.array_equal(told.rho_plus, again.rho_plus)


@pytest.mark.parametrize(
    "module", [found.name for found in pkgutil.iter_modules(core.methods.__path__, "core.methods.")]
)
def test_nothing_that_a_method_is_given_or_keeps_is_named_for_true_labels(module: str) -> None:
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text())
    named = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    fields = [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    named |= {field.id for field in fields if isinstance(field, ast.Name)}
    assert named or module.endswith("registry")
    assert not [name for name in named if FORBIDDEN & set(name.lower().split("_"))]
