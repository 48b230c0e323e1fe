"""A round's own page: the next one, what changed, whether decisions helped, training, what it found and set aside."""

from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from app import session
from app.components import next_round, overlap_view, round_change, round_findings_view
from app.components.page import Column, chart, heading, table
from app.components.round_charts import curves_chart, mixture_chart, partition_chart
from app.components.round_words import curve_words, mixture_words
from app.plain import escape
from audit_store.round_changes import METRICS, round_changes
from audit_store.round_scores import cuts, part_ranges
from audit_store.rounds import RoundFile, open_round
from audit_store.schema import PARTITIONS

LOSSES = {
    "loss_total": "total",
    "loss_bce": "labels as recorded",
    "loss_corrected": "corrected labels",
    "loss_series_head": "series alone",
    "loss_note_head": "notes alone",
    "loss_contrast": "patients apart",
    "loss_ortho": "modalities apart",
    "loss_moe": "experts balanced",
}
RECORDED = {0: "absent", 1: "present"}
DIRECTIONS = {"false_negative": "◇ suspected missing", "false_positive": "◆ suspected wrong"}
PARTS = {"n_uncertain": "uncertain", "n_noisy": "noisy", "n_locked": "locked"}
TABLE_HEIGHT = 420  # pixels


def _facts(round_file: RoundFile) -> str:
    info = round_file.info
    made = datetime.fromisoformat(str(info.created_at)).strftime("%d %b %Y, %H:%M UTC")
    facts = [
        ("made", made),
        ("cohort", info.cohort_name),
        ("method", info.preset),
        ("pairs", f"{round_file.n_pairs:,}"),
        ("flagged", f"{round_file.n_flagged:,}"),
        ("decisions read", f"{info.decisions_count:,}"),
        ("follows", f"round {info.parent}" if info.parent else "nothing: the first"),
    ]
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return f'<dl class="facts">{cells}</dl>'


def _training(epochs: pd.DataFrame) -> None:
    st.html("<h2>How it trained</h2>")
    if epochs.empty:
        st.html('<p class="empty">This round recorded no epochs.</p>')
        return
    one, two, three = st.columns(3, gap="medium")
    with one:
        st.html("<h3>Loss</h3>")
        chart(curves_chart(epochs, LOSSES, "loss"), curve_words(epochs, LOSSES), key="losses")
    with two:
        st.html("<h3>Held-out stays, against their recorded labels</h3>")
        if any(name in epochs and epochs[name].notna().any() for name in METRICS):
            chart(curves_chart(epochs, METRICS, "score"), curve_words(epochs, METRICS), key="metrics")
        else:
            st.html('<p class="empty">No held-out measures were recorded.</p>')
    with three:
        st.html("<h3>Pairs set aside at each epoch</h3>")
        if any(name in epochs and epochs[name].notna().any() for name in PARTS):
            chart(partition_chart(epochs), curve_words(epochs, PARTS, ",.0f"), key="partitions")
        else:
            st.html('<p class="empty">No counts were recorded.</p>')
    names = {**LOSSES, **METRICS, **PARTS}
    kept = [name for name in names if name in epochs and epochs[name].notna().any()]
    with st.expander("By epoch, as a table"):
        rows = [[int(row["epoch"]), *(f"{row[name]:,.4g}" for name in kept)] for row in epochs.to_dict("records")]
        st.html(table([Column("epoch"), *(Column(names[name], True) for name in kept)], rows, "Training by epoch"))


def _mixtures(round_file: RoundFile) -> None:
    st.html("<h2>How each label's scores split</h2>")
    st.fragment(_mixture_of_label)(round_file)
    st.html(
        '<p class="legend">bars: pairs by part · upright lines: where one part ends and the next begins · dashed bell: '
        "pairs that fit their label · solid bell: pairs that do not · each group of one label and one recorded value "
        "has its own</p>"
    )


