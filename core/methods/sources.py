"""Several sources' labels for the same pairs: hospital codes, what a note says, a reader, or simulated ones."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.store import Cohort
from core.errors import RunError
from core.hints import Bool, Float
from core.locks import Pairs


@dataclass(frozen=True)
class LabelSources:
    """What each of M sources says of every pair.

    Parameters
    ----------
    values
        float32 [sources, stays, labels] in [0, 1]; whatever stands where a source says nothing is set to 0.
    available
        bool [sources, stays, labels], or [sources, stays] where a source states all of a stay's labels or none.
    names
        One for each source, no two the same; the first is the one whose word stands where votes are tied.

    Raises
    ------
    RunError
        On other shapes, repeated names, no source at all, or a stated value outside [0, 1].
    """

    values: Float[np.ndarray, "sources stays labels"]
    available: Bool[np.ndarray, "sources stays labels"]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        values, available = np.asarray(self.values, np.float32), np.asarray(self.available, np.bool_)
        if values.ndim == 3 and available.shape == values.shape[:2]:
            available = np.broadcast_to(available[:, :, None], values.shape)
        if values.ndim != 3 or available.shape != values.shape or len(values) == 0:
            came = f"{'×'.join(map(str, values.shape))} and {'×'.join(map(str, available.shape))}"
            raise RunError("sources' labels and their availability as sources×stays×labels", came, "give both in full")
        if len(self.names) != len(values) or len(set(self.names)) != len(values):
            came = f"{len(set(self.names))} names of {len(values)}"
            raise RunError("a name of its own for each label source", came, "name each once")
        values = np.where(available, values, np.float32(0))
        outside = int((~((values >= 0) & (values <= 1))).sum())
        if outside:
            raise RunError("sources' labels in [0, 1]", f"{outside} other values", "mark what is not stated as absent")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "available", np.ascontiguousarray(available))

    @property
    def count(self) -> int:
        """M."""
        return len(self.names)

    @property
    def stated(self) -> Bool[np.ndarray, "stays labels"]:
        """Pairs of which at least one source says something."""
        return np.asarray(self.available.any(0))

    def take(self, *names: str) -> "LabelSources":
        """Keep some of the sources, in the order named.

        Raises
        ------
        RunError
            On a name that no source has.
        """
        strangers = sorted(set(names) - set(self.names))
        if strangers or not names:
            came = ", ".join(strangers) or "none"
            raise RunError(f"label sources among {', '.join(self.names)}", came, "choose some of them")
        chosen = [self.names.index(name) for name in names]
        return LabelSources(self.values[chosen], self.available[chosen], tuple(names))

    @classmethod
    def single(
        cls,
        observed: Float[np.ndarray, "stays labels"],
        stated: Bool[np.ndarray, "stays labels"],
        name: str = "record",
    ) -> "LabelSources":
        """One source alone."""
        return cls(np.asarray(observed, np.float32)[None], np.asarray(stated)[None], (name,))

    @classmethod
    def of_cohort(cls, cohort: Cohort) -> "LabelSources":
        """Every source of a cohort's ``labels`` table: the primary one first, the others by name.

        A row without a value says nothing. A cohort with one source gives M = 1.
        """
        stays, keys, table = cohort.stays["stay_id"].to_numpy(), cohort.label_keys, cohort.labels
        primary = str(cohort.manifest["primary_source"])
        names = [primary, *sorted(set(pc.unique(table["source"]).to_pylist()) - {primary})]
        table = table.filter(pc.is_valid(table["observed"]))
        values = np.zeros((len(names), len(stays), len(keys)), np.float32)
        available = np.zeros(values.shape, np.bool_)
        if table.num_rows:
            index = (
                pc.index_in(table["source"], value_set=pa.array(names)).to_numpy(),
                np.searchsorted(stays, table["stay_id"].to_numpy()),
                pc.index_in(table["label"], value_set=pa.array(keys)).to_numpy(),
            )
            values[index] = table["observed"].to_numpy()
            available[index] = True
        return cls(values, available, tuple(names))


def sources_for(sources: LabelSources | None, pairs: Pairs) -> LabelSources:
    """Give the sources of a run: those handed in, or the record as the only one.

    Raises
    ------
    RunError
        When the sources are of other stays or labels than the run's pairs.
    """
    if sources is None:
        return LabelSources.single(pairs.observed.astype(np.float32), pairs.stated)
    if sources.values.shape[1:] != pairs.observed.shape:
        came = "×".join(map(str, sources.values.shape[1:]))
        wanted = "×".join(map(str, pairs.observed.shape))
        raise RunError(f"label sources of the run's {wanted} pairs", came, "take them from the same cohort")
    return sources


def decided(pairs: Pairs) -> Bool[np.ndarray, "stays labels"]:
    """Pairs that people decided, or left as a soft target: trained on as decided, whatever the sources say."""
    found: np.ndarray = pairs.locked | (pairs.base != pairs.observed)
    return found
