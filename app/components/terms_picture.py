"""What a batch is made of, as one bar, and the terms of a protocol as sentences."""

from collections.abc import Hashable, Mapping
from typing import Any

from app.components.page import Column, table
from app.plain import escape
from audit_store.batches import composition
from audit_store.protocol import Terms
from audit_store.quality.shares import expected_width

KINDS = {
    "flag": ("flagged pairs", "what the model suspects most, in chance order"),
    "double_review": ("second readings", "pairs that somebody else reads too, each without knowing of the other"),
    "control": ("controls", "pairs that were not flagged; they show whether the model is agreed with too easily"),
    "random_audit": ("random audit", "pairs drawn at random by known chance; they tell how much noise is left"),
}


def html(terms: Terms) -> str:
    """The bar with its figures in words below it, so that colour and pattern carry nothing alone."""
    parts = {name: n for name, n in composition(terms).items() if n}
    whole = sum(parts.values()) or 1
    words = ", ".join(f"{n} {KINDS[name][0]}" for name, n in parts.items())
    drawn = "".join(
        f'<i class="made {name}" style="width:{100 * n / whole:.2f}%"><span>{n}</span></i>' for name, n in parts.items()
    )
    told = "".join(
        f'<li><i class="made {name}"></i><span><b>{n} {KINDS[name][0]}</b>: {KINDS[name][1]}</span></li>'
        for name, n in parts.items()
    )
    return (
        f'<div class="made-of" role="img" aria-label="Of {whole} pairs: {escape(words)}">{drawn}</div>'
        f'<ul class="made-words">{told}</ul>'
    )


def sentences(terms: Terms) -> list[str]:
    """The terms in plain words."""
    blind = (
        "Everyone reads <b>blind</b>: what is recorded, what the model says and why a pair is shown appear after the "
        "first answer. Flagged pairs and the others look the same until then."
        if terms.blind
        else "Reading is <b>not blind</b>: what is recorded and what the model says stand on the page from the start, "
        "and each decision says so."
    )
    budget = (
        f"In a round <b>{terms.budget:,}</b> pairs are read, by all readers together; then no batch is drawn any more."
        if terms.budget is not None
        else "A round is read until its flags are: there is no limit on the number of pairs."
    )
    return [f"A batch has <b>{terms.batch_size}</b> pairs.", budget, blind]


BATCHES = (1, 5, 20, 50)
SHARE = 0.1  # of wrong records, for which the widths are told
WIDTHS = (Column("Batches read"), Column("Pairs of the random audit", number=True), Column("Interval", number=True))


def widths(terms: Terms) -> str:
    """How well the noise that is left will be known: the 95 % interval to expect, by the number of batches read."""
    audit = composition(terms)["random_audit"]
    if not audit:
        return '<p class="warn">Without a random audit nothing can be said of the noise that is left.</p>'
    rows = [
        [f"{n}", f"{n * audit:,}", f"± {100 * expected_width(n * audit, SHARE):.1f} points"]
        for n in BATCHES
        if terms.budget is None or n * terms.batch_size <= max(terms.budget, terms.batch_size)
    ]
    return (
        f"<p>If about {100 * SHARE:.0f} % of the labels are recorded wrongly, the random audit will tell that share, "
        "over all labels, with this 95 % interval. For one label alone it is wider.</p>"
        f'<div class="narrow">{table(WIDTHS, rows, "How well the noise that is left will be known")}</div>'
    )


COLUMNS = (
    Column("Pairs in a batch", number=True),
    Column("Second readings", number=True),
    Column("Controls", number=True),
    Column("Random audit", number=True),
    Column("Blind"),
    Column("In all", number=True),
)


def cells(row: Mapping[Hashable, Any]) -> list[str]:
    """The terms of one signed protocol as cells under `COLUMNS`."""
    shares = [f"{100 * row[name]:.0f} %" for name in ("double_share", "control_share", "audit_share")]
    budget = row["budget"]
    whole = "no limit" if budget is None or budget != budget else f"{int(budget):,}"
    return [f"{row['batch_size']:,}", *shares, "blind" if row["blind"] else "not blind", whole]
