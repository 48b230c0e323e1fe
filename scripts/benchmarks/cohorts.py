"""Cohorts of the benchmarks: built and packed once, kept in a folder that is safe to delete.

``synthetic-N`` has N invented stays, other patients for each seed, and clean labels. ``eicu-demo`` has the demo's
recorded labels, which are themselves noisy, and the same split for each seed; ``eicu-history`` is the same without past
histories in its notes, to be held against them (`scripts.benchmarks.history`).
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from core.cohort.sources import synthetic
from core.cohort.store import Cohort, open_cohort
from core.cohort.tensors import PackedCohort, TensorConfig, pack_cohort
from core.errors import ConfigError
from core.noise.context import NoiseContext
from core.noise.settings import Planted, plant
from scripts.benchmarks.charted import history_file, without_history

EICU, HISTORY = "eicu-demo", "eicu-history"
RECORDED = "recorded"
"""What stands for noise where none is planted into labels that are themselves noisy."""
NOISE_SEED = 1000
"""Seed 0's noise is drawn by generator 1000, and so on: another stream than patients' and weights'."""


@dataclass(frozen=True)
class Prepared:
    """A cohort with its given labels, packed.

    Parameters
    ----------
    cohort, packed
        The cohort and its tensors.
    context
        What hospital-like noise may depend on.
    persistence
        Of each label.
    """

    cohort: Cohort
    packed: PackedCohort
    context: NoiseContext
    persistence: tuple[str, ...]

    def planted(self, noise: str, seed: int) -> tuple[PackedCohort, Planted]:
        """The pack with planted noise, and the noise. Test stays keep their labels."""
        made = plant(self.packed, "clean" if noise == RECORDED else noise, self.context, NOISE_SEED + seed)
        return replace(self.packed, observed=made.observed), made


def synthetic_name(stays: int) -> str:
    """Name of a synthetic cohort."""
    return f"synthetic-{stays}"


def check_cohort(name: str, data: Path | None) -> None:
    """Hold a cohort's name, and the demo's folder where it takes one, against what there is.

    Raises
    ------
    ConfigError
        On an unknown name, or where the demo's files are not given.
    """
    kind, _, stays = name.partition("-")
    if name == HISTORY:
        history_file(data)
    elif name == EICU:
        if data is None or not data.is_dir():
            raise ConfigError("the eICU demo's folder", str(data or "none"), "name it with --data")
    elif kind != "synthetic" or not stays.isdigit():
        raise ConfigError(f"a cohort synthetic, {EICU} or {HISTORY}", repr(name), "choose one of them")


def prepare(name: str, seed: int, tensors: TensorConfig, cache_dir: Path, data: Path | None) -> Prepared:
    """Build a cohort, or take it from the cache.

    Parameters
    ----------
    name, seed
        Which; the seed is of the patients, where they are invented.
    tensors
        How to pack.
    cache_dir
        Where cohorts and packs are kept.
    data
        Folder with the eICU demo's files, for that cohort.

    Raises
    ------
    ConfigError
        On an unknown name, or where the demo's files are not given.
    """
    return _prepared(name, seed if name not in (EICU, HISTORY) else 0, tensors, cache_dir, data)


@lru_cache(maxsize=2)
def _prepared(name: str, seed: int, tensors: TensorConfig, cache_dir: Path, data: Path | None) -> Prepared:
    check_cohort(name, data)
    kind, _, stays = name.partition("-")
    with _alone(cache_dir):
        cohort = _synthetic(cache_dir, int(stays), seed) if kind == "synthetic" else _eicu(cache_dir, name, data)
        packed = pack_cohort(cohort, tensors, cache_dir / "packed")
    labels: list[dict[str, Any]] = cohort.manifest["labels"]
    return Prepared(
        cohort,
        packed,
        NoiseContext.of(packed, cohort.manifest, cohort.stays),
        tuple(str(label["persistence"]) for label in labels),
    )


def _synthetic(cache_dir: Path, stays: int, seed: int) -> Cohort:
    folder = cache_dir / "cohorts" / f"synthetic-{stays}-seed{seed}-{_generator_digest()}"
    if not (folder / "manifest.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        synthetic.build_synthetic(folder, stays=stays, seed=seed)
    return open_cohort(folder, verify=False)


def _eicu(cache_dir: Path, name: str, data: Path | None) -> Cohort:
    folder = cache_dir / "cohorts" / name
    if not (folder / "manifest.json").exists():
        from core.cohort.sources.eicu import build_eicu

        assert data is not None

        folder.parent.mkdir(parents=True, exist_ok=True)
        with without_history(data) if name == HISTORY else nullcontext(data) as source:
            build_eicu(source, folder)
    return open_cohort(folder, verify=False)


@cache
def _generator_digest() -> str:
    """Digest of the generator's code and tables: a cohort of another generator is built anew."""
    folder = Path(synthetic.__file__).parent
    digest = hashlib.blake2b(digest_size=5)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".py", ".toml"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time build and pack."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
