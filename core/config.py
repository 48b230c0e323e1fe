"""Every option of a training run, with its unit, range and source; the three presets and the two sizes.

A preset says how labels are judged (methods.md A.11), a size how large the network and the time steps are; the two are
chosen independently. "paper" means the MIRACL paper, "code" its released code, "FlexCare" the backbone it builds on.
Options of selection, mixtures, filter, correction and tensors live beside their equations.
"""

import dataclasses
import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.calibrated.config import CalibratedConfig
from core.cohort.tensors import TensorConfig
from core.correction.cooccurrence import FilterConfig
from core.correction.relabel import CorrectionConfig
from core.detectors.registry import DetectorConfig
from core.errors import ConfigError
from core.fileio import parsed_json
from core.methods.options import REGULARISED, MethodConfig
from core.options import build_options, check_options, sourced
from core.peer.regression import PeerConfig
from core.selection.difficulty import SelectionConfig
from core.selection.mixture import MixtureConfig

__all__ = [
    "COMPARISONS",
    "JUDGING",
    "PRESETS",
    "SIZES",
    "CorrectionConfig",
    "DetectorConfig",
    "FilterConfig",
    "LossConfig",
    "MethodConfig",
    "MixtureConfig",
    "ModelConfig",
    "OptimConfig",
    "ReviewConfig",
    "SelectionConfig",
    "TensorConfig",
    "TrainConfig",
    "make_config",
]

