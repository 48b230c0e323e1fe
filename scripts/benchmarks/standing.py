"""Where a method stands among the others: the share of the gap it closes, and tests against the second best.

Seeds pair up: a seed names patients, weights and noise, and is the same for every method. Replicates of the bootstrap
pair up too, since every method of a (cohort, seed) was scored on the same resampled patients.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.compare import Summary, TTest, holm, mean_sd, paired_test, percentile_interval, welch_test
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.rows import Row
from scripts.benchmarks.tables import by_seed, noises_of

BASE = "bce"
ON_COURSE = "bce_course"
"""The plain network trained by the default's optimiser: what is left between the two is not the course's."""
DEFAULT = "calibrated"
"""The preset that the tables are about."""

BEST_EPOCH = "bce_best_epoch"
CLEAN = "clean"
SMALLEST_GAP = 0.005
"""A gap between clean and noisy training below this is seed noise (methods.md A.10); a share of it says nothing."""


@dataclass(frozen=True)
class Standing:
    """A method against the best of the others under one noise.

    Parameters
    ----------
    noise, rival
        Which noise, and who is the best of the others by mean mAP.
    own, other
        Both over the seeds that both have.
    welch, paired
        One-sided tests that the method is ahead, over seeds.
    welch_holm, paired_holm
        Their p after Holm's correction over the noises of the table; NaN where there was no test.
    low, high
        95 % interval of the difference over test patients, the mean over the seeds that both have.
    """

    noise: str
    rival: str
    own: Summary
    other: Summary
    welch: TTest
    paired: TTest
    welch_holm: float
    paired_holm: float
    low: float
    high: float


def with_best_epoch(rows: Iterable[Row]) -> list[Row]:
    """Put in the oracle's rows: the plain network at its best epoch on the clean test labels, which nobody has."""
    kept = [row for row in rows if row["method"] != BEST_EPOCH]
    oracle = [
        {**row, "method": BEST_EPOCH, "map": row["map_best"], "bootstrap": None, "accuracy_after": None}
        for row in kept
        if row["method"] == BASE
    ]
    return kept + oracle


def rivals_of(rows: Iterable[Row], method: str, kinds: Sequence[str] = ("network",)) -> list[str]:
    """Every other method of these kinds that has rows; oracles are none."""
    present = dict.fromkeys(row["method"] for row in rows)
    return [name for name in present if name != method and name in METHODS and METHODS[name].kind in kinds]


def of(rows: Iterable[Row], method: str, noise: str) -> list[Row]:
    """A method's rows under one noise."""
    return [row for row in rows if row["method"] == method and row["noise"] == noise]


def gap_closed(rows: Sequence[Row], method: str, noise: str, base: str = BASE) -> float:
    """(mAP - BCE's on the noisy labels)/(BCE's on clean ones - BCE's on the noisy ones), means over common seeds.

    `base` is whose BCE: `BASE`, or `ON_COURSE`. NaN without common seeds, and where the gap is below `SMALLEST_GAP`.
    """
    own, noisy, clean = (
        by_seed(of(rows, name, where), "map") for name, where in ((method, noise), (base, noise), (base, CLEAN))
    )
    seeds = own.keys() & noisy.keys() & clean.keys()
    gap = sum(clean[s] - noisy[s] for s in seeds)
    if not seeds or gap / len(seeds) < SMALLEST_GAP:
        return float("nan")
    return sum(own[s] - noisy[s] for s in seeds) / gap


def best_of(rows: Sequence[Row], names: Iterable[str], noise: str, measure: str = "map") -> str | None:
    """Which of the methods has the highest mean; the first of equal ones, None where none has a figure."""
    means = {name: mean_sd(list(by_seed(of(rows, name, noise), measure).values())).mean for name in names}
    known = {name: value for name, value in means.items() if not np.isnan(value)}
    return max(known, key=lambda name: known[name]) if known else None


