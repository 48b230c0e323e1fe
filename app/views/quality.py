"""The Quality page: what the readings say of the labels, and of the reading itself."""

import pandas as pd
import streamlit as st

from app import session
from app.components import quality_readers
from app.components.page import Column, chart, empty, heading, section, table
from app.components.quality_charts import interval_chart
from app.components.quality_words import (
    coefficient,
    fold,
    interval,
    noise_table,
    percent,
    rows_of,
    share_row,
    told,
)
from app.plain import escape
from audit_store.quality.groups import Group
from audit_store.quality.noise import Noise
from audit_store.quality.report import Quality, own, quality
from audit_store.quality.shares import Share, expected_width

RECORDED, HANDED_OUT = "As recorded", "As handed out, after corrections"
WAYS = {
    "missing": ("◇ Missing", "of the labels recorded absent, present in truth"),
    "wrong": ("◆ Wrong", "of the labels recorded present, absent in truth"),
}
SEX = {"F": "women", "M": "men"}
GROUPS = {"sex": "Sex", "age": "Age", "ethnicity": "Ethnicity", "hospital": "Hospital"}
EXPECTED_READINGS = (50, 100, 200, 400, 800)
EXPECTED_SHARES = (0.02, 0.05, 0.2)


def render() -> None:
    """Noise left, for whom, agreement, time, automation bias, calibration; each as a picture and as a table."""
    context = session.context()
    report = quality(context.store, context.person, context.round_file)
    mine = own(context.store, context.person, context.round_file)
    heading(
        "Quality",
        "What the readings say of the labels, and of the reading itself. Readers stand as R1, R2 and so on; "
        + (f"you are {mine.reader}." if mine.reader else "none is named."),
    )
    if not report.readings:
        empty(
            "Nothing has been read yet",
            "Start on the Queue page. Noise, agreement, time and bias show here once ten readings allow a figure.",
        )
        _noise_to_come(context, report)
        return
    _facts(report)
    _noise(context, report)
    _groups(report)
    quality_readers.agreement(context, report)
    quality_readers.bias(report)
    quality_readers.calibration(report)
    quality_readers.time(context, report, mine)


def _facts(report: Quality) -> None:
    facts = [
        ("round", str(report.round_id)),
        ("first answers", f"{report.readings:,}"),
        ("pairs", f"{report.pairs_read:,}"),
        ("readers", str(report.readers)),
        ("of the random audit", f"{report.audited:,}"),
    ]
    if report.not_blind:
        facts.append(("not read blind", f"{report.not_blind:,}"))
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    st.html(f'<dl class="facts">{cells}</dl>')


def _noise_to_come(context: session.Context, report: Quality) -> None:
    """What a random audit would tell, and how sure, before there is one."""
    section("How much noise is left")
    columns = (
        Column("Readings"),
        *(Column(f"if {percent(share)} are wrong", number=True) for share in EXPECTED_SHARES),
    )
    rows = [
        [f"{n}", *(f"± {percent(expected_width(n, share))}" for share in EXPECTED_SHARES)] for n in EXPECTED_READINGS
    ]
    more = f" {report.audited} of its pairs have been read; ten are the least." if report.audited else ""
    st.html(
        '<p class="note-line"><b>No random audit to judge by yet.</b> Only pairs drawn by chance tell how many labels '
        "are wrong; flags are picked because they look wrong. A batch holds a share of random pairs once the protocol "
        f"is signed, and a steward can draw a batch of them alone on the Queue page.{more}</p>"
        + table(columns, rows, "Width of the 95 % interval to expect, by readings", hide_caption=False)
    )
    if context.may("assign"):
        st.button("Go to the queue", key="to_queue", on_click=_to_queue)


def _to_queue() -> None:
    st.session_state["go"] = "queue"


def _figure(noise: Noise) -> str:
    """The two figures of one kind of noise over all labels."""
    title, what = WAYS[noise.direction]
    left = noise.handed_out
    return (
        f'<div class="card noise-figure"><h3>{title}</h3><p class="big">{percent(noise.recorded.estimate)}</p>'
        f"<p>{what}</p><p>95 % interval {interval(noise.recorded)}, from {noise.recorded.n:,} of {noise.pairs:,} "
        f"pairs</p><p><b>{percent(left.estimate)}</b> ({interval(left)}) are left in what is handed out, after "
        f"{noise.corrected:,} corrections</p></div>"
    )


