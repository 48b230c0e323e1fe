"""What an export under a policy would hold, before it is written: the same rows, counted and not kept.

Everything is counted in DuckDB over the query that the files are written from, so that the preview and the files can't
disagree; a test compares them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audit_store.database import Store
from audit_store.labels import Policy, over_pairs, rows_query
from audit_store.round_reader import RoundFile
from audit_store.schema import BASES
from audit_store.states import snapshot

LOWEST_THRESHOLD, THRESHOLD_STEPS = 0.5, 50
_KEPT = "export_previews"
_KEEP = 24

_CUBE = f"""
SELECT label_id, observed, cleaned, changed, basis, coalesce(state, 'open') AS state, settled, count(*) AS n,
    sum(CASE WHEN settled THEN (cleaned <> observed)::INT ELSE error_probability END) AS wrong_before,
    sum(CASE WHEN settled THEN 0 WHEN changed THEN 1 - error_probability ELSE error_probability END) AS wrong_after
FROM {rows_query()} GROUP BY ALL
"""
_FIRST = f"""
SELECT stay_id, label, observed, cleaned, basis, reviewers, decided_at FROM {rows_query()} WHERE changed
ORDER BY stay_id, label_id LIMIT $first
"""
_CURVE = f"""
SELECT CAST(least(floor((error_probability - $lowest) / (1 - $lowest) * $steps + 1e-6), $steps) AS INT) AS step,
    observed, count(*) AS n, sum(error_probability) AS right_ FROM {rows_query()}
WHERE basis = 'auto_corrected' GROUP BY ALL
"""


@dataclass(frozen=True)
class Preview:
    """What the files would hold.

    Parameters
    ----------
    pairs, changed, added, removed
        Labels in all, and those that differ from the record: recorded absent and now present, and the other way.
    basis
        Pairs by each word of `audit_store.schema.BASES`.
    labels
        A row a label, in the round's order: label_key, name, pairs, present_before, present_after (numbers of stays),
        prevalence_before, prevalence_after (0–1), added, removed, and a column per basis; wrong_before, wrong_after:
        labels expected to be wrong, NaN where the round is not calibrated.
    wrong_before, wrong_after
        The same over all labels; None where the round is not calibrated. Readers' word counts as right.
    waiting
        Pairs that people read and that stay as recorded all the same: ``conflict``, ``answered`` (one reader, not
        sure or unable to say), ``adjudicated`` (as impossible to say).
    """

    pairs: int
    changed: int
    added: int
    removed: int
    basis: dict[str, int]
    labels: pd.DataFrame
    wrong_before: float | None
    wrong_after: float | None
    waiting: dict[str, int]


def preview(store: Store, round_file: RoundFile, policy: Policy | None = None) -> Preview:
    """Count what an export would change; kept until the decisions change."""
    chosen, now = policy or Policy(), snapshot(store)
    key = (str(round_file.digest["blake2b"]), chosen, now.head.hash)
    with store.memory_lock:
        kept: dict[Any, Preview] = store.memory.setdefault(_KEPT, {})
        if key in kept:
            return kept[key]
    cube = over_pairs(_CUBE, store, round_file, chosen, now).to_pandas()
    made = _counted(cube, round_file)
    with store.memory_lock:
        while len(kept) >= _KEEP:
            kept.pop(next(iter(kept)))
        kept[key] = made
    return made


def _counted(cube: pd.DataFrame, round_file: RoundFile) -> Preview:
    n = cube["n"].to_numpy(np.int64)
    changed, cleaned = cube["changed"].to_numpy(bool), cube["cleaned"].to_numpy(np.int64)
    basis, state = cube["basis"].to_numpy(str), cube["state"].to_numpy(str)
    left = ~cube["settled"].to_numpy(bool)
    columns: dict[str, Any] = {
        "label_id": cube["label_id"].to_numpy(),
        "pairs": n,
        "present_before": np.where(cube["observed"].to_numpy() == 1, n, 0),
        "present_after": np.where(cleaned == 1, n, 0),
        "added": np.where(changed & (cleaned == 1), n, 0),
        "removed": np.where(changed & (cleaned == 0), n, 0),
        **{name: np.where(basis == name, n, 0) for name in BASES},
        "wrong_before": cube["wrong_before"].to_numpy(float),
        "wrong_after": cube["wrong_after"].to_numpy(float),
    }
    labels = pd.DataFrame(columns).groupby("label_id").sum().reindex(list(round_file.label_ids.values()), fill_value=0)
    labels = labels.reset_index(drop=True)
    labels.insert(0, "name", list(round_file.label_names.values()))
    labels.insert(0, "label_key", list(round_file.label_ids))
    for when in ("before", "after"):
        labels[f"prevalence_{when}"] = labels[f"present_{when}"] / labels["pairs"].where(labels["pairs"] > 0)
    calibrated = round_file.info.calibrated
    if not calibrated:
        labels[["wrong_before", "wrong_after"]] = np.nan
    return Preview(
        pairs=int(n.sum()),
        changed=int(n[changed].sum()),
        added=int(labels["added"].sum()),
        removed=int(labels["removed"].sum()),
        basis={name: int(labels[name].sum()) for name in BASES},
        labels=labels,
        wrong_before=float(labels["wrong_before"].sum()) if calibrated else None,
        wrong_after=float(labels["wrong_after"].sum()) if calibrated else None,
        waiting={name: int(n[left & (state == name)].sum()) for name in ("conflict", "answered", "adjudicated")},
    )


def first_changes(
    store: Store, round_file: RoundFile, policy: Policy | None = None, *, limit: int = 100
) -> pd.DataFrame:
    """Give the first rows that change, by stay and label: stay_id, label, observed, cleaned, basis, reviewers."""
    frame: pd.DataFrame = over_pairs(_FIRST, store, round_file, policy or Policy(), first=limit).to_pandas()
    return frame


def threshold_curve(store: Store, round_file: RoundFile, *, low_certainty: bool = False) -> pd.DataFrame:
    """Count what the model would change by itself at each threshold from .5 on.

    Columns: threshold, added, removed (numbers of labels), right (how many of them are expected to become right, NaN
    where the round is not calibrated). Counts fall as the threshold rises.
    """
    chosen = Policy(auto_threshold=LOWEST_THRESHOLD, low_certainty=low_certainty)
    found = over_pairs(_CURVE, store, round_file, chosen, lowest=LOWEST_THRESHOLD, steps=THRESHOLD_STEPS).to_pandas()
    by_step = np.zeros((THRESHOLD_STEPS + 1, 3))
    for step, observed, n, right in found.itertuples(index=False):
        by_step[step, int(observed)] += n
        by_step[step, 2] += right
    upward = by_step[::-1].cumsum(axis=0)[::-1]
    thresholds = LOWEST_THRESHOLD + np.arange(THRESHOLD_STEPS + 1) / THRESHOLD_STEPS * (1 - LOWEST_THRESHOLD)
    right_ = upward[:, 2] if round_file.info.calibrated else np.full(len(upward), np.nan)
    return pd.DataFrame(
        {
            "threshold": thresholds.round(4),
            "added": upward[:, 0].astype(np.int64),
            "removed": upward[:, 1].astype(np.int64),
            "right": right_,
        }
    )
