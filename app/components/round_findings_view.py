"""What a round found, on its page: did the decisions help, noise, expected harm, detectors."""

import streamlit as st

from app.components.noise_charts import agreement_chart, difference_chart, harm_chart, rates_chart
from app.components.page import chart
from app.components.round_words import harm_words, rates_words, shares_words, verdict_words
from app.plain import escape
from audit_store.round_findings import HELPED, UNSEEN, Verdict, agreement, did_it_help, harm_sum, left_alone
from audit_store.rounds import RoundFile

CORRECTIONS = {
    "false_negative": "◇ recorded absent, corrected to present",
    "false_positive": "◆ recorded present, corrected to absent",
}
GROUPS = {"false_negative": "recorded absent", "false_positive": "recorded present"}


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


def show_help(round_file: RoundFile) -> None:
    """Whether the decisions that the round read helped."""
    st.html("<h2>Did the decisions help?</h2>")
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
        with picture:
            chart(difference_chart(verdicts), verdict_words(verdicts), key="did_it_help")


def show_noise(round_file: RoundFile) -> None:
    """How noisy the round takes the record to be, by label."""
    st.html("<h2>How noisy the record looks</h2>")
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
    with picture:
        chart(rates_chart(labels), rates_words(labels), key="noise_rates")
    words.html(
        '<p class="soft">Estimated by the round, not counted by readers: of the stays that have a label, the share '
        "recorded without it (circle), and of those that have it not, the share recorded with it (diamond). A random "
        "audit measures the same by reading.</p>"
    )


def show_harm(round_file: RoundFile) -> None:
    """What the correction is expected to do to the labels, and what it left alone."""
    st.html("<h2>Do no harm</h2>")
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
    for column, (direction, heading_) in zip(st.columns(2, gap="medium"), CORRECTIONS.items(), strict=True):
        rows = table[(table["direction"] == direction) & (table["pairs"] > 0)]
        with column:
            st.html(f"<h3>{heading_}</h3>")
            if rows.empty:
                st.html('<p class="empty">No pair was recorded so.</p>')
                continue
            order = rows["name"].tolist()
            chart(harm_chart(rows, order), harm_words(heading_, rows), key=f"harm_{direction}")
    lines = "".join(
        f"<li>{GROUPS[direction]}, {escape(reason)}: {escape(' · '.join(names))}</li>"
        for direction, reason, names in left_alone(table)
    )
    if lines:
        st.html(f'<section class="alone"><h3>Left alone</h3><ul>{lines}</ul></section>')


def show_detectors(round_file: RoundFile) -> None:
    """How far the detectors agree with the flags."""
    st.html("<h2>Which detectors agree with the flags</h2>")
    shares = agreement(round_file.detector_agreement())
    if shares.empty:
        st.html('<p class="empty">No detector scored a flagged pair of this round.</p>')
        return
    picture, words = st.columns([5, 2], gap="medium")
    with picture:
        chart(agreement_chart(shares), shares_words(shares), key="agreement")
    words.html(
        '<p class="soft">Of the flagged pairs, the share that each detector puts among the most suspect twentieth of '
        "the pairs of their label and recorded value. The dashed line is what chance would give. Agreement is no "
        "proof: detectors that watch the same network err together.</p>"
    )
