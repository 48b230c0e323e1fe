"""Finding a label's terms in notes, and names of a list in review evidence."""

import functools
import re
from bisect import bisect_left
from dataclasses import dataclass

from audit_store.terms.lexicon import NameList, Terms, load_terms
from audit_store.terms.status import AFFIRMED, status_of

_REGISTER: dict[int, Terms] = {}
"""Compiled terms by identity, so that finds can be remembered per text."""
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
    _REGISTER.setdefault(id(terms), terms)
    return list(_found(text, label_key, id(terms), category))


@functools.lru_cache(maxsize=8192)
def _found(text: str, label_key: str, terms_id: int, category: str) -> tuple[TermSpan, ...]:
    terms = _REGISTER[terms_id]
    entry = terms.labels.get(label_key)
    if entry is None:
        return ()
    barred = [(m.start(), m.end()) for m in entry.exceptions.finditer(text)]
    found = [
        (match.start(), match.end(), kind)
        for kind, pattern in entry.patterns
        for match in pattern.finditer(text)
        if not any(a < match.end() and match.start() < b for a, b in barred)
    ]
    kept: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(found, key=lambda f: (f[0] - f[1], f[0])):
        place = bisect_left(kept, (start, end, kind))
        before, after = kept[place - 1 : place], kept[place : place + 1]
        if all(end <= a or b <= start for a, b, _ in [*before, *after]):
            kept.insert(place, (start, end, kind))
    return tuple(
        TermSpan(start, end, text[start:end], " ".join(text[start:end].lower().split()), kind, status)
        for start, end, kind in sorted(kept)
        for status in [status_of(text, start, end, terms, category)]
    )


def path_of(name: str, text: str) -> str:
    """Return the path that files a row ("organ › problem › treatment") where its text or name is one, else nothing."""
    return next((words for words in (text, name) if "›" in words or "|" in words), "")


def _denied(name: str, path: str) -> bool:
    """Whether a path's last step, or the answer in a name, is no."""
    last = re.split(r"[|›]", path)[-1] if path else name.rsplit(":", 1)[-1]
    return last.strip().lower() in _NOTHING


@functools.lru_cache(maxsize=65_536)
def _names(key: str, name: str, text: str, terms_id: int) -> str:
    terms = _REGISTER[terms_id]
    entry: NameList = terms.lists[key]
    path = path_of(name, text)
    if _denied(name, path):
        return ""
    filed = path or name
    if entry.exceptions.search(filed) is None and (entry.pattern.search(filed) or entry.pattern.search(name)):
        return _short(name)
    if path:
        return ""
    barred = [(m.start(), m.end()) for m in entry.exceptions.finditer(text)]
    for match in entry.pattern.finditer(text):
        if any(a < match.end() and match.start() < b for a, b in barred):
            continue
        if status_of(text, match.start(), match.end(), terms) == AFFIRMED:
            return name if match.group().lower() in name.lower() else f"{name}: {match.group()}"
    return ""


def list_match(key: str, name: str, text: str | None, terms: Terms | None = None) -> str:
    """Words for a screen when an evidence row belongs to a list, else an empty string.

    Parameters
    ----------
    key
        Name of the list.
    name, text
        The row's; a match in the name, or in the path that files it, counts unless that holds an exception; a match
        in another text counts where the text affirms it.

    Returns
    -------
    The row's name, without what only files it away, or with the words found in its text.
    """
    terms = terms or load_terms()
    _REGISTER.setdefault(id(terms), terms)
    return _names(key, name, text or "", id(terms))


def _short(name: str) -> str:
    """Return a name without the first steps of a path, which only file it away."""
    steps = [step.strip() for step in re.split(r"[|›]", name) if step.strip()]
    return ", ".join(steps[2:] if len(steps) > 2 else steps[-1:]) or name
