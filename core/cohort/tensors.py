"""A cohort as packed arrays: series, notes, labels and who each stay belongs to.

What is fitted (normaliser, vocabulary, projection) is fitted on training stays alone. Packing is done once: arrays lie
in the cache by what they depend on, and are mapped into memory.
"""

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow.compute as pc

from core.cohort.cache import Arrays, cached, cohort_key
from core.cohort.discretise import Normaliser, SeriesConfig, SeriesPack, pack_series
from core.cohort.notepack import NotePack, Progress, pack_notes
from core.cohort.passages import PassageConfig
from core.cohort.store import Cohort
from core.errors import RunError
from core.fileio import parsed_json
from core.hints import Bool, Float, Int, UInt8
from core.models.notes import NoteConfig, NoteEncoder, make_encoder

__all__ = [
    "NotePack",
    "PackedCohort",
    "TensorConfig",
    "gather",
    "load_preprocessing",
    "pack_cohort",
    "save_preprocessing",
]


@dataclass(frozen=True)
class TensorConfig:
    """Everything that packing depends on besides the cohort."""

    series: SeriesConfig = field(default_factory=SeriesConfig)
    passages: PassageConfig = field(default_factory=PassageConfig)
    notes: NoteConfig = field(default_factory=NoteConfig)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "TensorConfig":
        """Read what `to_dict` gave."""
        return cls(SeriesConfig(**fields["series"]), PassageConfig(**fields["passages"]), NoteConfig(**fields["notes"]))


@dataclass(frozen=True)
class PackedCohort:
    """What the trainer reads. Row i is row i of ``cohort.stays``.

    Parameters
    ----------
    stay_ids, patient_ids
        int64 [N].
    visit
        int32 [N], 1-based.
    is_test
        bool [N].
    label_keys
        L keys, in `label_id` order.
    observed
        uint8 [N, L]; 0 where not stated.
    stated
        bool [N, L]; False is never trained on.
    series, notes
        The packs.
    normaliser, encoder
        As fitted or loaded.
    config, fingerprint
        What this was made with, and from.
    """

    stay_ids: Int[np.ndarray, " stays"]
    patient_ids: Int[np.ndarray, " stays"]
    visit: Int[np.ndarray, " stays"]
    is_test: Bool[np.ndarray, " stays"]
    label_keys: tuple[str, ...]
    observed: UInt8[np.ndarray, "stays labels"]
    stated: Bool[np.ndarray, "stays labels"]
    series: SeriesPack
    notes: NotePack
    normaliser: Normaliser
    encoder: NoteEncoder
    config: TensorConfig
    fingerprint: str

    @property
    def series_lengths(self) -> np.ndarray:
        """Steps of each stay, int64 [N]."""
        return np.diff(self.series.offsets)

    @property
    def note_lengths(self) -> np.ndarray:
        """Note units of each stay, int64 [N]."""
        return np.diff(self.notes.offsets)

    @property
    def has_series(self) -> np.ndarray:
        """Whether a stay has at least one step, bool [N]."""
        return self.series_lengths > 0

    @property
    def has_note(self) -> np.ndarray:
        """Whether a stay has at least one note unit, bool [N]."""
        return self.note_lengths > 0

    @property
    def n_series_features(self) -> int:
        """F: columns of the series."""
        return int(self.series.values.shape[1])

    @property
    def note_dim(self) -> int:
        """D: width of a note vector."""
        return int(self.notes.vectors.shape[1])

    @property
    def without_either(self) -> int:
        """Stays with neither series nor note: kept, and predicted from the bias alone."""
        return int((~self.has_series & ~self.has_note).sum())


def gather(
    values: Float[np.ndarray, "total width"], offsets: Int[np.ndarray, " stays_plus_one"], rows: Int[np.ndarray, " b"]
) -> tuple[Float[np.ndarray, "b longest width"], Int[np.ndarray, " b"]]:
    """Take some stays out of a pack, padded with zeros at the end.

    Parameters
    ----------
    values, offsets
        A pack's rows and where each stay's begin.
    rows
        The stays wanted, any order, repeats allowed.

    Returns
    -------
    padded
        float32 [B, T, width]; T is the longest length, at least 1.
    lengths
        int64 [B].
    """
    starts = offsets[rows]
    lengths = (offsets[np.asarray(rows) + 1] - starts).astype(np.int64)
    longest = max(1, int(lengths.max(initial=0)))
    padded = np.zeros((len(lengths), longest, values.shape[1]), dtype=np.float32)
    steps = np.arange(longest)
    inside = steps[None, :] < lengths[:, None]
    padded[inside] = values[(starts[:, None] + steps[None, :])[inside]]
    return padded, lengths


