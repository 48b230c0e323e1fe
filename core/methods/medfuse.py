"""MedFuse trained with binary cross-entropy (methods.md C.7)."""

from torch import nn

from core.methods.base import Method
from core.models.medfuse import MedFuse


class MedFuseMethod(Method):
    """An architecture of its own, the base method's loss, optimiser and schedule."""

    def network(self) -> nn.Module:
        """Make MedFuse."""
        packed, config = self.setting.packed, self.config
        return MedFuse(
            packed.n_series_features, packed.note_dim, len(packed.label_keys), config.model, config.method.medfuse
        )
