"""What detectors say, in a clinician's words: sentences for the reasons, and titles for the picture of their places."""

from collections.abc import Mapping, Sequence
from typing import Any

from audit_store.detectors import DetectorPlace
from audit_store.reason_words import Reason, ReasonConfig, in_ten, short, value_word

TITLES = {
    "miracl_score": "odd and hard to learn (MIRACL)",
    "rank": "place among the stay's labels",
    "difficulty": "long got wrong",
    "loss": "improbable while learning",
    "loss_last": "improbable at the end",
    "cnlcu_s": "steadily improbable (CNLCU-S)",
    "aum": "leant the other way (AUM)",
    "linc": "lost the model's trust (LiNC)",
    "mild": "more epochs against (MILD)",
    "el2n": "far from early guesses (EL2N)",
    "grand": "pulled at the model (GraNd)",
    "data_maps": "little confidence (Data Maps)",
    "data_iq": "sure of the opposite (Data-IQ)",
    "confident_learning": "model without this patient",
    "neighbours": "most similar other patients",
    "visits": "this patient's other visits",
}
"""Titles by the detectors' names, short enough for a narrow pane; another detector goes by its name."""

SMALL_GROUP = 100
"""Records of a group up to which a place is told as a count, not as a share."""


def title(name: str) -> str:
    """Name a detector for the screens."""
    return TITLES.get(name, name.replace("_", " "))


def tells(place: DetectorPlace) -> bool:
    """Whether a detector tells a group's pairs apart at this place: not where all of them tie."""
    return place.n > 1 and not (place.place == 1 and place.percentile <= 0.5)


def telling(places: Sequence[DetectorPlace]) -> list[DetectorPlace]:
    """Places worth showing, most suspect first; equals in the trainer's order."""
    return sorted((place for place in places if tells(place)), key=lambda place: -place.percentile)


def standing(place: DetectorPlace) -> str:
    """Say where a pair stands: "top 2 %", "above 63 %"; in a group under a hundred, untied, "3 of 40"."""
    tied = round((1 - place.percentile) * place.n + 0.5) != place.place
    if place.n < SMALL_GROUP and not tied:
        return f"{place.place} of {place.n}"
    top = 1 - place.percentile
    if top < 0.005:
        return "top 0.5 %"
    if top < 0.1:
        return f"top {max(1, round(100 * top))} %"
    return f"above {round(100 * place.percentile)} %"


def reasons_of_detectors(
    columns: Mapping[str, Any], places: Sequence[DetectorPlace], observed: int, name: str, config: ReasonConfig
) -> list[Reason]:
    """Say what the peer, the similar stays and the detectors together say of a pair.

    Parameters
    ----------
    columns
        The pair's columns; of them `probability_peer`.
    places
        The pair's places by each detector.
    observed
        The recorded value.
    name
        The label's name.
    config
        From where on something is worth a sentence.
    """
    return [
        *_of_peer(columns, places, observed, config),
        *_of_neighbours(places, observed, name, config),
        *_together(places, config),
    ]


def _percentile(places: Sequence[DetectorPlace], name: str) -> float | None:
    return next((place.percentile for place in places if place.name == name), None)


def _of_peer(
    columns: Mapping[str, Any], places: Sequence[DetectorPlace], observed: int, config: ReasonConfig
) -> list[Reason]:
    """Quote the regression; where its disagreement is nothing unusual for the group, the sentence weighs little."""
    stored = columns.get("probability_peer")
    if stored is None or stored != stored:
        return []
    p = float(stored)
    said = 1 if p >= config.modality else 0 if p <= 1 - config.modality else None
    if said is None:
        return []
    text = f"the regression trained without this patient says {value_word(said)} ({short(p)})"
    if said == observed:
        return [Reason(f"{text}, as recorded", 0.2, "pair.probability_peer")]
    unusual = _percentile(places, "confident_learning")
    strength = 0.4 * abs(p - observed) + 0.4 * (0.5 if unusual is None else unusual)
    return [Reason(f"{text}, against the record", strength, "pair.probability_peer")]


def _of_neighbours(places: Sequence[DetectorPlace], observed: int, name: str, config: ReasonConfig) -> list[Reason]:
    for place in places:
        if place.name == "neighbours" and place.score >= config.disagree and place.percentile >= config.unusual:
            does = "don't carry" if observed else "carry"
            text = f"{in_ten(place.score)} of its most similar stays of other patients {does} {name}"
            return [Reason(text, 0.3 + 0.4 * place.percentile, "detector_score.neighbours")]
    return []


def _together(places: Sequence[DetectorPlace], config: ReasonConfig) -> list[Reason]:
    counted = [place for place in places if tells(place)]
    if len(counted) < 3:
        return []
    many = sum(place.percentile >= config.twentieth for place in counted)
    share = many / len(counted)
    if share >= config.agree:
        text = f"{many} of {len(counted)} detectors put it among the most suspect twentieth of its group"
        return [Reason(text, 0.3 + 0.4 * share, "detector_score")]
    if share <= config.differ:
        word = f"only {many}" if many else "none"
        text = f"{word} of {len(counted)} detectors put{'s' if many <= 1 else ''} it among the most suspect twentieth"
        return [Reason(text, 0.15, "detector_score")]
    return []