def _noise(context: session.Context, report: Quality) -> None:
    if not any(one.recorded.told for one in report.overall.values()):
        _noise_to_come(context, report)
        return
    section("How much noise is left")
    for column, noise in zip(st.columns(2, gap="medium"), report.overall.values(), strict=True):
        column.html(_figure(noise))
    agreed = report.agreement.committed
    slips = f" Two readers differ on {agreed.n - agreed.agreed} of {agreed.n} pairs." if agreed.n else ""
    left_out = (
        f" {report.audit_not_blind} audited pairs were read with the suggestion on the screen and don't count."
        if report.audit_not_blind
        else ""
    )
    st.html(
        f'<p class="soft">From the random audit alone: first blind answers, adjudicated where adjudicated, weighted by '
        f"how likely each pair was to be drawn, intervals by patient. {report.audit_unsure} of {report.audited} pairs "
        "could not be told; a thin line shows how far they could move the interval either way. A reader's slip counts "
        f"as noise.{slips} Handed out: what readers settled counts as right.{left_out}</p>"
    )
    shown = st.segmented_control("Labels", [RECORDED, HANDED_OUT], default=RECORDED, required=True, key="noise_shown")
    tables = ""
    for column, (way, (title, what)) in zip(st.columns(2, gap="medium"), WAYS.items(), strict=True):
        lines = [
            report.overall[way],
            *(one for one in report.pools if one.direction == way),
            *sorted((one for one in report.noise if one.direction == way), key=_order),
        ]
        with column:
            st.html(f"<h3>{title}</h3>")
            chart(
                interval_chart(rows_of(lines, shown == HANDED_OUT), what, way),
                f"{title}, {what}, {str(shown).lower()}: all labels {told(_shown(lines[0], shown == HANDED_OUT))}. "
                "The table below holds each label.",
                key=f"noise_{way}",
            )
        tables += f"<h3>{title}, {what}</h3>" + noise_table(lines, f"{title}: {what}")
    st.html(
        '<p class="legend">thick line: 95 % interval · thin line: with each can\'t say counted as right, and as wrong '
        "· too few: under ten answers; the line of its kind (acute, recurrent or lifelong labels) stands in for it</p>"
    )
    fold(tables)


def _shown(noise: Noise, handed_out: bool) -> Share:
    return noise.handed_out if handed_out else noise.recorded


def _order(noise: Noise) -> tuple[bool, float]:
    """Labels with readings of their own first, the noisiest above."""
    return noise.pooled is not None or not noise.recorded.told, -(noise.recorded.estimate or 0.0)


def _called(group: Group) -> str:
    return SEX.get(group.name, group.name) if group.kind == "sex" else group.name


def _groups(report: Quality) -> None:
    section("For whom?")
    if not report.groups:
        st.html('<p class="empty">This cohort holds no sex, age, ethnicity or hospital to tell patients apart by.</p>')
        return
    kinds = list(dict.fromkeys(one.kind for one in report.groups))
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Patients by", kinds, default=kinds[0], required=True, format_func=GROUPS.__getitem__, key="group_shown"
        )
    else:
        kind = kinds[0]
    rows = [one for one in report.groups if one.kind == kind]
    if any(one.missing.told or one.wrong.told for one in rows):
        for column, (way, (title, what)) in zip(st.columns(2, gap="medium"), WAYS.items(), strict=True):
            frame = pd.DataFrame(
                [share_row(_called(one), one.missing if way == "missing" else one.wrong) for one in rows]
            )
            with column:
                st.html(f"<h3>{title}</h3>")
                chart(
                    interval_chart(frame, what, way, limit=130),
                    f"{title} by {kind}: "
                    + "; ".join(
                        f"{_called(one)} {told(one.missing if way == 'missing' else one.wrong)}" for one in rows
                    ),
                    key=f"group_{way}",
                )
    columns = (
        Column(GROUPS[str(kind)]),
        Column("Stays", number=True),
        Column("◇ Missing", number=True, help="of the recorded absent, present in truth; 95 % interval"),
        Column("◆ Wrong", number=True, help="of the recorded present, absent in truth; 95 % interval"),
        Column("Agreement, α", number=True, help="Krippendorff's alpha; 95 % interval"),
        Column("Settled otherwise", number=True, help="of the pairs that readers settled; 95 % interval"),
    )
    body = [
        [
            _called(one),
            f"{one.stays:,}",
            told(one.missing),
            told(one.wrong),
            coefficient(one.agreement),
            told(one.corrected),
        ]
        for one in rows
    ]
    st.html(table(columns, body, f"Noise, agreement and corrections by {kind}"))
    gone = ", ".join(report.no_groups)
    note = f" Not in this data, or the same for all: {gone}." if gone else ""
    st.html(f'<p class="soft">Differences between groups with wide intervals may be chance.{note}</p>')
