"""What a run starts from: its options, its cohort with planted noise, and the columns that every row begins with."""

import hashlib
import json
import time
from dataclasses import dataclass

import numpy as np

from core.cohort.tensors import PackedCohort
from core.config import DetectorConfig, TrainConfig, make_config
from core.locks import Pairs, lay_on_pairs
from core.noise.settings import Planted
from scripts.benchmarks.cohorts import Prepared, prepare
from scripts.benchmarks.machine import device_name, machine, now
from scripts.benchmarks.methods import compared
from scripts.benchmarks.rows import KEY, Row
from scripts.benchmarks.runner import Job


@dataclass(frozen=True)
class Scene:
    """A cohort with planted noise, ready to train on; the truth stays on this side."""

    prepared: Prepared
    pairs: Pairs
    planted: Planted
    config: TrainConfig

    @property
    def test(self) -> np.ndarray:
        """Rows of test stays."""
        return np.flatnonzero(np.asarray(self.prepared.packed.is_test) & self.pairs.stated.any(1))


def config_of(job: Job) -> TrainConfig:
    """Every option of a job."""
    word = job.preset or ("miracl" if is_regression(job) else job.method)
    return make_config(word, job.size, **{"optim.epochs": job.epochs, **dict(job.options)})


def is_regression(job: Job) -> bool:
    """Whether it trains no network."""
    return not job.preset and compared(job.method).kind == "regression"


def digest(job: Job) -> str:
    """Digest of the options that bear on a job: a method's results do not hang on another method's options."""
    config = config_of(job)
    plain = config.to_dict()
    name = plain["method"]["name"]
    if is_regression(job):
        plain = {part: plain[part] for part in ("peer", "tensors")}
    else:
        plain["method"] = {k: v for k, v in plain["method"].items() if not isinstance(v, dict) or k == name}
        careful = name == "miracl" and config.correction.leave_alone
        if not careful:
            del plain["correction"]["leave_alone"]
        if not careful and name != "calibrated":
            del plain["calibrated"]
        if config.detectors == DetectorConfig():
            del plain["detectors"]
    return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=6).hexdigest()


def set_scene(job: Job) -> tuple[Scene, PackedCohort]:
    """Prepare the cohort, plant the noise; the scene and the pack to train on."""
    config = config_of(job)
    prepared = prepare(job.cohort, job.seed, config.tensors, job.place.cache, job.place.data)
    packed, planted = prepared.planted(job.noise, job.seed)
    return Scene(prepared, lay_on_pairs(packed, None), planted, config), packed


def head(job: Job, fingerprint: str, began: float) -> Row:
    """Key, machine and time, as every row has them."""
    return {
        **dict(zip(KEY, job.key, strict=True)),
        **machine(),
        "options": digest(job),
        "fingerprint": fingerprint,
        "device": device_name(job.place.device),
        "made_at": now(),
        "seconds": time.perf_counter() - began,
    }
