"""What people decided before a round, laid on its pairs: locked labels and soft targets."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.tensors import PackedCohort
from core.errors import RunError
from core.hints import Bool, Float, UInt8

COLUMNS = {"stay_id": pa.int64(), "label_key": pa.string(), "value": pa.float32(), "locked": pa.bool_()}


@dataclass(frozen=True)
class Pairs:
    """The round's pairs: what is observed, what is trained on, and which pair may be changed.

    Parameters
    ----------
    observed
        uint8 [stays, labels], the recorded labels; decisions never change them.
    known
        uint8 [stays, labels], the decision where locked, else observed.
    base
        float32 [stays, labels], "given": the decision where locked, a soft target where one reader was unsure, else
        observed.
    stated
        bool [stays, labels], pairs that the source states.
    locked
        bool [stays, labels].
    training
        bool [stays], training stays with a stated label.
    member
        bool [stays, labels]: stated, of a training stay, not locked. Mixtures are fitted on these, and these alone are
        corrected or flagged.
    """

    observed: UInt8[np.ndarray, "stays labels"]
    known: UInt8[np.ndarray, "stays labels"]
    base: Float[np.ndarray, "stays labels"]
    stated: Bool[np.ndarray, "stays labels"]
    locked: Bool[np.ndarray, "stays labels"]
    training: Bool[np.ndarray, " stays"]
    member: Bool[np.ndarray, "stays labels"]


def locks_digest(locks: pa.Table | None) -> str:
    """BLAKE2b-128 of the decisions, whatever their order, in hex; the same for None and for an empty table."""
    if locks is None or locks.num_rows == 0:
        return ""
    table = _checked(locks).sort_by([("stay_id", "ascending"), ("label_key", "ascending")])
    body = repr([table[name].to_pylist() for name in COLUMNS])
    return hashlib.blake2b(body.encode(), digest_size=16).hexdigest()


def lay_on_pairs(packed: PackedCohort, locks: pa.Table | None) -> Pairs:
    """Put decisions on the cohort's pairs.

    Parameters
    ----------
    packed
        The cohort.
    locks
        Columns stay_id, label_key, value in [0, 1], locked. A locked value is 0 or 1.

    Raises
    ------
    RunError
        When a column is missing, a pair comes twice or is none of the round's, or a value is out of range.
    """
    observed, stated = np.asarray(packed.observed), np.asarray(packed.stated)
    base = observed.astype(np.float32)
    known = observed.copy()
    locked = np.zeros_like(stated)
    if locks is not None and locks.num_rows:
        table = _checked(locks)
        stays, ids = np.asarray(packed.stay_ids), table["stay_id"].to_numpy()
        rows = np.searchsorted(stays, ids).clip(max=len(stays) - 1)
        columns = pc.fill_null(pc.index_in(table["label_key"], value_set=pa.array(packed.label_keys)), -1).to_numpy()
        value, sure = table["value"].to_numpy(), table["locked"].to_numpy(zero_copy_only=False)
        strangers = int(((stays[rows] != ids) | (columns < 0)).sum())
        if strangers or not stated[rows, columns].all():
            came = f"{strangers or int((~stated[rows, columns]).sum())} that are not"
            raise RunError("decisions on this cohort's stated pairs", came, "use the cohort they were made on")
        if len(np.unique(rows * len(packed.label_keys) + columns)) != len(rows):
            raise RunError("one decision a pair", "several on one", "give the current one alone")
        if not ((value >= 0) & (value <= 1)).all() or not np.isin(value[sure], (0, 1)).all():
            raise RunError("decided values 0 or 1, unsure ones between", "others", "mend the decisions' table")
        base[rows, columns] = value
        known[rows[sure], columns[sure]] = value[sure].astype(np.uint8)
        locked[rows, columns] = sure
    training = ~np.asarray(packed.is_test) & stated.any(1)
    member = stated & training[:, None] & ~locked
    return Pairs(observed, known, base, stated, locked, training, member)


def unreviewed(pairs: Pairs) -> Pairs:
    """Give the pairs as they were before anyone decided."""
    observed = pairs.observed
    return Pairs(
        observed, observed, observed.astype(np.float32), pairs.stated, np.zeros_like(pairs.locked), pairs.training,
        pairs.stated & pairs.training[:, None],
    )  # fmt: skip


def _checked(locks: pa.Table) -> pa.Table:
    absent = [name for name in COLUMNS if name not in locks.column_names]
    if absent:
        raise RunError(f"decisions with columns {', '.join(COLUMNS)}", f"no {', '.join(absent)}", "add them")
    try:
        table = locks.select(list(COLUMNS)).cast(pa.schema(list(COLUMNS.items()))).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        raise RunError("decisions' columns as int64, text, float, bool", "other types", "cast them") from None
    if any(table[name].null_count for name in COLUMNS):
        raise RunError("decisions without empty cells", "some are empty", "leave those rows out")
    return table
