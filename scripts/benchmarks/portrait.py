"""What one run looks like from inside, with the truth beside it: the numbers behind the paper's figures 5, 6 and 7.

    miracl benchmark portrait --noise sym20

trains one network and keeps histograms and means, never a pair: a file of some 30 kB that `figures` draws.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.errors import ConfigError
from core.fileio import replacing
from core.options import build_options
from core.selection.difficulty import rank_within_stay
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.traces import Traces

CLASSES = ("negative", "positive")
METRICS = ("loss", "rank", "difficulty", "score")
BINS = 25
RAREST = 5
"""Labels whose mixtures are drawn, as in the paper's figure 7."""


@dataclass(frozen=True)
class Histogram:
    """Shares of a group's pairs in bins of equal width; `wrong` None means both."""

    metric: str
    observed_class: str
    wrong: bool | None
    low: float
    high: float
    n: int
    share: tuple[float, ...]


@dataclass(frozen=True)
class CourseOf:
    """A metric's mean over a group of pairs, epoch by epoch."""

    metric: str
    observed_class: str
    wrong: bool
    mean: tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """The two components fitted to a group's scores, and the scores; no components where it was left alone."""

    label: str
    observed_class: str
    right: Histogram
    wrong: Histogram
    mean: tuple[float, float] | None
    sd: tuple[float, float] | None
    weight: tuple[float, float] | None


@dataclass(frozen=True)
class Portrait:
    """One run.

    Parameters
    ----------
    method, noise, seed, cohort, size, commit
        Which.
    distributions
        Of each metric at the end of training, right and wrong labels apart.
    courses
        Of loss, rank and difficulty over the epochs.
    mixtures
        Of the rarest labels.
    """

    method: str
    noise: str
    seed: int
    cohort: str
    size: str
    commit: str
    distributions: tuple[Histogram, ...]
    courses: tuple[CourseOf, ...]
    mixtures: tuple[Mixture, ...]


def draw_portrait(traces: Traces, truth: np.ndarray, labels: Sequence[str], **which: object) -> Portrait:
    """Summarise a run's traces with the truth beside them.

    Parameters
    ----------
    traces
        Of a finished run, its selection in them.
    truth
        uint8 [stays, labels].
    labels
        Names of the labels.
    which
        Fields of `Portrait` that say which run it is.
    """
    assert traces.selection is not None
    wrong = (traces.observed != truth) & traces.member
    groups = {
        (name, w): traces.member & (traces.observed == c) & (wrong == w)
        for c, name in enumerate(CLASSES)
        for w in (False, True)
    }
    last: dict[str, np.ndarray] = {}
    courses: dict[tuple[str, str, bool], list[float]] = {}
    for values in by_epoch(traces):
        last = values
        for metric, array in values.items():
            for (name, w), group in groups.items():
                courses.setdefault((metric, name, w), []).append(float(array[group].mean()) if group.any() else 0.0)
    last["score"] = traces.selection.score
    distributions = []
    for metric in METRICS:
        low, high = (float(f(last[metric][traces.member], p)) for f, p in ((np.quantile, 0.0), (np.quantile, 0.995)))
        distributions += [
            histogram(metric, name, w, last[metric][group], low, max(high, low + 1e-6))
            for (name, w), group in groups.items()
        ]
    return Portrait(
        **which,  # type: ignore[arg-type]
        distributions=tuple(distributions),
        courses=tuple(
            CourseOf(metric, name, w, tuple(means))
            for (metric, name, w), means in courses.items()
            if groups[name, w].any()
        ),
        mixtures=tuple(_mixtures(traces, groups, labels)),
    )


def by_epoch(traces: Traces) -> Iterator[dict[str, np.ndarray]]:
    """Loss, rank and difficulty (mean run lengths) of every pair, epoch by epoch."""
    dynamics = LearningDynamics(traces.observed.shape)
    sign = 1 - 2 * traces.observed.astype(np.float32)
    for logits in traces.logits:
        z = logits.astype(np.float32)
        p = 1 / (1 + np.exp(-z))
        dynamics.update(correct_predictions(p, traces.observed))
        yield {
            "loss": np.logaddexp(0, sign * z),
            "rank": rank_within_stay(p).astype(np.float32),
            "difficulty": dynamics.difficulty("mean_seg"),
        }


