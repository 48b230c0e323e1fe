"""How far the round is, label by label: figures and a bar whose parts differ by pattern, not by colour alone."""

import pandas as pd

from app.components.page import Column, Markup, table
from app.plain import escape

PARTS = {
    "locked": "locked",
    "adjudicated": "adjudicated",
    "answered": "not certain",
    "conflict": "disagree",
    "open": "open",
}
COLUMNS = (
    Column("Label"),
    Column("Flagged", number=True, help="pairs that the round proposes to read"),
    Column("Open", number=True, help="nobody has answered"),
    Column("Not certain", number=True, help="one answer of low certainty, or can't say"),
    Column("Disagree", number=True, help="one reader says present, another absent"),
    Column("Locked", number=True, help="a certain answer, two that agree, or an adjudicated one"),
    Column("How far"),
)


def bar(parts: dict[str, int], whole: int) -> Markup:
    """A bar of parts, as wide as `whole` of them."""
    drawn = "".join(
        f'<i class="part {name}" style="width:{100 * n / whole:.2f}%"></i>' for name, n in parts.items() if n
    )
    words = ", ".join(f"{n:,} {PARTS[name]}" for name, n in parts.items() if n)
    return Markup(f'<div class="bar" role="img" aria-label="{escape(words)}">{drawn}</div>')


def legend() -> str:
    """What the patterns of the bars mean."""
    parts = "".join(f'<span><i class="part {name}"></i>{words}</span>' for name, words in PARTS.items())
    return f'<p class="bar-legend">{parts}</p>'


def html(counts: pd.DataFrame) -> str:
    """The table; `counts` as from `audit_store.queue.counts`, labels without a flag left out."""
    flagged = counts[counts["flagged"] > 0].sort_values("open", ascending=False, kind="stable")
    rows = []
    for row in flagged.to_dict("records"):
        parts = {name: int(row[name]) for name in PARTS}
        figures = (row["flagged"], row["open"], row["answered"], row["conflict"], row["locked"] + row["adjudicated"])
        rows.append([row["name"], *(f"{int(n):,}" for n in figures), bar(parts, int(row["flagged"]))])
    return table(COLUMNS, rows, "How far each label is") + legend()
