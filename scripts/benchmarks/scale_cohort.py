"""An invented packed cohort of any size with paper-like lengths, as `core.cohort.tensors` gives it, without tables.

Series are noise with an offset for each label that is present; notes are word vectors out of a vocabulary in which each
label has words of its own. So there is something to learn, and lengths, widths and precision are those of the paper.
"""

import math
from dataclasses import dataclass

import numpy as np

from core.cohort.discretise import Normaliser, SeriesPack
from core.cohort.notepack import NotePack
from core.cohort.passages import PassageTable
from core.cohort.tensors import PackedCohort, TensorConfig
from core.models.notes import NoteConfig, TfidfSvd
from core.noise.injection import NoiseConfig, inject

STAYS, LABELS = 59_798, 25
"""Of the paper's MIMIC-IV cohort."""
FEATURES, NOTE_DIM = 76, 768
"""Columns of the benchmark's hourly step, and width of BioBERT's vectors."""
MEAN_POSITIVES, NOISE = 4.575, 0.2
_VISITS, _TEST_SHARE = 1.4, 0.2
_WORDS, _WORDS_A_STAY, _OWN_WORDS, _OWN_SHARE = 20_000, 20, 40, 0.15
_OFFSET = 0.3
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Shape:
    """How long a stay's series and notes are.

    Parameters
    ----------
    name, words
        Its name, and what it is in words.
    steps, steps_mean
        Median and mean of the series' length in hours; log-normal, the same for all where they agree.
    units, units_mean
        Of the notes' length, in word pieces or passages.
    longest_series, longest_notes
        Where they are cut.
    """

    name: str
    words: str
    steps: float
    steps_mean: float
    units: float
    units_mean: float
    longest_series: int
    longest_notes: int


SHAPES = {
    "paper": Shape(
        "paper", "series median 50 h, mean 85, cut at 512; notes median 100 tokens, mean 140, cut at 512",
        50, 85, 100, 140, 512, 512,
    ),
    "hours48": Shape("hours48", "48 hours; notes median 8 passages, cut at 16", 48, 48, 8, 9, 48, 16),
}  # fmt: skip


def lengths(rng: np.random.Generator, stays: int, median: float, mean: float, longest: int) -> np.ndarray:
    """Draw lengths of a log-normal with that median and mean, at least 1, cut at the longest."""
    spread = math.sqrt(2 * math.log(mean / median)) if mean > median else 0.0
    drawn: np.ndarray = np.rint(median * np.exp(spread * rng.standard_normal(stays))).astype(np.int64)
    return drawn.clip(1, longest)


def invented(stays: int, shape: Shape, seed: int = 0) -> PackedCohort:
    """Make the packed cohort.

    Parameters
    ----------
    stays
        How many.
    shape
        Lengths.
    seed
        Of all that is drawn.
    """
    rng = np.random.default_rng([seed, stays])
    patient = np.sort(rng.integers(0, max(2, int(stays / _VISITS)), stays)).astype(np.int64)
    test = rng.random(int(patient.max()) + 1) < _TEST_SHARE
    prevalence = rng.gamma(2.0, 1.0, LABELS)
    prevalence = np.clip(prevalence * MEAN_POSITIVES / prevalence.sum(), 0.02, 0.6)
    present = (rng.random((stays, LABELS)) < prevalence).astype(np.uint8)
    of_train = np.repeat(~test[patient][:, None], LABELS, axis=1)
    observed = inject(present, of_train, NoiseConfig("symmetric", rate=NOISE), np.random.default_rng(seed)).observed
    steps = lengths(rng, stays, shape.steps, shape.steps_mean, shape.longest_series)
    units = lengths(rng, stays, shape.units, shape.units_mean, shape.longest_notes)
    note_config = NoteConfig()
    return PackedCohort(
        stay_ids=np.arange(stays, dtype=np.int64),
        patient_ids=patient,
        visit=(np.arange(stays) - np.searchsorted(patient, patient) + 1).astype(np.int32),
        is_test=test[patient],
        label_keys=tuple(f"label {k}" for k in range(LABELS)),
        observed=observed,
        stated=np.ones((stays, LABELS), np.bool_),
        series=_series(rng, present, steps),
        notes=_notes(rng, present, units),
        normaliser=Normaliser((), (), ()),
        encoder=TfidfSvd(note_config),
        config=TensorConfig(notes=note_config),
        fingerprint=f"invented {stays} {shape.name} {seed}",
    )


def _offsets(counts: np.ndarray) -> np.ndarray:
    ends: np.ndarray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return ends


def _series(rng: np.random.Generator, present: np.ndarray, steps: np.ndarray) -> SeriesPack:
    total = int(steps.sum())
    moved = present @ rng.normal(0, _OFFSET, (LABELS, FEATURES)).astype(np.float32)
    owner = np.repeat(np.arange(len(steps)), steps)
    values = np.empty((total, FEATURES), np.float32)
    for start in range(0, total, _CHUNK):
        part = values[start : start + _CHUNK]
        rng.standard_normal(dtype=np.float32, out=part)
        part += moved[owner[start : start + _CHUNK]]
    names = tuple(f"feature {k}" for k in range(FEATURES))
    channels = np.arange(FEATURES, dtype=np.int64)
    return SeriesPack(values, _offsets(steps), np.zeros(len(steps), np.int32), names, names, channels, 1.0)


def _notes(rng: np.random.Generator, present: np.ndarray, units: np.ndarray) -> NotePack:
    total, known = int(units.sum()), min(_WORDS, _WORDS_A_STAY * len(units) + 2 * LABELS * _OWN_WORDS)
    vectors = rng.standard_normal((known, NOTE_DIM), np.float32).astype(np.float16)
    word = rng.integers(LABELS * _OWN_WORDS, known, total)
    owner = np.repeat(np.arange(len(units)), units)
    own = np.flatnonzero(rng.random(total) < _OWN_SHARE)  # of these, words of a label, where the stay has it
    label = rng.integers(0, LABELS, len(own))
    said = present[owner[own], label] == 1
    word[own[said]] = label[said] * _OWN_WORDS + rng.integers(0, _OWN_WORDS, int(said.sum()))
    made = np.empty((total, NOTE_DIM), np.float16)
    for start in range(0, total, _CHUNK):
        np.take(vectors, word[start : start + _CHUNK], axis=0, out=made[start : start + _CHUNK])
    nothing = np.zeros(total, np.int32)
    return NotePack(made, _offsets(units), owner, owner, nothing, nothing, owner, PassageTable.from_rows([]))
