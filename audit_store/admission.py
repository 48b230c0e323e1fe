"""Letting in who an identity provider vouches for: the account they have here, its role, and a session of their own.

An account belongs to the provider's issuer and subject, which never change hands; the name is only taken at the first
sign-in. The provider decides the role at each sign-in; the store decides whether the account is open. Nothing of a
token stands in the ledger but the issuer's address and a keyed digest of the subject.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import AccessError
from audit_store.fileio import blake, canonical_json
from audit_store.identity import Identity
from audit_store.ledger import append
from audit_store.people import NO_PASSWORD, Person
from audit_store.roles import person_of
from audit_store.sessions import begin_session

_LONGEST_NAME = 80
_LONGEST_ISSUER = 200


class StaleTokenError(AccessError):
    """A token that has ended, or has opened its session already: nothing is wrong, a fresh sign-in is due."""


@dataclass(frozen=True)
class Vouched:
    """What a token's claims say, checked: whose they are, in which role, until when."""

    issuer: str
    subject_digest: str
    name: str
    display_name: str
    role: str
    expires_at: datetime
    token_digest: str


def admit(store: Store, identity: Identity, claims: Mapping[str, Any]) -> tuple[Person, str]:
    """Let somebody in by their token's claims, which the caller got from the provider and whose signature it checked.

    The account is made at the first sign-in; name shown and role follow the provider at each. Each change is an event.

    Parameters
    ----------
    store, identity
        Where, and the provider that is trusted.
    claims
        Claims of the ID token.

    Returns
    -------
    tuple of Person and str
        Who it is, and the secret of their session, which ends with the token.

    Raises
    ------
    StaleTokenError
        When the token has ended or was used before.
    AccessError
        When no group has a role, the e-mail is of another domain, the account
        is closed, or its name belongs to somebody else. No message quotes a claim.
    """
    told = vouched(store, identity, claims)
    closed = False
    with store.writing() as connection:
        used = select(tables.session.c.digest).where(tables.session.c.token_digest == told.token_digest)
        if connection.execute(used).first():  # a cookie left in a browser opens no second session
            raise StaleTokenError("a fresh sign-in", "one that was used before", "sign in again")
        mine = tables.person.c.subject_digest == told.subject_digest
        row = connection.execute(select(tables.person).where(mine)).first()
        if row is not None and not row.active:
            append(connection, "sign_in", str(row.name), {"result": "failed", "way": "oidc"})
            closed = True
        else:
            name = _settle(connection, told, row)
            secret = begin_session(connection, name, told.expires_at, told.token_digest)
            append(connection, "sign_in", name, {"result": "ok", "way": "oidc"})
            person = person_of(connection.execute(select(tables.person).where(mine)).one())
    if closed:
        raise AccessError("an open account", "one that a steward closed here", "ask a steward")
    return person, secret


def vouched(store: Store, identity: Identity, claims: Mapping[str, Any]) -> Vouched:
    """Check a token's claims.

    Raises
    ------
    AccessError
        As `admit`.
    """
    issuer, subject = claims.get("iss"), claims.get("sub")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not issuer or not subject:
        raise AccessError("a token with an issuer and a subject", "one without", "tell whoever runs this server")
    if len(issuer) > _LONGEST_ISSUER:
        raise AccessError("an issuer's address of ordinary length", "a longer one", "tell whoever runs this server")
    expires_at = token_end(claims)
    if expires_at is None or expires_at <= utc_now():
        raise StaleTokenError("a sign-in that is still good", "one that has ended", "sign in again")
    _check_domain(identity, claims)
    role = identity.role_of(_words(_claim(claims, identity.groups_claim)))
    if role is None:
        raise AccessError(
            "a group that has a role here", f"none among yours at {identity.name}", "ask a steward for one of them"
        )
    name = _name(_claim(claims, identity.name_claim))
    display = claims.get("name")
    shown = display.strip()[:200] if isinstance(display, str) and display.isprintable() else ""
    key = store.workspace.secret
    told = {name: claims.get(name) for name in ("iss", "sub", "iat", "exp", "nonce", "jti")}
    return Vouched(
        issuer,
        blake("subject", issuer, subject, key=key),
        name,
        shown or name,
        role,
        expires_at,
        blake("token", canonical_json(told), key=key),
    )


def token_end(claims: Mapping[str, Any]) -> datetime | None:
    """When a token ends (UTC); None where its claims don't say."""
    end = claims.get("exp")
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 < end < 1e11:
        return None
    return datetime.fromtimestamp(end, UTC).replace(tzinfo=None)


def _settle(connection: Connection, told: Vouched, row: Any) -> str:
    """Make or update the account within the caller's transaction, and return its name."""
    table = tables.person
    if row is None:
        taken = connection.execute(select(table.c.name).where(table.c.name == told.name)).first()
        if taken is not None:
            raise AccessError("an account name that is free or yours", "somebody else's", "ask a steward")
        data: dict[str, Any] = {
            "name": told.name,
            "display_name": told.display_name,
            "role": told.role,
            "credential_digest": blake(NO_PASSWORD),
            "active": True,
            "demo": False,
            "temporary": False,
            "attestation": None,
            "attestation_expires": None,
            "issuer": told.issuer,
            "subject_digest": told.subject_digest,
        }
        event = append(connection, "person", told.name, data)
        connection.execute(table.insert().values(**data, credential=NO_PASSWORD, created_at=event.created_at))
        return told.name
    name = str(row.name)
    if (row.role, row.display_name) != (told.role, told.display_name):
        kept = {c.name: getattr(row, c.name) for c in table.columns if c.name not in ("credential", "created_at")}
        data = {**kept, "role": told.role, "display_name": told.display_name}
        append(connection, "person", name, data)
        connection.execute(table.update().where(table.c.name == name).values(**data))
    return name


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Find a claim by its name, or by a dotted path into nested ones."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _words(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else {v for v in value if isinstance(v, str)} if _many(value) else set()


def _many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _check_domain(identity: Identity, claims: Mapping[str, Any]) -> None:
    if not identity.email_domains:
        return
    mail = claims.get("email")
    domain = mail.rpartition("@")[2].casefold() if isinstance(mail, str) and "@" in mail else ""
    if domain not in identity.email_domains or claims.get("email_verified") is False:
        raise AccessError(
            "a confirmed e-mail of a domain that is let in", "another one or none", "sign in with your work account"
        )


def _name(value: Any) -> str:
    """Turn a claim into an account's name: lower case, letters, digits and ``. _ @ -``."""
    text = re.sub(r"[^a-z0-9._@-]+", "-", value.strip().casefold()).strip(".-@_") if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST_NAME:
        raise AccessError("a token that says the account's name", "one without", "tell whoever runs this server")
    return text
