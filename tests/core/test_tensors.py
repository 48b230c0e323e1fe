"""Packed cohorts: aligned, fitted on training stays alone, kept and rebuilt."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.cache import cached
from core.cohort.discretise import SeriesConfig
from core.cohort.passages import PassageConfig
from core.cohort.store import Cohort, open_cohort
from core.cohort.tensors import TensorConfig, gather, load_preprocessing, pack_cohort, save_preprocessing
from core.errors import RunError
from core.models.notes import NoteConfig

from .test_note_encoders import tiny_bert

Make = Callable[..., Path]


def with_notes(cohort: Cohort, text: Callable[[int], str]) -> Cohort:
    """The same cohort with another text a note."""
    texts = [text(i) for i in range(cohort.notes.num_rows)]
    notes = cohort.notes.set_column(4, "text", pa.array(texts))
    notes = notes.set_column(6, "model_end", pa.array([len(t) for t in texts], pa.int32()))
    return replace(cohort, notes=notes)


def varied(cohort: Cohort) -> Cohort:
    words = ["sepsis", "shock", "diabetes", "copd", "no fever", "on pressors"]
    return with_notes(
        cohort, lambda i: f"Known {words[i % 6]}. Denies {words[(i + 1) % 6]}.\nSeen with {words[i % 5]}."
    )


def test_rows_are_the_cohorts_stays_with_their_labels_and_modalities(cohort_folder: Make) -> None:
    cohort = open_cohort(cohort_folder(n_stays=20))
    packed = pack_cohort(cohort)
    assert packed.stay_ids.tolist() == cohort.stays["stay_id"].to_pylist()
    assert packed.is_test.tolist() == [s == "test" for s in cohort.stays["split"].to_pylist()]
    observed, stated = cohort.label_matrix()
    assert np.array_equal(packed.observed, observed)
    assert np.array_equal(packed.stated, stated)
    assert packed.label_keys == tuple(cohort.label_keys)
    assert packed.series_lengths.tolist() == [24] * 20
    assert (packed.n_series_features, packed.note_dim) == (59, 128)
    assert packed.series.values.dtype == packed.notes.vectors.dtype == np.float32
    assert packed.has_note.all()
    assert packed.without_either == 0


def test_a_stay_with_neither_modality_is_counted_and_kept(cohort_folder: Make) -> None:
    cohort = open_cohort(cohort_folder(n_stays=6))
    first = cohort.stays["stay_id"][0]
    cohort = replace(
        cohort,
        observations=cohort.observations.filter(pc.not_equal(cohort.observations["stay_id"], first)),
        notes=cohort.notes.filter(pc.not_equal(cohort.notes["stay_id"], first)),
    )
    packed = pack_cohort(cohort)
    assert packed.without_either == 1
    assert packed.series_lengths.tolist() == [0] + [24] * 5
    padded, lengths = gather(packed.series.values, packed.series.offsets, np.array([0]))
    assert padded.shape == (1, 1, 59)
    assert lengths.tolist() == [0]
    assert not padded.any()


def test_no_word_of_a_test_stay_enters_the_vocabulary(cohort_folder: Make) -> None:
    cohort = open_cohort(cohort_folder(n_stays=30))
    is_test = [s == "test" for s in cohort.stays["split"].to_pylist()]
    assert any(is_test)
    cohort = with_notes(cohort, lambda i: "hidden secret" if is_test[i] else f"plain words {i % 3}")
    packed = pack_cohort(cohort)
    assert "plain" in packed.encoder.state()[0]["vocabulary"]
    assert "secret" not in packed.encoder.state()[0]["vocabulary"]
    assert not gather(packed.notes.vectors, packed.notes.offsets, np.flatnonzero(packed.is_test))[0].any()


def test_every_unit_slices_to_its_passage_of_its_own_stays_note(cohort_folder: Make) -> None:
    cohort = varied(open_cohort(cohort_folder(n_stays=8)))
    packed = pack_cohort(cohort, TensorConfig(passages=PassageConfig(max_words=6)))
    notes = packed.notes
    assert (packed.note_lengths == 2).all()
    texts = dict(zip(cohort.notes["note_id"].to_pylist(), cohort.notes["text"].to_pylist(), strict=True))
    owner = dict(zip(cohort.notes["note_id"].to_pylist(), cohort.notes["stay_id"].to_pylist(), strict=True))
    for unit in range(len(notes.vectors)):
        note = int(notes.note_id[unit])
        assert owner[note] == packed.stay_ids[notes.stay_row[unit]]
        part = texts[note][notes.char_start[unit] : notes.char_end[unit]]
        assert part.startswith(("Known", "Seen"))
    assert np.array_equal(np.searchsorted(notes.stay_row, np.arange(9)), notes.offsets)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_gather_equals_a_loop_over_stays(lengths: list[int], data: st.DataObject) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.arange(1, 1 + 2 * offsets[-1], dtype=np.float16).reshape(-1, 2)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=8)), dtype=np.int64)
    padded, found = gather(values, offsets, rows)
    assert padded.dtype == np.float32
    assert found.tolist() == [lengths[r] for r in rows]
    assert padded.shape[1] == max([1, *found.tolist()])
    for b, r in enumerate(rows.tolist()):
        assert np.array_equal(padded[b, : lengths[r]], values[offsets[r] : offsets[r + 1]])
        assert not padded[b, lengths[r] :].any()


def test_packing_from_the_cache_is_packing_anew(cohort_folder: Make, tmp_path: Path) -> None:
    cohort = varied(open_cohort(cohort_folder()))
    cache = tmp_path / "cache"
    plain = pack_cohort(cohort)
    told: list[str] = []
    first = pack_cohort(cohort, cache_dir=cache, progress=lambda what, done, total: told.append(what))
    assert {"series", "notes"} <= set(told)
    told.clear()
    second = pack_cohort(cohort, cache_dir=cache, progress=lambda what, done, total: told.append(what))
    assert not told
    for packed in (first, second):
        assert np.array_equal(packed.series.values, plain.series.values)
        assert np.array_equal(packed.notes.vectors, plain.notes.vectors)
        assert packed.normaliser == plain.normaliser
    assert isinstance(second.series.values, np.memmap)
    assert not second.series.values.flags.writeable
    assert second.encoder.state()[0] == plain.encoder.state()[0]
    assert {p.stat().st_mode & 0o077 for p in cache.rglob("*")} == {0}


@pytest.mark.parametrize("damage", ["cut", "flipped", "index", "missing", "foreign"])
def test_a_damaged_or_foreign_cache_entry_is_built_again(cohort_folder: Make, tmp_path: Path, damage: str) -> None:
    cohort = varied(open_cohort(cohort_folder()))
    cache = tmp_path / "cache"
    good = np.array(pack_cohort(cohort, cache_dir=cache).notes.vectors)
    entry = next(cache.glob("notes-*"))
    target = entry / "vectors.npy"
    if damage == "cut":
        target.write_bytes(target.read_bytes()[:-40])
    elif damage == "flipped":
        body = bytearray(target.read_bytes())
        body[-3] ^= 255
        target.write_bytes(bytes(body))
    elif damage == "index":
        (entry / "index.json").write_text("{")
    elif damage == "missing":
        target.unlink()
    else:
        index = json.loads((entry / "index.json").read_text())
        (entry / "index.json").write_text(json.dumps({**index, "key": "another"}))
    assert np.array_equal(pack_cohort(cohort, cache_dir=cache).notes.vectors, good)
    told: list[str] = []
    pack_cohort(cohort, cache_dir=cache, progress=lambda what, done, total: told.append(what))
    assert not told


def test_a_build_that_fails_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    def fails() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        return {"fine": np.zeros(2), "broken": np.array([object()])}, {}

    with pytest.raises(ValueError, match="allow_pickle"):
        cached(tmp_path, "entry", {"k": 1}, fails)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        TensorConfig(series=SeriesConfig(step_hours=2.0)),
        TensorConfig(passages=PassageConfig(max_words=4)),
        TensorConfig(notes=NoteConfig(dim=8)),
    ],
)
def test_other_options_never_read_the_first_ones_entry(
    cohort_folder: Make, tmp_path: Path, other: TensorConfig
) -> None:
    cohort = varied(open_cohort(cohort_folder()))
    cache = tmp_path / "cache"
    pack_cohort(cohort, cache_dir=cache)
    packed = pack_cohort(cohort, other, cache_dir=cache)
    plain = pack_cohort(cohort, other)
    assert np.array_equal(packed.series.values, plain.series.values)
    assert np.array_equal(packed.notes.vectors, plain.notes.vectors)


def test_preprocessing_reads_back_without_a_pickle_and_packs_the_same(cohort_folder: Make, tmp_path: Path) -> None:
    cohort = varied(open_cohort(cohort_folder()))
    config = TensorConfig(SeriesConfig(2.0), PassageConfig(8), NoteConfig(dim=5))
    packed = pack_cohort(cohort, config)
    save_preprocessing(tmp_path, packed)
    normaliser, encoder, read = load_preprocessing(tmp_path)
    assert read == config
    assert TensorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    for cache in (None, tmp_path / "cache"):
        again = pack_cohort(cohort, read, cache, fitted=(normaliser, encoder))
        assert np.array_equal(again.series.values, packed.series.values)
        assert np.array_equal(again.notes.vectors, packed.notes.vectors)


def test_preprocessing_cut_short_is_one_line(cohort_folder: Make, tmp_path: Path) -> None:
    packed = pack_cohort(varied(open_cohort(cohort_folder())))
    save_preprocessing(tmp_path, packed)
    body = (tmp_path / "note_encoder.npz").read_bytes()
    (tmp_path / "note_encoder.npz").write_bytes(body[: len(body) // 2])
    with pytest.raises(RunError, match="cut short") as caught:
        load_preprocessing(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("units", ["passages", "tokens"])
def test_a_transformers_vectors_are_kept_as_half_floats_and_the_model_is_not_run_again(
    cohort_folder: Make, tmp_path: Path, units: str
) -> None:
    cohort = with_notes(open_cohort(cohort_folder()), lambda i: "sepsis on pressors. no diabetes.\nshock")
    config = TensorConfig(
        passages=PassageConfig(max_words=3),
        notes=NoteConfig(encoder=str(tiny_bert(tmp_path / "bert")), units=units, max_tokens=7),
    )
    packed = pack_cohort(cohort, config, tmp_path / "cache")
    told: list[str] = []
    again = pack_cohort(cohort, config, tmp_path / "cache", lambda what, done, total: told.append(what))
    assert not told
    assert np.array_equal(packed.notes.vectors, again.notes.vectors)
    assert packed.notes.vectors.dtype == np.float16
    assert packed.note_dim == 16
    text = "sepsis on pressors. no diabetes.\nshock"
    unit = slice(packed.notes.offsets[0], packed.notes.offsets[1])
    parts = [
        text[a:b]
        for a, b in zip(packed.notes.char_start[unit].tolist(), packed.notes.char_end[unit].tolist(), strict=True)
    ]
    if units == "passages":
        assert parts == ["sepsis on pressors.", "no diabetes.\nshock"]
    else:
        assert parts == ["sepsis", "on", "press", "ors", ".", "no", "diabetes"]
        assert packed.notes.passage[unit].tolist() == [0, 0, 0, 0, 0, 1, 1]
        assert (packed.note_lengths == 7).all()
