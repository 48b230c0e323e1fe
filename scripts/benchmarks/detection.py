"""Detection: each detector under each noise, by observed class; read off the runs of the robustness table."""

from pathlib import Path

from core.detectors.registry import DETECTORS
from core.noise.settings import HOSPITAL, SEVEN
from scripts.benchmarks.methods import DETECTING
from scripts.benchmarks.rows import KEY, Key, key_of, read_rows

NOISES = (*SEVEN, "bal40", *HOSPITAL)
"""Without ``clean``, where nothing is to be found."""

QUICK_METHODS = ("bce", "calibrated")
METHODS = DETECTING


def finished(folder: Path) -> set[Key]:
    """Runs whose detectors' rows are there; of the plain network those of every detector there is today."""
    found: dict[Key, set[str]] = {}
    for row in read_rows(folder, "detection"):
        found.setdefault(key_of(row), set()).add(row["detector"])
    method = KEY.index("method")
    wanted = set(DETECTORS)
    return {key for key, names in found.items() if key[method] != "bce" or wanted <= names}
