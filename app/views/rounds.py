"""A round's own page: whether decisions helped, how it trained, what noise and harm it expects, what it set aside."""

from datetime import datetime
from html import escape

import pandas as pd
import streamlit as st

from app import session
from app.components.noise_charts import agreement_chart, difference_chart, harm_chart, rates_chart
from app.components.probability_chart import PARTITIONS, curves_chart, mixture_chart, partition_chart
from audit_store.round_findings import HELPED, UNSEEN, Verdict, agreement, did_it_help, harm_sum, left_alone
from audit_store.rounds import RoundFile, open_round

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
METRICS = {
    "test_map": "mean average precision",
    "test_auroc_macro": "AUROC, mean of labels",
    "test_auroc_micro": "AUROC, all pairs",
    "test_f1_macro": "F1, mean of labels",
    "test_f1_micro": "F1, all pairs",
}
RECORDED = {0: "absent", 1: "present"}
DIRECTIONS = {"false_negative": "◇ suspected missing", "false_positive": "◆ suspected wrong"}
WIDTHS = {"label": 185, **dict.fromkeys(DIRECTIONS.values(), 135)}  # pixels, so that two tables fit at 1024
CORRECTIONS = {
    "false_negative": "◇ recorded absent, corrected to present",
    "false_positive": "◆ recorded present, corrected to absent",
}
GROUPS = {"false_negative": "recorded absent", "false_positive": "recorded present"}


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
    if epochs.empty:
        st.html('<p class="empty">This round recorded no epochs.</p>')
        return
    one, two, three = st.columns(3, gap="medium")
    with one:
        st.html("<h4>Loss</h4>")
        st.altair_chart(curves_chart(epochs, LOSSES, "loss"), width="stretch", theme=None, key="losses")
    with two:
        st.html("<h4>Held-out stays, against their recorded labels</h4>")
        if any(name in epochs and epochs[name].notna().any() for name in METRICS):
            st.altair_chart(curves_chart(epochs, METRICS, "score"), width="stretch", theme=None, key="metrics")
        else:
            st.html('<p class="empty">No held-out metrics were recorded.</p>')
    with three:
        st.html("<h4>Pairs set aside at each epoch</h4>")
        st.altair_chart(partition_chart(epochs), width="stretch", theme=None, key="partitions")


def _mixtures(round_file: RoundFile) -> None:
    labels = round_file.labels()
    names = dict(zip(labels["label_key"], labels["name"], strict=True))
    chosen = st.selectbox("Label", list(names), format_func=names.__getitem__, key="mixture_label", width=440)
    rows = round_file.mixtures(chosen)
    for column, observed in zip(st.columns(2, gap="medium"), (1, 0), strict=True):
        with column:
            st.html(f"<h4>Recorded {RECORDED[observed]}</h4>")
            histogram = round_file.score_histogram(chosen, observed)
            if histogram.empty:
                st.html('<p class="empty">No pair of this label was recorded so.</p>')
                continue
            group = rows[rows["observed_class"] == observed]
            fit = None
            if len(group) and not bool(group["degenerate"].iloc[0]):
                fit = {str(k): v for k, v in group.iloc[0].to_dict().items()}
            st.altair_chart(
                mixture_chart(histogram, fit, RECORDED[observed]),
                width="stretch",
                theme=None,
                key=f"mixture_{observed}",
            )
            if fit is None:
                reason = str(group["reason"].iloc[0] or "") if len(group) else ""
                st.html(f'<p class="soft">No mixture was fitted here{": " if reason else ""}{escape(reason)}.</p>')
    st.html(
        '<p class="legend">bars: pairs by part · dashed line: the bell of pairs that fit their label · solid line: '
        "the bell of pairs that do not · each group of one label and one recorded value has its own</p>"
    )


def _partitions(round_file: RoundFile) -> None:
    table = round_file.partition_counts()
    flags = round_file.flag_counts()
    wide = table.pivot_table(index=["name", "observed"], columns="partition", values="n", fill_value=0, aggfunc="sum")
    shown = wide.reindex(columns=[name for name in PARTITIONS if name in wide.columns]).reset_index()
    shown["observed"] = shown["observed"].map(RECORDED)
    left, right = st.columns(2, gap="medium")
    with left:
        st.html("<h4>Parts of each group</h4>")
        st.dataframe(
            shown.rename(columns={"name": "label", "observed": "recorded"}),
            hide_index=True,
            alt="Pairs per label, recorded value and part",
            column_config={"label": st.column_config.Column(width=WIDTHS["label"])},
        )
    with right:
        st.html("<h4>Flagged for review</h4>")
        if flags.empty:
            st.html('<p class="empty">Nothing was flagged.</p>')
        else:
            by_label = flags.pivot_table(index="name", columns="direction", values="n", fill_value=0, aggfunc="sum")
            by_label = by_label.rename(columns=DIRECTIONS).reset_index().rename(columns={"name": "label"})
            st.dataframe(
                by_label,
                hide_index=True,
                alt="Flagged pairs per label and direction",
                column_config={name: st.column_config.Column(width=width) for name, width in WIDTHS.items()},
            )


def _verdict_html(verdict: Verdict) -> str:
    """One metric's outcome in a sentence."""
    kind = "good" if verdict.word == HELPED else "open" if verdict.word == UNSEEN else "bad"
    lead = {"good": "The decisions helped.", "open": "No difference seen.", "bad": "The decisions harmed."}[kind]
    note = f" Measured against {escape(verdict.note)}." if verdict.note else ""
    return (
        f'<p class="verdict-line {kind}"><b>{lead}</b> {escape(verdict.title[:1].upper() + verdict.title[1:])} on '
        f"held-out stays: {verdict.with_decisions:.3f} with the decisions, {verdict.without_decisions:.3f} without; "
        f"difference {verdict.difference:+.3f}, 95 % interval {verdict.low:+.3f} to {verdict.high:+.3f} over "
        f"{verdict.patients:,} patients.{note}</p>"
    )


