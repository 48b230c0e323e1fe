"""The regression beside the network: its features, its folds, its fit, and that it never saw the patient."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from core.cohort.discretise import Normaliser, SeriesPack
from core.cohort.notepack import NotePack
from core.cohort.tensors import PackedCohort, TensorConfig, pack_cohort
from core.errors import ConfigError
from core.locks import Pairs, lay_on_pairs, unreviewed
from core.peer import features as features_module
from core.peer import regression
from core.peer.features import FEATURE_LIMIT
from core.peer.regression import Peer, PeerConfig

from .tiny_cohort import learnable_cohort

hand_features = jaxtyped(features_module.hand_features, typechecker=beartype)
patient_folds = jaxtyped(regression.patient_folds, typechecker=beartype)
fit_regression = jaxtyped(regression.fit_regression, typechecker=beartype)
predict_logit = jaxtyped(regression.predict_logit, typechecker=beartype)
EXACT = PeerConfig(iterations=2000, tolerance=1e-8)
ONE = PeerConfig(penalties=(0.3,))
NAMES = ("heart_rate", "gcs_eye=open", "measured:heart_rate", "measured:gcs_eye")


def cohort_of(
    series: list[np.ndarray], notes: list[np.ndarray], test: list[bool], names: tuple[str, ...] = NAMES
) -> PackedCohort:
    """A cohort whose stays have these steps and passages."""
    n, nothing = len(series), np.zeros(0, np.int64)
    ends = [
        np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64) for parts in (series, notes)
    ]
    values = np.concatenate(series).astype(np.float32).reshape(-1, len(names))
    vectors = np.concatenate(notes).astype(np.float32)
    steps = SeriesPack(values, ends[0], np.zeros(n, np.int32), names, (), nothing, 1.0)
    told = NotePack(vectors, ends[1], *(nothing,) * 5, passages=nothing)  # type: ignore[arg-type]
    ids, labels = np.arange(n), np.zeros((n, 1), np.uint8)
    return PackedCohort(
        ids, ids, np.ones(n, np.int32), np.array(test), ("a",), labels, labels == 0, steps, told,
        Normaliser((), (), ()), None, TensorConfig(), "",
    )  # fmt: skip


def line(*values: float) -> np.ndarray:
    """Steps of one channel with these values, measured at the first of them; the category is always open."""
    steps = np.zeros((len(values), 4))
    steps[:, 0], steps[:, 1], steps[:1, 2] = values, 1.0, 1.0
    return steps


def no_notes(n: int) -> list[np.ndarray]:
    return [np.zeros((0, 2))] * n


def test_features_of_known_lines_are_what_the_hand_works_out() -> None:
    """Slopes 3, 3, -3, -3 of four, two, two and three steps; one step has slope 0, and the empty stay the mean."""
    series = [line(1, 4, 7, 10), line(5, 8), line(6, 3), line(7, 4, 1), line(9), line()]
    made = hand_features(cohort_of(series, no_notes(6), [False] * 4 + [True] * 2))
    last, mean, least, greatest, slope = made.T  # all else is the same in the four training stays, and left out
    assert slope == pytest.approx([1, 1, -1, -1, 0, 0])
    assert made.dtype == np.float32
    assert last[:4] == pytest.approx((np.array([10, 8, 3, 1]) - 5.5) / np.std([10, 8, 3, 1]))
    assert mean[:4] == pytest.approx((np.array([5.5, 6.5, 4.5, 4.0]) - 5.125) / np.std([5.5, 6.5, 4.5, 4.0]))
    assert least[:4] == pytest.approx((np.array([1, 5, 3, 1]) - 2.5) / np.std([1, 5, 3, 1]))
    assert greatest[:4] == pytest.approx((np.array([10, 8, 6, 7]) - 7.75) / np.std([10, 8, 6, 7]))
    assert last[4] == pytest.approx((9 - 5.5) / np.std([10, 8, 3, 1]))  # by the training stays' measure
    assert (made[5] == 0).all()


def test_columns_without_spread_among_training_stays_are_left_out() -> None:
    same = [line(2, 2)] * 3 + [line(9, 1)]
    assert hand_features(cohort_of(same, no_notes(4), [False] * 3 + [True])).shape == (4, 0)


def test_an_outlier_is_held_at_the_limit() -> None:
    made = hand_features(cohort_of([line(0), line(2), line(1e6)], no_notes(3), [False, False, True]))
    assert made.max() == FEATURE_LIMIT


def test_a_cohort_without_any_series_or_without_any_note_has_features_all_the_same() -> None:
    notes = [np.array([[1.0, 2.0]]), np.array([[3.0, 2.0], [5.0, 4.0]]), np.zeros((0, 2))]
    made = hand_features(cohort_of([line()] * 3, notes, [False] * 3))
    assert np.isfinite(made).all()
    assert made.shape == (3, 6)  # mean and greatest of two components, the number of passages, and whether any
    assert made[:2, :4] == pytest.approx(np.array([[-1.0] * 4, [1.0] * 4]))
    assert (made[2, :4] == 0).all()
    assert hand_features(cohort_of([line(1), line(2)], no_notes(2), [False] * 2)).shape == (2, 4)


def naive_features(packed: PackedCohort) -> np.ndarray:
    rows = []
    names = packed.series.feature_names
    for i in range(len(packed.stay_ids)):
        steps = packed.series.values[packed.series.offsets[i] : packed.series.offsets[i + 1]].astype(float)
        told = packed.notes.vectors[packed.notes.offsets[i] : packed.notes.offsets[i + 1]].astype(float)
        numbers = [j for j, name in enumerate(names) if "=" not in name and not name.startswith("measured:")]
        kinds = [j for j, name in enumerate(names) if "=" in name]
        masks = [j for j, name in enumerate(names) if name.startswith("measured:")]
        row = []
        for figure in (
            lambda x: x[-1], np.mean, np.min, np.max,
            lambda x: np.polyfit(np.arange(len(x)), x, 1)[0] if len(x) > 1 else 0.0,
        ):  # fmt: skip
            row += [figure(steps[:, j]) if len(steps) else np.nan for j in numbers]
        row += [steps[-1, j] if len(steps) else np.nan for j in kinds]
        row += [steps[:, j].mean() if len(steps) else np.nan for j in kinds]
        row += [np.log1p(steps[:, j].sum()) if len(steps) else np.nan for j in masks]
        row += [float(steps[:, j].any()) if len(steps) else np.nan for j in masks]
        row += list(told.mean(0) if len(told) else [np.nan] * told.shape[1])
        row += list(told.max(0) if len(told) else [np.nan] * told.shape[1])
        rows.append([*row, np.log1p(len(told)), float(len(steps) > 0), float(len(told) > 0)])
    raw, training = np.array(rows), ~packed.is_test
    columns = []
    for column in raw.T:
        known = column[training & ~np.isnan(column)]
        if len(known) and known.std() > 1e-9:
            scaled = (column - known.mean()) / known.std()
            columns.append(np.clip(np.where(np.isnan(scaled), 0.0, scaled), -FEATURE_LIMIT, FEATURE_LIMIT))
    return np.array(columns).T.reshape(len(raw), -1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10_000))
def test_features_equal_a_loop_over_stays(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ("heart_rate", "ph", "gcs_eye=open", "gcs_eye=none", "measured:heart_rate", "measured:ph")
    series = [rng.integers(0, 4, (rng.integers(0, 5), 6)) * 1.0 for _ in range(n)]
    for steps in series:
        steps[:, 2:] = steps[:, 2:] > 1
    notes = [rng.integers(-2, 3, (rng.integers(0, 4), 3)) / 2 for _ in range(n)]
    packed = cohort_of(series, notes, list(rng.random(n) < 0.3), names)
    made, naive = hand_features(packed), naive_features(packed)
    assert made.shape == naive.shape
    assert np.allclose(made, naive, atol=1e-5)


def test_a_category_is_no_number_and_a_mask_neither() -> None:
    """The category differs between the stays: two features (last, mean) and no least, greatest or slope."""
    one, other = line(1, 1, 1), line(1, 1, 1)
    other[:, 1] = (1, 0, 0)
    assert hand_features(cohort_of([one, other], no_notes(2), [False] * 2)).shape == (2, 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(2, 7), st.integers(0, 1000))
def test_no_patient_is_in_two_folds_and_folds_are_even(patients: list[int], folds: int, seed: int) -> None:
    ids = np.array(patients)
    fold = patient_folds(ids, folds, seed)
    of_patient = {p: set(fold[ids == p].tolist()) for p in set(patients)}
    assert all(len(found) == 1 for found in of_patient.values())
    sizes = np.bincount([found.pop() for found in of_patient.values()], minlength=folds)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1
    assert (patient_folds(ids, folds, seed) == fold).all()


def test_folds_are_drawn_from_the_seed() -> None:
    ids = np.arange(50)
    assert (patient_folds(ids, 5, 1) != patient_folds(ids, 5, 2)).any()


def invented(n: int = 120, width: int = 4, labels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)).astype(np.float32)
    y = (rng.random((n, labels)) < expit(x @ rng.normal(size=(width, labels)) - 0.5)).astype(np.float32)
    return x, y, rng.random((n, labels)) < 0.8


@pytest.mark.parametrize("penalty", [3.0, 0.3, 0.03])
def test_the_fit_is_scikit_learn_s_with_c_of_one_over_n_times_penalty(penalty: float) -> None:
    x, y, counted = invented()
    found = fit_regression(x, y, counted, penalty, EXACT)
    for label in range(y.shape[1]):
        rows = counted[:, label]
        theirs = LogisticRegression(C=1 / (rows.sum() * penalty), tol=1e-10, max_iter=5000).fit(x[rows], y[rows, label])
        assert found[:-1, label] == pytest.approx(theirs.coef_[0], abs=1e-3)
        assert found[-1, label] == pytest.approx(theirs.intercept_[0], abs=1e-3)


def newton(x: np.ndarray, y: np.ndarray, weight: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise Σ weight·cross-entropy + penalty/2·‖w‖² of one label by Newton's method."""
    x = np.column_stack((x.astype(float), np.ones(len(x))))
    ridge = np.diag([penalty] * (x.shape[1] - 1) + [0.0])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = expit(x @ w)
        gradient = x.T @ (weight * (p - y)) + ridge @ w
        w -= np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x + ridge + 1e-12 * np.eye(len(w)), gradient)
    return w


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 60), st.sampled_from((1.0, 0.1)), st.booleans(), st.integers(0, 10_000))
def test_the_fit_equals_newton_s_method_also_for_soft_targets(n: int, penalty: float, soft: bool, seed: int) -> None:
    x, y, counted = invented(n, 2, 2, seed)
    if soft:
        y = np.random.default_rng(seed).random(y.shape).astype(np.float32)
    found = fit_regression(x, y, counted, penalty, EXACT)
    for label in range(2):
        of_label = counted[:, label]
        if len(set(y[of_label, label])) > 1:
            ours = newton(x, y[:, label], of_label / of_label.sum(), penalty)
            assert found[:, label] == pytest.approx(ours, abs=3e-3)


