"""Robustness: each method under each noise, on clean test labels; the runs that the table of detectors reads too."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import ConfigError
from core.noise.settings import HOSPITAL, SETTINGS, SEVEN
from scripts.benchmarks.cohorts import RECORDED, synthetic_name
from scripts.benchmarks.methods import compared
from scripts.benchmarks.runner import Job, Place

NOISES = ("clean", *SEVEN, "bal40", *HOSPITAL)


@dataclass(frozen=True)
class Plan:
    """What is to be measured: all combinations.

    Parameters
    ----------
    methods, noises, seeds
        Names, names, and the seeds themselves.
    cohort, size, epochs
        As in a row's key.
    place
        Where jobs find things.
    options
        Changed from each method's preset.
    """

    methods: Sequence[str]
    noises: Sequence[str]
    seeds: Sequence[int]
    cohort: str
    size: str
    epochs: int
    place: Place
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in self.methods:
            compared(name)
        check_noises(self.noises)


QUICK_STAYS = 240
QUICK_METHODS = ("bce", "gce", "miracl", "calibrated", "regression")
QUICK_NOISES = ("sym20",)


def quick(plan: Plan) -> Plan:
    """The same at a size that only shows that everything runs."""
    options = (("optim.warm_up", 2), ("optim.batch", 32), ("model.hidden", 16), ("model.ffn", 32))
    return replace(plan, seeds=plan.seeds[:1], cohort=synthetic_name(QUICK_STAYS), epochs=5, options=options)


def jobs(plan: Plan, table: str = "robustness") -> list[Job]:
    """Jobs of a plan: one seed after the other, and one noise after the other, so that what is there is balanced."""
    return [
        Job(table, plan.cohort, name, noise, seed, plan.size, plan.epochs, compared(name).version, plan.place,
            preset=compared(name).preset, options=(*plan.options, *compared(name).options))
        for seed in plan.seeds
        for noise in plan.noises
        for name in plan.methods
    ]  # fmt: skip


def check_noises(names: Iterable[str]) -> None:
    """Hold names of noise against those there are.

    Raises
    ------
    ConfigError
        On an unknown one.
    """
    for name in names:
        if name not in SETTINGS and name != RECORDED:
            raise ConfigError(f"noise among {', '.join(SETTINGS)}", repr(name), "leave it out or spell it so")
