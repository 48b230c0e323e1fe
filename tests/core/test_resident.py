"""The ways a run may be computed give the same: data on the device bit for bit, the others within what is stated."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.batching import load, plan_batches
from core.cohort.tensors import PackedCohort, gather, pack_cohort
from core.config import TrainConfig, make_config
from core.errors import ConfigError
from core.execution import Execution
from core.fit import Fitted, fit
from core.locks import lay_on_pairs
from core.methods.base import Setting
from core.methods.registry import make_method
from core.resident import Resident, feeds, gathered, resident_of

from .tiny_cohort import learnable_cohort

CPU = torch.device("cpu")
NARROW = 0.02
"""Most that a probability moves where products are formed in bfloat16, which keeps 8 bits (2⁻⁸ = .004 of a number)."""
COMPILED = 1e-5


def small(**more: Any) -> TrainConfig:
    sizes = {"optim.epochs": 2, "optim.warm_up": 1, "model.hidden": 16, "model.ffn": 32, "tensors.notes.dim": 8}
    return make_config("miracl", "compact", **{**sizes, **more})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    folder = tmp_path_factory.mktemp("resident")
    return pack_cohort(learnable_cohort(folder / "cohort"), small().tensors, folder / "cache")


def trained(packed: PackedCohort, execution: Execution, config: TrainConfig | None = None) -> Fitted:
    made = fit(packed, lay_on_pairs(packed, None), config or small(), seed=3, place=CPU, execution=execution)
    assert made is not None
    return made


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_batch_gathered_on_the_device_is_the_hosts_bit_for_bit(kind: type) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 7, 20)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values: np.ndarray = rng.normal(size=(int(offsets[-1]), 3)).astype(kind)
    rows = rng.permutation(20)[:11]
    padded, found = gather(values, offsets, rows)
    placed = [torch.from_numpy(array) for array in (values, offsets, rows)]
    said = gathered(placed[0], placed[1], placed[2], padded.shape[1])
    np.testing.assert_array_equal(said[0].numpy(), padded)
    np.testing.assert_array_equal(said[1].numpy(), found)
    assert said[0].dtype == torch.float32


def test_resident_batches_are_those_of_the_plain_path_also_where_none_has_a_note(packed: PackedCohort) -> None:
    alone = [np.flatnonzero(~packed.has_note)[:2]]
    lengths = packed.series_lengths, packed.note_lengths
    batches = plan_batches(np.arange(80), *lengths, packed.patient_ids, size=16, seed=1, epoch=1) + alone
    both = zip(load(packed, batches, CPU), Resident(packed, CPU).load(batches), strict=True)
    for plain, resident in both:
        for name in ("rows", "patient", "series", "series_lengths", "notes", "note_lengths"):
            assert torch.equal(getattr(plain, name), getattr(resident, name)), name


def test_a_run_with_resident_data_is_the_plain_run_bit_for_bit(packed: PackedCohort) -> None:
    plain, resident = (trained(packed, Execution(resident=where)) for where in ("off", "on"))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, resident.model.state_dict()[name]), name
    np.testing.assert_array_equal(plain.probability, resident.probability)
    np.testing.assert_array_equal(plain.corrected, resident.corrected)


def stepped(packed: PackedCohort, execution: Execution) -> tuple[np.ndarray, nn.Module]:
    """Probabilities of one batch, and the network after a step on it."""
    config = small(**{"model.dropout": 0.0, "model.lstm_dropout": 0.0})
    setting = Setting(config, packed, lay_on_pairs(packed, None), CPU, 3, execution=execution)
    torch.manual_seed(0)
    method = make_method(setting)
    model = method.network()
    execution.prepare(model)
    feed, _ = feeds(packed, CPU, execution, alone=True)
    batch = next(feed([np.arange(24)]))
    torch.manual_seed(1)
    output, _ = method.step(model, method.optimiser(model), batch)
    return output.logits.detach().float().sigmoid().numpy(), model


def test_bfloat16_moves_probabilities_by_less_than_two_hundredths(packed: PackedCohort) -> None:
    single, _ = stepped(packed, Execution(precision="single"))
    narrow, _ = stepped(packed, Execution(precision="bfloat16"))
    assert 0 < np.abs(single - narrow).max() < NARROW


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler's own, of a tensor it looks at
def test_a_compiled_network_says_what_the_plain_one_says(packed: PackedCohort, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_code(self: nn.Module, **more: Any) -> None:
        self._compiled_call_impl = torch.compile(self._call_impl, backend="aot_eager", **more)

    monkeypatch.setattr(nn.Module, "compile", without_code)
    plain, after = stepped(packed, Execution())
    compiled, after_compiled = stepped(packed, Execution(compiled=True))
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=COMPILED)
    for name, value in after.state_dict().items():
        torch.testing.assert_close(after_compiled.state_dict()[name], value, rtol=0, atol=1e-3, msg=name)


def test_the_cpu_reads_the_mapped_cache_unless_told_otherwise(packed: PackedCohort) -> None:
    assert resident_of(packed, CPU, Execution()) is None
    assert resident_of(packed, CPU, Execution(resident="on")) is not None


def test_a_way_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="precision"):
        Execution(precision="half")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_no_batch_waits_for_the_device(packed: PackedCohort) -> None:
    place = torch.device("cuda")
    setting = Setting(small(), packed, lay_on_pairs(packed, None), place, 3, execution=Execution(resident="on"))
    method = make_method(setting)
    model = method.network().to(place)
    optimiser, resident = method.optimiser(model), Resident(packed, place)
    batches = [np.arange(start, start + 16) for start in (0, 16, 32)]
    for batch in resident.load(batches):  # the first makes the optimiser's state and the libraries' handles
        method.step(model, optimiser, batch)
    walk = resident.load(batches)
    method.step(model, optimiser, next(walk))  # the epoch's rows go over here
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in walk:
            method.step(model, optimiser, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
