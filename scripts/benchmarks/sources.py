"""Several label sources: attention-on-label and its controls, under simulated annotators, on clean test labels.

A run's key has the scenario where other tables have the noise. Sources are simulated from the synthetic cohort's clean
labels, whatever the seed's patients; test stays keep theirs.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from core.cohort.tensors import PackedCohort
from core.errors import ConfigError
from core.fit import fit
from core.locks import lay_on_pairs
from core.methods.attention_on_label import AttentionOnLabel
from core.methods.sources import LabelSources
from core.methods.voting import majority
from core.noise.annotators import PAPER_SOURCES, AnnotatorConfig, AnnotatorsConfig, simulate_sources
from core.noise.settings import Planted
from core.training import choose_device
from scripts.benchmarks.cohorts import NOISE_SEED, prepare
from scripts.benchmarks.fits import corrected, course, predicted, told
from scripts.benchmarks.robustness import Plan
from scripts.benchmarks.rows import Row
from scripts.benchmarks.runner import Job, Made
from scripts.benchmarks.scene import Scene, config_of, head
from scripts.benchmarks.scene import digest as options_digest
from scripts.benchmarks.tables import (
    NONE,
    Course,
    average,
    bold_if,
    by_seed,
    figure,
    grouped,
    markdown_table,
    plus_minus,
    sections,
)

TABLE = "sources"
ANY = "any"
"""Scenario of a run that reads no source, the same beside all of them."""


@dataclass(frozen=True)
class Scenario:
    """A column: its title and its sources, the record first."""

    title: str
    sources: AnnotatorsConfig
    version: str = "1"


def _flips(name: str, noise: float, false_alarms: float, **more: Any) -> AnnotatorConfig:
    return AnnotatorConfig("flips", noise, false_alarms=false_alarms, name=name, **more)


SCENARIOS: dict[str, Scenario] = {
    "five": Scenario("the paper's five", PAPER_SOURCES),
    "careful": Scenario(
        "one careless, one careful",
        AnnotatorsConfig((_flips("careless", 0.5, 0.2), _flips("careful", 0.1, 0.02))),
    ),
    "opposite": Scenario(
        "one misses, one over-calls", AnnotatorsConfig((_flips("codes", 0.4, 0.0), _flips("notes", 0.0, 0.15)))
    ),
    "by_label": Scenario(
        "each good at half the labels",
        AnnotatorsConfig((_flips("codes", 0.5, 0.15, weak="even"), _flips("notes", 0.5, 0.15, weak="odd"))),
    ),
    "partly": Scenario(
        "three readers, 6 stays in 10 each",
        AnnotatorsConfig(tuple(_flips(f"reader {k}", 0.25, 0.05, coverage=0.6) for k in "abc")),
    ),
}
"""Scenarios by name, in the order of the table."""


@dataclass(frozen=True)
class Variant:
    """A row: its title, the preset it starts from, what is changed, and which labels it is given."""

    title: str
    preset: str = "bce"
    options: tuple[tuple[str, Any], ...] = ()
    given: str = "sources"
    version: str = "1"


_ATTENTION = "method.attention_on_label"
VARIANTS: dict[str, Variant] = {
    "clean": Variant("BCE on clean labels (not to be had)", given="truth"),
    "single_best": Variant("BCE on the best single source (known to nobody)", given="best"),
    "mean": Variant("mean of sources", options=(("method.name", "mean_of_sources"),)),
    "majority": Variant("majority", options=(("method.name", "majority"),)),
    "dawid_skene": Variant("Dawid–Skene", options=(("method.name", "dawid_skene"),)),
    "attention": Variant("attention-on-label, per stay", options=(("method.name", "attention_on_label"),)),
    "attention_label": Variant(
        "attention-on-label, per stay and label",
        options=(("method.name", "attention_on_label"), (f"{_ATTENTION}.weight_scope", "stay_label")),
    ),
    "attention_cheap": Variant(
        "attention-on-label, per stay, gradients as feedback",
        options=(("method.name", "attention_on_label"), (f"{_ATTENTION}.mode", "cheap")),
    ),
}
"""Rows by name, in the order of the table; the first two need the truth and are no competitors."""

ORACLES = ("clean", "single_best")
QUICK_VARIANTS = ("single_best", "dawid_skene", "attention")
QUICK_SCENARIOS = ("careful",)


def jobs(plan: Plan, variants: Sequence[str] = (), scenarios: Sequence[str] = ()) -> list[Job]:
    """Jobs of the variants and scenarios named (all where none is), one seed after the other.

    Parameters
    ----------
    plan
        Cohort (a synthetic one), size, epochs, seeds and place; its methods and noises aren't read.

    Raises
    ------
    ConfigError
        On an unknown name, or a cohort whose clean labels nobody knows.
    """
    if not plan.cohort.startswith("synthetic-"):
        raise ConfigError("a cohort with clean labels, synthetic-N", plan.cohort, "simulate sources from that one")
    for names, known, what in ((variants, VARIANTS, "variants"), (scenarios, SCENARIOS, "scenarios")):
        for name in names:
            if name not in known:
                raise ConfigError(f"{what} among {', '.join(known)}", repr(name), "leave it out or spell it so")
    made = [
        Job(TABLE, plan.cohort, name, place, seed, plan.size, plan.epochs, _version(name, place), plan.place,
            preset=VARIANTS[name].preset, options=(*plan.options, *VARIANTS[name].options))
        for seed in plan.seeds
        for scenario in scenarios or SCENARIOS
        for name in variants or VARIANTS
        for place in (_column(name, scenario),)
    ]  # fmt: skip
    return list({job.key: job for job in made}.values())


def _column(variant: str, scenario: str) -> str:
    return ANY if VARIANTS[variant].given == "truth" else scenario


def _version(variant: str, scenario: str) -> str:
    return (
        f"{VARIANTS[variant].version}.{SCENARIOS[scenario].version}" if scenario != ANY else VARIANTS[variant].version
    )


def digest(job: Job) -> str:
    """Digest of a job's options as they are now, those of the consensus too; a scenario has a version of its own."""
    parts = [options_digest(job), asdict(config_of(job).method.consensus)]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=6).hexdigest()