def _help(round_file: RoundFile) -> None:
    st.html("<h3>Did the decisions help?</h3>")
    verdicts = did_it_help(round_file.comparison())
    if not round_file.info.decisions_count:
        st.html('<p class="empty">This round read no decisions yet. The next one reads those made since.</p>')
    elif not verdicts:
        st.html(
            '<p class="empty">Not measured for this round. <code>miracl train --did-it-help</code> trains the next one '
            "twice, with and without the decisions, and compares the two on held-out stays.</p>"
        )
    else:
        words, picture = st.columns([3, 2], gap="medium", vertical_alignment="center")
        words.html("".join(_verdict_html(verdict) for verdict in verdicts))
        picture.altair_chart(difference_chart(verdicts), width="stretch", theme=None, key="did_it_help")


def _noise(round_file: RoundFile) -> None:
    st.html("<h3>How noisy the record looks</h3>")
    labels = round_file.labels()
    if not labels[["rho_plus", "rho_minus"]].notna().any(axis=None):
        st.html('<p class="empty">This round\'s method estimates no noise rates; the calibrated preset does.</p>')
        return
    if (labels[["rho_plus", "rho_minus"]].nunique() <= 1).all():
        lost, added = labels["rho_plus"].iloc[0], labels["rho_minus"].iloc[0]
        st.html(
            f"<p>Read as one for all labels: of the stays that have a label, about <b>{lost:.0%}</b> are recorded "
            f"without it; of those that have it not, about <b>{added:.0%}</b> are recorded with it. Estimated by the "
            "round, not counted by readers; noise that strikes a few labels alone can be missed.</p>"
        )
        return
    picture, words = st.columns([5, 2], gap="medium")
    picture.altair_chart(rates_chart(labels), width="stretch", theme=None, key="noise_rates")
    words.html(
        '<p class="soft">Estimated by the round, not counted by readers: of the stays that have a label, the share '
        "recorded without it (circle), and of those that have it not, the share recorded with it (diamond). A random "
        "audit measures the same by reading.</p>"
    )


def _harm(round_file: RoundFile) -> None:
    st.html("<h3>Do no harm</h3>")
    table = round_file.harm()
    total = harm_sum(table)
    if total is None:
        st.html('<p class="empty">This round did not weigh what its correction may do; the calibrated preset does.</p>')
        return
    st.html(
        f"<p>Of <b>{total.changed:,}</b> labels that the correction changes for training, about "
        f"<b>{total.better:,.0f}</b> are expected to become right and <b>{total.worse:,.0f}</b> to become wrong. "
        f"Expected error, a wrong label counting 1: {total.error_before:,.0f} before, {total.error_after:,.0f} after. "
        f"{total.left_alone} of {total.groups} groups were left alone. An export changes what readers decided, and no "
        "more unless it is told to.</p>"
    )
    for column, (direction, heading) in zip(st.columns(2, gap="medium"), CORRECTIONS.items(), strict=True):
        rows = table[(table["direction"] == direction) & (table["pairs"] > 0)]
        with column:
            st.html(f"<h4>{heading}</h4>")
            if rows.empty:
                st.html('<p class="empty">No pair was recorded so.</p>')
                continue
            order = rows["name"].tolist()
            st.altair_chart(harm_chart(rows, order), width="stretch", theme=None, key=f"harm_{direction}")
    lines = "".join(
        f"<li>{GROUPS[direction]}, {escape(reason)}: {escape(' · '.join(names))}</li>"
        for direction, reason, names in left_alone(table)
    )
    if lines:
        st.html(f'<section class="alone"><h4>Left alone</h4><ul>{lines}</ul></section>')


def _detectors(round_file: RoundFile) -> None:
    st.html("<h3>Which detectors agree with the flags</h3>")
    shares = agreement(round_file.detector_agreement())
    if shares.empty:
        st.html('<p class="empty">No detector scored a flagged pair of this round.</p>')
        return
    picture, words = st.columns([5, 2], gap="medium")
    picture.altair_chart(agreement_chart(shares), width="stretch", theme=None, key="agreement")
    words.html(
        '<p class="soft">Of the flagged pairs, the share that each detector puts among the most suspect twentieth of '
        "the pairs of their label and recorded value. The dashed line is what chance would give. Agreement is no "
        "proof: detectors that watch the same network err together.</p>"
    )


def render() -> None:
    """Facts, did it help, training, noise, expected harm, mixtures and parts of one round."""
    context = session.context()
    place = context.store.workspace
    ids = place.round_ids()
    newest = context.round_file.info.round_id
    chosen = newest
    if len(ids) > 1:
        chosen = (
            st.segmented_control(
                "Round", ids, default=newest, required=True, format_func=lambda i: f"round {i}", key="round_shown"
            )
            or newest
        )
    round_file = context.round_file if chosen == newest else open_round(place, chosen)
    st.html(f"<h2>Round {chosen}</h2>{_facts(round_file)}")
    _help(round_file)
    st.html("<h3>How it trained</h3>")
    _training(round_file.epochs())
    _noise(round_file)
    _harm(round_file)
    st.html("<h3>How each label's scores split</h3>")
    _mixtures(round_file)
    st.html("<h3>What was set aside</h3>")
    _partitions(round_file)
    _detectors(round_file)
    st.html(
        '<p class="soft">The next round starts on the machine that trains: '
        "<code>miracl train --workspace …</code>. It reads every decision made on this page's rounds.</p>"
    )
