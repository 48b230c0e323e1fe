"""Passages of notes for the screen: cut into pieces of one kind each, best first. Nothing here is HTML."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from audit_store.chart.records import Note
from audit_store.terms.find import TermSpan, find_terms
from audit_store.terms.lexicon import Terms
from audit_store.terms.status import AFFIRMED, FAMILY, HISTORICAL, NEGATED, UNCERTAIN, sentence_bounds

PLAIN, DRUG = "plain", "drug"


@dataclass(frozen=True)
class PassageConfig:
    """Numbers of the passage view.

    Parameters
    ----------
    window
        Characters shown on either side of a term or mark, at most [code points].
    affirmed, uncertain, negated, historical, family, drug
        How much one found term counts for a passage's place [1].
    repeat
        What a second find of the same kind adds, as a share of the first [1].
    mark
        What the strongest model mark of the patient adds [1].
    this_stay
        Added when the passage is of the stay that is asked about [1].
    mark_share
        A model mark is shown from this share of the strongest one's weight [1]: marks everywhere say nothing.
    marks_a_visit
        Most model marks shown in one visit's notes.
    """

    window: int = 220
    affirmed: float = 3.0
    uncertain: float = 2.0
    negated: float = 2.2
    historical: float = 2.0
    family: float = 0.4
    drug: float = 0.8
    repeat: float = 0.25
    mark: float = 2.0
    this_stay: float = 2.0
    mark_share: float = 0.34
    marks_a_visit: int = 3


DEFAULT_PASSAGES = PassageConfig()


@dataclass(frozen=True)
class Segment:
    """A piece of text of one kind: ``plain``, ``drug``, or a term's status; `marked` where the model was moved."""

    text: str
    kind: str
    marked: bool = False
    weight: float = 0.0


@dataclass(frozen=True)
class Mark:
    """What moved the model, in one note: half-open code points and signed weight."""

    stay_id: int
    note_id: int
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Passage:
    """An excerpt of a note, with where it stands and why it is shown."""

    stay_id: int
    note_id: int
    visit: int
    hour: float | None
    category: str
    readers_only: bool
    start: int
    end: int
    segments: tuple[Segment, ...]
    score: float
    statuses: tuple[str, ...]


def marks_from(evidence: pd.DataFrame | None, config: PassageConfig = DEFAULT_PASSAGES) -> tuple[Mark, ...]:
    """Return the model's strongest marks in notes, from the round's evidence rows (kind note, method gradient)."""
    if evidence is None or evidence.empty:
        return ()
    rows = evidence[(evidence["kind"] == "note") & (evidence["method"] == "gradient")]
    rows = rows.dropna(subset=["note_id", "char_start", "char_end"])
    size = rows["weight"].abs()
    rows = rows[(size > 0) & (size >= config.mark_share * size.max())]
    rows = rows.sort_values("weight", key=abs, ascending=False, kind="stable")
    rows = rows.groupby("evidence_stay_id", sort=False).head(config.marks_a_visit)
    return tuple(
        Mark(int(stay), int(note), int(start), int(end), float(weight))
        for stay, note, start, end, weight in zip(
            rows["evidence_stay_id"].tolist(),
            rows["note_id"].tolist(),
            rows["char_start"].tolist(),
            rows["char_end"].tolist(),
            rows["weight"].tolist(),
            strict=True,
        )
    )


def segments(
    text: str, spans: Iterable[TermSpan], marks: Iterable[Mark] = (), start: int = 0, end: int | None = None
) -> list[Segment]:
    """Cut text[start:end] into pieces of one kind each; joined, they are that text.

    Spans don't overlap each other. Where terms and marks overlap, a piece has the term's kind and is marked.
    """
    end = len(text) if end is None else end
    spans = sorted((s for s in spans if s.start < end and start < s.end), key=lambda s: s.start)
    starts = [s.start for s in spans]
    marks = [m for m in marks if m.start < end and start < m.end]
    edges = {start, end}
    for a, b in [(s.start, s.end) for s in spans] + [(m.start, m.end) for m in marks]:
        edges |= {place for place in (a, b) if start < place < end}
    places = sorted(edges)
    out: list[Segment] = []
    for a, b in itertools.pairwise(places):
        place = bisect_right(starts, a) - 1
        span = spans[place] if place >= 0 and b <= spans[place].end else None
        over = [m.weight for m in marks if m.start <= a and b <= m.end]
        kind = PLAIN if span is None else DRUG if span.kind == "drug" and span.status == AFFIRMED else span.status
        weight = max(over, key=abs) if over else 0.0
        out.append(Segment(text[a:b], kind, bool(over), weight))
    return out


