"""Words of a note that name a label, and whether the note denies them.

A plain restatement of the idea of NegEx (Chapman et al. 2001): a trigger before or after the term negates it within
the sentence, until a word that ends its scope; some phrases that look like triggers aren't. Family history and things
to be ruled out count as negated too: they don't say that the patient has it. For marking text,
and for a source of labels beside the record (`note_terms`).
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from core.cohort.passages import sentences
from core.errors import ConfigError

_FIELDS = ("names", "exact", "drugs", "unless")
_KIN = (
    r"(?:grand)?(?:mother|father|parents?)|mom|dad|brothers?|sisters?|siblings?|aunts?|uncles?|cousins?|sons?"
    r"|daughters?|maternal|paternal"
)
# Look like negations and aren't.
_PSEUDO = (
    r"no (?:further|other|additional|new|significant|interval)? ?(?:change|increase|decrease|improvement)s?"
    r"|not only|not certain (?:if|whether)|gram[- ]negative|without (?:difficulty|further)|no doubt"
    r"|not (?:been )?(?:taking|compliant|adherent|controlled|well[- ]controlled)|noncompliant|no longer on"
    r"|if not|cannot (?:rule out|exclude)|(?:can ?not|could ?not|not) be (?:ruled out|excluded)|not ruled out"
)
_BEFORE = (
    r"no (?:known |prior |previous |past |personal |clear |definite |obvious |radiographic |acute )*"
    r"(?:evidence (?:of|for)|signs?(?: or symptoms)? of|symptoms? of|histor(?:y|ies) of|hx of|h/o|suspicion (?:of|for))"
    r"|never (?:had|been diagnosed with)|no|never|den(?:y|ies|ied|ying)|without|w/o|negative for|neg for"
    r"|absence of|absent|free of|lack of|fails? to reveal|doesn't have|does not have|did not have"
    r"|rul(?:e|ed|ing) out(?: for)?|r/o|screen(?:ed|ing)? for|prophylaxis (?:for|against)|at risk (?:for|of)"
    rf"|family (?:medical )?(?:history|hx)|fam(?:ily)? hx|fhx?|{_KIN}"
)
_NEAR = r"not|nor|none"
_ENDS = (
    r"but|however|although|though|except|apart from|aside from|other than|yet|nevertheless|nonetheless|still"
    r"|which|who|because|since|ha(?:s|ve|d)|with (?:a )?(?:history|hx) of|(?<=, )(?:history of|hx of|h/o)"
    r"|pmh|now|currently|positive for|present(?:s|ed|ing)? with|admitted (?:with|for)|found to have|found with"
    r"|treated for|given|started on|consistent with"
)
_TOKENS = re.compile(
    rf"(?<![\w/])(?:(?P<pseudo>{_PSEUDO})|(?P<before>{_BEFORE})|(?P<near>{_NEAR})|(?P<ends>{_ENDS}))(?![\w/])",
    re.IGNORECASE,
)
_AFTER_ENDS = re.compile(rf",|(?<![\w/])(?:{_ENDS.replace('ha(?:s|ve|d)|', '')}|{_PSEUDO})(?![\w/])", re.IGNORECASE)
_AFTER_AT_ONCE = re.compile(
    r"\s*(?:\(\s*(?:-|neg(?:ative)?|no|absent|denie[sd])\s*\)"
    r"|[:=–-]\s*(?:no|none|neg(?:ative)?|absent|denie[sd]|n)\s*(?=[.,;)\]]|$))",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?<!\w)(?:ruled out|excluded|unlikely|not (?:present|seen|found|suspected|likely|identified)"
    r"|absent|denied|negative|never diagnosed|prophylaxis|r/o"
    rf"|(?:in|\() ?(?:(?:his|her|their|the|a|patient's) )?(?:{_KIN}|family)|(?:family|fam) (?:history|hx))(?!\w)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\S+")


@dataclass(frozen=True)
class TermConfig:
    """How far a negation reaches.

    Parameters
    ----------
    words_before
        Words between a trigger and the term it may negate; wide enough for a list ("denies a, b, c and d").
    words_near
        The same for a bare "not", which seldom speaks of a whole list; NegEx's five.
    words_after
        Words between a term and a trigger that follows.
    """

    words_before: int = 12
    words_near: int = 5
    words_after: int = 4


@dataclass(frozen=True)
class TermMatch:
    """One found term, half-open code points.

    Parameters
    ----------
    start, end
        Place in the text searched.
    negated
        Denied, of the family, or to be ruled out.
    """

    start: int
    end: int
    negated: bool


@dataclass(frozen=True)
class _Pattern:
    names: re.Pattern[str]
    undrugged: re.Pattern[str]
    exact: re.Pattern[str] | None
    unless: re.Pattern[str] | None


def _any(terms: Iterable[str], plural: bool) -> str:
    # "Non-diabetic" names no diabetes; a term that begins with "non-" itself is found whole.
    flexible = (re.escape(term).replace(r"\ ", r"\s+") for term in sorted(terms, key=lambda t: (-len(t), t)))
    return rf"(?<!\w)(?<!\bnon[- ])(?:{'|'.join(flexible)}){'s?' if plural else ''}(?!\w)"


@lru_cache(maxsize=4)
def load_terms(path: Path | None = None) -> dict[str, _Pattern]:
    """Read the search terms, one pattern a label.

    Parameters
    ----------
    path
        A TOML file of ``[label]`` tables with `names`, `exact`, `drugs` and `unless`; None reads the shipped one.

    Raises
    ------
    ConfigError
        When the file can't be read, or a label has no names or other fields.
    """
    source = path or Path(__file__).with_name("terms.toml")
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError("a TOML file of search terms", "none that can be read", f"mend {source.name}") from None
    patterns = {}
    for label, table in tables.items():
        if not isinstance(table, dict) or not table.get("names") or set(table) - set(_FIELDS):
            raise ConfigError(f"[{label}] with {', '.join(_FIELDS)}", "other fields", f"mend {source.name}")
        exact, unless = table.get("exact", []), table.get("unless", [])
        patterns[str(label)] = _Pattern(
            re.compile(_any([*table["names"], *table.get("drugs", [])], True), re.IGNORECASE),
            re.compile(_any(table["names"], True), re.IGNORECASE),
            re.compile(_any(exact, False)) if exact else None,
            re.compile(_any(unless, True), re.IGNORECASE) if unless else None,
        )
    return patterns


def _words(text: str) -> int:
    return sum(1 for _ in _WORDS.finditer(text))


def is_negated(before: str, after: str, config: TermConfig | None = None) -> bool:
    """Whether a term is negated, given its sentence's text before and after it.

    Parameters
    ----------
    before, after
        The sentence up to the term, and from its end.
    config
        How far triggers reach.
    """
    config = config or TermConfig()
    open_triggers: list[tuple[int, int]] = []
    for token in _TOKENS.finditer(before):
        if token.lastgroup == "ends":
            open_triggers = []
        elif token.lastgroup != "pseudo":
            reach = config.words_before if token.lastgroup == "before" else config.words_near
            open_triggers.append((token.end(), reach))
    if any(_words(before[end:]) <= reach for end, reach in open_triggers):
        return True
    if _AFTER_AT_ONCE.match(after):
        return True
    stop = _AFTER_ENDS.search(after)
    found = _AFTER.search(after[: stop.start()] if stop else after)
    return found is not None and _words(after[: found.start()]) <= config.words_after


def find_terms(
    text: str, label_key: str, path: Path | None = None, config: TermConfig | None = None, *, drugs: bool = True
) -> list[TermMatch]:
    """Find the words of a note that name a label.

    Parameters
    ----------
    text
        A whole note.
    label_key
        A label without terms finds nothing.
    path
        Search terms; None uses the shipped ones.
    config
        How far a negation reaches.
    drugs
        Whether a drug given for the condition counts as naming it.

    Returns
    -------
    list of TermMatch
        In order of place, none overlapping.
    """
    pattern = load_terms(path).get(label_key)
    if pattern is None:
        return []
    names = pattern.names if drugs else pattern.undrugged
    spans = [found.span() for found in names.finditer(text)]
    if pattern.exact is not None:
        spans += [found.span() for found in pattern.exact.finditer(text)]
    if not spans:
        return []
    barred = [found.span() for found in pattern.unless.finditer(text)] if pattern.unless is not None else []
    kept = _apart([s for s in spans if not any(b[0] <= s[0] and s[1] <= b[1] for b in barred)])
    return _judged(text, kept, config or TermConfig())


def _apart(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, the longer of two that overlap from the same start."""
    kept: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda s: (s[0], -s[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _judged(text: str, spans: Sequence[tuple[int, int]], config: TermConfig) -> list[TermMatch]:
    parts = sentences(text)
    matches = []
    place = 0
    for start, end in spans:
        while place + 1 < len(parts) and parts[place][1] < end:
            place += 1
        first, last = parts[place]
        first = min(first, start)
        if place and text[parts[place - 1][1] - 1] == ":":
            first = parts[place - 1][0]  # a heading on the line above ("Family history:") belongs to its first line
        matches.append(TermMatch(start, end, is_negated(text[first:start], text[end : max(last, end)], config)))
    return matches
