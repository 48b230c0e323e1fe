"""M3Care trained with binary cross-entropy and its regulariser (methods.md C.8)."""

from typing import ClassVar

from torch import Tensor, nn

from core.hints import Float
from core.methods.base import Method
from core.models.m3care import M3Care, M3CareOutput
from core.models.miracl import Batch, Output


class M3CareMethod(Method):
    """BCE + λ_reg·Σ_m mean |‖φ_m(h_m)‖ - ‖h_m‖|.

    Scored in fixed batches, since the stays of a batch lend one another what they lack.
    """

    companions: ClassVar[bool] = True  # else nobody could lend a series to those without

    def network(self) -> nn.Module:
        """Make M3Care."""
        packed, config = self.setting.packed, self.config
        return M3Care(
            packed.n_series_features, packed.note_dim, len(packed.label_keys), config.model, config.method.m3care
        )

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Binary cross-entropy and the regulariser."""
        assert isinstance(output, M3CareOutput)
        return super().pair_loss(output, batch) + self.config.method.m3care.regulariser * output.regulariser
