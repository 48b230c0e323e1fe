"""Evidence for flagged pairs: which passages and channel-hours moved the probability, and which words name the label.

Gradient × input (Simonyan et al. 2013; Shrikumar et al. 2016): e = x ⊙ ∂z_l/∂x, z_l the logit of label l, signed, in
logits. Summed over a passage's vector it is the passage's weight; over a channel's features and a run of neighbouring
bins, the channel-hours'. Each stay is explained by itself: another visit of the patient shows its own attribution for
the same label, since no gradient crosses stays. Offsets only, never a copy of the text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from core.attribution import Items, note_items, series_items
from core.cohort.store import Cohort
from core.cohort.tensors import PackedCohort, gather
from core.cohort.terms import TermConfig, find_terms
from core.errors import ConfigError, RunError
from core.hints import Int

Forward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Progress = Callable[[str, int, int], None]

EVIDENCE = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label_id", pa.int16(), False),
        pa.field("kind", pa.string(), False),
        pa.field("evidence_stay_id", pa.int64(), False),
        pa.field("note_id", pa.int64()),
        pa.field("char_start", pa.int32()),
        pa.field("char_end", pa.int32()),
        pa.field("channel", pa.string()),
        pa.field("hour_start", pa.float32()),
        pa.field("hour_end", pa.float32()),
        pa.field("method", pa.string(), False),
        pa.field("negated", pa.bool_()),
        pa.field("weight", pa.float32(), False),
    ]
)


@dataclass(frozen=True)
class EvidenceConfig:
    """How much evidence is kept.

    Parameters
    ----------
    max_pairs
        Flagged pairs explained, the most suspicious first (architecture.md: 2,000).
    top_series, top_notes
        Channel-hour runs and passages kept of each visit, by magnitude.
    floor
        A cell of channel and bin joins a run when its magnitude is at least this share of the visit's largest.
    max_terms, max_terms_visit
        Term matches kept of a pair, and of one visit, the pair's own stay first, in reading order.
    batch_steps
        Bins worked on at a time; bounds memory.
    terms
        Reach of negations.
    """

    max_pairs: int = 2000
    top_series: int = 8
    top_notes: int = 5
    floor: float = 0.05
    max_terms: int = 20
    max_terms_visit: int = 8
    batch_steps: int = 1 << 13
    terms: TermConfig = field(default_factory=TermConfig)

    def __post_init__(self) -> None:
        for name in ("max_pairs", "top_series", "top_notes", "max_terms", "max_terms_visit"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} of 0 or more", str(getattr(self, name)), "mend the evidence options")
        if not 0 <= self.floor <= 1 or self.batch_steps < 1:
            raise ConfigError("floor in [0, 1], batch_steps of 1 or more", "others", "mend the evidence options")


@contextmanager
def attribution_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode with gradients; cuDNN off on CUDA, whose recurrent layers have no backward in that mode.

    What was set before is put back, also after an error.
    """
    before = {module: module.training for module in model.modules()}
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    model.eval()
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False) if on_cuda else nullcontext():
            yield
    finally:
        for module, training in before.items():
            module.training = training


def gradient_times_input(
    forward: Forward, series: Tensor, series_lengths: Tensor, notes: Tensor, note_lengths: Tensor, label: int
) -> tuple[Tensor, Tensor]:
    """Give x ⊙ ∂z_l/∂x for both inputs, one backward for the batch.

    Parameters
    ----------
    forward
        Gives logits [B, L]; rows must not depend on one another.
    series, notes
        float32 [B, T, F], [B, S, D].
    series_lengths, note_lengths
        int64 [B].
    label
        Which logit.

    Returns
    -------
    series, notes
        Shaped as the inputs, in logits; zero where `forward` ignores an input.
    """
    inputs = (series.detach().requires_grad_(), notes.detach().requires_grad_())

    def both(of_series: Tensor, of_notes: Tensor) -> Tensor:
        # An input that the batch doesn't use (no stay has notes) still gets a gradient: zero.
        unused = (of_series.sum() + of_notes.sum()) * 0.0
        logits = forward(of_series, series_lengths, of_notes, note_lengths)
        return logits + unused

    try:
        from captum.attr import InputXGradient
    except ImportError:
        gradients = torch.autograd.grad(both(*inputs)[:, label].sum(), inputs)
        return inputs[0].detach() * gradients[0], inputs[1].detach() * gradients[1]
    series_part, notes_part = InputXGradient(both).attribute(inputs, target=label)
    return series_part.detach(), notes_part.detach()


