"""Where visits and hours stand on a chart's axis: side by side with a break between, titles that never overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from audit_store.chart import Visit

BREAK_SHARE = 0.05  # width of the break between two visits, of all hours shown
TICKS_ALL = 8
DAY = 24.0
WHOLE, FIRST, LAST = "all", "first 24 h", "last 24 h"
WINDOWS = (WHOLE, FIRST, LAST)
NARROWEST, LETTER, SPACE = 200.0, 5.4, 3.0  # pixels: the least an axis is wide, a title's letter, what lies between two
STEPS = (1, 2, 4, 6, 12, 24, 48, 72, 120, 240, 480, 960)


@dataclass(frozen=True)
class Place:
    """Where a visit stands on the axis: hours from `left` to `left + length`."""

    stay_id: int
    title: str
    left: float
    length: float
    is_this: bool


def lay_out(visits: Sequence[Visit], frame: pd.DataFrame) -> list[Place]:
    """Put visits side by side in their order, each with room for what was measured before it.

    The first begins at 0, so that the axis of one visit alone tells its own hours; what was measured before that lies
    left of what is shown at first, a drag away.
    """
    last = frame.groupby("stay_id")["hour"].max() if len(frame) else pd.Series(dtype=float)
    first = frame.groupby("stay_id")["hour"].min() if len(frame) else pd.Series(dtype=float)
    lengths = {v.stay_id: max(v.los_hours, float(last.get(v.stay_id, 0.0)), 1.0) for v in visits}
    starts = {v.stay_id: min(0.0, float(first.get(v.stay_id, 0.0))) for v in visits}
    gap = BREAK_SHARE * sum(lengths.values())
    places: list[Place] = []
    left = 0.0
    for i, visit in enumerate(visits):
        if i:
            left += gap - starts[visit.stay_id]
        places.append(Place(visit.stay_id, visit.title, left, lengths[visit.stay_id], visit.is_this))
        left += lengths[visit.stay_id]
    return places


def window_of(places: Sequence[Place], window: str) -> tuple[float, float]:
    """The hours that a choice shows of one visit; all of them where several are drawn or none is chosen."""
    left, right = places[0].left, places[-1].left + places[-1].length
    if len(places) > 1 or window == WHOLE or right - left <= DAY:
        return left, right
    return (left, left + DAY) if window == FIRST else (right - DAY, right)


def visit_titles(places: Sequence[Place], width: float = NARROWEST) -> list[str]:
    """What stands over each visit, the asked one first; a title that would run into another is shortened or left out.

    Parameters
    ----------
    places
        Visits from left to right.
    width
        Least width of the axis [px]; wider ones only leave more room.

    Returns
    -------
    One title for each place, empty where there is no room.
    """
    total = places[-1].left + places[-1].length
    starts = [place.left / total * width for place in places]
    titles = [""] * len(places)
    ends = [0.0] * len(places)

    def free(i: int, text: str) -> float | None:
        end = starts[i] + LETTER * len(text) + SPACE
        others = [(starts[k], ends[k]) for k in range(len(places)) if titles[k] and k != i]
        clear = all(end <= a or b <= starts[i] for a, b in others)
        return end if clear and (end <= width + SPACE or places[i].is_this) else None

    for i in sorted(range(len(places)), key=lambda i: not places[i].is_this):
        end = free(i, places[i].title)
        if end is not None:
            titles[i], ends[i] = places[i].title, end
    for i, place in enumerate(places):
        if place.is_this and free(i, f"{place.title} (asked)") is not None:
            titles[i] = f"{place.title} (asked)"
    return titles


def hour_ticks(places: Sequence[Place], window: tuple[float, float]) -> tuple[list[float], str]:
    total = sum(place.length for place in places) if len(places) > 1 else window[1] - window[0]
    step = next((s for s in STEPS if total / s <= TICKS_ALL), STEPS[-1])
    values: list[float] = []
    for place in places:
        count = int(place.length // step)
        values += [place.left + step * i for i in range(count + 1)]
    expression = "format(datum.value, '.0f')"
    for place in places:
        shifted = f"format(datum.value - {place.left:.6f}, '.0f')"
        expression = f"datum.value >= {place.left - 1e-6:.6f} ? {shifted} : {expression}"
        if place is places[0]:
            expression = shifted
    return values, expression
