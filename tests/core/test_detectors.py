"""The detectors' contract: high means suspect, every pair has a score, nothing but traces is read."""

import ast
import importlib
import inspect
import pkgutil
from dataclasses import asdict, fields, replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from beartype import beartype

import core.detectors
from core.detectors.registry import DETECTORS, PARTS, DetectorConfig, available, scores
from core.detectors.standardise import standardised
from core.errors import ConfigError, RunError
from core.metrics.audit import detection
from core.options import build_options
from core.traces import Traces
from tests.core.planted_traces import blank_traces, planted_traces, rows_of

MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.iter_modules(core.detectors.__path__, core.detectors.__name__ + ".")
]


@pytest.fixture(scope="module")
def planted():
    return planted_traces()


@pytest.fixture(scope="module")
def found(planted):
    return scores(planted.traces, [*DETECTORS, *PARTS])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_finds_planted_errors_in_both_classes(planted, found, name):
    told = detection(found[name], planted.traces.observed, planted.truth, planted.traces.member)
    assert told["positive"].auroc > 0.6
    assert told["negative"].auroc > 0.6
    assert told["positive"].labels_scored == told["negative"].labels_scored == 5


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_no_noise_score_stands_outside_the_registry(planted, found, name):
    told = detection(found[name], planted.traces.observed, planted.truth, planted.traces.member)
    assert min(told["positive"].auroc, told["negative"].auroc) < 0.6
    assert name not in DETECTORS


@pytest.mark.parametrize("name", [*DETECTORS, *PARTS])
def test_every_pair_has_a_finite_score_test_stays_and_unstated_pairs_too(planted, found, name):
    assert (~planted.traces.stated).any()
    assert found[name].dtype == np.float32
    assert found[name].shape == planted.traces.observed.shape
    assert np.isfinite(found[name]).all()


@pytest.mark.parametrize("name", [*DETECTORS, *PARTS])
def test_stays_in_another_order_have_the_same_scores(planted, found, name):
    order = np.random.default_rng(3).permutation(len(planted.traces.patient))
    again = scores(rows_of(planted.traces, order), [name])[name]
    np.testing.assert_allclose(again, found[name][order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*DETECTORS, *PARTS])
def test_the_same_traces_give_the_same_scores_and_are_left_as_they_were(planted, found, name):
    before = [np.array(getattr(planted.traces, f.name), copy=True) for f in fields(Traces) if f.name != "selection"]
    np.testing.assert_array_equal(scores(planted.traces, [name])[name], found[name])
    after = [getattr(planted.traces, f.name) for f in fields(Traces) if f.name != "selection"]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_label_nobody_has_and_one_that_everybody_has_are_scored_without_complaint(planted, name):
    observed = planted.traces.observed.copy()
    observed[:, 0], observed[:, 1] = 0, 1
    member = planted.traces.member.copy()
    member[:, 2] = False
    score = scores(replace(planted.traces, observed=observed, member=member), [name])[name]
    assert np.isfinite(score).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_single_stay_is_scored(planted, name):
    lone = rows_of(planted.traces, np.flatnonzero(planted.traces.member.all(1))[:1])
    assert np.isfinite(scores(lone, [name])[name]).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_a_cohort_without_any_member_is_scored(planted, name):
    nobody = replace(planted.traces, member=np.zeros_like(planted.traces.member))
    assert np.isfinite(scores(nobody, [name])[name]).all()


def test_what_the_traces_lack_is_left_out_and_asking_for_it_says_so(planted):
    bare = replace(planted.traces, selection=None, out_of_fold=None)
    assert set(DETECTORS) - set(available(bare)) == {"miracl_score", "rank", "difficulty", "confident_learning"}
    assert tuple(scores(bare)) == available(bare)
    with pytest.raises(ConfigError, match="out_of_fold"):
        scores(bare, ["confident_learning"])
    with pytest.raises(ConfigError, match="among miracl_score"):
        scores(bare, ["tea_leaves"])
    with pytest.raises(RunError):
        DETECTORS["rank"].function(bare, DetectorConfig())
    with pytest.raises(RunError):
        DETECTORS["confident_learning"].function(bare, DetectorConfig())


def test_a_diverged_course_is_an_error_not_a_score():
    logits = np.full((1, 2, 1), np.nan, np.float16)
    with pytest.raises(RunError, match="finite scores of loss"):
        scores(blank_traces(logits, np.zeros((2, 1))), ["loss"])


def test_no_epoch_is_an_error_that_says_so():
    with pytest.raises(RunError, match="at least one epoch"):
        scores(blank_traces(np.zeros((0, 2, 1)), np.zeros((2, 1))), ["mild"])


def test_every_detector_has_a_name_a_title_and_a_family():
    everyone = DETECTORS | PARTS
    assert len(everyone) == len(DETECTORS) + len(PARTS)
    assert all(name == detector.name for name, detector in everyone.items())
    assert len({detector.title for detector in everyone.values()}) == len(everyone)
    assert {d.family for d in everyone.values()} == {"miracl", "course", "peer", "patients", "visits"}


def test_options_come_back_from_plain_types():
    config = DetectorConfig()
    assert build_options(DetectorConfig, asdict(config), "detectors") == config


def test_standardised_scores_are_places_among_the_members_of_label_and_class():
    score = np.array([[1.0], [2.0], [2.0], [9.0], [5.0], [0.0]], np.float32)
    observed = np.array([[1], [1], [1], [1], [0], [1]], np.uint8)
    member = np.array([[1], [1], [1], [1], [0], [0]], np.bool_)
    told = standardised(score, observed, member)
    np.testing.assert_allclose(told[:, 0], [0.125, 0.5, 0.5, 0.875, 0.0, 0.0])


def test_standardising_keeps_the_order_within_a_group(planted, found):
    told = standardised(found["aum"], planted.traces.observed, planted.traces.member)
    for label in range(5):
        for value in (0, 1):
            rows = planted.traces.member[:, label] & (planted.traces.observed[:, label] == value)
            order = np.argsort(found["aum"][rows, label], kind="stable")
            assert (np.diff(told[rows, label][order]) >= 0).all()
            assert told[rows, label].mean() == pytest.approx(0.5)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_detectors_import_nothing_that_holds_the_truth_and_take_no_parameter_for_it(module):
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [n for n in names if n.startswith(("core.metrics", "core.noise", "core.cohort", "core.evidence"))]
    for thing in vars(module).values():
        if inspect.isfunction(thing) and thing.__module__ == module.__name__:
            parameters = set(inspect.signature(thing).parameters)
            assert not parameters & {"truth", "true", "clean", "flipped", "gold", "evidence"}


def test_the_shapes_that_signatures_state_hold(monkeypatch, planted):
    for home in MODULES:
        for name, thing in list(vars(home).items()):
            if inspect.isfunction(thing) and thing.__module__ == home.__name__ and not name.startswith("_"):
                guarded = jaxtyping.jaxtyped(typechecker=beartype)(thing)
                for module in MODULES:
                    if vars(module).get(name) is thing:
                        monkeypatch.setattr(module, name, guarded)
    few = rows_of(planted.traces, np.arange(40))
    registry = importlib.import_module("core.detectors.registry")
    for name, score in registry.scores(few, [*DETECTORS, *PARTS]).items():
        assert score.shape == few.observed.shape, name
