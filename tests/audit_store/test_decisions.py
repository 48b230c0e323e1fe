"""Recording, changing, undoing, settling; and the state of a pair against a plain fold."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.decisions import (
    PairState,
    Reading,
    accepts,
    activity,
    adjudicate,
    conflicts,
    current_answer,
    new_token,
    of_pair,
    pair_state,
    recent,
    record,
    record_together,
    redact,
    undo,
)
from audit_store.errors import DecisionError, RoundError
from audit_store.ledger import events_of, head
from audit_store.states import _ADJUDICATIONS, _DECISIONS, derive, snapshot
from audit_store.verify import verify

from .conftest import Site

MakeSite = Callable[..., Site]


def test_a_decision_keeps_what_the_round_said_and_who_said_what(site: Site) -> None:
    stay, key = site.singles()[0]
    pair = site.round.pair(stay, key)
    made = site.say(
        "ann", stay, key, "present", certainty="low", comment=" because ", evidence_opened=("note", "panel")
    )
    assert (made.reviewer, made.observed, made.suggested) == ("ann", pair.observed, pair.suggested)
    assert made.blinded
    assert not made.saw_suggestion
    assert made.evidence_opened == '["note","panel"]'
    assert current_answer(site.store, site.people["ann"], stay, key) == made
    assert of_pair(site.store, stay, key)["comment"].tolist() == ["because"]
    assert "because" not in str(events_of(site.store, "decision")[-1].data)


@pytest.mark.parametrize(
    ("answer", "observed", "suggested", "wanted"),
    [
        ("present", 0, 1, True),
        ("absent", 0, 1, False),
        ("absent", 1, 0, True),
        ("present", 1, 0, False),
        ("cannot_tell", 0, 1, None),
        ("present", 1, 1, None),
        ("retract", 0, 1, None),
    ],
)
def test_accepting_or_rejecting_is_derived(answer: str, observed: int, suggested: int, wanted: bool | None) -> None:
    assert accepts(answer, observed, suggested) is wanted


def test_the_same_token_is_the_same_decision_whatever_it_says_the_second_time(site: Site) -> None:
    stay, key = site.singles()[0]
    token = new_token()
    ann = site.people["ann"]
    first = record(site.store, ann, Reading(1, stay, key, "present"), token)
    before = head(site.store)
    for answer in ("present", "absent"):
        assert record(site.store, ann, Reading(1, stay, key, answer), token) == first
    assert head(site.store) == before


def test_a_token_of_another_pair_or_person_is_refused(site: Site) -> None:
    token = new_token()
    one, two = site.singles()[:2]
    record(site.store, site.people["ann"], Reading(1, *one, "present"), token)
    with pytest.raises(DecisionError, match="token used once"):
        record(site.store, site.people["ann"], Reading(1, *two, "present"), token)
    with pytest.raises(DecisionError, match="token used once"):
        record(site.store, site.people["ben"], Reading(1, *one, "present"), token)
    with pytest.raises(DecisionError, match="token used once"):
        undo(site.store, site.people["ann"], token)


def test_a_held_key_in_many_threads_writes_one_decision(site: Site) -> None:
    stay, key = site.singles()[0]
    token = new_token()
    made: list[int] = []

    def press() -> None:
        made.append(record(site.store, site.people["ann"], Reading(1, stay, key, "present"), token).id)

    threads = [threading.Thread(target=press) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    assert len(set(made)) == 1
    assert len(of_pair(site.store, stay, key)) == 1


def test_a_second_answer_must_name_the_first_and_is_marked_as_seen(site: Site) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    with pytest.raises(DecisionError, match="not yet answered by you"):
        site.say("ann", stay, key, "absent")
    second = site.say("ann", stay, key, "absent", supersedes=first.id)
    assert second.saw_suggestion
    assert not second.blinded
    with pytest.raises(DecisionError):
        site.say("ann", stay, key, "present", supersedes=first.id)
    frame = of_pair(site.store, stay, key)
    assert frame["answer"].tolist() == ["present", "absent"]
    assert frame["current"].tolist() == [False, True]
    assert pair_state(site.store, stay, key).value == 0


def test_one_may_not_replace_what_another_said(site: Site) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    with pytest.raises(DecisionError, match="own answer"):
        site.say("ben", stay, key, "absent", supersedes=first.id)


def test_an_undo_is_a_new_row_and_brings_back_the_answer_before_it(site: Site) -> None:
    stay, key = site.singles()[0]
    ann = site.people["ann"]
    first = site.say("ann", stay, key, "present")
    site.say("ann", stay, key, "absent", supersedes=first.id)
    undo(site.store, ann, new_token())
    assert current_answer(site.store, ann, stay, key) == first
    token = new_token()
    taken = undo(site.store, ann, token)
    assert undo(site.store, ann, token) == taken
    assert current_answer(site.store, ann, stay, key) is None
    assert pair_state(site.store, stay, key) == PairState("open", None, False, None, ())
    assert of_pair(site.store, stay, key)["answer"].tolist() == ["present", "absent", "retract", "retract"]
    assert recent(site.store, ann)["taken_back"].all()
    with pytest.raises(DecisionError, match="none that stands"):
        undo(site.store, ann, new_token())
    again = site.say("ann", stay, key, "absent")
    assert again.saw_suggestion


def test_undo_reaches_the_last_ten_acts_and_no_further(site: Site) -> None:
    made = [site.say("ann", *pair, "present") for pair in site.singles()[:12]]
    ann = site.people["ann"]
    with pytest.raises(DecisionError, match="last 10"):
        undo(site.store, ann, new_token(), made[1].id)
    assert undo(site.store, ann, new_token(), made[2].id)[0].supersedes == made[2].id
    for _ in range(9):
        undo(site.store, ann, new_token())
    with pytest.raises(DecisionError):
        undo(site.store, ann, new_token())
    assert sum(current_answer(site.store, ann, d.stay_id, d.label_key) is not None for d in made) == 2


def test_one_cannot_undo_anothers_answer_or_one_that_was_changed_since(site: Site) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    with pytest.raises(DecisionError):
        undo(site.store, site.people["ben"], new_token(), first.id)
    site.say("ann", stay, key, "absent", supersedes=first.id)
    with pytest.raises(DecisionError, match="undo the change first"):
        undo(site.store, site.people["ann"], new_token(), first.id)


def test_labels_decided_together_are_one_act_and_one_undo(site: Site) -> None:
    ann = site.people["ann"]
    keys = site.round.label_groups["diabetes"]
    readings = [Reading(1, 1000, keys[0], "absent"), Reading(1, 1000, keys[1], "present")]
    token = new_token()
    made = record_together(site.store, ann, readings, token)
    assert record_together(site.store, ann, readings, token) == made
    assert [row.label_key for row in made] == list(keys)
    assert len(undo(site.store, ann, new_token())) == 2
    assert all(current_answer(site.store, ann, 1000, key) is None for key in keys)


def test_a_group_is_written_whole_or_not_at_all(site: Site) -> None:
    keys = site.round.label_groups["diabetes"]
    site.say("ann", 1000, keys[1], "present")
    before = head(site.store)
    readings = [Reading(1, 1000, keys[0], "absent"), Reading(1, 1000, keys[1], "absent")]
    with pytest.raises(DecisionError):
        record_together(site.store, site.people["ann"], readings, new_token())
    assert head(site.store) == before
    both = [Reading(1, 1002, keys[0], "present"), Reading(1, 1002, keys[1], "present")]
    with pytest.raises(DecisionError, match="at most one present"):
        record_together(site.store, site.people["ann"], both, new_token())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "maybe"}, "answer in"),
        ({"answer": "retract"}, "undo"),
        ({"certainty": "medium"}, "certainty in"),
        ({"purpose": "fun"}, "purpose in"),
        ({"codable": "perhaps"}, "codable in"),
        ({"active_seconds": float("nan")}, "active_seconds"),
        ({"active_seconds": -1.0}, "active_seconds"),
        ({"inclusion_probability": 0.0}, "inclusion_probability"),
        ({"inclusion_probability": 1.5}, "inclusion_probability"),
        ({"comment": "x" * 5000}, "comment"),
        ({"comment": "a\x00b"}, "plain text"),
        ({"comment": "a\ud800b"}, "plain text"),
        ({"reason_code": "x" * 81}, "reason_code"),
        ({"batch": "a\nb"}, "batch"),
        ({"supersedes": 3}, "own answer"),
    ],
)
def test_bad_readings_are_refused_in_one_line_and_leave_no_trace(
    site: Site, change: dict[str, Any], words: str
) -> None:
    stay, key = site.singles()[0]
    before = head(site.store)
    with pytest.raises(DecisionError, match=words) as caught:
        record(site.store, site.people["ann"], Reading(1, stay, key, **{"answer": "present", **change}), new_token())
    assert "\n" not in str(caught.value)
    assert head(site.store) == before


def test_a_pair_that_the_round_lacks_is_refused(site: Site) -> None:
    for reading in (
        Reading(1, 5, "shock", "present"),
        Reading(1, 1000, "gout", "present"),
        Reading(9, 1000, "shock", "present"),
    ):
        with pytest.raises(RoundError):
            record(site.store, site.people["ann"], reading, new_token())


def test_two_readers_at_once_are_both_kept(site: Site) -> None:
    stay, key = site.singles()[0]
    barrier = threading.Barrier(2)

    def say(who: str, answer: str) -> None:
        barrier.wait()
        site.say(who, stay, key, answer)

    threads = [threading.Thread(target=say, args=item) for item in (("ann", "present"), ("ben", "absent"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pair_state(site.store, stay, key).state == "conflict"
    assert conflicts(site.store)[["stay_id", "label_key", "readers"]].to_numpy().tolist() == [[stay, key, "ann;ben"]]
    assert verify(site.store) == []


def test_an_adjudication_settles_a_conflict_and_only_by_a_third(site: Site) -> None:
    stay, key = site.singles()[0]
    ada = site.people["ada"]
    with pytest.raises(DecisionError, match="someone read"):
        adjudicate(site.store, ada, 1, stay, key, "present", token=new_token())
    site.say("ann", stay, key, "present")
    site.say("ben", stay, key, "absent")
    token = new_token()
    made = adjudicate(site.store, ada, 1, stay, key, "absent", comment="echo", token=token)
    assert adjudicate(site.store, ada, 1, stay, key, "absent", comment="echo", token=token) == made
    state = pair_state(site.store, stay, key)
    assert (state.state, state.value, state.locked) == ("adjudicated", 0, True)
    assert len(conflicts(site.store)) == 0
    other = site.singles()[1]
    site.say("ada", *other, "present")
    with pytest.raises(DecisionError, match="one of its readers"):
        adjudicate(site.store, ada, 1, *other, "absent", token=new_token())


def test_a_comment_can_be_redacted_without_breaking_the_chain(site: Site) -> None:
    stay, key = site.singles()[0]
    made = site.say("ann", stay, key, "present", comment="names a colleague")
    redact(site.store, site.people["sam"], made.comment_id, "personal")
    assert of_pair(site.store, stay, key)["comment"].isna().all()
    assert verify(site.store) == []
    with pytest.raises(DecisionError):
        redact(site.store, site.people["sam"], made.comment_id, "again")


def test_ones_own_pace_counts_ones_own_acts(site: Site) -> None:
    for seconds, pair in zip((10.0, 20.0, 60.0), site.singles(), strict=False):
        site.say("ann", *pair, "present", active_seconds=seconds)
    frame = activity(site.store, site.people["ann"])
    assert frame["decisions"].tolist() == [3]
    assert frame["median_seconds"].tolist() == [20.0]
    assert len(activity(site.store, site.people["ben"])) == 0


# --- states against a plain fold ------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["present", "absent", "cannot_tell", "undo", "adjudicate"]),
        st.sampled_from(["high", "low"]),
        st.sampled_from(["r1", "r2", "r3"]),
        st.integers(0, 2),
    ),
    max_size=25,
)


def fold(
    rows: list[dict[str, Any]], judged: list[dict[str, Any]], pair: int
) -> tuple[str, int | None, bool, float | None]:
    """State, value, locked and soft target of one pair, row by row."""
    stacks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["stay_id"] != pair:
            continue
        stack = stacks.setdefault(row["reviewer"], [])
        if row["answer"] == "retract":
            stack[:] = [kept for kept in stack if kept["id"] != row["supersedes"]]
        else:
            stack.append(row)
    standing = [stack[-1] for stack in stacks.values() if stack]
    settled = [row for row in judged if row["stay_id"] == pair]
    if settled:
        answer = settled[-1]["answer"]
        value = {"present": 1, "absent": 0}.get(answer)
        return "adjudicated", value, value is not None, None
    said = {row["answer"] for row in standing if row["answer"] != "cannot_tell"}
    if not standing:
        return "open", None, False, None
    if len(said) == 2:
        return "conflict", None, False, None
    if not said:
        return "answered", None, False, None
    value = int(said == {"present"})
    definite = [row for row in standing if row["answer"] != "cannot_tell"]
    if len(definite) >= 2 or definite[0]["certainty"] == "high":
        return "locked", value, True, None
    return "answered", value, False, (definite[0]["observed"] + value) / 2


@settings(max_examples=120, deadline=None)
@given(EVENTS)
def test_derived_states_are_those_of_a_plain_fold(events: list[tuple[str, str, str, int]]) -> None:
    rows: list[dict[str, Any]] = []
    judged: list[dict[str, Any]] = []
    start = datetime(2026, 1, 1)  # noqa: DTZ001
    for number, (what, certainty, reader, pair) in enumerate(events, start=1):
        common = {
            "id": number,
            "created_at": start + timedelta(minutes=number),
            "round_id": 1,
            "stay_id": pair,
            "label_key": "shock",
            "observed": pair % 2,
        }
        if what == "adjudicate":
            answer = ("present", "absent", "cannot_tell")[number % 3]
            judged.append({**common, "adjudicator": "a", "answer": answer})
            continue
        row = {**common, "reviewer": reader, "answer": what, "certainty": certainty, "supersedes": None}
        if what == "undo":
            taken = {r["supersedes"] for r in rows if r["answer"] == "retract"}
            mine = [
                r
                for r in rows
                if (r["reviewer"], r["stay_id"]) == (reader, pair) and r["answer"] != "retract" and r["id"] not in taken
            ]
            if not mine:
                continue
            row.update(answer="retract", supersedes=mine[-1]["id"])
        rows.append(row)
    _, states = derive(
        pa.Table.from_pylist(rows, schema=_DECISIONS), pa.Table.from_pylist(judged, schema=_ADJUDICATIONS)
    )
    derived = {row["stay_id"]: row for row in states.to_pylist()}
    for pair in range(3):
        wanted = fold(rows, judged, pair)
        row = derived.get(pair)
        got = (row["state"], row["value"], row["locked"], row["soft"]) if row else ("open", None, False, None)
        assert got == wanted


def test_what_is_read_bit_by_bit_is_what_is_read_at_once(site: Site) -> None:
    for number, pair in enumerate(site.singles()[:6]):
        site.say("ann", *pair, "present", certainty="low" if number % 2 else "high")
        snapshot(site.store)
        if number == 3:
            undo(site.store, site.people["ann"], new_token())
        site.say("ben", *pair, "absent" if number == 4 else "present")
    piecewise = snapshot(site.store)
    site.store.forget()
    whole = snapshot(site.store)
    assert piecewise.states.sort_by([("stay_id", "ascending"), ("label_key", "ascending")]).equals(whole.states)
    assert piecewise.standing.sort_by("id").equals(whole.standing)
    assert (piecewise.count, piecewise.last_id) == (whole.count, whole.last_id) == (13, piecewise.last_id)