def _windows(text: str, places: list[tuple[int, int]], reach: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        left, right = sentence_bounds(text, start, end)
        left = _to_space(text, start - reach, forward=True) if start - left > reach else left
        right = _to_space(text, end + reach, forward=False) if right - end > reach else min(right + 1, len(text))
        while left < start and text[left].isspace():
            left += 1
        if merged and left <= merged[-1][1] + 1 and max(right, merged[-1][1]) - merged[-1][0] <= 2 * reach:
            merged[-1] = (merged[-1][0], max(right, merged[-1][1]))
        else:
            merged.append((left, max(right, end)))
    return merged


def _to_space(text: str, place: int, forward: bool) -> int:
    """Return the nearest place between words, looking right (`forward`) or left, so that no word is cut."""
    place = min(max(place, 0), len(text))
    while 0 < place < len(text) and not text[place - 1].isspace():
        place += 1 if forward else -1
    return place


def _score(spans: list[TermSpan], marks: list[Mark], strongest: float, config: PassageConfig) -> float:
    weights = {
        AFFIRMED: config.affirmed,
        UNCERTAIN: config.uncertain,
        NEGATED: config.negated,
        HISTORICAL: config.historical,
        FAMILY: config.family,
        DRUG: config.drug,
    }
    counts: dict[str, int] = {}
    for span in spans:
        kind = DRUG if span.kind == "drug" else span.status
        counts[kind] = counts.get(kind, 0) + 1
    score = sum(weights[kind] * (1 + config.repeat * (count - 1)) for kind, count in counts.items())
    if marks and strongest > 0:
        score += config.mark * max(abs(m.weight) for m in marks) / strongest
    return score


def passages(
    notes: Sequence[Note],
    label_key: str,
    marks: Sequence[Mark] = (),
    limit: int = 8,
    this_stay: int | None = None,
    terms: Terms | None = None,
    config: PassageConfig = DEFAULT_PASSAGES,
) -> list[Passage]:
    """Excerpts around found terms and marks, best first; the same words in several notes are shown once.

    Parameters
    ----------
    notes
        Notes of one patient's stays.
    marks
        Model marks; leave empty in a blind reading.
    limit
        Most passages returned.
    this_stay
        The stay that is asked about; its passages come before equally good ones of other visits.
    """
    strongest = max((abs(m.weight) for m in marks), default=0.0)
    found: list[Passage] = []
    for note in notes:
        spans = find_terms(note.text, label_key, terms, note.category)
        own = [m for m in marks if m.stay_id == note.stay_id and m.note_id == note.note_id]
        places = [(s.start, s.end) for s in spans] + [(m.start, m.end) for m in own]
        starts = [s.start for s in spans]
        for start, end in _windows(note.text, places, config.window):
            near = spans[max(bisect_left(starts, start) - 1, 0) : bisect_left(starts, end)]
            inside = [s for s in near if start <= s.start and s.end <= end]
            marked = [m for m in own if m.start < end and start < m.end]
            score = _score(inside, marked, strongest, config)
            score += config.this_stay if note.stay_id == this_stay else 0.0
            pieces = tuple(segments(note.text, near, own, start, end))
            statuses = tuple(dict.fromkeys(s.status for s in inside))
            found.append(
                Passage(
                    note.stay_id,
                    note.note_id,
                    note.visit,
                    note.hour,
                    note.category,
                    note.readers_only,
                    start,
                    end,
                    pieces,
                    score,
                    statuses,
                )
            )
    found.sort(key=lambda p: (-p.score, p.visit, p.hour if p.hour is not None else -1.0, p.start))
    seen: set[tuple[int, str]] = set()
    best: list[Passage] = []
    for passage in found:
        words = (passage.stay_id, " ".join("".join(s.text for s in passage.segments).lower().split()))
        if words not in seen:
            seen.add(words)
            best.append(passage)
    return best[:limit]


def best_passage(
    notes: Sequence[Note],
    label_key: str,
    marks: Sequence[Mark] = (),
    this_stay: int | None = None,
    terms: Terms | None = None,
) -> Passage | None:
    """Return the passage to show first, or None where no note names the label and no mark is given."""
    found = passages(notes, label_key, marks, 1, this_stay, terms)
    return found[0] if found else None
