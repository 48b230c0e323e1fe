"""Finding a label's terms in notes, and names of a list in review evidence."""

import functools
from dataclasses import dataclass

from audit_store.terms.lexicon import NameList, Terms, load_terms
from audit_store.terms.status import AFFIRMED, status_of

_NOTHING = ("no", "none", "unknown", "not performed", "not applicable", "n/a")


@dataclass(frozen=True)
class TermSpan:
    """A term in a text: half-open code points, its words, kind {name, abbreviation, drug} and status."""

    start: int
    end: int
    text: str
    term: str
    kind: str
    status: str


def find_terms(text: str, label_key: str, terms: Terms | None = None, category: str = "") -> list[TermSpan]:
    """Find a label's terms in a text.

    Parameters
    ----------
    text
        A note.
    label_key
        Label; one without terms finds nothing.
    category
        The note's category, used where no heading stands above the term.

    Returns
    -------
    Spans in order, not overlapping: of overlapping finds the longest stays.
    """
    terms = terms or load_terms()
    entry = terms.labels.get(label_key)
    if entry is None:
        return []
    barred = [(m.start(), m.end()) for m in entry.exceptions.finditer(text)]
    found = [
        (match.start(), match.end(), kind)
        for kind, pattern in entry.patterns
        for match in pattern.finditer(text)
        if not any(a < match.end() and match.start() < b for a, b in barred)
    ]
    kept: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(found, key=lambda f: (f[0] - f[1], f[0])):
        if all(end <= a or b <= start for a, b, _ in kept):
            kept.append((start, end, kind))
    return [
        TermSpan(start, end, text[start:end], " ".join(text[start:end].lower().split()), kind, status)
        for start, end, kind in sorted(kept)
        for status in [status_of(text, start, end, terms, category)]
    ]


def _denied(name: str) -> bool:
    """Whether a path's last part answers its question with no."""
    return "|" in name and name.rsplit("|", 1)[1].strip().lower() in _NOTHING


@functools.lru_cache(maxsize=65_536)
def _names(key: str, name: str, text: str, terms_id: int) -> str:
    terms = _REGISTER[terms_id]
    entry: NameList = terms.lists[key]
    if _denied(name):
        return ""
    if not entry.exceptions.search(name):
        match = entry.pattern.search(name)
        if match:
            return _short(name, match.start())
    barred = [(m.start(), m.end()) for m in entry.exceptions.finditer(text)]
    for match in entry.pattern.finditer(text):
        if any(a < match.end() and match.start() < b for a, b in barred):
            continue
        if status_of(text, match.start(), match.end(), terms) == AFFIRMED:
            return name if match.group().lower() in name.lower() else f"{name}: {match.group()}"
    return ""


_REGISTER: dict[int, Terms] = {}


def list_match(key: str, name: str, text: str | None, terms: Terms | None = None) -> str:
    """Words for a screen when an evidence row belongs to a list, else an empty string.

    Parameters
    ----------
    key
        Name of the list.
    name, text
        The row's; a match in the name counts unless the name holds an exception, a match in the text counts where
        the text affirms it.

    Returns
    -------
    The shortest end of a path ("a|b|c") that holds the match, or the row's name with the words found in its text.
    """
    terms = terms or load_terms()
    _REGISTER.setdefault(id(terms), terms)
    return _names(key, name, text or "", id(terms))


def _short(name: str, place: int) -> str:
    """Return the path from the part that holds `place` to its end, without what only files it away."""
    for mark in ("|",):
        if mark in name:
            head = name.rfind(mark, 0, place) + 1
            return name[head:].replace(mark, ", ").strip(" ,")
    return name.strip()
