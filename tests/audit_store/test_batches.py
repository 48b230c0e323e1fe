"""Batches: what is in one, who gets it, and that nothing is given twice."""

import secrets
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from audit_store import batches
from audit_store.assignments import assigned
from audit_store.batches import (
    BATCH_KINDS,
    assign_batch,
    batch_items,
    batches_for,
    composition,
    draw_batch,
    list_batches,
    open_batch_of,
    pace,
    take_batch,
)
from audit_store.database import Store, make_engine
from audit_store.decisions import Reading, new_token, record, record_together, undo
from audit_store.errors import AccessError, DecisionError
from audit_store.guidelines import load
from audit_store.people import operator
from audit_store.protocol import Protocol, Terms, sign_protocol
from audit_store.sampling import plan
from audit_store.tables import PURPOSES
from audit_store.verify import rebuild, verify

from .conftest import PEOPLE, Site

MakeSite = Callable[..., Site]
SMALL = Terms(batch_size=10, double_share=0.2, control_share=0.2, audit_share=0.2)


def sign(site: Site, terms: Terms = SMALL) -> Protocol:
    return sign_protocol(site.store, operator(), terms, load())


def rows_of(site: Site, name: str) -> list[dict[str, Any]]:
    return [row for row in assigned(site.store).to_pylist() if row["batch"] == name]


def item_of(site: Site, row: dict[str, Any]) -> tuple[int, tuple[str, ...]]:
    together = {key: keys for keys in site.round.label_groups.values() for key in keys}
    return row["stay_id"], together.get(row["label_key"], (row["label_key"],))


def items_of(site: Site, name: str) -> dict[tuple[int, tuple[str, ...]], str]:
    """Items of a batch with their purpose."""
    return {item_of(site, row): row["purpose"] for row in rows_of(site, name)}


def answer(site: Site, who: str, stay: int, keys: tuple[str, ...], said: str = "absent", **more: Any) -> None:
    made = [Reading(1, stay, key, said, active_seconds=30.0, **more) for key in keys]
    record_together(site.store, site.people[who], made, new_token())


def test_a_batch_is_composed_by_the_shares_by_hand() -> None:
    assert composition(Terms()) == {"flag": 42, "random_audit": 6, "double_review": 6, "control": 6}
    assert composition(SMALL) == {"flag": 4, "random_audit": 2, "double_review": 2, "control": 2}
    assert composition(Terms(double_share=0, control_share=0.25, audit_share=0), 5) == {
        "flag": 4,
        "random_audit": 0,
        "double_review": 0,
        "control": 1,
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3))
def test_the_parts_of_a_batch_add_up_and_lie_within_one_of_their_share(
    size: int, double: float, control: float, audit: float
) -> None:
    parts = composition(Terms(60, None, True, double, control, audit), size)
    assert sum(parts.values()) == size
    assert tuple(parts) == PURPOSES
    assert all(abs(parts[k] - s * size) < 1 + 1e-6 for k, s in (("double_review", double), ("control", control)))
    assert abs(parts["random_audit"] - audit * size) < 1 + 1e-6


