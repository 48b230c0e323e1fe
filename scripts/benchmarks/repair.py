"""Repair: simulated review. What it is worth to read pairs in a method's order, in order of loss, and in any order.

A simulated reader always decides rightly. Method's order: train, read the first 500, lock them, train again, and so on;
the last 500 are read without another training. The other two orders are of the first network, read straight down:
the loss's, and random, whose mean has a closed form.
"""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from core.cohort.tensors import PackedCohort
from core.fit import Fitted, fit
from core.locks import lay_on_pairs
from core.metrics.calibration import calibration
from core.metrics.harm import handed_out
from core.metrics.ranking import ranking_metrics
from core.metrics.repair import first_pairs, random_removed, repair_curve
from core.training import choose_device
from scripts.benchmarks.fits import own_suspicion
from scripts.benchmarks.rows import Row
from scripts.benchmarks.runner import Job, Made
from scripts.benchmarks.scene import Scene, head, set_scene

METHODS = ("bce", "paper", "miracl", "calibrated")
NOISES = ("sym20", "bal20")
QUICK_METHODS = ("miracl",)
BATCH = 500
ROUNDS = 3


def run(job: Job) -> Made:
    """Simulate the reviews of one method on one cohort; a row for each order and number of reviews."""
    began = time.perf_counter()
    scene, packed = set_scene(job)
    truth, observed = scene.planted.truth, scene.pairs.observed
    batch = min(BATCH, max(int(scene.pairs.member.sum()) // 8, 1))
    rows: list[Row] = []
    locked = np.zeros(observed.shape, np.bool_)
    first: Fitted | None = None
    for _ in range(ROUNDS + 1):
        now = replace(scene, pairs=lay_on_pairs(packed, decisions(packed, locked, truth)))
        fitted = train(job, packed, now)
        first = first or fitted
        rows.append(state(now, fitted, observed))
        chosen = first_pairs(_order(job, fitted), now.pairs.member, batch)
        locked[chosen] = True
    read = int(locked.sum())
    rows.append(_line("method", scene, read, int((locked & (observed != truth)).sum())))
    assert first is not None
    points = [int(row["reviewed"]) for row in rows]
    wrong, pairs = int(rows[0]["wrong_before"]), int(rows[0]["pairs"])
    by_loss = repair_curve(_loss(first), observed, truth, scene.pairs.member, points).removed
    for order, removed in (("loss", by_loss), ("random", random_removed(np.array(points), wrong, pairs))):
        rows += [_line(order, scene, k, float(n)) for k, n in zip(points, removed, strict=True)]
    top = head(job, packed.fingerprint, began)
    return {"repair": [{**top, **row} for row in rows]}


def train(job: Job, packed: PackedCohort, scene: Scene) -> Fitted:
    """Train on the labels as decided so far. Noise rates come from observed labels: reviews do not bias them."""
    fitted = fit(
        packed, scene.pairs, scene.config, seed=job.seed, place=choose_device(job.place.device),
        persistence=scene.prepared.persistence,
    )  # fmt: skip
    assert fitted is not None
    return fitted


def decisions(packed: PackedCohort, locked: np.ndarray, truth: np.ndarray) -> pa.Table:
    """What a reader who is always right has decided: a locked true label for each pair read."""
    rows, columns = np.nonzero(locked)
    return pa.table(
        {
            "stay_id": pa.array(np.asarray(packed.stay_ids)[rows], pa.int64()),
            "label_key": pa.array([packed.label_keys[k] for k in columns], pa.string()),
            "value": pa.array(truth[rows, columns].astype(np.float32)),
            "locked": pa.array(np.ones(len(rows), np.bool_)),
        }
    )


def state(scene: Scene, fitted: Fitted, observed: np.ndarray) -> Row:
    """After a training: test mAP, labels still wrong in what the method hands out, calibration of what is unread."""
    pairs, truth, test = scene.pairs, scene.planted.truth, scene.test
    every = pairs.member | pairs.locked
    packed = scene.prepared.packed
    found = ranking_metrics(packed.observed[test], fitted.probability[0][test], packed.stated[test])
    row = _line("method", scene, int(pairs.locked.sum()), int((pairs.locked & (observed != truth)).sum()))
    row |= {
        "retrained": True,
        "map": float(found.map),
        "wrong_after": int((every & (handed_out(observed, fitted.corrected) != truth)).sum()),
    }
    if fitted.error_probability is not None:
        held = calibration(fitted.error_probability, observed, truth, pairs.member)
        row |= {f"ece_{name}": float(held[name].ece) for name in ("positive", "negative")}
    return row


def _line(order: str, scene: Scene, reviewed: int, repaired: float) -> Row:
    every = scene.pairs.member | scene.pairs.locked
    return {
        "order": order,
        "reviewed": reviewed,
        "repaired": float(repaired),
        "wrong_before": int((every & (scene.pairs.observed != scene.planted.truth)).sum()),
        "pairs": int(every.sum()),
        "retrained": False,
    }


def _order(job: Job, fitted: Fitted) -> np.ndarray:
    """The plain network has no order of its own: its loss stands in."""
    return _loss(fitted) if job.method == "bce" else own_suspicion(fitted)


def _loss(fitted: Fitted) -> np.ndarray:
    from core.detectors.registry import scores

    return scores(fitted.traces, ("loss",))["loss"]
