"""How long selection and correction take in tensors on a device, and how far they are from the host's."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.correction.on_device import Correctable, corrected_placed, predicted_placed
from core.correction.relabel import CorrectionConfig, corrected_labels, predicted_labels
from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics
from core.selection.mixture import MixtureConfig
from core.selection.on_device import PlacedDynamics, PlacedPairs, PlacedSelection, select_placed
from core.selection.partition import select

Three = tuple[np.ndarray, np.ndarray, np.ndarray]


def on_device(
    observed: np.ndarray,
    epochs: Iterator[Three],
    warm_up: int,
    has: np.ndarray,
    eligible: np.ndarray,
    place: torch.device,
) -> tuple[list[dict[str, Any]], str]:
    """Time each epoch at whose end labels are corrected, with probabilities that lie on the device already.

    Returns
    -------
    rows
        As `select.ours`, `metric` being ``z on`` the device's name.
    note
        How far the last epoch's labels and partition are from the host's.
    """
    config, mixture, correction = SelectionConfig(), MixtureConfig(), CorrectionConfig()
    member = np.ones(observed.shape, np.bool_)
    pairs = PlacedPairs.of(observed, member, ~member, place)
    base = torch.from_numpy(observed.astype(np.float32)).to(place)
    may, has_series, has_note = (torch.from_numpy(mask).to(place) for mask in (eligible, has[0], has[1]))
    given = Correctable(base, pairs.member, may, None, has_series, has_note)
    dynamics, rows = PlacedDynamics(pairs), []
    for t, three in enumerate(epochs, start=1):
        probability = torch.from_numpy(np.stack(three)).to(place)
        begin, worked = _now(place), time.process_time()
        dynamics.update(probability[0])
        updated = _now(place)
        if t < warm_up:
            continue
        found = select_placed(probability[0], dynamics, config, mixture)
        selected = _now(place)
        predicted = predicted_placed(probability, given, correction)
        corrected = corrected_placed(given, predicted, found.uncertainty, config=correction)
        ended = _now(place)
        rows.append(
            {
                "metric": f"z on {place.type}",
                "epoch": t,
                "seconds": ended - begin,
                "processor_seconds": time.process_time() - worked,
                "seconds_update": updated - begin,
                "seconds_select": selected - updated,
                "seconds_correct": ended - selected,
                "noisy": found.counts()["noisy"],
                "degenerate": int(found.mixtures.degenerate.sum()),
                "iterations": int(found.mixtures.iterations.sum()),
            }
        )
        last = (three, found, corrected)
    note = _apart(*last, observed, has, eligible, dynamics) if rows else "no epoch"
    return rows, f"In tensors on {place.type}, last epoch: {note}."


def _now(place: torch.device) -> float:
    """Seconds, once all that was asked of the device is done."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return time.perf_counter()


def _apart(
    three: Three,
    found: PlacedSelection,
    corrected: Tensor,
    observed: np.ndarray,
    has: np.ndarray,
    eligible: np.ndarray,
    dynamics: PlacedDynamics,
) -> str:
    """Select and correct the same epoch on the host, from the same counters, and tell the differences."""
    host, correction = LearningDynamics(observed.shape), CorrectionConfig()
    host.load_state_dict(dynamics.state_dict())
    member = np.ones(observed.shape, np.bool_)
    said = select(three[0], observed, member, host, SelectionConfig(), MixtureConfig())
    predicted = predicted_labels(*three, has[0], has[1], correction)
    base = observed.astype(np.float32)
    labels = corrected_labels(base, predicted, said.uncertainty, observed, eligible, member, config=correction)
    moved = int((found.partition.cpu().numpy() != said.partition).sum())
    apart = float(np.abs(labels - corrected.cpu().numpy()).max())
    return f"{moved} pairs in another partition than the host's, labels apart by at most {apart:.0e}"