def standings(rows: Sequence[Row], method: str, rivals: Sequence[str], noises: Sequence[str]) -> list[Standing]:
    """Hold a method against the best of its rivals under each noise in which both have runs, seed by seed.

    A rival that lacks seeds is held against the method's runs of those it has.
    """
    found = []
    for noise in noises:
        mine = of(rows, method, noise)
        lead = {name: mean_difference(of(rows, name, noise), mine) for name in rivals}
        known = {name: value for name, value in lead.items() if not np.isnan(value)}
        if not known:
            continue
        rival = max(known, key=lambda name: known[name])
        found.append((noise, rival, *_held(mine, of(rows, rival, noise))))
    welch = holm([w.p for *_, w, _, _ in found])
    paired = holm([p.p for *_, p, _ in found])
    return [
        Standing(noise, rival, own, other, w, p, float(welch[k]), float(paired[k]), low, high)
        for k, (noise, rival, own, other, w, p, (low, high)) in enumerate(found)
    ]


def mean_difference(one: Sequence[Row], other: Sequence[Row], measure: str = "map") -> float:
    """Mean of a measure's difference over the seeds that both have; NaN without any."""
    a, b = by_seed(one, measure), by_seed(other, measure)
    return mean_sd([a[s] - b[s] for s in sorted(a.keys() & b.keys())]).mean


def _held(mine: Sequence[Row], theirs: Sequence[Row]) -> tuple[Summary, Summary, TTest, TTest, tuple[float, float]]:
    a, b = by_seed(mine, "map"), by_seed(theirs, "map")
    seeds = sorted(a.keys() & b.keys())
    left, right = [a[s] for s in seeds], [b[s] for s in seeds]
    tests = welch_test(left, right), paired_test(left, right)
    return mean_sd(left), mean_sd(right), *tests, patient_interval(mine, theirs)


def patient_interval(mine: Sequence[Row], theirs: Sequence[Row] | None = None) -> tuple[float, float]:
    """95 % interval of mAP, or of a difference of two, over resampled test patients, averaged over common seeds.

    A patient drawn twice makes average precision a little higher, so that the replicates of one method are moved to its
    figure; in a difference that cancels out.
    """
    a = _replicates(mine)
    shift = 0.0
    if theirs is not None:
        b = _replicates(theirs)
        a = {seed: a[seed] - b[seed] for seed in a.keys() & b.keys() if len(a[seed]) == len(b[seed])}
    else:
        told = by_seed(mine, "map")
        a = {seed: draws for seed, draws in a.items() if seed in told}
        shift = sum(told[seed] - float(np.nanmean(draws)) for seed, draws in a.items()) / max(len(a), 1)
    if len({len(draws) for draws in a.values()}) != 1:
        return float("nan"), float("nan")
    low, high = percentile_interval(np.mean([a[seed] for seed in sorted(a)], axis=0))
    return low + shift, high + shift


def behind(rows: Sequence[Row], method: str, rivals: Sequence[str], noises: Sequence[str], level: float) -> list[str]:
    """Name the noises and rivals behind which the method is significantly: Welch or paired, Holm over the noises."""
    told = []
    for rival in rivals:
        each = standings(rows, method, [rival], noises)
        for test in ("welch", "paired"):
            adjusted = holm([1 - getattr(standing, test).p for standing in each])
            told += [(s.noise, rival) for s, p in zip(each, adjusted, strict=True) if p < level]
    return [f"{noise}: {rival}" for noise, rival in dict.fromkeys(told)]


def noisy(rows: Iterable[Row]) -> list[str]:
    """Noises of the rows, ``clean`` left out."""
    return [name for name in noises_of(rows) if name != CLEAN]


def _replicates(rows: Iterable[Row]) -> dict[int, np.ndarray]:
    return {row["seed"]: np.asarray(row["bootstrap"], np.float64) for row in rows if row.get("bootstrap")}