def _mixture_of_label(round_file: RoundFile) -> None:
    names = round_file.label_names
    chosen = st.selectbox("Label", list(names), format_func=names.__getitem__, key="mixture_label", width=440)
    rows = round_file.mixtures(chosen)
    for column, observed in zip(st.columns(2, gap="medium"), (1, 0), strict=True):
        with column:
            st.html(f"<h3>Recorded {RECORDED[observed]}</h3>")
            histogram = round_file.score_histogram(chosen, observed)
            if histogram.empty:
                st.html('<p class="empty">No pair of this label was recorded so.</p>')
                continue
            group = rows[rows["observed_class"] == observed]
            fit = None
            if len(group) and not bool(group["degenerate"].iloc[0]):
                fit = {str(k): v for k, v in group.iloc[0].to_dict().items()}
            ranges = part_ranges(round_file, chosen, observed)
            chart(
                mixture_chart(histogram, fit, RECORDED[observed], cuts(ranges)),
                mixture_words(f"{names[chosen]}, recorded {RECORDED[observed]}", ranges, fit),
                key=f"mixture_{observed}",
            )
            if fit is None:
                reason = str(group["reason"].iloc[0] or "") if len(group) else ""
                st.html(f'<p class="soft">No mixture was fitted here{": " if reason else ""}{escape(reason)}.</p>')


def _partitions(round_file: RoundFile) -> None:
    st.html("<h2>What was set aside</h2>")
    counted = round_file.partition_counts()
    flags = round_file.flag_counts()
    left, right = st.columns([4, 3], gap="medium")
    with left:
        st.html("<h3>Parts of each group</h3>")
        wide = counted.pivot_table(
            index=["name", "observed"], columns="partition", values="n", fill_value=0, aggfunc="sum", sort=False
        )
        shown = wide.reindex(columns=[name for name in PARTITIONS if name in wide.columns])
        rows = [[name, RECORDED[seen], *(f"{int(n):,}" for n in counts)] for (name, seen), *counts in _flat(shown)]
        head = [Column("label"), Column("recorded"), *(Column(str(name), True) for name in shown.columns)]
        with st.container(height=TABLE_HEIGHT, key="parts_table"):
            st.html(table(head, rows, "Pairs per label, recorded value and part"))
    with right:
        st.html("<h3>Flagged for review</h3>")
        if flags.empty:
            st.html('<p class="empty">Nothing was flagged.</p>')
        else:
            wide = flags.pivot_table(
                index="name", columns="direction", values="n", fill_value=0, aggfunc="sum", sort=False
            )
            rows = [[name, *(f"{int(n):,}" for n in counts)] for name, *counts in _flat(wide)]
            head = [Column("label"), *(Column(DIRECTIONS[str(name)], True) for name in wide.columns)]
            with st.container(height=TABLE_HEIGHT, key="flags_table"):
                st.html(table(head, rows, "Flagged pairs per label and direction"))


def _flat(wide: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Index and values of each row."""
    return list(wide.itertuples(name=None))


def _changes(context: session.Context, round_file: RoundFile) -> None:
    """What changed since the round before, or another that the person picks."""
    place = context.store.workspace
    earlier = [number for number in place.round_ids() if number < round_file.info.round_id]
    if not earlier:
        return
    st.html("<h2>What changed since the round before</h2>")
    parent = round_file.info.parent if round_file.info.parent in earlier else earlier[-1]
    other = parent
    if len(earlier) > 1:
        picked = st.selectbox(
            "Compare with",
            earlier[::-1],
            index=earlier[::-1].index(parent),
            format_func=lambda number: f"round {number}",
            key=f"compared_with_{round_file.info.round_id}",
            width=220,
        )
        other = picked or parent
    round_change.show(round_changes(open_round(place, other), round_file))


def render() -> None:
    """Facts of one round, the next one, what changed, did it help, training, what it found, what it set aside."""
    context = session.context()
    place = context.store.workspace
    heading("Rounds", "Each round trains once, reads the decisions made before it, and proposes what to read next.")
    ids = place.round_ids()
    at_hand = context.round_file.info.round_id
    chosen = at_hand
    if len(ids) > 1:
        chosen = st.selectbox(
            "Round to look at",
            ids[::-1],
            index=ids[::-1].index(at_hand),
            format_func=lambda number: f"round {number}" + (" · the one under review" if number == at_hand else ""),
            key="round_shown",
            width=320,
        )
    round_file = context.round_file if chosen == at_hand else open_round(place, chosen)
    st.html(f"<h2>Round {chosen}</h2>{_facts(round_file)}")
    next_round.show(context)
    _changes(context, round_file)
    round_findings_view.show_help(round_file)
    _training(round_file.epochs())
    round_findings_view.show_noise(round_file)
    round_findings_view.show_harm(round_file)
    _mixtures(round_file)
    _partitions(round_file)
    round_findings_view.show_detectors(round_file)
    overlap_view.show_overlap(round_file)
