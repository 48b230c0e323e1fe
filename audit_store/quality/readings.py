"""The answers that quality is measured on: each reader's first on a pair, what it became, and what the pair amounts to.

A reader's first blind answer counts, also where they changed it after the reveal: the changed one may owe something to
what was on the screen. A pair that its reader took back and never answered again counts for nothing. Where a pair was
adjudicated, the adjudicator's word is what the pair amounts to. Answers that a program gave (the demo's simulated
readers) are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy import select

from audit_store import tables
from audit_store.answers import SIMULATED
from audit_store.database import Store
from audit_store.round_reader import RoundFile
from audit_store.states import Snapshot, snapshot

VALUES = ("absent", "present", "cannot_tell")
DEFINITE = ("absent", "present")

_COLUMNS = (
    "id",
    "reviewer",
    "round_id",
    "stay_id",
    "label_key",
    "answer",
    "purpose",
    "inclusion_probability",
    "blinded",
    "active_seconds",
    "supersedes",
    "act",
    "reason_code",
)
_PAIRS = """
SELECT s.stay_id, s.label_key, p.patient_id, p.observed, p.suggested, p.flagged, p.partition, p.error_probability,
    s.state, s.value, s.locked
FROM pair_state s JOIN label l USING (label_key) JOIN pair p ON p.label_id = l.label_id AND p.stay_id = s.stay_id
ORDER BY s.stay_id, l.label_id
"""


@dataclass(frozen=True)
class Readings:
    """What people said of the pairs of a round.

    Parameters
    ----------
    first
        A row per reader and pair: the first answer (`answer`: absent, present or cannot_tell), whether it was
        `blinded`, its `purpose` and `inclusion_probability`, the reader's answer that stands now (`last`), `reader`
        (R1, R2, …), `pair` (a number of the pair), and of the pair: patient_id, observed, suggested, flagged,
        partition, error_probability.
    pairs
        A row per pair that anyone answered: the columns of the pair; `state`, `value`, `locked` as derived for labels;
        `truth` (1, 0, or nan where it can't be told), `readers` (how many first blind answers it rests on).
    acts
        A row per act that gave a first answer: `reader`, `purpose`, `label_keys` (tuple), `seconds` at work.
    names
        Reader (R1, R2, …) of each person's name, in the order of their first answers.
    """

    first: pd.DataFrame
    pairs: pd.DataFrame
    acts: pd.DataFrame
    names: dict[str, str]

    @property
    def blind(self) -> pd.DataFrame:
        """The first answers that were given blind."""
        return self.first[self.first["blinded"].astype(bool)]


def readings(store: Store, round_file: RoundFile) -> Readings:
    """Read what people said of the pairs of a round, in whichever round they said it."""
    now = snapshot(store)
    rows = _rows(store)
    rows = rows[rows["reason_code"] != SIMULATED]
    names = {name: f"R{number}" for number, name in enumerate(dict.fromkeys(rows["reviewer"]), 1)}
    pairs = round_file.arrow(_PAIRS, {"pair_state": now.states}).to_pandas()
    given = rows[rows["answer"] != "retract"]
    taken = rows.loc[rows["answer"] == "retract", "supersedes"]
    key = ["reviewer", "stay_id", "label_key"]
    last = given[~given["id"].isin(taken)].groupby(key)["answer"].last().rename("last").reset_index()
    first = given.drop_duplicates(key).merge(last, on=key)
    of_pair = ["patient_id", "observed", "suggested", "flagged", "partition", "error_probability"]
    first = first.merge(pairs[["stay_id", "label_key", *of_pair]], on=["stay_id", "label_key"])
    first["reader"] = first["reviewer"].map(names).astype(object)
    first["pair"] = first.groupby(["stay_id", "label_key"]).ngroup()
    return Readings(first.drop(columns="reviewer"), _told(pairs, first, now), _acts(first), names)


def _rows(store: Store) -> pd.DataFrame:
    """Every decision row, the columns that are measured; only what is new is read."""
    with store.memory_lock:
        kept: pd.DataFrame | None = store.memory.get("quality_rows")
        last = 0 if kept is None or kept.empty else int(kept["id"].iloc[-1])
        columns: list[Any] = [tables.decision.c[name] for name in _COLUMNS]
        query = select(*columns).where(tables.decision.c.id > last).order_by(tables.decision.c.id)
        with store.reading() as connection:
            new = pd.DataFrame([tuple(row) for row in connection.execute(query)], columns=list(_COLUMNS))
        rows = new if kept is None or kept.empty else pd.concat([kept, new], ignore_index=True) if len(new) else kept
        store.memory["quality_rows"] = rows
        return rows


def _told(pairs: pd.DataFrame, first: pd.DataFrame, now: Snapshot) -> pd.DataFrame:
    """Add what each pair amounts to by first blind answers, or by its adjudicator."""
    blind = first[first["blinded"].astype(bool)]
    key = ["stay_id", "label_key"]
    counts = pd.crosstab([blind["stay_id"], blind["label_key"]], blind["answer"]) if len(blind) else pd.DataFrame()
    counts = counts.reindex(columns=list(VALUES), fill_value=0).reset_index() if len(counts) else _no_counts()
    told = pairs.merge(counts, on=key, how="left").merge(_judged(now.adjudications), on=key, how="left")
    said = told[list(VALUES)].fillna(0).to_numpy()
    value = np.where(said[:, 1] > 0, 1.0, 0.0)
    value[(said[:, 0] > 0) == (said[:, 1] > 0)] = np.nan
    judged = told["judged"].map({"present": 1.0, "absent": 0.0}).to_numpy(dtype=float)
    told["truth"] = np.where(told["judged"].notna(), judged, value)
    told["readers"] = said.sum(1).astype(int)
    return told.drop(columns=[*VALUES, "judged"])


def _no_counts() -> pd.DataFrame:
    frame = pd.DataFrame({"stay_id": pd.Series(dtype="int64"), "label_key": pd.Series(dtype=object)})
    return frame.assign(**{value: pd.Series(dtype="int64") for value in VALUES})


def _judged(adjudications: pa.Table) -> pd.DataFrame:
    frame = adjudications.select(["id", "stay_id", "label_key", "answer"]).to_pandas().sort_values("id")
    last: pd.DataFrame = frame.drop_duplicates(["stay_id", "label_key"], keep="last")
    return last.drop(columns="id").rename(columns={"answer": "judged"})


def _acts(first: pd.DataFrame) -> pd.DataFrame:
    """One row per act that gave a first answer: labels decided together were read once."""
    timed = first[first["active_seconds"].notna()]
    grouped = timed.groupby("act", sort=False)
    return pd.DataFrame(
        {
            "reader": grouped["reader"].first(),
            "purpose": grouped["purpose"].first(),
            "label_keys": grouped["label_key"].agg(tuple),
            "seconds": grouped["active_seconds"].first().astype(float),
        }
    ).reset_index(drop=True)
