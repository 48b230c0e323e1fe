"""What review is worth: wrong labels removed as a reader goes down a list, where the truth is known.

A simulated reader always decides rightly, so the number of errors removed is the number of wrong pairs among those
read. Random order has a closed form and needs no drawing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Int, Shaped, UInt8

EVERY = 100
"""Reviews between two points of a curve, and the unit its yield is told in (benchmarks.md)."""


def random_removed(
    reviews: Shaped[np.ndarray, " points"] | float, n_wrong: int, pairs: int
) -> Shaped[np.ndarray, " points"]:
    """Errors that k reviews in random order remove on average: k·n_wrong/pairs (hypergeometric mean)."""
    k = np.asarray(reviews, np.float64)
    return np.asarray(k * n_wrong / pairs if pairs else np.full(k.shape, np.nan))


def random_removed_sd(
    reviews: Shaped[np.ndarray, " points"] | float, n_wrong: int, pairs: int
) -> Shaped[np.ndarray, " points"]:
    """Give the standard deviation of that number: √(k·q·(1-q)·(pairs-k)/(pairs-1)) with q = n_wrong/pairs."""
    k = np.asarray(reviews, np.float64)
    if pairs < 2:
        return np.zeros(k.shape)
    q = n_wrong / pairs
    return np.asarray(np.sqrt(k * q * (1 - q) * np.maximum(pairs - k, 0) / (pairs - 1)))


@dataclass(frozen=True)
class RepairCurve:
    """Errors removed by review.

    Parameters
    ----------
    reviews
        Pairs read so far, increasing, from 0.
    removed
        Wrong ones among them; not whole where pairs are tied, since it is the mean over their orders.
    n_wrong, pairs
        Wrong pairs and pairs to read, before the first review.
    """

    reviews: Int[np.ndarray, " points"]
    removed: Float[np.ndarray, " points"]
    n_wrong: int
    pairs: int

    @property
    def per_100(self) -> Float[np.ndarray, " points"]:
        """Errors removed per 100 reviews up to each point; NaN at 0."""
        return self._over(self.reviews / EVERY)

    @property
    def random(self) -> Float[np.ndarray, " points"]:
        """Errors that random order would have removed, on average."""
        return random_removed(self.reviews, self.n_wrong, self.pairs)

    @property
    def ratio_to_random(self) -> Float[np.ndarray, " points"]:
        """Errors removed over those that random order removes; NaN at 0 and where nothing is wrong."""
        return self._over(self.random)

    @property
    def area(self) -> float:
        """Area under the share of errors removed, over reviews, between 0 (nothing found) and 1 (at once).

        Trapezia between the points up to the last of them, divided by the last number of reviews; 0.5 is random order
        when everything was read. NaN where nothing is wrong or nothing was read.
        """
        if self.n_wrong == 0 or self.reviews[-1] == 0:
            return float("nan")
        return float(np.trapezoid(self.removed / self.n_wrong, self.reviews) / self.reviews[-1])

    def at(self, reviews: int) -> float:
        """Errors removed after this many reviews, straight lines between the points."""
        if not 0 <= reviews <= self.reviews[-1]:
            raise ConfigError(f"0 to {self.reviews[-1]} reviews", str(reviews), "ask within the curve")
        return float(np.interp(reviews, self.reviews, self.removed))

    def _over(self, divisor: np.ndarray) -> np.ndarray:
        return np.asarray(np.divide(self.removed, divisor, out=np.full(len(self.removed), np.nan), where=divisor > 0))


def repair_curve(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    reviews: Sequence[int] | None = None,
) -> RepairCurve:
    """Read pairs from the highest score down, and count the wrong ones.

    Parameters
    ----------
    score
        High means read first; tied pairs are read in random order, on average.
    observed, truth
        Recorded and true labels, 0 or 1.
    member
        Pairs that may be read.
    reviews
        Points of the curve; 0, 100, 200, … and the number of pairs when not given. 0 is put in.

    Raises
    ------
    ConfigError
        When a point is negative or beyond the pairs, or a score is NaN.
    """
    s, wrong = score[member], (observed != truth)[member]
    pairs = len(s)
    wanted = range(0, pairs + EVERY, EVERY) if reviews is None else reviews
    points = np.unique(np.array([0, *(min(k, pairs) if reviews is None else k for k in wanted)], np.int64))
    if points[0] < 0 or points[-1] > pairs:
        raise ConfigError(
            f"0 to {pairs} reviews", f"{points[0]} to {points[-1]}", "ask for no more pairs than there are"
        )
    if np.isnan(s).any():
        raise ConfigError("a score for every pair", "NaN", "leave those pairs out of member")
    order = np.argsort(-s, kind="stable")
    ordered = s[order]
    ends = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], np.ones(min(1, pairs), np.bool_))))
    found = np.cumsum(wrong[order], dtype=np.float64)[ends]
    removed = np.interp(points, np.concatenate(([0], ends + 1)), np.concatenate(([0.0], found)))
    return RepairCurve(points, removed, int(wrong.sum()), pairs)


def first_pairs(
    score: Float[np.ndarray, "stays labels"], member: Bool[np.ndarray, "stays labels"], n: int
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Rows and columns of the `n` members with the highest scores (or all there are), ties by row, then column."""
    rows, columns = np.nonzero(member)
    head = np.argsort(-score[rows, columns], kind="stable")[: max(n, 0)]
    return rows[head], columns[head]


def chain(curves: Sequence[RepairCurve]) -> RepairCurve:
    """Join the curves of rounds that follow one another, each on what the one before left unread.

    Parameters
    ----------
    curves
        One a round. What a round read is locked: the next has so many pairs less, and so many wrong ones less.

    Raises
    ------
    ConfigError
        When there is none, or a round's pairs are not what the one before left.
    """
    if not curves:
        raise ConfigError("a curve for each round", "none", "give one at least")
    for before, after in pairwise(curves):
        left = before.pairs - int(before.reviews[-1])
        if after.pairs != left:
            raise ConfigError(f"a round on the {left} pairs left", f"{after.pairs}", "lock what was read")
    starts = np.cumsum([0, *(int(c.reviews[-1]) for c in curves[:-1])])
    gains = np.cumsum([0.0, *(float(c.removed[-1]) for c in curves[:-1])])
    later = list(zip(starts[1:], gains[1:], curves[1:], strict=True))
    reviews = np.concatenate([curves[0].reviews, *(s + c.reviews[1:] for s, _, c in later)])
    removed = np.concatenate([curves[0].removed, *(g + c.removed[1:] for _, g, c in later)])
    return RepairCurve(reviews, removed, curves[0].n_wrong, curves[0].pairs)
