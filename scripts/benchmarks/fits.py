"""One run: a cohort with planted noise, a method trained on it, and what that yields for the tables."""

import time

import numpy as np

from core.fit import Fitted, fit
from core.methods.linc import LiNC
from core.metrics.audit import detection
from core.metrics.compare import bootstrap_map
from core.metrics.harm import handed_out
from core.metrics.ranking import ranking_metrics
from core.peer.regression import fit_peer
from core.training import choose_device
from scripts.benchmarks.cohorts import HISTORY
from scripts.benchmarks.history import against_history, columns, fitted_against_history, folded, folded_suspicion
from scripts.benchmarks.methods import DETECTING
from scripts.benchmarks.rows import Row
from scripts.benchmarks.runner import Job, Made
from scripts.benchmarks.scene import Scene, head, is_regression, set_scene

RECALLS = tuple(k / 20 for k in range(1, 21))
"""Where the precision of flags is told for the figures."""

OF_THE_COURSE = (
    "miracl_score",
    "loss",
    "loss_last",
    "cnlcu_s",
    "aum",
    "linc",
    "el2n",
    "grand",
    "data_iq",
    "neighbours",
)
"""Detectors that read how a network trained, for the plain one on the default's course."""


def run(job: Job) -> Made:
    """Train one method once; rows of `job.table`, and of the detectors where the method's network is read by them."""
    began = time.perf_counter()
    scene, packed = set_scene(job)
    seen = against_history(scene, job.place.data) if job.cohort == HISTORY else scene
    own: np.ndarray | None = None
    if is_regression(job):
        probability = fit_peer(packed, scene.pairs, scene.config.peer, job.seed).probability
        scores = {"regression": np.abs(scene.pairs.base - probability)}
        row = {**predicted(seen, _as_seen(job, scene, probability)), **told(seen)}
    else:
        fitted = fit(
            packed, scene.pairs, scene.config, seed=job.seed, place=choose_device(job.place.device),
            persistence=scene.prepared.persistence, with_peer=job.method == "bce",
        )  # fmt: skip
        assert fitted is not None
        scores, own = suspicion(job, fitted), own_suspicion(fitted)
        if job.cohort == HISTORY:
            fitted = fitted_against_history(fitted, scene.pairs.observed, packed.label_keys)
        row = {**predicted(seen, fitted.probability[0]), **course(job, fitted), **told(seen), **corrected(seen, fitted)}
    if job.cohort == HISTORY:
        places = columns(packed.label_keys)
        scores = {name: folded_suspicion(score, scene.pairs.observed, places) for name, score in scores.items()}
        own = None if own is None else folded_suspicion(own, scene.pairs.observed, places)
    if own is not None:
        row |= own_detection(seen, own)
    top = head(job, packed.fingerprint, began)
    found = [{**top, **line} for line in detected(seen, scores)] if job.table == "robustness" else []
    return {"detection": found, job.table: [{**top, **row}]}


def _as_seen(job: Job, scene: Scene, probability: np.ndarray) -> np.ndarray:
    """Probabilities of the labels that the run is measured on."""
    return folded(probability, columns(scene.prepared.packed.label_keys)) if job.cohort == HISTORY else probability


def predicted(scene: Scene, probability: np.ndarray) -> Row:
    """Measures of the test stays' predictions of the last epoch, against labels without planted noise."""
    rows, packed = scene.test, scene.prepared.packed
    truth, stated, p = packed.observed[rows], packed.stated[rows], np.asarray(probability[rows], np.float32)
    found = ranking_metrics(truth, p, stated)
    replicates = bootstrap_map(truth, p, np.asarray(packed.patient_ids)[rows], stated=stated)
    names = ("map", "auroc_macro", "auroc_micro", "f1_micro", "f1_macro", "chance")
    return {
        **{name: _known(getattr(found, name)) for name in names},
        "ap_by_label": found.average_precision.astype(np.float32).tolist(),
        "bootstrap": np.asarray(replicates, np.float32).tolist(),
    }


def course(job: Job, fitted: Fitted) -> Row:
    """Seconds an epoch; test mAP by epoch, and its highest (which nobody can pick without the truth)."""
    row: Row = {"seconds_per_epoch": float(np.median([row["seconds"] for row in fitted.rows]))}
    if job.cohort == HISTORY:
        return row
    maps = np.array([np.nan if row["test_map"] is None else row["test_map"] for row in fitted.rows])
    best = int(np.nanargmax(maps)) if np.isfinite(maps).any() else 0
    return {
        **row,
        "map_by_epoch": maps.astype(np.float32).tolist(),
        "map_best": _known(maps[best]),
        "best_epoch": best + 1,
    }


