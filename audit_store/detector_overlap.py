"""How far a round's detectors pick the same pairs: of each one's most suspect, the share that another one picks too.

Every detector picks as many pairs as the round flagged, group by group (a label and a recorded value), among the pairs
that detectors scored. A detector that ties several pairs at its last place picks each of them by part, as a draw among
them would on average; so two detectors that tie everything share what chance gives, and not everything.
"""

import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audit_store.detectors import KEYS, WIDE

if TYPE_CHECKING:
    from audit_store.round_reader import RoundFile

FLAGS = "flags"
TWENTIETH = 0.05
KEPT_ANSWERS = 16

Floats = npt.NDArray[np.float64]

_KNOWN: dict[tuple[str, str, int], "Overlap | None"] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Overlap:
    """Which detectors pick the same pairs of one recorded value.

    Parameters
    ----------
    observed
        The recorded value of the pairs, 0 or 1.
    names
        Detectors, and `FLAGS` for the round's own choice where it flagged any; neighbours are alike.
    shares
        Of the pairs that one picks, the share that the other picks too, 0–1 [detectors, detectors]; symmetric, 1 on
        the diagonal.
    picked
        Pairs that each picks.
    pairs
        Pairs that they picked from.
    chance
        The share that two picks at random have in common.
    by_flags
        Whether each picks as many as the round flagged; else, as it flagged none, a twentieth of each group.
    """

    observed: int
    names: tuple[str, ...]
    shares: Floats
    picked: int
    pairs: int
    chance: float
    by_flags: bool

    def between(self, one: str, other: str) -> float:
        """Give the share that two have in common."""
        return float(self.shares[self.names.index(one), self.names.index(other)])

    def pairs_of_detectors(self) -> list[tuple[str, str, float]]:
        """Give each two and the share that they have in common, most alike first."""
        rows, columns = np.triu_indices(len(self.names), 1)
        found = [(self.names[i], self.names[j], float(self.shares[i, j])) for i, j in zip(rows, columns, strict=True)]
        return sorted(found, key=lambda two: -two[2])


def overlap(round_file: "RoundFile", observed: int) -> Overlap | None:
    """Tell which detectors of a round pick the same pairs; kept, as a round's file never changes.

    Parameters
    ----------
    round_file
        The round.
    observed
        The recorded value of the pairs to look at, 0 or 1.

    Returns
    -------
    Overlap or None
        None where fewer than two detectors scored pairs recorded so.
    """
    key = (str(round_file.path), str(round_file.digest["blake2b"]), observed)
    with _LOCK:
        if key in _KNOWN:
            return _KNOWN[key]
    made = _overlap(round_file, observed)
    with _LOCK:
        while len(_KNOWN) >= KEPT_ANSWERS:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = made
    return made


def _overlap(round_file: "RoundFile", observed: int) -> Overlap | None:
    names = [name for name in round_file.columns(WIDE) if name not in KEYS]
    if len(names) < 2:
        return None
    columns = ", ".join(f"w.{name}" for name in names)
    rows = round_file.arrow(
        f"SELECT w.label_id, f.stay_id IS NOT NULL AS flagged, {columns} FROM {WIDE} w LEFT JOIN flag f ON "
        "f.label_id = w.label_id AND f.stay_id = w.stay_id WHERE w.observed = ? ORDER BY w.label_id",
        values=(observed,),
    )
    if not rows.num_rows:
        return None
    labels = rows["label_id"].to_numpy()
    flagged = rows["flagged"].to_numpy().astype(bool)
    starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    edges = [int(start) for start in starts] + [len(labels)]
    groups = list(pairwise(edges))
    by_flags = bool(flagged.any())
    wanted = [_wanted(flagged[a:b], by_flags) for a, b in groups]
    chosen = {name: _chosen(rows[name].to_numpy(), groups, wanted) for name in names}
    if by_flags:
        chosen[FLAGS] = flagged.astype(float)
    chosen = {name: column for name, column in chosen.items() if column.any()}
    if len(chosen) < 2:
        return None
    shares = _shares(np.column_stack(list(chosen.values())))
    order = _alike(shares)
    found = list(chosen)
    picked = sum(wanted)
    chance = sum(k * k / (b - a) for (a, b), k in zip(groups, wanted, strict=True)) / picked
    return Overlap(
        observed, tuple(found[i] for i in order), shares[np.ix_(order, order)], picked, len(labels), chance, by_flags
    )


def _wanted(flagged: npt.NDArray[np.bool_], by_flags: bool) -> int:
    """How many pairs each picks in a group: as many as are flagged, or a twentieth."""
    return int(flagged.sum()) if by_flags else round(TWENTIETH * len(flagged))


def _chosen(score: npt.NDArray[np.float32], groups: list[tuple[int, int]], wanted: list[int]) -> Floats:
    """Mark what a detector picks: 1 for its highest scores of a group, a part for those that tie at the last place."""
    made = np.zeros(len(score))
    for (a, b), k in zip(groups, wanted, strict=True):
        here = score[a:b]
        scored = ~np.isnan(here)
        k = min(k, int(scored.sum()))
        if not k:
            continue
        cut = -np.partition(-here[scored], k - 1)[k - 1]
        above, level = scored & (here > cut), scored & (here == cut)
        made[a:b][above] = 1.0
        made[a:b][level] = (k - above.sum()) / level.sum()
    return made


def _shares(chosen: Floats) -> Floats:
    """Pairs that two have in common, of those that the one with fewer picks [detectors, detectors]."""
    any_of = chosen[chosen.any(axis=1)]
    sizes = any_of.sum(axis=0)
    shares = (any_of.T @ any_of) / np.minimum.outer(sizes, sizes)
    np.fill_diagonal(shares, 1.0)
    return np.asarray(shares)


def _alike(shares: Floats) -> list[int]:
    """Put those that pick alike beside each other: the leaves of a tree by mean distance, best turned."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # take their time to load: not before somebody asks
    from scipy.spatial.distance import squareform

    apart = 1.0 - (shares + shares.T) / 2
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(np.clip(apart, 0.0, 1.0), checks=False), "average", optimal_ordering=True)
    return [int(place) for place in leaves_list(tree)]