def _series(
    cohort: Cohort, config: TensorConfig, cache_dir: Path | None, fitted: Normaliser | None, progress: Progress
) -> tuple[SeriesPack, Normaliser]:
    def build() -> tuple[Arrays, dict[str, Any]]:
        pack, normaliser = pack_series(
            cohort, config.series, fitted, lambda done, total: progress("series", done, total)
        )
        arrays = {"values": pack.values, "offsets": pack.offsets, "first_bin": pack.first_bin}
        arrays["feature_channel"] = pack.feature_channel
        fields = {
            "feature_names": list(pack.feature_names),
            "channels": list(pack.channels),
            "normaliser": normaliser.to_dict(),
        }
        return arrays, fields

    key = {**cohort_key(cohort), "series": asdict(config.series), "given": fitted.to_dict() if fitted else None}
    arrays, fields = cached(cache_dir, "series", key, build)
    pack = SeriesPack(
        arrays["values"],
        arrays["offsets"],
        arrays["first_bin"],
        tuple(fields["feature_names"]),
        tuple(fields["channels"]),
        arrays["feature_channel"],
        config.series.step_hours,
    )
    return pack, Normaliser.from_dict(fields["normaliser"])


def _silent(what: str, done: int, total: int) -> None:
    """Say nothing."""


def pack_cohort(
    cohort: Cohort,
    config: TensorConfig | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    fitted: tuple[Normaliser, NoteEncoder] | None = None,
) -> PackedCohort:
    """Pack a cohort for the trainer.

    Parameters
    ----------
    cohort
        An opened cohort.
    config
        Bins, passages, note encoder.
    cache_dir
        Folder for packed arrays and note vectors, safe to delete; None packs in memory.
    progress
        Told (what, done, in all).
    fitted
        Normaliser and encoder of an earlier round; None fits them on the training stays.

    Returns
    -------
    PackedCohort
        The same for the same cohort and config.

    Raises
    ------
    ConfigError
        On options out of range, a cohort without model channels, or a note encoder that isn't on this machine.
    """
    config = config or TensorConfig()
    tell = progress or _silent
    encoder = fitted[1] if fitted else make_encoder(config.notes)
    series, normaliser = _series(cohort, config, cache_dir, fitted[0] if fitted else None, tell)
    notes = pack_notes(cohort, config.passages, config.notes, cache_dir, encoder, fitted is not None, tell)
    observed, stated = cohort.label_matrix()
    stays = cohort.stays
    return PackedCohort(
        stays["stay_id"].to_numpy(),
        stays["patient_id"].to_numpy(),
        stays["visit"].to_numpy(),
        pc.equal(stays["split"], "test").to_numpy(zero_copy_only=False),
        tuple(cohort.label_keys),
        observed,
        stated,
        series,
        notes,
        normaliser,
        encoder,
        config,
        cohort.fingerprint,
    )


def save_preprocessing(folder: Path, packed: PackedCohort) -> None:
    """Write normaliser, note encoder and options into a model's folder: JSON and .npz, no pickle.

    They hold words of training notes and are patient data. The folder is the caller's to write aside and rename.
    """
    fields, arrays = packed.encoder.state()
    body = {"normaliser": packed.normaliser.to_dict(), "tensors": packed.config.to_dict(), "encoder": fields}
    (folder / "preprocessing.json").write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
    np.savez(folder / "note_encoder.npz", **arrays)  # type: ignore[arg-type]
    for name in ("preprocessing.json", "note_encoder.npz"):
        os.chmod(folder / name, 0o600)


_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, EOFError, BadZipFile, zlib.error)


def load_preprocessing(folder: Path) -> tuple[Normaliser, NoteEncoder, TensorConfig]:
    """Read what `save_preprocessing` wrote.

    Raises
    ------
    RunError
        When it is missing or cut short, or the note encoder's files have changed.
    ConfigError
        When the note encoder isn't on this machine.
    """
    try:
        body = parsed_json((folder / "preprocessing.json").read_text(encoding="utf-8"))
        with (folder / "note_encoder.npz").open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        normaliser = Normaliser.from_dict(body["normaliser"])
        config = TensorConfig.from_dict(body["tensors"])
        fields = body["encoder"]
    except _DAMAGE:
        raise _unreadable() from None
    encoder = make_encoder(config.notes)
    try:
        encoder.restore(fields, arrays)
    except _DAMAGE:
        raise _unreadable() from None
    return normaliser, encoder, config


def _unreadable() -> RunError:
    return RunError(
        "preprocessing.json and note_encoder.npz in the model's folder",
        "files missing or cut short",
        "train the round again, or restore its folder",
    )
