"""The parts of the Quality page that are about reading: agreement, automation bias, calibration, time."""

import pandas as pd
import streamlit as st

from app import session
from app.components.page import Column, chart, section, table
from app.components.quality_charts import calibration_chart, interval_chart, time_chart
from app.components.quality_words import (
    NONE,
    coefficient,
    coefficient_row,
    fold,
    interval,
    pace_row,
    pace_words,
    percent,
    points,
    share_row,
    told,
)
from audit_store.quality.calibration import Bin
from audit_store.quality.report import Own, Quality

PURPOSES = {
    "flag": "flags",
    "random_audit": "random audit",
    "double_review": "second readings",
    "control": "controls",
}


def agreement(context: session.Context, report: Quality) -> None:
    section("Do readers agree?")
    found = report.agreement
    if not found.all_answers.n:
        st.html(
            '<p class="empty">No pair has been read blind by two people yet. The protocol sets the share of second '
            "readings; they come with the batches.</p>"
        )
        return
    names = context.round_file.label_names
    rows = [
        coefficient_row("all labels", found.committed),
        coefficient_row("all, can't say too", found.all_answers),
        *(coefficient_row(names[key], one) for key, one in found.by_label.items() if not one.few),
    ]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        words = f"Krippendorff's alpha over all labels {coefficient(found.committed)}, from {found.committed.n} pairs"
        picture = interval_chart(
            pd.DataFrame(rows),
            "Krippendorff's α: 1 all agree, 0 as by chance",
            percent=False,
            domain=(_least(rows), 1.0),
        )
        chart(picture, words + ".", key="agreement")
    with right:
        st.html(
            f'<p class="verdict-line"><b>α {coefficient(found.committed)}</b>: {found.committed.agreed} of '
            f"{found.committed.n} pairs answered alike.</p>"
            '<p class="soft">First blind answers of two readers or more. The first figure takes can\'t say as no '
            "answer, since it changes no label: do readers who commit themselves agree? The second takes it as an "
            f"answer of its own: {coefficient(found.all_answers)}. Intervals by drawing patients again. Pairs read "
            "twice are mostly flags, which are harder than others.</p>"
        )
        heads = (Column("Two readers"), Column("Shared", number=True), Column("Cohen's κ", number=True))
        body = [[f"{two.one} and {two.other}", f"{two.kappa.n:,}", coefficient(two.kappa)] for two in found.twos]
        if body:
            st.html(table(heads, body, "Cohen's kappa of each two readers"))
    columns = (Column("Labels"), Column("Shared", number=True), Column("Alike", number=True), Column("α", number=True))
    every = [("all labels", found.committed), ("all, can't say too", found.all_answers)]
    every += [(names[key], one) for key, one in found.by_label.items()]
    body = [[name, f"{one.n:,}", f"{one.agreed:,}", coefficient(one)] for name, one in every]
    fold(table(columns, body, "Krippendorff's alpha by label"))


def _least(rows: list[dict[str, object]]) -> float:
    lows = [float(str(row["low"])) for row in rows if row["low"] is not None]
    return min(0.0, *lows) if lows else 0.0


def bias(report: Quality) -> None:
    section("Do readers follow the tool?")
    bias = report.bias
    lines = [
        ("against a correction, changed to it", bias.proposed.towards),
        ("for a correction, changed away", bias.proposed.away),
        ("against the record, changed to it", bias.standing.towards),
        ("with the record, changed away", bias.standing.away),
    ]
    calls = [(f"{PURPOSES[purpose]} called wrong", share) for purpose, share in bias.called_wrong.items()]
    left, right = st.columns(2, gap="medium")
    with left:
        st.html("<h3>Answers changed after the reveal</h3>")
        if any(share.told for _, share in lines):
            picture = interval_chart(pd.DataFrame([share_row(*line) for line in lines]), "share changed", limit=230)
            chart(picture, "; ".join(f"{name}: {told(share)}" for name, share in lines), key="changes")
        else:
            st.html('<p class="empty">Too few answers yet: ten of a kind are the least.</p>')
        st.html(
            f'<p class="soft">More towards a proposed correction than away from it: {points(bias.proposed.more)}; '
            f"towards a record said to stand: {points(bias.standing.more)}. Readers who weigh anew change both ways; "
            "only towards is the sign of following.</p>"
        )
    with right:
        st.html("<h3>Called wrong, read blind</h3>")
        if any(share.told for _, share in calls):
            picture = interval_chart(
                pd.DataFrame([share_row(*call) for call in calls]), "share called wrong", limit=230
            )
            chart(picture, "; ".join(f"{name}: {told(share)}" for name, share in calls), key="controls")
        else:
            st.html('<p class="empty">Too few answers yet: ten of a kind are the least.</p>')
        st.html(
            '<p class="soft">Controls were not flagged and look like flags until answered. If readers called them '
            "wrong as often as flags, they would answer to the queue and not to the chart.</p>"
        )
    if bias.open.n:
        st.html(
            f"<p>Corrections accepted on flags: read blind {told(bias.blind)}, read with the suggestion on the screen "
            f"{told(bias.open)}; {points(bias.pull)} more with it.</p>"
        )
    columns = (Column("Answers"), Column("Of", number=True), Column("Share", number=True), Column("95 %", number=True))
    body = [[name, f"{share.n:,}", percent(share.estimate), interval(share)] for name, share in [*lines, *calls]]
    fold(table(columns, body, "Automation bias in figures"))


