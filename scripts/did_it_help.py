"""Did the decisions help? A round and its twin, trained alike but without the decisions, on the same held-out stays.

Held-out stays are never trained on. Where a reader decided one of their labels for sure, both are measured against the
decision, else against the record.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.schema import COMPARISON
from core.errors import RunError
from core.fileio import replacing
from core.metrics.compare import difference_interval

NAME = "comparison.parquet"
_COLUMNS = ["stay_id", "patient_id", "label_id", "observed", "probability", "split"]


@dataclass(frozen=True)
class HeldOut:
    """The held-out pairs of a run, a row for each stay and a column for each label, by ascending id.

    Parameters
    ----------
    stays, patients
        int64 [stays].
    observed
        uint8 [stays, labels], 0 where not stated.
    probability
        float32 [stays, labels], 0 where not stated.
    stated
        bool [stays, labels].
    """

    stays: np.ndarray
    patients: np.ndarray
    observed: np.ndarray
    probability: np.ndarray
    stated: np.ndarray


def held_out(out: Path) -> HeldOut:
    """Read the held-out pairs of a finished run."""
    table = pq.read_table(out / "pair.parquet", columns=_COLUMNS)
    table = table.filter(pc.equal(table["split"], "test"))
    stays, first, rows = np.unique(table["stay_id"].to_numpy(), return_index=True, return_inverse=True)
    labels = table["label_id"].to_numpy().astype(np.int64)
    shape = len(stays), pq.read_metadata(out / "label.parquet").num_rows
    observed, probability = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    stated = np.zeros(shape, np.bool_)
    observed[rows, labels] = table["observed"].to_numpy()
    probability[rows, labels] = table["probability"].to_numpy()
    stated[rows, labels] = True
    return HeldOut(stays, table["patient_id"].to_numpy()[first], observed, probability, stated)


def lay_decisions(held: HeldOut, locks: pa.Table, label_keys: list[str]) -> tuple[np.ndarray, int]:
    """Put decisions on the held-out labels.

    Parameters
    ----------
    held
        The held-out pairs.
    locks
        Decisions: stay_id, label_key, value, locked.
    label_keys
        The labels in `label_id` order.

    Returns
    -------
    uint8 array [stays, labels], and the number of labels taken from a decision.
    """
    truth = held.observed.copy()
    sure = locks.filter(locks["locked"])
    stays = sure["stay_id"].to_numpy()
    rows = np.searchsorted(held.stays, stays).clip(max=max(len(held.stays) - 1, 0))
    columns = pc.fill_null(pc.index_in(sure["label_key"], value_set=pa.array(label_keys)), -1).to_numpy()
    if not len(held.stays):
        return truth, 0
    here = (held.stays[rows] == stays) & (columns >= 0)
    rows, columns, values = rows[here], columns[here], sure["value"].to_numpy()[here]
    here = held.stated[rows, columns]
    truth[rows[here], columns[here]] = (values[here] >= 0.5).astype(np.uint8)
    return truth, int(here.sum())


def compare(with_decisions: Path, without_decisions: Path, locks: pa.Table, *, seed: int) -> pa.Table:
    """Compare two finished runs on their held-out stays.

    Parameters
    ----------
    with_decisions, without_decisions
        Their ``out/`` folders.
    locks
        The decisions that the first one read.
    seed
        Of the patients resampled for the interval.

    Returns
    -------
    pyarrow.Table
        `audit_store.schema.COMPARISON`; without a row where there is nothing to measure on.

    Raises
    ------
    RunError
        When the two runs do not hold the same held-out pairs.
    """
    one, two = held_out(with_decisions), held_out(without_decisions)
    same = np.array_equal(one.stays, two.stays) and np.array_equal(one.stated, two.stated)
    if not same or not np.array_equal(one.observed, two.observed):
        raise RunError("two runs on the same held-out stays", "others", "add --fresh to train both again")
    keys = pq.read_table(with_decisions / "label.parquet", columns=["label_id", "label_key"]).sort_by("label_id")
    truth, decided = lay_decisions(one, locks, keys["label_key"].to_pylist())
    if not (truth.astype(bool) & one.stated).any():
        return COMPARISON.empty_table()
    found = difference_interval(one.probability, two.probability, one.patients, truth, one.stated, seed=seed)
    figures = (found.a, found.b, found.difference, found.low, found.high)
    if not np.isfinite(figures).all():
        return COMPARISON.empty_table()
    stated = int(one.stated.sum())
    note = f"recorded labels; {decided:,} of {stated:,} as decided" if decided else "recorded labels"
    names = ("with_decisions", "without_decisions", "difference", "low", "high")
    row = {"metric": "map", **dict(zip(names, map(float, figures), strict=True)), "n_patients": found.patients}
    return pa.Table.from_pylist([{**row, "note": note}], schema=COMPARISON)


def write_comparison(with_decisions: Path, without_decisions: Path, locks: pa.Table, *, seed: int) -> Path:
    """Write `compare`'s table into the ``out/`` of the run that becomes the round."""
    table = compare(with_decisions, without_decisions, locks, seed=seed)
    path = with_decisions / NAME
    with replacing(path) as aside:
        pq.write_table(table, aside)
    return path
