"""Who has answered a pair: kept apart from what they said."""

from audit_store.decisions import new_token, undo
from audit_store.readers import readers_of

from .conftest import Site


def test_an_answer_taken_back_leaves_its_reader_among_those_who_ever_answered(site: Site) -> None:
    stay, key = site.singles()[0]
    assert readers_of(site.store, stay, key).ever == frozenset()
    site.say("ann", stay, key, "present")
    site.say("ben", stay, key, "absent")
    undo(site.store, site.people["ben"], new_token())
    who = readers_of(site.store, stay, key)
    assert who.ever == {"ann", "ben"}
    assert who.standing == {"ann"}
    assert who.others("ann") == 0
    assert who.others("ben") == 1


def test_a_reader_who_changed_an_answer_and_took_the_change_back_still_has_one(site: Site) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    site.say("ann", stay, key, "absent", supersedes=first.id)
    undo(site.store, site.people["ann"], new_token())
    assert readers_of(site.store, stay, key).standing == {"ann"}
