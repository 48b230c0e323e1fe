"""Simulated label sources: five kinds of annotator with confusion matrices, and one that misses and over-calls.

The first five are those of the attention-on-label paper (4.1, A.2.1; after Tanno et al. 2019), which gives them for
ten exclusive classes. Here a stay has any number of diagnoses, so each *positive* label of a stay is treated as one of
the paper's examples: annotator m writes down label l' instead of l with probability K_m[l, l'], and a stay's labels
are all that was written. Two positives may become one, and a stay without diagnoses stays so. Sources err
independently of one another given the truth.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, UInt8
from core.methods.sources import LabelSources
from core.options import check_options, sourced

Kind = Literal["hammer_spammer", "structured_flips", "ordered_confusion", "adversarial", "average", "flips"]

EASILY_CONFUSED: dict[str, str] = {
    "acute_renal_failure": "chronic_kidney_disease",
    "acute_cerebrovascular_disease": "complications_of_care",
    "acute_myocardial_infarction": "coronary_disease",
    "cardiac_dysrhythmias": "conduction_disorders",
    "chronic_kidney_disease": "acute_renal_failure",
    "copd": "other_lower_respiratory_disease",
    "complications_of_care": "acute_cerebrovascular_disease",
    "conduction_disorders": "cardiac_dysrhythmias",
    "heart_failure": "hypertension_with_complications",
    "coronary_disease": "acute_myocardial_infarction",
    "diabetes_with_complications": "diabetes_without_complication",
    "diabetes_without_complication": "diabetes_with_complications",
    "lipid_disorders": "coronary_disease",
    "essential_hypertension": "hypertension_with_complications",
    "fluid_electrolyte_disorders": "acute_renal_failure",
    "gastrointestinal_hemorrhage": "other_liver_diseases",
    "hypertension_with_complications": "essential_hypertension",
    "other_liver_diseases": "gastrointestinal_hemorrhage",
    "other_lower_respiratory_disease": "copd",
    "other_upper_respiratory_disease": "other_lower_respiratory_disease",
    "pleurisy_pneumothorax_collapse": "pneumonia",
    "pneumonia": "pleurisy_pneumothorax_collapse",
    "respiratory_failure": "pneumonia",
    "septicemia": "shock",
    "shock": "septicemia",
}
"""Which phenotype another is taken for: ours, by shared findings, as the paper pairs cat with dog. Not symmetric."""


@dataclass(frozen=True)
class AnnotatorConfig:
    """One simulated source.

    Parameters
    ----------
    kind
        Which confusions; see `confusion`. ``flips`` has no matrix: each pair by itself, present → absent at `noise`,
        absent → present at `false_alarms`.
    noise
        1 - p: share of a label's positives that it writes down as another (``flips``: misses). None for
        ``adversarial``, which is always wrong, and for ``average`` at what the four matrices give.
    false_alarms
        Share of the absent labels that ``flips`` reports.
    weak
        On which labels `noise` and `false_alarms` hold: all, those of ``even`` or of ``odd`` place in the set.
        Elsewhere `weak_factor` times as much, so that a source is better at some labels than at others.
    weak_factor
        See `weak`.
    coverage
        Share of stays (``per="stay"``) or of pairs that it states; the others are unavailable.
    per
        See `coverage`.
    name
        Its name; the kind by default.
    """

    kind: Kind = "hammer_spammer"
    noise: float | None = sourced(None, "attention-on-label A.2.1", 0, 1)
    false_alarms: float = sourced(0.0, "methods.md A.1 (ρ₋)", 0, 1)
    weak: Literal["all", "even", "odd"] = sourced("all", "ours: C.10, reliability differs by phenotype")
    weak_factor: float = sourced(0.0, "ours", 0, 1)
    coverage: float = sourced(1.0, "ours: a reader sees some of the stays", 0, 1)
    per: Literal["stay", "pair"] = sourced("stay", "ours")
    name: str = sourced("", "ours")

    def __post_init__(self) -> None:
        check_options(self)
        if self.noise is None and self.kind in ("hammer_spammer", "structured_flips", "ordered_confusion", "flips"):
            raise ConfigError(f"a noise level for the annotator {self.kind}", "none", "give one from 0 to 1")
        if self.noise is not None and self.kind == "adversarial":
            raise ConfigError("no noise level for the annotator adversarial", f"{self.noise}", "leave it out")
        if self.false_alarms and self.kind != "flips":
            raise ConfigError("false alarms for annotators of kind flips alone", self.kind, "leave them out")

    @property
    def title(self) -> str:
        """Its name, or its kind."""
        return self.name or self.kind


@dataclass(frozen=True)
class AnnotatorsConfig:
    """The sources of a scenario, in order; each needs a name of its own."""

    sources: tuple[AnnotatorConfig, ...]


PAPER_SOURCES = AnnotatorsConfig(
    (
        AnnotatorConfig("hammer_spammer", 0.3),
        AnnotatorConfig("structured_flips", 0.4),
        AnnotatorConfig("ordered_confusion", 0.5),
        AnnotatorConfig("adversarial"),
        AnnotatorConfig("average"),
    )
)
"""The paper's five at its noise levels (A.2.1). The mean of the first four is wrong 55 times in 100; the paper's
Table 2 gives 45 %, which is how often it is right."""


def confusion(
    kind: Kind, noise: Float[np.ndarray, " labels"] | None, label_keys: tuple[str, ...]
) -> Float[np.ndarray, "labels labels"]:
    """K[l, l'] = P(writes l' | the label is l); rows sum to 1.

    Parameters
    ----------
    kind
        ``hammer_spammer``: right with probability 1 - noise, else any other label alike.
        ``structured_flips``: else the one label that it is easily taken for (`EASILY_CONFUSED`; the next in the set
        where that is not among the labels).
        ``ordered_confusion``: else one of the two next to it in the set, at the ends the only one.
        ``adversarial``: always the next label but one in the set, counted round: it groups stays well and names every
        group wrongly.
        ``average``: the mean of the four, at the paper's levels, or scaled so that each label's noise is `noise`.
    noise
        Share of each label's positives that is written down as another; None where the kind has its own.
    label_keys
        The label set, at least three.

    Notes
    -----
    "Noise" is 1 - accuracy, as the paper has it; a spammer that draws the true label too (Khetan et al. 2017) would be
    right more often. What is "neighbouring" stands in a figure alone: here it is the set's order.
    """
    count = len(label_keys)
    if count < 3:
        raise ConfigError("three labels or more for annotators that confuse them", str(count), "use kind flips")
    places, identity = np.arange(count), np.eye(count)
    if kind == "adversarial":
        wrongly: np.ndarray = identity[(places + 2) % count]
        return wrongly
    if kind == "average":
        levels = {source.kind: source.noise for source in PAPER_SOURCES.sources[:4]}
        parts = [
            confusion(part, None if level is None else np.full(count, level), label_keys)
            for part, level in levels.items()
        ]
        mean: np.ndarray = np.mean(parts, axis=0)
        if noise is None:
            return mean
        elsewhere = mean * (1 - identity)
        elsewhere /= elsewhere.sum(1, keepdims=True)
    elif kind == "hammer_spammer":
        elsewhere = (1 - identity) / (count - 1)
    elif kind == "structured_flips":
        known = {key: place for place, key in enumerate(label_keys)}
        taken_for = [
            known.get(EASILY_CONFUSED.get(key, ""), (place + 1) % count) for place, key in enumerate(label_keys)
        ]
        elsewhere = identity[taken_for]
    else:
        elsewhere = (np.abs(places[:, None] - places[None, :]) == 1).astype(np.float64)
        elsewhere /= elsewhere.sum(1, keepdims=True)
    assert noise is not None
    wrong = noise[:, None]
    mixed: np.ndarray = identity * (1 - wrong) + elsewhere * wrong
    return mixed


def annotate(
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    matrix: Float[np.ndarray, "labels labels"],
    generator: np.random.Generator,
) -> UInt8[np.ndarray, "stays labels"]:
    """Rewrite each member positive by its row of a confusion matrix; a stay's labels are all that was written.

    Pairs that are no members keep the truth, and nothing is written on them. One number is drawn for every pair.
    """
    draw = generator.random(truth.shape)
    rows, labels = np.nonzero(member & (truth != 0))
    reached = np.cumsum(matrix, axis=1)
    written = (draw[rows, labels][:, None] * reached[labels, -1:] >= reached[labels]).sum(1).clip(max=len(matrix) - 1)
    observed = np.where(member, 0, truth).astype(np.uint8)
    stays = member[rows, written]
    observed[rows[stays], written[stays]] = 1
    return observed


def simulate_sources(
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: AnnotatorsConfig,
    generator: np.random.Generator,
    label_keys: tuple[str, ...] = (),
) -> LabelSources:
    """Simulate each source's labels and what it states.

    Parameters
    ----------
    truth
        Clean labels, 0 or 1.
    member
        Pairs that sources may get wrong or leave out: stated, of training stays. On the others every source says the
        truth.
    config
        The sources.
    generator
        The random stream; source after source, so that adding one at the end leaves the others as they were.
    label_keys
        Keys of the labels, for the kinds that know which are alike.

    Raises
    ------
    ConfigError
        On sources of the same name, or fewer than three labels where labels are confused.
    """
    titles = tuple(source.title for source in config.sources)
    if len(set(titles)) != len(titles) or not titles:
        came = ", ".join(titles) or "none"
        raise ConfigError("label sources, each with a name of its own", came, "name those of one kind apart")
    keys = label_keys or tuple(f"label_{place}" for place in range(truth.shape[1]))
    values = np.empty((len(titles), *truth.shape), np.float32)
    available = np.empty(values.shape, np.bool_)
    for m, source in enumerate(config.sources):
        strength = _strength(source, truth.shape[1])
        if source.kind == "flips":
            assert source.noise is not None
            rate = np.where(truth != 0, source.noise * strength, source.false_alarms * strength)
            values[m] = truth ^ (member & (generator.random(truth.shape) < rate))
        else:
            noise = None if source.noise is None else source.noise * strength
            matrix = confusion(source.kind, noise, keys)
            if noise is None:
                matrix = np.eye(len(keys)) * (1 - strength[:, None]) + matrix * strength[:, None]
            values[m] = annotate(truth, member, matrix, generator)
        shape = truth.shape if source.per == "pair" else (len(truth), 1)
        available[m] = ~member | (generator.random(shape) < source.coverage)
    return LabelSources(values, available, titles)


def _strength(source: AnnotatorConfig, labels: int) -> Float[np.ndarray, " labels"]:
    """Factor of a source's noise on each label: 1 where it is weak, `weak_factor` elsewhere."""
    if source.weak == "all":
        return np.ones(labels)
    weak = np.arange(labels) % 2 == (0 if source.weak == "even" else 1)
    return np.where(weak, 1.0, source.weak_factor)
