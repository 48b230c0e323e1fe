"""Notes as packed vectors: passages, or word pieces, of every stay, one after the other."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core.cohort.cache import Arrays, cached, cohort_key
from core.cohort.passages import PassageConfig, PassageTable, readable_notes, split_passages
from core.cohort.store import Cohort
from core.hints import Float, Int
from core.models.notes import NoteConfig, NoteEncoder

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NotePack:
    """Every stay's note vectors, one after the other.

    Parameters
    ----------
    vectors
        float32 (tfidf) or float16 (transformer) [total units, D].
    offsets
        int64 [N+1]; stay i owns ``vectors[offsets[i]:offsets[i+1]]``; zero length means no note.
    stay_row, note_id
        int64 [total units].
    char_start, char_end
        int32 [total units]; half-open code points of ``notes.text``.
    passage
        int64 [total units]: the passage a unit lies in; itself where units are passages.
    passages
        Spans of the passages.
    """

    vectors: Float[np.ndarray, "units dim"]
    offsets: Int[np.ndarray, " stays_plus_one"]
    stay_row: Int[np.ndarray, " units"]
    note_id: Int[np.ndarray, " units"]
    char_start: Int[np.ndarray, " units"]
    char_end: Int[np.ndarray, " units"]
    passage: Int[np.ndarray, " units"]
    passages: PassageTable


def _first_units(unit_stay: np.ndarray, limit: int) -> np.ndarray:
    """Which units are among the first `limit` of their stay; `unit_stay` ascends."""
    begin = np.searchsorted(unit_stay, unit_stay, side="left")
    keep: np.ndarray = np.arange(len(unit_stay)) - begin < limit
    return keep


def _encode(
    cohort: Cohort, passages: PassageTable, encoder: NoteEncoder, config: NoteConfig, progress: Progress
) -> Arrays:
    """Vectors of the passages, or of each note's word pieces, with their spans."""
    tokens = config.units == "tokens"
    read = readable_notes(cohort) if tokens else passages
    units = encoder.encode(read.texts(cohort.notes), lambda done, total: progress("notes", done, total))
    start = read.char_start[units.text] + units.start
    end = read.char_start[units.text] + units.end
    stay_row = read.stay_row[units.text]
    if not tokens:
        arrays = {"vectors": units.vectors, "passage": units.text, "stay_row": stay_row}
        return {**arrays, "note_id": read.note_id[units.text], "char_start": start, "char_end": end}
    # A word piece belongs to the passage of its note that holds its first character; pieces past the last are cut.
    note_place = {row: place for place, row in enumerate(dict.fromkeys(read.note_row.tolist()))}
    wide = int(max(passages.char_end.max(initial=0), end.max(initial=0))) + 1
    of_passage = np.array([note_place[row] for row in passages.note_row.tolist()], dtype=np.int64)
    of_unit = np.array([note_place[row] for row in read.note_row.tolist()], dtype=np.int64)[units.text]
    passage = (
        np.searchsorted(of_passage * wide + passages.char_start, of_unit * wide + start, side="right").astype(np.int64)
        - 1
    )
    inside = passage >= 0
    held = passage[inside]
    inside[inside] = (of_passage[held] == of_unit[inside]) & (start[inside] < passages.char_end[held])
    keep = np.flatnonzero(inside)
    keep = keep[_first_units(stay_row[keep], config.max_tokens)]
    return {
        "vectors": units.vectors[keep],
        "passage": passage[keep],
        "stay_row": stay_row[keep],
        "note_id": read.note_id[units.text][keep],
        "char_start": start[keep],
        "char_end": end[keep],
    }


def pack_notes(
    cohort: Cohort,
    passage_config: PassageConfig,
    config: NoteConfig,
    cache_dir: Path | None,
    encoder: NoteEncoder,
    fitted: bool,
    progress: Progress,
) -> NotePack:
    """Split, encode and pack the notes of every stay.

    Parameters
    ----------
    cohort, passage_config, config
        What to read, how to cut it, how to encode it.
    cache_dir
        Where vectors are kept; None keeps none.
    encoder
        Fitted on the training stays' passages here, unless `fitted`.
    fitted
        Whether the encoder is ready.
    progress
        Told ("notes", texts done, texts in all).
    """
    passages = split_passages(cohort, passage_config)

    def build() -> tuple[Arrays, dict[str, Any]]:
        if not fitted:
            is_train = pc.equal(cohort.stays["split"], "train").to_numpy(zero_copy_only=False)
            of_train = is_train[passages.stay_row]
            texts = passages.texts(cohort.notes)
            encoder.fit([text for text, wanted in zip(texts, of_train.tolist(), strict=True) if wanted])
        fields, state = encoder.state()
        arrays = _encode(cohort, passages, encoder, config, progress)
        return {**arrays, **{f"encoder_{name}": array for name, array in state.items()}}, fields

    key = {**cohort_key(cohort), "passages": asdict(passage_config), "encoder": encoder.digest()}
    key["split"] = hashlib.blake2b(
        b"".join(np.ascontiguousarray(a).tobytes() for a in (passages.note_id, passages.char_start, passages.char_end)),
        digest_size=16,
    ).hexdigest()
    if fitted:
        fields, state = encoder.state()
        body = json.dumps(fields, sort_keys=True).encode() + b"".join(state[name].tobytes() for name in sorted(state))
        key["given"] = hashlib.blake2b(body, digest_size=16).hexdigest()
    arrays, fields = cached(cache_dir, "notes", key, build)
    encoder.restore(
        fields,
        {name.removeprefix("encoder_"): array for name, array in arrays.items() if name.startswith("encoder_")},
    )
    counts = np.bincount(arrays["stay_row"], minlength=cohort.stays.num_rows)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return NotePack(
        arrays["vectors"],
        offsets,
        arrays["stay_row"],
        arrays["note_id"],
        arrays["char_start"],
        arrays["char_end"],
        arrays["passage"],
        passages,
    )