def test_a_drawn_batch_is_what_a_plain_reading_of_the_rules_gives(site: Site) -> None:
    """No second readings yet, so the flags fill up: 2 audit pairs, 2 controls, the 6 most suspect other flags."""
    protocol = sign(site)
    batch = draw_batch(site.store, site.people["ann"], site.round)
    assert batch is not None
    assert (batch.name, batch.person, batch.size, batch.answered) == ("1-1", "ann", 10, 0)
    assert (batch.kind, batch.blind, batch.protocol_hash) == ("mixed", True, protocol.hash)
    made = plan(site.store, site.round, protocol)
    key_of = {number: key for key, number in site.round.label_ids.items()}
    together = {key: keys for keys in site.round.label_groups.values() for key in keys}

    def spelled(items: list[tuple[int, int]]) -> list[tuple[int, tuple[str, ...]]]:
        return [(stay, together.get(key_of[number], (key_of[number],))) for stay, number in items]

    audit = spelled(list(dict.fromkeys(made.audit.item)))
    flags = [item for item in dict.fromkeys((s, together.get(k, (k,))) for s, k in site.flags()) if item not in audit]
    wanted = dict.fromkeys(audit[:2], "random_audit") | dict.fromkeys(spelled(made.control.item)[:2], "control")
    wanted |= dict.fromkeys(flags[:6], "flag")
    assert items_of(site, "1-1") == wanted
    for row in rows_of(site, "1-1"):
        stream = {"random_audit": made.audit, "control": made.control}.get(row["purpose"])
        told = stream.sampled.get((row["stay_id"], site.round.label_ids[row["label_key"]])) if stream else None
        assert (row["stratum"], row["inclusion_probability"]) == (told or (None, None))
    items = batch_items(site.store, site.round, site.people["ann"], batch)
    assert [item.position for item in items] == list(range(1, 11))
    assert {(item.stay_id, item.label_keys) for item in items} == set(wanted)
    assert {item.state for item in items} == {"open"}


def test_places_tell_nothing_of_the_purpose(site: Site) -> None:
    """Over many batches controls and audit pairs stand in every place."""
    sign(site, Terms(batch_size=5, double_share=0, control_share=0.3, audit_share=0.3))
    places: Counter[int] = Counter()
    for _ in range(20):
        batch = draw_batch(site.store, site.people["ann"], site.round, size=5)
        assert batch is not None
        places.update({row["position"] for row in rows_of(site, batch.name) if row["purpose"] != "flag"})
    assert set(places) == {1, 2, 3, 4, 5}


ACTS = st.tuples(
    st.sampled_from(["draw", "take", "assign", "answer", "answer", "undo"]),
    st.sampled_from(["ann", "ben", "cat"]),
    st.sampled_from(BATCH_KINDS),
    st.integers(1, 12),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTS, min_size=6, max_size=16))
def test_nobody_is_given_a_pair_twice_whatever_was_done_before(
    make_site: MakeSite, tmp_path: Path, acts: list[tuple[str, str, str, int]]
) -> None:
    site = make_site(20, 8, folder=tmp_path / secrets.token_hex(4))
    sam = site.people["sam"]
    sign(site)
    for act, who, kind, n in acts:
        person = site.people[who]
        batch = open_batch_of(site.store, site.round, person)
        if act == "draw":
            said = {(row.stay_id, row.label_key) for row in _standing(site, who)}
            held = {
                (row["stay_id"], row["label_key"]) for row in assigned(site.store).to_pylist() if row["person"] == who
            }
            flags = {item_of(site, row) for row in assigned(site.store).to_pylist() if row["purpose"] == "flag"}
            reader = who if n % 3 else None
            made = draw_batch(site.store, sam, site.round, reader=reader, kind=kind, size=n, unassigned=reader is None)
            if made is None:
                continue
            new = rows_of(site, made.name)
            if made.person is not None:
                assert not {(row["stay_id"], row["label_key"]) for row in new} & (said | held)
            assert not {item_of(site, row) for row in new if row["purpose"] == "flag"} & flags
            assert made.size <= n
        elif act == "take":
            free = [b for b in batches_for(site.store, site.round, person) if b.person is None]
            if free:
                _tolerate(lambda free=free, person=person: take_batch(site.store, person, site.round, free[0].name))
        elif act == "assign" and batch is not None:
            to = {"ann": "ben", "ben": "cat", "cat": "ann"}[who]
            _tolerate(lambda batch=batch, to=to: assign_batch(site.store, sam, batch.name, to))
        elif act == "answer" and batch is not None:
            left = [i for i in batch_items(site.store, site.round, person, batch) if i.state == "open"]
            for item in left[:n]:
                answer(site, who, item.stay_id, item.label_keys)
        elif act == "undo":
            _tolerate(lambda person=person: undo(site.store, person, new_token()))
    held_by = Counter(
        (r["person"], r["stay_id"], r["label_key"]) for r in assigned(site.store).to_pylist() if r["person"]
    )
    assert not held_by or max(held_by.values()) == 1
    audits = Counter(
        (r["stay_id"], r["label_key"]) for r in assigned(site.store).to_pylist() if r["purpose"] == "random_audit"
    )
    assert not audits or max(audits.values()) == 1
    assert verify(site.store) == []


