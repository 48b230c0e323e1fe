"""The protocol: what can be signed, by whom, and what its hash covers."""

from dataclasses import replace

import pytest

from audit_store.errors import AccessError, DecisionError
from audit_store.guidelines import Guidelines, load
from audit_store.people import operator
from audit_store.protocol import (
    Terms,
    check_terms,
    current_protocol,
    list_protocols,
    protocol_by_hash,
    protocol_hash,
    protocol_is_current,
    sign_protocol,
)
from audit_store.roles import PERMISSIONS
from audit_store.verify import verify

from .conftest import PEOPLE, Site


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"batch_size": 4}, "a batch of 5–500"),
        ({"batch_size": 501}, "a batch of 5–500"),
        ({"batch_size": True}, "a batch of 5–500"),
        ({"budget": 59}, "a budget of one batch or more"),
        ({"budget": 10_000_001}, "a budget"),
        ({"blind": 1}, "yes or no"),
        ({"double_share": -0.1}, "double_share of 0–0.5"),
        ({"control_share": 0.51}, "control_share of 0–0.5"),
        ({"audit_share": float("nan")}, "audit_share as a number"),
        ({"double_share": 0.4, "control_share": 0.3, "audit_share": 0.3}, "at most 0.9 together"),
    ],
)
def test_terms_that_cannot_be_worked_by_are_one_line(bad: dict[str, object], words: str) -> None:
    with pytest.raises(DecisionError, match=words) as caught:
        check_terms(Terms(**bad))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_terms_at_their_limits_are_taken() -> None:
    check_terms(Terms(5, 5, False, 0, 0, 0))
    check_terms(Terms(500, None, True, 0.3, 0.3, 0.3))


def test_a_hash_covers_every_term_and_every_guideline() -> None:
    versions = {"shock": "shock@1:00"}
    base = protocol_hash(Terms(), versions)
    changed = [
        replace(Terms(), **{name: value})
        for name, value in {
            "batch_size": 61,
            "budget": 600,
            "blind": False,
            "double_share": 0.2,
            "control_share": 0.0,
            "audit_share": 0.11,
        }.items()
    ]
    hashes = {protocol_hash(terms, versions) for terms in changed} | {protocol_hash(Terms(), {"shock": "shock@2:00"})}
    assert len(hashes) == 7
    assert base not in hashes
    assert protocol_hash(Terms(double_share=0), versions) == protocol_hash(Terms(double_share=0.0), versions)
    assert len(base) == 64


def test_the_last_one_signed_is_in_force_and_the_ledger_holds_it(site: Site) -> None:
    assert current_protocol(site.store) is None
    assert not protocol_is_current(site.store, load())
    first = sign_protocol(site.store, site.people["sam"], Terms(), load())
    second = sign_protocol(site.store, operator(), Terms(batch_size=20, budget=200, blind=False), load())
    assert current_protocol(site.store) == second
    assert protocol_by_hash(site.store, first.hash) == first
    assert protocol_by_hash(site.store, "0" * 64) is None
    assert list_protocols(site.store)["id"].tolist() == [second.id, first.id]
    assert list_protocols(site.store)["actor"].tolist() == [operator().name, "sam"]
    assert protocol_is_current(site.store, load())
    assert verify(site.store) == []


def test_a_guideline_that_changed_since_makes_the_protocol_old(site: Site) -> None:
    shipped = load()
    sign_protocol(site.store, operator(), Terms(), shipped)
    newer = {key: shipped[key] for key in shipped}
    newer["shock"] = replace(newer["shock"], version=newer["shock"].version + 1)
    assert not protocol_is_current(site.store, Guidelines(newer, shipped.groups))


def test_who_may_sign_is_the_roles_affair(site: Site) -> None:
    for who in PEOPLE:
        person = site.people[who]
        before = current_protocol(site.store)
        if "sign_protocol" in PERMISSIONS[person.role]:
            assert sign_protocol(site.store, person, Terms(), load()).actor == who
        else:
            with pytest.raises(AccessError, match="sign_protocol"):
                sign_protocol(site.store, person, Terms(), load())
            assert current_protocol(site.store) == before