def test_an_even_soft_target_pulls_to_neither_side() -> None:
    x, _, counted = invented(labels=1)
    found = fit_regression(x, np.full((len(x), 1), 0.5, np.float32), counted, 0.1, EXACT)
    assert np.abs(found).max() < 1e-4


def test_a_label_that_is_never_stated_keeps_weight_0_and_does_not_touch_the_others() -> None:
    x, y, counted = invented()
    counted[:, 1] = False
    found = fit_regression(x, y, counted, 0.3, EXACT)
    assert (found[:, 1] == 0).all()
    alone = fit_regression(x, y[:, [0, 2]], counted[:, [0, 2]], 0.3, EXACT)
    assert found[:, [0, 2]] == pytest.approx(alone, abs=1e-3)


def test_a_label_without_positives_gives_finite_low_probabilities() -> None:
    x, y, counted = invented()
    y[:, 0] = 0
    logit = predict_logit(x, fit_regression(x, y, counted, 0.3))
    assert np.isfinite(logit).all()
    assert logit[:, 0].max() < -2


def test_the_slope_of_the_cost_is_that_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {}

    class Found:
        x = np.zeros(5 * 3)

    monkeypatch.setattr(regression, "minimize", lambda cost, *_, **__: held.setdefault("cost", cost) and Found)
    regression.fit_regression(*invented(), 0.3)
    rng = np.random.default_rng(1)
    at, step = rng.normal(size=15), 3e-3
    _, gradient = held["cost"](at)
    for k, unit in enumerate(np.eye(15)):
        ahead, behind = (held["cost"](at + s * step * unit)[0] for s in (1, -1))
        assert gradient[k] == pytest.approx((ahead - behind) / (2 * step), abs=2e-4)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    folder = tmp_path_factory.mktemp("peer")
    return pack_cohort(learnable_cohort(folder / "cohort", 160), TensorConfig(), folder / "cache")


