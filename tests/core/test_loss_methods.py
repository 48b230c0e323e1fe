"""The loss methods in the loop's hands: what each does to one hand-made batch, and what it learns at an epoch's end."""

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.config import make_config
from core.locks import Pairs
from core.methods.base import EpochEnd, Method, Setting
from core.methods.linc import LiNC
from core.methods.multit import MultiT
from core.methods.registry import make_method
from core.models.miracl import Batch, Output, plain_output
from core.traces import Traces

HALF = 0.5


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def hand_made(observed: list[list[int]], locked: list[list[int]] | None = None) -> Pairs:
    labels = np.array(observed, np.uint8)
    lock = np.zeros(labels.shape, bool) if locked is None else np.array(locked, bool)
    stated, training = np.ones(labels.shape, bool), np.ones(len(labels), bool)
    return Pairs(labels, labels, labels.astype(np.float32), stated, lock, training, ~lock)


def method(name: str, pairs: Pairs, **options: object) -> Method:
    config = make_config("bce", "compact", **{"method.name": name, "optim.batch": 4, **options})
    return make_method(Setting(config, cast("Any", None), pairs, torch.device("cpu"), 0))


def batch_of(rows: list[int]) -> Batch:
    n = len(rows)
    none = torch.zeros(n, 1, 1)
    return Batch(torch.tensor(rows), torch.arange(n), none, torch.ones(n).long(), none, torch.ones(n).long())


def said(logits: Tensor) -> Output:
    there = torch.ones(len(logits), dtype=torch.bool)
    return plain_output(logits, torch.zeros(len(logits), 1), there, there)


def epoch_end(probability: np.ndarray, pairs: Pairs, logits: np.ndarray | None = None) -> EpochEnd:
    traces = SimpleNamespace(logits=logits, observed=pairs.observed, member=pairs.member)
    return EpochEnd(np.stack([probability] * 3).astype(np.float32), cast("Any", None), cast("Traces", traces))