def _batches(rows: np.ndarray, lengths: np.ndarray, batch_steps: int) -> list[np.ndarray]:
    """Rows of like length together, each batch with at most `batch_steps` padded steps, or a single row."""
    ordered = rows[np.lexsort((rows, lengths[rows]))]
    batches = []
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered) and (stop + 1 - start) * max(1, int(lengths[ordered[stop]])) <= batch_steps:
            stop += 1
        batches.append(ordered[start:stop])
        start = stop
    return batches


def _attributions(
    packed: PackedCohort,
    rows: np.ndarray,
    label: int,
    forward: Forward,
    device: torch.device,
    config: EvidenceConfig,
) -> Items:
    """Attributions of some stays for one label."""
    lengths = packed.series_lengths + packed.note_lengths
    parts = []
    for batch in _batches(rows[lengths[rows] > 0], lengths, config.batch_steps):
        series, series_lengths = gather(packed.series.values, packed.series.offsets, batch)
        notes, note_lengths = gather(packed.notes.vectors, packed.notes.offsets, batch)
        given = [torch.from_numpy(array).to(device) for array in (series, series_lengths, notes, note_lengths)]
        of_series, of_notes = gradient_times_input(forward, given[0], given[1], given[2], given[3], label)
        found = []
        for part, count in ((of_series, series_lengths), (of_notes, note_lengths)):
            values = part.float().cpu().numpy()
            values[np.arange(values.shape[1])[None, :] >= count[:, None]] = 0.0
            if not np.isfinite(values).all():
                raise RunError("finite gradients for the evidence", "NaN or infinity", "lower the learning rate")
            found.append(values)
        parts.append(series_items(packed, batch, label, found[0], config.top_series, config.floor))
        parts.append(note_items(packed, batch, label, found[1], config.top_notes))
    return Items.joined(parts)


