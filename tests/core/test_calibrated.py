"""The calibrated preset on planted noise: whom it suspects, what it leaves alone, what decisions may change."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from core.calibrated.siblings import evidence_features
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import TrainConfig, make_config
from core.fit import Checkpoints, Fitted, fit, never
from core.locks import Pairs, lay_on_pairs
from core.methods.base import EpochEnd
from core.methods.calibrated import Calibrated, counted

from .test_training import planted

SMALL: dict[str, Any] = {
    "model.hidden": 16, "model.ffn": 32, "model.experts": 4, "optim.batch": 32, "optim.epochs": 6, "optim.warm_up": 2,
    "optim.learning_rate": 5e-3, "calibrated.window_last": 4,
}  # fmt: skip
SEED = 1


def small(**options: Any) -> TrainConfig:
    return make_config("calibrated", "compact", **{**SMALL, **options})


@dataclass(frozen=True)
class Case:
    """A cohort packed, the labels as they truly are, and what was fitted to the recorded ones."""

    packed: PackedCohort
    clean: np.ndarray
    pairs: Pairs
    fitted: Fitted
    ends: list[EpochEnd]


def train(
    packed: PackedCohort,
    pairs: Pairs,
    config: TrainConfig | None = None,
    folder: Path | None = None,
    should_stop: Callable[[], bool] = never,
) -> Fitted | None:
    torch.set_num_threads(1)
    kept = None if folder is None else Checkpoints(folder, "this run")
    return fit(
        packed, pairs, config or small(), seed=SEED, place=torch.device("cpu"), with_peer=True, checkpoints=kept,
        should_stop=should_stop, persistence=("acute", "lifelong", "recurrent") * 2,
    )  # fmt: skip


def case(folder: Path, noise: float) -> Case:
    cohort, clean = planted(folder / "cohort", noise)
    packed = pack_cohort(cohort, small().tensors, folder / "cache")
    pairs, ends = lay_on_pairs(packed, None), []
    with pytest.MonkeyPatch.context() as patch:
        end_epoch = Calibrated.end_epoch

        def spy(self: Calibrated, t: int, end: EpochEnd) -> None:
            ends.append(replace(end, probability=end.probability.copy()))  # the loop goes on writing into it
            end_epoch(self, t, end)

        patch.setattr(Calibrated, "end_epoch", spy)
        fitted = train(packed, pairs)
    assert fitted is not None
    return Case(packed, clean, pairs, fitted, ends)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("noisy"), 0.2)


@pytest.fixture(scope="module")
def without_noise(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("clean"), 0.0)


def wrong(found: Fitted) -> np.ndarray:
    assert found.error_probability is not None
    return found.error_probability


def decided(given: Case, n: int = 120) -> pa.Table:
    """Answers to the `n` most suspect pairs and, at every third, to one that nobody suspects: decided as is true.

    Every tenth reader was unsure.
    """
    doubt = np.where(given.pairs.member, wrong(given.fitted), -1.0)
    order = np.argsort(-doubt, axis=None, kind="stable")[: int(given.pairs.member.sum())]
    rows, labels = np.unravel_index(np.concatenate((order[:n], order[-n // 3 :])), doubt.shape)
    sure = np.arange(len(rows)) % 10 > 0
    return pa.table(
        {
            "stay_id": given.packed.stay_ids[rows], "label_key": [given.packed.label_keys[k] for k in labels],
            "value": pa.array(np.where(sure, given.clean[rows, labels], 0.5), pa.float32()), "locked": sure,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def reviewed(noisy: Case) -> Case:
    pairs = lay_on_pairs(noisy.packed, decided(noisy))
    fitted = train(noisy.packed, pairs)
    assert fitted is not None
    return replace(noisy, pairs=pairs, fitted=fitted)


def test_planted_noise_is_told_apart_in_both_classes(noisy: Case) -> None:
    planted_ = noisy.packed.observed != noisy.clean
    for value in (0, 1):
        group = noisy.pairs.member & (noisy.packed.observed == value)
        assert roc_auc_score(planted_[group], wrong(noisy.fitted)[group]) > 0.8


def test_the_planted_rates_are_found_roughly(noisy: Case) -> None:
    rates = noisy.fitted.rates
    assert rates is not None
    assert np.ptp(rates.rho_plus) == np.ptp(rates.rho_minus) == 0
    assert rates.rho_plus[0] == pytest.approx(0.2, abs=0.12)
    assert rates.rho_minus[0] == pytest.approx(0.2, abs=0.12)


def test_corrected_labels_are_the_record_turned_by_its_probability_of_being_wrong(noisy: Case) -> None:
    """(1-W)·ỹ + W·(1-ỹ), for the pairs that may be changed; they are nearer to the truth than the record is."""
    w, observed, member = wrong(noisy.fitted), noisy.packed.observed.astype(np.float32), noisy.pairs.member
    assert ((w >= 0) & (w <= 1)).all()
    expected = np.where(member, (1 - w) * observed + w * (1 - observed), observed)
    assert np.allclose(noisy.fitted.corrected, expected, atol=1e-6)
    right = (noisy.fitted.corrected > 0.5) == (noisy.clean == 1)
    assert right[member].mean() > (noisy.packed.observed == noisy.clean)[member].mean() + 0.03


def test_an_epoch_counts_the_pairs_that_are_as_good_as_decided_and_those_between(noisy: Case) -> None:
    """Wrong at three to one or more: noisy; right at three to one or more: clean; the rest uncertain."""
    given = np.array([0.0, 0.25, 0.26, 0.5, 0.74, 0.75, 1.0], np.float32)
    assert counted(given) == {"clean": 2, "uncertain": 3, "noisy": 2}
    first, last = noisy.fitted.rows[0], noisy.fitted.rows[-1]
    member = noisy.pairs.member
    assert {part: last[f"n_{part}"] for part in ("clean", "uncertain", "noisy")} == counted(wrong(noisy.fitted)[member])
    assert (first["n_clean"], first["n_uncertain"], first["n_noisy"]) == (member.sum(), 0, 0), "before any correction"


def test_clean_labels_are_left_alone(without_noise: Case) -> None:
    rates = without_noise.fitted.rates
    assert rates is not None
    assert not rates.rho_plus.any()
    assert not rates.rho_minus.any()
    assert np.array_equal(without_noise.fitted.corrected, without_noise.packed.observed)
    assert wrong(without_noise.fitted).max() < 0.5
    assert without_noise.fitted.rows[-1]["n_noisy"] == 0


def test_without_noise_corrected_labels_are_trained_on_as_they_were_recorded(without_noise: Case) -> None:
    assert all(row["loss_corrected"] == row["loss_bce"] for row in without_noise.fitted.rows)


def test_where_records_say_next_to_nothing_no_label_is_changed_and_pairs_are_still_ranked(
    noisy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.methods.calibrated.LEAST_SPAN", 1.1)  # of these, 1 - ρ₊ - ρ₋ is about .6
    fitted = train(noisy.packed, noisy.pairs)
    assert fitted is not None
    assert np.array_equal(fitted.corrected, noisy.packed.observed)
    assert all(row["loss_corrected"] == row["loss_bce"] for row in fitted.rows)
    assert fitted.rows[-1]["n_noisy"] == 0
    group = noisy.pairs.member & (noisy.packed.observed == 1)
    assert roc_auc_score((noisy.packed.observed != noisy.clean)[group], wrong(fitted)[group]) > 0.75


def test_test_stays_and_unstated_pairs_are_never_changed(noisy: Case, tmp_path: Path) -> None:
    test = np.asarray(noisy.packed.is_test)
    assert np.array_equal(noisy.fitted.corrected[test], noisy.packed.observed[test])
    stated = np.random.default_rng(0).random(noisy.packed.stated.shape) < 0.9
    partly = replace(noisy.packed, stated=stated, observed=noisy.packed.observed * stated)
    pairs = lay_on_pairs(partly, None)
    found = train(partly, pairs, small(**{"optim.epochs": 3}))
    assert found is not None
    assert np.array_equal(found.corrected[~stated], partly.observed[~stated])
    assert (found.corrected != partly.observed)[pairs.member].any()
    assert np.isfinite(wrong(found)).all()


def test_a_decided_pair_is_never_changed_and_never_suspected(reviewed: Case, noisy: Case) -> None:
    locked = reviewed.pairs.locked
    assert locked.sum() > 100
    assert (wrong(reviewed.fitted)[locked] == 0).all()
    assert np.array_equal(reviewed.fitted.corrected[locked], reviewed.pairs.base[locked])
    assert np.array_equal(reviewed.fitted.corrected[locked], reviewed.clean[locked])
    assert (wrong(noisy.fitted)[locked] > 0).all()
    unsure = reviewed.pairs.base == 0.5
    assert unsure.any()
    assert np.allclose(reviewed.fitted.corrected[unsure], 0.5)


def test_the_noise_rates_are_those_of_the_round_before_any_review(reviewed: Case, noisy: Case) -> None:
    one, other = reviewed.fitted.rates, noisy.fitted.rates
    assert one is not None
    assert other is not None
    assert np.array_equal(one.rho_plus, other.rho_plus)
    assert np.array_equal(one.rho_minus, other.rho_minus)
    assert (one.rho_plus > 0).all()


def test_decisions_tell_something_of_the_pairs_that_nobody_read(reviewed: Case, noisy: Case) -> None:
    unread = reviewed.pairs.member
    assert (wrong(reviewed.fitted) != wrong(noisy.fitted))[unread].any()
    planted_ = noisy.packed.observed != noisy.clean
    for value in (0, 1):
        group = unread & (noisy.packed.observed == value)
        assert roc_auc_score(planted_[group], wrong(reviewed.fitted)[group]) > 0.7


def at_random(given: Case, share: float) -> pa.Table:
    """True answers to pairs that nobody's suspicion chose."""
    rows, labels = np.nonzero(given.pairs.member & (np.random.default_rng(3).random(given.pairs.member.shape) < share))
    return pa.table(
        {
            "stay_id": given.packed.stay_ids[rows], "label_key": [given.packed.label_keys[k] for k in labels],
            "value": pa.array(given.clean[rows, labels], pa.float32()), "locked": np.ones(len(rows), np.bool_),
        }
    )  # fmt: skip


