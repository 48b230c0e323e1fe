"""Ranking metrics said again from their definitions, pair by pair."""

import numpy as np


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Share of (positive, negative) couples in the right order, ties a half."""
    won = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, y in zip(score, truth, strict=True)
        if y
        for n, z in zip(score, truth, strict=True)
        if not z
    ]
    return sum(won) / len(won) if won else float("nan")


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Sum over distinct thresholds of gained recall × precision."""
    total = sum(map(bool, truth))
    if not total:
        return float("nan")
    area, recall = 0.0, 0.0
    for limit in sorted(set(score), reverse=True):
        chosen = [bool(y) for y, s in zip(truth, score, strict=True) if s >= limit]
        now = sum(chosen) / total
        area += (now - recall) * sum(chosen) / len(chosen)
        recall = now
    return area
