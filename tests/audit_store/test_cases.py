"""Settling what readers disagree on: without names, by no reader, together, and only ever added to."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from audit_store.adjudication import adjudicate, adjudicate_together, adjudications_of, rationales
from audit_store.answers import Reading
from audit_store.cases import conflict_items, is_reader, settled
from audit_store.decisions import new_token, pair_state, record_together, redact, undo
from audit_store.errors import AccessError, DecisionError
from audit_store.ledger import head
from audit_store.people import add_person, operator
from audit_store.verify import verify

from .conftest import PASSWORD, Site


def disagree(site: Site, number: int = 0, **more: object) -> tuple[int, str]:
    """A pair on which ann says present and ben absent."""
    stay, key = site.singles()[number]
    site.say("ann", stay, key, "present", comment="cultures grew", reason_code="documented", **more)
    site.say("ben", stay, key, "absent", certainty="low")
    return stay, key


def together(site: Site) -> tuple[int, tuple[str, ...]]:
    """A stay and labels decided together, with ann and ben of different minds."""
    keys = next(iter(site.round.label_groups.values()))
    stay = site.flags()[0][0]
    for who, present in (("ann", keys[0]), ("ben", keys[1])):
        made = [Reading(1, stay, key, "present" if key == present else "absent") for key in keys]
        record_together(site.store, site.people[who], made, new_token())
    return stay, keys


def test_reasons_come_without_names_in_an_order_that_names_do_not_set(site: Site) -> None:
    first = set()
    for number in range(8):
        stay, key = disagree(site, number)
        told = rationales(site.store, site.people["ada"], stay, key)
        assert [row.reader for row in told] == ["Reader A", "Reader B"]
        assert "ann" not in repr(told)
        assert "ben" not in repr(told)
        first.add(told[0].answer)
        assert told == rationales(site.store, site.people["ada"], stay, key)
    assert first == {"present", "absent"}


def test_a_reason_says_how_sure_why_and_whether_it_was_read_blind(site: Site) -> None:
    stay, key = disagree(site)
    mine = {row.answer: row for row in rationales(site.store, site.people["ada"], stay, key)}
    present, absent = mine["present"], mine["absent"]
    assert (present.certainty, present.reason_code, present.comment) == ("high", "documented", "cultures grew")
    assert (present.blinded, present.before) == (True, ())
    assert (absent.certainty, absent.reason_code, absent.comment) == ("low", None, None)


def test_an_answer_changed_after_the_reveal_is_told_as_seen_with_the_one_before(site: Site) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    site.say("ann", stay, key, "absent", supersedes=first.id)
    (told,) = rationales(site.store, site.people["ada"], stay, key)
    assert (told.answer, told.blinded, told.before) == ("absent", False, ("present",))


def test_a_comment_that_was_redacted_is_gone_from_the_reasons(site: Site) -> None:
    stay, key = site.singles()[0]
    row = site.say("ann", stay, key, "present", comment="named a colleague")
    redact(site.store, site.people["sam"], row.comment_id, "a name")
    assert rationales(site.store, site.people["ada"], stay, key)[0].comment is None


def test_reasons_are_for_adjudicators_who_did_not_read_the_pair(site: Site) -> None:
    stay, key = disagree(site)
    for who in ("cat", "sam", "aud"):
        with pytest.raises(AccessError):
            rationales(site.store, site.people[who], stay, key)
    site.say("ada", stay, key, "present")
    undo(site.store, site.people["ada"], new_token())
    with pytest.raises(DecisionError, match="read the pair"):
        rationales(site.store, site.people["ada"], stay, key)
    assert is_reader(site.store, site.people["ada"], stay, [key])


def test_the_list_holds_conflicts_oldest_first_and_leaves_out_what_the_adjudicator_read(site: Site) -> None:
    ada = site.people["ada"]
    assert conflict_items(site.store, site.round, ada).items == ()
    pairs = [disagree(site, number) for number in (3, 1, 2)]
    cases = conflict_items(site.store, site.round, ada)
    assert [(item.stay_id, item.label_keys[0]) for item in cases.items] == pairs
    site.say("ada", *pairs[0], "present")
    cases = conflict_items(site.store, site.round, ada)
    assert [(item.stay_id, item.label_keys[0]) for item in cases.items] == pairs[1:]
    assert (cases.own, cases.gone) == (1, 0)
    with pytest.raises(AccessError):
        conflict_items(site.store, site.round, site.people["ann"])


def test_labels_decided_together_are_one_case_and_one_reader_has_one_letter(site: Site) -> None:
    stay, keys = together(site)
    ada = site.people["ada"]
    (item,) = conflict_items(site.store, site.round, ada).items
    assert item.label_keys == keys
    told = {key: rationales(site.store, ada, stay, key, keys) for key in keys}
    for letter in (0, 1):
        assert sorted(told[key][letter].answer for key in keys) == ["absent", "present"]


def test_labels_decided_together_are_settled_together_or_not_at_all(site: Site) -> None:
    stay, keys = together(site)
    ada = site.people["ada"]
    before = head(site.store)
    with pytest.raises(DecisionError, match="at most one present"):
        adjudicate_together(site.store, ada, 1, stay, dict.fromkeys(keys, "present"), token=new_token())
    assert head(site.store) == before
    token = new_token()
    answers = {keys[0]: "present", keys[1]: "absent"}
    first = adjudicate_together(site.store, ada, 1, stay, answers, comment="ketones", token=token)
    again = adjudicate_together(site.store, ada, 1, stay, answers, comment="ketones", token=token)
    assert first == again
    assert [pair_state(site.store, stay, key).value for key in keys] == [1, 0]
    assert conflict_items(site.store, site.round, ada).items == ()
    assert verify(site.store) == []


def test_pairs_that_every_reader_left_open_are_a_list_of_their_own(site: Site) -> None:
    ada = site.people["ada"]
    stay, key = site.singles()[0]
    for who in ("ann", "ben"):
        site.say(who, stay, key, "cannot_tell")
    disagree(site, 1)
    (item,) = conflict_items(site.store, site.round, ada, unsure=True).items
    assert (item.stay_id, item.label_keys) == (stay, (key,))


def test_a_later_adjudication_takes_the_place_of_an_earlier_one_and_both_stay(site: Site) -> None:
    stay, key = disagree(site)
    ada = site.people["ada"]
    adjudicate(site.store, ada, 1, stay, key, "present", token=new_token())
    adjudicate(site.store, ada, 1, stay, key, "cannot_tell", token=new_token())
    assert [row.answer for row in adjudications_of(site.store, stay, key)] == ["present", "cannot_tell"]
    assert not pair_state(site.store, stay, key).locked
    rows = settled(site.store, site.round, ada)
    assert rows["answer"].tolist() == ["cannot_tell", "present"]
    assert rows["counts"].tolist() == [True, False]
    with pytest.raises(AccessError):
        settled(site.store, site.round, site.people["ann"])


def test_two_adjudicators_at_once_are_both_kept_and_the_later_one_counts(site: Site) -> None:
    stay, key = disagree(site)
    other = add_person(site.store, operator(), "eve", PASSWORD, role="adjudicator")
    acts = [(site.people["ada"], "present"), (other, "absent")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda a: adjudicate(site.store, a[0], 1, stay, key, a[1], token=new_token()), acts))
    rows = adjudications_of(site.store, stay, key)
    assert {row.adjudicator for row in rows} == {"ada", "eve"}
    assert pair_state(site.store, stay, key).value == int(rows[-1].answer == "present")
    assert verify(site.store) == []
