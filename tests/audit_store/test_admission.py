"""Who an identity provider vouches for is let in with the role of their group, and nobody takes another's account."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_store import sessions
from audit_store.admission import admit, token_end
from audit_store.database import utc_now
from audit_store.errors import AccessError, WorkspaceError
from audit_store.identity import IDENTITY_VARIABLE, Identity, cookie_secret, identity_of, read_identity
from audit_store.ledger import events_of, head
from audit_store.people import (
    authenticate,
    change_own_password,
    disable_person,
    find_person,
    resume_session,
    set_password,
    set_role,
)
from audit_store.verify import rebuild, verify

from .conftest import Site

ISSUER = "https://login.example.org"
IDENTITY = Identity(
    name="St. Anna",
    metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_id="miracl",
    client_secret="hush",
    roles=(("icu-stewards", "steward"), ("icu-reviewers", "reviewer"), ("icu-auditors", "auditor")),
    email_domains=("example.org",),
)
FILE = """
[provider]
name = "St. Anna"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
client_id = "miracl"
client_secret = "hush-hush"
[claims]
groups = "realm.groups"
[roles]
"icu-stewards" = "steward"
"icu-reviewers" = "reviewer"
[rules]
passwords = false
email_domains = ["Example.org"]
"""


def claims(name: str = "Grace.Hopper", *, minutes: float = 60, **more: Any) -> dict[str, Any]:
    """Claims as a provider signs them."""
    now = datetime.now(UTC).timestamp()
    return {
        "iss": ISSUER,
        "sub": f"subject-of-{name}",
        "iat": now,
        "exp": now + 60 * minutes,
        "nonce": os.urandom(8).hex(),
        "preferred_username": name,
        "name": "Grace Hopper",
        "email": f"{name}@example.org",
        "groups": ["everyone", "icu-reviewers"],
        **more,
    }


def test_the_first_sign_in_makes_an_account_with_the_groups_role_and_no_password(site: Site) -> None:
    person, secret = admit(site.store, IDENTITY, claims())
    assert (person.name, person.role, person.issuer, person.active) == ("grace.hopper", "reviewer", ISSUER, True)
    assert resume_session(site.store, secret) == person
    for password in ("", "!", "anything at all"):
        with pytest.raises(AccessError, match="does not match"):
            authenticate(site.store, "grace.hopper", password)
    with pytest.raises(AccessError, match="identity provider"):
        set_password(site.store, site.people["sam"], "grace.hopper", "a quiet heron")
    with pytest.raises(AccessError):
        change_own_password(site.store, person, "!", "a quiet heron")
    with pytest.raises(AccessError, match="identity provider"):
        set_role(site.store, site.people["sam"], "grace.hopper", "steward")
    assert verify(site.store) == []
    rebuild(site.store, site.people["sam"])
    assert verify(site.store) == []
    assert find_person(site.store, "grace.hopper") == person


def test_another_role_at_the_provider_holds_from_the_next_sign_in_and_is_an_event(site: Site) -> None:
    _, old = admit(site.store, IDENTITY, claims())
    person, _ = admit(site.store, IDENTITY, claims(groups=["icu-reviewers", "icu-stewards"]))
    assert person.role == "steward"
    looked = resume_session(site.store, old)
    assert looked is not None
    assert looked.role == "steward"
    told = events_of(site.store, "person")
    assert [e.data["role"] for e in told if e.data["name"] == "grace.hopper"] == ["reviewer", "steward"]
    before = len(told)
    admit(site.store, IDENTITY, claims(groups="icu-stewards"))
    assert len(events_of(site.store, "person")) == before
    assert verify(site.store) == []


def test_a_changed_name_opens_nobody_elses_account(site: Site) -> None:
    admit(site.store, IDENTITY, claims("grace"))
    admit(site.store, IDENTITY, claims("alan"))
    same, _ = admit(site.store, IDENTITY, claims("grace", preferred_username="ann"))
    assert same.name == "grace"
    before = head(site.store)
    for taken in ("ann", "alan", "ALAN "):
        with pytest.raises(AccessError, match="somebody else's") as caught:
            admit(site.store, IDENTITY, claims("mallory", preferred_username=taken))
        assert "mallory" not in str(caught.value)
    other = claims("grace", iss="https://elsewhere.example.org")
    with pytest.raises(AccessError, match="somebody else's"):
        admit(site.store, IDENTITY, other)
    assert head(site.store) == before


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"groups": ["everyone"]}, "none among yours at St. Anna"),
    ({"groups": None}, "none among yours"),
    ({"groups": {"icu-reviewers": True}}, "none among yours"),
    ({"minutes": -1}, "has ended"),
    ({"exp": None}, "has ended"),
    ({"exp": True}, "has ended"),
    ({"exp": 1e300}, "has ended"),
    ({"sub": ""}, "subject"),
    ({"iss": None}, "subject"),
    ({"iss": "https://" + "x" * 300}, "address"),
    ({"email": "grace@example.com"}, "domain"),
    ({"email": "grace@example.org.evil.com"}, "domain"),
    ({"email": None}, "domain"),
    ({"email_verified": False}, "domain"),
    ({"preferred_username": None}, "account's name"),
    ({"preferred_username": "***"}, "account's name"),
    ({"preferred_username": "x" * 200}, "account's name"),
]


def test_claims_that_do_not_let_in_are_refused_in_a_line_that_quotes_none(site: Site) -> None:
    before = head(site.store)
    for change, said in REFUSED:
        given = claims(**change)
        with pytest.raises(AccessError, match=said) as caught:
            admit(site.store, IDENTITY, given)
        for value in (given["sub"], given["email"], "hush", given["nonce"]):
            assert not value or value not in str(caught.value)
    assert head(site.store) == before


def test_a_person_closed_here_is_refused_though_the_provider_says_yes(site: Site) -> None:
    _, secret = admit(site.store, IDENTITY, claims())
    disable_person(site.store, site.people["sam"], "grace.hopper")
    assert resume_session(site.store, secret) is None
    with pytest.raises(AccessError, match="a steward closed"):
        admit(site.store, IDENTITY, claims())
    assert events_of(site.store, "sign_in")[-1].data == {"result": "failed", "way": "oidc"}


def test_a_session_ends_with_its_token_and_a_token_opens_one_session(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = claims(minutes=5)
    _, secret = admit(site.store, IDENTITY, token)
    with pytest.raises(AccessError, match="used before"):
        admit(site.store, IDENTITY, token)
    began = utc_now()
    monkeypatch.setattr(sessions, "utc_now", lambda: began + timedelta(minutes=4))
    assert resume_session(site.store, secret) is not None
    monkeypatch.setattr(sessions, "utc_now", lambda: began + timedelta(minutes=5, seconds=1))
    assert resume_session(site.store, secret) is None


def test_nothing_of_a_token_stands_in_the_ledger_but_the_issuer_and_a_keyed_digest(site: Site) -> None:
    given = claims(sub="s-0815", nonce="n-4711")
    admit(site.store, IDENTITY, given)
    told = "".join(str(event.data) for kind in ("person", "sign_in") for event in events_of(site.store, kind))
    for value in ("s-0815", "n-4711", "@example.org", "icu-reviewers", "hush"):
        assert value not in told
    assert ISSUER in told


def test_the_file_is_read_and_a_nested_groups_claim_found(site: Site) -> None:
    path = site.workspace.root / "identity.toml"
    assert read_identity(site.workspace) is None
    path.write_text(FILE, encoding="utf-8")
    path.chmod(0o600)
    identity = read_identity(site.workspace)
    assert identity is not None
    assert (identity.passwords, identity.email_domains) == (False, ("example.org",))
    assert "hush" not in repr(identity)
    person, _ = admit(site.store, identity, claims(realm={"groups": ["icu-stewards"]}))
    assert person.role == "steward"
    path.chmod(0o640)
    with pytest.raises(WorkspaceError, match="0640"):
        read_identity(site.workspace)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('client_id = "miracl"', "", "client_id"),
        ('client_id = "miracl"', "client_id = 3", "client_id"),
        ('client_id = "miracl"', 'client_idd = "miracl"', "client_idd"),
        ('client_secret = "hush-hush"', "", "neither"),
        ('client_secret = "hush-hush"', 'client_secret_variable = "MIRACL_NOT_SET"', "environment"),
        ('client_secret = "hush-hush"', 'client_secret = "hush-hush', "line 6"),
        ("https://login", "http://login", "https address"),
        ('= "steward"', '= "king"', "another word"),
        ("[roles]", "[rolls]", "sections"),
        ('"icu-stewards" = "steward"\n"icu-reviewers" = "reviewer"', "", "at least one group"),
        ("passwords = false", 'passwords = "no"', "true or false"),
        ('["Example.org"]', '["@example.org"]', "email_domains"),
        ('["Example.org"]', '"example.org"', "email_domains"),
        ("[provider]\n", '[provider]\nprompt = "shout"\n', "prompt"),
        ("[provider]\n", '[provider]\nscope = "email"\n', "openid"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_one_line_without_its_secret(
    old: str, new: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit_store.workspace import create_workspace

    assert FILE.count(old) == 1
    path = tmp_path / "elsewhere.toml"
    path.write_text(FILE.replace(old, new), encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.setenv(IDENTITY_VARIABLE, str(path))
    with pytest.raises(WorkspaceError, match=said) as caught:
        read_identity(create_workspace(tmp_path / "w"))
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_named_file_that_is_missing_is_no_silent_way_back_to_passwords(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IDENTITY_VARIABLE, str(tmp_path / "gone.toml"))
    with pytest.raises(WorkspaceError, match="No such file"):
        read_identity(site.workspace)


def test_ends_of_tokens_and_keys_of_cookies_are_what_they_should_be(site: Site) -> None:
    assert token_end({"exp": 0}) is None
    assert token_end({"exp": "soon"}) is None
    assert token_end({"exp": 1_900_000_000}) == datetime(2030, 3, 17, 17, 46, 40)  # noqa: DTZ001
    assert len(cookie_secret(site.workspace)) == 64
    assert cookie_secret(site.workspace) != site.workspace.secret.hex()
    with pytest.raises(WorkspaceError):
        identity_of({})
