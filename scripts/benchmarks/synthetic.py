"""How hard is the synthetic cohort? Test mAP on clean labels, with one modality or both, network against regression.

    python -m scripts.benchmarks.synthetic --stays 2000 --seeds 0 1 2

builds one clean cohort per seed, trains the backbone (binary cross-entropy, no correction) and a logistic regression
on hand-made features, each on both modalities, on series alone and on notes alone, and prints a Markdown table.
"""

import argparse
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from core.cohort.sources.synthetic import SyntheticConfig, build_synthetic
from core.cohort.store import Cohort, open_cohort

MODALITIES = ("both", "series", "notes")


@dataclass(frozen=True)
class Hardness:
    """Settings of the regression that stands beside the network.

    Parameters
    ----------
    components
        SVD components of the notes' TF-IDF.
    penalties
        Inverse strengths of the ridge penalty that are tried.
    folds
        Patient-wise folds that choose among them, on training stays alone.
    """

    components: int = 100
    penalties: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    folds: int = 4


def without(cohort: Cohort, keep: str) -> Cohort:
    """Take one modality away: `keep` is ``both``, ``series`` or ``notes``."""
    if keep == "both":
        return cohort
    stays = cohort.stays
    absent = pa.array(np.zeros(stays.num_rows, dtype=bool))
    column = "has_note" if keep == "series" else "has_series"
    stays = stays.set_column(stays.schema.get_field_index(column), stays.schema.field(column), absent)
    if keep == "series":
        return replace(cohort, stays=stays, notes=cohort.notes.slice(0, 0))
    readable = pa.array([c["name"] for c in cohort.manifest["channels"] if c["model"]])
    charted = cohort.observations.filter(pc.invert(pc.is_in(cohort.observations["channel"], value_set=readable)))
    return replace(cohort, stays=stays, observations=charted)


def hand_features(cohort: Cohort) -> np.ndarray:
    """Last, mean, minimum, maximum, slope and count of each model channel before the cut-off, and count > 0."""
    stay_ids = cohort.stays["stay_id"].to_numpy()
    cutoff = cohort.manifest["cutoff_hours"]
    blocks = []
    for channel in (c for c in cohort.manifest["channels"] if c["model"]):
        table = cohort.observations.filter(pc.equal(cohort.observations["channel"], channel["name"]))
        table = table.filter(pc.less(table["hour"], cutoff))
        row = np.searchsorted(stay_ids, table["stay_id"].to_numpy())
        hour, value = table["hour"].to_numpy().astype(float), table["value"].to_numpy().astype(float)
        n = len(stay_ids)
        count = np.bincount(row, minlength=n)
        some = np.maximum(count, 1)
        mean, centre = np.bincount(row, value, n) / some, np.bincount(row, hour, n) / some
        spread = np.bincount(row, (hour - centre[row]) ** 2, n)
        slope = np.bincount(row, (hour - centre[row]) * (value - mean[row]), n) / np.maximum(spread, 1.0)
        low, high, last = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n)
        np.minimum.at(low, row, value)
        np.maximum.at(high, row, value)
        last[row] = value
        figures = np.stack([last, mean, low, high, slope], axis=1)
        figures[count == 0] = np.nan
        usual = np.nanmedian(figures, axis=0) if count.any() else np.zeros(5)
        figures = np.where(np.isnan(figures), usual, figures)
        blocks += [figures, np.log1p(count)[:, None], (count > 0)[:, None].astype(float)]
    return np.concatenate(blocks, axis=1)


def note_features(cohort: Cohort, training: np.ndarray, components: int) -> np.ndarray:
    """SVD components of each stay's TF-IDF over words and pairs of words; fitted on training stays."""
    stay_ids = cohort.stays["stay_id"].to_numpy()
    texts = [""] * len(stay_ids)
    for stay, text, start, end in zip(
        *(cohort.notes[c].to_pylist() for c in ("stay_id", "text", "model_start", "model_end")), strict=True
    ):
        if start is not None:
            texts[int(np.searchsorted(stay_ids, stay))] += " " + text[start:end]
    if not any(texts):
        return np.zeros((len(texts), 0))
    words = TfidfVectorizer(sublinear_tf=True, min_df=3, ngram_range=(1, 2), token_pattern=r"[A-Za-z0-9/]+")
    words.fit([t for t, train in zip(texts, training, strict=True) if train and t])
    matrix = words.transform(texts)
    svd = TruncatedSVD(components, random_state=0).fit(matrix[training])
    features: np.ndarray = svd.transform(matrix)
    return features


def mean_ap(truth: np.ndarray, score: np.ndarray) -> float:
    """Unweighted mean of average precision over labels that occur."""
    found = [i for i in range(truth.shape[1]) if truth[:, i].any()]
    return float(np.mean([average_precision_score(truth[:, i], score[:, i]) for i in found]))


