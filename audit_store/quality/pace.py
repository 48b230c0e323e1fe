"""How long reading takes: active seconds by label and by purpose, never by person but one's own.

A cell of two readers would tell each the other's pace, and a cell of one is that one's pace: cells of fewer than
`FEWEST_READERS` stay untold. Labels decided together were read once, and count once for each of their labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit_store.quality.readings import Readings
from audit_store.quality.shares import TOO_FEW

FEWEST_READERS = 3


@dataclass(frozen=True)
class Pace:
    """Seconds at work on a question: quartiles; None where there are too few readings or readers.

    Parameters
    ----------
    name
        What the readings have in common: a label key, a purpose, ``all`` or ``own``.
    n, readers
        Readings that were timed, and by how many people.
    low, median, high
        The quartiles, seconds.
    """

    name: str
    n: int
    readers: int
    low: float | None
    median: float | None
    high: float | None

    @property
    def told(self) -> bool:
        """Whether there was enough to tell."""
        return self.median is not None


def pace_of(known: Readings) -> Pace:
    """Time of all readings."""
    return _pace("all", known.acts["seconds"], known.acts["reader"])


def own_pace(known: Readings, name: str) -> Pace:
    """One person's own time; for nobody but that person."""
    mine = known.acts[known.acts["reader"] == known.names.get(name)]
    return _pace("own", mine["seconds"], mine["reader"], fewest=1)


def pace_by_purpose(known: Readings) -> list[Pace]:
    """Time by why the pair was read."""
    acts = known.acts
    return [_pace(str(name), rows["seconds"], rows["reader"]) for name, rows in acts.groupby("purpose")]


def pace_by_label(known: Readings, label_keys: Sequence[str]) -> list[Pace]:
    """Time by label, in the order given; labels that nobody read are left out."""
    each = known.acts.explode("label_keys")
    groups = dict(list(each.groupby("label_keys")))
    return [_pace(key, groups[key]["seconds"], groups[key]["reader"]) for key in label_keys if key in groups]


def _pace(name: str, seconds: pd.Series, reader: pd.Series, fewest: int = FEWEST_READERS) -> Pace:
    n, readers = len(seconds), int(reader.nunique())
    if n < TOO_FEW or readers < fewest:
        return Pace(name, n, readers, None, None, None)
    low, median, high = (float(x) for x in np.quantile(seconds.to_numpy(dtype=float), [0.25, 0.5, 0.75]))
    return Pace(name, n, readers, low, median, high)
