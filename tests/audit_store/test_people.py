"""Who may do what."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_store import people, roles, sessions
from audit_store.attestations import attestation_required, require_attestation
from audit_store.database import open_store, utc_now
from audit_store.decisions import Reading, adjudicate, new_token, record, redact, undo
from audit_store.errors import AccessError, StoreError
from audit_store.exports import export_labels
from audit_store.ledger import events_of, head, trail
from audit_store.people import (
    ACTIONS,
    PERMISSIONS,
    ROLES,
    Person,
    add_person,
    authenticate,
    change_own_password,
    disable_person,
    enable_person,
    end_session,
    find_person,
    list_people,
    log_access,
    operator,
    people_table,
    require,
    resume_session,
    session_seconds,
    set_attestation,
    set_password,
    set_role,
    start_session,
    temporary_password,
)
from audit_store.quality.report import quality
from audit_store.rounds import publish_round
from audit_store.verify import verify
from audit_store.workspace import create_workspace

from .conftest import PASSWORD, PEOPLE, Site, round_info

MakeSite = Callable[..., Site]


def test_every_role_may_do_what_the_table_says_and_nothing_else() -> None:
    for role, allowed in PERMISSIONS.items():
        for action in ACTIONS:
            person = Person("x", "x", role)
            if action in allowed:
                require(person, action)
            else:
                with pytest.raises(AccessError):
                    require(person, action)


def test_a_role_that_nobody_knows_may_do_nothing() -> None:
    for action in ACTIONS:
        with pytest.raises(AccessError):
            require(Person("x", "x", "king"), action)


def acts(site: Site) -> dict[str, Callable[[Person], Any]]:
    """One act per action, done through the store."""
    store = site.store
    stay, key = site.singles()[0]
    told = site.say("cat", *site.singles()[1], "present", comment="why")
    tables = site.tables(seed=2)
    return {
        "view": lambda who: log_access(store, who, "chart", 1, stay, key),
        "decide": lambda who: record(store, who, Reading(1, stay, key, "present"), new_token()),
        "adjudicate": lambda who: adjudicate(store, who, 1, *site.singles()[1], "absent", token=new_token()),
        "export": lambda who: export_labels(store, 1, who, formats=("parquet",)),
        "publish_round": lambda who: publish_round(store, 2, round_info(2, site.manifest["fingerprint"]), tables, who),
        "manage_people": lambda who: add_person(store, who, f"new-{who.role}", PASSWORD),
        "redact": lambda who: redact(store, who, told.comment_id, "named a colleague"),
    }


@pytest.mark.parametrize("role", ROLES)
def test_the_store_refuses_each_act_that_the_role_may_not_do(site: Site, role: str) -> None:
    who = site.people[{"reviewer": "ann", "adjudicator": "ada", "steward": "sam", "auditor": "aud"}[role]]
    for action, act in acts(site).items():
        before = head(site.store)
        if action in PERMISSIONS[role]:
            act(who)
            assert head(site.store).count > before.count, action
        else:
            with pytest.raises(AccessError):
                act(who)
            assert head(site.store) == before, action


def test_the_store_trusts_its_own_record_of_a_role_not_the_callers(site: Site) -> None:
    forged = Person("aud", "aud", "steward")
    with pytest.raises(AccessError):
        record(site.store, forged, Reading(1, *site.singles()[0], "present"), new_token())
    with pytest.raises(AccessError):
        record(site.store, Person("ghost", "ghost", "reviewer"), Reading(1, *site.singles()[0], "absent"), new_token())


def test_a_disabled_account_can_do_nothing_until_it_is_enabled(site: Site) -> None:
    secret = start_session(site.store, site.people["ann"])
    disable_person(site.store, site.people["sam"], "ann")
    with pytest.raises(AccessError):
        authenticate(site.store, "ann", PASSWORD)
    with pytest.raises(AccessError):
        site.say("ann", *site.singles()[0], "present")
    with pytest.raises(AccessError):
        undo(site.store, site.people["ann"], new_token())
    assert resume_session(site.store, secret) is None
    enable_person(site.store, site.people["sam"], "ann")
    assert authenticate(site.store, "ann", PASSWORD).active


def test_sign_in_needs_the_right_password_and_says_nothing_more(site: Site) -> None:
    assert authenticate(site.store, "ann", PASSWORD) == site.people["ann"]
    told = set()
    for name, password in (("ann", "wrong horse"), ("nobody", PASSWORD), ("ANN ", PASSWORD), ("", "")):
        with pytest.raises(AccessError) as caught:
            authenticate(site.store, name, password)
        told.add(str(caught.value))
    assert len(told) == 1
    assert PASSWORD not in told.pop()


def test_an_unknown_name_is_checked_against_a_hash_as_well(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = people._matches
    monkeypatch.setattr(people, "_matches", lambda kept, given: checked.append(kept) or real(kept, given))
    with pytest.raises(AccessError):
        authenticate(site.store, "nobody", "whatever")
    assert len(checked) == 1
    assert checked[0].startswith("$argon2")


def test_after_five_failures_even_the_right_password_waits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        with pytest.raises(AccessError, match="does not match"):
            authenticate(site.store, "ann", "wrong horse")
    with pytest.raises(AccessError, match="wait"):
        authenticate(site.store, "ann", PASSWORD)
    assert authenticate(site.store, "ben", PASSWORD).name == "ben"
    later = utc_now() + timedelta(seconds=3)
    monkeypatch.setattr(people, "utc_now", lambda: later)
    assert authenticate(site.store, "ann", PASSWORD).name == "ann"
    with pytest.raises(AccessError, match="does not match"):
        authenticate(site.store, "ann", "wrong horse")


def test_sessions_end_by_sign_out_idleness_and_new_passwords(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ann = site.store, site.people["ann"]
    assert resume_session(store, "made up") is None
    one, two, three = (start_session(store, ann) for _ in range(3))
    assert resume_session(store, one) == ann
    end_session(store, one)
    assert resume_session(store, one) is None
    set_password(store, ann, "ann", "another horse")
    assert resume_session(store, two) is None
    assert resume_session(store, three) is None
    assert authenticate(store, "ann", "another horse") == ann
    four = start_session(store, ann)
    later = utc_now() + timedelta(minutes=31)
    monkeypatch.setattr(sessions, "utc_now", lambda: later)
    assert resume_session(store, four) is None


def test_one_may_set_ones_own_password_and_not_anothers(site: Site) -> None:
    with pytest.raises(AccessError):
        set_password(site.store, site.people["ann"], "ben", "another horse")
    set_password(site.store, site.people["sam"], "ben", "another horse")
    assert authenticate(site.store, "ben", "another horse").name == "ben"


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [
        ("Ann", PASSWORD, "reviewer"),
        ("", PASSWORD, "reviewer"),
        ("a" * 33, PASSWORD, "reviewer"),
        ("operator:x", PASSWORD, "reviewer"),
        ("new", "short", "reviewer"),
        ("new", PASSWORD, "operator"),
        ("ann", PASSWORD, "reviewer"),
    ],
)
def test_malformed_accounts_are_refused_in_one_line(site: Site, name: str, password: str, role: str) -> None:
    before = head(site.store)
    with pytest.raises(AccessError) as caught:
        add_person(site.store, operator(), name, password, role=role)
    assert "\n" not in str(caught.value)
    assert password not in str(caught.value)
    assert head(site.store) == before


def test_people_are_listed_with_their_roles_and_changes_are_in_the_ledger(site: Site) -> None:
    frame = list_people(site.store).set_index("name")
    assert frame["role"].to_dict() == PEOPLE
    set_role(site.store, site.people["sam"], "ben", "adjudicator")
    found = find_person(site.store, "ben")
    assert found is not None
    assert found.role == "adjudicator"
    last = events_of(site.store, "person")[-1]
    assert (last.actor, last.data["name"], last.data["role"]) == ("sam", "ben", "adjudicator")
    assert find_person(site.store, "nobody") is None
    with pytest.raises(StoreError):
        disable_person(site.store, site.people["sam"], "nobody")


def test_no_password_and_no_hash_is_in_the_ledger(site: Site) -> None:
    for event in events_of(site.store, "person"):
        assert PASSWORD not in str(event.data)
        assert "$argon2" not in str(event.data)


def test_accesses_are_logged_and_only_known_ones(site: Site) -> None:
    log_access(site.store, site.people["aud"], "note", 1, 1000, "shock")
    assert events_of(site.store, "access")[-1].data["what"] == "note"
    with pytest.raises(AccessError):
        log_access(site.store, site.people["aud"], "lunch")


def test_the_last_active_steward_stays(site: Site) -> None:
    sam = site.people["sam"]
    for act in (lambda: disable_person(site.store, sam, "sam"), lambda: set_role(site.store, sam, "sam", "auditor")):
        with pytest.raises(AccessError, match="the last one"):
            act()
    set_role(site.store, sam, "ben", "steward")
    disable_person(site.store, sam, "sam")
    with pytest.raises(AccessError, match="the last one"):
        set_role(site.store, site.people["ben"], "ben", "reviewer")
    disable_person(site.store, operator(), "ben")
    assert not list_people(site.store).set_index("name").loc["ben", "active"]


def test_a_password_that_a_steward_gave_opens_nothing_until_it_is_changed(site: Site) -> None:
    given = temporary_password()
    assert given != temporary_password()
    set_password(site.store, site.people["sam"], "ann", given)
    ann = authenticate(site.store, "ann", given)
    assert ann.temporary
    start_session(site.store, ann)
    with pytest.raises(AccessError, match="temporary"):
        site.say("ann", *site.singles()[0], "present")
    with pytest.raises(AccessError):
        change_own_password(site.store, ann, "not it at all", "my own horse")
    with pytest.raises(AccessError, match="another password"):
        change_own_password(site.store, ann, given, given)
    assert not change_own_password(site.store, ann, given, "my own horse").temporary
    site.say("ann", *site.singles()[0], "present")
    assert verify(site.store) == []


def test_the_demos_password_stays(site: Site) -> None:
    demo = add_person(site.store, operator(), "demo", PASSWORD, demo=True)
    with pytest.raises(AccessError, match="share"):
        change_own_password(site.store, demo, PASSWORD, "another horse")


def test_an_attestation_holds_until_its_last_day_and_then_has_expired(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sam = site.people["sam"]
    today = utc_now().date()
    set_attestation(site.store, sam, "ann", "DUA 1.5", today.isoformat())
    set_attestation(site.store, sam, "ben", "DUA 1.5", (today - timedelta(days=1)).isoformat())
    start_session(site.store, site.people["ann"])
    frame = people_table(site.store, sam).set_index("name")
    assert frame["attested"].to_dict() == {
        "ann": "holds", "ben": "expired", "cat": "none", "ada": "none", "sam": "none", "aud": "none"
    }  # fmt: skip
    assert frame.loc["cat", "attestation"] is None
    assert frame["last_sign_in"].notna().sum() == 1
    found = find_person(site.store, "ann")
    assert found is not None
    assert (found.attestation, found.attestation_expires) == ("DUA 1.5", today.isoformat())
    set_attestation(site.store, sam, "ann", None, None)
    assert verify(site.store) == []
    for text, day in (("DUA", None), (None, "2027-01-01"), ("DUA", "soon"), ("x" * 201, "2027-01-01")):
        with pytest.raises(AccessError):
            set_attestation(site.store, sam, "ann", text, day)
    with pytest.raises(AccessError):
        people_table(site.store, site.people["aud"])


def test_a_session_lasts_twelve_hours_however_busy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    began = utc_now()
    secret = start_session(site.store, site.people["ann"])
    for minutes in range(20, 12 * 60, 20):
        monkeypatch.setattr(sessions, "utc_now", lambda minutes=minutes: began + timedelta(minutes=minutes))
        assert resume_session(site.store, secret) is not None, minutes
    monkeypatch.setattr(sessions, "utc_now", lambda: began + timedelta(hours=12, seconds=2))
    assert resume_session(site.store, secret) is None


def test_looking_whether_a_session_lives_does_not_keep_it_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    began = utc_now()
    secret = start_session(site.store, site.people["ann"])
    for minutes in (10, 20, 29):
        monkeypatch.setattr(sessions, "utc_now", lambda minutes=minutes: began + timedelta(minutes=minutes))
        assert resume_session(site.store, secret, used=False) is not None
    assert 30 < session_seconds(site.store, secret) < 61
    monkeypatch.setattr(sessions, "utc_now", lambda: began + timedelta(minutes=31))
    assert resume_session(site.store, secret, used=False) is None
    assert session_seconds(site.store, secret) == 0


def test_thirty_failures_from_one_address_make_it_wait_whoever_it_tries(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_matches", lambda kept, given: given == PASSWORD and kept != people._nobody())
    for number in range(people.SIGN_IN.free_failures_of_an_address):
        with pytest.raises(AccessError, match="does not match"):
            authenticate(site.store, f"guess{number}", "wrong horse", address="192.0.2.7")
    with pytest.raises(AccessError, match="wait"):
        authenticate(site.store, "ann", PASSWORD, address="192.0.2.7")
    assert authenticate(site.store, "ann", PASSWORD, address="192.0.2.8").name == "ann"
    later = utc_now() + timedelta(seconds=3)
    monkeypatch.setattr(people, "utc_now", lambda: later)
    assert authenticate(site.store, "ann", PASSWORD, address="192.0.2.7").name == "ann"
    with pytest.raises(AccessError, match="does not match"):  # one success does not clear the address
        authenticate(site.store, "guess99", "wrong horse", address="192.0.2.7")
    with pytest.raises(AccessError, match="wait"):
        authenticate(site.store, "ann", PASSWORD, address="192.0.2.7")
    assert "192.0.2.7" not in str(trail(site.store, limit=500)["payload"].tolist())


def test_the_passwords_that_anyone_tries_first_are_refused(site: Site) -> None:
    for password in ("password", "Welcome1", "newcomer", "newcomer123", "aaaaaaaa", "x" * 1001, "xyzshort"[:5]):
        with pytest.raises(AccessError) as caught:
            add_person(site.store, operator(), "newcomer", password)
        assert password == "password" or password not in str(caught.value)
    assert find_person(site.store, "newcomer") is None
    add_person(site.store, operator(), "newcomer", "a quiet heron at nine")


def test_a_new_workspace_has_no_account_and_no_password(tmp_path: Path) -> None:
    store = open_store(create_workspace(tmp_path / "new"))
    assert list_people(store).empty
    for name, password in (("demo", "demo-password"), ("admin", "admin"), ("operator", ""), ("", "")):
        with pytest.raises(AccessError):
            authenticate(store, name, password)
    store.close()


def test_whose_attestation_has_expired_can_sign_in_and_do_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sam, ann = site.store, site.people["sam"], site.people["ann"]
    today = utc_now().date()
    set_attestation(store, sam, "ann", "DUA 1.5", today.isoformat())
    secret = start_session(store, ann)
    site.say("ann", *site.singles()[0], "present")
    tomorrow = utc_now() + timedelta(days=1)
    monkeypatch.setattr(roles, "utc_now", lambda: tomorrow)
    before = head(store)
    for act in (
        lambda: site.say("ann", *site.singles()[1], "present"),
        lambda: log_access(store, ann, "chart", 1, 1000, "shock"),
        lambda: quality(store, ann, site.round),
    ):
        with pytest.raises(AccessError, match="attestation"):
            act()
    assert head(store) == before
    now = resume_session(store, secret)
    assert now is not None
    assert now.barred
    assert authenticate(store, "ann", PASSWORD).name == "ann"
    set_attestation(store, sam, "ann", "DUA 1.6", (today + timedelta(days=30)).isoformat())
    site.say("ann", *site.singles()[1], "present")
    again = resume_session(store, secret)
    assert again is not None
    assert not again.barred


def test_an_attestation_is_asked_of_everyone_only_where_a_steward_says_so(site: Site) -> None:
    store, sam = site.store, site.people["sam"]
    assert not attestation_required(store)
    site.say("ann", *site.singles()[0], "present")
    with pytest.raises(AccessError):
        require_attestation(store, site.people["ann"], True)
    with pytest.raises(AccessError, match="of your own first"):
        require_attestation(store, sam, True)
    set_attestation(store, sam, "sam", "DUA", "2999-01-01")
    require_attestation(store, sam, True)
    assert attestation_required(store)
    with pytest.raises(AccessError, match="attestation"):
        site.say("ann", *site.singles()[1], "present")
    set_attestation(store, sam, "ann", "DUA", "2999-01-01")
    site.say("ann", *site.singles()[1], "present")
    require_attestation(store, sam, False)
    site.say("ben", *site.singles()[1], "present")
    assert events_of(store, "access_rule")[-1].data["require_attestation"] is False
    assert verify(store) == []