def regression_map(cohort: Cohort, keep: str, settings: Hardness) -> float:
    """Test mAP of one logistic regression per label on hand-made features."""
    labels, _ = cohort.label_matrix()
    training = np.array(cohort.stays["split"].to_pylist()) == "train"
    parts = []
    if keep != "notes":
        parts.append(hand_features(cohort))
    if keep != "series":
        parts.append(note_features(cohort, training, settings.components))
    x = np.concatenate(parts, axis=1)
    x = np.clip(StandardScaler().fit(x[training]).transform(x), -6, 6)
    patients = cohort.stays["patient_id"].to_numpy()
    fold = patients % settings.folds

    def fitted(rows: np.ndarray, on: np.ndarray, penalty: float) -> np.ndarray:
        score = np.zeros((int(on.sum()), labels.shape[1]))
        for i in range(labels.shape[1]):
            if labels[rows, i].any():
                model = LogisticRegression(C=penalty, max_iter=400).fit(x[rows], labels[rows, i])
                score[:, i] = model.decision_function(x[on])
        return score

    trial = {}
    for penalty in settings.penalties:
        rows, held = training & (fold != 0), training & (fold == 0)
        trial[penalty] = mean_ap(labels[held], fitted(rows, held, penalty))
    best = max(trial, key=lambda p: trial[p])
    return mean_ap(labels[~training], fitted(training, ~training, best))


def network_map(cohort: Cohort, folder: Path, seed: int, epochs: int, size: str) -> float:
    """Test mAP of the backbone at the last epoch, trained with binary cross-entropy alone."""
    from core.config import make_config
    from core.training import train_round

    # A warm-up as long as the run is a run without correction.
    config = make_config("miracl", size, **{"optim.epochs": epochs, "optim.warm_up": epochs})
    out = train_round(cohort, folder / "run", config, round_id=1, seed=seed, device="cpu", cache_dir=folder / "cache")
    if out is None:
        raise RuntimeError("the trainer stopped early")
    pairs = pq.read_table(out / "pair.parquet", columns=["stay_id", "label_id", "split", "observed", "probability"])
    pairs = pairs.filter(pc.equal(pairs["split"], "test"))
    pairs = pairs.sort_by([("stay_id", "ascending"), ("label_id", "ascending")])
    shape = (-1, len(cohort.label_keys))
    return mean_ap(pairs["observed"].to_numpy().reshape(shape), pairs["probability"].to_numpy().reshape(shape))


def rows(
    stays: int, seeds: Iterable[int], epochs: int, size: str, networks: bool, config: SyntheticConfig
) -> list[dict[str, float | int | str]]:
    """Measure every (seed, method, modality)."""
    found: list[dict[str, float | int | str]] = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            build_synthetic(folder / "cohort", stays=stays, seed=seed, config=config)
            cohort = open_cohort(folder / "cohort", verify=False)
            labels, _ = cohort.label_matrix()
            testing = np.array(cohort.stays["split"].to_pylist()) == "test"
            chance = float(labels[testing].mean(0).mean())
            found.append({"seed": seed, "method": "chance", "modality": "none", "map": chance})
            for keep in MODALITIES:
                part = without(cohort, keep)
                score = regression_map(part, keep, Hardness())
                found.append({"seed": seed, "method": "regression", "modality": keep, "map": score})
                if networks:
                    score = network_map(part, folder / keep, seed, epochs, size)
                    found.append({"seed": seed, "method": "network", "modality": keep, "map": score})
                print(re.sub(r"[{}']", "", str(found[-1])), flush=True)
    return found


def markdown(found: list[dict[str, float | int | str]]) -> str:
    """Lay the measurements out as a table: one row per method and modality, one column per seed, mean and sd."""
    seeds = sorted({int(r["seed"]) for r in found})
    lines = [
        "| method | modality | " + " | ".join(f"seed {s}" for s in seeds) + " | mean | sd |",
        "|---|---|" + "---|" * (len(seeds) + 2),
    ]
    for method, modality in dict.fromkeys((str(r["method"]), str(r["modality"])) for r in found):
        values = [float(r["map"]) for r in found if (r["method"], r["modality"]) == (method, modality)]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        cells = " | ".join(f"{v:.3f}" for v in values)
        lines.append(f"| {method} | {modality} | {cells} | {np.mean(values):.3f} | {sd:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the options, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--size", default="compact", choices=["compact", "paper"])
    parser.add_argument("--no-network", action="store_true", help="regression alone, which takes seconds")
    given = parser.parse_args()
    found = rows(given.stays, given.seeds, given.epochs, given.size, not given.no_network, SyntheticConfig())
    print(f"\nClean labels, {given.stays} stays, {given.epochs} epochs, size {given.size}: test mAP\n")
    print(markdown(found))


if __name__ == "__main__":
    main()
