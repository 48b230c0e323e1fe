"""How a run is computed, as against what: where data and selection are, in which precision, compiled or not.

Not part of `TrainConfig` nor of what a run is named by. Where data lie changes no number; where labels are selected,
precision and compilation change the last digits.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from core.models.experts import Experts, Readout
from core.models.fusion import Fusion
from core.options import check_options, sourced

_COMPILED = (Fusion, Experts, Readout)


@dataclass(frozen=True)
class Execution:
    """How a run is computed.

    Parameters
    ----------
    resident
        Whether the packed cohort lies on the device and batches are gathered there (`core.resident`): ``auto`` does so
        on CUDA where it takes up no more than half of the free memory; the CPU reads the memory-mapped cache. The same
        numbers either way.
    precision
        Of matrix products: ``auto`` is bfloat16 on CUDA and single elsewhere. Gates, norms, heads and losses are in
        single precision always.
    compiled
        Put fusion, experts and readout through `torch.compile`; LSTMs are the library's own kernels.
    selection
        Where dynamics, mixtures, partition and MIRACL's correction are computed: ``host`` in numpy, ``device`` in
        tensors (`core.selection.on_device`), within 1e-6 of each other; ``auto`` is the device on CUDA.
    """

    resident: Literal["auto", "on", "off"] = sourced("auto", "ours")
    precision: Literal["auto", "single", "bfloat16"] = sourced("auto", "ours: as CUDA's tensor cores want it")
    compiled: bool = sourced(False, "methods.md G.3: no gain on CPU")
    selection: Literal["auto", "host", "device"] = sourced("auto", "ours")

    def __post_init__(self) -> None:
        check_options(self)

    def selects_on_device(self, place: torch.device) -> bool:
        """Tell whether labels are selected and corrected on the device."""
        return place.type == "cuda" if self.selection == "auto" else self.selection == "device"

    def narrow(self, place: torch.device) -> torch.autocast:
        """Give the context in which a network's forward pass is computed on a device."""
        narrow = place.type == "cuda" if self.precision == "auto" else self.precision == "bfloat16"
        return torch.autocast(place.type, torch.bfloat16, enabled=narrow)

    def prepare(self, model: nn.Module) -> None:
        """Compile what is to be compiled of a network, in place; its parameters keep their names."""
        if self.compiled:
            for part in [part for part in model.modules() if isinstance(part, _COMPILED)]:
                part.compile(dynamic=True)
