"""The eICU demo against charted past history: four lifelong illnesses, with `pastHistory` kept from the model's notes.

Coded diagnoses and charted history come from different people. A stay whose history names an illness that its codes
leave out is likely a missed code; the reverse says less, since histories are charted with gaps. Stays without any
charted history take no part. Codes of one illness (diabetes with and without complications) count as one.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.fit import Fitted
from core.locks import Pairs
from core.noise.settings import Planted
from scripts.benchmarks.charted import ILLNESSES, charted
from scripts.benchmarks.scene import Scene


def columns(label_keys: tuple[str, ...]) -> list[list[int]]:
    """Columns of each illness's labels."""
    return [[label_keys.index(name) for name in illness.labels] for illness in ILLNESSES.values()]


def folded(values: np.ndarray, places: list[list[int]]) -> np.ndarray:
    """The highest value among an illness's labels, [..., stays, illnesses]."""
    return np.stack([values[..., place].max(-1) for place in places], axis=-1)


def folded_suspicion(score: np.ndarray, observed: np.ndarray, places: list[list[int]]) -> np.ndarray:
    """Suspicion of an illness's record: the highest among the labels recorded as the illness is."""
    parts = []
    for place in places:
        recorded = observed[:, place].max(1, keepdims=True)
        parts.append(np.where(observed[:, place] == recorded, score[:, place], -np.inf).max(1))
    return np.stack(parts, axis=1)


def against_history(scene: Scene, data: Path | None) -> Scene:
    """The scene with illnesses for labels: recorded by the codes, and true as charted."""
    packed, pairs = scene.prepared.packed, scene.pairs
    places = columns(packed.label_keys)
    truth, known = charted(data, np.asarray(packed.stay_ids))
    stated = np.stack([pairs.stated[:, place].all(1) for place in places], axis=1) & known[:, None]
    record = folded(pairs.observed, places)
    member = stated & pairs.training[:, None]
    wrong = record != truth
    plus, minus = (float(wrong[member & (truth == value)].mean()) for value in (1, 0))
    return Scene(
        replace(scene.prepared, packed=replace(packed, observed=truth, stated=stated, label_keys=tuple(ILLNESSES))),
        Pairs(record, record, record.astype(np.float32), stated, np.zeros_like(stated), pairs.training, member),
        Planted(record, truth, wrong, plus, minus, np.zeros(record.shape, np.float32)),
        scene.config,
    )


def fitted_against_history(fitted: Fitted, observed: np.ndarray, label_keys: tuple[str, ...]) -> Fitted:
    """What was fitted, with illnesses for labels."""
    places, wrong = columns(label_keys), fitted.error_probability
    return replace(
        fitted,
        probability=folded(fitted.probability, places),
        corrected=folded(fitted.corrected, places),
        error_probability=None if wrong is None else folded_suspicion(wrong, observed, places),
    )
