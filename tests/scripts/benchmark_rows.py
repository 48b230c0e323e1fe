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


def chart_rows() -> list[dict[str, Any]]:
    """Two labels: 30 and 10 own pairs, .5 and .1 of them supported; others of the first .2, of the second .4."""
    counts = [
        ("own", "a", 30, 30, 15), ("own", "b", 10, 10, 1), ("alike", "a", 900, 60, 12), ("alike", "b", 50, 50, 20),
        ("otherwise", "a", 5, 5, 4), ("otherwise", "b", 0, 0, 0),
    ]  # fmt: skip
    plain = row("evidence", cohort="eicu-demo", method="calibrated", noise="recorded", group="added")
    plain |= {"measured": 0, "contradicted": 0, "history_known": 0, "history_named": 0}
    return [
        {**plain, "role": role, "label": label, "n": n, "n_read": read, "supported": told}
        for role, label, n, read, told in counts
    ]