def source_accuracy(sources: LabelSources, truth: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Share of each source's stated member labels that are right; 0 where it states none."""
    counted = sources.available & member
    right = counted & (sources.values == truth)
    return np.asarray(right.sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1))


def given_labels(kind: str, packed: PackedCohort, sources: LabelSources, accuracy: np.ndarray) -> PackedCohort:
    """The cohort with the labels that a variant has as its record."""
    if kind == "truth":
        return packed
    if kind == "best":
        best = int(accuracy.argmax())
        observed, stated = sources.values[best], sources.available[best]
    else:
        observed = np.where(sources.available[0], sources.values[0], majority(sources))
        stated = sources.stated
    return replace(packed, observed=observed.astype(np.uint8), stated=packed.stated & stated)


def run(job: Job) -> Made:
    """Simulate a scenario's sources, train one variant on them, and measure."""
    began = time.perf_counter()
    config, variant = config_of(job), VARIANTS[job.method]
    prepared = prepare(job.cohort, job.seed, config.tensors, job.place.cache, job.place.data)
    packed = prepared.packed
    truth, member = np.asarray(packed.observed), lay_on_pairs(packed, None).member
    sources = LabelSources.single(truth, packed.stated)
    if job.noise != ANY:
        generator = np.random.default_rng(NOISE_SEED + job.seed)
        sources = simulate_sources(truth, member, SCENARIOS[job.noise].sources, generator, packed.label_keys)
    accuracy = source_accuracy(sources, truth, member)
    noisy = given_labels(variant.given, packed, sources, accuracy)
    pairs = lay_on_pairs(noisy, None)
    fitted = fit(
        noisy, pairs, config, seed=job.seed, place=choose_device(job.place.device), persistence=prepared.persistence,
        sources=sources if variant.given == "sources" else None,
    )  # fmt: skip
    assert fitted is not None
    scene = Scene(prepared, pairs, _as_planted(np.asarray(noisy.observed), truth, pairs.member), config)
    row: Row = {
        **head(job, packed.fingerprint, began),
        **predicted(scene, fitted.probability[0]), **course(job, fitted), **told(scene), **corrected(scene, fitted),
        "options": digest(job), "source_names": list(sources.names), "source_accuracy": accuracy.tolist(),
    }  # fmt: skip
    if isinstance(fitted.method, AttentionOnLabel):
        row["source_weight"] = fitted.method.reliability.mean(1).tolist()
    return {TABLE: [row]}


