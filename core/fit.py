"""The one training loop: MIRACL's Algorithm 1 (methods.md A.2), its line numbers in the margin.

Every comparison method goes through it; what differs stands in `core.methods`. Randomness comes from (seed, epoch), so
that a run that was killed goes on from its last epoch as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.batching import in_order, plan_batches
from core.calibrated.posterior import Rates
from core.checkpoint import load_checkpoint, save_checkpoint
from core.cohort.tensors import PackedCohort
from core.config import TrainConfig
from core.distributed import Ranks, Shared, check_shareable, lonely
from core.errors import RunError
from core.execution import Execution
from core.hints import Bool, Float
from core.locks import Pairs
from core.methods.base import TERMS, EpochEnd, Method, Setting
from core.methods.registry import make_method
from core.methods.sources import LabelSources
from core.metrics.ranking import ranking_metrics
from core.models.miracl import Output
from core.progress import Halted, Progress, Silent, halting, nothing
from core.resident import Feed, feeds
from core.run_folder import write_log
from core.run_state import State, fresh, restore, snapshot
from core.schedules import learning_rate, weight_decay
from core.selecting import count_epoch, last_selection
from core.selection.dynamics import label_prevalence
from core.selection.partition import Selection
from core.traces import LOGIT_LIMIT, Traces


@dataclass(frozen=True)
class Fitted:
    """A trained network and what it says of every pair.

    Parameters
    ----------
    model, method
        The network of the last epoch, and the method.
    probability
        float32 [3, stays, labels]: fused, series head, note head. Training stays' as recorded (`optim.record`).
    traces
        The course of training, the last epoch's selection in it.
    selection
        MIRACL's score, partition and mixtures of the last epoch, whatever the method.
    eligible
        bool [stays, labels], Z⁻.
    corrected
        float32 [stays, labels], the labels that the method would hand out.
    error_probability
        float32 [stays, labels], P(label wrong); None where the method says nothing of it.
    rates
        Estimated noise rates; None where there are none.
    rows
        A row of the table ``epoch`` for each epoch.
    """

    model: nn.Module
    method: Method
    probability: Float[np.ndarray, "three stays labels"]
    traces: Traces
    selection: Selection
    eligible: Bool[np.ndarray, "stays labels"]
    corrected: Float[np.ndarray, "stays labels"]
    error_probability: Float[np.ndarray, "stays labels"] | None
    rates: Rates | None
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Checkpoints:
    """Where a run keeps its checkpoints and log, and the digest it names itself by."""

    folder: Path
    identity: str


def never() -> bool:
    """Nobody stops the run."""
    return False


def fit(
    packed: PackedCohort,
    pairs: Pairs,
    config: TrainConfig,
    *,
    seed: int,
    place: torch.device,
    persistence: tuple[str, ...] = (),
    sources: LabelSources | None = None,
    with_peer: bool = False,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = never,
    execution: Execution = Execution(),
) -> Fitted | None:
    """Train a network by the method that the config names.

    Parameters
    ----------
    packed, pairs
        Inputs, and labels with the decisions laid on them.
    config
        Every option (`core.config.make_config`).
    seed
        Of weights, batches and dropout.
    place
        The device.
    persistence
        Of each label, for detectors that compare visits; ``recurrent`` for all where not given.
    sources
        Several sources' labels, for the methods that weigh them.
    with_peer
        Fit the regression on hand-made features too, so that the traces hold its out-of-fold probabilities.
    checkpoints
        Where to keep them; without, a stopped run starts anew.
    ranks
        The processes that train together (`core.distributed`); this one alone where not given.
    progress, should_stop
        Who watches, and who may stop the run: asked before each batch and each fit of the regression beside the
        network; of several processes the first, each epoch.
    execution
        How it is computed: where data and selection are, precision, compilation.

    Returns
    -------
    Fitted or None
        None when `should_stop` said so. Of several processes each has the same.

    Raises
    ------
    RunError
        When no training stay has a label, checkpoints are cut short or another run's, or the loss is not finite.
    """
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        together = ranks or lonely(place)
        # One of several processes must not leave the others waiting: they are asked together, each epoch.
        ask = halting(should_stop) if together.alone else nothing
        setting = Setting(config, packed, pairs, place, seed, sources, persistence, ask, execution)
        watch = progress or Silent()
        try:
            return _fit(setting, persistence, with_peer, checkpoints, together, watch, should_stop)
        except Halted:
            watch.finish()
            return None


def _fit(
    setting: Setting,
    persistence: tuple[str, ...],
    with_peer: bool,
    checkpoints: Checkpoints | None,
    ranks: Ranks,
    watch: Progress,
    should_stop: Callable[[], bool],
) -> Fitted | None:
    config, packed, pairs, place, seed = setting.config, setting.packed, setting.pairs, setting.place, setting.seed
    optim, last = config.optim, config.optim.epochs
    training_rows = np.flatnonzero(pairs.training)
    test_rows = np.flatnonzero(np.asarray(packed.is_test) & pairs.stated.any(1))
    if len(training_rows) == 0:
        raise RunError("training stays with stated labels", "none", "build a cohort with coded training stays")
    size = optim.batch_size(len(training_rows))
    threshold = label_prevalence(pairs.observed, pairs.member) if config.selection.correct_threshold != "half" else 0.5
    out_of_fold = setting.peer.probability if with_peer else None

    method = make_method(setting)
    if not ranks.alone:
        check_shareable(method)
    series_lengths, note_lengths = packed.series_lengths, packed.note_lengths
    if method.companions:
        series_lengths, note_lengths = np.zeros_like(series_lengths), np.zeros_like(note_lengths)
    test_batches = in_order(test_rows, series_lengths, size)
    torch.manual_seed(seed)
    model = method.network().to(place)  # 3
    optimiser = method.optimiser(model)
    state = fresh(pairs, config, place, setting.execution)
    if checkpoints is not None:
        saved = ranks.agree(load_checkpoint(checkpoints.folder) if ranks.first else None)
        if saved is not None:
            if saved["identity"] != checkpoints.identity:
                raise RunError("a checkpoint of this run", "one of another", "remove the run's folder to train anew")
            restore(saved, model, optimiser, method, state)

    feed, feed_scored = feeds(packed, place, setting.execution, ranks.alone)
    setting.execution.prepare(model)
    learner = model if ranks.alone else Shared(model, ranks)
    score = partial(score_batches, model, feed_scored, setting.execution, ranks)

    def traces(selection: Selection | None = None) -> Traces:
        return Traces(
            logits=state.logits[: state.epoch], feature_norm=state.feature_norm[: state.epoch],
            embedding=state.embedding.cpu().numpy(), observed=pairs.observed, member=pairs.member, stated=pairs.stated,
            patient=np.asarray(packed.patient_ids), visit=np.asarray(packed.visit),
            persistence=persistence or ("recurrent",) * len(packed.label_keys), out_of_fold=out_of_fold,
            selection=selection,
        )  # fmt: skip

    watch.start(last, math.ceil(len(training_rows) / size), state.epoch)
    for t in range(state.epoch + 1, last + 1):  # 4
        began = time.perf_counter()
        torch.manual_seed(_epoch_seed(seed, t) + ranks.rank)
        if not ranks.alone and ranks.agree(should_stop()):
            watch.finish()
            return None
        method.begin_epoch(t)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(t, optim.learning_rate, optim.scheduler, last)
            group["weight_decay"] = weight_decay(t, optim.warm_up, optim.weight_decay, optim.decay_from)
        batches = plan_batches(
            training_rows, series_lengths, note_lengths, packed.patient_ids, size=size, seed=seed,
            epoch=t, sampler=optim.sampler, group_size=optim.group_size, bucket_steps=optim.bucket_steps,
        )  # fmt: skip
        sums = torch.zeros(len(TERMS) + 1, device=place)
        norms = torch.zeros(len(packed.stay_ids), device=place)
        model.train()
        for batch in feed(batches):
            if ranks.alone and should_stop():
                watch.finish()
                return None
            output, terms = method.step(learner, optimiser, batch)  # 5–10
            record(output, batch.rows, state, norms)
            sums += terms.detach() * len(batch.rows)
            watch.advance()
        if optim.record == "eval":
            score(in_order(training_rows, series_lengths, size), state, norms)
        score(test_batches, state, norms)
        probability = state.probability.cpu().numpy()
        means = (sums / len(training_rows)).tolist()
        if not all(map(math.isfinite, means)) or not np.isfinite(probability[0]).all():
            raise RunError("a finite loss", f"NaN or infinity in epoch {t}", "lower optim.learning_rate")
        state.epoch = t
        state.logits[t - 1] = _logit(probability[0])
        state.feature_norm[t - 1] = norms.cpu().numpy()
        count_epoch(state.dynamics, probability[0], state.probability[0], pairs, threshold)
        method.end_epoch(t, EpochEnd(probability, state.dynamics, traces(), state.probability))  # 11–18
        method.corrected = ranks.agree_on(method.corrected)  # one word, whatever each host's arithmetic
        state.rows.append(
            {
                "epoch": t,
                "seconds": time.perf_counter() - began,
                "learning_rate": optimiser.param_groups[0]["lr"],
                "beta": float(getattr(method, "blend", 0.0)),
                **{f"loss_{name}": value for name, value in zip(TERMS, means, strict=False)},
                "cross_visit_anchor_share": means[-1],
                **{f"n_{name}": n for name, n in method.counts.items()},
                **_test_metrics(probability[0][test_rows], packed, test_rows),
            }
        )
        if checkpoints is not None and ranks.first:
            body = {"identity": checkpoints.identity, **snapshot(model, optimiser, method, state)}
            save_checkpoint(checkpoints.folder, body)
            write_log(checkpoints.folder, state.rows)
        left = (last - t) * sum(row["seconds"] for row in state.rows) / t
        watch.describe(t, means[0], method.counts["clean"], method.counts["uncertain"], method.counts["noisy"], left)

    probability = state.probability.cpu().numpy()
    selection, eligible = last_selection(state.probability[0], state.dynamics, pairs, config)
    return Fitted(
        model, method, probability, traces(selection), selection, eligible, method.corrected,
        method.error_probability, method.rates, state.rows,
    )  # fmt: skip


@torch.no_grad()
def record(output: Output, rows: Tensor, state: State, norms: Tensor) -> None:
    """Write a batch's probabilities (fused, series head, note head), last layer's input and its norm at its rows."""
    for k, logits in enumerate((output.logits, output.logits_series, output.logits_note)):
        state.probability[k, rows] = logits.detach().float().sigmoid()
    features = output.features.detach().float()
    if state.embedding.shape[1] != features.shape[1]:
        state.embedding = features.new_zeros((len(state.embedding), features.shape[1]))
    state.embedding[rows] = features
    norms[rows] = (features.square().sum(1) + 1).sqrt()


@torch.no_grad()
def score_batches(
    model: nn.Module,
    feed: Feed,
    execution: Execution,
    ranks: Ranks,
    batches: list[np.ndarray],
    state: State,
    norms: Tensor,
) -> None:
    """Record in evaluation mode; of several processes each scores every so-manieth batch, and all have all."""
    model.eval()
    for batch in feed(batches[ranks.rank :: ranks.world]):
        with execution.narrow(state.probability.device):
            output = model(batch)
        record(output, batch.rows, state, norms)
    if batches and not ranks.alone:
        _gather_scored(batches, state, norms, ranks)


def _gather_scored(batches: list[np.ndarray], state: State, norms: Tensor, ranks: Ranks) -> None:
    """Give every process the rows that the others scored."""
    place = state.probability.device
    owner = np.concatenate([np.full(len(rows), i % ranks.world) for i, rows in enumerate(batches)])
    rows = torch.from_numpy(np.concatenate(batches)).to(place)
    mine = torch.from_numpy(owner == ranks.rank).to(place)
    width = ranks.agree(state.embedding.shape[1])
    if state.embedding.shape[1] != width:  # this process has scored nothing yet
        state.embedding = state.probability.new_zeros((len(state.embedding), width))
    state.probability[:, rows] = ranks.joined(torch.where(mine[None, :, None], state.probability[:, rows], 0.0))
    state.embedding[rows] = ranks.joined(torch.where(mine[:, None], state.embedding[rows], 0.0))
    norms[rows] = ranks.joined(torch.where(mine, norms[rows], 0.0))


def _logit(probability: np.ndarray) -> np.ndarray:
    """Log-odds of float32 probabilities, within the limits of half precision."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(p) - np.log1p(-p)
    return np.asarray(np.clip(odds, -LOGIT_LIMIT, LOGIT_LIMIT), np.float16)


def _test_metrics(probability: np.ndarray, packed: PackedCohort, rows: np.ndarray) -> dict[str, float | None]:
    """Metrics of the test split against its recorded labels; None where they have no meaning."""
    names = ("map", "auroc_macro", "auroc_micro", "f1_micro", "f1_macro")
    if len(rows) == 0:
        return {f"test_{name}": None for name in names}
    found = ranking_metrics(packed.observed[rows], probability, packed.stated[rows])
    values = {name: float(getattr(found, name)) for name in names}
    return {f"test_{name}": value if math.isfinite(value) else None for name, value in values.items()}


def _epoch_seed(seed: int, epoch: int) -> int:
    """One seed for torch out of two numbers."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
