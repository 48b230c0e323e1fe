"""The queue page's list: a blind reader learns nothing from it, an auditor sees all of it."""

from collections.abc import Callable

import pytest

from audit_store.batches import batch_items, draw_batch, list_batches
from audit_store.errors import DecisionError
from audit_store.guidelines import load
from audit_store.protocol import Protocol, Terms, sign_protocol
from audit_store.worklist import WorkFilter, Worklist, held_in, orders_for, sees_purpose, worklist
from tests.audit_store.conftest import Site

TERMS = Terms(batch_size=20, double_share=0.0, control_share=0.2, audit_share=0.2)
HIDDEN = ("purpose", "direction", "error_probability", "answers")


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def protocol(site: Site) -> Protocol:
    return sign_protocol(site.store, site.people["sam"], TERMS, load())


def listed(site: Site, who: str, protocol: Protocol | None, chosen: WorkFilter | None = None) -> Worklist:
    return worklist(site.store, site.round, site.people[who], protocol, chosen, limit=5000)


def answered(site: Site, who: str, count: int) -> list[str]:
    """Answer the first items of a fresh batch; returns their tokens."""
    person = site.people[who]
    batch = draw_batch(site.store, person, site.round)
    assert batch is not None
    items = batch_items(site.store, site.round, person, batch)[:count]
    for item in items:
        for key in item.label_keys:
            site.say(who, item.stay_id, key, "absent")
    return [item.token for item in items]


def test_a_blind_readers_list_is_their_batch_and_tells_no_purpose_direction_or_others_state(
    site: Site, protocol: Protocol
) -> None:
    answered(site, "ben", 5)
    batch = draw_batch(site.store, site.people["ann"], site.round)
    assert batch is not None
    found = listed(site, "ann", protocol)
    items = batch_items(site.store, site.round, site.people["ann"], batch)
    assert found.rows["token"].tolist() == [item.token for item in items]
    assert found.total == batch.size
    assert set(found.rows["state"]) == {"open"}
    assert all(found.rows[name].isna().all() for name in HIDDEN)
    assert listed(site, "ann", protocol, WorkFilter(direction="false_positive")).total == 0
    assert listed(site, "ann", protocol, WorkFilter(purpose="control")).total == 0


def test_what_a_reader_has_answered_tells_its_purpose_and_their_answer(site: Site, protocol: Protocol) -> None:
    tokens = answered(site, "ann", 4)
    rows = listed(site, "ann", protocol, WorkFilter(states=("answered", "locked"))).rows
    assert sorted(rows["token"]) == sorted(tokens)
    assert rows["purpose"].notna().all()
    assert all("absent" in answer for answer in rows["answer"])
    assert rows["answers"].isna().all()


def test_an_order_by_suspicion_is_refused_where_it_would_put_the_controls_last(site: Site, protocol: Protocol) -> None:
    for order in ("suspicion", "probability"):
        with pytest.raises(DecisionError, match="order"):
            listed(site, "ann", protocol, WorkFilter(order=order))
    assert "suspicion" not in orders_for(site.people["ann"], protocol)
    assert "suspicion" in orders_for(site.people["ann"], None)


def test_an_auditor_sees_every_purpose_and_direction_and_filters_by_them(site: Site, protocol: Protocol) -> None:
    answered(site, "ann", 3)
    drawn = listed(site, "aud", protocol, WorkFilter(batch=str(list_batches(site.store, site.round)["name"].iloc[0])))
    assert drawn.total == TERMS.batch_size
    assert {"flag", "control", "random_audit"} == set(drawn.rows["purpose"])
    every = listed(site, "aud", protocol, WorkFilter(order="suspicion"))
    likely = listed(site, "aud", protocol, WorkFilter(order="probability")).rows["error_probability"].tolist()
    assert likely == sorted(likely, reverse=True)
    wrong = every.rows[every.rows["direction"] == "false_positive"]["token"].tolist()
    chosen = WorkFilter(direction="false_positive", order="suspicion")
    assert listed(site, "aud", protocol, chosen).rows["token"].tolist() == wrong
    assert len(wrong) > 0
    assert "ann:absent" in set(every.rows["answers"])


