"""Nearest patients: a record is suspect where the stays most like it, of other patients, are recorded otherwise."""

from dataclasses import dataclass

import numpy as np
import torch

from core.hints import Bool, Float, Int, UInt8
from core.options import check_options, sourced
from core.traces import Traces

TINY = 1e-12
"""Lengths below this are taken for 0."""


@dataclass(frozen=True)
class NeighbourConfig:
    """Options of the nearest patients.

    Parameters
    ----------
    neighbours
        k, stays of other patients that are asked.
    prior
        Votes that the label's prevalence is worth, beside k votes of weight up to 1.
    block
        Stays compared at a time; memory is block × training stays × 4 bytes.
    """

    neighbours: int = sourced(100, "ours, measured: see DECISIONS.md", 1, 10_000)
    prior: float = sourced(1.0, "ours", 1e-6, 1e6)
    block: int = sourced(1024, "ours: 200 MB at 50,000 training stays", 1, 1_000_000)

    def __post_init__(self) -> None:
        check_options(self)


def directions(
    embedding: Float[np.ndarray, "stays width"], reference: Bool[np.ndarray, " stays"]
) -> Float[np.ndarray, "stays varying"]:
    """Embeddings about the mean of the reference stays, at length 1 (0 where a stay is the mean itself).

    Without the centring, the parts that all stays share (the task token) would make all alike; they are dropped.
    """
    centre = embedding[reference].mean(axis=0, dtype=np.float64) if reference.any() else 0.0
    moved = (embedding - centre).astype(np.float32)
    varies = np.abs(moved).max(axis=0, initial=0.0) > TINY
    moved = np.ascontiguousarray(moved[:, varies])
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(moved, length, out=np.zeros_like(moved), where=length > TINY)
    return unit


def neighbour_vote(
    embedding: Float[np.ndarray, "stays width"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    config: NeighbourConfig = NeighbourConfig(),
) -> Float[np.ndarray, "stays labels"]:
    """Share of the nearest stays of other patients that record the label, weighted by cosine (≥ 0).

    vote_il = (Σ_k w_ik·member_kl·ỹ_kl + prior·prevalence_l) / (Σ_k w_ik·member_kl + prior), w = max(cosine, 0).

    Parameters
    ----------
    embedding
        One row for each stay.
    observed, member, patient
        Recorded labels; pairs that may vote (a stay with any is a reference stay); patients.
    config
        Options.

    Returns
    -------
    ndarray
        float32 in [0, 1]; the prevalence among members where nobody votes (½ where the label has none).
    """
    reference = np.flatnonzero(member.any(axis=1))
    reference = reference[np.argsort(patient[reference], kind="stable")]
    count = member.sum(axis=0)
    prevalence = np.where(count > 0, (member & (observed != 0)).sum(axis=0) / np.maximum(count, 1), 0.5)
    vote = np.tile(prevalence.astype(np.float32), (len(observed), 1))
    if not len(reference):
        return vote
    unit = directions(embedding, np.asarray(member.any(axis=1)))
    known = torch.from_numpy(unit[reference])
    counted = member[reference].astype(np.float32)
    present = counted * (observed[reference] != 0)
    owners = patient[reference]
    first, last = (np.searchsorted(owners, patient, side=side) for side in ("left", "right"))
    asked = min(config.neighbours, len(reference))
    prior = np.float32(config.prior)
    room = torch.empty((min(config.block, len(unit)), len(known)))
    for start in range(0, len(unit), config.block):
        rows = slice(start, start + config.block)
        here = torch.from_numpy(unit[rows])
        cosine = torch.mm(here, known.T, out=room[: len(here)])
        _leave_out(cosine.numpy(), first[rows], last[rows])
        best, place = torch.topk(cosine, asked, dim=1, sorted=False)
        weight, near = np.maximum(best.numpy(), 0.0), place.numpy()
        told = np.einsum("bk,bkl->bl", weight, counted[near])
        agreed = np.einsum("bk,bkl->bl", weight, present[near])
        vote[rows] = (agreed + prior * vote[rows]) / (told + prior)
    return vote


def _leave_out(cosine: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
    """Set columns first..last-1 of each row, the patient's own stays, to -∞."""
    own = last - first
    for step in range(int(own.max(initial=0))):
        rows = np.flatnonzero(own > step)
        cosine[rows, first[rows] + step] = -np.inf


def neighbours(traces: Traces, config: NeighbourConfig) -> Float[np.ndarray, "stays labels"]:
    """|ỹ - vote|, in [0, 1]: how far the nearest stays of other patients speak against the record.

    Neighbours are training stays, told by cosine in the centred fused embedding of the last epoch.
    """
    vote = neighbour_vote(traces.embedding, traces.observed, traces.member, traces.patient, config)
    return np.asarray(np.abs((traces.observed != 0).astype(np.float32) - vote))
