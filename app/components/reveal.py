"""What the record and the model say, in the loop's words; drawn only once the person has answered."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from app.components.probability_chart import probability_chart
from app.plain import escape
from audit_store.decisions import Decision, accepts
from audit_store.detector_words import standing, telling, title
from audit_store.detectors import DetectorPlace
from audit_store.reason_words import DEFAULT_REASONS, in_ten
from audit_store.reasons import Number, Reason
from audit_store.rounds import Pair

REASONS_AT_FIRST = 6
TWO = " two"
NOT_FLAGGED = "this pair was not flagged"
VALUE_WORDS = {0: "absent", 1: "present"}
ANSWER_WORDS = {"present": "present", "absent": "absent", "cannot_tell": "can't say"}
KIND = {
    "false_negative": ("◇", "suspected missing label"),
    "false_positive": ("◆", "suspected wrong label"),
}


def said(pair: Pair) -> str:
    """ "recorded: absent · model: present, rank 12 of 1,490"; calibrated: "…, about 7 in 10 such labels are wrong"."""
    recorded = VALUE_WORDS[int(pair.observed)]
    if not pair.flagged or pair.suspicion_rank is None:
        agrees = VALUE_WORDS[int(pair.suggested)]
        return f"recorded: {recorded} · model: {agrees}"
    model = VALUE_WORDS[int(pair.suggested)]
    if pair.calibrated:
        return f"recorded: {recorded} · model: {model}, {in_ten(pair.error_probability)} such labels are wrong"
    return f"recorded: {recorded} · model: {model}, rank {pair.suspicion_rank:,} of {pair.n_flagged:,}"


def verdict(answer: str, pair: Pair) -> str:
    """What the answer does to the proposed correction; only a flag proposes one."""
    verdicts = {True: "you accept the correction", False: "you reject the correction"}
    agreed = accepts(answer, int(pair.observed), int(pair.suggested))
    if agreed is not None and pair.flagged:
        return verdicts[agreed]
    if answer == "cannot_tell":
        return "the recorded value stays as it is"
    if answer == VALUE_WORDS[int(pair.observed)]:
        return "you keep the record"
    return "you change the record"


def shown_as(purpose: str, pair: Pair) -> str:
    """Why this pair was among those to read, where it was not for being flagged; empty for a flag."""
    if purpose == "control":
        return "flagged too, though drawn as a control" if pair.flagged else "this pair was not flagged: a control"
    if purpose == "random_audit":
        drawn = "drawn at random, to measure the noise that is left"
        return f"flagged too, though {drawn}" if pair.flagged else f"this pair was not flagged: {drawn}"
    if purpose == "double_review":
        return "read by two people"
    return "" if pair.flagged else NOT_FLAGGED


def line_html(pairs: Sequence[Pair], answers: Mapping[str, Decision], *, others: bool = False) -> str:
    """The one line under the page: your answer, the record, the model, what follows, and why the pair was asked.

    `others`: somebody else has answered it too. What they said, or whether it agrees, is not told: an answer can
    still be changed, and two readings are worth two only as long as neither leans on the other.
    """
    parts = []
    for pair in pairs:
        decision = answers.get(pair.label_key)
        if decision is None:
            continue
        name = f"<b>{escape(pair.label_name)}</b>: " if len(pairs) > 1 else ""
        word = ANSWER_WORDS.get(decision.answer, decision.answer)
        parts.append(
            f"<span>{name}you: <b>{escape(word)}</b> · {escape(said(pair))} · "
            f'<b class="verdict">{escape(verdict(decision.answer, pair))}</b></span>'
        )
    purposes = dict.fromkeys(
        shown_as(answers[pair.label_key].purpose, pair) for pair in pairs if pair.label_key in answers
    )
    told = [words for words in purposes if words]
    if len(pairs) > 1 and any(pair.flagged for pair in pairs):
        told = [words for words in told if words != NOT_FLAGGED]
    if others:
        told.append("another reader answered it too; both are kept")
    tail = "".join(f' <span class="told">{escape(words)}</span>' for words in told)
    if parts:
        parts[-1] = parts[-1].removesuffix("</span>") + tail + "</span>"
    return f'<p class="reveal-line{TWO if len(pairs) > 1 else ""}" role="status">{"".join(parts)}</p>'


def waiting_html(labels: int) -> str:
    """The line's place before the answer; as tall as the line will be."""
    return (
        f'<p class="reveal-line waiting{TWO if labels > 1 else ""}" role="status">You read blind: what the record and '
        "the model say appears here after your answer.</p>"
    )


