"""Attention-on-label: which source to believe, learned beside the network (methods.md C.10)."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from core.hints import Bool, Float
from core.methods.base import EpochEnd, Method
from core.methods.label_attention import attended_label, binarised, source_weights
from core.methods.sources import decided, sources_for
from core.methods.voting import majority
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output


def meta_features(
    model: nn.Module,
    batch: Batch,
    output: Output,
    values: Float[Tensor, "stays sources labels"],
    available: Bool[Tensor, "stays sources labels"],
    rate: float,
) -> Float[Tensor, "stays sources w"]:
    """F_m: what the last layer reads under θ̂_m = θ - α ∇_θ BCE(p, y_m), for each source m (Eq. 1); detached.

    Parameters
    ----------
    model, batch, output
        The network in training mode and its output on the batch, whose graph is kept.
    values, available
        The sources' labels. A source's loss is a mean over the pairs that it states; where it states none of the
        batch's, θ̂_m = θ.
    rate
        α.

    Notes
    -----
    Features are taken without dropout and gate noise, so that they differ by the source alone; the paper's network
    stays in training mode. They are taken in single precision whatever the run's: two sources' features differ by
    little more than bfloat16 rounds. The step is on the classification loss alone.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = []
    training = model.training
    for m in range(values.shape[1]):
        loss = masked_bce(output.logits, values[:, m], available[:, m])
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        stepped = {
            name: p.detach() if g is None else p.detach() - rate * g
            for (name, p), g in zip(parameters.items(), gradients, strict=True)
        }
        model.eval()
        with torch.no_grad():
            found.append(functional_call(model, stepped, (batch,)).features.float())
        model.train(training)
    return torch.stack(found, dim=1)


def cheap_feedback(
    output: Output,
    values: Float[Tensor, "stays sources labels"],
    available: Bool[Tensor, "stays sources labels"],
) -> Float[Tensor, "stays wide"]:
    """[h, p - y_1, …, p - y_M] per stay: features once, then each source's gradient by the logits; detached.

    p - y is 0 where a source says nothing.
    """
    p = output.logits.detach().float().sigmoid().unsqueeze(1)
    return torch.cat((output.features.detach().float(), ((p - values) * available).flatten(1)), dim=1)