def _visits(patient_ids: np.ndarray, pair_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every (pair, stay row of its patient): places in `pair_rows` and rows, both int64."""
    order = np.argsort(patient_ids, kind="stable")
    ids = patient_ids[order]
    begin = np.searchsorted(ids, patient_ids[pair_rows], side="left")
    counts = np.searchsorted(ids, patient_ids[pair_rows], side="right") - begin
    pair = np.repeat(np.arange(len(pair_rows)), counts)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    return pair, order[begin[pair] + within]


def _of_pairs(pair: np.ndarray, row: np.ndarray, label: np.ndarray, items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Join (pair, visit) with the items of that visit and label: places in `pair`, and in `items`."""
    wide = 1 + int(max(label.max(initial=0), items.label.max(initial=0)))
    key = items.row * wide + items.label
    order = np.argsort(key, kind="stable")
    wanted = row * wide + label
    begin = np.searchsorted(key[order], wanted, side="left")
    counts = np.searchsorted(key[order], wanted, side="right") - begin
    left = np.repeat(np.arange(len(pair)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, order[begin[left] + within]


def explain(
    cohort: Cohort,
    packed: PackedCohort,
    pair_rows: Int[np.ndarray, " pairs"],
    pair_labels: Int[np.ndarray, " pairs"],
    forward: Forward | None,
    device: torch.device,
    config: EvidenceConfig | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Explain flagged pairs.

    Parameters
    ----------
    cohort, packed
        The cohort and its packed form, row for row.
    pair_rows, pair_labels
        Flagged pairs, the most suspicious first: stay row and label id. The first `max_pairs` are explained.
    forward
        (series, series_lengths, notes, note_lengths) to logits [B, L]; in evaluation mode (`attribution_mode`),
        float32, rows independent. None where they are not (a method with `companions`): a stay's gradient would then
        be credited with what moved others, so that words alone are found.
    device
        Where `forward` computes.
    config
        How much is kept.
    progress
        Told ("evidence", labels done, labels in all).

    Returns
    -------
    pyarrow.Table
        Columns of `EVIDENCE`. ``gradient`` rows carry signed weights in logits, + pushes the probability up; ``term``
        rows carry `negated` and weight 0, since they move nothing. Sorted; the same for the same input.

    Raises
    ------
    RunError
        When a gradient isn't finite.
    """
    config = config or EvidenceConfig()
    pair_rows = np.asarray(pair_rows, dtype=np.int64)[: config.max_pairs]
    pair_labels = np.asarray(pair_labels, dtype=np.int64)[: config.max_pairs]
    pair, row = _visits(packed.patient_ids, pair_rows)
    label = pair_labels[pair]
    parts = []
    wanted = np.unique(label) if forward is not None else np.empty(0, np.int64)
    for done, one in enumerate(wanted.tolist(), start=1):
        assert forward is not None
        parts.append(_attributions(packed, np.unique(row[label == one]), one, forward, device, config))
        if progress is not None:
            progress("evidence", done, len(wanted))
    items = Items.joined(parts)
    left, right = _of_pairs(pair, row, label, items)
    gradient = _gradient_table(packed, pair_rows[pair[left]], items, right)
    terms = _term_table(cohort, packed, pair_rows, pair_labels, pair, row, config)
    table = pa.concat_tables([gradient, terms])
    magnitude = pa.array(-np.abs(table["weight"].to_numpy()))
    keys = ["stay_id", "label_id", "kind", "method", "magnitude", "evidence_stay_id", "note_id", "char_start"]
    keys += ["channel", "hour_start"]
    ordered = table.append_column("magnitude", magnitude).sort_by([(key, "ascending") for key in keys])
    return ordered.drop_columns(["magnitude"])


def _gradient_table(packed: PackedCohort, pair_row: np.ndarray, items: Items, right: np.ndarray) -> pa.Table:
    is_note = items.is_note[right]
    begin, end = items.begin[right], items.end[right]
    names = np.array(packed.series.channels, dtype=object)
    n = len(right)
    columns = {
        "stay_id": packed.stay_ids[pair_row],
        "label_id": items.label[right].astype(np.int16),
        "kind": pa.array(np.where(is_note, "note", "series").tolist(), pa.string()),
        "evidence_stay_id": packed.stay_ids[items.row[right]],
        "note_id": pa.array(items.note_id[right], mask=~is_note),
        "char_start": pa.array(begin.astype(np.int32), mask=~is_note),
        "char_end": pa.array(end.astype(np.int32), mask=~is_note),
        "channel": pa.array(names[items.channel[right]], pa.string(), mask=is_note),
        "hour_start": pa.array(begin.astype(np.float32), mask=is_note),
        "hour_end": pa.array(end.astype(np.float32), mask=is_note),
        "method": pa.array(["gradient"] * n, pa.string()),
        "negated": pa.nulls(n, pa.bool_()),
        "weight": items.weight[right].astype(np.float32),
    }
    return pa.table(columns, schema=EVIDENCE)


def _term_table(
    cohort: Cohort,
    packed: PackedCohort,
    pair_rows: np.ndarray,
    pair_labels: np.ndarray,
    pair: np.ndarray,
    row: np.ndarray,
    config: EvidenceConfig,
) -> pa.Table:
    """Words that name the label in any note of the patient, also those that only readers see."""
    stay_row = np.searchsorted(packed.stay_ids, cohort.notes["stay_id"].to_numpy())
    note_ids = cohort.notes["note_id"].to_numpy()
    texts = cohort.notes["text"]
    first = np.searchsorted(stay_row, np.arange(len(packed.stay_ids) + 1))
    known: dict[tuple[int, int], list[tuple[int, int, int, bool]]] = {}

    def of_visit(visit: int, label: int) -> list[tuple[int, int, int, bool]]:
        if (visit, label) not in known:
            found = [
                (int(note_ids[note]), match.start, match.end, match.negated)
                for note in range(first[visit], first[visit + 1])
                for match in find_terms(texts[note].as_py(), packed.label_keys[label], config=config.terms)
            ]
            known[visit, label] = found[: config.max_terms_visit]
        return known[visit, label]

    rows = []
    edges = np.searchsorted(pair, np.arange(len(pair_rows) + 1))
    for i, (own, label) in enumerate(zip(pair_rows.tolist(), pair_labels.tolist(), strict=True)):
        visits = row[edges[i] : edges[i + 1]].tolist()
        visits.sort(key=lambda visit, own=own: (visit != own, visit))
        found = [(visit, match) for visit in visits for match in of_visit(visit, label)]
        rows += [
            {
                "stay_id": int(packed.stay_ids[own]),
                "label_id": label,
                "kind": "note",
                "evidence_stay_id": int(packed.stay_ids[visit]),
                "note_id": note_id,
                "char_start": start,
                "char_end": end,
                "method": "term",
                "negated": negated,
                "weight": 0.0,
            }
            for visit, (note_id, start, end, negated) in found[: config.max_terms]
        ]
    return pa.Table.from_pylist(rows, EVIDENCE)