def open_line_html(pairs: Sequence[Pair]) -> str:
    """The line before the answer where a project reads with the record in sight."""
    parts = []
    for pair in pairs:
        name = f"<b>{escape(pair.label_name)}</b>: " if len(pairs) > 1 else ""
        way = " · you read with the record in sight" if len(pairs) == 1 else ""
        parts.append(f"<span>{name}{escape(said(pair))}{way}</span>")
    return f'<p class="reveal-line{TWO if len(pairs) > 1 else ""}" role="status">{"".join(parts)}</p>'


def why_html(pair: Pair, reasons: Sequence[Reason], titled: bool) -> str:
    """The reasons, strongest first, in a clinician's words."""
    sign, kind = KIND[pair.direction] if pair.flagged else ("·", "not flagged")
    title = f"{escape(pair.label_name)}: " if titled else ""
    rows = "".join(f"<li>{escape(reason.text)}</li>" for reason in reasons) or "<li>nothing that stands out</li>"
    heading = f'<h2 class="pane">{title}<span aria-hidden="true">{sign}</span> {kind}: why</h2>'
    return f'<section class="why">{heading}<ul>{rows}</ul></section>'


def numbers_html(numbers: Sequence[Number]) -> str:
    """The numbers behind the reasons."""
    rows = "".join(f"<tr><th>{escape(n.title)}</th><td>{escape(n.text)}</td></tr>" for n in numbers)
    return f'<table class="numbers">{rows}</table>'


def places_html(pair: Pair, places: Sequence[DetectorPlace]) -> str:
    """A dot for each detector: where the record stands in its group, from ordinary (left) to most suspect (right)."""
    shown = telling(places)
    if not shown:
        return ""
    rows = []
    for place in shown:
        high = " high" if place.percentile >= DEFAULT_REASONS.twentieth else ""
        rows.append(
            f'<li class="dot{high}"><span class="name">{escape(title(place.name))}</span>'
            f'<span class="track" aria-hidden="true"><i style="left:{100 * place.percentile:.1f}%"></i></span>'
            f'<span class="standing">{standing(place)}</span></li>'
        )
    group = f"{max(place.n for place in shown):,} stays recorded {VALUE_WORDS[int(pair.observed)]}"
    return (
        f'<section class="places"><h3>Where each detector puts it</h3><p class="soft">among the {group} for '
        f"{escape(pair.label_name)}; right is most suspect, the band is the top twentieth</p>"
        f"<ol>{''.join(rows)}</ol></section>"
    )


def draw_why(
    pair: Pair,
    reasons: Sequence[Reason],
    numbers: Sequence[Number],
    places: Sequence[DetectorPlace],
    *,
    titled: bool,
    key: str,
) -> None:
    """Reasons open; numbers, the detectors' places and the probability by epoch behind a fold."""
    st.html(why_html(pair, reasons[:REASONS_AT_FIRST], titled))
    with st.expander("More reasons, and the numbers behind them" if reasons[REASONS_AT_FIRST:] else "The numbers"):
        rest = "".join(f"<li>{escape(reason.text)}</li>" for reason in reasons[REASONS_AT_FIRST:])
        st.html((f'<ul class="rest">{rest}</ul>' if rest else "") + numbers_html(numbers))
        st.html(places_html(pair, places) or '<p class="empty">No detector scored this record.</p>')
        if pair.history:
            st.html("<h3>Its probability over training</h3>")
            frame = pd.DataFrame({"epoch": range(1, len(pair.history) + 1), "probability": list(pair.history)})
            st.altair_chart(probability_chart(frame), width="stretch", theme=None, key=key)
