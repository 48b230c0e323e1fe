"""MedFuse, M3Care and DFD as methods of the one loop: what each adds to the loss, and what it keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from core.batching import in_order, load
from core.cohort.store import open_cohort
from core.cohort.tensors import pack_cohort
from core.config import make_config
from core.fit import fit
from core.locks import lay_on_pairs
from core.methods.base import Method, Setting
from core.methods.dfd import DFD
from core.methods.m3care import M3CareMethod
from core.methods.medfuse import MedFuseMethod
from core.models.dfd import DfdModel, club_bound, cross_covariance
from core.models.losses import masked_bce
from core.models.m3care import M3Care
from core.models.medfuse import MedFuse
from core.models.miracl import Batch
from core.training import train_round

from .tiny_cohort import learnable_cohort

QUICK = {
    "model.hidden": 16,
    "model.ffn": 32,
    "model.experts": 4,
    "optim.batch": 16,
    "optim.epochs": 3,
    "optim.warm_up": 1,
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("networks")
    learnable_cohort(made / "cohort", 60)
    return made


def setting(folder: Path, name: str, **overrides: Any) -> Setting:
    config = make_config(name, "compact", **{**QUICK, **overrides})
    packed = pack_cohort(open_cohort(folder / "cohort"), config.tensors, folder / "cache")
    return Setting(config, packed, lay_on_pairs(packed, None), CPU, 0)


def first_batch(given: Setting) -> Batch:
    rows = np.flatnonzero(given.pairs.training)
    return next(load(given.packed, in_order(rows, np.zeros_like(given.packed.series_lengths), 16), CPU))


@pytest.mark.parametrize(
    ("name", "method", "network"),
    [("medfuse", MedFuseMethod, MedFuse), ("m3care", M3CareMethod, M3Care), ("dfd", DFD, DfdModel)],
)
def test_each_method_makes_its_network_and_trains_it_in_the_loop(
    folder: Path, name: str, method: type[Method], network: type[torch.nn.Module]
) -> None:
    given = setting(folder, name)
    fitted = fit(given.packed, given.pairs, given.config, seed=0, place=CPU)
    assert fitted is not None
    assert isinstance(fitted.method, method)
    assert isinstance(fitted.model, network)
    assert np.isfinite(fitted.probability[0]).all()
    assert fitted.traces.embedding.shape[1] > 0
    assert [row["epoch"] for row in fitted.rows] == [1, 2, 3]
    again = fit(given.packed, given.pairs, given.config, seed=0, place=CPU)
    assert again is not None
    assert np.array_equal(again.probability[0], fitted.probability[0])


def test_m3care_s_loss_is_bce_and_its_regulariser(folder: Path) -> None:
    given = setting(folder, "m3care", **{"method.m3care.regulariser": 0.5})
    method, batch = M3CareMethod(given), first_batch(given)
    output = method.network().eval()(batch)
    bce = masked_bce(output.logits, method.base[batch.rows], method.stated[batch.rows])
    assert output.regulariser.item() > 0
    assert method.pair_loss(output, batch).item() == pytest.approx((bce + 0.5 * output.regulariser).item(), rel=1e-6)


def test_only_m3care_asks_for_batches_of_mixed_lengths() -> None:
    assert M3CareMethod.companions
    assert not MedFuseMethod.companions
    assert not DFD.companions


@pytest.mark.parametrize(("preset", "told"), [("m3care", False), ("medfuse", True)])
def test_where_a_prediction_depends_on_others_of_its_batch_no_gradient_is_told_as_a_stay_s_own(
    folder: Path, tmp_path: Path, preset: str, told: bool
) -> None:
    cohort = open_cohort(folder / "cohort")
    out = train_round(cohort, tmp_path / "run", make_config(preset, "compact", **QUICK), round_id=1, seed=3, budget=40)
    assert out is not None
    evidence = pq.read_table(out / "evidence.parquet")
    assert ("gradient" in evidence["method"].to_pylist()) == told


@pytest.mark.parametrize("kind", ["vclub", "cross_covariance", "off"])
def test_dfd_s_loss_is_both_streams_and_after_the_warm_up_what_they_share(folder: Path, kind: str) -> None:
    weights = {"method.dfd.independence": kind, "method.dfd.independence_weight": 0.3, "method.dfd.biased_weight": 2.0}
    given = setting(folder, "dfd", **weights)
    method, batch = DFD(given), first_batch(given)
    output = method.network().eval()(batch)
    base, stated = method.base[batch.rows], method.stated[batch.rows]
    p = output.logits_biased.sigmoid()
    of_observed = torch.where(base == 1, p, 1 - p)
    gce = ((1 - of_observed**0.7) / 0.7 * stated).sum() / stated.sum()
    streams = (masked_bce(output.logits, base, stated) + 2.0 * gce).item()
    method.begin_epoch(1)
    assert method.pair_loss(output, batch).item() == pytest.approx(streams, rel=1e-5)
    method.begin_epoch(2)
    mean, log_variance = method.estimator(output.features)
    shared = {
        "vclub": club_bound(mean, log_variance, output.biased).clamp_min(0.0) / output.biased.shape[1],
        "cross_covariance": cross_covariance(output.features, output.biased),
        "off": torch.zeros(()),
    }[kind]
    assert method.pair_loss(output, batch).item() == pytest.approx(streams + 0.3 * shared.item(), rel=1e-5)


def test_dfd_s_estimator_learns_of_the_streams_and_leaves_the_network_alone(folder: Path) -> None:
    given = setting(folder, "dfd", **{"method.dfd.estimator_steps": 3})
    method, batch = DFD(given), first_batch(given)
    model = method.network()
    before = {name: p.clone() for name, p in method.estimator.named_parameters()}
    output = model(batch)
    method.objective(output, batch)
    assert all(not torch.equal(before[name], p) for name, p in method.estimator.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    assert {int(s["step"]) for s in method.estimator_optimiser.state.values()} == {3}
    assert not set(map(id, method.estimator.parameters())) & set(map(id, model.parameters()))


def test_dfd_goes_on_from_what_it_kept_as_if_never_stopped(folder: Path) -> None:
    given = setting(folder, "dfd")
    one, batch = DFD(given), first_batch(given)
    output = one.network().eval()(batch)
    one.objective(output, batch)
    other = DFD(given)
    other.restore({name: value.clone() for name, value in one.state().items()})
    for method in (one, other):
        method.objective(output, batch)
    for name, value in one.state().items():
        assert torch.equal(value, other.state()[name])
    fresh = DFD(given)
    fresh.restore(DFD(given).state())
    assert not fresh.estimator_optimiser.state