def test_evidence_of_a_decided_pair_knows_no_more_of_it_than_of_any_other(
    noisy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the read pairs' W would be nearly right, and what it lacks would say nothing of the unread ones.

    A network that learns by heart, and nothing but it, with decisions on half of the pairs, as chance would have it:
    told of them at once it tells the read ones' errors apart better by .09 of AUROC.
    """
    before: list[np.ndarray] = []
    taught = Calibrated._taught

    def spy(self: Calibrated, found: np.ndarray) -> np.ndarray:
        before.append(found.copy())
        return taught(self, found)

    monkeypatch.setattr(Calibrated, "_taught", spy)
    monkeypatch.setattr("core.methods.calibrated.ENOUGH", 10_000)
    alone = {"calibrated.network_weight": 1.0, "calibrated.trusted_span": 0.01, "optim.learning_rate": 0.01}
    window = {"optim.epochs": 40, "calibrated.window_first": 8, "calibrated.window_last": 26}
    pairs = lay_on_pairs(noisy.packed, at_random(noisy, 0.5))
    assert train(noisy.packed, pairs, small(**alone, **window)) is not None
    planted_, ahead = noisy.packed.observed != noisy.clean, []
    for value in (0, 1):
        read, unread = (group & (noisy.packed.observed == value) for group in (pairs.locked, pairs.member))
        told, untold = (roc_auc_score(planted_[group], before[-1][group]) for group in (read, unread))
        ahead.append(told - untold)
    assert np.mean(ahead) < 0.04


def test_decisions_beyond_those_that_calibrate_are_trained_on_at_once(
    noisy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    begin_epoch = Calibrated.begin_epoch
    pairs = lay_on_pairs(noisy.packed, at_random(noisy, 0.5))

    def spy(self: Calibrated, t: int) -> None:
        begin_epoch(self, t)
        seen.append(self.targets.numpy() == pairs.base)

    monkeypatch.setattr(Calibrated, "begin_epoch", spy)
    monkeypatch.setattr("core.methods.calibrated.ENOUGH", 150)
    found = train(noisy.packed, pairs)
    assert found is not None
    for value in (0, 1):
        ours = pairs.locked & (noisy.packed.observed == value)
        turned = ours & (pairs.base != value)
        assert ours.sum() > 300
        assert turned.sum() > 60
        assert 0 < (~seen[0][turned]).sum() < 150 * turned.sum() / ours.sum() + 20
    assert seen[-1][pairs.locked].all()
    assert np.array_equal(found.corrected[pairs.locked], pairs.base[pairs.locked])


def test_a_decision_is_trained_on_once_the_evidence_is_gathered(
    reviewed: Case, noisy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    begin_epoch = Calibrated.begin_epoch

    def spy(self: Calibrated, t: int) -> None:
        begin_epoch(self, t)
        seen.append(self.targets.numpy().copy())

    monkeypatch.setattr(Calibrated, "begin_epoch", spy)
    found = train(noisy.packed, reviewed.pairs)
    assert found is not None
    same_end(reviewed.fitted, found)
    locked, base = reviewed.pairs.locked, reviewed.pairs.base
    turned = locked & (base != noisy.packed.observed)
    assert turned.sum() > 50
    for t, targets in enumerate(seen, start=1):
        assert np.array_equal(targets[locked], base[locked]) == (t > 4), t
        assert t > 2 or np.array_equal(targets[turned], noisy.packed.observed[turned])


def same_end(one: Fitted, other: Fitted) -> None:
    for name in ("probability", "corrected", "error_probability"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert np.array_equal(one.traces.logits, other.traces.logits)
    weights, others = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    seconds = {"seconds": 0.0}
    assert [row | seconds for row in one.rows] == [row | seconds for row in other.rows]
    assert one.rates is not None
    assert other.rates is not None
    assert np.array_equal(one.rates.rho_plus, other.rates.rho_plus)
    assert np.array_equal(one.rates.rho_minus, other.rates.rho_minus)


def stopped_after(batches: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) >= batches


@pytest.mark.parametrize("stops", [(1, 2), (5,)], ids=["in the warm-up and in the window", "after the window"])
def test_a_stopped_run_goes_on_and_ends_bit_for_bit_where_a_whole_one_does(
    stops: tuple[int, ...], noisy: Case, tmp_path: Path
) -> None:
    """Stopped in the second batch of an epoch; `stops` are the epochs completed in each part."""
    batches = -(-int(noisy.pairs.training.sum()) // 32)
    fits = small().peer.folds * len(small().peer.penalties)  # asked before each, in every part
    for epochs in stops:
        assert train(noisy.packed, noisy.pairs, None, tmp_path, stopped_after(fits + epochs * batches + 1)) is None
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == sum(stops)
    found = train(noisy.packed, noisy.pairs, None, tmp_path)
    assert found is not None
    same_end(noisy.fitted, found)


def test_a_run_with_decisions_stopped_before_they_are_told_ends_the_same(
    reviewed: Case, noisy: Case, tmp_path: Path
) -> None:
    batches = -(-int(reviewed.pairs.training.sum()) // 32)
    fits = small().peer.folds * len(small().peer.penalties) * 2  # the peer of the record, and the one of the decisions
    assert train(noisy.packed, reviewed.pairs, None, tmp_path, stopped_after(fits + 3 * batches + 1)) is None
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    found = train(noisy.packed, reviewed.pairs, None, tmp_path)
    assert found is not None
    same_end(reviewed.fitted, found)


@pytest.mark.parametrize(
    "options",
    [
        {"calibrated.siblings": "flags", "calibrated.match": "mean"},
        {"calibrated.match": "off", "calibrated.heads": "given", "loss.heads": "lambda", "calibrated.ridges": []},
        {
            "calibrated.siblings": "off",
            "calibrated.network_weight": 0.0,
            "optim.warm_up": 1,
            "calibrated.window_first": 3,
        },
    ],
    ids=["siblings for flags", "W as it comes", "the peer alone, no siblings"],
)
def test_every_option_trains_and_tells_planted_noise_apart(options: dict[str, Any], noisy: Case) -> None:
    found = train(noisy.packed, noisy.pairs, small(**{"optim.epochs": 3, **options}))
    assert found is not None
    planted_ = noisy.packed.observed != noisy.clean
    for value in (0, 1):
        group = noisy.pairs.member & (noisy.packed.observed == value)
        assert roc_auc_score(planted_[group], wrong(found)[group]) > 0.7


# What training leaves behind (core.traces)


@pytest.mark.parametrize("siblings", ["off", "both"])
def test_where_other_visits_are_off_nothing_reads_them(
    siblings: str, noisy: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the network's evidence nor the rates and the level of W that the peer gives."""
    asked: list[bool] = []

    def spy(*given: Any) -> np.ndarray:
        asked.append(given[-1])
        return evidence_features(*given)

    monkeypatch.setattr("core.calibrated.peer_posterior.evidence_features", spy)
    fitted = train(noisy.packed, noisy.pairs, small(**{"calibrated.siblings": siblings}))
    assert fitted is not None
    assert len(asked) > 3
    assert set(asked) == {siblings == "both"}


def test_at_each_epoch_s_end_the_traces_hold_the_epochs_so_far(noisy: Case) -> None:
    whole = noisy.fitted.traces
    assert [end.traces.epochs for end in noisy.ends] == list(range(1, 7))
    for t, end in enumerate(noisy.ends, start=1):
        assert np.array_equal(end.traces.logits, whole.logits[:t])
        assert np.array_equal(end.traces.feature_norm, whole.feature_norm[:t])
        assert end.traces.selection is None
        at_end = 1 / (1 + np.exp(-end.traces.logits[-1].astype(np.float64)))
        assert np.allclose(at_end, end.probability[0], atol=2e-3)  # half precision


def test_the_traces_are_of_the_recorded_labels_and_of_the_last_epoch(noisy: Case) -> None:
    traces, packed = noisy.fitted.traces, noisy.packed
    assert traces.logits.dtype == np.float16
    assert traces.logits.shape == (6, *packed.observed.shape)
    assert np.array_equal(traces.observed, packed.observed)
    assert np.array_equal(traces.member, noisy.pairs.member)
    assert np.array_equal(traces.stated, packed.stated)
    assert np.array_equal(traces.patient, packed.patient_ids)
    assert np.array_equal(traces.visit, packed.visit)
    assert traces.persistence == ("acute", "lifelong", "recurrent") * 2
    assert traces.selection is noisy.fitted.selection
    norm = np.sqrt((traces.embedding.astype(np.float64) ** 2).sum(1) + 1)
    assert np.allclose(traces.feature_norm[-1], norm, rtol=1e-5)
    assert (traces.feature_norm >= 1).all()


def test_the_traces_hold_the_peer_s_probabilities_where_they_were_asked_for(noisy: Case) -> None:
    peer = noisy.fitted.method.setting.peer
    assert np.array_equal(np.asarray(noisy.fitted.traces.out_of_fold), peer.probability)
    assert all(np.array_equal(np.asarray(end.traces.out_of_fold), peer.probability) for end in noisy.ends)
    one = small(**{"optim.epochs": 1, "optim.warm_up": 1})
    plain = fit(noisy.packed, noisy.pairs, one, seed=SEED, place=torch.device("cpu"))
    assert plain is not None
    assert plain.traces.out_of_fold is None
    assert plain.traces.persistence == ("recurrent",) * 6


def test_after_a_review_the_traces_keep_the_record_and_leave_decided_pairs_out(reviewed: Case) -> None:
    traces = reviewed.fitted.traces
    assert np.array_equal(traces.observed, reviewed.packed.observed)
    assert not (traces.member & reviewed.pairs.locked).any()
