"""What reasons are made of, and how a probability is told in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReasonConfig:
    """Numbers of the reasons.

    Parameters
    ----------
    never_learned, learned_late
        Mean distance between the recorded value and the probability over the epochs, from which the model "never
        learned" the value, or "hardly learned" it [probability, 0–1].
    moved
        Change of probability over the epochs that is worth a sentence [probability].
    modality
        Probability from which one modality, or the regression, alone speaks for present (below 1 - it: for absent)
        [probability].
    suspect
        Selection score from which a pair lies among the suspect of its group [0–1].
    findings
        Most findings of the panel repeated among the reasons [findings].
    twentieth
        Percentile from which a detector puts a pair among the most suspect of its group [0–1].
    agree, differ
        Share of detectors from which they are said to agree that a pair is suspect, and up to which that it is not
        [0–1].
    disagree
        Share of the most similar stays that must be recorded otherwise to be worth a sentence [0–1].
    unusual
        Percentile from which that many is unusual for the group: of a rare label's records it always is many [0–1].
    """

    never_learned: float = 0.7
    learned_late: float = 0.5
    moved: float = 0.3
    modality: float = 0.6
    suspect: float = 0.75
    findings: int = 3
    twentieth: float = 0.95
    agree: float = 0.5
    differ: float = 0.2
    disagree: float = 0.6
    unusual: float = 0.75


DEFAULT_REASONS = ReasonConfig()


@dataclass(frozen=True)
class Reason:
    """One sentence, how much it weighs (0–1), and the stored column that it was computed from."""

    text: str
    strength: float
    column: str


@dataclass(frozen=True)
class Number:
    """One figure for the fold: title, text, and its stored column."""

    title: str
    text: str
    column: str


def in_ten(share: float) -> str:
    """Tell a share (0–1) as people say it: "about 7 in 10", at the ends "fewer than 1 in 20", "19 in 20 or more"."""
    if share < 0.05:
        return "fewer than 1 in 20"
    if share >= 0.95:
        return "19 in 20 or more"
    return f"about {min(9, max(1, round(10 * share)))} in 10"


def value_word(value: int) -> str:
    """Present or absent."""
    return "present" if value else "absent"


def short(probability: float) -> str:
    """Spell a probability in two digits, without the leading nought: ".03"."""
    text = f"{probability:.2f}"
    return text[1:] if text.startswith("0") else text
