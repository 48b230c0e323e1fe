"""A small learner on planted noise: a linear model trained on flipped labels; its probabilities epoch by epoch."""

from dataclasses import dataclass

import numpy as np

from core.noise.injection import NoiseConfig, inject


@dataclass(frozen=True)
class Planted:
    """Truth, recorded labels and one epoch × stays × labels array of probabilities."""

    truth: np.ndarray
    observed: np.ndarray
    probability: np.ndarray
    member: np.ndarray


def planted(stays: int = 1500, labels: int = 12, features: int = 24, epochs: int = 6, seed: int = 0) -> Planted:
    """Train softly on symmetric .2 noise; long enough to learn, too short to memorise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(stays, features)).astype(np.float32)
    W = rng.normal(size=(features, labels)) * 0.8
    logits = X @ W - rng.uniform(0.5, 2.5, labels)
    truth = (rng.random((stays, labels)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    member = np.ones((stays, labels), np.bool_)
    config = NoiseConfig(kind="symmetric", rate=0.2)
    observed = inject(truth, member, config, config.generator(seed)).observed
    weights, bias, kept = np.zeros((features, labels)), np.zeros(labels), []
    for _ in range(epochs):
        p = np.empty((stays, labels), np.float32)
        for rows in np.array_split(rng.permutation(stays), max(stays // 64, 1)):
            now = 1 / (1 + np.exp(-(X[rows] @ weights + bias)))
            p[rows] = now
            weights -= 0.3 * X[rows].T @ (now - observed[rows]) / len(rows)
            bias -= 0.3 * (now - observed[rows]).mean(axis=0)
        kept.append(p)
    return Planted(truth, observed, np.stack(kept), member)
