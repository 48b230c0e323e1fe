"""What a round says of itself, and of one pair."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RoundInfo:
    """What a round says of itself: the fields of ``round.json``.

    Where it is `calibrated`, the pairs' `error_probability` is a probability that the label is wrong, and may be told
    as one; else it only orders pairs.
    """

    round_id: int
    parent: int | None
    created_at: str
    preset: str
    config: dict[str, Any]
    code_version: str
    cohort_fingerprint: str
    cohort_name: str
    decisions_count: int
    decisions_last_id: int | None
    decisions_head: str | None
    seed: int
    device: str
    seconds: float
    peak_memory_mb: float | None
    budget: int
    schema_version: int
    calibrated: bool


@dataclass(frozen=True)
class Pair:
    """One (stay, label) of a round: the columns of `audit_store.schema.PAIR`, its label, and its history as floats."""

    stay_id: int
    patient_id: int
    visit: int
    split: str
    label_id: int
    observed: int
    given: float
    probability: float
    probability_series: float | None
    probability_note: float | None
    probability_peer: float | None
    rank: int
    difficulty: float
    selection_score: float
    uncertainty: float
    partition: str
    eligible: bool
    corrected: float
    suggested: int
    flagged: bool
    direction: str
    error_probability: float
    suspicion_rank: int | None
    history: tuple[float, ...]
    label_key: str
    label_name: str
    n_flagged: int
    calibrated: bool
