"""The cleaned labels as a matrix, stays by labels: what every form but the long one is made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.round_reader import RoundFile

UNSTATED = -1
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matrix:
    """Cleaned labels of the stays that have any.

    Parameters
    ----------
    stay_id
        Ascending, int64 [stays].
    values
        1 present, 0 absent, `UNSTATED` not stated, int8 [stays, labels].
    keys, names
        Key and published name of each label, in the round's order.
    """

    stay_id: Ints
    values: npt.NDArray[np.int8]
    keys: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def whole(self) -> npt.NDArray[np.bool_]:
        """Whether every label of a stay is stated, bool [stays]."""
        return np.asarray((self.values != UNSTATED).all(axis=1))

    def rows_of(self, stay_id: Ints) -> Ints:
        """Row of each stay; -1 for a stay without any stated label."""
        if not len(self.stay_id):
            return np.full(len(stay_id), -1)
        place = np.minimum(np.searchsorted(self.stay_id, stay_id), len(self.stay_id) - 1)
        return np.where(self.stay_id[place] == stay_id, place, -1)

    def columns(self, rows: Ints) -> list[pa.Array]:
        """Give a column (uint8, null where not stated) per label for these rows; -1 is a row without any."""
        if not len(self.stay_id):
            return [pa.nulls(len(rows), pa.uint8()) for _ in self.keys]
        taken = self.values[rows]
        taken[rows < 0] = UNSTATED
        return [pa.array(column.astype(np.uint8), mask=column == UNSTATED) for column in taken.T]


def matrix_of(long: pa.Table, round_file: RoundFile) -> Matrix:
    """Turn the long form, sorted by stay, into a matrix; O(pairs) in time and memory.

    Parameters
    ----------
    long
        `audit_store.schema.LONG`.
    """
    keys = tuple(round_file.label_ids)
    stays = long["stay_id"].to_numpy()
    first = np.ones(len(stays), dtype=bool)
    first[1:] = stays[1:] != stays[:-1]
    values = np.full((int(first.sum()), len(keys)), UNSTATED, dtype=np.int8)
    values[np.cumsum(first) - 1, label_codes(long["label"], keys)] = long["cleaned"].to_numpy()
    return Matrix(stays[first], values, keys, tuple(round_file.label_names.values()))


def label_codes(labels: Any, keys: tuple[str, ...]) -> Ints:
    """Place of each label key among `keys`, int64 [rows]."""
    return np.asarray(pc.index_in(labels, value_set=pa.array(keys, pa.string())).to_numpy(), dtype=np.int64)