JUDGING = ("released", "paper", "miracl", "calibrated")
"""Presets that judge labels: columns of table A.11, and the calibrated posterior (methods.md G.2)."""
COMPARISONS = (
    "bce", "bce_regularised", "focal", "asl", "gce", "mllsc", "multit", "medfuse", "m3care", "linc", "dfd",
    "attention_on_label", "majority", "mean_of_sources", "dawid_skene",
)  # fmt: skip
"""Presets that stand beside them for comparison (methods.md C)."""
PRESETS = JUDGING + COMPARISONS
CALIBRATED: dict[str, Any] = {
    "method.name": "calibrated",
    "loss.heads": "apart",
    "loss.contrast": "off",
    "optim.scheduler": "cosine30",
    "optim.learning_rate": 2e-3,
    "optim.weight_decay": 7e-5,
    "optim.decay_from": "first",
}
"""What the calibrated preset changes beside its own options; core/DECISIONS.md says what each was worth."""
SIZES = ("paper", "compact")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and switches of the network (methods.md B).

    Parameters
    ----------
    hidden
        d: width of the LSTM's state per direction, of every token, and of the experts.
    heads, ffn, fusion_layers, dropout
        Fusion transformer: heads, inner width, layers, dropout rate.
    lstm_layers, lstm_dropout
        Bidirectional LSTM over the series: layers, dropout between them.
    packed
        The backward direction starts at a stay's last step; false: in the padding, as the released code does.
    experts, top_k
        Mixture of experts: how many, and how many a token is given to.
    gate_noise_floor
        Added to the gate's noise scale.
    readout_temperature
        Divides the readout's attention scores.
    max_positions
        Learned positions per modality: the longest sequence of steps or passages.
    attention_mask
        ``bool`` blocks what may not be attended to; ``additive_plus1`` adds 1 to its score, as the public mask
        builders do; ``none`` leaves everything open. Padding and absent modalities are always blocked.
    ortho_absent
        Whether absent modalities' tokens enter the decorrelation loss.
    contrast_projection
        A d→d→d network before the contrastive loss.
    """

    hidden: int = sourced(128, "paper A.5.2, code", 2, 4096)
    heads: int = sourced(2, "FlexCare", 1, 64)
    ffn: int = sourced(512, "FlexCare", 1, 65536)
    fusion_layers: int = sourced(4, "paper A.5.2 (layers=4)", 1, 48)
    dropout: float = sourced(0.1, "FlexCare", 0, 0.95)
    lstm_layers: int = sourced(2, "code, mymodel/module.py", 1, 8)
    lstm_dropout: float = sourced(0.2, "code, mymodel/module.py", 0, 0.95)
    packed: bool = sourced(True, "A.11 row 33: ours true, code false")
    experts: int = sourced(10, "paper A.5.2 (expert_total=10)", 2, 256)
    top_k: int = sourced(2, "paper A.5.2 (expert_k=2)", 1, 255)
    gate_noise_floor: float = sourced(0.01, "FlexCare", 0, 10)
    readout_temperature: float = sourced(0.2, "FlexCare", 1e-3, 100)
    max_positions: int = sourced(600, "FlexCare", 1, 100_000)
    attention_mask: Literal["bool", "additive_plus1", "none"] = sourced("bool", "A.11 row 32: code additive_plus1")
    ortho_absent: Literal["exclude", "include"] = sourced("exclude", "B.4: FlexCare include")
    contrast_projection: bool = sourced(False, "A.11 row 29: not stated by either source")

    def __post_init__(self) -> None:
        check_options(self)
        if self.hidden % self.heads:
            raise ConfigError("ModelConfig.hidden divisible by heads", f"{self.hidden} / {self.heads}", "change one")
        if self.top_k >= self.experts:
            raise ConfigError("ModelConfig.top_k below experts", f"{self.top_k} of {self.experts}", "change one")


@dataclass(frozen=True)
class LossConfig:
    """Weights and forms of the loss terms (methods.md A.7, A.8, B.4).

    Parameters
    ----------
    lambda_cons
        λ, weight of the contrastive loss and, with ``heads="lambda"``, of both modality heads' losses.
    heads
        ``lambda`` trains the modality heads with weight λ; ``apart`` trains them on what the encoders give without
        a word in how these learn; ``off`` leaves them out.
    ortho, balance
        Weight of the decorrelation loss, and the factor inside the experts' balance loss.
    contrast
        Positives of an anchor: every row of the same ``patient``, only the same ``visit``'s other modality, or
        ``off``.
    temperature
        τ_t of the contrastive loss.
    """

    lambda_cons: float = sourced(0.1, "paper A.5.1, code", 0, 100)
    heads: Literal["lambda", "apart", "off"] = sourced("lambda", "A.11 row 22: code lambda, paper off; apart: ours")
    ortho: float = sourced(0.5, "code, FlexCare", 0, 100)
    balance: float = sourced(0.01, "FlexCare", 0, 100)
    contrast: Literal["patient", "visit", "off"] = sourced("patient", "paper Eq. 9; A.8 for visit and off")
    temperature: float = sourced(0.1, "A.11 row 29: ours, not stated by either source", 0.01, 10)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class OptimConfig:
    """Epochs, batches and schedules (methods.md A.9).

    Parameters
    ----------
    epochs, warm_up
        T, and t_warm: labels are first corrected from the state at the end of epoch t_warm.
    batch
        Stays a batch; ``auto``: training stays / 50, between 32 and 128.
    learning_rate, scheduler
        Adam's rate in epoch 1 and its course over the epochs (`core.schedules.learning_rate`).
    weight_decay, decay_from
        Coupled L2, and whether from epoch t_warm + 1 or from the first.
    beta_origin, beta_final
        β's course (`core.schedules.beta`).
    record
        Whether probabilities come from the training pass or from a pass in evaluation mode after each epoch.
    sampler
        ``shuffle``, or ``patient_grouped``: a patient's stays together, at most `group_size` of them.
    bucket_steps
        Width, in steps, of the classes of length from which a batch is made up.
    """

    epochs: int = sourced(30, "paper A.5.1, code", 1, 10_000)
    warm_up: int = sourced(5, "paper A.5.1, code", 1, 10_000)
    batch: int | Literal["auto"] = sourced("auto", "paper and code 128; ours scaled, methods.md G.1", 1, 65_536)
    learning_rate: float = sourced(1e-3, "paper A.5.1, code", 0, 10)
    scheduler: Literal["cosine10", "cosine30", "warm_restart10", "constant"] = sourced(
        "cosine10", "A.11 row 25: paper and code cosine10"
    )
    weight_decay: float = sourced(1e-5, "paper A.5.1, code", 0, 10)
    decay_from: Literal["correction", "first"] = sourced("correction", "paper A.5.1, code")
    beta_origin: Literal["global", "correction_start"] = sourced("global", "A.11 row 24: code global")
    beta_final: float = sourced(0.5, "paper Eq. 11", 0, 1)
    record: Literal["train", "eval"] = sourced("train", "A.11 row 7: code train")
    sampler: Literal["shuffle", "patient_grouped"] = sourced("shuffle", "A.11 row 31: code shuffle")
    group_size: int = sourced(4, "A.8: ours", 1, 64)
    bucket_steps: int = sourced(8, "ours: length-bucketed batches", 1, 100_000)

    def __post_init__(self) -> None:
        check_options(self)
        if self.warm_up > self.epochs:
            came = f"{self.warm_up} of {self.epochs}"
            raise ConfigError("OptimConfig.warm_up at most epochs", came, "train longer, or warm up for less")

    def batch_size(self, training_stays: int) -> int:
        """Stays a batch: as given, or clamp(training stays / 50, 32, 128)."""
        return min(max(training_stays // 50, 32), 128) if self.batch == "auto" else self.batch


@dataclass(frozen=True)
class ReviewConfig:
    """How many pairs a round flags.

    Parameters
    ----------
    budget_share
        Share of the round's pairs flagged where no budget is given.
    label_share
        Largest share of the budget that one label may take.
    balance
        ``direction``: records suspected wrong and records suspected missing take turns in the order of suspicion,
        since a reader who only meets one of the two is no longer blind. ``none``: by error probability alone.
    """

    budget_share: float = sourced(0.02, "architecture.md, Decisions", 0, 1)
    label_share: float = sourced(0.1, "architecture.md, Decisions", 0, 1)
    balance: Literal["direction", "none"] = sourced("direction", "blind reading; DECISIONS.md 2026-11-21")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run; `make_config` puts one together.

    Parameters
    ----------
    preset, size
        The names it began from; options changed since stand in the parts.
    method, peer, calibrated, model, loss, optim, selection, mixture, filter, correction, detectors, review, tensors
        The parts.
    """

    preset: str = "miracl"
    size: str = "paper"
    method: MethodConfig = field(default_factory=MethodConfig)
    peer: PeerConfig = field(default_factory=PeerConfig)
    calibrated: CalibratedConfig = field(default_factory=CalibratedConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    correction: CorrectionConfig = field(default_factory=CorrectionConfig)
    detectors: DetectorConfig = field(default_factory=DetectorConfig)
    review: ReviewConfig = field(default_factory=ReviewConfig)
    tensors: TensorConfig = field(default_factory=TensorConfig)

    def __post_init__(self) -> None:
        for name, known in (("preset", PRESETS), ("size", SIZES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} among {', '.join(known)}", repr(getattr(self, name)), "choose one of them")
        units = self.tensors.passages.max_passages
        if self.tensors.notes.units == "tokens":
            units = self.tensors.notes.max_tokens
        longest = max(self.tensors.series.max_steps, units)
        if longest > self.model.max_positions:
            raise ConfigError(
                f"ModelConfig.max_positions of {longest} or more", str(self.model.max_positions), "raise it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain types alone, ready for JSON."""
        plain: dict[str, Any] = json.loads(self.to_json())
        return plain

    def to_json(self) -> str:
        """JSON with sorted keys: the same config, the same text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=1)

    @classmethod
    def from_dict(cls, data: Any) -> "TrainConfig":
        """Rebuild from `to_dict`'s form.

        Raises
        ------
        ConfigError
            On an unknown field, a wrong type or a value out of range.
        """
        made = build_options(cls, data, "config")
        assert isinstance(made, cls)
        return made

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Rebuild from `to_json`'s text; errors as `from_dict`."""
        try:
            data = parsed_json(text)
        except ValueError:
            raise ConfigError("a config in JSON", "text that is not", "write it with TrainConfig.to_json") from None
        return cls.from_dict(data)


def make_config(preset: str = "miracl", size: str = "paper", **overrides: Any) -> TrainConfig:
    """Take a preset at a size, with single options changed.

    Parameters
    ----------
    preset
        ``released`` (the public code), ``paper`` (its text) or ``miracl`` (class-oriented): the columns of table
        A.11; ``calibrated``, ours; or a comparison method by its name.
    size
        ``paper`` (hidden 128, 1-h steps, four fusion layers) or ``compact`` (hidden 64, 2-h steps, one).
    overrides
        Dotted names, such as ``**{"optim.epochs": 10}``.

    Raises
    ------
    ConfigError
        On an unknown name or a value out of range.
    """
    for value, known, what in ((preset, PRESETS, "preset"), (size, SIZES, "size")):
        if value not in known:
            raise ConfigError(f"{what} among {', '.join(known)}", repr(value), "choose one of them")
    judged = preset if preset in ("released", "paper") else "miracl"
    config = TrainConfig(
        preset=preset,
        size=size,
        selection=SelectionConfig.preset(judged),
        mixture=MixtureConfig.preset(judged),
        correction=CorrectionConfig.preset(judged),
    )
    if preset == "released":
        config = replace(
            config,
            model=replace(config.model, attention_mask="additive_plus1", packed=False, ortho_absent="include"),
            optim=replace(config.optim, batch=128),
            tensors=replace(config.tensors, notes=replace(config.tensors.notes, note_dropout=True)),
        )
    if preset == "paper":
        config = replace(
            config,
            loss=replace(config.loss, heads="off"),
            optim=replace(config.optim, batch=128, beta_origin="correction_start"),
        )
    if size == "compact":
        series = replace(config.tensors.series, step_hours=2.0)
        config = replace(
            config,
            model=replace(config.model, hidden=64, ffn=256, fusion_layers=1),
            tensors=replace(config.tensors, series=series),
        )
    data = config.to_dict()
    for name, value in {**_changes(preset), **overrides}.items():
        *groups, leaf = name.split(".")
        place: Any = data
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if not isinstance(place, dict) or leaf not in place:
            raise ConfigError(
                "an option of TrainConfig, such as optim.epochs", name, "see core/config.py for the names"
            )
        place[leaf] = value
    return TrainConfig.from_dict(data)


def _changes(preset: str) -> dict[str, Any]:
    """Give the options that a preset beyond the columns of A.11 changes."""
    if preset == "calibrated":
        return CALIBRATED
    if preset == "bce_regularised":
        return {"method.name": "bce", **REGULARISED}
    return {"method.name": preset} if preset in COMPARISONS else {}
