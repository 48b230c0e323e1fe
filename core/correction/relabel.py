"""Soft correction: the predicted label Ŷ and the corrected label Ỹcorr (Eq. 5, 7 and 8)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, UInt8

HEADS = 3
"""Predictions that are mixed: fused, series head, note head."""


@dataclass(frozen=True)
class CorrectionConfig:
    """How a pair is corrected.

    Parameters
    ----------
    target_mix
        Weights of the fused probability and of the series' and the note's heads in Ŷ: (.6, .2, .2) [released],
        (1, 0, 0) [paper] (A.11 row 6).
    renormalise
        Leave out the head of an absent modality and scale the others up [recommended]; the released code mixes in what
        that head says of nothing.
    cumulative
        Correct the last epoch's corrected labels instead of the given ones (row 11; off in both sources).
    uncertainty_source
        U from the `means` [paper, released] or from the `posterior` (row 21).
    leave_alone
        Where the peer finds no noise among the records of one value, none of them is corrected [ours]; neither source
        has it.
    """

    target_mix: tuple[float, float, float] = (0.6, 0.2, 0.2)
    renormalise: bool = True
    cumulative: bool = False
    uncertainty_source: Literal["means", "posterior"] = "means"
    leave_alone: bool = True

    def __post_init__(self) -> None:
        """Refuse weights that are no mix."""
        mix = self.target_mix
        if len(mix) != HEADS or min(mix) < 0 or abs(sum(mix) - 1) > 1e-6 or not mix[0] > 0:
            raise ConfigError(
                "a target mix of three weights that sum to 1, the first above 0", str(mix), "set (.6, .2, .2), say"
            )
        if self.uncertainty_source not in ("means", "posterior"):
            came = repr(self.uncertainty_source)
            raise ConfigError("uncertainty_source means or posterior", came, "choose one of them")

    @classmethod
    def preset(cls, name: str) -> "CorrectionConfig":
        """Options of the `released` code, of the `paper`'s text, or ours (`miracl`); methods.md A.11."""
        if name == "released":
            return cls(renormalise=False, leave_alone=False)
        if name == "paper":
            return cls(target_mix=(1.0, 0.0, 0.0), leave_alone=False)
        if name == "miracl":
            return cls()
        raise ConfigError("a preset out of released, paper, miracl", repr(name), "choose one of them")


def predicted_labels(
    probability: Float[np.ndarray, "stays labels"],
    probability_series: Float[np.ndarray, "stays labels"] | None,
    probability_note: Float[np.ndarray, "stays labels"] | None,
    has_series: Bool[np.ndarray, " stays"],
    has_note: Bool[np.ndarray, " stays"],
    config: CorrectionConfig,
) -> Float[np.ndarray, "stays labels"]:
    """Ŷ = Σ w·p / Σ w over the fused probability and the two heads, in [0, 1].

    With `renormalise`, only the heads of modalities that the stay has take part (their values elsewhere may be NaN); a
    stay with neither keeps the fused probability.
    """
    fused = np.float32(config.target_mix[0])
    mixed = fused * probability
    total: np.ndarray = np.full((len(probability), 1), fused, np.float32)
    heads = ((config.target_mix[1], probability_series, has_series), (config.target_mix[2], probability_note, has_note))
    for share, head, present in heads:
        if head is None or share == 0:
            continue
        weight = np.float32(share)
        if config.renormalise:
            here = present[:, None]
            mixed += np.where(here, weight * head, np.float32(0.0))
            total += np.where(here, weight, np.float32(0.0))
        else:
            mixed += weight * head
            total += weight
    mixed /= total
    return np.minimum(mixed, np.float32(1.0), out=mixed)


def corrected_labels(
    base: Float[np.ndarray, "stays labels"],
    predicted: Float[np.ndarray, "stays labels"],
    uncertainty: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    eligible: Bool[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    *,
    config: CorrectionConfig,
    previous: Float[np.ndarray, "stays labels"] | None = None,
) -> Float[np.ndarray, "stays labels"]:
    """Ỹcorr = U·Ŷ + (1-U)·ỹ, which is Eq. 7 and 8 in one line, since U is 0 on clean pairs and 1 on noisy ones.

    Parameters
    ----------
    base
        What is corrected: the given label (0 or 1, .5 for a soft answer).
    predicted, uncertainty
        Ŷ and U, 0–1.
    observed, eligible
        ỹ and Z⁻. A negative outside Z⁻ keeps its base (A.11 row 12); a positive is never filtered.
    member
        Pairs that may be corrected; the others (locked, test, not stated) keep their base.
    config, previous
        With `cumulative`, last epoch's corrected labels take the place of `base` (locked pairs excepted).

    Returns
    -------
    ndarray
        float32, between base and Ŷ.
    """
    may = member & (eligible | (observed != 0))
    origin = base if previous is None or not config.cumulative else np.where(member, previous, base)
    grade = np.where(may, uncertainty, np.float32(0.0))
    corrected: np.ndarray = grade * predicted
    corrected += (1 - grade) * origin
    return corrected