def calibration(report: Quality) -> None:
    section("Does the probability hold?")
    if report.calibration is None:
        st.html(
            '<p class="empty">This round gives no probability that a label is wrong, only an order of suspicion. The '
            "calibrated preset gives one.</p>"
        )
        return
    told_bins = [one for one in report.calibration if one.found.told]
    if not told_bins:
        st.html('<p class="empty">Too few answers in any part of the scale yet: ten are the least.</p>')
    else:
        frame = pd.DataFrame(
            [{**share_row("", one.found), "said": one.said, "holds": _holds(one)} for one in told_bins]
        )
        left, right = st.columns([3, 2], gap="medium")
        with left:
            words = "; ".join(f"said {percent(one.said)}, found {told(one.found)}" for one in told_bins)
            chart(calibration_chart(frame), words, key="calibration")
        right.html(
            '<p class="soft">On the dashed line, of the pairs that the round calls wrong with a probability of 70 %, '
            "readers find 70 % wrong. Circles stand for all pairs of the round with that probability, by what the "
            "random audit and the controls found and by the flags that were read; triangles for the flagged ones "
            "alone, where nothing else was read. Only answers of this round count, for later rounds have learned "
            "from them. Readers' slips pull the ends towards the middle.</p>"
        )
    columns = (
        Column("P(label wrong)"),
        Column("Pairs", number=True),
        Column("Flagged", number=True),
        Column("Read", number=True),
        Column("The round says", number=True),
        Column("Readers found", number=True),
        Column("95 % interval", number=True),
        Column("Stands for"),
    )
    body = [
        [
            f"{one.low:.0%} to {one.high:.0%}",
            f"{one.pairs:,}",
            f"{one.flagged:,}",
            f"{one.found.n:,}",
            percent(one.said),
            percent(one.found.estimate),
            interval(one.found),
            _holds(one) if one.found.n else NONE,
        ]
        for one in report.calibration
    ]
    fold(table(columns, body, "Probability against what readers found"))


def _holds(one: Bin) -> str:
    return "flags only" if one.flags_only else "all pairs"


def time(context: session.Context, report: Quality, mine: Own) -> None:
    section("How long reading takes")
    purposes = [(PURPOSES[one.name], one) for one in report.pace_by_purpose]
    names = context.round_file.label_names
    labels = [(names[one.name], one) for one in report.pace_by_label]
    yours = f" Yours, which nobody else sees: {pace_words(mine.pace)}." if mine.pace.n else ""
    st.html(
        f"<p>Middle of all readings: <b>{pace_words(report.pace)}</b>.{yours}</p>"
        '<p class="soft">Seconds at work on a question, in brackets the middle half. A line needs ten readings by '
        "three people, so that it tells no one's pace to another.</p>"
    )
    if not report.pace.told:
        return
    left, right = st.columns(2, gap="medium")
    for column, title, lines in ((left, "By label", labels), (right, "By purpose", purposes)):
        with column:
            st.html(f"<h3>{title}</h3>")
            frame = pd.DataFrame([pace_row(name, one) for name, one in lines])
            chart(time_chart(frame), "; ".join(f"{name} {pace_words(one)}" for name, one in lines), key=f"time_{title}")
    columns = (Column("Readings"), Column("Number", number=True), Column("Seconds", number=True))
    body = [[name, f"{one.n:,}", pace_words(one)] for name, one in [*purposes, *labels]]
    fold(table(columns, body, "Seconds at work on a question"))
