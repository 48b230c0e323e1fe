"""Invented rows of the benchmarks, small enough to work out by hand."""

from typing import Any

from scripts.benchmarks.ablation import VARIANTS
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.rows import SCHEMAS

MACHINE: dict[str, Any] = {
    "options": "0a", "fingerprint": "f", "device": "cpu", "cpu": "A processor", "cores": 2, "python": "3.11.9",
    "torch": "2.13.0", "numpy": "2.4.6", "sklearn": "1.8.0", "commit": "0123456789", "made_at": "2026-11-21",
    "seconds": 33.0,
}  # fmt: skip


def row(table: str = "robustness", **given: Any) -> dict[str, Any]:
    """A row of a table, of its method's present version; what is not given is absent."""
    key = {"cohort": "synthetic-4000", "method": "bce", "noise": "sym20", "seed": 0, "size": "compact", "epochs": 30}
    named = (VARIANTS if table == "ablation" else METHODS).get(given.get("method", "bce"))
    version = named.version if named else "1"
    return {**dict.fromkeys(SCHEMAS[table].names), **key, "version": version, **MACHINE, **given}


def runs(method: str, noise: str, maps: list[float], **given: Any) -> list[dict[str, Any]]:
    """One robustness row a seed."""
    return [
        row(method=method, noise=noise, seed=seed, map=value, chance=0.18, **given) for seed, value in enumerate(maps)
    ]
