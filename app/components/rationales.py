"""What the readers of a pair said and why, side by side and without their names; what an adjudication did."""

from collections.abc import Mapping, Sequence

from app.components.reveal import ANSWER_WORDS, said, verdict
from app.plain import escape
from audit_store.adjudication import Adjudication, Rationale
from audit_store.guidelines import Group, Guideline
from audit_store.rounds import Pair

CERTAINTY = {"high": "sure", "low": "not sure"}
LOCKED = {"present": "locked as present", "absent": "locked as absent", "cannot_tell": "not locked"}
SHAPES = {"present": "●", "absent": "○", "cannot_tell": "?"}


def _answer_html(name: str, told: Rationale, titled: bool) -> str:
    shape = SHAPES.get(told.answer, "–")
    title = f"{escape(name)}: " if titled else ""
    word, sure = ANSWER_WORDS.get(told.answer, told.answer), CERTAINTY.get(told.certainty, told.certainty)
    return f'<p class="said">{title}<span aria-hidden="true">{shape}</span> <b>{escape(word)}</b>, {escape(sure)}</p>'


def _how(told: Rationale) -> str:
    if told.blinded:
        return "read blind"
    words = ", then ".join(f"'{ANSWER_WORDS.get(answer, answer)}'" for answer in told.before)
    return "given after seeing the record and the model" + (f"; before that {words}" if words else "")


def _together(group: Group | None, rows: Sequence[tuple[Guideline, Rationale]]) -> str | None:
    """The one answer to labels decided together, in the words of its button; None where it was none of them."""
    given = {guideline.key: told.answer for guideline, told in rows}
    if group is None or set(given) != set(group.labels) or len({told.certainty for _, told in rows}) > 1:
        return None
    if set(given.values()) == {"cannot_tell"}:
        return ANSWER_WORDS["cannot_tell"]
    return next((answer.text for answer in group.answers if answer.values == given), None)


def reader_html(name: str, rows: Sequence[tuple[Guideline, Rationale]], group: Group | None = None) -> str:
    """One reader: the answer, how sure, whether blind, the reason and the comment."""
    titled = len(rows) > 1
    one = _together(group, rows)
    if one is not None:
        sure = CERTAINTY.get(rows[0][1].certainty, rows[0][1].certainty)
        body = f'<p class="said"><b>{escape(one)}</b>, {escape(sure)}</p>'
    else:
        body = "".join(_answer_html(guideline.name, told, titled) for guideline, told in rows)
    body += "".join(f'<p class="soft">{escape(how)}</p>' for how in dict.fromkeys(_how(told) for _, told in rows))
    reasons = []
    for guideline, told in rows:
        texts = {code.code: code.text for code in guideline.reason_codes}
        if told.reason_code:
            reasons.append(texts.get(told.reason_code, told.reason_code.replace("_", " ")))
    body += "".join(f"<p><b>Reason</b> {escape(reason)}</p>" for reason in dict.fromkeys(reasons))
    comments = [told.comment for _, told in rows if told.comment]
    body += "".join(f"<blockquote>{escape(text)}</blockquote>" for text in dict.fromkeys(comments))
    if not reasons and not comments:
        body += '<p class="soft">no reason given</p>'
    return f'<article class="reader"><h3>{escape(name)}</h3>{body}</article>'


def rationales_html(
    guidelines: Sequence[Guideline], told: Mapping[str, Sequence[Rationale]], group: Group | None = None
) -> str:
    """All readers side by side, by letter."""
    letters = sorted({row.reader for rows in told.values() for row in rows})
    cards = []
    for letter in letters:
        mine = [(g, row) for g in guidelines for row in told.get(g.key, ()) if row.reader == letter]
        cards.append(reader_html(letter, mine, group))
    return (
        '<section class="rationales"><h2 class="pane">What the readers said</h2>'
        f'<div class="readers">{"".join(cards)}</div></section>'
    )


def locked_words(answer: str) -> str:
    """What an adjudication does."""
    if answer == "cannot_tell":
        return "not locked: the recorded value stays"
    return f"{LOCKED[answer]}: the next round and exports take it"


def settled_html(pairs: Sequence[Pair], mine: Mapping[str, Adjudication]) -> str:
    """The line under the page after an adjudication: what was settled, what record and model say, what it locked."""
    parts = []
    for pair in pairs:
        row = mine.get(pair.label_key)
        if row is None:
            continue
        name = f"<b>{escape(pair.label_name)}</b>: " if len(pairs) > 1 else ""
        parts.append(
            f"<span>{name}settled: <b>{escape(ANSWER_WORDS[row.answer])}</b> · {escape(said(pair))} · "
            f'<b class="verdict">{escape(verdict(row.answer, pair))} · {LOCKED[row.answer]}</b></span>'
        )
    return f'<p class="reveal-line{" two" if len(pairs) > 1 else ""}" role="status">{"".join(parts)}</p>'
