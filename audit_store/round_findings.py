"""What a round found, summed up for its page: did the decisions help, and is the correction expected to do harm."""

from dataclasses import dataclass

import pandas as pd

from audit_store.detector_words import title

METRICS = {"map": "mean average precision", "auroc_macro": "AUROC, mean of labels"}
HELPED, UNSEEN, HARMED = "helped", "no difference seen", "harmed"


@dataclass(frozen=True)
class Verdict:
    """One metric with and without the decisions, and what its interval says.

    Parameters
    ----------
    title
        The metric in words.
    word
        ``helped`` where the whole interval lies above 0, ``harmed`` where it lies below, else ``no difference seen``.
    with_decisions, without_decisions, difference, low, high
        The metric's values, their difference, and its interval's ends.
    patients
        Test patients compared.
    note
        What labels it was measured against.
    """

    title: str
    word: str
    with_decisions: float
    without_decisions: float
    difference: float
    low: float
    high: float
    patients: int
    note: str


@dataclass(frozen=True)
class HarmSum:
    """The correction's expected effect over all labels, in numbers of labels; groups are a label and a direction."""

    changed: int
    better: float
    worse: float
    error_before: float
    error_after: float
    groups: int
    left_alone: int


def did_it_help(comparison: pd.DataFrame) -> list[Verdict]:
    """Judge each metric of a round's `comparison` by its interval; empty where it was not compared."""
    made = []
    for row in comparison.to_dict("records"):
        low, high = float(row["low"]), float(row["high"])
        note = row["note"]
        made.append(
            Verdict(
                METRICS.get(str(row["metric"]), str(row["metric"]).replace("_", " ")),
                HELPED if low > 0 else HARMED if high < 0 else UNSEEN,
                float(row["with_decisions"]),
                float(row["without_decisions"]),
                float(row["difference"]),
                low,
                high,
                int(row["n_patients"]),
                note if isinstance(note, str) else "",
            )
        )
    return made


def harm_sum(harm: pd.DataFrame) -> HarmSum | None:
    """Sum a round's `harm` over labels and directions; None where it was not estimated."""
    if harm.empty:
        return None
    held = harm[harm["pairs"] > 0]
    return HarmSum(
        changed=int(held["changed"].sum()),
        better=float(held["expected_better"].sum()),
        worse=float(held["expected_worse"].sum()),
        error_before=float(held["expected_error_before"].sum()),
        error_after=float(held["expected_error_after"].sum()),
        groups=len(held),
        left_alone=int(held["left_alone"].sum()),
    )


def left_alone(harm: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """Give groups left alone as (direction, reason, label names), most labels first; groups without pairs are not."""
    held = harm[(harm["pairs"] > 0) & harm["left_alone"].astype(bool)]
    if held.empty:
        return []
    told = held.assign(reason=held["reason"].fillna("no reason given"))
    groups = [
        (str(direction), str(reason), [str(name) for name in rows["name"]])
        for (direction, reason), rows in told.groupby(["direction", "reason"], sort=True)
    ]
    return sorted(groups, key=lambda group: -len(group[2]))


def agreement(counted: pd.DataFrame) -> pd.DataFrame:
    """Share of the flags that each detector has in its most suspect twentieth (columns `name`, `share`), highest first.

    Detectors that scored no flag are left out.
    """
    held = counted[counted["flags"] > 0]
    shares = pd.DataFrame(
        {
            "name": [title(str(name)) for name in held["detector"]],
            "share": held["top"].to_numpy(float) / held["flags"].to_numpy(float),
        }
    )
    return shares.sort_values("share", ascending=False, kind="stable", ignore_index=True)
