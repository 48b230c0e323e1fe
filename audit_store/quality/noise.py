"""How much noise is left: what the random audit says of all labels, as recorded and as handed out after corrections.

A recorded absent that is present is *missing*; a recorded present that is absent is *wrong*. Each audited pair stands
for 1/π pairs of its label and recorded value, scaled so that they add up to the pairs that the round has of them
(counted in its file). Noise in what is handed out: labels are counted, not shares: of the N·p wrong ones among the
recorded, those that readers settled otherwise are right now (readers' word counts as right), so N·p − C are left.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from audit_store.quality.readings import Readings
from audit_store.quality.shares import Share, weighted_share
from audit_store.round_reader import RoundFile

DIRECTIONS = {"missing": 0, "wrong": 1}
"""Recorded value of the labels that each kind of noise is counted among."""


@dataclass(frozen=True)
class Noise:
    """Noise of one kind in a label, or in several taken as one.

    Parameters
    ----------
    label_key, name
        The label; None and a name such as "all labels" for several.
    direction
        ``missing`` (of the recorded absent, those that are present) or ``wrong`` (of the recorded present, absent).
    pairs
        Pairs of the round that were recorded so.
    readings
        How many of them the audit read, those that could not be told included.
    recorded, handed_out
        The share that is wrong among labels as recorded, and after what readers settled.
    corrected
        Labels that readers settled otherwise than recorded.
    pooled
        Which labels the shares were taken from where this label alone has too few readings; None where it is its own.
    """

    label_key: str | None
    name: str
    direction: str
    pairs: int
    readings: int
    recorded: Share
    handed_out: Share
    corrected: int
    pooled: str | None = None


@dataclass(frozen=True)
class Audit:
    """The random audit's answers and what they are weighted by.

    Parameters
    ----------
    rows
        A row per audited pair: label_key, observed, patient_id, stay_id, `truth` (nan: can't say), `weight`.
    frame
        Pairs by label and recorded value: label_key, name, persistence, observed, pairs, `corrected`.
    not_blind
        Audited pairs left out, for they were read with the suggestion on the screen.
    """

    rows: pd.DataFrame
    frame: pd.DataFrame
    not_blind: int


def frame_of(round_file: RoundFile, known: Readings) -> pd.DataFrame:
    """Count a round's pairs by label and recorded value, and those that readers settled otherwise."""
    counts = round_file.frame(
        "SELECT l.label_id, l.label_key, l.name, l.persistence, p.observed, count(*) AS pairs FROM pair p "
        "JOIN label l USING (label_id) GROUP BY ALL ORDER BY l.label_id, p.observed"
    )
    changed = known.pairs[known.pairs["locked"].astype(bool) & (known.pairs["value"] != known.pairs["observed"])]
    sums = changed.groupby(["label_key", "observed"]).size().rename("corrected").reset_index()
    joined = counts.merge(sums, on=["label_key", "observed"], how="left")
    joined["corrected"] = joined["corrected"].fillna(0).astype(int)
    return joined.drop(columns="label_id")


def audit_of(round_file: RoundFile, known: Readings, missed: pd.DataFrame) -> Audit:
    """Take the random audit's pairs from what people said.

    Parameters
    ----------
    round_file, known
        The round, and what was said of its pairs.
    missed
        Pairs of the plan whose reader had answered them before (`passed_over`): that answer counts.
    """
    frame = frame_of(round_file, known)
    drawn = known.first[(known.first["purpose"] == "random_audit") & known.first["inclusion_probability"].notna()]
    earlier = known.first.merge(missed, on=["stay_id", "label_key"])
    earlier["inclusion_probability"] = earlier.pop("planned_probability").astype(float)
    drawn = pd.concat([drawn, earlier], ignore_index=True) if len(earlier) else drawn
    blind = drawn[drawn["blinded"].astype(bool)].drop_duplicates(["stay_id", "label_key"])
    open_ = drawn.drop_duplicates(["stay_id", "label_key"])
    key = ["stay_id", "label_key"]
    rows = blind[[*key, "patient_id", "observed", "inclusion_probability"]].merge(known.pairs[[*key, "truth"]], on=key)
    raw = 1.0 / rows["inclusion_probability"].astype(float)
    cell = ["label_key", "observed"]
    sums = raw.groupby([rows[name] for name in cell]).transform("sum")
    pairs = rows.merge(frame[[*cell, "pairs"]], on=cell, how="left")["pairs"].to_numpy(dtype=float)
    rows["weight"] = raw.to_numpy() * pairs / sums.to_numpy()
    return Audit(rows.drop(columns="inclusion_probability"), frame, len(open_) - len(blind))


def share_of(rows: pd.DataFrame) -> Share:
    """Give the share of wrong labels among audited rows."""
    truth = rows["truth"].to_numpy(dtype=float)
    unsure = np.isnan(truth)
    wrong = ~unsure & (truth != rows["observed"].to_numpy(dtype=float))
    return weighted_share(wrong, rows["weight"].to_numpy(dtype=float), rows["patient_id"].to_numpy(), unsure)


def noise_by_label(audit: Audit) -> list[Noise]:
    """Each label's noise of both kinds, in the round's order; sparse labels take their group's, or say too few.

    A label with fewer than `TOO_FEW` answers takes the share of the labels of its persistence, then of all labels.
    """
    rows = []
    frame = audit.frame.drop_duplicates("label_key")
    for direction in DIRECTIONS:
        whole = {pool.name: pool for pool in noise_by_persistence(audit) if pool.direction == direction}
        every = noise_overall(audit, direction)
        for key, name, kind in zip(frame["label_key"], frame["name"], frame["persistence"], strict=True):
            own = replace(_of(audit, audit.frame["label_key"] == key, direction, str(name)), label_key=str(key))
            if not own.recorded.told and own.pairs:
                pool = next((one for one in (whole[f"{kind} labels"], every) if one.recorded.told), None)
                if pool is not None:
                    own = replace(own, recorded=pool.recorded, handed_out=pool.handed_out, pooled=pool.name)
            rows.append(own)
    return rows


def noise_by_persistence(audit: Audit) -> list[Noise]:
    """Noise of both kinds over the labels of each persistence."""
    kinds = audit.frame["persistence"].astype(str)
    return [
        _of(audit, kinds == kind, direction, f"{kind} labels")
        for direction in DIRECTIONS
        for kind in dict.fromkeys(kinds)
    ]


def noise_overall(audit: Audit, direction: str) -> Noise:
    """Noise of one kind over all labels."""
    return _of(audit, pd.Series(True, index=audit.frame.index), direction, "all labels")


def _of(audit: Audit, labels: pd.Series, direction: str, name: str) -> Noise:
    """Noise of one kind in the labels that a mask over the frame's rows picks."""
    observed = DIRECTIONS[direction]
    here = audit.frame[labels]
    same = here[here["observed"] == observed]
    other = here[here["observed"] != observed]
    rows = audit.rows[audit.rows["label_key"].isin(same["label_key"]) & (audit.rows["observed"] == observed)]
    share = share_of(rows)
    pairs, changed, came = (int(x) for x in (same["pairs"].sum(), same["corrected"].sum(), other["corrected"].sum()))
    return Noise(None, name, direction, pairs, len(rows), share, after(share, pairs, changed, came), changed)


def after(share: Share, pairs: int, changed: int, came: int) -> Share:
    """Give the noise among labels handed out, from that among the `pairs` recorded so.

    Parameters
    ----------
    share
        Share of wrong ones among them.
    pairs, changed
        How many were recorded so, and how many of those readers settled otherwise.
    came
        How many recorded otherwise readers settled so.
    """
    left = pairs - changed + came

    def of(part: float | None) -> float | None:
        if part is None:
            return None
        return min(1.0, max(0.0, part * pairs - changed) / left) if left else 0.0

    return replace(
        share,
        estimate=of(share.estimate),
        low=of(share.low),
        high=of(share.high),
        floor=of(share.floor),
        ceiling=of(share.ceiling),
    )
