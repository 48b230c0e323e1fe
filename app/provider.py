"""Signing in with the identity provider: what Streamlit's `st.login` is given, and what comes back of it."""

from collections.abc import Mapping
from typing import Any

from app.listening import Told
from audit_store.identity import Identity

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
