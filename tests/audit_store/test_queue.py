"""The queue against a plain restatement."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_store.decisions import Reading, current_answer, new_token, pair_state, record_together, undo
from audit_store.errors import DecisionError, RoundError
from audit_store.queue import QueueFilter, count, counts, find_item, item_token, next_items, page
from audit_store.tokens import name_digest, seal, unseal

from .conftest import Site

MakeSite = Callable[..., Site]


def plain_queue(site: Site, who: str, chosen: QueueFilter) -> list[tuple[int, tuple[str, ...]]]:
    """Items in order of suspicion, one flag at a time."""
    groups = {key: keys for keys in site.round.label_groups.values() for key in keys}
    flags = site.flags()
    items: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for stay, key in flags:
        items.setdefault((stay, groups.get(key, (key,))), []).append(key)
    found = []
    for (stay, keys), flagged in items.items():
        if any(current_answer(site.store, site.people[who], stay, key) for key in flagged):
            continue
        wanted = [
            flags.index((stay, key))
            for key in flagged
            if pair_state(site.store, stay, key).state in chosen.states and (not chosen.labels or key in chosen.labels)
        ]
        if wanted:
            found.append((min(wanted), stay, keys))
    return [(stay, keys) for _, stay, keys in sorted(found)]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben", "cat"]),
        st.integers(0, 30),
        st.sampled_from(["present", "absent", "cannot_tell", "undo"]),
        st.sampled_from(["high", "low"]),
    ),
    max_size=12,
)
FILTERS = st.builds(
    QueueFilter,
    labels=st.sampled_from([(), ("shock", "copd", "diabetes_with_complications"), ("heart_failure",)]),
    states=st.sampled_from([("open",), ("open", "answered"), ("conflict", "locked"), ("answered",)]),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS, FILTERS)
def test_the_queue_is_what_is_flagged_minus_what_is_decided(
    site: Site, acts: list[tuple[str, int, str, str]], chosen: QueueFilter
) -> None:
    flags = site.singles()
    for who, place, answer, certainty in acts:
        stay, key = flags[place]
        standing = current_answer(site.store, site.people[who], stay, key)
        if answer == "undo":
            if standing is not None:
                try:
                    undo(site.store, site.people[who], new_token())
                except DecisionError:
                    continue
        else:
            site.say(who, stay, key, answer, certainty=certainty, supersedes=standing.id if standing else None)
    for who in ("ann", "ben"):
        got = [
            (item.stay_id, item.label_keys)
            for item in next_items(site.store, site.round, site.people[who], chosen, 500)
        ]
        assert got == plain_queue(site, who, chosen)
        assert count(site.store, site.round, site.people[who], chosen) == len(got)


def test_nobody_is_offered_a_pair_they_have_answered_unless_they_took_it_back(site: Site) -> None:
    every = QueueFilter(states=("open", "answered", "conflict", "adjudicated", "locked"))
    ann, ben = site.people["ann"], site.people["ben"]
    first = next_items(site.store, site.round, ann, limit=1)[0]
    site.say("ann", first.stay_id, first.label_keys[0], "present", certainty="low")
    listed = {item.token for item in next_items(site.store, site.round, ann, every, 500)}
    assert first.token not in listed
    assert first.token in {item.token for item in next_items(site.store, site.round, ben, every, 500)}
    assert page(site.store, site.round, ann, mine=True)["token"].tolist() == [first.token]
    undo(site.store, ann, new_token())
    assert next_items(site.store, site.round, ann, limit=1)[0].token == first.token


def test_the_next_round_does_not_show_a_pair_twice_either(site: Site) -> None:
    first = next_items(site.store, site.round, site.people["ann"], limit=1)[0]
    site.say("ann", first.stay_id, first.label_keys[0], "cannot_tell")
    site.publish(2)
    every = QueueFilter(states=("open", "answered"))
    tokens = {item.token for item in next_items(site.store, site.round, site.people["ann"], every, 500)}
    assert first.token not in tokens


def test_labels_decided_together_are_one_item(site: Site) -> None:
    items = next_items(site.store, site.round, site.people["ann"], limit=500)
    pairs = [item for item in items if item.label_group]
    assert pairs
    for item in pairs:
        assert item.label_keys == site.round.label_groups[str(item.label_group)]
    assert len({(item.stay_id, item.label_keys) for item in items}) == len(items)
    item = pairs[0]
    readings = [Reading(1, item.stay_id, key, "absent") for key in item.label_keys]
    record_together(site.store, site.people["ann"], readings, new_token())
    left = next_items(site.store, site.round, site.people["ann"], limit=500)
    assert item.token not in {other.token for other in left}


def test_a_blind_queue_gives_nothing_away(site: Site) -> None:
    ann = site.people["ann"]
    blind = set(page(site.store, site.round, ann).columns)
    assert blind == {
        "token",
        "stay_id",
        "patient_id",
        "visit",
        "label_keys",
        "label_names",
        "label_group",
        "state",
    }
    with pytest.raises(DecisionError, match="blind"):
        page(site.store, site.round, ann, QueueFilter(direction="false_positive"))
    seen = page(site.store, site.round, ann, QueueFilter(direction="false_positive", blind=False))
    assert set(seen["direction"]) == {"false_positive"}
    assert set(seen["observed"]) == {1}
    assert seen["suspicion_rank"].is_monotonic_increasing


def test_orders_limits_and_patients(site: Site) -> None:
    ann = site.people["ann"]
    whole = page(site.store, site.round, ann, limit=500)
    parts = [page(site.store, site.round, ann, limit=7, offset=start) for start in range(0, len(whole), 7)]
    assert [token for part in parts for token in part["token"]] == whole["token"].tolist()
    by_patient = page(site.store, site.round, ann, QueueFilter(order="patient"), limit=500)["patient_id"].tolist()
    runs = [patient for i, patient in enumerate(by_patient) if i == 0 or by_patient[i - 1] != patient]
    assert len(runs) == len(set(runs))
    assert runs[0] == whole["patient_id"][0]
    one = page(site.store, site.round, ann, QueueFilter(patient_id=runs[0]), limit=500)
    assert len(one) == by_patient.count(runs[0])
    order = list(site.round.label_ids)
    by_label = page(site.store, site.round, ann, QueueFilter(order="label"), limit=500)
    leads = [min(order.index(k) for k in keys) for keys in by_label["label_keys"]]
    assert sorted(by_label["token"]) == sorted(whole["token"])
    assert len(leads) == len(whole)


@pytest.mark.parametrize("bad", [{"order": "luck"}, {"states": ("gone",)}, {"labels": ("gout",)}])
def test_a_filter_that_is_none_is_one_line(site: Site, bad: dict[str, object]) -> None:
    with pytest.raises(DecisionError):
        page(site.store, site.round, site.people["ann"], QueueFilter(**bad))  # type: ignore[arg-type]


def test_counts_add_up(site: Site) -> None:
    for who, pair in zip(("ann", "ann", "ben"), site.singles(), strict=False):
        site.say(who, *pair, "present")
    site.say("cat", *site.singles()[0], "absent")
    frame = counts(site.store, site.round)
    states = ["open", "answered", "conflict", "adjudicated", "locked"]
    assert frame["flagged"].sum() == 100
    assert (frame[states].sum(axis=1) == frame["flagged"]).all()
    assert frame[states].sum().tolist() == [97, 0, 1, 0, 2]
    assert frame["label_key"].tolist() == list(site.round.label_ids)


def test_an_empty_queue_is_an_empty_frame(make_site: MakeSite) -> None:
    site = make_site(10, 3, train=False)
    site.publish(1, share=0.0)
    assert page(site.store, site.round, site.people["ann"]).empty
    assert next_items(site.store, site.round, site.people["ann"]) == []
    assert count(site.store, site.round, site.people["ann"]) == 0
    assert counts(site.store, site.round)["flagged"].tolist() == [0, 0, 0]


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=40), st.binary(min_size=32, max_size=32))
def test_a_token_opens_to_what_was_sealed_and_only_with_its_secret(stay: int, name: str, secret: bytes) -> None:
    token = seal(secret, stay, name)
    assert unseal(secret, token) == (stay, name_digest(secret, name))
    assert len(token) == 22
    assert token.replace("-", "").replace("_", "").isalnum()
    other = unseal(bytes(b ^ 1 for b in secret), token)
    assert other is not None
    assert other[1] != name_digest(bytes(b ^ 1 for b in secret), name)


def test_links_show_no_stay_and_find_flagged_and_other_pairs(site: Site) -> None:
    item = next_items(site.store, site.round, site.people["ann"], limit=1)[0]
    assert str(item.stay_id) not in item.token
    assert find_item(site.store, site.round, item.token) == item
    clean = site.round.rows("SELECT stay_id FROM pair WHERE NOT flagged AND label_id = 24 LIMIT 1")[0][0]
    token = item_token(site.workspace, clean, ["shock"])
    assert find_item(site.store, site.round, token).label_keys == ("shock",)
    diabetes = site.round.label_groups["diabetes"]
    assert find_item(site.store, site.round, item_token(site.workspace, clean, diabetes)).label_group == "diabetes"


@pytest.mark.parametrize("token", ["", "x", "a" * 22, "é" * 22, "=" * 22, "a" * 21 + "\n"])
def test_a_made_up_link_is_one_line(site: Site, token: str) -> None:
    with pytest.raises(RoundError, match="link of this workspace"):
        find_item(site.store, site.round, token)


def test_a_link_to_a_pair_that_is_gone_is_one_line(site: Site) -> None:
    with pytest.raises(RoundError, match="no longer in it"):
        find_item(site.store, site.round, item_token(site.workspace, 5, ["shock"]))
