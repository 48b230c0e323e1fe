"""What detectors and findings are told as: change the stored figure and the sentence goes or turns."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.detector_words import TITLES, standing, telling, tells, title
from audit_store.detectors import DetectorPlace
from audit_store.reason_words import in_ten, short
from audit_store.reasons import numbers, reasons
from audit_store.round_findings import did_it_help, harm_sum, left_alone

PAIR: dict[str, Any] = {"observed": 1, "probability_series": 0.5, "probability_note": 0.5, "history": b""}


def at(name: str, percentile: float, score: float = 0.5, n: int = 1000) -> DetectorPlace:
    return DetectorPlace(name, score, 1 + round((1 - percentile) * n), n, percentile)


def said(pair: dict[str, Any], *places: DetectorPlace) -> dict[str, str]:
    return {r.text: r.column for r in reasons(pair, None, None, None, "COPD", places=places)}


def test_the_regression_without_this_patient_is_quoted_with_its_probability() -> None:
    assert said({**PAIR, "probability_peer": 0.031}) == {
        "the regression trained without this patient says absent (.03), against the record": "pair.probability_peer"
    }
    assert list(said({**PAIR, "probability_peer": 0.97})) == [
        "the regression trained without this patient says present (.97), as recorded"
    ]
    assert said({**PAIR, "probability_peer": 0.5}) == {}
    assert said({**PAIR, "probability_peer": None}) == {}
    assert said({**PAIR, "probability_peer": float("nan")}) == {}


def test_similar_stays_of_other_patients_are_told_as_a_share() -> None:
    found = said(PAIR, at("neighbours", 0.97, 0.82))
    assert list(found) == ["about 8 in 10 of its most similar stays of other patients don't carry COPD"]
    absent = said({**PAIR, "observed": 0}, at("neighbours", 0.97, 0.82))
    assert list(absent) == ["about 8 in 10 of its most similar stays of other patients carry COPD"]
    assert said(PAIR, at("neighbours", 0.97, 0.3)) == {}
    assert said(PAIR, at("neighbours", 0.6, 0.82)) == {}
    assert said(PAIR, at("aum", 0.97, 0.82)) == {}


def test_detectors_that_agree_are_counted_together_and_so_are_those_that_do_not() -> None:
    suspect = [at(name, 0.97) for name in ("aum", "loss", "mild")]
    calm = [at(name, 0.4) for name in ("rank", "linc", "grand", "el2n", "data_iq")]
    assert list(said(PAIR, *suspect)) == ["3 of 3 detectors put it among the most suspect twentieth of its group"]
    assert said(PAIR, *suspect, *calm[:4]) == {}
    assert list(said(PAIR, suspect[0], *calm)) == ["only 1 of 6 detectors puts it among the most suspect twentieth"]
    assert list(said(PAIR, *calm)) == ["none of 5 detectors puts it among the most suspect twentieth"]
    assert said(PAIR, *suspect[:2]) == {}


def test_a_detector_that_ties_the_whole_group_is_left_out() -> None:
    tied = DetectorPlace("visits", 0.0, 1, 100, 0.5)
    assert not tells(tied)
    assert not tells(DetectorPlace("loss", 0.3, 1, 1, 0.5))
    assert tells(DetectorPlace("loss", 0.3, 1, 2, 0.75))
    places = [at("aum", 0.4), tied, at("loss", 0.9)]
    assert [place.name for place in telling(places)] == ["loss", "aum"]


def test_a_standing_is_told_from_the_top_where_it_is_near_the_top() -> None:
    assert standing(at("aum", 0.999)) == "top 0.5 %"
    assert standing(at("aum", 0.98)) == "top 2 %"
    assert standing(at("aum", 0.63)) == "above 63 %"
    assert standing(DetectorPlace("aum", 0.3, 2, 9, 15 / 18)) == "2 of 9"
    assert standing(DetectorPlace("mild", 8.0, 1, 53, 0.5566)) == "above 56 %"


def test_the_regression_weighs_less_where_its_disagreement_is_usual_for_the_group() -> None:
    pair = {**PAIR, "probability_peer": 0.1}

    def strength(*places: DetectorPlace) -> float:
        return next(r.strength for r in reasons(pair, None, None, None, places=places) if "regression" in r.text)

    assert strength(at("confident_learning", 0.2)) < strength() < strength(at("confident_learning", 0.98))


def test_every_detector_of_a_round_has_a_title_and_a_new_one_goes_by_its_name() -> None:
    registry = pytest.importorskip("core.detectors.registry")
    assert set(TITLES) == set(registry.DETECTORS)
    assert title("new_one") == "new one"


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1))
def test_a_share_in_words_is_never_far_from_the_share(share: float) -> None:
    words = in_ten(share)
    if words.startswith("about"):
        assert abs(int(words.split()[1]) / 10 - share) <= 0.0501
    else:
        assert share < 0.05 if words == "fewer than 1 in 20" else share >= 0.95


def test_probabilities_are_short_and_one_stays_one() -> None:
    assert [short(p) for p in (0.031, 0.5, 1.0, 0.0)] == [".03", ".50", "1.00", ".00"]


def test_a_probability_of_error_is_a_percentage_only_where_it_is_calibrated() -> None:
    pair = {**PAIR, "error_probability": 0.714}
    assert "71 %" in [n.text for n in numbers({**pair, "calibrated": True})]
    assert not [n for n in numbers({**pair, "calibrated": False}) if "%" in n.text]


def compared(**more: Any) -> pd.DataFrame:
    row = {"metric": "map", "with_decisions": 0.42, "without_decisions": 0.4, "difference": 0.02, "n_patients": 9}
    return pd.DataFrame([{**row, "low": 0.01, "high": 0.03, "note": None, **more}])


def test_decisions_helped_or_harmed_only_where_the_whole_interval_says_so() -> None:
    assert [v.word for v in did_it_help(compared())] == ["helped"]
    assert [v.word for v in did_it_help(compared(low=-0.01))] == ["no difference seen"]
    assert [v.word for v in did_it_help(compared(low=-0.03, high=-0.001))] == ["harmed"]
    assert [v.word for v in did_it_help(compared(low=0.0, high=0.0))] == ["no difference seen"]
    assert did_it_help(compared().iloc[:0]) == []
    assert did_it_help(compared(note="as recorded"))[0].note == "as recorded"


def test_harm_is_summed_over_groups_with_pairs_and_groups_left_alone_go_by_their_reason() -> None:
    def row(name: str, direction: str, pairs: int, changed: int, alone: bool, reason: str | None) -> dict[str, Any]:
        half = changed / 2
        sums = {"expected_better": half, "expected_worse": half}
        after = {"expected_error_before": 1.0, "expected_error_after": 0.5}
        return {"name": name, "direction": direction, "pairs": pairs, "changed": changed, **sums, **after,
                "left_alone": alone, "reason": reason}  # fmt: skip

    frame = pd.DataFrame(
        [
            row("A", "false_negative", 10, 4, False, None),
            row("B", "false_negative", 10, 0, True, "no noise found"),
            row("C", "false_positive", 10, 0, True, None),
            row("D", "false_negative", 9, 0, True, "no noise found"),
            row("E", "false_positive", 0, 0, True, "no pairs"),
        ]
    )
    total = harm_sum(frame)
    assert total is not None
    assert (total.changed, total.better, total.worse, total.groups, total.left_alone) == (4, 2.0, 2.0, 4, 3)
    assert (total.error_before, total.error_after) == (4.0, 2.0)
    assert left_alone(frame) == [
        ("false_negative", "no noise found", ["B", "D"]),
        ("false_positive", "no reason given", ["C"]),
    ]
    assert harm_sum(frame.iloc[:0]) is None
    assert left_alone(frame.iloc[:1]) == []
