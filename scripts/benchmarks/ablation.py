"""Ablation: what each part of the method is worth, one part at a time (benchmarks.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError
from scripts.benchmarks.methods import COURSE
from scripts.benchmarks.robustness import Plan
from scripts.benchmarks.runner import Job


@dataclass(frozen=True)
class Variant:
    """A row: its title, the preset it starts from, and what is changed."""

    title: str
    preset: str
    options: tuple[tuple[str, Any], ...] = ()
    version: str = "1"


_OFF = ("loss.contrast", "off")

VARIANTS: dict[str, Variant] = {
    "baseline": Variant("backbone alone", "bce"),
    "heads": Variant("+ modality heads", "bce", (("method.auxiliary", True), _OFF)),
    "contrast": Variant("+ heads and contrast", "bce", (("method.auxiliary", True),)),
    "by_loss": Variant("+ heads, correction by loss", "miracl", (_OFF, ("selection.metric", "loss"))),
    "by_difficulty": Variant("+ heads, correction by difficulty", "miracl", (_OFF, ("selection.alpha", 0.0))),
    "by_rank": Variant("+ heads, correction by rank", "miracl", (_OFF, ("selection.alpha", 1.0))),
    "full": Variant("full (class-oriented)", "miracl"),
    "corrects_all": Variant("full, quiet classes corrected too", "miracl", (("correction.leave_alone", False),)),
    "contrast_off": Variant("full, contrast off", "miracl", (_OFF,)),
    "contrast_visit": Variant("full, contrast by visit", "miracl", (("loss.contrast", "visit"),)),
    "grouped": Variant("full, a patient's stays in one batch", "miracl", (("optim.sampler", "patient_grouped"),)),
    "rank_raw": Variant("full, rank raw", "miracl", (("selection.rank_mode", "raw"),)),
    "rank_positives": Variant("full, rank for positives alone", "miracl", (("selection.rank_mode", "pos_only"),)),
    "posterior": Variant("full, mixture's posterior", "miracl", (("correction.uncertainty_source", "posterior"),)),
    "calibrated": Variant("calibrated", "calibrated"),
    "calibrated_bce": Variant("BCE on the calibrated preset's course", "bce", COURSE),
    "calibrated_paper_course": Variant(
        "calibrated on the paper's course",
        "calibrated",
        (
            ("optim.scheduler", "cosine10"),
            ("optim.learning_rate", 1e-3),
            ("optim.weight_decay", 1e-5),
            ("optim.decay_from", "correction"),
        ),
    ),
    "calibrated_unmatched": Variant("calibrated, W not matched", "calibrated", (("calibrated.match", "off"),)),
    "calibrated_early": Variant("calibrated, epochs 2 to 12", "calibrated", (("calibrated.window_last", 12),)),
    "calibrated_network": Variant(
        "calibrated, W's order by the network alone", "calibrated", (("calibrated.network_weight", 1.0),)
    ),
    "calibrated_peer": Variant(
        "calibrated, W's order by the peer alone", "calibrated", (("calibrated.network_weight", 0.0),)
    ),
    "calibrated_alone": Variant("calibrated, no other visits", "calibrated", (("calibrated.siblings", "off"),), "2"),
    "calibrated_flags": Variant("calibrated, visits for flags", "calibrated", (("calibrated.siblings", "flags"),)),
    "calibrated_contrast": Variant(
        "calibrated, with heads and contrast", "calibrated", (("loss.heads", "lambda"), ("loss.contrast", "patient"))
    ),
    "calibrated_cosine10": Variant(
        "calibrated, the paper's schedule", "calibrated", (("optim.scheduler", "cosine10"),)
    ),
}
"""Rows of the table by name. Corrections by one signal alone go without the contrast, as the paper's do.

Noise rates and the level of W are the peer's in every row of `calibrated`.
"""

NOISES = ("sym20", "fp20", "bal20")
"""The paper's ablation: (0, .2), (.2, .2), and balanced .2."""

QUICK_VARIANTS = ("baseline", "contrast_off")
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
            raise ConfigError(f"variants among {', '.join(VARIANTS)}", repr(name), "leave it out or spell it so")
    return [
        Job("ablation", plan.cohort, name, noise, seed, plan.size, plan.epochs, VARIANTS[name].version, plan.place,
            preset=VARIANTS[name].preset, options=(*plan.options, *VARIANTS[name].options))
        for seed in plan.seeds
        for noise in plan.noises
        for name in variants
    ]  # fmt: skip