class Fixed(nn.Module):
    """A network that always says the same."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, batch: Batch) -> Output:
        return said(self.logits[batch.rows])


PAIRS = hand_made([[1, 0], [1, 0]])
Z = torch.tensor([[logit(0.3), logit(0.9)], [logit(0.9), logit(0.2)]])
BCE_BY_HAND = -(math.log(0.3) + math.log(0.1) + math.log(0.9) + math.log(0.8)) / 4


def loss_of(made: Method, z: Tensor = Z) -> float:
    return made.pair_loss(said(z), batch_of([0, 1])).item()


def test_the_backbone_s_loss_is_cross_entropy() -> None:
    assert loss_of(method("bce", PAIRS)) == pytest.approx(BCE_BY_HAND)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("focal", (0.25 * 0.49 * -math.log(0.3) + 0.75 * 0.81 * -math.log(0.1) + 0.25 * 0.01 * -math.log(0.9)
                   + 0.75 * 0.04 * -math.log(0.8)) / 4),
        ("asl", (0.7 * -math.log(0.3) + 0.85**4 * -math.log(0.15) + 0.1 * -math.log(0.9)
                 + 0.15**4 * -math.log(0.85)) / 4),
        ("gce", (4 - 0.3**0.7 - 0.1**0.7 - 0.9**0.7 - 0.8**0.7) / 0.7 / 4),
    ],
    ids=["focal", "asl", "gce"],
)  # fmt: skip
def test_a_loss_differs_from_cross_entropy_by_a_hand_worked_amount(name: str, by_hand: float) -> None:
    found = loss_of(method(name, PAIRS))
    assert found == pytest.approx(by_hand, rel=1e-5)
    assert found - BCE_BY_HAND == pytest.approx(by_hand - BCE_BY_HAND, abs=1e-6)
    assert abs(found - BCE_BY_HAND) > 0.1


def test_mllsc_switches_disbelieved_pairs_from_its_start_epoch_on_and_decided_ones_never() -> None:
    def margin_focal(p: float) -> float:
        return (1 - p) ** 2 * -math.log(p)

    with_margin = [1 / (1 + math.exp(-(logit(p) - 1))) for p in (0.3, 0.9)]
    before = (margin_focal(with_margin[0]) + margin_focal(0.1) + margin_focal(with_margin[1]) + margin_focal(0.8)) / 4
    after = (margin_focal(0.7) + margin_focal(0.9) + margin_focal(with_margin[1]) + margin_focal(0.8)) / 4
    made, decided = method("mllsc", PAIRS), method("mllsc", hand_made([[1, 0], [1, 0]], [[1, 1], [0, 0]]))
    for t, expected in ((5, before), (6, after)):
        made.begin_epoch(t)
        decided.begin_epoch(t)
        assert loss_of(made) == pytest.approx(expected, rel=1e-5)
        assert loss_of(decided) == pytest.approx(before, rel=1e-5)


def test_mllsc_s_quantile_comes_from_the_epoch_before_and_survives_a_stop() -> None:
    pairs = hand_made([[1], [1], [1], [0]])
    options = {"method.mllsc.pos_rule": "quantile", "method.mllsc.quantile": HALF, "method.mllsc.start_epoch": 1}
    made, later = (method("mllsc", pairs, **options) for _ in range(2))
    made.begin_epoch(1)
    z = torch.tensor([[0.0], [0.0]])
    untouched = loss_of(made, z)
    made.end_epoch(1, epoch_end(np.array([[0.5], [0.6], [0.7], [0.99]]), pairs))
    made.begin_epoch(2)
    later.restore(made.state())
    later.begin_epoch(2)
    assert loss_of(made, z) == loss_of(later, z) == pytest.approx(HALF**2 * math.log(2))  # p = .5 < .6: as negatives
    assert untouched > loss_of(made, z)


def test_multit_is_cross_entropy_until_its_rates_are_known_and_then_weighs_each_pair() -> None:
    made = method("multit", PAIRS)
    assert loss_of(made) == pytest.approx(BCE_BY_HAND)
    made.restore({"rho_plus": torch.tensor([0.3, 0.1]).double(), "rho_minus": torch.tensor([0.1, 0.2]).double()})
    by_hand = (
        0.3 / (0.7 * 0.3 + 0.1 * 0.7) * -math.log(0.3)
        + 0.1 / (0.1 * 0.9 + 0.8 * 0.1) * -math.log(0.1)
        + 0.9 / (0.7 * 0.9 + 0.1 * 0.1) * -math.log(0.9)
        + 0.8 / (0.1 * 0.2 + 0.8 * 0.8) * -math.log(0.8)
    ) / 4
    assert loss_of(made) == pytest.approx(by_hand, rel=1e-5)
    assert by_hand - BCE_BY_HAND == pytest.approx(-0.19300, abs=1e-5)


def test_multit_estimates_once_at_the_end_of_its_warm_up_and_leaves_the_labels_as_given() -> None:
    rng = np.random.default_rng(0)
    cause = rng.random((3000, 1)) < 0.5
    truth = rng.random((3000, 3)) < np.where(cause, 0.7, 0.1)
    pairs = hand_made((truth ^ (rng.random(truth.shape) < 0.2)).astype(int).tolist())
    logits = np.where(truth, 3.0, -3.0)[None] + rng.normal(0, 0.5, (2, 3000, 3))
    made = cast("MultiT", method("multit", pairs, **{"method.multit.warm_up": 2, "method.multit.sample_epoch": 2}))
    made.end_epoch(1, epoch_end(truth, pairs, logits[:1]))
    assert made.estimated is None
    assert made.state() == {}
    made.end_epoch(2, epoch_end(truth, pairs, logits))
    assert made.estimated is not None
    assert made.estimated.rho_plus == pytest.approx(0.2, abs=0.08)
    assert made.estimated.rho_minus == pytest.approx(0.2, abs=0.08)
    assert (made.corrected == pairs.base).all()
    kept = made.estimated
    made.end_epoch(3, epoch_end(truth, pairs, np.concatenate((logits, -logits))))
    assert made.estimated is kept
    assert made.rates is None, "too high where low losses were chosen: not for people to read"


def test_linc_moves_trust_by_hand_for_the_batch_s_pairs_that_are_not_decided() -> None:
    pairs = hand_made([[1, 0], [1, 0], [1, 1]], [[0, 0], [0, 1], [0, 0]])
    made = cast("LiNC", method("linc", pairs))
    network = Fixed(torch.tensor([[-2.0, 2.0], [2.0, 2.0], [-2.0, -2.0]]))
    made.begin_epoch(1)
    _, terms = made.step(network, torch.optim.SGD(network.parameters(), lr=0.0), batch_of([0, 1]))
    moved = 1 - 1.7616 / 4 - 0.001  # κ = 1/4, the nominal batch
    assert made.alpha.tolist() == pytest.approx(np.array([[moved, moved], [1.0, 1.0], [1.0, 1.0]]), abs=1e-5)
    assert made.accumulated[:2].tolist() == pytest.approx(np.array([[1.7616, 1.7616], [-0.2384, 0.0]]), abs=5e-5)
    assert made.accumulated[2].tolist() == [0.0, 0.0]
    assert terms[1].item() == pytest.approx((3 * math.log(1 + math.exp(2)) + math.log(1 + math.exp(-2))) / 4, rel=1e-5)


def test_linc_s_target_mixes_label_and_prediction_by_trust() -> None:
    made = cast("LiNC", method("linc", hand_made([[1]])))
    made.begin_epoch(2)
    made.alpha[0, 0] = 0.6
    t = 0.6 + 0.4 * 0.2
    by_hand = -(t * math.log(0.2) + (1 - t) * math.log(0.8))
    found = made.pair_loss(said(torch.tensor([[logit(0.2)]])), batch_of([0])).item()
    assert found == pytest.approx(by_hand, rel=1e-5)
    assert found + math.log(0.2) == pytest.approx(-(1 - t) * (math.log(0.8) - math.log(0.2)), rel=1e-4)  # below BCE


def test_linc_replaces_mistrusted_labels_once_for_all_later_epochs_and_survives_a_stop() -> None:
    pairs = hand_made([[1]] * 20 + [[0]] * 20)
    made = cast("LiNC", method("linc", pairs, **{"method.linc.warm_up": 3}))
    made.alpha[:5], made.alpha[20:24] = 0.3, 0.4
    p = np.linspace(0.1, 0.9, 40)[:, None]
    made.end_epoch(2, epoch_end(p, pairs))
    assert (made.corrected == pairs.base).all()
    made.end_epoch(3, epoch_end(p, pairs))
    mistrusted = np.zeros((40, 1), bool)
    mistrusted[:5] = mistrusted[20:24] = True
    expected = np.where(mistrusted, p, pairs.base).astype(np.float32)
    assert (made.corrected == expected).all()
    assert made.counts == {"clean": 31, "uncertain": 0, "noisy": 9, "locked": 0}
    made.end_epoch(4, epoch_end(1 - p, pairs))
    later = cast("LiNC", method("linc", pairs, **{"method.linc.warm_up": 3}))
    later.restore(made.state())
    z = torch.zeros(40, 1)
    for one in (made, later):
        one.begin_epoch(5)
        assert (one.corrected == expected).all()
        assert one.pair_loss(said(z + 1), batch_of(list(range(40)))).item() == pytest.approx(
            torch.nn.functional.binary_cross_entropy_with_logits(z + 1, torch.from_numpy(expected)).item()
        )


def test_linc_leaves_trust_alone_after_its_warm_up() -> None:
    made = cast("LiNC", method("linc", PAIRS, **{"method.linc.warm_up": 1}))
    network = Fixed(Z.clone())
    made.begin_epoch(2)
    made.step(network, torch.optim.SGD(network.parameters(), lr=0.0), batch_of([0, 1]))
    assert (made.alpha == 1).all()
    assert (made.accumulated == 0).all()
