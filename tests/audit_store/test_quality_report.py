"""Quality of a round: hand-made answers, and answers given through the store under a signed protocol."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audit_store.batches import batch_items, draw_batch
from audit_store.decisions import adjudicate, new_token, undo
from audit_store.errors import AccessError
from audit_store.guidelines import load
from audit_store.people import operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.quality.bias import bias_of
from audit_store.quality.calibration import calibration_of
from audit_store.quality.groups import groups_of
from audit_store.quality.noise import Audit, audit_of, noise_by_label, noise_overall
from audit_store.quality.pace import own_pace, pace_by_purpose, pace_of
from audit_store.quality.pairs_of_readers import agreement_of
from audit_store.quality.passed_over import passed_over
from audit_store.quality.readings import Readings, readings
from audit_store.quality.report import own, quality
from audit_store.roles import Person
from tests.audit_store.conftest import Site


def known(rows: list[dict[str, Any]]) -> Readings:
    """Readings made by hand: a row per reader and pair."""
    plain = {
        "reader": "R1",
        "round_id": 1,
        "label_key": "shock",
        "answer": "absent",
        "purpose": "flag",
        "inclusion_probability": np.nan,
        "blinded": True,
        "observed": 0,
        "suggested": 1,
        "flagged": True,
        "partition": "noisy",
        "error_probability": 0.9,
        "active_seconds": 30.0,
    }
    first = pd.DataFrame([{**plain, "stay_id": n, "patient_id": n, **row} for n, row in enumerate(rows)])
    first["last"] = first["last"].fillna(first["answer"]) if "last" in first else first["answer"]
    first["pair"] = first.groupby(["stay_id", "label_key"]).ngroup()
    acts = first.rename(columns={"active_seconds": "seconds"})[["reader", "purpose", "seconds"]]
    acts = acts.assign(label_keys=[(key,) for key in first["label_key"]])
    return Readings(first, pd.DataFrame(), acts, {"ann": "R1", "ben": "R2", "cat": "R3"})


def test_the_audit_weighs_each_label_and_recorded_value_by_its_pairs() -> None:
    """4 of 10 wrong of 900 and 1 of 20 of 100: (900·0.4 + 100·0.05)/1000 = 0.365."""
    cells = [("shock", 900, 10, 4), ("copd", 100, 20, 1)]
    frame = pd.DataFrame(
        [
            {"label_key": key, "name": key, "persistence": "acute", "observed": observed, "pairs": n, "corrected": 0}
            for key, n, _read, _wrong in cells
            for observed in (0, 1)
        ]
    )
    rows = pd.concat(
        [
            pd.DataFrame(
                {
                    "stay_id": range(read),
                    "patient_id": range(read),
                    "label_key": key,
                    "observed": 0,
                    "truth": [1.0] * wrong + [0.0] * (read - wrong),
                    "weight": n / read,
                }
            )
            for key, n, read, wrong in cells
        ]
    )
    audit = Audit(rows, frame, 0)
    overall = noise_overall(audit, "missing")
    assert overall.recorded.estimate == pytest.approx(0.365)
    assert (overall.pairs, overall.readings) == (1000, 30)
    by_label = {one.label_key: one for one in noise_by_label(audit) if one.direction == "missing"}
    assert by_label["shock"].recorded.estimate == pytest.approx(0.4)
    assert by_label["copd"].recorded.estimate == pytest.approx(0.05)
    wrong = [one for one in noise_by_label(audit) if one.direction == "wrong"]
    assert not any(one.recorded.told or one.pooled for one in wrong)


def test_a_label_with_too_few_readings_takes_its_kinds_figure_and_says_so() -> None:
    frame = pd.DataFrame(
        [
            {"label_key": key, "name": key, "persistence": "acute", "observed": 0, "pairs": 100, "corrected": 0}
            for key in ("shock", "pneumonia")
        ]
    )
    rows = pd.DataFrame(
        {
            "stay_id": range(15),
            "patient_id": range(15),
            "label_key": ["shock"] * 12 + ["pneumonia"] * 3,
            "observed": 0,
            "truth": [1.0] * 3 + [0.0] * 12,
            "weight": [100 / 12] * 12 + [100 / 3] * 3,
        }
    )
    shock, pneumonia = (one for one in noise_by_label(Audit(rows, frame, 0)) if one.direction == "missing")
    assert (shock.pooled, pneumonia.pooled) == (None, "acute labels")
    assert pneumonia.recorded.estimate == pytest.approx(0.125)
    assert pneumonia.readings == 3


def test_a_change_towards_the_suggestion_is_told_from_one_away() -> None:
    """20 against the correction, 5 of them changed to it; 10 for it, 1 changed away."""
    rows: list[dict[str, Any]] = [{"answer": "absent", "last": "present" if n < 5 else "absent"} for n in range(20)]
    rows += [{"answer": "present", "last": "absent" if n < 1 else "present"} for n in range(10)]
    rows += [{"answer": "cannot_tell", "last": "present"}] * 3
    bias = bias_of(known(rows))
    assert (bias.proposed.towards.estimate, bias.proposed.away.estimate) == (0.25, 0.1)
    assert bias.proposed.more is not None
    assert bias.proposed.more[0] == pytest.approx(0.15)
    assert not bias.standing.towards.told
    assert bias.called_wrong["flag"].estimate == pytest.approx(10 / 30)
    assert bias.pull is None


def test_controls_count_by_their_weights_and_open_readings_are_set_against_blind_ones() -> None:
    rows: list[dict[str, Any]] = [
        {
            "purpose": "control",
            "flagged": False,
            "suggested": 0,
            "answer": "present" if n < 6 else "absent",
            "inclusion_probability": 0.5 if n < 6 else 0.1,
        }
        for n in range(10)
    ]
    rows += [{"answer": "present" if n < 12 else "absent", "blinded": False} for n in range(15)]
    rows += [{"answer": "present" if n < 10 else "absent"} for n in range(20)]
    bias = bias_of(known(rows))
    assert bias.called_wrong["control"].estimate == pytest.approx(12 / 52)
    assert (bias.blind.estimate, bias.open.estimate) == (0.5, 0.8)
    assert bias.pull is not None
    assert bias.pull[0] == pytest.approx(0.3)


def test_times_are_told_of_three_readers_and_ones_own_to_oneself() -> None:
    two = known([{"reader": f"R{n % 2 + 1}", "active_seconds": 10.0 + n} for n in range(30)])
    assert not pace_of(two).told
    mine = own_pace(two, "ann")
    assert (mine.n, mine.median) == (15, 24.0)
    assert own_pace(two, "nobody").n == 0
    three = known([{"reader": f"R{n % 3 + 1}", "active_seconds": float(n)} for n in range(21)])
    assert pace_of(three).median == 10.0
    assert [one.name for one in pace_by_purpose(three)] == ["flag"]


def test_cannot_say_is_missing_in_one_alpha_and_an_answer_in_the_other() -> None:
    rows: list[dict[str, Any]] = []
    for n in range(12):
        said = "present" if n % 2 else "absent"
        rows += [{"stay_id": n, "patient_id": n, "answer": said}]
        rows += [{"stay_id": n, "patient_id": n, "reader": "R2", "answer": "cannot_tell" if n < 2 else said}]
    found = agreement_of(known(rows))
    assert (found.committed.n, found.committed.value) == (10, 1.0)
    assert (found.all_answers.n, found.all_answers.agreed) == (12, 10)
    assert found.all_answers.value is not None
    assert found.all_answers.value < 1
    assert [(two.one, two.other, two.kappa.n) for two in found.twos] == [("R1", "R2", 10)]


# -- through the store -------------------------------------------------------------------------------------------


@pytest.fixture
def audited(make_site: Callable[..., Site]) -> tuple[Site, dict[tuple[int, str], str]]:
    """A site whose random audit was read by one reader, and what was said of each pair asked."""
    site = make_site(n_stays=60, n_labels=4)
    sign_protocol(site.store, operator(), Terms(batch_size=60, budget=300, audit_share=0.4), load())
    ann = site.people["ann"]
    batch = draw_batch(site.store, site.people["sam"], site.round, reader="ann", kind="random_audit", size=80)
    assert batch is not None
    rng = np.random.default_rng(4)
    said: dict[tuple[int, str], str] = {}
    for item in batch_items(site.store, site.round, ann, batch):
        for key in item.label_keys:
            answer = ("absent", "present", "cannot_tell")[int(rng.choice(3, p=[0.5, 0.4, 0.1]))]
            row = site.say("ann", item.stay_id, key, answer, active_seconds=20.0)
            assert row.purpose == "random_audit"
            said[item.stay_id, key] = answer
    return site, said


def audited_pairs(site: Site) -> Audit:
    return audit_of(site.round, readings(site.store, site.round), passed_over(site.store, site.round))


def test_what_a_sole_reader_answered_before_any_protocol_counts_in_its_turn(make_site: Callable[..., Site]) -> None:
    """One person reads all there is, the flags before an audit was planned, and only flags are wrong."""
    site = make_site(n_stays=60, n_labels=4)
    flags = set(site.flags())
    pairs = site.round.frame("SELECT stay_id, label_key, observed FROM pair JOIN label USING (label_id)")
    recorded = {(int(stay), str(key)): int(value) for stay, key, value in pairs.itertuples(index=False)}
    truth = {pair: value != (pair in flags) for pair, value in recorded.items()}

    def say(pair: tuple[int, str]) -> str:
        return str(site.say("ann", *pair, "present" if truth[pair] else "absent").purpose)

    assert {say(pair) for pair in flags} == {"flag"}
    assert quality(site.store, site.people["aud"], site.round).audited == 0
    sign_protocol(site.store, operator(), Terms(batch_size=60, budget=800, audit_share=0.4), load())
    sam, ann = site.people["sam"], site.people["ann"]
    while (batch := draw_batch(site.store, sam, site.round, reader="ann", kind="random_audit", size=100)) is not None:
        for item in batch_items(site.store, site.round, ann, batch):
            for key in item.label_keys:
                if (item.stay_id, key) not in flags:
                    assert say((item.stay_id, key)) == "random_audit"
    report = quality(site.store, site.people["aud"], site.round)
    groups = {key for keys in site.round.label_groups.values() for key in keys}
    assert len(recorded) - len(flags) < report.audited
    assert report.audited > len(recorded) - 2 * len(groups | set(site.round.label_ids))  # less what lies behind
    for way, value in (("missing", 0), ("wrong", 1)):
        among = [pair for pair, one in recorded.items() if one == value]
        wrong = sum(pair in flags for pair in among) / len(among)
        assert wrong > 0.02
        assert report.overall[way].recorded.estimate == pytest.approx(wrong, abs=0.03)


def test_noise_of_an_audit_read_through_the_store_is_that_of_its_answers(
    audited: tuple[Site, dict[tuple[int, str], str]],
) -> None:
    site, said = audited
    report = quality(site.store, site.people["aud"], site.round)
    pairs = site.round.frame("SELECT stay_id, label_key, observed FROM pair JOIN label USING (label_id)")
    for way, observed in (("missing", 0), ("wrong", 1)):
        total = wrong = 0.0
        for key, group in pairs[pairs["observed"] == observed].groupby("label_key"):
            asked = [said[stay, key] for stay in group["stay_id"] if (stay, key) in said]
            told = [answer for answer in asked if answer != "cannot_tell"]
            if asked:  # each answer stands for the same number of pairs of its label and recorded value
                share = len(group) / len(asked)
                total += share * len(told)
                wrong += share * sum((answer == "present") != bool(observed) for answer in told)
        assert report.overall[way].recorded.estimate == pytest.approx(wrong / total)
    assert report.audited == len(said)
    assert report.audit_unsure == sum(answer == "cannot_tell" for answer in said.values())


def test_what_readers_settled_is_taken_off_what_is_handed_out(
    audited: tuple[Site, dict[tuple[int, str], str]],
) -> None:
    site, _said = audited
    report = quality(site.store, site.people["sam"], site.round)
    for one in report.overall.values():
        assert one.corrected > 0
        assert one.handed_out.estimate is not None
        assert one.recorded.estimate is not None
        assert one.handed_out.estimate < one.recorded.estimate


def test_a_new_answer_renews_the_figures_and_a_repeated_look_does_not(
    audited: tuple[Site, dict[tuple[int, str], str]],
) -> None:
    site, said = audited
    before = quality(site.store, site.people["sam"], site.round)
    assert quality(site.store, site.people["aud"], site.round) is before
    stay, key = next(pair for pair in site.flags() if pair not in said)
    site.say("ben", stay, key, "present")
    assert quality(site.store, site.people["sam"], site.round).readings == before.readings + 1


def test_an_adjudicated_answer_counts_and_a_conflict_cannot_be_told(
    audited: tuple[Site, dict[tuple[int, str], str]],
) -> None:
    site, said = audited
    (stay, key), answer = next((pair, answer) for pair, answer in said.items() if answer == "present")

    def truth() -> float:
        rows = audited_pairs(site).rows
        return float(rows[(rows["stay_id"] == stay) & (rows["label_key"] == key)]["truth"].iloc[0])

    assert truth() == 1.0
    site.say("ben", stay, key, "absent")
    assert np.isnan(truth())
    adjudicate(site.store, site.people["ada"], 1, stay, key, "absent", token=new_token())
    assert truth() == 0.0
    assert answer == "present"


def test_the_first_blind_answer_counts_and_one_taken_back_does_not(site: Site) -> None:
    (stay, key), (other, its) = site.singles()[:2]
    first = site.say("ann", stay, key, "absent")
    site.say("ann", stay, key, "present", supersedes=first.id, blinded=False, saw_suggestion=True)
    site.say("ann", other, its, "present")
    undo(site.store, site.people["ann"], new_token())
    rows = readings(site.store, site.round).first
    assert rows[["stay_id", "answer", "last"]].values.tolist() == [[stay, "absent", "present"]]


def test_an_answer_with_the_suggestion_on_the_screen_is_no_audit(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(n_stays=60, n_labels=4)
    sign_protocol(site.store, operator(), Terms(batch_size=20, budget=200, blind=False), load())
    batch = draw_batch(site.store, site.people["sam"], site.round, reader="ann", kind="random_audit", size=10)
    assert batch is not None
    for item in batch_items(site.store, site.round, site.people["ann"], batch):
        for key in item.label_keys:
            site.say("ann", item.stay_id, key, "absent", blinded=False, saw_suggestion=True)
    report = quality(site.store, site.people["sam"], site.round)
    assert report.audited == 0
    assert report.audit_not_blind >= 10


def test_groups_that_the_cohort_lacks_are_named_and_sparse_ones_say_too_few(
    audited: tuple[Site, dict[tuple[int, str], str]],
) -> None:
    site, _said = audited
    found = readings(site.store, site.round)
    groups, absent = groups_of(site.store, found, audited_pairs(site))
    assert absent == ["sex", "ethnicity", "hospital"]
    assert [one.name for one in groups] == ["under 45", "45–64", "65–79", "80 and over"]
    assert sum(one.stays for one in groups) == 60
    assert any(not one.wrong.told for one in groups)
    assert all(one.agreement.few for one in groups)


def test_bins_of_a_calibrated_round_hold_all_its_open_pairs(audited: tuple[Site, dict[tuple[int, str], str]]) -> None:
    site, _said = audited
    bins = calibration_of(site.round, readings(site.store, site.round))
    assert sum(one.pairs for one in bins) == site.round.n_pairs
    assert sum(one.flagged for one in bins) == site.round.n_flagged
    assert all(one.low <= one.said <= one.high for one in bins)
    assert any(one.found.told for one in bins)
    assert quality(site.store, site.people["sam"], site.round).calibration is None


def test_a_round_without_readings_has_no_figures_and_needs_no_decisions(site: Site) -> None:
    report = quality(site.store, site.people["ann"], site.round)
    assert (report.readings, report.readers, report.audited) == (0, 0, 0)
    assert not any(one.recorded.told for one in report.noise)
    assert own(site.store, site.people["ann"], site.round).reader is None


def test_who_may_not_view_is_refused(site: Site) -> None:
    with pytest.raises(AccessError):
        quality(site.store, Person("x", "X", "nobody"), site.round)
    with pytest.raises(AccessError):
        own(site.store, Person("ann", "Ann", "reviewer", active=False), site.round)
