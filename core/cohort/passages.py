"""Notes as passages: the spans of text that the note encoder reads one by one.

A passage is a run of sentences or phrase lines of one note, some forty words long, given as half-open code points of
``notes.text``. A stay has up to sixteen; where its text is longer, passages grow until it fits.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.store import Cohort
from core.errors import ConfigError
from core.hints import Int

_WORD = re.compile(r"\S+")
# A sentence ends at a line break or semicolon, or at . ! ? before white space (so "7.35" stays whole).
_BREAK = re.compile(r"(?:\r?\n|;|[.!?](?=\s|$))+\s*")


@dataclass(frozen=True)
class PassageConfig:
    """How notes are cut into passages.

    Parameters
    ----------
    max_words
        Words a passage holds where the stay's text is short enough; 40 keeps a passage to a few phrases.
    max_passages
        Passages a stay, 16 (issue 2): note tokens of the fusion transformer.
    growth
        Factor by which passages lengthen until a stay's text fits.
    longest_words
        Words a passage may grow to; about 512 word pieces of BioBERT. Text beyond ``max_passages`` of these is cut.
    """

    max_words: int = 40
    max_passages: int = 16
    growth: float = 1.25
    longest_words: int = 320

    def __post_init__(self) -> None:
        if self.max_words < 1 or self.longest_words < self.max_words:
            raise ConfigError(
                "1 ≤ max_words ≤ longest_words", f"{self.max_words}, {self.longest_words}", "mend the passage options"
            )
        if self.max_passages < 1:
            raise ConfigError("max_passages of 1 or more", str(self.max_passages), "mend the passage options")
        if not self.growth > 1:
            raise ConfigError("growth above 1", str(self.growth), "mend the passage options")


@dataclass(frozen=True)
class PassageTable:
    """Spans of the notes, ordered by stay row, then hour and note id, then place.

    Parameters
    ----------
    stay_row
        int64 [P]; row of ``cohort.stays``.
    note_row
        int64 [P]; row of ``cohort.notes``.
    note_id
        int64 [P].
    char_start, char_end
        int32 [P]; half-open code points of ``notes.text``.
    """

    stay_row: Int[np.ndarray, " passages"]
    note_row: Int[np.ndarray, " passages"]
    note_id: Int[np.ndarray, " passages"]
    char_start: Int[np.ndarray, " passages"]
    char_end: Int[np.ndarray, " passages"]

    def __len__(self) -> int:
        return len(self.stay_row)

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, int, int, int, int]]) -> "PassageTable":
        """Make one from (stay row, note row, note id, start, end)."""
        grid = np.array(rows, dtype=np.int64).reshape(-1, 5)
        return cls(grid[:, 0], grid[:, 1], grid[:, 2], grid[:, 3].astype(np.int32), grid[:, 4].astype(np.int32))

    def texts(self, notes: pa.Table) -> list[str]:
        """Give the text of each passage."""
        needed, place = np.unique(self.note_row, return_inverse=True)
        whole = notes["text"].take(pa.array(needed)).to_pylist()
        return [
            whole[i][start:end]
            for i, start, end in zip(place.tolist(), self.char_start.tolist(), self.char_end.tolist(), strict=True)
        ]


def readable_notes(cohort: Cohort) -> PassageTable:
    """Give what the model may read, one span a note: ``text[model_start:model_end]``, charted before the cut-off.

    A note without a span is for readers only. With a cut-off, a note without an hour is left out: nobody can tell that
    it was written in time. White space at both ends is trimmed; blank spans are left out.
    """
    notes = cohort.notes
    can = pc.and_(pc.is_valid(notes["model_start"]), pc.is_valid(notes["model_end"]))
    cutoff = cohort.manifest.get("cutoff_hours")
    if cutoff is not None:
        can = pc.and_(can, pc.fill_null(pc.less(notes["hour"], float(cutoff)), False))
    rows = np.flatnonzero(can.to_numpy(zero_copy_only=False) if notes.num_rows else np.zeros(0, dtype=bool))
    if not len(rows):
        return PassageTable.from_rows([])
    chosen = notes.take(pa.array(rows))
    hour = pc.fill_null(chosen["hour"], float("inf")).to_numpy().astype(np.float64)
    note_id = chosen["note_id"].to_numpy()
    stay_row = np.searchsorted(cohort.stays["stay_id"].to_numpy(), chosen["stay_id"].to_numpy())
    order = np.lexsort((note_id, hour, stay_row))
    found = []
    starts, ends = chosen["model_start"].to_pylist(), chosen["model_end"].to_pylist()
    texts = chosen["text"].to_pylist()
    for i in order.tolist():
        part = texts[i][starts[i] : ends[i]]
        kept = part.strip()
        if kept:
            start = starts[i] + len(part) - len(part.lstrip())
            found.append((int(stay_row[i]), int(rows[i]), int(note_id[i]), start, start + len(kept)))
    return PassageTable.from_rows(found)


def sentences(text: str) -> list[tuple[int, int]]:
    """Half-open spans of a text's sentences and phrase lines, trimmed, none of them blank."""
    spans = []
    start = 0
    for found in _BREAK.finditer(text):
        spans.append((start, found.end()))
        start = found.end()
    spans.append((start, len(text)))
    trimmed = []
    for begin, end in spans:
        part = text[begin:end]
        kept = part.strip()
        if kept:
            left = begin + len(part) - len(part.lstrip())
            trimmed.append((left, left + len(kept)))
    return trimmed


