"""What the charts of a round show, in words: read aloud where a picture can't be seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from audit_store.round_findings import Verdict
from audit_store.round_scores import PartRange, cuts


def curve_words(epochs: pd.DataFrame, columns: Mapping[str, str], form: str = ".3f") -> str:
    """First and last value of each curve: ``total .64 to .37 over 30 epochs``."""
    told = []
    for name, title in columns.items():
        values = epochs[name].dropna() if name in epochs else pd.Series(dtype=float)
        if len(values):
            told.append(f"{title} {format(values.iloc[0], form)} to {format(values.iloc[-1], form)}")
    return f"Over {len(epochs)} epochs, first to last: {'; '.join(told) or 'nothing recorded'}."


def mixture_words(group: str, ranges: Sequence[PartRange], fit: Mapping[str, Any] | None) -> str:
    """Pairs by part with their scores, the cuts, and the two bells."""
    parts = ", ".join(f"{item.n:,} {item.part} (scores {item.low:.2f} to {item.high:.2f})" for item in ranges)
    told = [f"{group}: {sum(item.n for item in ranges):,} pairs; {parts}"]
    told += [f"{cut.above} begins at {cut.at:.2f}" for cut in cuts(list(ranges))]
    if fit is not None:
        told.append(
            f"bell of pairs that fit: mean {fit['mean_clean']:.2f}, share {fit['weight_clean']:.0%}; "
            f"bell of those that do not: mean {fit['mean_noisy']:.2f}, share {fit['weight_noisy']:.0%}"
        )
    return ". ".join(told) + "."


def verdict_words(verdicts: Sequence[Verdict]) -> str:
    """Each measure's difference with its interval."""
    return "; ".join(
        f"{v.title}: difference {v.difference:+.3f}, 95 % interval {v.low:+.3f} to {v.high:+.3f}" for v in verdicts
    )


def rates_words(labels: pd.DataFrame) -> str:
    """Estimated noise by label: lost and added."""
    return "; ".join(
        f"{row['name']}: {_share(row['rho_plus'])} of those with it recorded absent, "
        f"{_share(row['rho_minus'])} of those without it recorded present"
        for row in labels.to_dict("records")
    )


def _share(value: Any) -> str:
    return "unknown" if pd.isna(value) else f"{value:.1%}"


def harm_words(heading: str, rows: pd.DataFrame) -> str:
    """Expected effect by label of one direction."""
    told = [
        f"{row['name']}: left alone"
        if row["left_alone"]
        else f"{row['name']}: {row['expected_better']:.0f} right, {row['expected_worse']:.0f} wrong"
        for row in rows.to_dict("records")
    ]
    return f"{heading}, labels expected to become right and wrong. {'; '.join(told)}."


def shares_words(shares: pd.DataFrame) -> str:
    """Share of the flags that each detector puts among its most suspect."""
    told = "; ".join(f"{row['name']} {row['share']:.0%}" for row in shares.to_dict("records"))
    return f"Share of the flags in each detector's most suspect twentieth, where chance gives 5%: {told}."
