"""Signing in with the identity provider: what Streamlit's `st.login` is given, and what comes back of it."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.listening import Told, told
from audit_store.identity import Identity, identity_path, read_identity
from audit_store.roles import Person
from audit_store.workspace import Workspace

CALLBACK = "/oauth2callback"


def redirect_address(public_address: str) -> str:
    """The address that has to be registered at the provider."""
    return public_address.rstrip("/") + CALLBACK


def secrets(identity: Identity | None, told: Told, cookie_key: str) -> dict[str, Any]:
    """Streamlit's secrets: the section ``auth`` where the workspace names a provider, else none."""
    if identity is None:
        return {}
    auth = {
        "redirect_uri": redirect_address(told.public_address),
        "cookie_secret": cookie_key,
        "client_id": identity.client_id,
        "client_secret": identity.client_secret,
        "server_metadata_url": identity.metadata_url,
        "client_kwargs": {"scope": identity.scope, "prompt": identity.prompt},
    }
    return {"auth": auth}


def is_vouched(user: Mapping[str, Any]) -> bool:
    """Whether the browser brings a token that the provider signed and this server's key sealed."""
    return user.get("is_logged_in") is True


def identity_here(place: Workspace) -> Identity | None:
    """The identity provider that a workspace names, read once while its file stays as it is."""
    path = identity_path(place)
    return _identity(place, str(path), path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_resource(show_spinner=False)
def _identity(_place: Workspace, path: str, stamp: int) -> Identity | None:
    return read_identity(_place)


def passwords_shut(place: Workspace) -> bool:
    """Whether accounts with a password may not sign in, since the workspace leaves that to its provider."""
    identity = identity_here(place)
    return identity is not None and not identity.passwords


def way_is_open(place: Workspace, person: Person) -> bool:
    """Whether such a person may be signed in on this server: no demo beyond this machine, no password where shut."""
    if person.demo and told().beyond:
        return False
    return person.issuer is not None or not passwords_shut(place)
