"""Traces of a training that never was: planted labels, flips, and logits of a model that mostly knows better."""

from dataclasses import dataclass, replace

import numpy as np

from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.selection.mixture import MixtureConfig
from core.selection.partition import select
from core.traces import Traces


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@dataclass(frozen=True)
class PlantedTraces:
    traces: Traces
    truth: np.ndarray


def blank_traces(logits: np.ndarray, observed: np.ndarray, **fields: object) -> Traces:
    """Traces with these logits and labels; every pair a member, every stay of a patient of its own."""
    epochs, stays, labels = logits.shape
    everything = np.ones((stays, labels), np.bool_)
    made = Traces(
        logits=logits.astype(np.float16),
        feature_norm=np.ones((epochs, stays), np.float32),
        embedding=np.eye(stays, 3, dtype=np.float32),
        observed=observed.astype(np.uint8),
        member=everything,
        stated=everything,
        patient=np.arange(stays, dtype=np.int64),
        visit=np.ones(stays, np.int32),
        persistence=("lifelong",) * labels,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def planted_traces(patients: int = 500, labels: int = 5, epochs: int = 12, rate: float = 0.2, seed: int = 0):
    """Lifelong labels of patients with one to four visits, a fifth of the records flipped, a fifth of patients test.

    The model's logit is the clean one with a pair's own error and an epoch's, and leans towards the record from epoch
    to epoch.
    """
    rng = np.random.default_rng(seed)
    patient = np.repeat(rng.permutation(patients) + 17, rng.integers(1, 5, patients))
    stays = len(patient)
    own, place = np.unique(patient, return_inverse=True)
    order = np.argsort(place, kind="stable")
    visit = np.empty(stays, np.int32)
    visit[order] = 1 + np.arange(stays) - np.searchsorted(place[order], place[order])
    X = 1.5 * rng.normal(size=(len(own), 8))[place] + 0.4 * rng.normal(size=(stays, 8))
    clean = X @ rng.normal(size=(8, labels)) * 1.2 - rng.uniform(0.5, 2, labels)
    first_ill = (1 + (rng.random((len(own), labels)) < 0.2))[place]  # a fifth falls ill after the first visit
    first_stay = order[np.searchsorted(place[order], np.arange(len(own)))]
    ill = (rng.random((len(own), labels)) < sigmoid(clean[first_stay]))[place]
    truth = (ill & (visit[:, None] >= first_ill)).astype(np.uint8)
    observed = np.where(rng.random(truth.shape) < rate, 1 - truth, truth).astype(np.uint8)
    lean = np.linspace(0, 0.8, epochs)[:, None, None] * (2.0 * observed - 1)
    model = clean + rng.normal(size=truth.shape)
    logits = np.clip(model + 0.5 * rng.normal(size=(epochs, *truth.shape)) + lean, -30, 30).astype(np.float16)
    is_test = patient % 5 == 0
    stated = rng.random(truth.shape) < 0.97
    member = stated & ~is_test[:, None]
    observed = observed * stated
    dynamics = LearningDynamics(truth.shape)
    for z in logits:
        dynamics.update(correct_predictions(sigmoid(z.astype(np.float32)), observed))
    last = sigmoid(logits[-1].astype(np.float32))
    traces = Traces(
        logits=logits,
        feature_norm=rng.uniform(3, 4, (epochs, stays)).astype(np.float32),
        embedding=np.concatenate((np.full((stays, 4), 9.0), X), axis=1).astype(np.float32),
        observed=observed.astype(np.uint8),
        member=member,
        stated=stated,
        patient=patient.astype(np.int64),
        visit=visit,
        persistence=("lifelong",) * labels,
        out_of_fold=sigmoid(model + 0.7 * rng.normal(size=truth.shape)).astype(np.float32),
        selection=select(last, observed, member, dynamics, SelectionConfig(), MixtureConfig()),
    )
    return PlantedTraces(traces, np.where(stated, truth, observed).astype(np.uint8))


def rows_of(traces: Traces, rows: np.ndarray) -> Traces:
    """The same traces with stays in another order (or some of them); selection and all."""
    selection = traces.selection
    if selection is not None:
        names = ("rank", "difficulty", "score", "uncertainty", "partition")
        selection = replace(selection, **{name: getattr(selection, name)[rows] for name in names})
    return replace(
        traces,
        logits=traces.logits[:, rows],
        feature_norm=traces.feature_norm[:, rows],
        embedding=traces.embedding[rows],
        observed=traces.observed[rows],
        member=traces.member[rows],
        stated=traces.stated[rows],
        patient=traces.patient[rows],
        visit=traces.visit[rows],
        out_of_fold=None if traces.out_of_fold is None else traces.out_of_fold[rows],
        selection=selection,
    )
