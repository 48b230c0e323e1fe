"""The part of a round's page that tells what changed since another round."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.components.page import Column, chart, table
from app.components.round_charts import flags_chart, metrics_chart, transitions_chart
from app.plain import escape
from audit_store.round_changes import RoundChanges
from audit_store.schema import PARTITIONS

BUSIEST = 30  # labels in the picture; the table beneath has all
COLUMNS = (
    Column("label"),
    Column("settled", True, "settled by readers since"),
    Column("kept", True, "of these, kept as recorded"),
    Column("corrected", True, "of these, changed against the record"),
    Column("suggested anew", True, "labels not settled whose suggestion differs"),
    Column("to present", True),
    Column("to absent", True),
    Column("flags gone", True, "flagged before, neither settled nor suspect now"),
    Column("flags kept", True),
    Column("flags new", True),
)
KEYS = (
    "locked_since",
    "locked_as_recorded",
    "locked_changed",
    "suggestion_changed",
    "to_present",
    "to_absent",
    "flags_left",
    "flags_stayed",
    "flags_came",
)


def show(changes: RoundChanges) -> None:
    """Sentences, pictures, then the table by label."""
    st.html(facts_html(changes))
    if not changes.same_cohort:
        st.html('<p class="warn">The two rounds were trained on different cohorts; only shared pairs are compared.</p>')
    left, right = st.columns([5, 4], gap="medium")
    busiest = busiest_labels(changes)
    with left:
        st.html(f"<h3>What became of the flags of round {changes.before}</h3>")
        if busiest.empty:
            st.html('<p class="empty">Neither round flagged a pair that both have.</p>')
        else:
            chart(flags_chart(busiest), flags_words(changes), key="flags_fate")
            if len(busiest) < len(changes.labels):
                st.html(f'<p class="soft">the {len(busiest)} labels with most; the table has all</p>')
    with right:
        st.html("<h3>Where pairs moved</h3>")
        chart(transitions_chart(changes.transitions, changes.before, changes.after), moves_words(changes), key="moves")
        st.html("<h3>Held-out stays, against their recorded labels</h3>")
        if changes.metrics.empty:
            st.html('<p class="empty">The two rounds have no held-out measure in common.</p>')
        else:
            picture = metrics_chart(changes.metrics, changes.before, changes.after)
            chart(picture, metrics_words(changes), key="metrics_change")
            st.html(
                '<p class="soft">One run each: another seed moves these figures too, and the recorded labels that they '
                "are measured against are themselves noisy. “Did the decisions help?” compares like with like.</p>"
            )
    with st.expander("By label, as a table"):
        st.html(
            table(COLUMNS, label_rows(changes), f"What changed by label, round {changes.before} to {changes.after}")
        )


def facts_html(changes: RoundChanges) -> str:
    """The way from one round to the other in figures."""
    t = changes.totals
    facts: Sequence[tuple[str, str]] = (
        ("settled by readers since", f"{t['locked_since']:,}"),
        ("of these corrected", f"{t['locked_changed']:,}"),
        ("of these kept as recorded", f"{t['locked_as_recorded']:,}"),
        ("suggestions that changed", f"{t['suggestion_changed']:,}"),
        ("flags still there", f"{t['flags_stayed']:,}"),
        ("flags gone, not settled", f"{t['flags_left']:,}"),
        ("new flags", f"{t['flags_came']:,}"),
        *((("settled before, open again", f"{t['unlocked']:,}"),) if t["unlocked"] else ()),
    )
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    alone = ""
    if changes.only_before or changes.only_after:
        alone = (
            f'<p class="soft">{changes.pairs:,} pairs are in both rounds; {changes.only_before:,} only in the earlier, '
            f"{changes.only_after:,} only in the later.</p>"
        )
    return f'<dl class="facts">{cells}</dl>{alone}'


def busiest_labels(changes: RoundChanges) -> pd.DataFrame:
    """Labels with flags in either round, those with most first."""
    columns = ["flags_left_decided", "flags_left", "flags_stayed", "flags_came"]
    labels = changes.labels.assign(all=changes.labels[columns].sum(axis=1))
    return labels[labels["all"] > 0].sort_values("all", ascending=False, kind="stable").head(BUSIEST)


def flags_words(changes: RoundChanges) -> str:
    """What the picture of flags shows, in a sentence."""
    t = changes.totals
    return (
        f"Of the flags of round {changes.before}, {t['flags_left_decided']:,} were settled by readers, "
        f"{t['flags_left']:,} are no longer suspect and {t['flags_stayed']:,} are still flagged; "
        f"{t['flags_came']:,} are new in round {changes.after}. The table by label has the figures."
    )


def moves_words(changes: RoundChanges) -> str:
    """What the picture of moves shows, row by row."""
    found = {(row["before"], row["after"]): int(row["n"]) for row in changes.transitions.to_dict("records")}
    parts = []
    for part in PARTITIONS:
        went = [f"{found[part, other]:,} to {other}" for other in PARTITIONS if found[part, other]]
        if went:
            parts.append(f"From {part}: {', '.join(went)}")
    return f"Pairs from round {changes.before} to round {changes.after}. {'. '.join(parts) or 'None'}."


def metrics_words(changes: RoundChanges) -> str:
    """Each measure of both rounds, in words."""
    return "; ".join(
        f"{row['metric']} {row['before']:.3f} before, {row['after']:.3f} after ({row['difference']:+.3f})"
        for row in changes.metrics.to_dict("records")
    )


def label_rows(changes: RoundChanges) -> list[list[object]]:
    """Rows of the table by label."""
    return [
        [row["name"], *(f"{row[key]:,}" if row[key] else "·" for key in KEYS)]
        for row in changes.labels.to_dict("records")
    ]
