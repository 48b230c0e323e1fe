"""Reasons from the cohort's other sources of labels: what each states of the pair, in words."""

import math
from collections.abc import Sequence

from audit_store.chart import Statement
from audit_store.reason_words import Reason, short, value_word

_AGAINST, _WITH = 0.65, 0.15


def reasons_of_sources(statements: Sequence[Statement], observed: int) -> list[Reason]:
    """Tell what the other sources state.

    Parameters
    ----------
    statements
        Of the pair, as `audit_store.chart.statements` gives them.
    observed
        The recorded value; a source that contradicts it weighs more than one that repeats it.

    Returns
    -------
    A reason for each source, those that contradict the record stronger.
    """
    return [
        Reason(f"{made.title}: {_words(made)}", _AGAINST if made.observed != observed else _WITH, "labels.observed")
        for made in statements
    ]


def _words(made: Statement) -> str:
    """Put a source's word by its kind: coded, affirmed, present with a probability, or plainly present."""
    if made.kind == "codes":
        if not made.observed:
            return "not coded"
        return f"coded ({made.code})" if made.code else "coded"
    if made.kind == "note_terms":
        return "affirmed" if made.observed else "denied"
    probability = _probability(made.code) if made.kind == "model" else None
    return value_word(made.observed) + ("" if probability is None else f" {short(probability)}")


def _probability(code: str | None) -> float | None:
    try:
        number = float(code or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= 1 else None
