"""A patient's other visits as evidence: what they recorded, and what the models think of them (methods.md G.2)."""

import numpy as np

from core.hints import Bool, Float, Int, Shaped


def sibling_means(
    values: Float[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    visit: Int[np.ndarray, " stays"],
    counted: Bool[np.ndarray, "stays labels"],
) -> tuple[Shaped[np.ndarray, "two stays labels"], Shaped[np.ndarray, "two stays labels"]]:
    """Mean of `values` over the patient's earlier visits, and over the later ones.

    A stay's own value never enters. Visits of the same number (an order nobody knows) count as neither.

    Parameters
    ----------
    values
        Per pair.
    patient, visit
        Whose stay, and its number.
    counted
        Pairs that may be read: stated ones.

    Returns
    -------
    means
        float64 [2, stays, labels], earlier and later; 0 where there is none.
    some
        bool [2, stays, labels], whether there is one.
    """
    order = np.lexsort((visit, patient))
    own, at = patient[order], visit[order]
    new_patient = np.concatenate(([True], own[1:] != own[:-1]))
    new_visit = new_patient | np.concatenate(([True], at[1:] != at[:-1]))
    place = np.arange(len(order))
    start = np.maximum.accumulate(np.where(new_patient, place, 0))
    first = np.maximum.accumulate(np.where(new_visit, place, 0))  # of the visit, hence where earlier ones end
    last = np.concatenate((place[1:][new_visit[1:]], [len(order)]))[np.cumsum(new_visit) - 1]
    end = np.concatenate((place[1:][new_patient[1:]], [len(order)]))[np.cumsum(new_patient) - 1]
    zero = np.zeros((1, values.shape[1]))
    total = np.concatenate((zero, np.cumsum(np.where(counted, values, 0.0)[order], axis=0, dtype=np.float64)))
    number = np.concatenate((zero, np.cumsum(counted[order], axis=0, dtype=np.float64)))
    means, some = np.zeros((2, *values.shape)), np.zeros((2, *values.shape), np.bool_)
    for k, (begin, stop) in enumerate(((start, first), (last, end))):
        n = number[stop] - number[begin]
        some[k, order] = n > 0
        means[k, order] = np.where(n > 0, (total[stop] - total[begin]) / np.maximum(n, 1), 0.0)
    return means, some


def standardised(
    evidence: Float[np.ndarray, "stays labels"], member: Bool[np.ndarray, "stays labels"]
) -> Float[np.ndarray, "stays labels"]:
    """Evidence with mean 0 and deviation 1 per label over the pairs that take part; a constant one becomes 0."""
    n = np.maximum(member.sum(0), 1)
    mean = np.where(member, evidence, 0.0).sum(0, dtype=np.float64) / n
    spread = np.sqrt((np.where(member, evidence - mean, 0.0) ** 2).sum(0, dtype=np.float64) / n)
    return np.asarray(np.where(spread > 1e-9, (evidence - mean) / np.maximum(spread, 1e-9), 0.0))


def evidence_features(
    evidence: Float[np.ndarray, "stays labels"],
    known: Shaped[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    visit: Int[np.ndarray, " stays"],
    member: Bool[np.ndarray, "stays labels"],
    stated: Bool[np.ndarray, "stays labels"],
    siblings: bool = True,
) -> Float[np.ndarray, "features stays labels"]:
    """Features of every pair: its own evidence; of earlier and of later visits whether any, mean evidence, mean label.

    Parameters
    ----------
    evidence
        The models' logits for the pair, the pair's own label unseen.
    known
        Labels as far as they are known (decisions where there are any), 0 or 1.
    member
        Pairs over which means and deviations are taken.
    stated
        Pairs that siblings may read.
    siblings
        False gives the own evidence alone.

    Returns
    -------
    ndarray
        float32 [1 or 7, stays, labels].
    """
    own = standardised(evidence, member)
    if not siblings:
        return own[None].astype(np.float32)
    n = np.maximum(member.sum(0), 1)
    surplus = known - (np.where(member, known, 0).sum(0) / n)
    found = [own]
    of_evidence, some = sibling_means(own, patient, visit, stated)
    of_label, _ = sibling_means(surplus, patient, visit, stated)
    for k in range(2):
        found += [some[k].astype(np.float64), of_evidence[k], of_label[k]]
    return np.stack(found).astype(np.float32)
