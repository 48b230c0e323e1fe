"""Training a round: one run in its folder, from the cohort and the decisions to the round's tables.

The trainer reads a cohort through `core.cohort.tensors`, hence the training tables alone; the loop is `core.fit`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import torch

from core.cohort.store import Cohort
from core.cohort.tensors import pack_cohort
from core.config import TrainConfig
from core.distributed import Ranks, ranks_of
from core.errors import ConfigError
from core.execution import Execution
from core.fit import Checkpoints, fit, never
from core.locks import lay_on_pairs, locks_digest
from core.methods.registry import WEIGHING
from core.methods.sources import LabelSources
from core.progress import Halted, Progress, Silent, halting, in_quarters, nothing
from core.round_output import write_round
from core.round_tables import Round
from core.run_folder import claim, holding, identity_digest


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
    should_stop: Callable[[], bool] = never,
    execution: Execution = Execution(),
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
        Who watches, and who may stop the run: asked before each batch, and in the steps before and after the epochs.
    execution
        How it is computed: where the data lie, precision, compilation. No part of what the run is named by.

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
    count, last, head = decisions
    with ranks_of(choose_device(device)) as ranks, _alone_in(run_dir, ranks):
        watch = progress if progress is not None and ranks.first else Silent()
        ask = halting(should_stop) if ranks.alone else nothing
        identity = {
            "config": config.to_dict(),
            "cohort_fingerprint": cohort.fingerprint,
            "locks": locks_digest(locks),
            "seed": seed,
            "round_id": round_id,
            "device": ranks.place.type,
            "parent": parent,
            "decisions": {"count": count, "last_id": last, "head": head},
        }
        if ranks.first:
            claim(run_dir, identity)
        if ranks.agree((run_dir / "out").is_dir()):
            return run_dir / "out"
        try:
            watch.stage("packing series and notes")
            cache = cache_dir or run_dir / "cache"
            if ranks.first and not ranks.alone:
                pack_cohort(cohort, config.tensors, cache, in_quarters(watch, ask))
            ranks.wait()  # the others find it in the cache
            packed = pack_cohort(cohort, config.tensors, cache, in_quarters(watch, ask))
            pairs = lay_on_pairs(packed, locks)
            sources = sources_of(cohort, config, watch)
            fitted = fit(
                packed, pairs, config, seed=seed, place=ranks.place, sources=sources,
                persistence=tuple(str(label["persistence"]) for label in cohort.manifest["labels"]), with_peer=True,
                checkpoints=Checkpoints(run_dir, identity_digest(identity)), ranks=ranks, progress=watch,
                should_stop=should_stop, execution=execution,
            )  # fmt: skip
            if fitted is None:
                return None
            if ranks.first:
                watch.stage("writing the round")  # 19
                made = Round(identity, config, cohort, packed, pairs, fitted)
                write_round(run_dir / "out", made, ranks.place, budget, watch, ask)
                watch.finish()
            ranks.wait()
            return run_dir / "out"
        except Halted:
            watch.finish()
            return None


@contextmanager
def _alone_in(run_dir: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the run's folder; of several processes the first does for all."""
    if ranks.first:
        with holding(run_dir):
            ranks.wait()
            yield
    else:
        ranks.wait()
        yield


def sources_of(cohort: Cohort, config: TrainConfig, watch: Progress) -> LabelSources | None:
    """Every label source of the cohort, for a method that weighs several; None for the others.

    Where the cohort has one alone, such a method is plain binary cross-entropy on it, and that is told.
    """
    name = config.method.name
    if name not in WEIGHING:
        return None
    sources = LabelSources.of_cohort(cohort)
    if sources.count == 1:
        watch.stage(f"{name} with one label source alone, {sources.names[0]}: plain cross-entropy on it")
    else:
        watch.stage(f"{name} over {sources.count} label sources: {', '.join(sources.names)}")
    return sources


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
