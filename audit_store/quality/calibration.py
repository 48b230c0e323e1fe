"""Does P(label wrong) hold? What readers found, in bins of the round's own probability.

Flags are chosen by that probability, so within a narrow bin the flags that were read stand for those that were not.
Pairs that were not flagged come from the random audit and the controls, by their weights. A bin's share is that of all
its pairs where both kinds were read, and holds for its flags alone where only flags were; it says which.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from audit_store.quality.readings import Readings
from audit_store.quality.shares import Share, weighted_share
from audit_store.round_reader import RoundFile

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Bin:
    """Pairs of a round with about the same P(label wrong).

    Parameters
    ----------
    low, high
        The bin, 0–1.
    pairs, flagged
        Pairs of the round in it, and how many of them are flagged.
    said
        The mean probability of the pairs that the share holds for.
    found
        The share of them that readers found wrong.
    flags_only
        Whether the share holds for the flagged pairs alone, since no other was read.
    """

    low: float
    high: float
    pairs: int
    flagged: int
    said: float
    found: Share
    flags_only: bool


def calibration_of(round_file: RoundFile, known: Readings) -> list[Bin]:
    """Compare the probabilities of a calibrated round with what was found; bins without pairs are left out.

    Only answers given in this round count: a later answer may have taught the model.
    """
    counts = _counts(round_file)
    rows = _read(round_file, known)
    found = []
    for place, (low, high) in enumerate(pairwise(EDGES)):
        here = counts[counts["place"] == place]
        if here.empty:
            continue
        mine = rows[rows["place"] == place]
        sizes = dict(zip(here["flagged"], here["pairs"], strict=True))
        means = dict(zip(here["flagged"], here["mean"], strict=True))
        told = mine["truth"].notna()
        only = not (told & ~mine["flagged"]).any() and bool((told & mine["flagged"]).any())
        kinds = [True] if only else [kind for kind in (True, False) if kind in sizes]
        mine = mine[mine["flagged"].isin(kinds)]
        raw = mine["raw"].groupby(mine["flagged"]).transform("sum")
        weight = mine["raw"] * mine["flagged"].map(sizes) / raw
        truth = mine["truth"].to_numpy(dtype=float)
        unsure = np.isnan(truth)
        wrong = ~unsure & (truth != mine["observed"].to_numpy(dtype=float))
        share = weighted_share(wrong, weight.to_numpy(dtype=float), mine["patient_id"].to_numpy(), unsure)
        of = sum(sizes[kind] for kind in kinds)
        mean = sum(sizes[kind] * means[kind] for kind in kinds) / of
        found.append(Bin(low, high, int(here["pairs"].sum()), int(sizes.get(True, 0)), float(mean), share, only))
    return found


def _counts(round_file: RoundFile) -> pd.DataFrame:
    """Count a round's open pairs by bin and flag, with their mean probability."""
    counts = round_file.frame(
        f"SELECT CAST({_bin_sql()} AS INTEGER) AS place, flagged, count(*) AS pairs, avg(error_probability) AS mean "
        "FROM pair WHERE partition <> 'locked' GROUP BY ALL ORDER BY ALL"
    )
    return counts.assign(flagged=counts["flagged"].astype(bool))


def _bin_sql() -> str:
    cases = " ".join(f"WHEN error_probability < {high} THEN {place}" for place, high in enumerate(EDGES[1:-1]))
    return f"CASE {cases} ELSE {len(EDGES) - 2} END"


def _read(round_file: RoundFile, known: Readings) -> pd.DataFrame:
    """Pairs of the round that were read blind in it, with the weight each was drawn by: place, flagged, truth, raw."""
    blind = known.blind
    rows = blind[(blind["round_id"] == round_file.info.round_id) & (blind["partition"] != "locked")]
    drawn = rows["purpose"].isin(["random_audit", "control"]) & rows["inclusion_probability"].notna()
    rows = rows[drawn | rows["flagged"].astype(bool)].drop_duplicates(["stay_id", "label_key"])
    rows = rows.merge(known.pairs[["stay_id", "label_key", "truth"]], on=["stay_id", "label_key"])
    flagged = rows["flagged"].astype(bool)
    raw = np.where(flagged, 1.0, 1.0 / rows["inclusion_probability"].astype(float))
    place = np.searchsorted(np.array(EDGES[1:-1]), rows["error_probability"].to_numpy(dtype=np.float32), side="right")
    return rows.assign(flagged=flagged, raw=raw, place=place)
