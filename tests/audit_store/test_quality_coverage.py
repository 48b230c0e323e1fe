"""Do the intervals of calibration and of automation bias cover at their nominal rate? Simulated rounds and readers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit_store.quality.bias import _changes
from audit_store.quality.calibration import calibration_of

SIMULATED = 120
LEAST = 0.89  # of 120 intervals of nominal 95 %: fewer by chance once in a hundred times, were they exact


def _round(rng: np.random.Generator, patients: int, told: float) -> pd.DataFrame:
    """One bin's pairs, told `told` each; patients differ in how often it is true, and the wrong are flagged more."""
    patient = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
    often = rng.beta(4 * told, 4 * (1 - told), patients)[patient]
    n = len(patient)
    wrong = rng.random(n) < often
    return pd.DataFrame(
        {
            "stay_id": np.arange(n),
            "label_key": "sepsis",
            "patient_id": patient,
            "observed": 0,
            "wrong": wrong,
            "flagged": rng.random(n) < np.where(wrong, 0.6, 0.25),
            "error_probability": np.float32(told),
            "partition": "clean",
            "round_id": 1,
        }
    )


def _read(rng: np.random.Generator, pairs: pd.DataFrame, flags: int, others: int, unsure: float) -> Any:
    """Some flags, and some of the others drawn with known probability; a few readers can't say."""
    of = {kind: pairs.index[pairs["flagged"] == kind].to_numpy() for kind in (True, False)}
    drawn = np.concatenate([rng.choice(of[True], flags, False), rng.choice(of[False], others, False)])
    rows = pairs.loc[drawn].assign(inclusion_probability=others / len(of[False]))
    rows["purpose"] = np.where(rows["flagged"], "flag", "control")
    rows.loc[rows["flagged"], "inclusion_probability"] = np.nan
    truth = np.where(rng.random(len(rows)) < unsure, np.nan, rows["wrong"].astype(float))
    return SimpleNamespace(blind=rows, pairs=rows[["stay_id", "label_key"]].assign(truth=truth))


def _file(pairs: pd.DataFrame, place: int) -> Any:
    grouped = pairs.groupby("flagged")["error_probability"]
    counts = pd.DataFrame({"place": place, "pairs": grouped.size(), "mean": grouped.mean()}).reset_index()
    return SimpleNamespace(info=SimpleNamespace(round_id=1), frame=lambda _query: counts)


@pytest.mark.parametrize(("told", "place", "unsure"), [(0.15, 3, 0.0), (0.65, 8, 0.0), (0.35, 5, 0.1)])
def test_a_bin_of_the_calibration_covers_what_is_wrong_in_all_its_pairs(told: float, place: int, unsure: float) -> None:
    rng = np.random.default_rng(53)
    inside = []
    for _ in range(SIMULATED):
        pairs = _round(rng, 400, told)
        (found,) = calibration_of(_file(pairs, place), _read(rng, pairs, 40, 25, unsure))
        assert not found.flags_only
        assert found.said == pytest.approx(told)
        low, high = (found.found.floor, found.found.ceiling) if unsure else (found.found.low, found.found.high)
        assert low is not None
        assert high is not None
        inside.append(low <= pairs["wrong"].mean() <= high)
    assert np.mean(inside) >= LEAST


@pytest.mark.parametrize(("towards", "away", "alike"), [(0.3, 0.1, 0.0), (0.2, 0.2, 0.5), (0.1, 0.05, -0.5)])
def test_the_pull_of_the_reveal_covers_also_where_a_patients_pairs_are_changed_alike(
    towards: float, away: float, alike: float
) -> None:
    """`alike` > 0: who is swayed on a patient's one pair is on the other; < 0: the other way round."""
    rng = np.random.default_rng(59)
    inside = []
    for _ in range(SIMULATED):
        patient = np.repeat(np.arange(60), 4)
        mood = rng.normal(size=60)[patient]
        along = rng.random(len(patient)) < 0.5
        pushed = np.where(along, np.sign(alike) * mood, mood) if alike else rng.normal(size=len(patient))
        z = np.sqrt(abs(alike)) * pushed + np.sqrt(1 - abs(alike)) * rng.normal(size=len(patient))
        changed = z > np.where(along, *(_quantile(1 - share) for share in (away, towards)))
        suggested = rng.integers(0, 2, len(patient))
        said = np.where(along, suggested, 1 - suggested)
        words = np.array(["absent", "present"])
        rows = pd.DataFrame(
            {
                "patient_id": patient,
                "suggested": suggested,
                "said": said,
                "answer": words[said],
                "last": words[np.where(changed, 1 - said, said)],
            }
        )
        more = _changes(rows).more
        assert more is not None
        inside.append(more[1] <= towards - away <= more[2])
    assert np.mean(inside) >= LEAST


def _quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))