def _pieces(text: str, longest: int) -> list[tuple[int, int, int]]:
    """Sentences as (start, end, words); one with more than `longest` words is cut between words."""
    found = []
    for start, end in sentences(text):
        words = [(m.start(), m.end()) for m in _WORD.finditer(text, start, end)]
        for i in range(0, len(words), longest):
            part = words[i : i + longest]
            found.append((part[0][0], part[-1][1], len(part)))
    return found


def _grouped(pieces: Sequence[tuple[int, int, int]], capacity: int) -> list[tuple[int, int]]:
    """Join neighbouring sentences, first to last, while they hold at most `capacity` words."""
    groups: list[tuple[int, int]] = []
    held = capacity + 1
    for start, end, words in pieces:
        if held + words <= capacity:
            groups[-1] = (groups[-1][0], end)
            held += words
        else:
            groups.append((start, end))
            held = words
    return groups


def cut_passages(texts: Sequence[str], config: PassageConfig) -> list[tuple[int, int, int]]:
    """Cut one stay's texts, in order, into at most `max_passages` passages.

    Parameters
    ----------
    texts
        The stay's readable texts; a passage never spans two.
    config
        Words a passage, passages a stay.

    Returns
    -------
    list of (text, start, end)
        Place in `texts` and half-open code points within it. Deterministic.
    """
    words = sum(1 for text in texts for _ in _WORD.finditer(text))
    capacity = min(config.longest_words, max(config.max_words, words // config.max_passages))
    while True:
        found = [
            (i, start, end)
            for i, text in enumerate(texts)
            for start, end in _grouped(_pieces(text, capacity), capacity)
        ]
        if len(found) <= config.max_passages or capacity >= config.longest_words:
            return found[: config.max_passages]
        capacity = min(config.longest_words, max(capacity + 1, int(capacity * config.growth)))


def split_passages(cohort: Cohort, config: PassageConfig) -> PassageTable:
    """Split every stay's readable notes into passages.

    Parameters
    ----------
    cohort
        The cohort; `stay_row` counts rows of ``cohort.stays``.
    config
        Words a passage, passages a stay.

    Returns
    -------
    PassageTable
        At most `max_passages` a stay, in (hour, note_id) order.
    """
    readable = readable_notes(cohort)
    texts = readable.texts(cohort.notes)
    found = []
    edges = np.flatnonzero(np.diff(readable.stay_row, prepend=-1, append=-1))
    for begin, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        for i, start, end in cut_passages(texts[begin:stop], config):
            whole = begin + i
            base = int(readable.char_start[whole])
            found.append(
                (
                    int(readable.stay_row[whole]),
                    int(readable.note_row[whole]),
                    int(readable.note_id[whole]),
                    base + start,
                    base + end,
                )
            )
    return PassageTable.from_rows(found)
