"""For whom: noise, agreement and corrections by sex, age band, ethnicity and hospital, where the cohort has them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.database import Store
from audit_store.errors import WorkspaceError
from audit_store.quality.agreement import Coefficient
from audit_store.quality.noise import DIRECTIONS, Audit, share_of
from audit_store.quality.pairs_of_readers import alpha_of
from audit_store.quality.readings import Readings
from audit_store.quality.shares import Share, weighted_share

AGE_EDGES = (45, 65, 80)
"""Lower ends of the age bands after the first, years."""

MOST = 12
"""Values of a group that get a line of their own; the others are taken together."""

OTHERS = "all others"

KINDS = {"sex": "sex", "age": "age", "ethnicity": "ethnicity", "hospital_id": "hospital"}


@dataclass(frozen=True)
class Group:
    """One group of patients, e.g. women.

    Parameters
    ----------
    kind, name
        What divides, and the group's name: ("sex", "F").
    stays
        Stays of the cohort in it.
    missing, wrong
        Noise in the labels as recorded, from the random audit.
    agreement
        Krippendorff's alpha of its patients' pairs.
    corrected
        Of the pairs of theirs that readers settled, the share settled otherwise than recorded.
    """

    kind: str
    name: str
    stays: int
    missing: Share
    wrong: Share
    agreement: Coefficient
    corrected: Share


def groups_of(store: Store, known: Readings, audit: Audit) -> tuple[list[Group], list[str]]:
    """Divide what is known by groups of patients.

    Returns
    -------
    list of Group
        By kind; the largest first, age bands from young to old, "all others" last.
    list of str
        Kinds that this cohort does not have, or has one value of.
    """
    stays = _stays(store)
    found: list[Group] = []
    absent: list[str] = []
    blind = known.blind
    settled = known.pairs[known.pairs["locked"].astype(bool)]
    for column, kind in KINDS.items():
        values = _values(stays, column)
        sizes = values.value_counts()
        if len(sizes) < 2:
            absent.append(kind)
            continue
        names = [name for name in values.cat.categories if sizes[name]] if column == "age" else list(sizes.index)
        names.sort(key=OTHERS.__eq__)
        found += [
            _group(kind, str(name), int(sizes[name]), values.index[values == name], audit, blind, settled)
            for name in names
        ]
    return found, absent


def _group(
    kind: str, name: str, stays: int, ids: pd.Index, audit: Audit, blind: pd.DataFrame, settled: pd.DataFrame
) -> Group:
    rows = audit.rows[audit.rows["stay_id"].isin(ids)]
    shares = {way: share_of(rows[rows["observed"] == observed]) for way, observed in DIRECTIONS.items()}
    theirs = settled[settled["stay_id"].isin(ids)]
    corrected = weighted_share(
        (theirs["value"] != theirs["observed"]).to_numpy(), cluster=theirs["patient_id"].to_numpy()
    )
    alike = alpha_of(blind[blind["stay_id"].isin(ids)])
    return Group(kind, name, stays, shares["missing"], shares["wrong"], alike, corrected)


def _stays(store: Store) -> pd.DataFrame:
    path = store.workspace.cohort / "stays.parquet"
    try:
        table = pq.read_table(path, columns=["stay_id", *KINDS])
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError):
        raise WorkspaceError("the cohort's stays.parquet", "none that can be read", "restore the cohort") from None
    frame: pd.DataFrame = table.to_pandas()
    return frame.set_index("stay_id")


def _values(stays: pd.DataFrame, column: str) -> pd.Series:
    """Name each stay's group; stays that have none are left out."""
    values = stays[column].dropna()
    if column == "age":
        places = np.searchsorted(np.array(AGE_EDGES), values.to_numpy(dtype=float), side="right")
        low, high = AGE_EDGES[0], AGE_EDGES[-1]
        between = [f"{a}–{b - 1}" for a, b in pairwise(AGE_EDGES)]
        names = np.array([f"under {low}", *between, f"{high} and over"], dtype=object)
        order = pd.CategoricalDtype(list(names), ordered=True)
        return pd.Series(names[places], index=values.index).astype(order)
    words = values.map(lambda value: f"hospital {value}") if column == "hospital_id" else values.astype(str).str.strip()
    words = words[words != ""].astype(object)
    common = words.value_counts().index[:MOST]
    return words.where(words.isin(common), OTHERS)
