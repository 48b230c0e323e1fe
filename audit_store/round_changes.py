"""What changed from one round to another: suggestions, flags, parts, and the decisions locked in between.

The earlier round's pairs are handed to the later one's DuckDB as an Arrow table and counted there once, into a cube of
a few hundred rows; every figure is a sum over that cube. A round's file never changes, so an answer is kept.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from audit_store.round_reader import RoundFile
from audit_store.schema import PARTITIONS

METRICS = {
    "test_map": "mean average precision",
    "test_auroc_macro": "AUROC, mean of labels",
    "test_auroc_micro": "AUROC, all pairs",
    "test_f1_macro": "F1, mean of labels",
    "test_f1_micro": "F1, all pairs",
}
"""Held-out metrics of the table `epoch`, in words; measured against the recorded labels."""
COUNTS = (
    "suggestion_changed",
    "to_present",
    "to_absent",
    "flags_left_decided",
    "flags_left",
    "flags_stayed",
    "flags_came",
    "locked_since",
    "locked_as_recorded",
    "locked_changed",
    "unlocked",
)
KEPT_ANSWERS = 16

_EARLIER = "SELECT stay_id, p.label_id, {part} AS part, flagged, suggested FROM pair p"
_PART = "CAST(coalesce(list_position({parts}, {column}), 0) - 1 AS TINYINT)"
_CUBE = """
SELECT coalesce(n.label_id, b.label_id) AS label_id, b.part AS part_before, n.part AS part_after,
    b.flagged AS flag_before, n.flagged AS flag_after, b.suggested AS suggested_before, n.suggested AS suggested_after,
    CASE WHEN n.part = {locked} AND b.part <> {locked} THEN n.given <> n.observed END AS decided_otherwise,
    b.stay_id IS NOT NULL AS here_before, n.stay_id IS NOT NULL AS here_after, count(*) AS n
FROM (SELECT stay_id, label_id, {part} AS part, flagged, suggested, given, observed FROM pair) n
FULL JOIN (SELECT e.*, m.label_id FROM earlier e JOIN renumbered m USING (label_before)) b
    ON b.label_id = n.label_id AND b.stay_id = n.stay_id
