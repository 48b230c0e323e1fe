"""Visits of one patient held against each other: a lifelong illness can't be there once and gone later.

Where a lifelong label is recorded at one visit and absent at a later one, one of the two records is wrong. Recorded
absent first and present later is possible, since illnesses begin, but for a lifelong one also often a missed record.
"""

from dataclasses import dataclass

import numpy as np

from core.hints import Bool, Float, Int, UInt8
from core.options import check_options, sourced
from core.traces import Traces

LIFELONG = "lifelong"


@dataclass(frozen=True)
class VisitConfig:
    """Options of the visits.

    Parameters
    ----------
    onset
        Weight of a visit that differs in the possible direction (absent before, present after), relative to one that
        contradicts the record.
    prior
        Visits' worth of agreement that every pair starts with: one contradicting visit gives ½ at a prior of 1.
    """

    onset: float = sourced(0.75, "ours, measured: see DECISIONS.md", 0, 1)
    prior: float = sourced(1.0, "ours", 1e-6, 1e6)

    def __post_init__(self) -> None:
        check_options(self)


def _before_and_after(values: np.ndarray, patient: np.ndarray, visit: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sum each patient's values over earlier visits, later visits, and other stays of the same visit number."""
    keys, place = np.unique(np.stack((patient, visit.astype(np.int64))), axis=1, return_inverse=True)
    place = place.ravel()
    at = np.zeros((keys.shape[1], values.shape[1]), np.int64)
    np.add.at(at, place, values)
    upto = np.cumsum(at, axis=0)
    starts = np.searchsorted(keys[0], keys[0], side="left")
    ends = np.searchsorted(keys[0], keys[0], side="right") - 1
    before = upto - at - (upto - at)[starts]
    after = upto[ends] - upto
    return before[place], after[place], at[place] - values


def inconsistency(
    observed: UInt8[np.ndarray, "stays labels"],
    counted: Bool[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    visit: Int[np.ndarray, " stays"],
    config: VisitConfig = VisitConfig(),
) -> Float[np.ndarray, "stays labels"]:
    """Share of the patient's other visits that speak against a record, in [0, 1); every label taken for lifelong.

    Recorded present: later visits without it contradict (weight 1), earlier ones without it may (`onset`). Recorded
    absent: earlier visits with it contradict, later ones with it may. The score is Σ weight·[differs] / (Σ weight +
    prior), 0 for a patient of one visit. Stays that share a visit number have no order: they weigh `onset`.

    Parameters
    ----------
    observed
        Recorded labels.
    counted
        Pairs that may speak.
    patient, visit
        Whose stay, and its place among the patient's.
    config
        Options.
    """
    present = (counted & (observed != 0)).astype(np.int64)
    told = counted.astype(np.int64)
    labels = observed.shape[1]
    sums = _before_and_after(np.concatenate((told, present), axis=1), patient, visit)
    (told_before, with_before), (told_after, with_after), (told_beside, with_beside) = (
        (s[:, :labels], s[:, labels:]) for s in sums
    )
    possible = np.where(observed != 0, told_before, told_after) + told_beside
    contradicting = np.where(observed != 0, told_after, told_before)
    differing_possible = np.where(
        observed != 0, told_before - with_before + told_beside - with_beside, with_after + with_beside
    )
    differing = np.where(observed != 0, told_after - with_after, with_before)
    against = differing + config.onset * differing_possible
    return np.asarray(against / (contradicting + config.onset * possible + config.prior), np.float32)


def visits(traces: Traces, config: VisitConfig) -> Float[np.ndarray, "stays labels"]:
    """Cross-visit inconsistency of lifelong labels, see `inconsistency`; 0 for every other label.

    Training patients' visits speak by their member pairs, since decided ones are no longer what was recorded; test
    patients' by all that is stated.
    """
    found = np.zeros(traces.observed.shape, np.float32)
    lifelong = np.array([kind == LIFELONG for kind in traces.persistence], np.bool_)
    if not lifelong.any():
        return found
    in_training = np.isin(traces.patient, traces.patient[traces.member.any(axis=1)])
    counted = np.where(in_training[:, None], traces.member, traces.stated)[:, lifelong]
    found[:, lifelong] = inconsistency(traces.observed[:, lifelong], counted, traces.patient, traces.visit, config)
    return found