def _tolerate(act: Callable[[], Any]) -> None:
    try:
        act()
    except DecisionError:
        return


def _standing(site: Site, who: str) -> list[Any]:
    from audit_store.states import snapshot

    return [
        Reading(row["round_id"], row["stay_id"], row["label_key"], "absent")
        for row in snapshot(site.store).standing.to_pylist()
        if row["reviewer"] == who
    ]


def test_two_servers_that_draw_at_once_never_give_the_same_flag(site: Site) -> None:
    sign(site, Terms(batch_size=5, double_share=0))
    gate, wrong = threading.Barrier(2), []

    def draw(who: str) -> None:
        store = Store(site.workspace, make_engine(site.workspace.decisions_url))  # a memory and connections of its own
        try:
            gate.wait()
            for _ in range(4):
                draw_batch(store, site.people[who], site.round)
        except Exception as error:  # told in the test's own thread
            wrong.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=draw, args=(who,)) for who in ("ann", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    rows = assigned(site.store).to_pylist()
    assert len({row["batch"] for row in rows}) == 8
    assert max(Counter((row["stay_id"], row["label_key"]) for row in rows).values()) == 1
    assert verify(site.store) == []


def test_second_readings_are_pairs_that_one_other_person_has(site: Site) -> None:
    sign(site)
    first = draw_batch(site.store, site.people["ann"], site.round)
    assert first is not None
    item = batch_items(site.store, site.round, site.people["ann"], first)[0]
    answer(site, "ann", item.stay_id, item.label_keys)
    second = draw_batch(site.store, site.people["ben"], site.round)
    assert second is not None
    twice = {key for key, purpose in items_of(site, second.name).items() if purpose == "double_review"}
    assert len(twice) == 2
    assert (item.stay_id, item.label_keys) in twice  # what is answered comes before what is only given
    assert twice <= set(items_of(site, first.name))
    third = draw_batch(site.store, site.people["sam"], site.round, kind="second_reading", size=50, reader="cat")
    assert third is not None
    assert not set(items_of(site, third.name)) & twice  # two readers are enough


def test_a_round_is_read_to_its_end_and_then_nothing_is_left(site: Site) -> None:
    protocol = sign(site, Terms(batch_size=60))
    made = plan(site.store, site.round, protocol)
    for step in range(20):
        if draw_batch(site.store, site.people["sam"], site.round, reader=("ann", "ben")[step % 2]) is None:
            break
    rows = assigned(site.store).to_pylist()
    by_purpose = {p: {item_of(site, r) for r in rows if r["purpose"] == p} for p in PURPOSES}
    assert len(by_purpose["flag"]) == len(made.flags)
    assert len(by_purpose["random_audit"]) == len(set(made.audit.item))
    assert len(by_purpose["double_review"]) <= round(0.1 * made.total) + 1
    drawn = {
        (r["stay_id"], site.round.label_ids[r["label_key"]])
        for r in rows
        if r["purpose"] == "random_audit" and r["stratum"]
    }
    assert drawn == set(made.audit.sampled)


def test_the_budget_ends_the_drawing(site: Site) -> None:
    sign(site, Terms(batch_size=10, budget=25))
    sizes = [b.size for b in (draw_batch(site.store, site.people["ann"], site.round) for _ in range(3)) if b]
    assert sizes == [10, 10, 5]
    assert draw_batch(site.store, site.people["ben"], site.round) is None


def test_labels_narrow_a_batch_and_groups_stay_whole(site: Site) -> None:
    sign(site)
    keys = ("diabetes_with_complications", "shock")
    batch = draw_batch(site.store, site.people["ann"], site.round, labels=keys, size=8)
    assert batch is not None
    assert {key for _, item in items_of(site, batch.name) for key in item} <= {*keys, "diabetes_without_complication"}
    grouped = [row for row in rows_of(site, batch.name) if row["label_key"].startswith("diabetes")]
    assert Counter(row["position"] for row in grouped).most_common()[0][1] == 2


def test_without_a_protocol_nothing_is_drawn_and_decisions_carry_none(site: Site) -> None:
    with pytest.raises(DecisionError, match="a signed protocol"):
        draw_batch(site.store, site.people["ann"], site.round)
    row = site.say("ann", *site.singles()[0], "absent", position=3, purpose="random_audit", inclusion_probability=0.5)
    assert (row.protocol_hash, row.batch, row.purpose, row.inclusion_probability, row.position) == (
        *(None, None, "flag", None),
        3,
    )


@pytest.mark.parametrize("more", [{"kind": "easy"}, {"size": 0}, {"size": 501}, {"labels": ("gout",)}])
def test_a_draw_that_is_none_is_one_line(site: Site, more: dict[str, Any]) -> None:
    sign(site)
    with pytest.raises(DecisionError) as caught:
        draw_batch(site.store, site.people["ann"], site.round, **more)
    assert "\n" not in str(caught.value)


def test_a_decision_takes_its_terms_from_the_store_not_from_the_screen(site: Site) -> None:
    protocol = sign(site)
    batch = draw_batch(site.store, site.people["ann"], site.round)
    assert batch is not None
    forged = {"batch": "x", "position": 99, "purpose": "flag", "stratum": "y", "inclusion_probability": 0.9}
    for row in rows_of(site, batch.name):
        if item_of(site, row)[1] != (row["label_key"],):
            continue
        said = site.say("ann", row["stay_id"], row["label_key"], "present", protocol_hash="f" * 64, **forged)
        assert (said.batch, said.position, said.purpose) == (batch.name, row["position"], row["purpose"])
        assert (said.stratum, said.inclusion_probability) == (row["stratum"], row["inclusion_probability"])
        assert said.protocol_hash == protocol.hash
        assert said.blinded
        other = site.say("ben", row["stay_id"], row["label_key"], "present", **forged)
        assert (other.batch, other.purpose, other.stratum, other.protocol_hash) == (None, "flag", None, protocol.hash)
    last = undo(site.store, site.people["ann"], new_token())[0]
    assert last.batch == batch.name


def test_labels_decided_together_carry_the_probability_of_the_sampled_one_alone(site: Site) -> None:
    sign(site, Terms(batch_size=5, budget=1000))
    draw_batch(site.store, site.people["sam"], site.round, reader="ann", kind="random_audit", size=100)
    rows = assigned(site.store).to_pylist()
    by_item: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        by_item.setdefault(item_of(site, row), []).append(row)
    pairs = [parts for parts in by_item.values() if len(parts) == 2]
    assert pairs
    assert all({r["stratum"] is None for r in parts} & {False} for parts in pairs)
    assert any(r["stratum"] is None for parts in pairs for r in parts)
    stay, keys = next(item for item, parts in by_item.items() if len(parts) == 2)
    answer(site, "ann", stay, keys)
    assert rows_of(site, "1-1")  # both rows of the item were answered at once, under their own terms
    batch = open_batch_of(site.store, site.round, site.people["ann"])
    assert batch is not None
    assert batch.answered == 1


def test_a_protocol_that_is_not_blind_yields_no_blind_answer(site: Site) -> None:
    sign(site, Terms(batch_size=5, blind=False))
    batch = draw_batch(site.store, site.people["ann"], site.round)
    assert batch is not None
    assert not batch.blind
    stay, key = next(
        (i.stay_id, i.label_keys[0]) for i in batch_items(site.store, site.round, site.people["ann"], batch)
    )
    assert not site.say("ann", stay, key, "absent", blinded=True).blinded
    free = next(p for p in site.singles() if p not in {(r["stay_id"], r["label_key"]) for r in rows_of(site, "1-1")})
    assert not record(site.store, site.people["ben"], Reading(1, *free, "absent", blinded=True), new_token()).blinded


def test_batches_drawn_keep_their_protocol(site: Site) -> None:
    old = sign(site)
    batch = draw_batch(site.store, site.people["ann"], site.round)
    new = sign(site, Terms(batch_size=7, blind=False))
    assert batch is not None
    items = batch_items(site.store, site.round, site.people["ann"], batch)
    answer(site, "ann", items[0].stay_id, items[0].label_keys)
    kept = open_batch_of(site.store, site.round, site.people["ann"])
    assert kept is not None
    assert (kept.protocol_hash, kept.blind, kept.answered) == (old.hash, True, 1)
    later = draw_batch(site.store, site.people["ann"], site.round)
    assert later is not None
    assert (later.protocol_hash, later.size, later.blind) == (new.hash, 7, False)


def test_an_unassigned_batch_is_taken_once_without_what_the_taker_has(site: Site) -> None:
    sign(site)
    ann, ben, sam = (site.people[name] for name in ("ann", "ben", "sam"))
    own = draw_batch(site.store, ann, site.round)
    assert own is not None
    free = draw_batch(site.store, sam, site.round, kind="second_reading", size=6)
    assert free is not None
    assert free.person is None
    told = [b for b in batches_for(site.store, site.round, ben) if b.person is None]
    assert [(b.name, b.kind, b.size) for b in told] == [(free.name, "mixed", 6)]
    with pytest.raises(DecisionError, match="pairs for you"):
        take_batch(site.store, ann, site.round, free.name)  # ann is the first reader of all of it
    taken = take_batch(site.store, ben, site.round, free.name)
    assert (taken.person, taken.size, taken.kind) == ("ben", 6, "mixed")
    with pytest.raises(DecisionError, match="pairs for you"):
        take_batch(site.store, site.people["cat"], site.round, free.name)
    frame = list_batches(site.store, site.round)
    assert frame["kind"].tolist() == ["mixed", "second_reading"]
    assert frame["person"].tolist() == ["ann", "ben"]


def test_what_is_left_of_a_batch_is_passed_on_and_what_was_answered_stays(site: Site) -> None:
    sign(site)
    ann, sam = site.people["ann"], site.people["sam"]
    batch = draw_batch(site.store, ann, site.round)
    assert batch is not None
    for item in batch_items(site.store, site.round, ann, batch)[:3]:
        answer(site, "ann", item.stay_id, item.label_keys)
    passed = assign_batch(site.store, sam, batch.name, "ben")
    assert (passed.person, passed.size, passed.answered) == ("ben", 7, 0)
    assert open_batch_of(site.store, site.round, ann) is None
    frame = list_batches(site.store, site.round)
    assert dict(zip(frame["person"], zip(frame["size"], frame["answered"], strict=True), strict=True)) == {
        "ann": (3, 3),
        "ben": (7, 0),
    }
    with pytest.raises(DecisionError):
        assign_batch(site.store, sam, batch.name, "ben")
    with pytest.raises(DecisionError, match="account"):
        assign_batch(site.store, sam, batch.name, "nobody")
    with pytest.raises(AccessError):
        assign_batch(site.store, sam, batch.name, "aud")
    assert verify(site.store) == []
    rebuild(site.store, operator())
    assert verify(site.store) == []
    assert list_batches(site.store, site.round).equals(frame)


def test_the_state_of_an_item_is_told_after_the_answer_alone(site: Site) -> None:
    sign(site, Terms(batch_size=5, double_share=0.5))
    first = draw_batch(site.store, site.people["ann"], site.round)
    assert first is not None
    for item in batch_items(site.store, site.round, site.people["ann"], first):
        answer(site, "ann", item.stay_id, item.label_keys)
    ben = site.people["ben"]
    second = draw_batch(site.store, ben, site.round)
    assert second is not None
    assert {item.state for item in batch_items(site.store, site.round, ben, second)} == {"open"}
    twice = next(key for key, purpose in items_of(site, second.name).items() if purpose == "double_review")
    answer(site, "ben", *twice)
    states = {(i.stay_id, i.label_keys): i.state for i in batch_items(site.store, site.round, ben, second)}
    assert states[twice] == "locked"
    with pytest.raises(DecisionError, match="batch of your own"):
        batch_items(site.store, site.round, ben, first)


def test_pace_is_of_the_persons_own_acts(site: Site) -> None:
    sign(site)
    ann = site.people["ann"]
    assert pace(site.store, site.round, ann) == batches.Pace(0, None, 0, None)
    batch = draw_batch(site.store, ann, site.round)
    assert batch is not None
    for item in batch_items(site.store, site.round, ann, batch)[:4]:
        answer(site, "ann", item.stay_id, item.label_keys)
    assert pace(site.store, site.round, ann) == batches.Pace(4, 30.0, 6, 3.0)


ACTIONS: dict[str, Callable[[Site, str], Any]] = {
    "draw for oneself": lambda site, who: draw_batch(site.store, site.people[who], site.round),
    "draw for another": lambda site, who: draw_batch(
        site.store, site.people[who], site.round, reader="ann" if who == "ben" else "ben"
    ),
    "draw for nobody": lambda site, who: draw_batch(site.store, site.people[who], site.round, unassigned=True),
    "draw controls alone": lambda site, who: draw_batch(site.store, site.people[who], site.round, kind="controls"),
    "take": lambda site, who: take_batch(site.store, site.people[who], site.round, "1-1"),
    "pass on": lambda site, who: assign_batch(site.store, site.people[who], "1-1", "ben"),
}
ALLOWED = {
    "reviewer": {"draw for oneself", "take"},
    "adjudicator": {"draw for oneself", "take"},
    "steward": set(ACTIONS),
    "auditor": set(),
    "operator": set(ACTIONS) - {"draw for oneself", "take"},
}


def test_each_role_may_do_what_it_may_and_nothing_else(site: Site) -> None:
    sign(site)
    site.people["op"] = operator()
    for who, role in {**PEOPLE, "op": "operator"}.items():
        for name, act in ACTIONS.items():
            draw_batch(site.store, site.people["sam"], site.round, unassigned=True, size=2)
            before = assigned(site.store).num_rows
            if name in ALLOWED[role]:
                _tolerate(lambda act=act, who=who: act(site, who))
            else:
                with pytest.raises(AccessError):
                    act(site, who)
                assert assigned(site.store).num_rows == before
    assert {row["person"] for row in assigned(site.store).to_pylist()} & {"aud", operator().name} == set()


def spoil(site: Site, statement: str) -> None:
    engine = create_engine(site.workspace.decisions_url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE assignment SET purpose = 'flag' WHERE purpose = 'control'", "assignment"),
        ("UPDATE assignment SET person = 'cat' WHERE position = 1", "assignment"),
        ("UPDATE assignment SET inclusion_probability = 0.5 WHERE stratum IS NOT NULL", "assignment"),
        ("DELETE FROM assignment WHERE position = 2", "assignment"),
        ("UPDATE protocol SET audit_share = 0.0", "protocol"),
        ("DELETE FROM protocol", "protocol"),
        ("UPDATE handover SET person = 'ann'", "handover"),
        ("DELETE FROM handover", "handover"),
    ],
)
def test_tampering_is_found_and_mended_by_a_rebuild(site: Site, statement: str, where: str) -> None:
    sign(site)
    draw_batch(site.store, site.people["ann"], site.round)
    assign_batch(site.store, site.people["sam"], "1-1", "ben")
    assert verify(site.store) == []
    spoil(site, statement)
    assert {finding.where for finding in verify(site.store)} == {where}
    rebuild(site.store, operator())
    assert verify(site.store) == []
