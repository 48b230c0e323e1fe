"""Scores of different detectors on one scale: the place of a pair among the members of its label and class."""

import numpy as np

from core.hints import Bool, Float, UInt8


def standardised(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Float[np.ndarray, "stays labels"]:
    """Share of the members of the pair's (label, class) that are less suspect, tied ones counting half; in [0, 1].

    Parameters
    ----------
    score
        High means suspect.
    observed
        Recorded labels.
    member
        Pairs that places are told among; the others are placed among them.

    Returns
    -------
    ndarray
        float32; 0 where the group has no member.
    """
    place = np.zeros(score.shape, np.float32)
    for label in range(score.shape[1]):
        for value in (0, 1):
            rows = np.flatnonzero((observed[:, label] != 0) == bool(value))
            own = score[rows, label]
            members = np.sort(own[member[rows, label]])
            if len(members):
                below = np.searchsorted(members, own, side="left") + np.searchsorted(members, own, side="right")
                place[rows, label] = below / (2 * len(members))
    return place
