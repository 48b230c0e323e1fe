"""Sessions: who is at the desk, from sign-in to sign-out, half an hour without use, twelve hours or the token's end.

A session's secret is kept as a digest alone. Each look at a session asks the store, so that a closed account, a new
password or an ended token takes effect at the next drawing of a page.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import AccessError
from audit_store.fileio import blake
from audit_store.ledger import append
from audit_store.roles import Person, attestation_bars, person_of


@dataclass(frozen=True)
class Limits:
    """How long a session lasts; OWASP's session advice (2024) is the source of their order of magnitude."""

    idle_minutes: float = 30.0
    longest_hours: float = 12.0
    seen_step_seconds: float = 60.0  # how finely use is noted: a write at each key would cost a disk sync


LIMITS = Limits()


def start_session(store: Store, person: Person) -> str:
    """Start a session; the returned secret names it and is kept as a digest alone.

    Raises
    ------
    AccessError
        When the account is closed or gone.
    """
    with store.writing() as connection:
        row = connection.execute(select(tables.person).where(tables.person.c.name == person.name)).first()
        if row is None or not row.active:
            raise AccessError("an active account", "a closed one", "ask a steward")
        return begin_session(connection, person.name)


def begin_session(
    connection: Connection, name: str, expires_at: datetime | None = None, token_digest: str | None = None
) -> str:
    """Start a session within a transaction.

    Parameters
    ----------
    connection
        From `Store.writing`.
    name
        Whose.
    expires_at
        When the identity provider's token ends (UTC); None for a password's session.
    token_digest
        Digest of that token, which opens no second session (the column is unique).
    """
    secret, now = secrets.token_urlsafe(32), utc_now()
    row = {"digest": blake("session", secret), "person": name, "created_at": now, "seen_at": now, "ended": False}
    connection.execute(tables.session.insert().values(**row, expires_at=expires_at, token_digest=token_digest))
    return secret


def resume_session(store: Store, secret: str, *, used: bool = True) -> Person | None:
    """Whose session it is, as they are now; None when it is over.

    Parameters
    ----------
    store, secret
        Where, and the session's secret.
    used
        Whether the person did something. A page that merely looks whether its session lives must not keep it alive.

    Returns
    -------
    Person or None
        None when the session was ended, was without use for 30 minutes, is 12 hours old, its token has ended, or the
        account is closed. `Person.barred` says that an attestation keeps them to the page Account.
    """
    mine = tables.session.c.digest == blake("session", secret)
    now = utc_now()
    with store.reading() as connection:
        row = connection.execute(select(tables.session).where(mine)).first()
        if row is None or seconds_left(row, now) <= 0:
            return None
        who = connection.execute(select(tables.person).where(tables.person.c.name == row.person)).one()
        if not who.active:
            return None
        person = replace(person_of(who), barred=attestation_bars(connection, who))
    if used and now - row.seen_at > timedelta(seconds=LIMITS.seen_step_seconds):
        with store.writing() as connection:
            connection.execute(tables.session.update().where(mine, tables.session.c.seen_at < now).values(seen_at=now))
    return person


def session_seconds(store: Store, secret: str) -> float:
    """Seconds that a session still lasts where nobody uses it; 0 when it is over."""
    with store.reading() as connection:
        row = connection.execute(select(tables.session).where(tables.session.c.digest == blake("session", secret)))
        found = row.first()
    return 0.0 if found is None else max(seconds_left(found, utc_now()), 0.0)


def seconds_left(row: Any, now: datetime) -> float:
    """Seconds until a session ends by itself: without use, by its age, or with its token; negative when it is over."""
    ends = [
        row.seen_at + timedelta(minutes=LIMITS.idle_minutes),
        row.created_at + timedelta(hours=LIMITS.longest_hours),
    ]
    if row.expires_at is not None:
        ends.append(row.expires_at)
    return -1.0 if row.ended else (min(ends) - now).total_seconds()


def end_session(store: Store, secret: str) -> None:
    """Sign out."""
    mine = tables.session.c.digest == blake("session", secret)
    with store.writing() as connection:
        row = connection.execute(select(tables.session).where(mine)).first()
        if row is not None and not row.ended:
            connection.execute(tables.session.update().where(mine).values(ended=True))
            append(connection, "sign_out", str(row.person), {})
