"""Signing in through an identity provider, in a real browser against a real server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.listening import Listening
from audit_store.ledger import events_of
from audit_store.people import disable_person, find_person, operator
from audit_store.verify import verify
from tests.app.browser import browsing, free_port, serving, settled
from tests.app.fake_provider import CLIENT_ID, CLIENT_SECRET, Provider, providing
from tests.app.invented import FLAGS, Invented, make_workspace

WAIT = 30_000
BUTTON = "Sign in with St. Anna"
GRACE: dict[str, Any] = {
    "sub": "0815-grace",
    "preferred_username": "grace",
    "name": "Grace Hopper",
    "email": "grace.hopper@example.org",
    "groups": ["everyone", "icu-reviewers"],
}


def write_identity(place: Invented, provider: Provider, *, passwords: bool = False) -> None:
    path = place.folder / "identity.toml"
    path.write_text(
        f'[provider]\nname = "St. Anna"\nserver_metadata_url = "{provider.metadata_url}"\n'
        f'client_id = "{CLIENT_ID}"\nclient_secret = "{CLIENT_SECRET}"\n'
        '[roles]\n"icu-stewards" = "steward"\n"icu-reviewers" = "reviewer"\n'
        f'[rules]\npasswords = {str(passwords).lower()}\nemail_domains = ["example.org"]\n',
        encoding="utf-8",
    )
    path.chmod(0o600)


@contextmanager
def standing(tmp_path: Path) -> Iterator[tuple[Invented, Provider, str, Path]]:
    """A workspace, a provider, and a server that trusts it."""
    place = make_workspace(tmp_path / "workspace", FLAGS[:2])
    log = tmp_path / "server.log"
    with providing() as provider:
        write_identity(place, provider)
        with serving(place.folder, log, Listening(free_port())) as address:
            yield place, provider, address, log
    place.store.close()


def signed_in(page: Page) -> None:
    expect(page.get_by_role("button", name="Sign out")).to_be_visible(timeout=WAIT)
    settled(page)


@pytest.mark.slow
def test_the_provider_lets_in_maps_groups_to_roles_and_its_word_ends_with_its_token(tmp_path: Path) -> None:
    with standing(tmp_path) as (place, provider, address, log), browsing() as page:
        # first sign-in: an account with the group's role, no password form on the page
        provider.person = GRACE
        page.goto(address)
        expect(page.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        assert page.get_by_label("Password", exact=True).count() == 0
        page.get_by_role("button", name=BUTTON).click()
        signed_in(page)
        assert page.get_by_role("link", name="People").count() == 0
        grace = find_person(place.store, "grace")
        assert grace is not None
        assert (grace.role, grace.display_name, grace.issuer) == ("reviewer", "Grace Hopper", provider.address)
        cookies = {c["name"]: c for c in page.context.cookies()}
        user = cookies["_streamlit_user"]
        assert (user["httpOnly"], user["sameSite"], user["expires"]) == (True, "Lax", -1)
        # a reload keeps the sitting; another tab with the same cookie does not take it
        page.reload()
        signed_in(page)
        with page.context.expect_page() as opened:
            page.evaluate("() => { window.open('/', '_blank', 'noopener') }")
        other = opened.value
        expect(other.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        settled(other)
        assert other.get_by_role("button", name="Sign out").count() == 0
        other.close()
        # sign-out ends it here and at the provider; the cookie is gone
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        for _ in range(100):
            if "/end" in provider.paths():
                break
            page.wait_for_timeout(100)
        assert "/end" in provider.paths()
        page.goto(address)
        expect(page.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        assert "_streamlit_user" not in {c["name"] for c in page.context.cookies()}

        # another role at the provider, and a token that ends in a few seconds
        provider.person = {**GRACE, "groups": ["icu-stewards"], "preferred_username": "someone-else"}
        provider.lifetime = 12
        page.get_by_role("button", name=BUTTON).click()
        signed_in(page)
        began = time.monotonic()
        assert [e.data["role"] for e in events_of(place.store, "person") if e.data["name"] == "grace"] == [
            "reviewer",
            "steward",
        ]
        # nobody touches the page: it goes back to the sign-in by itself when the token has ended
        expect(page.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        assert time.monotonic() - began < 25
        page.reload()
        expect(page.get_by_role("button", name=BUTTON)).to_be_visible(timeout=WAIT)
        assert page.get_by_role("button", name="Sign out").count() == 0

        # no group with a role; an account closed here
        provider.lifetime = 3600
        for person, said in (
            ({**GRACE, "sub": "0816", "groups": ["everyone"]}, "none among yours at St. Anna"),
            ({**GRACE, "sub": "0817", "email": "x@example.com"}, "domain that is let in"),
            ({**GRACE, "sub": "0818"}, "somebody else's"),
            (GRACE, "one that a steward closed here"),
        ):
            if said.startswith("one that"):
                disable_person(place.store, operator(), "grace")
            provider.person = person
            page.get_by_role("button", name=BUTTON).click()
            expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible(timeout=WAIT)
            settled(page)
            assert page.get_by_role("button", name="Sign out").count() == 0
        assert verify(place.store) == []
        written = log.read_text(encoding="utf-8") + str(
            [event.data for kind in ("person", "sign_in", "sign_out") for event in events_of(place.store, kind)]
        )
        for secret in (GRACE["email"], GRACE["sub"], CLIENT_SECRET, *provider.tokens):
            assert secret not in written
