"""Which method trains, and the options of those that have their own; each stands beside its equation."""

from dataclasses import dataclass, field

from core.methods.label_attention import AttentionOnLabelConfig
from core.methods.pair_losses import REGULARISED, AslConfig, FocalConfig, GceConfig, MllscConfig
from core.methods.transition import MultiTConfig
from core.methods.trust import LincConfig
from core.methods.voting import ConsensusConfig
from core.models.network_options import DfdConfig, M3CareConfig, MedFuseConfig
from core.options import check_options, sourced

__all__ = ["REGULARISED", "MethodConfig"]


@dataclass(frozen=True)
class MethodConfig:
    """Which method trains, and the options of those that have their own.

    Parameters
    ----------
    name
        As `core.methods.registry.METHODS` has it.
    auxiliary
        A comparison method gets the modality heads' losses and the contrast too (methods.md C: it does not).
    focal, asl, gce, mllsc, multit, linc, medfuse, m3care, dfd, attention_on_label, consensus
        Options of one method each.
    """

    name: str = sourced("miracl", "ours")
    auxiliary: bool = sourced(False, "methods.md C, shared rule 3")
    focal: FocalConfig = field(default_factory=FocalConfig)
    asl: AslConfig = field(default_factory=AslConfig)
    gce: GceConfig = field(default_factory=GceConfig)
    mllsc: MllscConfig = field(default_factory=MllscConfig)
    multit: MultiTConfig = field(default_factory=MultiTConfig)
    linc: LincConfig = field(default_factory=LincConfig)
    medfuse: MedFuseConfig = field(default_factory=MedFuseConfig)
    m3care: M3CareConfig = field(default_factory=M3CareConfig)
    dfd: DfdConfig = field(default_factory=DfdConfig)
    attention_on_label: AttentionOnLabelConfig = field(default_factory=AttentionOnLabelConfig)
    consensus: ConsensusConfig = field(default_factory=ConsensusConfig)

    def __post_init__(self) -> None:
        check_options(self)