def rows(some: Iterable[Job], watch: Callable[[Job, Row], None] | None = None) -> list[Row]:
    """Run jobs here, one after the other; `watch` hears of each. `command.measure` runs them resumably instead."""
    made: list[Row] = []
    for job in some:
        made += run(job)[TABLE]
        if watch is not None:
            watch(job, made[-1])
    return made


def _as_planted(observed: np.ndarray, truth: np.ndarray, member: np.ndarray) -> Planted:
    """The record as noise on the truth, with the rates that came of it."""
    flipped = member & (observed != truth)
    rho_plus, rho_minus = (
        float(flipped[member & (truth == value)].mean()) if (member & (truth == value)).any() else 0.0
        for value in (1, 0)
    )
    expected = np.where(member, np.where(truth == 1, rho_plus, rho_minus), 0.0).astype(np.float32)
    return Planted(observed, truth, flipped, rho_plus, rho_minus, expected)


def markdown(made: Sequence[Row]) -> str:
    """Test mAP by variant and scenario, labels handed out that are right, and whom the attention believed."""

    def write(_course: Course, mine: list[Row]) -> list[str]:
        present = [row for row in mine if row["method"] in VARIANTS and row["noise"] in (ANY, *SCENARIOS)]
        present = [row for row in present if row["version"] == _version(row["method"], row["noise"])]
        scenarios = [name for name in SCENARIOS if any(row["noise"] == name for row in present)]
        return [
            "**Test mAP, last epoch.** Bold: the highest mean of those that do without the truth.",
            _grid(present, scenarios, "map"),
            "**Share of training labels right** as handed out at the end, of those that the method was given: where "
            "sources leave stays out, the best single one speaks of fewer than all together do.",
            _grid(present, scenarios, "accuracy_after"),
            "**Sources**: share of their labels that is right, and their mean weight where they speak.",
            _believed(present, scenarios),
        ]

    return sections(made, write, {})


def _cells(made: Sequence[Row], variant: str, scenario: str) -> list[Row]:
    return [row for row in made if row["method"] == variant and row["noise"] == _column(variant, scenario)]


def _grid(made: Sequence[Row], scenarios: Sequence[str], measure: str) -> str:
    variants = [name for name in VARIANTS if any(row["method"] == name for row in made)]
    values = {(v, s): [*by_seed(_cells(made, v, s), measure).values()] for v in variants for s in scenarios}
    means = {key: average(found) for key, found in values.items()}
    lines = []
    for variant in variants:
        line = [VARIANTS[variant].title]
        for scenario in scenarios:
            rivals = [m for v in variants if v not in ORACLES and (m := means[v, scenario]) is not None]
            own = means[variant, scenario]
            best = variant not in ORACLES and own is not None and own == max(rivals)
            line.append(bold_if(plus_minus(values[variant, scenario]), best))
        lines.append(line)
    return markdown_table(["method", *(SCENARIOS[name].title for name in scenarios)], lines)


def _believed(made: Sequence[Row], scenarios: Sequence[str]) -> str:
    weighing = [name for name in VARIANTS if any(row["method"] == name and row.get("source_weight") for row in made)]
    lines = []
    for scenario in scenarios:
        of = [row for row in made if row["noise"] == scenario]
        by_variant = grouped(of, lambda row: str(row["method"]))
        for place, source in enumerate(of[0]["source_names"]):
            accuracy = average([row["source_accuracy"][place] for row in of])
            weights = [
                average([row["source_weight"][place] for row in by_variant.get(name, []) if row.get("source_weight")])
                for name in weighing
            ]
            told_weights = [NONE if weight is None else figure(weight, 2) for weight in weights]
            lines.append([f"{SCENARIOS[scenario].title}: {source.replace('_', ' ')}", figure(accuracy), *told_weights])
    return markdown_table(["source", "right", *(VARIANTS[name].title for name in weighing)], lines)
