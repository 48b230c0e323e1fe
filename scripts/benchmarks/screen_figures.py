"""What the screens' raw rows come to: percentiles, added memory, and the table beside what was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("measure", pa.string()),
        ("sessions", pa.int64()),
        ("number", pa.int64()),
        ("warm_up", pa.bool_()),
        ("what", pa.string()),
        *[(name, pa.float64()) for name in ("place", "text", "chart", "last", "script", "ready")],
        ("server_cpu_ms", pa.float64()),
        ("reruns", pa.int64()),
        ("charts", pa.int64()),
        ("elements", pa.int64()),
        ("bytes", pa.int64()),
        ("messages", pa.int64()),
        ("memory_mib", pa.float64()),
        ("decisions", pa.int64()),
        ("pairs_shown", pa.int64()),
        ("load", pa.float64()),
        ("made_at", pa.string()),
    ]
)
"""Columns of ``screen.parquet``: milliseconds from the press to the last change of each kind, in the page's clock."""


@dataclass(frozen=True)
class Asked:
    """A line of the table: which rows and column, and the most that is asked at the 95th percentile (ms)."""

    words: str
    measure: str
    column: str
    most: float
    sessions: int = 1


ASKED: tuple[Asked, ...] = (
    Asked("key J to the next pair's head on screen", "next", "place", 150.0),
    Asked("key J to the last of its text", "next", "text", 150.0),
    Asked("key J to all charts redrawn", "next", "chart", 400.0),
    Asked("key that answers and goes on, to the next pair's head", "answer", "place", 150.0),
    Asked("key that answers and goes on, to the last of its text", "answer", "text", 150.0),
    Asked("key that answers and goes on, to all charts redrawn", "answer", "chart", 400.0),
    Asked("queue page with another filter", "filter", "ready", 300.0),
    Asked("twenty days of seventeen channels drawn", "series", "chart", 600.0),
)
HELD_WORDS = "answers written by a key held for two seconds, for each pair shown"
MEMORY_MIB = 40.0
SLOWER = 2.0
CROWD = "next"
"""The measure that is taken again beside the crowd."""


def percentile(values: Sequence[float], share: float) -> float:
    """Percentile of values, linear between neighbours; NaN where there are none."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), share)) if len(values) else float("nan")


def added_mib(before: Sequence[float], during: Sequence[float]) -> float:
    """Memory that the other sessions added: the most seen while they acted, less the median before they came."""
    return max(during) - percentile(before, 0.5) if before and during else float("nan")


def held_mib(before: Sequence[float], during: Sequence[float]) -> float:
    """Memory that the other sessions hold once they read: the median of the later half, less the median before."""
    later = during[len(during) // 2 :]
    return percentile(later, 0.5) - percentile(before, 0.5) if before and later else float("nan")


def counted(rows: Sequence[Row], measure: str, column: str, sessions: int) -> list[float]:
    """Values of a column that count: not the warm-up's, and not where nothing of the kind changed."""
    return [
        row[column]
        for row in rows
        if row["measure"] == measure and row["sessions"] == sessions and not row["warm_up"] and row[column] is not None
    ]


def memory(rows: Sequence[Row]) -> tuple[list[float], list[float], int]:
    """Memory before and while the others were there (MiB), and how many sessions there were in all."""
    before = [row["memory_mib"] for row in rows if row["measure"] == "memory" and row["sessions"] == 1]
    during = [row["memory_mib"] for row in rows if row["measure"] == "memory" and row["sessions"] > 1]
    return before, during, max((row["sessions"] for row in rows), default=1)


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Write the table: what was asked, what came, and whether it was met."""
    lines = [
        f"{about['rounds']} rounds of {about['pairs']:,} pairs, {about['decisions']:,} answers in the store; "
        f"{about['cores']} cores, {about['browser']}, streamlit {about['streamlit']}; load {_loads(rows)}",
        "",
        "| what | asked (p95) | p50 | p95 | n | met |",
        "|---|---|---|---|---|---|",
    ]
    for asked in ASKED:
        values = counted(rows, asked.measure, asked.column, asked.sessions)
        p50, p95 = percentile(values, 0.5), percentile(values, 0.95)
        lines.append(
            f"| {asked.words} | ≤ {asked.most:.0f} ms | {_ms(p50)} | {_ms(p95)} | {len(values)} | "
            f"{_met(p95, asked.most)} |"
        )
    lines += _crowd_lines(rows)
    held = [row for row in rows if row["measure"] == "held"]
    worst = max((row["decisions"] for row in held), default=None)
    shown = sum(row["pairs_shown"] for row in held)
    if worst is not None:
        lines.append(f"| {HELD_WORDS} | ≤ 1 | – | {worst} at most ({shown} pairs) | {len(held)} | {_met(worst, 1)} |")
    presses = [row for row in rows if row["measure"] == CROWD and row["sessions"] == 1 and not row["warm_up"]]
    if presses:
        middle = {
            name: percentile([row[name] for row in presses], 0.5) for name in ("server_cpu_ms", "bytes", "messages")
        }
        lines += [
            "",
            f"A press of J: {middle['server_cpu_ms']:.0f} ms of the server's processor time, "
            f"{middle['bytes'] / 1000:.0f} kB in {middle['messages']:.0f} messages (medians).",
        ]
    return "\n".join(lines)


def _crowd_lines(rows: Sequence[Row]) -> list[str]:
    before, during, sessions = memory(rows)
    if sessions == 1:
        return []
    kinds = (
        ("hold once they read", held_mib(before, during)),
        ("add at most, while they come in and draw batches", added_mib(before, during)),
    )
    lines = [
        f"| memory that {sessions - 1} more sessions {words} | < {MEMORY_MIB:.0f} MiB | – | {added:.0f} MiB | "
        f"{len(during)} | {_met(added, MEMORY_MIB)} |"
        for words, added in kinds
    ]
    for column, words in (("place", "head"), ("text", "text"), ("chart", "charts")):
        alone = percentile(counted(rows, CROWD, column, 1), 0.95)
        values = counted(rows, CROWD, column, sessions)
        p50, p95 = percentile(values, 0.5), percentile(values, 0.95)
        lines.append(
            f"| key J to {words} beside {sessions - 1} more sessions | ≤ {SLOWER:.0f} × {_ms(alone)} | {_ms(p50)} | "
            f"{_ms(p95)} | {len(values)} | {_met(p95, SLOWER * alone)} |"
        )
    return lines


def _loads(rows: Sequence[Row]) -> str:
    loads = [row["load"] for row in rows]
    return f"{min(loads):.1f}–{max(loads):.1f}" if loads else "–"


def _ms(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f} ms"


def _met(value: float, most: float) -> str:
    return "–" if np.isnan(value) or np.isnan(most) else "yes" if value <= most else "no"
