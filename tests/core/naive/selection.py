"""Selection and correction said again, plainly: Python loops over pairs, whole histories, one library fit a group.

Oracles for `core.selection` and `core.correction`, and the slow side of `miracl benchmark select`. The released code
computes its difficulty the same way, from an N×L×T history in a triple loop.
"""

import math
from itertools import pairwise

import numpy as np


def runs(right: list[bool], kind: bool) -> list[int]:
    """Lengths of the maximal runs of `kind`."""
    lengths, current = [], 0
    for c in right:
        if c == kind:
            current += 1
        elif current:
            lengths.append(current)
            current = 0
    if current:
        lengths.append(current)
    return lengths


def difficulty_of(right: list[bool], variant: str) -> float:
    """D of one pair from its whole history."""
    wrong_runs, right_runs = runs(right, False), runs(right, True)
    if variant == "mean_seg":
        mean_wrong = sum(wrong_runs) / len(wrong_runs) if wrong_runs else 0.0
        mean_right = sum(right_runs) / len(right_runs) if right_runs else 0.0
        return mean_wrong - mean_right
    if variant == "total_seg":
        return float(sum(wrong_runs) - sum(right_runs))
    memorised = sum(1 for a, b in pairwise(right) if not a and b)
    forgotten = sum(1 for a, b in pairwise(right) if a and not b)
    return float(memorised - forgotten)


def difficulty(history: np.ndarray, variant: str) -> np.ndarray:
    """D of every pair; history is epochs × stays × labels of right (True) or wrong."""
    _, stays, labels = history.shape
    D = np.zeros((stays, labels))
    for i in range(stays):
        for label in range(labels):
            D[i, label] = difficulty_of([bool(c) for c in history[:, i, label]], variant)
    return D


def ranks(probability: np.ndarray) -> np.ndarray:
    """R: 1 = most probable of the stay's labels; ties to the lower label."""
    R = np.zeros(probability.shape, int)
    for i, row in enumerate(probability):
        for place, (_, label) in enumerate(sorted((-p, label) for label, p in enumerate(row)), start=1):
            R[i, label] = place
    return R


def suspicion(rank: int, observed: int, labels: int, mode: str) -> float:
    """s of A.6 on the fixed scale."""
    r = (rank - 1) / (labels - 1)
    if mode == "class_oriented" and observed == 0:
        return 1 - r
    return r


def metric(
    R: np.ndarray, D: np.ndarray, observed: np.ndarray, alpha: float, epochs: int, mode: str, bound: float | None = None
) -> np.ndarray:
    """Z on the fixed scale."""
    bound = epochs if bound is None else bound
    Z = np.zeros(R.shape)
    for i in range(R.shape[0]):
        for label in range(R.shape[1]):
            hard = (D[i, label] + bound) / (2 * bound)
            s = suspicion(int(R[i, label]), int(observed[i, label]), R.shape[1], mode)
            Z[i, label] = alpha * s + (1 - alpha) * hard
            if mode == "pos_only" and observed[i, label] == 0:
                Z[i, label] = hard
    return Z