def fit_peer(packed: PackedCohort, pairs: Pairs, config: PeerConfig = ONE) -> Peer:
    return regression.fit_peer(packed, pairs, config, seed=3)


def test_a_patient_s_own_labels_do_not_move_the_patient_s_own_logits(packed: PackedCohort) -> None:
    pairs = lay_on_pairs(packed, None)
    before = fit_peer(packed, pairs)
    for patient in np.unique(packed.patient_ids[pairs.training])[:3]:
        own = packed.patient_ids == patient
        base = np.where(own[:, None], 1 - pairs.base, pairs.base)
        after = fit_peer(packed, replace(pairs, base=base))
        assert np.array_equal(after.logit[own], before.logit[own])
        elsewhere = patient_folds(packed.patient_ids, ONE.folds, 3)
        others = pairs.training & (elsewhere != elsewhere[own][0])
        assert (after.logit[others] != before.logit[others]).any(1).all()
        test = np.asarray(packed.is_test)
        assert (after.logit[test] != before.logit[test]).any(1).all()


def test_out_of_fold_logits_are_those_of_a_fit_without_the_fold(packed: PackedCohort) -> None:
    pairs = lay_on_pairs(packed, None)
    x, fold = hand_features(packed), patient_folds(packed.patient_ids, ONE.folds, 3)
    peer, counted = fit_peer(packed, pairs), pairs.stated & pairs.training[:, None]
    for k in range(ONE.folds):
        others = pairs.training & (fold != k)
        weights = fit_regression(x[others], pairs.base[others], counted[others], 0.3, ONE)
        held = pairs.training & (fold == k)
        assert np.allclose(peer.logit[held], predict_logit(x[held], weights), atol=1e-5)
    every = pairs.training
    weights = fit_regression(x[every], pairs.base[every], counted[every], 0.3, ONE)
    assert np.allclose(peer.logit[~every], predict_logit(x[~every], weights), atol=1e-5)
    assert np.allclose(peer.probability, 1 / (1 + np.exp(-peer.logit)), atol=1e-6)
    assert peer.probability.dtype == np.float32


