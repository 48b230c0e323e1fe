"""Agreement of a round's readers: over all, by label, and for each two of them.

"Can't say" is taken in two ways. As missing: do readers who commit themselves agree? That is the first figure, for a
"can't say" changes no label. As an answer of its own: one who can't say where another can is then a disagreement; the
second figure.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from audit_store.quality.agreement import Coefficient, alpha, kappa
from audit_store.quality.readings import DEFINITE, VALUES, Readings

_PLACE = {value: place for place, value in enumerate(VALUES)}


@dataclass(frozen=True)
class Two:
    """Two readers' agreement: R1, R2, …, and Cohen's kappa with "can't say" as missing."""

    one: str
    other: str
    kappa: Coefficient


@dataclass(frozen=True)
class Agreement:
    """How far readers agree, by first blind answers.

    Parameters
    ----------
    committed
        Alpha of present and absent, "can't say" as missing.
    all_answers
        Alpha with "can't say" as an answer of its own.
    by_label
        Alpha per label key that two readers shared a pair of, "can't say" as missing.
    twos
        Each two readers who share a pair.
    """

    committed: Coefficient
    all_answers: Coefficient
    by_label: dict[str, Coefficient]
    twos: list[Two]


def alpha_of(blind: pd.DataFrame, values: tuple[str, ...] = DEFINITE) -> Coefficient:
    """Alpha of first blind answers (rows of `Readings.first`) among `values`; other answers count as missing."""
    rows = blind[blind["answer"].isin(values)]
    pairs, first, place = np.unique(rows["pair"].to_numpy(dtype=np.int64), return_index=True, return_inverse=True)
    counts = np.zeros((len(pairs), len(values)))
    np.add.at(counts, (place, rows["answer"].map(_PLACE).to_numpy(dtype=np.int64)), 1)
    return alpha(counts, rows["patient_id"].to_numpy()[first])


def agreement_of(known: Readings) -> Agreement:
    """Tell how far a round's readers agree."""
    blind = known.blind
    shared = blind[blind["pair"].duplicated(keep=False)]
    by_label = {str(key): alpha_of(rows) for key, rows in shared.groupby("label_key", sort=False)}
    return Agreement(alpha_of(shared), alpha_of(shared, VALUES), by_label, _twos(shared))


def _twos(shared: pd.DataFrame) -> list[Two]:
    rows = shared[shared["answer"].isin(DEFINITE)]
    wide = rows.assign(said=rows["answer"].map(_PLACE)).pivot_table(
        index=["pair", "patient_id"], columns="reader", values="said", aggfunc="first"
    )
    patients = wide.index.get_level_values("patient_id").to_numpy() if len(wide) else np.zeros(0)
    found = []
    for one, other in combinations(sorted(wide.columns, key=lambda name: int(str(name)[1:])), 2):
        both = (wide[one].notna() & wide[other].notna()).to_numpy()
        if both.any():
            told = kappa(wide[one].to_numpy()[both], wide[other].to_numpy()[both], len(DEFINITE), patients[both])
            found.append(Two(str(one), str(other), told))
    return found