def histogram(
    metric: str, observed_class: str, wrong: bool | None, values: np.ndarray, low: float, high: float
) -> Histogram:
    """Shares by bin; what lies beyond an end counts in the last bin."""
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, high))
    share = counts / max(len(values), 1)
    return Histogram(metric, observed_class, wrong, low, high, len(values), tuple(share.tolist()))


def _mixtures(traces: Traces, groups: dict[tuple[str, bool], np.ndarray], labels: Sequence[str]) -> Iterator[Mixture]:
    assert traces.selection is not None
    fitted, score = traces.selection.mixtures, traces.selection.score
    common = (traces.member & (traces.observed == 1)).sum(0)
    for label in np.argsort(common, kind="stable")[:RAREST]:
        for c, name in ((1, "positive"), (0, "negative")):
            right, wrong = (
                histogram("score", name, w, score[groups[name, w][:, label], label], 0.0, 1.0) for w in (False, True)
            )
            if fitted.degenerate[label, c]:
                yield Mixture(labels[label], name, right, wrong, None, None, None)
                continue
            mean, sd, weight = (
                (float(clean[label, c]), float(noisy[label, c]))
                for clean, noisy in (
                    (fitted.mean_clean, fitted.mean_noisy),
                    (fitted.sd_clean, fitted.sd_noisy),
                    (fitted.weight_clean, fitted.weight_noisy),
                )
            )
            yield Mixture(labels[label], name, right, wrong, mean, sd, weight)


def save_portrait(portrait: Portrait, folder: Path) -> Path:
    """Keep it as JSON, named by method and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"portrait-{portrait.method}-{portrait.noise}.json"
    with replacing(target) as path:
        path.write_text(json.dumps(rounded(asdict(portrait)), indent=None, separators=(",", ":")), encoding="utf-8")
    target.chmod(0o644)
    return target


def rounded(value: object) -> object:
    """Floats to six figures, so that files stay small and the same."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def load_portraits(folder: Path) -> list[Portrait]:
    """Every portrait of a folder, by name."""
    return [
        build_options(Portrait, json.loads(path.read_text(encoding="utf-8")), path.name)
        for path in sorted(folder.glob("portrait-*.json"))
    ]


def paint(
    method: str,
    noise: str,
    *,
    seed: int = 0,
    stays: int = 4000,
    epochs: int = 30,
    size: str = "compact",
    device: str = "cpu",
    cache: Path,
    out: Path,
) -> Path:
    """Train one network on invented patients with planted noise and save its portrait in `out`; the file."""
    from core.fit import fit
    from core.training import choose_device
    from scripts.benchmarks.cohorts import synthetic_name
    from scripts.benchmarks.machine import machine
    from scripts.benchmarks.methods import compared
    from scripts.benchmarks.robustness import Plan, jobs
    from scripts.benchmarks.runner import Place
    from scripts.benchmarks.scene import set_scene

    if compared(method).kind != "network":
        raise ConfigError("a method that trains a network", repr(method), "a portrait shows how a network learns")
    cohort, device = synthetic_name(stays), choose_device(device).type
    plan = Plan((method,), (noise,), (seed,), cohort, size, epochs, Place(cache, None, device))
    scene, packed = set_scene(jobs(plan)[0])
    fitted = fit(packed, scene.pairs, scene.config, seed=seed, place=choose_device(device))
    assert fitted is not None
    names = [label["name"] for label in scene.prepared.cohort.manifest["labels"]]
    drawn = draw_portrait(
        fitted.traces, scene.planted.truth, names, method=method, noise=noise, seed=seed, cohort=cohort, size=size,
        commit=machine()["commit"],
    )  # fmt: skip
    return save_portrait(drawn, out)