def told(scene: Scene) -> Row:
    """How many training labels are wrong, and the rates that the noise was drawn at."""
    pairs, member = scene.pairs, scene.pairs.member
    wrong = member & (pairs.observed != scene.planted.truth)
    return {
        "pairs": int(member.sum()),
        "positives": int((member & (pairs.observed == 1)).sum()),
        "negatives": int((member & (pairs.observed == 0)).sum()),
        "wrong_before": int(wrong.sum()),
        "accuracy_before": 1 - float(wrong.sum() / max(int(member.sum()), 1)),
        "true_rho_plus": float(scene.planted.rho_plus),
        "true_rho_minus": float(scene.planted.rho_minus),
    }


def corrected(scene: Scene, fitted: Fitted) -> Row:
    """What the correction did to training labels, and how far P(label wrong) can be taken at its word."""
    pairs, truth = scene.pairs, scene.planted.truth
    before, after = pairs.observed == truth, handed_out(pairs.observed, fitted.corrected) == truth
    row: Row = {
        "wrong_after": int((pairs.member & ~after).sum()),
        "accuracy_after": float(after[pairs.member].mean()),
    }
    for name, value in (("positive", 1), ("negative", 0)):
        group = pairs.member & (pairs.observed == value)
        row[f"repaired_{name}"] = int((group & ~before & after).sum())
        row[f"harmed_{name}"] = int((group & before & ~after).sum())
    if fitted.rates is not None:
        row["rho_plus"] = float(np.mean(fitted.rates.rho_plus))
        row["rho_minus"] = float(np.mean(fitted.rates.rho_minus))
    if fitted.error_probability is not None:
        from core.metrics.calibration import calibration

        held = calibration(fitted.error_probability, pairs.observed, scene.planted.truth, pairs.member)
        row |= {f"ece_{name}": held[name].ece for name in ("positive", "negative")}
    return row


def own_suspicion(fitted: Fitted) -> np.ndarray:
    """The order in which the method itself would have pairs reviewed.

    P(label wrong) where it estimates that, LiNC's accumulator, else MIRACL's score.
    """
    if fitted.error_probability is not None:
        return np.asarray(fitted.error_probability, np.float32)
    if isinstance(fitted.method, LiNC):
        return fitted.method.accumulated.cpu().numpy()
    from core.detectors.registry import scores

    return scores(fitted.traces, ("miracl_score",))["miracl_score"]


def own_detection(scene: Scene, score: np.ndarray) -> Row:
    """Average precision of the method's own order, macro over labels, by observed class."""
    found = detection(score, scene.pairs.observed, scene.planted.truth, scene.pairs.member)
    return {f"own_ap_{name}": _known(found[name].average_precision) for name in ("positive", "negative")}


def suspicion(job: Job, fitted: Fitted) -> dict[str, np.ndarray]:
    """Scores to hold against the truth: every detector on the plain network's traces, else the method's own."""
    if job.method not in DETECTING or job.table != "robustness":
        return {}
    from core.detectors.registry import scores

    own = {"bce": None, "bce_course": OF_THE_COURSE, "linc": ("linc",)}.get(job.method, ("miracl_score",))
    found = dict(scores(fitted.traces, own, fitted.method.config.detectors))
    if fitted.error_probability is not None:
        found["error_probability"] = fitted.error_probability
    return found


def detected(scene: Scene, scores: dict[str, np.ndarray]) -> list[Row]:
    """Rows of the detectors' table, by detector and observed class."""
    pairs, truth = scene.pairs, scene.planted.truth
    wrong = pairs.observed != truth
    if not (wrong & pairs.member).any():
        return []
    rows = []
    for name, score in scores.items():
        values = np.asarray(score, np.float32)
        for group, found in detection(values, pairs.observed, truth, pairs.member).items():
            chosen = {"positive": pairs.observed == 1, "negative": pairs.observed == 0}.get(group, True) & pairs.member
            rows.append(
                {
                    "detector": name,
                    "observed_class": group,
                    "auroc": _known(found.auroc),
                    "average_precision": _known(found.average_precision),
                    "precision_100": _known(found.precision_at[100]),
                    "precision_500": _known(found.precision_at[500]),
                    "n": found.n,
                    "n_wrong": found.n_wrong,
                    "labels_scored": found.labels_scored,
                    "precision_at_recall": precision_at_recall(wrong[chosen], values[chosen]),
                }
            )
    return rows


def precision_at_recall(wrong: np.ndarray, score: np.ndarray) -> list[float]:
    """Precision of the shortest head of the list that holds each share of `RECALLS` of the wrong pairs."""
    total = int(wrong.sum())
    if total == 0:
        return []
    found = np.cumsum(wrong[np.argsort(-score, kind="stable")])
    needed = np.searchsorted(found, np.ceil(np.array(RECALLS) * total - 1e-9))
    return [float(found[k] / (k + 1)) for k in needed]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
