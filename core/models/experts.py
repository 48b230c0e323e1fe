"""Mixture of experts over the modality tokens, and the readout that joins them (methods.md B.4)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.config import ModelConfig
from core.hints import Bool, Float

_MASKED_SCORE = -1e7  # readout score of an absent modality's token
_EPSILON = 1e-10


def squared_variation(x: Float[Tensor, " experts"]) -> Float[Tensor, ""]:
    """CV², variance over squared mean; 0 where nothing was given to any expert."""
    return x.var() / (x.mean() ** 2 + _EPSILON)


def normal_cdf(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Φ, the standard normal distribution function."""
    return 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Experts(nn.Module):
    """Noisy top-k gating over small two-layer networks.

    Gate logits g = x·W_g + task·W_t, in training plus ε ⊙ (softplus(x·W_n) + floor) with ε ~ N(0, 1); weights are a
    softmax over the k largest; the output is the weighted sum of those experts. Balance loss: weight · (CV²(importance)
    + CV²(load)), importance the sum of a batch's gates, load the expected number of tokens an expert gets (Gaussian
    estimate in training, counts otherwise). Every expert is computed for every token in one batched product: there are
    only three tokens a stay.

    Parameters
    ----------
    config
        ``hidden``, ``experts``, ``top_k``, ``gate_noise_floor``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, count = config.hidden, config.experts
        self.top_k, self.floor = config.top_k, config.gate_noise_floor
        bound = 1.0 / math.sqrt(width)
        self.weight_in = nn.Parameter(torch.empty(count, width, width).uniform_(-bound, bound))
        self.bias_in = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.weight_out = nn.Parameter(torch.empty(count, width, width).uniform_(-bound, bound))
        self.bias_out = nn.Parameter(torch.empty(count, width).uniform_(-bound, bound))
        self.gate = nn.Parameter(torch.zeros(width, count))
        self.gate_task = nn.Parameter(torch.zeros(width, count))
        self.gate_noise = nn.Parameter(torch.zeros(width, count))

    def gates(
        self, tokens: Float[Tensor, "stays m d"], task: Float[Tensor, "stays d"], present: Bool[Tensor, "stays m"]
    ) -> tuple[Float[Tensor, "stays m experts"], Float[Tensor, " experts"]]:
        """Weights of the experts, 0 for absent tokens, and each expert's load."""
        clean = tokens @ self.gate + (task @ self.gate_task).unsqueeze(1)
        if not self.training:
            values, index = clean.topk(self.top_k, dim=-1)
            gates = torch.zeros_like(clean).scatter(-1, index, values.softmax(-1)) * present.unsqueeze(-1)
            return gates, (gates > 0).to(clean.dtype).sum((0, 1))
        scale = functional.softplus(tokens @ self.gate_noise) + self.floor
        noisy = clean + torch.randn_like(clean) * scale
        values, index = noisy.topk(self.top_k + 1, dim=-1)
        weights = values[..., : self.top_k].softmax(-1)
        gates = torch.zeros_like(clean).scatter(-1, index[..., : self.top_k], weights) * present.unsqueeze(-1)
        # An expert would stay among the k if its logit beat the best of the others that are out (or the worst in).
        best_out, worst_in = values[..., self.top_k :], values[..., self.top_k - 1 : self.top_k]
        threshold = torch.where(noisy > best_out, best_out, worst_in)
        load = (normal_cdf((clean - threshold) / scale) * present.unsqueeze(-1)).sum((0, 1))
        return gates, load

    def forward(
        self, tokens: Float[Tensor, "stays m d"], task: Float[Tensor, "stays d"], present: Bool[Tensor, "stays m"]
    ) -> tuple[Float[Tensor, "stays m d"], Float[Tensor, " experts"], Float[Tensor, " experts"]]:
        """Mixed tokens (absent ones unchanged), and each expert's importance and load, summed over the tokens."""
        gates, load = self.gates(tokens, task, present)
        inner = functional.relu(torch.einsum("bmd,edh->bmeh", tokens, self.weight_in) + self.bias_in)
        outer = torch.einsum("bmeh,ehd->bmed", inner, self.weight_out) + self.bias_out
        mixed = (gates.unsqueeze(-1) * outer).sum(2)
        return torch.where(present.unsqueeze(-1), mixed, tokens), gates.sum((0, 1)), load


class Readout(nn.Module):
    """Attention over the mixed modality tokens: a_m = softmax(v·tanh(W[task; moe_m]) / temperature).

    f = LayerNorm(Σ a_m moe_m); logits = Linear 2d→L on [task; f]. Absent tokens get no weight; for a stay with neither
    modality f is 0.

    Parameters
    ----------
    labels
        L.
    config
        ``hidden``, ``readout_temperature``.
    """

    def __init__(self, labels: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden
        self.temperature = config.readout_temperature
        self.mix = nn.Linear(2 * width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(2 * width, labels)

    def forward(
        self, tokens: Float[Tensor, "stays m d"], task: Float[Tensor, "stays d"], present: Bool[Tensor, "stays m"]
    ) -> tuple[Float[Tensor, "stays labels"], Float[Tensor, "stays twice_d"]]:
        """Logits, and [task; f], what the last layer reads."""
        pairs = torch.cat((task.unsqueeze(1).expand_as(tokens), tokens), dim=-1)
        scores = self.score(torch.tanh(self.mix(pairs))).squeeze(-1) / self.temperature
        weights = scores.masked_fill(~present, _MASKED_SCORE).softmax(-1) * present
        joined = self.norm((weights.unsqueeze(-1) * tokens).sum(1)) * present.any(1, keepdim=True)
        features = torch.cat((task, joined), dim=-1)
        return self.head(features), features