def test_the_penalty_with_the_least_out_of_fold_loss_is_taken(packed: PackedCohort) -> None:
    pairs = lay_on_pairs(packed, None)

    def loss(penalty: float) -> float:
        p = fit_peer(packed, pairs, replace(EXACT, penalties=(penalty,))).probability.astype(float)[pairs.member]
        y = pairs.base[pairs.member]
        return -float(np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))

    tried = (30.0, 1.0, 0.1)
    taken = fit_peer(packed, pairs, replace(EXACT, penalties=tried)).penalty
    assert taken == min(tried, key=loss)
    assert taken != 30.0


def test_the_peer_tells_test_stays_apart_and_gives_the_same_twice(packed: PackedCohort) -> None:
    pairs = lay_on_pairs(packed, None)
    peer, again = (fit_peer(packed, pairs, PeerConfig()) for _ in range(2))
    assert np.array_equal(peer.logit, again.logit)
    test = np.asarray(packed.is_test)
    present = packed.observed[test] == 1
    assert peer.logit[test][present].mean() > peer.logit[test][~present].mean() + 1


def decided(packed: PackedCohort) -> pa.Table:
    """Every fifth training stay's first label decided against its record, and one reader unsure of another."""
    rows = np.flatnonzero(~np.asarray(packed.is_test))[::5]
    value = (1 - packed.observed[rows, 0]).astype(float)
    sure = np.arange(len(rows)) > 0
    value[0] = 0.5
    return pa.table(
        {
            "stay_id": packed.stay_ids[rows], "label_key": [packed.label_keys[0]] * len(rows),
            "value": pa.array(value, pa.float32()), "locked": sure,
        }
    )  # fmt: skip


def test_pairs_as_before_any_review_are_those_without_decisions(packed: PackedCohort, tmp_path: Path) -> None:
    pairs, clean = lay_on_pairs(packed, decided(packed)), lay_on_pairs(packed, None)
    assert (pairs.base != clean.base).any()
    for found in (unreviewed(pairs), unreviewed(clean)):
        for item in fields(Pairs):
            one, other = getattr(found, item.name), getattr(clean, item.name)
            assert np.array_equal(one, other), item.name
            assert one.dtype == other.dtype, item.name
    observed = fit_peer(packed, unreviewed(pairs))
    assert np.array_equal(observed.logit, fit_peer(packed, clean).logit)
    assert not np.array_equal(observed.logit, fit_peer(packed, pairs).logit)


@pytest.mark.parametrize(
    "bad",
    [{"folds": 1}, {"iterations": 0}, {"tolerance": -1.0}, {"penalties": ()}, {"penalties": (1.0, -0.1)}],
    ids=["folds", "iterations", "tolerance", "no penalty", "negative penalty"],
)
def test_options_out_of_range_are_refused_in_one_line(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        PeerConfig(**bad)
    assert "\n" not in str(caught.value)


def test_every_option_names_its_source_and_stands_in_the_docstring() -> None:
    for item in fields(PeerConfig):
        assert item.metadata["source"]
        assert item.name in (PeerConfig.__doc__ or "")