def min_max(Z: np.ndarray, observed: np.ndarray, member: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """Z̃ per (label, class), ranges from the members, clipped."""
    scaled = np.zeros(Z.shape)
    for label in range(Z.shape[1]):
        for c in (0, 1):
            group = [Z[i, label] for i in range(len(Z)) if member[i, label] and observed[i, label] == c]
            low, high = min(group, default=0.0), max(group, default=0.0)
            for i in range(len(Z)):
                if observed[i, label] == c and group:
                    value = (Z[i, label] - low) / (high - low + epsilon)
                    scaled[i, label] = min(max(value, 0.0), 1.0)
    return scaled


def library_mixture(values: np.ndarray) -> tuple[float, float]:
    """Sorted means of a two-component mixture as the released code fits it: scikit-learn, random_state 42."""
    from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(2, random_state=42).fit(np.asarray(values, np.float64).reshape(-1, 1))
    low, high = sorted(fit.means_.ravel())
    return float(low), float(high)


def expectation_maximisation(
    values: list[float], mean: list[float], variance: list[float], weight: list[float], tolerance: float, most: int
) -> tuple[list[float], list[float], list[float]]:
    """The textbook iteration over every value, one at a time."""
    mean, variance, weight = list(mean), list(variance), list(weight)
    before = -math.inf
    for _ in range(most):
        shares, total_log = [], 0.0
        for x in values:
            density = [
                weight[k] * math.exp(-((x - mean[k]) ** 2) / (2 * variance[k])) / math.sqrt(2 * math.pi * variance[k])
                for k in (0, 1)
            ]
            total_log += math.log(sum(density))
            shares.append([d / sum(density) for d in density])
        for k in (0, 1):
            size = sum(s[k] for s in shares)
            mean[k] = sum(s[k] * x for s, x in zip(shares, values, strict=True)) / size
            variance[k] = sum(s[k] * (x - mean[k]) ** 2 for s, x in zip(shares, values, strict=True)) / size
            weight[k] = size / len(values)
        now = total_log / len(values)
        if abs(now - before) < tolerance:
            break
        before = now
    return mean, variance, weight


def grade(score: float, clean: float, noisy: float) -> tuple[str, float]:
    """Eq. 3 and 4 for one pair."""
    if score <= clean:
        return "clean", 0.0
    if score >= noisy:
        return "noisy", 1.0
    return "uncertain", (score - clean) / (noisy - clean + 1e-6)


def cooccurrence(observed: np.ndarray) -> np.ndarray:
    """C by its definition."""
    stays, labels = observed.shape
    C = np.zeros((labels, labels))
    for k in range(labels):
        below = sum(int(observed[i, k]) * int(observed[i, b]) for b in range(labels) if b != k for i in range(stays))
        for j in range(labels):
            if j != k and below:
                C[k, j] = sum(int(observed[i, k]) * int(observed[i, j]) for i in range(stays)) / below
    return C


def support(observed: np.ndarray, C: np.ndarray) -> np.ndarray:
    """S_il: sum of C_kl over the stay's observed labels."""
    S = np.zeros(observed.shape)
    for i in range(len(observed)):
        for label in range(observed.shape[1]):
            S[i, label] = sum(C[k, label] for k in range(observed.shape[1]) if observed[i, k])
    return S


def corrected(
    observed: np.ndarray, predicted: np.ndarray, U: np.ndarray, eligible: np.ndarray, member: np.ndarray
) -> np.ndarray:
    """Eq. 7 and 8, case by case."""
    out = np.zeros(observed.shape)
    for i in range(len(observed)):
        for label in range(observed.shape[1]):
            y, u = float(observed[i, label]), float(U[i, label])
            if not member[i, label] or (y == 0 and not eligible[i, label]):
                out[i, label] = y
            else:
                out[i, label] = u * float(predicted[i, label]) + (1 - u) * y
    return out


def flipped(
    labels: np.ndarray, member: np.ndarray, rho_plus: float, rho_minus: float, generator: np.random.Generator
) -> np.ndarray:
    """Labels after flips at two rates, a number drawn for each pair in turn."""
    observed = labels.copy()
    for i in range(labels.shape[0]):
        for label in range(labels.shape[1]):
            draw = generator.random()
            rate = rho_plus if labels[i, label] == 1 else rho_minus
            if member[i, label] and draw < rate:
                observed[i, label] = 1 - labels[i, label]
    return observed


def library_from(
    values: np.ndarray, start: tuple, tolerance: float, most: int, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances, by mean, of scikit-learn's mixture from a given start: means, variances, weights.

    Without anything added to the variances, unless a component collapses, which scikit-learn refuses without.
    """
    from sklearn.mixture import GaussianMixture

    mean, variance, weight = (np.asarray(part, np.float64) for part in start)
    x = np.asarray(values, np.float64).reshape(-1, 1)
    begin = {"means_init": mean[:, None], "weights_init": weight, "precisions_init": 1 / variance[:, None, None]}
    fit = GaussianMixture(2, tol=tolerance, max_iter=most, reg_covar=0.0, **begin)
    try:
        fit.fit(x)
    except ValueError:
        fit = GaussianMixture(2, tol=tolerance, max_iter=most, reg_covar=floor, **begin).fit(x)
    order = np.argsort(fit.means_.ravel())
    return fit.means_.ravel()[order], fit.covariances_.ravel()[order]
