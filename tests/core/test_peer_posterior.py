"""P(label wrong) from the peer alone, and what MIRACL leaves alone because of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from core.calibrated.peer_posterior import PeerReading, noisy_groups, peer_posterior
from core.calibrated.posterior import Rates, clean_logit, fit_through_noise
from core.calibrated.siblings import evidence_features
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import make_config
from core.fit import Fitted, fit
from core.locks import Pairs, lay_on_pairs
from core.methods.base import Setting
from core.methods.calibrated import Calibrated

from .tiny_cohort import learnable_cohort

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "model.hidden": 16, "model.ffn": 32, "model.experts": 4, "optim.batch": 32, "optim.epochs": 4, "optim.warm_up": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    cohort = learnable_cohort(tmp_path_factory.mktemp("made") / "cohort", n_stays=400)
    return pack_cohort(cohort, make_config("miracl", "compact").tensors, None)


def planted(clean: PackedCohort, lost: float, added: float) -> PackedCohort:
    rng = np.random.default_rng(5)
    share = np.where(clean.observed == 1, lost, added)
    flips = (rng.random(clean.observed.shape) < share) & ~np.asarray(clean.is_test)[:, None]
    return replace(clean, observed=clean.observed ^ flips.astype(np.uint8))


def setting(packed: PackedCohort, locks: pa.Table | None = None, preset: str = "miracl", **options: Any) -> Setting:
    config = make_config(preset, "compact", **{**TINY, **options})
    return Setting(config, packed, lay_on_pairs(packed, locks), CPU, 1)


def posterior(made: Setting, rates: Rates | None = None) -> np.ndarray:
    reading = made.peer_reading if rates is None else PeerReading(rates, made.config.calibrated)
    return peer_posterior(made.packed, made.pairs, made.observed_peer.logit, reading)


def decisions(packed: PackedCohort, truth: np.ndarray, n: int) -> pa.Table:
    """Decide the first n wrong records rightly, and leave the next one open."""
    wrong = np.argwhere(packed.observed != truth)[: n + 1]
    value = [*(float(truth[row, label]) for row, label in wrong[:n]), 0.5]
    return pa.table(
        {
            "stay_id": pa.array(np.asarray(packed.stay_ids)[wrong[:, 0]], pa.int64()),
            "label_key": [packed.label_keys[label] for label in wrong[:, 1]],
            "value": pa.array(value, pa.float32()),
            "locked": [True] * n + [False],
        }
    )


def test_a_group_has_noise_where_its_rate_is_above_nothing() -> None:
    found = noisy_groups(Rates(np.array([0.2, 0.0]), np.array([0.0, 0.1])))
    assert found.tolist() == [[True, False], [False, True]]  # lost positives stand among recorded absences


@pytest.mark.parametrize(
    ("lost", "added", "groups"),
    [(0.0, 0.0, [False, False]), (0.3, 0.0, [True, False]), (0.0, 0.2, [False, True]), (0.2, 0.2, [True, True])],
    ids=["clean", "lost", "added", "both"],
)
def test_the_peer_finds_noise_in_the_class_that_has_it(
    clean: PackedCohort, lost: float, added: float, groups: list[bool]
) -> None:
    made = setting(planted(clean, lost, added))
    assert noisy_groups(made.peer_reading.rates).tolist() == [groups] * 5
    wrong = posterior(made)
    for value, noisy in enumerate(groups):
        assert (wrong[made.packed.observed == value] > 0).all() == noisy
    flipped = made.packed.observed != clean.observed
    if any(groups):
        assert wrong[flipped].mean() > 3 * wrong[made.pairs.member & ~flipped].mean()


def test_the_rates_are_the_calibrated_preset_s(clean: PackedCohort) -> None:
    made = replace(
        setting(planted(clean, 0.2, 0.2), preset="calibrated"), persistence=("lifelong", "acute") * 2 + ("",)
    )
    method = Calibrated(made)
    assert method.rates is not None
    np.testing.assert_array_equal(method.rates.rho_plus, made.peer_reading.rates.rho_plus)
    np.testing.assert_array_equal(method.rates.rho_minus, made.peer_reading.rates.rho_minus)


def test_decisions_leave_the_rates_and_end_the_doubt_of_what_they_lock(clean: PackedCohort) -> None:
    noisy = planted(clean, 0.2, 0.2)
    before, after = setting(noisy), setting(noisy, decisions(noisy, clean.observed, 60))
    np.testing.assert_array_equal(after.peer_reading.rates.rho_plus, before.peer_reading.rates.rho_plus)
    np.testing.assert_array_equal(after.peer_reading.rates.rho_minus, before.peer_reading.rates.rho_minus)
    wrong = posterior(after)
    assert (wrong[after.pairs.locked] == 0).all()
    assert (wrong[after.pairs.member] > 0).all()


@given(plus=st.floats(0, 0.45), minus=st.floats(0, 0.45))
@settings(max_examples=8, deadline=None)
def test_the_posterior_is_bayes_rule_on_evidence_that_left_the_own_label_out(
    clean: PackedCohort, plus: float, minus: float
) -> None:
    made = setting(clean)
    pairs, packed, options = made.pairs, made.packed, made.config.calibrated
    rates = Rates(np.full(5, plus), np.full(5, minus))
    used = pairs.stated & pairs.training[:, None]
    features = evidence_features(
        made.observed_peer.logit, pairs.known, packed.patient_ids, packed.visit, used, pairs.stated
    )
    q = expit(clean_logit(features, fit_through_noise(features, pairs.observed, used, rates, options.ridge)))
    found = posterior(made, rates)
    assert found.dtype == np.float32
    for row, label in ((0, 0), (7, 3), (399, 4)):
        p = min(max(float(q[row, label]), options.least_doubt), 1 - options.least_doubt)
        if pairs.observed[row, label]:
            naive = (1 - p) * minus / ((1 - p) * minus + p * (1 - plus))
        else:
            naive = p * plus / (p * plus + (1 - p) * (1 - minus))
        assert found[row, label] == pytest.approx(naive, abs=1e-5)


def fitted(made: Setting) -> Fitted:
    torch.set_num_threads(1)
    found = fit(made.packed, made.pairs, made.config, seed=1, place=CPU)
    assert found is not None
    return found


def moved(found: Fitted, pairs: Pairs, value: int) -> int:
    return int((pairs.member & (pairs.observed == value) & (found.corrected != pairs.base)).sum())


def test_miracl_corrects_no_class_in_which_the_peer_finds_no_noise_and_the_other_as_before(clean: PackedCohort) -> None:
    noisy = planted(clean, 0.3, 0.0)
    made = setting(noisy)
    careful, bold = fitted(made), fitted(setting(noisy, **{"correction.leave_alone": False}))
    assert moved(bold, made.pairs, 1) > 0
    assert moved(careful, made.pairs, 1) == 0
    assert moved(careful, made.pairs, 0) > 0
    assert careful.rates is not None
    assert bold.rates is None


def test_what_a_reader_left_open_stays_open_where_a_class_is_left_alone(clean: PackedCohort) -> None:
    noisy = planted(clean, 0.0, 0.2)
    made = setting(noisy)
    row, label = np.argwhere(made.pairs.member & (noisy.observed == 0))[0]
    open_ = pa.table(
        {
            "stay_id": pa.array([int(noisy.stay_ids[row])], pa.int64()),
            "label_key": [noisy.label_keys[label]],
            "value": pa.array([0.5], pa.float32()),
            "locked": [False],
        }
    )
    found = fitted(setting(noisy, open_))
    assert found.corrected[row, label] == 0.5
    assert moved(found, lay_on_pairs(noisy, open_), 0) == 0


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_sources_presets_correct_what_their_sources_correct(clean: PackedCohort, preset: str) -> None:
    made = setting(clean, preset=preset)
    assert not made.config.correction.leave_alone
    found = fitted(made)
    assert moved(found, made.pairs, 0) + moved(found, made.pairs, 1) > 0
    assert "peer" not in vars(found.method.setting)  # nor is the regression fitted for them
