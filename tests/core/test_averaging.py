"""The running average of weights: its sum, and that it scores test stays without touching what is trained."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core.averaging import Averaged
from core.batching import in_order, load
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import TrainConfig, make_config
from core.fit import Checkpoints, Fitted, fit
from core.locks import lay_on_pairs

from .tiny_cohort import learnable_cohort

CPU = torch.device("cpu")


class One(nn.Module):
    """One weight and one buffer."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.register_buffer("seen", torch.tensor([0]))

    def become(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
        self.seen += 1


def test_two_steps_give_what_the_hand_works_out() -> None:
    """The first step is taken whole; the second leaves it 1/11, which is less than the decay of .99."""
    model = One(5.0)
    average = Averaged(model, 0.99)
    assert average.model.weight.item() == 5.0
    model.become(1.0)
    average.update(model)
    assert average.model.weight.item() == 1.0
    model.become(12.0)
    average.update(model)
    assert average.model.weight.item() == pytest.approx(1 / 11 + 12 * 10 / 11)
    assert average.steps == 2
    assert model.weight.item() == 12.0


def test_a_small_decay_holds_from_the_second_step() -> None:
    model = One(0.0)
    average = Averaged(model, 0.05)
    for value in (1.0, 3.0):
        model.become(value)
        average.update(model)
    assert average.model.weight.item() == pytest.approx(0.05 * 1 + 0.95 * 3)


def test_buffers_are_taken_over_as_they_are() -> None:
    model = One(0.0)
    average = Averaged(model, 0.9)
    for value in (1.0, 3.0):
        model.become(value)
        average.update(model)
    assert average.model.seen.item() == 2
    assert average.model.seen is not model.seen


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40), st.floats(0, 0.999))
def test_the_average_equals_the_sum_written_out(values: list[float], decay: float) -> None:
    model = One(9.0)
    average, naive = Averaged(model, decay), 9.0
    for k, value in enumerate(values, start=1):
        model.become(value)
        average.update(model)
        past = min(decay, (k - 1) / (k + 9))
        naive = past * naive + (1 - past) * value
    assert average.model.weight.item() == pytest.approx(naive, abs=1e-4)


def test_the_average_is_no_part_of_what_is_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    average = Averaged(model, 0.9)
    assert not any(weight.requires_grad for weight in average.model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    of_model = {weight.data_ptr() for weight in model.parameters()}
    assert of_model.isdisjoint(weight.data_ptr() for weight in average.model.parameters())


# In the loop


def config(average: float, **options: object) -> TrainConfig:
    changes = {"model.hidden": 16, "model.ffn": 32, "model.experts": 4, "optim.epochs": 4, "optim.warm_up": 2}
    return make_config("bce", "compact", **{**changes, "optim.batch": 16, "optim.average": average, **options})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("averaged")
    return pack_cohort(learnable_cohort(folder / "cohort"), config(0.0).tensors, folder / "cache")


def trained(
    packed: PackedCohort, made: TrainConfig, folder: Path | None = None, stop: int | None = None
) -> Fitted | None:
    asked = count()
    return fit(
        packed, lay_on_pairs(packed, None), made, seed=2, place=CPU,
        checkpoints=None if folder is None else Checkpoints(folder, "this run"),
        should_stop=lambda: stop is not None and next(asked) >= stop,
    )  # fmt: skip


@pytest.fixture(scope="module")
def averaged(packed: PackedCohort) -> Fitted:
    found = trained(packed, config(0.95))
    assert found is not None
    return found


def test_averaging_changes_the_scores_of_test_stays_and_not_what_is_trained(
    packed: PackedCohort, averaged: Fitted
) -> None:
    plain = trained(packed, config(0.0))
    assert plain is not None
    test = np.asarray(packed.is_test)
    assert np.array_equal(plain.probability[0, ~test], averaged.probability[0, ~test])
    assert [row["loss_total"] for row in plain.rows] == [row["loss_total"] for row in averaged.rows]
    assert (plain.probability[0, test] != averaged.probability[0, test]).any(1).all()


def test_what_comes_out_is_the_average_and_test_stays_are_scored_with_it(
    packed: PackedCohort, averaged: Fitted
) -> None:
    test = np.flatnonzero(np.asarray(packed.is_test))
    averaged.model.eval()
    with torch.no_grad():
        for batch in load(packed, in_order(test, packed.series_lengths, 16), CPU):
            again = averaged.model(batch).logits.sigmoid().numpy()
            assert np.allclose(averaged.probability[0, batch.rows.numpy()], again, atol=1e-6)
    assert not any(weight.requires_grad for weight in averaged.model.parameters())


def test_a_stopped_run_goes_on_with_its_average(packed: PackedCohort, averaged: Fitted, tmp_path: Path) -> None:
    batches = -(-int((~np.asarray(packed.is_test)).sum()) // 16)
    for _ in range(2):
        assert trained(packed, config(0.95), tmp_path, batches + 2) is None
    found = trained(packed, config(0.95), tmp_path)
    assert found is not None
    assert np.array_equal(found.probability[0], averaged.probability[0])
    weights, others = averaged.model.state_dict(), found.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_recorded_in_evaluation_mode_training_stays_are_scored_with_the_average_too(packed: PackedCohort) -> None:
    one, other = (trained(packed, config(decay, **{"optim.record": "eval"})) for decay in (0.0, 0.95))
    assert one is not None
    assert other is not None
    training = ~np.asarray(packed.is_test)
    assert (one.probability[0, training] != other.probability[0, training]).any(1).all()
