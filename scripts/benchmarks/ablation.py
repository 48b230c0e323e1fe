"""Ablation: what each part of the method is worth, one part at a time (benchmarks.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from scripts.benchmarks.robustness import Plan
from scripts.benchmarks.runner import Job


@dataclass(frozen=True)
class Variant:
    """A row: the preset it starts from, and what is changed."""

    preset: str
    options: tuple[tuple[str, Any], ...] = ()
    version: str = "1"


_OFF = ("loss.contrast", "off")

VARIANTS: dict[str, Variant] = {
    "baseline": Variant("bce"),
    "+ modality heads": Variant("bce", (("method.auxiliary", True), _OFF)),
    "+ contrast": Variant("bce", (("method.auxiliary", True),)),
    "+ correction by loss": Variant("miracl", (_OFF, ("selection.metric", "loss"))),
    "+ correction by difficulty": Variant("miracl", (_OFF, ("selection.alpha", 0.0))),
    "+ correction by rank": Variant("miracl", (_OFF, ("selection.alpha", 1.0))),
    "full": Variant("miracl"),
    "full, contrast off": Variant("miracl", (_OFF,)),
    "full, contrast by visit": Variant("miracl", (("loss.contrast", "visit"),)),
    "full, patients grouped": Variant("miracl", (("optim.sampler", "patient_grouped"),)),
    "full, rank raw": Variant("miracl", (("selection.rank_mode", "raw"),)),
    "full, rank for positives": Variant("miracl", (("selection.rank_mode", "pos_only"),)),
    "full, labels from the posterior": Variant("miracl", (("correction.uncertainty_source", "posterior"),)),
    "calibrated": Variant("calibrated"),
}
"""Rows of the table by name. Corrections by one signal alone go without the contrast, as the paper's do."""

NOISES = ("sym20", "fp20", "bal20")
"""The paper's ablation: (0, .2), (.2, .2), and balanced .2."""

QUICK_VARIANTS = ("baseline", "full, contrast off")
QUICK_NOISES = ("sym20",)


def jobs(plan: Plan, variants: Sequence[str]) -> list[Job]:
    """Jobs of the variants named, in the order of `robustness.jobs`.

    Raises
    ------
    ConfigError
        On an unknown variant.
    """
    for name in variants:
        if name not in VARIANTS:
            raise ConfigError(f"variants among {'; '.join(VARIANTS)}", repr(name), "leave it out or spell it so")
    return [
        Job("ablation", plan.cohort, name, noise, seed, plan.size, plan.epochs, VARIANTS[name].version, plan.place,
            preset=VARIANTS[name].preset, options=(*plan.options, *VARIANTS[name].options))
        for seed in plan.seeds
        for noise in plan.noises
        for name in variants
    ]  # fmt: skip