@dataclass
class AttentionOnLabel(Method):
    """BCE on the attended label ỹ of M sources; W and b of the attention learn from the same loss through ỹ.

    Each batch: the feedback of every source (`meta_features` or `cheap_feedback`), detached; weights, a softmax over
    the sources that speak; ȳ = Σ w y; ỹ, binarised; then Adam on θ and plain gradient descent on W and b, both by the
    gradient of BCE(p, ỹ) as it stood before either moved.

    Attributes
    ----------
    names
        Of the sources.
    weight, bias
        W [M or M·L, width of the feedback] and b; None before the first batch and with one source only.
    share, label
        w [stays, sources, labels] and ỹ [stays, labels] as last computed for each training stay.

    Notes
    -----
    With one source, w = 1 and this is plain BCE. Where all sources agree nothing can be learned. No clean label is ever
    seen: ∂BCE/∂ỹ = -z rewards the source that the network already agrees with. The softmax runs over sources; in the
    listing its axis is implicit. Pairs that people decided are trained on as decided, and pairs of which no source
    speaks aren't trained on.
    """

    names: tuple[str, ...] = field(init=False)
    values: Float[Tensor, "stays sources labels"] = field(init=False)
    available: Bool[Tensor, "stays sources labels"] = field(init=False)
    decided: Bool[Tensor, "stays labels"] = field(init=False)
    share: Float[Tensor, "stays sources labels"] = field(init=False)
    label: Float[Tensor, "stays labels"] = field(init=False)
    weight: Tensor | None = field(init=False, default=None)
    bias: Tensor | None = field(init=False, default=None)
    attended: Tensor | None = field(init=False, default=None, repr=False)

    def prepare(self) -> None:
        """Lay the sources on the device."""
        pairs, place = self.setting.pairs, self.setting.place
        sources = sources_for(self.setting.sources, pairs)
        fixed = decided(pairs)
        self.names = sources.names
        self.values = torch.from_numpy(np.ascontiguousarray(sources.values.swapaxes(0, 1))).to(place)
        self.available = torch.from_numpy(np.ascontiguousarray(sources.available.swapaxes(0, 1))).to(place)
        self.decided = torch.from_numpy(fixed).to(place)
        given = np.where(pairs.stated, pairs.base, majority(sources).astype(np.float32))
        self.base = torch.from_numpy(given).to(place)
        self.stated = torch.from_numpy(sources.stated | (fixed & pairs.stated)).to(place)
        self.label = self.base.clone()
        self.share = self.available / self.available.sum(1, keepdim=True).clamp_min(1)

    def attend(self, model: nn.Module, output: Output, batch: Batch) -> Float[Tensor, "b labels"]:
        """Weigh the sources of a batch and give ỹ, with its gradient to W and b; notes w and ỹ at the stays' rows."""
        options, rows = self.config.method.attention_on_label, batch.rows
        values, available = self.values[rows], self.available[rows]
        sources, labels = values.shape[1:]
        weights = available.to(values.dtype)
        if sources > 1:
            if options.mode == "full":
                feedback = meta_features(model, batch, output, values, available, options.meta_rate).flatten(1)
            else:
                feedback = cheap_feedback(output, values, available)
            columns = labels if options.weight_scope == "stay_label" else 1
            if self.weight is None or self.bias is None:
                self.weight, self.bias = self.first(sources * columns, feedback)
            scores = functional.linear(feedback, self.weight, self.bias).view(-1, sources, columns)
            weights = source_weights(scores, available)
        mixed = attended_label(weights, values, options.aggregate if sources > 1 else "sum")
        target = binarised(mixed, options.sharpness, options.threshold)
        target = torch.where(self.decided[rows], self.base[rows], target)
        self.share[rows] = weights.detach()
        self.label[rows] = target.detach()
        return target

    def first(self, outputs: int, feedback: Tensor) -> tuple[Tensor, Tensor]:
        """First values of W and b, from the run's seed alone."""
        width = feedback.shape[1]
        bound = self.config.method.attention_on_label.start / math.sqrt(width)
        generator = torch.Generator().manual_seed(self.setting.seed)
        weight, bias = (
            ((2 * torch.rand(shape, generator=generator) - 1) * bound).to(feedback.device).requires_grad_()
            for shape in ((outputs, width), (outputs,))
        )
        return weight, bias

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """BCE(p, ỹ), a mean over the pairs of which a source speaks."""
        target = self.label[batch.rows] if self.attended is None else self.attended
        return masked_bce(output.logits, target, self.stated[batch.rows])

    def step(self, model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> tuple[Output, Tensor]:
        """Forward, weights and ỹ, backward to θ, W and b, update of all three."""
        with self.setting.execution.narrow(self.setting.place):
            output: Output = model(batch)
        self.attended = self.attend(model, output, batch)
        terms = self.objective(output, batch)
        self.attended = None
        optimiser.zero_grad()
        torch.autograd.backward(terms[0])
        optimiser.step()
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                if parameter is not None and parameter.grad is not None:
                    parameter -= self.config.method.attention_on_label.attention_rate * parameter.grad
                    parameter.grad = None
        return output, terms

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Hand out ỹ of the training pairs as the corrected labels."""
        self.hand_out()

    def hand_out(self) -> None:
        """Set `corrected` and `counts` from ỹ as last computed."""
        pairs = self.setting.pairs
        label, stated = self.label.cpu().numpy(), self.stated.cpu().numpy()
        self.corrected = np.where(stated & pairs.member, label, pairs.base)
        against = int((pairs.member & (np.abs(self.corrected - pairs.observed) > 0.5)).sum())
        total = int(pairs.member.sum())
        self.counts = {"clean": total - against, "uncertain": 0, "noisy": against, "locked": int(pairs.locked.sum())}

    @property
    def weights(self) -> Float[np.ndarray, "sources stays labels"]:
        """Each source's w as last computed for a training stay; elsewhere even over the sources that speak."""
        found: np.ndarray = self.share.cpu().numpy().swapaxes(0, 1)
        return found

    @property
    def reliability(self) -> Float[np.ndarray, "sources labels"]:
        """Mean w per source and label over the training pairs that the source states; 0 where it states none."""
        counted = self.available.cpu().numpy().swapaxes(0, 1) & self.setting.pairs.training[:, None]
        found: np.ndarray = (self.weights * counted).sum(1) / np.maximum(counted.sum(1), 1)
        return found

    def state(self) -> dict[str, Tensor]:
        """W, b, and w and ỹ as last computed."""
        kept = {"share": self.share, "label": self.label}
        if self.weight is not None and self.bias is not None:
            kept |= {"weight": self.weight.detach(), "bias": self.bias.detach()}
        return kept

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        place = self.setting.place
        self.share, self.label = state["share"].to(place), state["label"].to(place)
        if "weight" in state:
            self.weight = state["weight"].to(place).clone().requires_grad_()
            self.bias = state["bias"].to(place).clone().requires_grad_()
        self.hand_out()