def test_a_steward_lists_what_others_were_given_but_reads_as_blind_as_they(site: Site, protocol: Protocol) -> None:
    tokens = answered(site, "ann", 3)
    found = listed(site, "sam", protocol, WorkFilter(reader="ann"))
    assert set(tokens) < set(found.rows["token"])
    assert set(found.rows["state"]) == {"open", "locked"}
    assert all(found.rows[name].isna().all() for name in HIDDEN)


def test_a_reviewer_may_not_list_another_readers_pairs(site: Site, protocol: Protocol) -> None:
    with pytest.raises(DecisionError, match="your own pairs"):
        listed(site, "ann", protocol, WorkFilter(reader="ben"))


def test_without_a_protocol_the_list_is_the_free_queue_most_suspect_first(site: Site) -> None:
    found = listed(site, "ann", None, WorkFilter(order="suspicion"))
    first = found.rows.iloc[0]
    assert (first["stay_id"], True) == (site.flags()[0][0], site.flags()[0][1] in first["label_keys"])
    assert found.total == len({(row["stay_id"], row["label_keys"]) for row in found.rows.to_dict("records")})
    assert {(stay, key) for stay, key in site.flags()} <= {
        (row["stay_id"], key) for row in found.rows.to_dict("records") for key in row["label_keys"]
    }


def test_an_earlier_round_lists_what_was_decided_in_it_and_nothing_else(site: Site) -> None:
    stay, key = site.singles()[0]
    site.say("ann", stay, key, "present")
    before = site.round
    site.publish(2, seed=4)
    found = worklist(site.store, before, site.people["ann"], None)
    assert [(row["stay_id"], row["label_keys"]) for row in found.rows.to_dict("records")] == [(stay, (key,))]
    assert found.rows["answer"].tolist() == [f"{key}:present"]
    assert worklist(site.store, before, site.people["ben"], None).total == 0


def test_parts_of_the_list_follow_one_another_without_gap_or_repeat(site: Site, protocol: Protocol) -> None:
    answered(site, "ann", 2)
    for order in orders_for(site.people["ann"], protocol):
        chosen = WorkFilter(order=order)
        whole = listed(site, "ann", protocol, chosen).rows["token"].tolist()
        ann = site.people["ann"]
        parts = [worklist(site.store, site.round, ann, protocol, chosen, 6, n).rows["token"] for n in range(0, 24, 6)]
        assert [token for part in parts for token in part] == whole


def test_one_who_may_decide_reads_blind_unless_the_protocol_says_otherwise(site: Site, protocol: Protocol) -> None:
    seeing = sign_protocol(site.store, site.people["sam"], Terms(blind=False), load())
    for who in ("ann", "ada", "sam"):
        assert not sees_purpose(site.people[who], None)
        assert not sees_purpose(site.people[who], protocol)
        assert sees_purpose(site.people[who], seeing)
    assert sees_purpose(site.people["aud"], protocol)


def test_an_item_is_found_in_the_batch_of_its_reader_alone(site: Site, protocol: Protocol) -> None:
    batch = draw_batch(site.store, site.people["ann"], site.round)
    assert batch is not None
    item = batch_items(site.store, site.round, site.people["ann"], batch)[0]
    assert held_in(site.store, site.round, site.people["ann"], item) == batch.name
    assert held_in(site.store, site.round, site.people["ben"], item) is None


@pytest.mark.parametrize(
    "bad",
    [
        WorkFilter(order="id"),
        WorkFilter(states=("gone",)),
        WorkFilter(purpose="none"),
        WorkFilter(direction="up"),
        WorkFilter(labels=("gout",)),
    ],
)
def test_a_filter_that_names_what_is_not_there_is_refused_in_one_line(site: Site, bad: WorkFilter) -> None:
    with pytest.raises(DecisionError) as refused:
        listed(site, "aud", None, bad)
    assert "\n" not in str(refused.value)