GROUP BY ALL
"""

_KNOWN: dict[tuple[str, str], "RoundChanges"] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class RoundChanges:
    """The way from one round to another; counts are of pairs that both rounds have.

    Parameters
    ----------
    before, after
        Ids of the two rounds.
    pairs, only_before, only_after
        Pairs in both, and in one of them alone.
    same_cohort
        Whether both were trained on the same cohort.
    totals
        By name of `COUNTS`. `suggestion_changed`: what the model suggests differs, where readers settled the pair in
        neither round; `to_present` and `to_absent` which way. `flags_left` were flagged and no longer are although
        nobody settled them, `flags_left_decided` because somebody did; `flags_stayed`, `flags_came`. `locked_since`
        are settled by readers now and were not before, of which `locked_as_recorded` keep the record and
        `locked_changed` do not; `unlocked` were settled before and are not now.
    labels
        A row a label, in the later round's order: label_key, name, pairs, and the columns of `COUNTS`.
    transitions
        before, after (parts), n: sixteen rows, in the order of `PARTITIONS`.
    metrics
        metric, before, after, difference of the held-out metrics that both rounds have, at their last epoch.
    """

    before: int
    after: int
    pairs: int
    only_before: int
    only_after: int
    same_cohort: bool
    totals: dict[str, int]
    labels: pd.DataFrame
    transitions: pd.DataFrame
    metrics: pd.DataFrame


def round_changes(before: RoundFile, after: RoundFile) -> RoundChanges:
    """Compare two rounds of a workspace; the answer is kept for as long as the process lives.

    Pairs are matched by stay and label key, so that rounds whose labels are numbered otherwise can be compared.
    """
    key = (str(before.digest["blake2b"]), str(after.digest["blake2b"]))
    with _LOCK:
        if key not in _KNOWN:
            while len(_KNOWN) >= KEPT_ANSWERS:
                _KNOWN.pop(next(iter(_KNOWN)))
            _KNOWN[key] = _compare(before, after)
        return _KNOWN[key]


def _compare(before: RoundFile, after: RoundFile) -> RoundChanges:
    cube = _cube(before, after)
    only_before = int(cube.loc[~cube["here_after"], "n"].sum())
    only_after = int(cube.loc[~cube["here_before"], "n"].sum())
    both = cube[cube["here_before"] & cube["here_after"]]
    counted = _counts(both)
    labels = _labels(after, both, counted)
    return RoundChanges(
        before=before.info.round_id,
        after=after.info.round_id,
        pairs=int(both["n"].sum()),
        only_before=only_before + before.n_pairs - int(cube.loc[cube["here_before"], "n"].sum()),
        only_after=only_after,
        same_cohort=before.info.cohort_fingerprint == after.info.cohort_fingerprint,
        totals={name: int(counted[name].sum()) for name in COUNTS},
        labels=labels,
        transitions=_transitions(both),
        metrics=_metrics(before, after),
    )


def _cube(before: RoundFile, after: RoundFile) -> pd.DataFrame:
    """Count pairs by label and by all that may have changed; a few hundred rows."""
    part = _PART.format(parts=list(PARTITIONS), column="partition")
    earlier = before.arrow(_EARLIER.format(part=part)).rename_columns(
        ["stay_id", "label_before", "part", "flagged", "suggested"]
    )
    shared = [(number, after.label_ids[key]) for key, number in before.label_ids.items() if key in after.label_ids]
    renumbered = pa.table(
        {
            "label_before": pa.array([old for old, _ in shared], pa.int16()),
            "label_id": pa.array([new for _, new in shared], pa.int16()),
        }
    )
    query = _CUBE.format(part=part, locked=PARTITIONS.index("locked"))
    frame: pd.DataFrame = after.arrow(query, {"earlier": earlier, "renumbered": renumbered}).to_pandas()
    return frame


def _counts(both: pd.DataFrame) -> pd.DataFrame:
    """Spread the rows of the cube over the columns of `COUNTS`; label_id beside them."""
    n = both["n"].to_numpy(np.int64)
    was, now = both["flag_before"].to_numpy(bool), both["flag_after"].to_numpy(bool)
    old, new = both["suggested_before"].to_numpy(np.int64), both["suggested_after"].to_numpy(np.int64)
    locked = PARTITIONS.index("locked")
    settled, settled_before = both["part_after"].to_numpy() == locked, both["part_before"].to_numpy() == locked
    since, open_ = settled & ~settled_before, ~settled & ~settled_before
    otherwise = both["decided_otherwise"].eq(True).to_numpy(bool)
    held: dict[str, Any] = {
        "suggestion_changed": open_ & (old != new),
        "to_present": open_ & (old < new),
        "to_absent": open_ & (old > new),
        "flags_left_decided": was & ~now & settled,
        "flags_left": was & ~now & ~settled,
        "flags_stayed": was & now,
        "flags_came": ~was & now,
        "locked_since": since,
        "locked_as_recorded": since & ~otherwise,
        "locked_changed": since & otherwise,
        "unlocked": ~settled & settled_before,
    }
    frame = pd.DataFrame({name: np.where(mask, n, 0) for name, mask in held.items()})
    frame.insert(0, "label_id", both["label_id"].to_numpy())
    return frame


def _labels(after: RoundFile, both: pd.DataFrame, counted: pd.DataFrame) -> pd.DataFrame:
    by_label = counted.groupby("label_id")[list(COUNTS)].sum()
    pairs = both.groupby("label_id")["n"].sum()
    keys = list(after.label_ids)
    numbers = [after.label_ids[key] for key in keys]
    frame = by_label.reindex(numbers, fill_value=0).astype(np.int64).reset_index(drop=True)
    frame.insert(0, "pairs", pairs.reindex(numbers, fill_value=0).to_numpy(np.int64))
    frame.insert(0, "name", [after.label_names[key] for key in keys])
    frame.insert(0, "label_key", keys)
    return frame


def _transitions(both: pd.DataFrame) -> pd.DataFrame:
    counted = both.groupby(["part_before", "part_after"])["n"].sum()
    places = range(len(PARTITIONS))
    rows = [(PARTITIONS[i], PARTITIONS[j], int(counted.get((i, j), 0))) for i in places for j in places]
    return pd.DataFrame(rows, columns=["before", "after", "n"])


def last_metrics(round_file: RoundFile) -> dict[str, float]:
    """Held-out metrics of a round's last epoch that measured them, by the names of `METRICS`."""
    epochs = round_file.epochs()
    found = {}
    for name in METRICS:
        values = epochs[name].dropna() if name in epochs else pd.Series(dtype=float)
        if len(values):
            found[name] = float(values.iloc[-1])
    return found


def _metrics(before: RoundFile, after: RoundFile) -> pd.DataFrame:
    old, new = last_metrics(before), last_metrics(after)
    rows = [
        (METRICS[name], old[name], new[name], new[name] - old[name]) for name in METRICS if name in old and name in new
    ]
    return pd.DataFrame(rows, columns=["metric", "before", "after", "difference"])
