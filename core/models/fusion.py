"""Fusion transformer over both modalities' tokens, with the attention pattern of methods.md B.3."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from core.config import ModelConfig
from core.hints import Bool, Float, Int

# Token groups, in the order of the sequence: [task, combo, EHR-CLS, EHR…, NOTE-CLS, NOTE…].
TASK, COMBO, SERIES_CLS, SERIES, NOTE_CLS, NOTE = range(6)

# Row: who attends. Column: what it may see. The task token sees everything; the combination token itself and both
# modalities' content; a modality's CLS itself and its content; content the content of its own modality.
PATTERN = (
    (1, 1, 1, 1, 1, 1),
    (0, 1, 0, 1, 0, 1),
    (0, 0, 1, 1, 0, 0),
    (0, 0, 0, 1, 0, 0),
    (0, 0, 0, 0, 1, 1),
    (0, 0, 0, 0, 0, 1),
)


def token_groups(steps: int, passages: int, device: torch.device) -> Int[Tensor, " tokens"]:
    """Group of each token of a batch with that many steps and passages."""
    ends = torch.arange(NOTE + 1, device=device)  # made on the device: a list would be waited for
    return torch.cat((ends[:SERIES], ends[SERIES].expand(steps), ends[NOTE_CLS:NOTE], ends[NOTE].expand(passages)))


def attention_bias(
    groups: Int[Tensor, " tokens"],
    present: Bool[Tensor, "stays tokens"],
    kind: str,
    pattern: Bool[Tensor, "groups groups"] | None = None,
) -> Float[Tensor, "stays 1 tokens tokens"]:
    """Give what is added to the attention scores: 0 where a query may look, -∞ where not.

    Parameters
    ----------
    groups
        As `token_groups`.
    present
        False for padding and for every token of an absent modality: no other token ever sees those. Each token sees
        itself, so that no row is empty.
    kind
        ``bool``: the pattern blocks. ``additive_plus1``: the pattern's blocked places get +1 instead, which favours
        them, as in the released code. ``none``: no pattern.
    pattern
        `PATTERN` where it lies on the device already: to bring it there is to wait.
    """
    if pattern is None:
        pattern = torch.tensor(PATTERN, dtype=torch.bool, device=groups.device)
    allowed = pattern[groups][:, groups]
    itself = torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    seen = present.unsqueeze(1) | itself
    if kind == "bool":
        seen = seen & (allowed | itself)
    bias = torch.zeros(seen.shape, device=groups.device).masked_fill(~seen, float("-inf"))
    if kind == "additive_plus1":
        bias = bias + (~allowed).to(bias.dtype)
    return bias.unsqueeze(1)


WHOLE_BYTES = 256 * 2**20
"""On a CPU, attention with dropout keeps its weights for the way back, several times over: up to this many bytes."""
PART_BYTES = 32 * 2**20
"""Weights of as many stays as are looked at together where all would be more: about what stays in a cache."""


def attention(
    q: Float[Tensor, "stays heads queries d"],
    k: Float[Tensor, "stays heads tokens d"],
    v: Float[Tensor, "stays heads tokens d"],
    bias: Float[Tensor, "stays 1 queries tokens"],
    rate: float,
) -> Float[Tensor, "stays heads queries d"]:
    """Scaled dot-product attention whose memory grows with the tokens, not with their square.

    A GPU has kernels for that, and so has a CPU without dropout. With it, `WHOLE_BYTES` is what one call may hold;
    beyond, some stays at a time are computed, and computed again on the way back with the same random numbers.

    Parameters
    ----------
    rate
        Share of the weights that dropout takes; 0 outside training.
    """
    each = q.shape[1] * q.shape[2] * k.shape[2] * q.element_size()
    if rate == 0 or q.device.type != "cpu" or len(q) * each <= WHOLE_BYTES:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate)
    size = max(1, PART_BYTES // each)
    parts = zip(*(torch.split(x, size) for x in (q, k, v, bias)), strict=True)
    attend = functional.scaled_dot_product_attention
    return torch.cat([checkpoint(attend, *part, dropout_p=rate, use_reentrant=False) for part in parts])


class FusionLayer(nn.Module):
    """Post-norm transformer layer: attention, then a ReLU network, each added to its input and normalised.

    Parameters
    ----------
    config
        ``hidden``, ``heads``, ``ffn``, ``dropout``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden
        self.heads, self.rate = config.heads, config.dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = nn.Linear(width, config.ffn)
        self.outer = nn.Linear(config.ffn, width)
        self.norm_attention = nn.LayerNorm(width)
        self.norm_network = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        tokens: Float[Tensor, "stays tokens d"],
        bias: Float[Tensor, "stays 1 tokens tokens"],
        queries: Int[Tensor, " queries"] | None = None,
    ) -> Float[Tensor, "stays queries d"]:
        """One layer; with `queries`, only those tokens' outputs are computed."""
        width = tokens.shape[-1]
        if queries is None:
            asking = tokens
            q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        else:
            asking, bias = tokens[:, queries], bias[:, :, queries]
            weight, offset = self.qkv.weight, self.qkv.bias
            q = functional.linear(asking, weight[:width], offset[:width])
            k, v = functional.linear(tokens, weight[width:], offset[width:]).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        rate = self.rate if self.training else 0.0
        mixed = attention(q, k, v, bias.to(q.dtype), rate)
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        tokens = self.norm_attention(asking + self.dropout(mixed))
        raised = self.outer(self.dropout(functional.relu(self.inner(tokens))))
        normed: Tensor = self.norm_network(tokens + self.dropout(raised))
        return normed


