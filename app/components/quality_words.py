"""How the Quality page puts figures into words, table rows and chart rows."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.page import Column, table
from audit_store.quality.agreement import Coefficient
from audit_store.quality.noise import Noise
from audit_store.quality.pace import FEWEST_READERS, Pace
from audit_store.quality.shares import TOO_FEW, Share

NONE = "—"


def percent(part: float | None) -> str:
    """A part (0–1) in per cent, tenths below ten."""
    if part is None:
        return NONE
    return f"{100 * part:.1f} %" if 0 < part < 0.0995 else f"{100 * part:.0f} %"


def interval(share: Share) -> str:
    """The 95 % interval of a share, or that there is too little."""
    if share.low is None or share.high is None:
        return few(share.n)
    return f"{percent(share.low)[:-2]} to {percent(share.high)}"


def fold(body: str, summary: str = "The figures as a table") -> None:
    """A table under its picture, closed until asked for."""
    st.html(f'<details class="figures"><summary>{summary}</summary>{body}</details>')


def few(n: int) -> str:
    """That there is too little, and how much there is."""
    return f"too few ({n})"


def told(share: Share) -> str:
    """A share with its interval in one phrase."""
    return f"{percent(share.estimate)} ({interval(share)})" if share.told else few(share.n)


def bounds(share: Share) -> str:
    """How far "can't say" widens the interval; a dash where nobody said it."""
    if not share.unsure or share.floor is None or share.ceiling is None:
        return NONE
    return f"{percent(share.floor)[:-2]} to {percent(share.ceiling)}"


def coefficient(found: Coefficient) -> str:
    """A coefficient of agreement with its interval."""
    if found.few:
        return few(found.n)
    if found.value is None or found.low is None or found.high is None:
        return "all answers alike"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def points(difference: tuple[float, float, float] | None) -> str:
    """A difference of shares in percentage points, with its interval."""
    if difference is None:
        return "too few to compare"
    value, low, high = (100 * part for part in difference)
    return f"{value:+.0f} points ({low:+.0f} to {high:+.0f})"


def pooled_row(noise: Noise) -> dict[str, object]:
    """One line of an interval chart for a label that has too few readings of its own: words in place of a dot."""
    row = share_row(noise.name, noise.recorded)
    return {**row, "estimate": None, "few": f"{few(noise.readings)}: as {noise.pooled}"}


def share_row(name: str, share: Share) -> dict[str, object]:
    """One line of an interval chart."""
    return {
        "name": name,
        "estimate": share.estimate,
        "low": share.low,
        "high": share.high,
        "floor": share.floor,
        "ceiling": share.ceiling,
        "n": share.n,
        "few": few(share.n),
    }


def coefficient_row(name: str, found: Coefficient) -> dict[str, object]:
    """One line of a chart of agreement."""
    return {
        "name": name,
        "estimate": found.value,
        "low": found.low,
        "high": found.high,
        "floor": found.low,
        "ceiling": found.high,
        "n": found.n,
        "few": coefficient(found),
    }


def rows_of(noise: Sequence[Noise], handed_out: bool) -> pd.DataFrame:
    """The lines of one kind of noise."""
    return pd.DataFrame(
        [
            pooled_row(one) if one.pooled else share_row(one.name, one.handed_out if handed_out else one.recorded)
            for one in noise
        ]
    )


def noise_table(noise: Sequence[Noise], caption: str) -> str:
    """The figures behind a picture of noise."""
    columns = (
        Column("Labels"),
        Column("Read", number=True, help="pairs that the random audit read"),
        Column("As recorded", number=True),
        Column("95 % interval", number=True),
        Column("With can't say", number=True, help="the interval if each can't say were right, and if each were wrong"),
        Column("Corrected", number=True, help="labels that readers settled otherwise"),
        Column("Handed out", number=True, help="noise left after these corrections"),
        Column("95 % interval", number=True),
        Column("Rests on"),
    )
    rows = [
        [
            one.name,
            f"{one.readings:,}",
            percent(one.recorded.estimate),
            interval(one.recorded),
            bounds(one.recorded),
            f"{one.corrected:,}",
            percent(one.handed_out.estimate),
            interval(one.handed_out),
            one.pooled or "its own",
        ]
        for one in noise
    ]
    return table(columns, rows, caption)


def pace_words(pace: Pace) -> str:
    """The middle half of the times, or why it is not told."""
    if pace.low is None or pace.median is None or pace.high is None:
        if pace.n >= TOO_FEW:
            return f"untold: fewer than {FEWEST_READERS} readers"
        return few(pace.n)
    return f"{pace.median:.0f} s ({pace.low:.0f} to {pace.high:.0f})"


def pace_row(name: str, pace: Pace) -> dict[str, object]:
    """One line of a chart of time."""
    return {
        "name": name,
        "low": pace.low,
        "median": pace.median,
        "high": pace.high,
        "n": pace.n,
        "few": pace_words(pace),
    }
