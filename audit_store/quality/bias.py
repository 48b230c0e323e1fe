"""Automation bias: whether readers say what the tool says.

Three looks, each with its interval. Answers changed after the reveal: towards what was shown, or away from it.
Controls: pairs that were not flagged, read blind among the flagged; how often their label is called wrong. And, where a
project has both, readings with the suggestion on the screen against blind ones.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit_store.quality.readings import DEFINITE, Readings
from audit_store.quality.shares import Share, difference, weighted_share

Difference = tuple[float, float, float]


@dataclass(frozen=True)
class Changes:
    """Answers changed after the reveal, of pairs of one kind.

    Parameters
    ----------
    towards
        Of the first blind answers that went against what was then shown, the share changed to it.
    away
        Of those that agreed with it, the share changed to the opposite or to "can't say".
    more
        `towards` less `away`, with its interval; None where either can't be told.
    """

    towards: Share
    away: Share
    more: Difference | None


@dataclass(frozen=True)
class Bias:
    """What is known of automation bias.

    Parameters
    ----------
    proposed, standing
        Changes after the reveal, where a correction was proposed, and where the record was said to stand.
    called_wrong
        By purpose (flag, control, random_audit): the share of pairs whose label was called wrong in a first blind
        answer; controls and audit by their weights.
    blind, open
        Of the flagged pairs, the share of first answers that accept the proposed correction, read blind and with it
        on the screen.
    pull
        `open` less `blind`, with its interval; None where either can't be told.
    """

    proposed: Changes
    standing: Changes
    called_wrong: dict[str, Share]
    blind: Share
    open: Share
    pull: Difference | None


def bias_of(known: Readings) -> Bias:
    """Tell what the answers say of automation bias."""
    first = known.first[known.first["answer"].isin(DEFINITE)]
    first = first.assign(said=(first["answer"] == "present").astype(int))
    is_blind = first["blinded"].astype(bool)
    blind = first[is_blind]
    proposes = blind["suggested"] != blind["observed"]
    flagged = first[first["flagged"].astype(bool) & (first["suggested"] != first["observed"])]
    blind_flags = flagged[flagged["blinded"].astype(bool)]
    open_flags = flagged[~flagged["blinded"].astype(bool)]
    one, other = _agreeing(blind_flags), _agreeing(open_flags)
    return Bias(
        _changes(blind[proposes]),
        _changes(blind[~proposes]),
        {purpose: _called_wrong(blind, purpose) for purpose in ("flag", "control", "random_audit")},
        one,
        other,
        difference(other, one),
    )


def _changes(rows: pd.DataFrame) -> Changes:
    against = rows[rows["said"] != rows["suggested"]]
    along = rows[rows["said"] == rows["suggested"]]
    shown = np.where(against["suggested"] == 1, "present", "absent")
    towards = weighted_share((against["last"] == shown).to_numpy(), cluster=against["patient_id"].to_numpy())
    away = weighted_share((along["last"] != along["answer"]).to_numpy(), cluster=along["patient_id"].to_numpy())
    return Changes(towards, away, difference(towards, away))


def _called_wrong(blind: pd.DataFrame, purpose: str) -> Share:
    rows = blind[blind["purpose"] == purpose]
    if purpose == "flag":
        weight = np.ones(len(rows))
    else:
        rows = rows[rows["inclusion_probability"].notna()]
        weight = 1.0 / rows["inclusion_probability"].to_numpy(dtype=float)
    wrong = (rows["said"] != rows["observed"]).to_numpy()
    return weighted_share(wrong, weight, rows["patient_id"].to_numpy())


def _agreeing(rows: pd.DataFrame) -> Share:
    return weighted_share((rows["said"] == rows["suggested"]).to_numpy(), cluster=rows["patient_id"].to_numpy())