class Fusion(nn.Module):
    """Special tokens, learned positions and the fusion layers (methods.md B.2, B.3).

    Positions and the combination and CLS tokens start at zero. The last layer is computed for the four special tokens
    alone, since nothing reads the others' outputs after it.

    Parameters
    ----------
    config
        The network's sizes.
    """

    SPECIAL_SCALE = 0.02  # standard deviation of the task token's first values

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden
        self.kind = config.attention_mask
        self.special = nn.Parameter(torch.zeros(4, width))
        nn.init.normal_(self.special[0].data, std=self.SPECIAL_SCALE)
        self.series_positions = nn.Parameter(torch.zeros(config.max_positions, width))
        self.note_positions = nn.Parameter(torch.zeros(config.max_positions, width))
        self.layers = nn.ModuleList(FusionLayer(config) for _ in range(config.fusion_layers))
        self.pattern: Tensor
        self.register_buffer("pattern", torch.tensor(PATTERN, dtype=torch.bool), persistent=False)

    def forward(
        self,
        series: Float[Tensor, "stays steps d"],
        series_valid: Bool[Tensor, "stays steps"],
        notes: Float[Tensor, "stays passages d"],
        notes_valid: Bool[Tensor, "stays passages"],
    ) -> Float[Tensor, "stays 4 d"]:
        """Fused [task, combo, EHR-CLS, NOTE-CLS] tokens."""
        stays, steps, passages = series.shape[0], series.shape[1], notes.shape[1]
        groups = token_groups(steps, passages, series.device)
        task, combo, series_cls, note_cls = self.special.to(series.dtype).unsqueeze(1).unbind(0)
        tokens = torch.cat(
            (
                task.expand(stays, 1, -1),
                combo.expand(stays, 1, -1),
                series_cls.expand(stays, 1, -1),
                series + self.series_positions[:steps],
                note_cls.expand(stays, 1, -1),
                notes + self.note_positions[:passages],
            ),
            dim=1,
        )
        has_series, has_note = series_valid.any(1, keepdim=True), notes_valid.any(1, keepdim=True)
        always = torch.ones_like(has_series)
        present = torch.cat((always, has_series & has_note, has_series, series_valid, has_note, notes_valid), dim=1)
        bias = attention_bias(groups, present, self.kind, self.pattern)
        for layer in self.layers[:-1]:
            tokens = layer(tokens, bias)
        ends = torch.arange(4, device=series.device)
        ends[3] += steps
        fused: Tensor = self.layers[-1](tokens, bias, ends)
        return fused
