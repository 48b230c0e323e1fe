"""Passages: where notes are cut, what is left out, what always holds."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.passages import PassageConfig, cut_passages, readable_notes, sentences, split_passages
from core.cohort.schema import NOTES
from core.cohort.store import Cohort
from core.errors import ConfigError


def make_cohort(notes: list[dict[str, Any]], n_stays: int = 2, cutoff: float | None = 48.0) -> Cohort:
    stays = pa.table({"stay_id": pa.array(range(10, 10 + n_stays), pa.int64())})
    plain = {"hour": 1.0, "category": "history", "model_start": 0}
    rows = [{**plain, "model_end": len(note["text"]), **note} for note in notes]
    table = pa.Table.from_pylist(rows, NOTES)
    return Cohort(Path(), {"cutoff_hours": cutoff}, stays, pa.table({}), table, pa.table({}))


def test_sentences_end_at_stops_lines_and_semicolons_but_not_inside_numbers() -> None:
    text = "pH 7.35 today. On pressors!\nHR 120; no fever"
    assert [text[a:b] for a, b in sentences(text)] == ["pH 7.35 today.", "On pressors!", "HR 120;", "no fever"]


def test_neighbouring_phrases_share_a_passage_up_to_the_word_limit() -> None:
    text = "one two. three four. five six seven."
    config = PassageConfig(max_words=4, max_passages=16)
    assert [text[a:b] for _, a, b in cut_passages([text], config)] == ["one two. three four.", "five six seven."]


def test_a_sentence_longer_than_a_passage_is_cut_between_words() -> None:
    text = " ".join(f"w{i}" for i in range(10))
    found = [text[a:b] for _, a, b in cut_passages([text], PassageConfig(max_words=4))]
    assert found == ["w0 w1 w2 w3", "w4 w5 w6 w7", "w8 w9"]


def test_passages_grow_until_a_long_stay_fits_and_no_word_is_lost() -> None:
    text = "\n".join(f"finding number {i} is noted here" for i in range(300))
    found = cut_passages([text], PassageConfig(max_words=40, max_passages=16))
    assert len(found) <= 16
    assert " ".join(text[a:b] for _, a, b in found).split() == text.split()


def test_text_beyond_the_longest_passages_is_cut_at_the_end() -> None:
    text = " ".join(f"w{i}" for i in range(100))
    found = cut_passages([text], PassageConfig(max_words=2, max_passages=3, longest_words=4))
    assert [text[a:b] for _, a, b in found] == ["w0 w1 w2 w3", "w4 w5 w6 w7", "w8 w9 w10 w11"]


alphabet = st.text(st.sampled_from("ab. ;\n!é7😀"), max_size=120)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(alphabet, max_size=5), words=st.integers(1, 6), passages=st.integers(1, 6))
def test_passages_are_in_order_apart_trimmed_bounded_and_whole_when_they_fit(
    texts: list[str], words: int, passages: int
) -> None:
    config = PassageConfig(max_words=words, max_passages=passages, longest_words=8)
    found = cut_passages(texts, config)
    assert len(found) <= passages
    assert found == sorted(found)
    assert found == cut_passages(list(texts), config)
    for i, start, end in found:
        part = texts[i][start:end]
        assert part == part.strip()
        assert part
        assert len(part.split()) <= 8
    for (i, _, end), (j, start, _) in pairwise(found):
        assert j > i or start >= end
    read = "".join(re.sub(r"\s", "", texts[i][a:b]) for i, a, b in found)
    assert re.sub(r"\s", "", "".join(texts)).startswith(read)
    if sum(max(1, len(t.split())) for t in texts) <= passages:
        assert read == re.sub(r"\s", "", "".join(texts))


def test_only_the_models_span_before_the_cut_off_is_read_in_order_of_hour_and_id() -> None:
    secret = "Discharge diagnosis: sepsis."
    notes = [
        {"stay_id": 10, "note_id": 3, "hour": 5.0, "text": "later note"},
        {"stay_id": 10, "note_id": 2, "hour": 5.0, "text": "twin note"},
        {"stay_id": 10, "note_id": 9, "hour": 1.0, "text": f"\n café  {secret}", "model_start": 0, "model_end": 6},
        {"stay_id": 11, "note_id": 4, "hour": 48.0, "text": "at the cut-off"},
        {"stay_id": 11, "note_id": 5, "hour": None, "text": "no hour"},
        {"stay_id": 11, "note_id": 6, "hour": 1.0, "text": secret, "model_start": None, "model_end": None},
        {"stay_id": 11, "note_id": 7, "hour": 1.0, "text": "x   y", "model_start": 1, "model_end": 3},
    ]
    cohort = make_cohort(notes)
    table = split_passages(cohort, PassageConfig())
    assert table.note_id.tolist() == [9, 2, 3]
    assert table.texts(cohort.notes) == ["café", "twin note", "later note"]
    assert (table.char_start[0], table.char_end[0]) == (2, 6)
    uncut = readable_notes(make_cohort(notes, cutoff=None))
    assert uncut.note_id.tolist() == [9, 2, 3, 4, 5]


def test_a_cohort_without_notes_has_no_passages() -> None:
    assert len(split_passages(make_cohort([]), PassageConfig())) == 0


@pytest.mark.parametrize(
    "wrong", [{"max_words": 0}, {"max_passages": 0}, {"growth": 1.0}, {"max_words": 50, "longest_words": 40}]
)
def test_passage_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        PassageConfig(**wrong)
