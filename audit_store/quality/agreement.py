"""Agreement of readers: Krippendorff's alpha over all of them, Cohen's kappa for each two, with bootstrap intervals.

Both are 1 − Dₒ/Dₑ, observed disagreement over that expected by chance. All they need of the answers are sums that add
up over patients (coincidences; margins), so a bootstrap over patients is one matrix product.

Nominal alpha (Krippendorff 2011): a pair that m ≥ 2 readers answered, n_c of them with value c, adds
Σ_c n_c(m − n_c)/(m − 1) to the disagreeing coincidences and n_c to the margins; with n answers in all,
alpha = 1 − (n − 1) · disagreeing / Σ_c N_c(n − N_c). Pairs with one answer add nothing, so missing answers are allowed.

Kappa (Cohen 1960) for two readers: 1 − (1 − pₒ)/(1 − pₑ), pₑ from each one's own margins.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit_store.quality.shares import TAIL, TOO_FEW, ratio_interval

DRAWS = 1000
SEED = 20261121

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of agreement, 1 for perfect, 0 for chance, with its 95 % interval.

    Parameters
    ----------
    n
        Pairs that two readers or more answered.
    agreed
        How many of them all their readers answered alike.
    clusters
        Patients they came from.
    value, low, high
        None where there are fewer than `TOO_FEW` pairs, or all answers are the same, so that chance can't be told.
    """

    n: int
    agreed: int
    clusters: int
    value: float | None
    low: float | None
    high: float | None

    @property
    def few(self) -> bool:
        """Whether there are fewer shared pairs than can be told of."""
        return self.n < TOO_FEW


def alpha(counts: Array, cluster: Array | None = None, draws: int = DRAWS) -> Coefficient:
    """Krippendorff's alpha for nominal answers.

    Parameters
    ----------
    counts
        How many readers gave each answer, whole numbers [pairs, answers]; pairs with one answer are left out.
    cluster
        Patient of each pair [pairs]; each its own where None.
    draws
        Bootstrap samples of patients.
    """
    counts, patients = _shared(counts, cluster)
    many = counts.sum(1)
    apart = (counts * (many[:, None] - counts)).sum(1) / np.maximum(many - 1, 1)
    agreed = int((counts.max(1, initial=0) == many).sum())
    return _told(np.column_stack([apart, counts]), many, patients, _alpha, agreed, draws)


def kappa(first: Array, second: Array, values: int, cluster: Array | None = None, draws: int = DRAWS) -> Coefficient:
    """Cohen's kappa of two readers.

    Parameters
    ----------
    first, second
        Each one's answer to the same pairs, whole numbers from 0 below `values` [pairs].
    values
        How many answers there are.
    cluster, draws
        As for `alpha`.
    """
    one = np.eye(values)[np.asarray(first, dtype=int)]
    two = np.eye(values)[np.asarray(second, dtype=int)]
    patients = np.arange(len(one)) if cluster is None else np.asarray(cluster)
    apart = (np.asarray(first) != np.asarray(second)).astype(float)
    agreed = int((apart == 0).sum())
    return _told(np.column_stack([apart, one, two]), np.ones(len(one)), patients, _kappa, agreed, draws)


def _shared(counts: Array, cluster: Array | None) -> tuple[Floats, Array]:
    every = np.atleast_2d(np.asarray(counts, dtype=float))
    patients = np.arange(len(every)) if cluster is None else np.asarray(cluster)
    shared = every.sum(1) >= 2
    return every[shared], patients[shared]


def _alpha(sums: Floats) -> Floats:
    """Alpha of sums over pairs: disagreeing coincidences, then each answer's count [samples, 1 + answers]."""
    margins = sums[..., 1:]
    n = margins.sum(-1)
    chance = (margins * (n[..., None] - margins)).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(chance > 0, 1 - (n - 1) * sums[..., 0] / chance, np.nan))


def _kappa(sums: Floats) -> Floats:
    """Kappa of sums over pairs: disagreements, then each reader's counts [samples, 1 + 2 answers]."""
    values = (sums.shape[-1] - 1) // 2
    one, two = sums[..., 1 : 1 + values], sums[..., 1 + values :]
    n = one.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = 1 - (one * two).sum(-1) / n**2
        return np.asarray(np.where(chance > 0, 1 - sums[..., 0] / n / chance, np.nan))


def _told(
    parts: Floats, answers: Floats, patients: Array, statistic: Callable[[Floats], Floats], agreed: int, draws: int
) -> Coefficient:
    """Give the coefficient with its interval, or without figures where there is too little."""
    n = len(parts)
    names, place = np.unique(patients, return_inverse=True)
    k = len(names)
    if n < TOO_FEW:
        return Coefficient(n, agreed, k, None, None, None)
    sums = np.zeros((k, parts.shape[1]))
    np.add.at(sums, place, parts)
    value = float(statistic(sums.sum(0)))
    if not np.isfinite(value):
        return Coefficient(n, agreed, k, None, None, None)
    drawn = _bootstrap(sums, statistic, draws)
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL]) if len(drawn) else (value, value)
    least, most = _exact(parts, answers, patients, statistic)
    return Coefficient(n, agreed, k, value, max(-1.0, min(float(low), least)), min(1.0, max(float(high), most)))


def _bootstrap(sums: Floats, statistic: Callable[[Floats], Floats], draws: int) -> Floats:
    """Draw patients with replacement, `draws` times; the samples in which chance can't be told are left out."""
    rng = np.random.default_rng(SEED)
    drawn = statistic(rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), draws) @ sums)
    return drawn[np.isfinite(drawn)]


def _exact(
    parts: Floats, answers: Floats, patients: Array, statistic: Callable[[Floats], Floats]
) -> tuple[float, float]:
    """Give the coefficient at the ends of the disagreement's own exact interval, chance as in the sample.

    With few disagreements a bootstrap never draws more than the sample has, with none it is a point: simulated
    intervals of nominal 95 % then covered in 78 to 92 %. They are widened to these ends.
    """
    _, low, high = ratio_interval(parts[:, 0] / answers, answers, patients)
    ends = np.repeat(parts.sum(0)[None], 2, axis=0)
    ends[:, 0] = np.array([high, low]) * answers.sum()
    least, most = statistic(ends)
    return float(least), float(most)
