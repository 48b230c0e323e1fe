"""The one training loop: MIRACL's Algorithm 1 (methods.md A.2), its line numbers in the margin.

The trainer reads a cohort through `core.cohort.tensors`, hence the training tables alone. Randomness comes from
(seed, epoch), so that a run that was killed goes on from its last epoch as if nothing had happened.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from core.batching import in_order, load, plan_batches
from core.checkpoint import load_checkpoint, save_checkpoint
from core.cohort.store import Cohort
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import TrainConfig
from core.correction.cooccurrence import cooccurrence, negative_filter
from core.correction.relabel import corrected_labels, predicted_labels
from core.errors import ConfigError, RunError
from core.locks import Pairs, lay_on_pairs, locks_digest
from core.metrics.ranking import ranking_metrics
from core.models.losses import contrastive, masked_bce
from core.models.miracl import Batch, MiraclModel, Output
from core.progress import Progress, Silent, in_quarters
from core.round_output import write_round
from core.round_tables import Round
from core.run_folder import claim, holding, identity_digest, write_log
from core.run_state import State, fresh, restore, snapshot
from core.schedules import beta, learning_rate, weight_decay
from core.selection.dynamics import correct_predictions, label_prevalence
from core.selection.partition import Selection, select

HISTORY_SCALE = 255  # a probability is kept as one byte an epoch, round(255·p)
TERMS = ("total", "bce", "corrected", "ortho", "moe", "series_head", "note_head", "contrast")


def _never() -> bool:
    return False


def train_round(
    cohort: Cohort,
    run_dir: Path,
    config: TrainConfig,
    *,
    locks: pa.Table | None = None,
    round_id: int,
    parent: int | None = None,
    decisions: tuple[int, int, str] = (0, 0, ""),
    seed: int = 30,
    device: str = "auto",
    budget: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = _never,
) -> Path | None:
    """Train one round and write its tables; go on where an earlier call was killed or stopped.

    Parameters
    ----------
    cohort
        As `open_cohort` gave it.
    run_dir
        The run's folder: ``config.json``, ``checkpoint.pt``, ``log.jsonl`` and, when done, ``out/``.
    config
        Every option (`core.config.make_config`).
    locks
        Decisions: stay_id int64, label_key text, value float, locked bool. A locked pair is trained on as decided,
        takes no part in mixtures, and is never corrected or flagged; the value of another is its soft target.
    round_id, parent, decisions
        For the record: this round, the one before, and (count, last id, head hash) of the decisions read.
    seed
        Of weights, batches and dropout.
    device
        ``auto``, ``cpu`` or ``cuda``.
    budget
        Pairs to flag; None for the config's share of the round's pairs.
    cache_dir
        Where packed tensors are kept; the run's folder by default.
    progress, should_stop
        Who watches, and who may stop the run: asked before each batch.

    Returns
    -------
    Path or None
        ``run_dir/out``, complete; None when `should_stop` said so, in which case the same call goes on from the last
        completed epoch.

    Raises
    ------
    RunError
        When the folder holds another run or is in use, checkpoints are cut short, or the loss is not finite.
    """
    place, watch = choose_device(device), progress or Silent()
    with holding(run_dir), torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        count, last, head = decisions
        identity = {
            "config": config.to_dict(),
            "cohort_fingerprint": cohort.fingerprint,
            "locks": locks_digest(locks),
            "seed": seed,
            "round_id": round_id,
            "device": place.type,
            "parent": parent,
            "decisions": {"count": count, "last_id": last, "head": head},
        }
        claim(run_dir, identity)
        if (run_dir / "out").is_dir():
            return run_dir / "out"
        watch.stage("packing series and notes")
        packed = pack_cohort(cohort, config.tensors, cache_dir or run_dir / "cache", in_quarters(watch))
        pairs = lay_on_pairs(packed, locks)
        return _train(cohort, packed, run_dir, config, identity, pairs, place, budget, watch, should_stop)


def _train(
    cohort: Cohort,
    packed: PackedCohort,
    run_dir: Path,
    config: TrainConfig,
    identity: dict[str, Any],
    pairs: Pairs,
    place: torch.device,
    budget: int | None,
    watch: Progress,
    should_stop: Callable[[], bool],
) -> Path | None:
    optim, seed, last = config.optim, int(identity["seed"]), config.optim.epochs
    training_rows = np.flatnonzero(pairs.training)
    test_rows = np.flatnonzero(np.asarray(packed.is_test) & pairs.stated.any(1))
    if len(training_rows) == 0:
        raise RunError("training stays with stated labels", "none", "build a cohort with coded training stays")
    size = optim.batch_size(len(training_rows))
    test_batches = in_order(test_rows, packed.series_lengths, size)
    eligible = _eligible(pairs, config)
    threshold = label_prevalence(pairs.observed, pairs.member) if config.selection.correct_threshold != "half" else 0.5
    stated, base = torch.from_numpy(pairs.stated).to(place), torch.from_numpy(pairs.base).to(place)

    torch.manual_seed(seed)
    model = MiraclModel(packed.n_series_features, packed.note_dim, len(packed.label_keys), config.model)  # 3
    model.to(place)
    optimiser = torch.optim.Adam(model.parameters(), lr=optim.learning_rate, fused=True)
    state = fresh(pairs, config, place)
    saved = load_checkpoint(run_dir)
    if saved is not None:
        if saved["identity"] != identity_digest(identity):
            raise RunError("a checkpoint of this run", "one of another", "remove the run's folder to train anew")
        restore(saved, model, optimiser, state)
    watch.start(last, math.ceil(len(training_rows) / size), state.epoch)

    for t in range(state.epoch + 1, last + 1):  # 4
        began = time.perf_counter()
        torch.manual_seed(_epoch_seed(seed, t))
        correcting = t > optim.warm_up
        b = beta(t, optim.beta_origin, optim.beta_final, optim.warm_up, last) if correcting else 0.0
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(t, optim.learning_rate, optim.scheduler, last)
            group["weight_decay"] = weight_decay(t, optim.warm_up, optim.weight_decay)
        corrected = torch.from_numpy(state.corrected).to(place)
        batches = plan_batches(
            training_rows, packed.series_lengths, packed.note_lengths, packed.patient_ids, size=size, seed=seed,
            epoch=t, sampler=optim.sampler, group_size=optim.group_size, bucket_steps=optim.bucket_steps,
        )  # fmt: skip
        sums = torch.zeros(len(TERMS) + 1, device=place)
        model.train()
        for batch in load(packed, batches, place):
            if should_stop():
                watch.finish()
                return None
            with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
                output = model(batch)
            rows = batch.rows
            terms = objective(output, batch, base[rows], corrected[rows], stated[rows], b, config)  # 5–10
            optimiser.zero_grad()
            torch.autograd.backward(terms[0])
            optimiser.step()
            record(output, rows, state.probability)
            sums += terms.detach() * len(rows)
            watch.advance()
        if optim.record == "eval":
            score(model, packed, in_order(training_rows, packed.series_lengths, size), place, state.probability)
        score(model, packed, test_batches, place, state.probability)
        probability, *heads = state.probability.cpu().numpy()
        means = (sums / len(training_rows)).tolist()
        if not all(map(math.isfinite, means)) or not np.isfinite(probability).all():
            raise RunError("a finite loss", f"NaN or infinity in epoch {t}", "lower optim.learning_rate")
        state.history[t - 1] = np.rint(HISTORY_SCALE * probability)
        state.dynamics.update(correct_predictions(probability, pairs.observed, threshold))

        counts = {"clean": int(pairs.member.sum()), "uncertain": 0, "noisy": 0, "locked": int(pairs.locked.sum())}
        if t >= optim.warm_up:  # 11
            selection = _select(state, pairs, eligible, config, t)  # 12–16
            predicted = predicted_labels(
                probability, heads[0], heads[1], packed.has_series, packed.has_note, config.correction
            )
            state.corrected = corrected_labels(  # 8
                pairs.base, predicted, selection.uncertainty, pairs.observed, eligible, pairs.member,
                previous=state.corrected if correcting else None, config=config.correction,
            )  # fmt: skip
            counts = selection.counts(pairs.member)
        seconds = time.perf_counter() - began
        state.epoch = t
        state.rows.append(
            {
                "epoch": t,
                "seconds": seconds,
                "learning_rate": optimiser.param_groups[0]["lr"],
                "beta": b,
                **{f"loss_{name}": value for name, value in zip(TERMS, means, strict=False)},
                "cross_visit_anchor_share": means[-1],
                **{f"n_{name}": n for name, n in counts.items()},
                **_test_metrics(probability[test_rows], packed, test_rows),
            }
        )
        save_checkpoint(run_dir, {"identity": identity_digest(identity), **snapshot(model, optimiser, state)})
        write_log(run_dir, state.rows)
        left = (last - t) * sum(row["seconds"] for row in state.rows) / t
        watch.describe(t, means[0], counts["clean"], counts["uncertain"], counts["noisy"], left)

    watch.stage("writing the round")  # 19
    selection = _select(state, pairs, eligible, config, last)
    made = Round(identity, config, cohort, packed, pairs, eligible, selection, state.corrected,
                 state.probability.cpu().numpy(), state.history, state.rows)  # fmt: skip
    out = write_round(run_dir / "out", made, model, place, budget, watch)
    watch.finish()
    return out


def objective(
    output: Output, batch: Batch, base: Tensor, corrected: Tensor, stated: Tensor, beta_t: float, config: TrainConfig
) -> Tensor:
    """Loss of a batch and its terms (methods.md A.7, Eq. 11).

    L = β·BCE(p, Ỹcorr) + (1-β)·BCE(p, ỹ) + w·L_ortho + L_moe + λ·(BCE(p^E, ỹ) + BCE(p^N, ỹ) + L_cons); warming up is
    β = 0. A head's loss is over the stays that have its modality.

    Returns
    -------
    Tensor
        float32: the total, the seven terms of `TERMS` unweighted but for L_moe, and the cross-visit share of anchors.
    """
    loss = config.loss
    bce = masked_bce(output.logits, base, stated)
    fixed = masked_bce(output.logits, corrected, stated) if beta_t > 0 else bce
    nothing = torch.zeros((), device=bce.device)
    series_head = note_head = contrast = crossing = nothing
    if loss.heads == "lambda":
        series_head = masked_bce(output.logits_series, base, stated & output.has_series.unsqueeze(1))
        note_head = masked_bce(output.logits_note, base, stated & output.has_note.unsqueeze(1))
    if loss.contrast != "off":
        contrast, crossing = contrastive(
            output.h_series, output.h_note, output.has_series, output.has_note, batch.patient, loss.temperature,
            loss.contrast,
        )  # fmt: skip
    moe = loss.balance * output.balance
    total = (
        beta_t * fixed
        + (1 - beta_t) * bce
        + loss.ortho * output.ortho
        + moe
        + loss.lambda_cons * (series_head + note_head + contrast)
    )
    return torch.stack((total, bce, fixed, output.ortho, moe, series_head, note_head, contrast, crossing))


@torch.no_grad()
def record(output: Output, rows: Tensor, into: Tensor) -> None:
    """Write a batch's probabilities (fused, series head, note head) at its stays' rows."""
    for k, logits in enumerate((output.logits, output.logits_series, output.logits_note)):
        into[k, rows] = logits.detach().float().sigmoid()


@torch.no_grad()
def score(
    model: MiraclModel, packed: PackedCohort, batches: list[np.ndarray], place: torch.device, into: Tensor
) -> None:
    """Record probabilities in evaluation mode."""
    model.eval()
    for batch in load(packed, batches, place):
        with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
            output = model(batch)
        record(output, batch.rows, into)


def choose_device(name: str) -> torch.device:
    """Take the device of that name; ``auto`` is CUDA where there is one.

    Raises
    ------
    ConfigError
        On another name, or where CUDA is asked for and absent.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError("device auto, cpu or cuda", repr(name), "choose one of them")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("a CUDA device", "none that torch can use", "train with device cpu")
    cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")


def _eligible(pairs: Pairs, config: TrainConfig) -> np.ndarray:
    """Z⁻ from the labels as far as they are known, and every observed positive; constant over a round."""
    of_training = pairs.stated & pairs.training[:, None]
    counts = cooccurrence(pairs.known, of_training)
    eligible = negative_filter(pairs.known, pairs.stated, pairs.member, counts, config.filter)
    return np.asarray(eligible | (pairs.observed == 1))


def _select(state: State, pairs: Pairs, eligible: np.ndarray, config: TrainConfig, epoch: int) -> Selection:
    """Rank, difficulty, Z, 2L mixtures, partition and U from the state at the end of an epoch (A.2, step 3)."""
    return select(
        state.probability[0].cpu().numpy(), pairs.observed, pairs.member, state.dynamics, config.selection,
        config.mixture, locked=pairs.locked, eligible=eligible, fit_on_eligible=config.filter.place == "before_fit",
        uncertainty_source=config.correction.uncertainty_source,
        alpha=config.selection.alpha_at(epoch, config.optim.warm_up, config.optim.epochs),
    )  # fmt: skip


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
