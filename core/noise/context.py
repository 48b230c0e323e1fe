"""What noise in hospitals depends on: how sick a stay is, whose it is and when, and what kind of illness a label is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from core.cohort.tensors import PackedCohort
from core.errors import ConfigError
from core.hints import Float, Int

PERSISTENCE = ("lifelong", "recurrent", "acute")
_STEPS_AT_ONCE = 1 << 18
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class NoiseContext:
    """What hospital-like noise may depend on, a row for every stay of the cohort; never the truth.

    Parameters
    ----------
    severity
        float64 [stays]; only its order counts, high is sicker.
    patient, visit
        Whose stay it is, and which of theirs, 1-based.
    order
        float64 [stays] in [0, 1): the share of stays that came before (`place_in_time`).
    label_keys, persistence
        Per label its key, and ``lifelong``, ``recurrent`` or ``acute``.
    groups
        Columns of labels that are decided together (diabetes with or without complications).
    """

    severity: Float[np.ndarray, " stays"]
    patient: Int[np.ndarray, " stays"]
    visit: Int[np.ndarray, " stays"]
    order: Float[np.ndarray, " stays"]
    label_keys: tuple[str, ...]
    persistence: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Refuse columns of unlike length and unknown persistence."""
        lengths = {len(column) for column in (self.severity, self.patient, self.visit, self.order)}
        if len(lengths) > 1 or len(self.label_keys) != len(self.persistence):
            raise ConfigError("a context with one row a stay and one entry a label", "unlike lengths", "align them")
        unknown = set(self.persistence) - set(PERSISTENCE)
        if unknown:
            raise ConfigError(
                f"persistence among {', '.join(PERSISTENCE)}", ", ".join(sorted(unknown)), "mend the manifest's labels"
            )
        if not np.isfinite(self.severity).all():
            raise ConfigError("a finite severity for every stay", "NaN or ∞", "give stays without one the median")

    @classmethod
    def of(
        cls, packed: PackedCohort, manifest: dict[str, Any], stays: pa.Table, *, order_seed: int = 0
    ) -> "NoiseContext":
        """Read it off a cohort.

        Parameters
        ----------
        packed
            The cohort, packed.
        manifest, stays
            Of the same cohort: its labels' persistence and groups, and when stays began.
        order_seed
            Of the order of stays whose beginning isn't known.

        Raises
        ------
        ConfigError
            When the manifest's labels or the table's stays are not the pack's.
        """
        keys = tuple(str(label["key"]) for label in manifest["labels"])
        if keys != packed.label_keys or not np.array_equal(stays["stay_id"].to_numpy(), packed.stay_ids):
            raise ConfigError(
                "manifest and stays of the cohort that was packed", "other labels or stays", "use the same cohort"
            )
        return cls(
            severity=severity_of(packed),
            patient=np.asarray(packed.patient_ids, dtype=np.int64),
            visit=np.asarray(packed.visit),
            order=place_in_time(stays, order_seed),
            label_keys=keys,
            persistence=tuple(str(label["persistence"]) for label in manifest["labels"]),
            groups=groups_of(manifest),
        )


def groups_of(manifest: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Columns of each group of labels that are decided together; groups of one are left out."""
    keys = [str(label["key"]) for label in manifest["labels"]]
    groups = (tuple(keys.index(key) for key in group["labels"] if key in keys) for group in manifest["label_groups"])
    return tuple(group for group in groups if len(group) > 1)


def severity_of(packed: PackedCohort) -> Float[np.ndarray, " stays"]:
    """How far a stay's measurements lie from the usual: mean |z| over its measured continuous values.

    Returns
    -------
    numpy.ndarray
        float64 [stays], in standard deviations, from 0; high is sicker. Stays without such a measurement get the
        median of the others, so that noise treats them as middling; 0 where there is no series at all.

    Notes
    -----
    Ours. A bin counts for a channel only where its mask says measured, so imputed values say nothing, and a height
    that is measured once hardly counts beside a pulse. It stands for how a coder meets a stay: quiet charts are mild.
    """
    names = packed.series.feature_names
    place = {name: i for i, name in enumerate(names)}
    numbers = [n for n in names if f"measured:{n}" in place]
    columns, masks = [place[n] for n in numbers], [place[f"measured:{n}"] for n in numbers]
    offsets = np.asarray(packed.series.offsets)
    total, count = np.zeros(len(offsets) - 1), np.zeros(len(offsets) - 1)
    first = 0
    while numbers and first < len(total):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _STEPS_AT_ONCE, side="right")) - 1)
        block = packed.series.values[offsets[first] : offsets[last]]
        measured = block[:, masks] > 0
        owner = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        distance = (np.abs(block[:, columns]) * measured).sum(1, dtype=np.float64)
        total[first:last] = np.bincount(owner, distance, last - first)
        count[first:last] = np.bincount(owner, measured.sum(1), last - first)
        first = last
    known = count > 0
    severity = np.zeros(len(total))
    severity[known] = total[known] / count[known]
    severity[~known] = np.median(severity[known]) if known.any() else 0.0
    return severity


def place_in_time(stays: pa.Table, seed: int = 0) -> Float[np.ndarray, " stays"]:
    """Share of stays that came before each one, by `admitted_at`.

    Parameters
    ----------
    stays
        Columns stay_id, admitted_at.
    seed
        Stays without `admitted_at` get a place at random, from a hash of this seed and their id, so that it neither
        depends on the patient nor on which other stays there are.

    Returns
    -------
    numpy.ndarray
        float64 [stays] in [0, 1).
    """
    began = stays["admitted_at"].to_numpy().astype("datetime64[us]")
    timed = ~np.isnat(began)
    place = hashed_place(stays["stay_id"].to_numpy(), seed)
    rank = np.searchsorted(np.sort(began[timed]), began[timed])
    place[timed] = rank / max(int(timed.sum()), 1)
    return place


def hashed_place(stay_ids: Int[np.ndarray, " stays"], seed: int) -> Float[np.ndarray, " stays"]:
    """Give each id a number in [0, 1): the mixing function of splitmix64, 53 bits of it."""
    with np.errstate(over="ignore"):
        mixed = stay_ids.astype(np.uint64) + _GOLDEN * np.uint64(seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
        mixed ^= mixed >> np.uint64(31)
    place: np.ndarray = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return place
