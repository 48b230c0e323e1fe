"""Cost: a method's seconds per epoch beside the backbone's, both in one process, turn and turn about.

A run's first epochs are left out: labels are not corrected yet, and the first is slower than the rest. Times on shared
machines are told as ratios, medians of several runs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch

import core.fit
from core.cohort.tensors import PackedCohort
from core.config import TrainConfig
from core.fit import fit
from core.methods.base import EpochEnd, Method, Setting
from core.methods.registry import make_method
from core.training import choose_device
from scripts.benchmarks import robustness
from scripts.benchmarks.cohorts import prepare
from scripts.benchmarks.robustness import Plan
from scripts.benchmarks.rows import Row
from scripts.benchmarks.runner import Job, Made
from scripts.benchmarks.scene import Scene, config_of, head, set_scene
from scripts.benchmarks.written import peak_mib

METHODS = ("bce", "focal", "asl", "gce", "mllsc", "multit", "medfuse", "m3care", "linc", "dfd", "paper", "miracl",
           "calibrated")  # fmt: skip
QUICK_METHODS = ("miracl",)
EPOCHS, WARM_UP = 8, 3
REPEATS = 3
MIB = 1 << 20


def jobs(plan: Plan) -> list[Job]:
    """One job a method, a few epochs long; cohorts are packed here, so that no job's memory holds the packing."""
    options = dict(plan.options) | {"optim.warm_up": min(WARM_UP, plan.epochs - 2)}
    made = robustness.jobs(replace(plan, options=tuple(options.items())), "cost")
    for job in made:
        prepare(job.cohort, job.seed, config_of(job).tensors, job.place.cache, job.place.data)
    return made


def run(job: Job) -> Made:
    """Time a method `REPEATS` times, each beside the backbone. Its own memory is read before the backbone's first run.

    Returns
    -------
    dict
        A row a repeat: median seconds an epoch of both and their ratio; the share of its epochs that the method spends
        after the batches (selection, correction, estimates); what the run takes beside its epochs, seconds (the peer's
        fits among it); the process's peak memory, or the accelerator's.
    """
    began = time.perf_counter()
    scene, packed = set_scene(job)
    backbone = config_of(replace(job, method="bce"))
    rows: list[Row] = []
    for repeat in range(REPEATS):
        own, share, outside = _timed(job, scene, packed, scene.config)
        if repeat == 0:
            peak = most_held(job.place.device)
        other = own if job.method == "bce" else _timed(job, scene, packed, backbone)[0]
        rows.append(
            {
                **head(job, packed.fingerprint, began),
                "repeat": repeat,
                "seconds_per_epoch": own,
                "bce_seconds_per_epoch": other,
                "ratio": own / other,
                "own_share": share,
                "outside_seconds": outside,
                "peak_mib": peak,
            }
        )
    return {"cost": rows}


def _timed(job: Job, scene: Scene, packed: PackedCohort, config: TrainConfig) -> tuple[float, float, float]:
    """Median seconds of the epochs after the warm-up, the share spent at their ends, seconds beside all epochs."""
    began = time.perf_counter()
    with clocked() as spent:
        fitted = fit(
            packed, scene.pairs, config, seed=job.seed, place=choose_device(job.place.device),
            persistence=scene.prepared.persistence,
        )  # fmt: skip
    assert fitted is not None
    took, first = time.perf_counter() - began, config.optim.warm_up
    every = np.array([row["seconds"] for row in fitted.rows])
    seconds = every[first:]
    return float(np.median(seconds)), float(np.sum(spent[first:]) / np.sum(seconds)), took - float(every.sum())


@contextmanager
def clocked() -> Iterator[list[float]]:
    """Within the block each method's `end_epoch` adds its seconds to the list."""
    spent: list[float] = []

    def timing(setting: Setting) -> Method:
        method = make_method(setting)
        end = method.end_epoch

        def end_epoch(t: int, left: EpochEnd) -> None:
            began = time.perf_counter()
            end(t, left)
            spent.append(time.perf_counter() - began)

        vars(method)["end_epoch"] = end_epoch
        return method

    with patch.object(core.fit, "make_method", timing):
        yield spent


def most_held(device: str) -> float:
    """Most memory held so far, MiB: by this process itself, whatever started it, or on the accelerator."""
    return torch.cuda.max_memory_allocated() / MIB if device == "cuda" else peak_mib()
