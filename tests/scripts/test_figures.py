"""Figures are drawn of whatever rows there are, the same bytes each time; portraits summarise and come back."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.selection.mixture import MixtureConfig
from core.selection.partition import select
from core.traces import Traces
from scripts.benchmarks.figures import charts_say, write_figures
from scripts.benchmarks.portrait import draw_portrait, histogram, load_portraits, save_portrait
from tests.scripts.benchmark_rows import chart_rows, row, runs

WHICH = {"method": "bce", "noise": "sym20", "seed": 0, "cohort": "synthetic-300", "size": "compact", "commit": "0"}


def a_run(stays=300, labels=6, epochs=6):
    rng = np.random.default_rng(0)
    truth = (rng.random((stays, labels)) < 0.3).astype(np.uint8)
    observed = truth ^ (rng.random(truth.shape) < 0.2).astype(np.uint8)
    belief = 3 * (truth - 0.5)
    logits = np.stack([belief * t / epochs + rng.normal(0, 1, truth.shape) for t in range(1, epochs + 1)])
    member = np.ones(truth.shape, bool)
    dynamics = LearningDynamics(truth.shape)
    for z in logits:
        p = (1 / (1 + np.exp(-z))).astype(np.float32)
        dynamics.update(correct_predictions(p, observed))
    selection = select(p, observed, member, dynamics, SelectionConfig(), MixtureConfig())
    traces = Traces(
        logits=logits.astype(np.float16), feature_norm=np.ones((epochs, stays), np.float32),
        embedding=np.zeros((stays, 2), np.float32), observed=observed, member=member, stated=member,
        patient=np.arange(stays), visit=np.ones(stays, np.int32), persistence=("acute",) * labels, selection=selection,
    )  # fmt: skip
    return traces, truth


@pytest.fixture(scope="module")
def portrait():
    traces, truth = a_run()
    return draw_portrait(traces, truth, [f"Label {k}" for k in range(6)], **WHICH)


def test_a_histogram_counts_what_lies_beyond_in_its_last_bins():
    got = histogram("loss", "positive", True, np.array([-1.0, 0.0, 0.5, 9.0]), 0.0, 1.0)
    assert (got.share[0], got.share[-1], sum(got.share), got.n) == (0.5, 0.25, 1.0, 4)
    assert sum(histogram("loss", "positive", True, np.array([]), 0.0, 1.0).share) == 0


def test_a_portrait_holds_every_pair_once_and_each_course_to_its_end(portrait):
    for metric in ("loss", "rank", "difficulty", "score"):
        held = [h for h in portrait.distributions if h.metric == metric]
        assert sum(h.n for h in held) == 300 * 6
        assert all(sum(h.share) == pytest.approx(1) for h in held)
    traces, truth = a_run()
    wrong = (traces.observed == 1) & (truth == 0)
    course = next(c for c in portrait.courses if (c.metric, c.observed_class, c.wrong) == ("loss", "positive", True))
    z = traces.logits[-1].astype(float)
    assert course.mean[-1] == pytest.approx(np.log1p(np.exp(-z[wrong])).mean(), rel=1e-4)
    assert len(course.mean) == 6
    assert len(portrait.mixtures) == 10


def test_a_portrait_comes_back_from_its_file_and_holds_no_pair(portrait, tmp_path):
    path = save_portrait(portrait, tmp_path)
    (back,) = load_portraits(tmp_path)
    assert save_portrait(back, tmp_path / "again").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 40_000
    assert [m.label for m in back.mixtures] == [m.label for m in portrait.mixtures]


def test_every_figure_is_drawn_and_is_the_same_bytes_again(portrait, tmp_path):
    curve = {"map_by_epoch": [0.2, 0.3, 0.35]}
    tables = {
        "robustness": [*runs("bce", "clean", [0.5, 0.5], **curve), *runs("bce", "sym20", [0.4, 0.4], **curve)],
        "detection": [
            row("detection", detector="aum", observed_class=c, n=50, n_wrong=10, precision_at_recall=[0.9, 0.5, 0.2])
            for c in ("positive", "negative")
        ],
        "repair": [
            row("repair", order=order, reviewed=k, repaired=k / 2, wrong_before=200, pairs=1000)
            for order in ("loss", "random")
            for k in (0, 100)
        ],
        "evidence": chart_rows(),
    }
    first, again = (write_figures(tables, tmp_path / name, [portrait]) for name in ("a", "b"))
    assert [path.stem for path in first] == [
        "distributions_bce_sym20", "metric_courses_bce_sym20", "mixtures_bce_sym20", "map_by_epoch",
        "precision_recall", "repair", "evidence",
    ]  # fmt: skip
    assert next(iter(first.values())) == "What pairs score at the end: BCE (FlexCare backbone), symmetric .2, seed 0"
    for path, other in zip(first, again, strict=True):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert path.read_bytes() == other.read_bytes()


def test_what_charts_say_stands_where_the_shares_are():
    figure = charts_say(chart_rows())
    (panel,) = figure.axes
    marks = {line.get_label(): line.get_xdata()[0] for line in panel.lines if len(line.get_xdata()) == 1}
    assert marks == {
        "the method's pairs": pytest.approx(0.4), "others recorded alike": pytest.approx(0.25),
        "recorded the other way": pytest.approx(0.8),
    }  # fmt: skip


def test_without_rows_there_are_no_figures(tmp_path):
    assert write_figures({}, tmp_path) == {}
