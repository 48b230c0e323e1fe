"""What a note says about a term it holds: affirmed, negated, of the family, uncertain, or of the past.

A cue works forward to the end of its sentence or to a word that turns it (NegEx, Chapman et al., J Biomed Inform
2001;34:301; family, history and hypothesis after ConText, Harkema et al. 2009), at most `Scope` words far.
Departures: a section's heading sets family or history for all its lines; "cannot be ruled out" and its kin outrank
"ruled out"; an answer right behind a colon or dash ("COPD: no") negates.
"""

import bisect
import functools
import re
from dataclasses import dataclass

from audit_store.terms.lexicon import Terms

AFFIRMED, NEGATED, FAMILY, UNCERTAIN, HISTORICAL = "affirmed", "negated", "family", "uncertain", "historical"
STATUSES = (AFFIRMED, NEGATED, FAMILY, UNCERTAIN, HISTORICAL)


@dataclass(frozen=True)
class Scope:
    """How far a cue reaches.

    Parameters
    ----------
    negation, uncertain, historical, family
        Words between a cue and the term it governs, at most [words].
    after
        Words between a term and a cue behind it, at most [words].
    """

    negation: int = 60
    uncertain: int = 6
    historical: int = 30
    family: int = 30
    after: int = 5


DEFAULT_SCOPE = Scope()
_FURTHEST = 500
"""Code points on either side of a term that are looked at, at most."""
_END = re.compile(r"[!;•]|\.(?=\s|$)|\n(?![ \t]*[a-z])")
_ABBREVIATED = re.compile(r"(?:\b(?:dr|mr|mrs|ms|st|vs|approx|pt|hx|no)|\b[a-z])\.$", re.IGNORECASE)
_HEADING = re.compile(r"(?:^|\n|(?<=[.;]))[ \t]*([A-Za-z][A-Za-z /&()-]{1,48}?)[ \t]*:(?!\d)")
_BLANK = re.compile(r"\n[ \t]*\n")
_TURN = re.compile(r"\b(?:but|however|patient|pt|he|she|who)\b", re.IGNORECASE)
_IMMEDIATE = r"^\s*(?:[:=\-–(]\s*|(?:is|was)\s+)(?:{})\s*(?:[;,.)\n]|$)"
_ASKED_BEFORE = re.compile(r"\?\s{0,1}$")
_ASKED_AFTER = re.compile(r"^\s{0,1}\?")


@functools.lru_cache(maxsize=2048)
def _breaks(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where sentences end (places of their stops), and where the next ones begin."""
    ends = [
        match
        for match in _END.finditer(text)
        if match.group() != "." or not _ABBREVIATED.search(text, max(0, match.start() - 7), match.end())
    ]
    return tuple(match.start() for match in ends), tuple(match.end() for match in ends)


@functools.lru_cache(maxsize=2048)
def _headings(text: str) -> tuple[tuple[int, ...], tuple[str, ...], tuple[int, ...]]:
    """Where headings end, what they say, and where blank lines that follow some text begin."""
    headings = list(_HEADING.finditer(text))
    blanks = tuple(match.start() for match in _BLANK.finditer(text) if text[: match.start()].strip())
    return tuple(m.end() for m in headings), tuple(m.group(1).strip().lower() for m in headings), blanks


def sentence_bounds(text: str, start: int, end: int) -> tuple[int, int]:
    """Half-open bounds of the sentence around [start, end)."""
    stops, begins = _breaks(text)
    before, after = bisect.bisect_right(begins, start), bisect.bisect_left(stops, end)
    return (begins[before - 1] if before else 0), (stops[after] if after < len(stops) else len(text))


def heading_before(text: str, start: int) -> str:
    """Return the heading ("Family history:") that governs this place, in small letters, or an empty string."""
    ends, words, blanks = _headings(text)
    last = bisect.bisect_right(ends, start) - 1
    if last < 0:
        return ""
    first = bisect.bisect_left(blanks, ends[last])
    while first < len(blanks) and blanks[first] < start:
        if text[ends[last] : blanks[first]].strip():
            return ""
        first += 1
    return words[last]


def _near(pattern: re.Pattern[str], text: str, words: int) -> bool:
    """Whether a cue stands in `text` with at most `words` words between it and the end."""
    return any(len(text[match.end() :].split()) <= words for match in pattern.finditer(text))


def _soon(pattern: re.Pattern[str], text: str, words: int) -> bool:
    """Whether a cue stands in `text` with at most `words` words between the beginning and it."""
    return any(len(text[: match.start()].split()) <= words for match in pattern.finditer(text))


def _blank_out(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: " " * len(match.group()), text)


def status_of(text: str, start: int, end: int, terms: Terms, category: str = "", scope: Scope = DEFAULT_SCOPE) -> str:
    """Status of the term at [start, end).

    Parameters
    ----------
    text
        The whole note.
    start, end
        Half-open code points of the term.
    terms
        Cues.
    category
        The note's category; one that is itself a history or family heading sets the default.

    Returns
    -------
    One of `STATUSES`; family outranks negated, negated outranks uncertain, uncertain outranks historical.
    """
    cues = terms.cues
    left, right = sentence_bounds(text, start, end)
    before, after = text[max(left, start - _FURTHEST) : start], text[end : min(right, end + _FURTHEST)]
    heading = heading_before(text, start) or category.strip().lower()
    kin = _blank_out(cues["pseudo_family"], before)
    turned = [match.end() for match in _TURN.finditer(kin)]
    if cues["family_heading"].fullmatch(heading) or _near(
        cues["family"], kin[turned[-1] if turned else 0 :], scope.family
    ):
        return FAMILY

    stops = [match.end() for match in cues["stop"].finditer(before)]
    reach = before[stops[-1] if stops else 0 :]
    cut = cues["stop"].search(after)
    behind = re.split(r",", after[: cut.start() if cut else len(after)])[0]
    doubted = _soon(cues["uncertain_after"], behind, scope.after) or bool(_ASKED_AFTER.search(after))
    plain = _blank_out(cues["pseudo_negation"], reach)
    if re.search(_IMMEDIATE.format(cues["negation_immediate"].pattern), after, re.IGNORECASE):
        return NEGATED
    if not doubted and (
        _near(cues["negation"], plain, scope.negation) or _soon(cues["negation_after"], behind, scope.after)
    ):
        return NEGATED
    if doubted or _near(cues["uncertain"], reach, scope.uncertain) or _ASKED_BEFORE.search(before):
        return UNCERTAIN
    if (
        cues["history_heading"].fullmatch(heading)
        or _near(cues["historical"], reach, scope.historical)
        or _soon(cues["historical_after"], behind, scope.after)
    ):
        return HISTORICAL
    return AFFIRMED
