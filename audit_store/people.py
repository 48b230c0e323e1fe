"""Accounts, sign-in and sessions. What each role may do stands in `audit_store.roles`."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select

from audit_store import tables
from audit_store.attestations import checked_attestation, people_table
from audit_store.database import Store, utc_now
from audit_store.errors import AccessError
from audit_store.fileio import blake
from audit_store.ledger import append
from audit_store.roles import (
    ACTIONS,
    PERMISSIONS,
    Person,
    keep_a_steward,
    log_access,
    operator,
    person_of,
    require,
    require_now,
)
from audit_store.tables import ROLES

__all__ = [
    "ACTIONS",
    "PERMISSIONS",
    "ROLES",
    "Person",
    "add_person",
    "authenticate",
    "change_own_password",
    "disable_person",
    "enable_person",
    "end_session",
    "find_person",
    "list_people",
    "log_access",
    "operator",
    "people_table",
    "require",
    "require_now",
    "resume_session",
    "set_attestation",
    "set_password",
    "set_role",
    "start_session",
    "temporary_password",
]

_FIELDS = (
    "name",
    "display_name",
    "role",
    "credential_digest",
    "active",
    "demo",
    "temporary",
    "attestation",
    "attestation_expires",
    "issuer",
    "subject_digest",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


@dataclass(frozen=True)
class SignIn:
    """Limits of signing in; OWASP's authentication advice (2024) is the source of their order of magnitude."""

    shortest_password: int = 8
    free_failures: int = 5
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 300.0
    forget_failures_hours: float = 24.0
    idle_minutes: float = 30.0
    seen_step_seconds: float = 60.0  # how finely use is noted: a write at each key would cost a disk sync


SIGN_IN = SignIn()
_HASHER = PasswordHasher()
_NOBODY: list[str] = []


def add_person(
    store: Store,
    actor: Person,
    name: str,
    password: str,
    *,
    display_name: str | None = None,
    role: str = "reviewer",
    demo: bool = False,
    temporary: bool = False,
    attestation: str | None = None,
    attestation_expires: str | None = None,
) -> Person:
    """Add an account.

    Parameters
    ----------
    store, actor
        Where, and who adds it.
    name
        Lower-case letters, digits, ``.``, ``_``, ``-``; at most 32.
    password
        At least 8 characters; kept as an argon2 hash alone.
    display_name, role, demo
        Name for screens; one of `ROLES`; whether it is the demo's account.
    temporary
        Whether the person has to choose another password before they can do anything.
    attestation, attestation_expires
        The data-use agreement they attested, and its last day (YYYY-MM-DD); both or neither.

    Raises
    ------
    AccessError
        On a name that is taken or malformed, an unknown role, a short password, or a day that is none.
    """
    if not _NAME.fullmatch(name):
        raise AccessError("a name of 1–32 characters a-z 0-9 . _ -", f"{len(name)} characters", "pick another name")
    if role not in ROLES:
        raise AccessError(f"a role of {', '.join(ROLES)}", "another word", "give --role one of them")
    credential = _hash(password)
    attested = checked_attestation(attestation, attestation_expires)
    with store.writing() as connection:
        require_now(connection, actor, "manage_people")
        if connection.execute(select(tables.person.c.name).where(tables.person.c.name == name)).first():
            raise AccessError("a name that is free", "one that is taken", "pick another name")
        data = {
            "name": name,
            "display_name": (display_name or name)[:200],
            "role": role,
            "credential_digest": blake(credential),
            "active": True,
            "demo": demo,
            "temporary": temporary,
            **attested,
        }
        event = append(connection, "person", actor.name, data)
        connection.execute(tables.person.insert().values(**data, credential=credential, created_at=event.created_at))
    return Person(name, str(data["display_name"]), role, True, demo, temporary, **attested)


def _hash(password: str) -> str:
    if len(password) < SIGN_IN.shortest_password:
        raise AccessError(
            f"a password of {SIGN_IN.shortest_password} characters or more", f"{len(password)}", "pick a longer one"
        )
    return _HASHER.hash(password)


def _change(store: Store, actor: Person, name: str, values: dict[str, Any], credential: str | None = None) -> Person:
    with store.writing() as connection:
        if not (credential and actor.name == name):
            require_now(connection, actor, "manage_people")
        mine = tables.person.c.name == name
        row = connection.execute(select(tables.person).where(mine)).first()
        if row is None:
            raise AccessError("an account of this workspace", "none of that name", "see miracl person list")
        data = {**{column: getattr(row, column) for column in _FIELDS}, **values}
        keep_a_steward(connection, actor, row, data)
        append(connection, "person", actor.name, data)
        kept = {"credential": credential} if credential else {}
        connection.execute(tables.person.update().where(mine).values(**data, **kept))
        if not data["active"] or credential:
            connection.execute(tables.session.update().where(tables.session.c.person == name).values(ended=True))
        return person_of(connection.execute(select(tables.person).where(mine)).one())


def disable_person(store: Store, actor: Person, name: str) -> Person:
    """Close an account; its decisions stay, its sessions end."""
    return _change(store, actor, name, {"active": False})


def enable_person(store: Store, actor: Person, name: str) -> Person:
    """Open a closed account again."""
    return _change(store, actor, name, {"active": True})


def set_role(store: Store, actor: Person, name: str, role: str) -> Person:
    """Give an account another role."""
    if role not in ROLES:
        raise AccessError(f"a role of {', '.join(ROLES)}", "another word", "name one of them")
    return _change(store, actor, name, {"role": role})


def set_password(store: Store, actor: Person, name: str, password: str) -> Person:
    """Set an account's password and end its sessions; one that somebody else set on the screen is temporary."""
    credential = _hash(password)
    temporary = actor.name != name and actor.role != "operator"
    return _change(store, actor, name, {"credential_digest": blake(credential), "temporary": temporary}, credential)


def change_own_password(store: Store, person: Person, old: str, new: str) -> Person:
    """Change one's own password, knowing the old one. Ends all of one's sessions.

    Raises
    ------
    AccessError
        When the old one is wrong (counted as a failed sign-in), the new one is short or the same, or it is the demo's.
    """
    if person.demo:
        raise AccessError("an account of your own", "the demo's, which many share", "leave its password as it is")
    if old == new:
        raise AccessError("another password than before", "the same one", "choose a new one")
    _hash(new)
    authenticate(store, person.name, old)
    return set_password(store, person, person.name, new)


def temporary_password() -> str:
    """Make a password to hand over once: four groups of four letters and digits that aren't mistaken for each other."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def set_attestation(store: Store, actor: Person, name: str, text: str | None, expires: str | None) -> Person:
    """Note which data-use agreement someone attested and its last day; None and None where none holds."""
    return _change(store, actor, name, checked_attestation(text, expires))


def find_person(store: Store, name: str) -> Person | None:
    """Return the account of that name, or None."""
    with store.reading() as connection:
        row = connection.execute(select(tables.person).where(tables.person.c.name == name)).first()
    return person_of(row) if row else None


def list_people(store: Store) -> pd.DataFrame:
    """Accounts by name: name, display_name, role, active, demo, created_at (UTC)."""
    c = tables.person.c
    columns = [c.name, c.display_name, c.role, c.active, c.demo, c.created_at]
    with store.reading() as connection:
        rows = connection.execute(select(*columns).order_by(c.name)).all()
    return pd.DataFrame([tuple(row) for row in rows], columns=[column.name for column in columns])


def authenticate(store: Store, name: str, password: str) -> Person:
    """Sign in by name and password.

    An unknown name, a wrong password and a closed account take the same time and get the same words. After five
    failures for a name each further try waits, twice as long each time up to five minutes.

    Raises
    ------
    AccessError
        When sign-in fails or has to wait.
    """
    digest = blake("sign-in", name.casefold(), key=store.workspace.secret)
    failures = tables.sign_in_failure
    with store.reading() as connection:
        row = connection.execute(select(tables.person).where(tables.person.c.name == name)).first()
        failed = connection.execute(select(failures).where(failures.c.digest == digest)).first()
    _wait(failed)
    good = _matches(str(row.credential) if row else _nobody(), password) and row is not None and bool(row.active)
    now = utc_now()
    with store.writing() as connection:
        connection.execute(
            delete(failures).where(failures.c.last_at < now - timedelta(hours=SIGN_IN.forget_failures_hours))
        )
        failed = connection.execute(select(failures).where(failures.c.digest == digest)).first()
        connection.execute(delete(failures).where(failures.c.digest == digest))
        if good:
            append(connection, "sign_in", name, {"result": "ok"})
        else:
            count = 1 + (int(failed.failures) if failed else 0)
            connection.execute(failures.insert().values(digest=digest, failures=count, last_at=now))
            if row is not None:
                append(connection, "sign_in", name, {"result": "failed", "failures": count})
    if not good or row is None:
        raise AccessError("a name and its password", "a pair that does not match", "try again, or ask a steward")
    return person_of(row)


def _wait(failed: Any) -> None:
    if failed is None or failed.failures < SIGN_IN.free_failures:
        return
    doubled = SIGN_IN.first_wait_seconds * 2 ** min(int(failed.failures) - SIGN_IN.free_failures, 30)
    until = failed.last_at + timedelta(seconds=min(doubled, SIGN_IN.longest_wait_seconds))
    left = (until - utc_now()).total_seconds()
    if left > 0:
        raise AccessError("fewer tries", f"{failed.failures} that failed", f"wait {int(left) + 1} s and try again")


def _nobody() -> str:
    """Return a hash that no password has, made once: checking it takes as long as checking a real one."""
    if not _NOBODY:
        _NOBODY.append(_HASHER.hash(secrets.token_hex(32)))
    return _NOBODY[0]


def _matches(credential: str, password: str) -> bool:
    try:
        return _HASHER.verify(credential, password)
    except (VerificationError, InvalidHashError):
        return False


def start_session(store: Store, person: Person) -> str:
    """Start a session; the returned secret names it and is kept as a digest alone."""
    secret = secrets.token_urlsafe(32)
    now = utc_now()
    with store.writing() as connection:
        require_now(connection, person, "view")
        connection.execute(
            tables.session.insert().values(
                digest=blake("session", secret), person=person.name, created_at=now, seen_at=now, ended=False
            )
        )
    return secret


def resume_session(store: Store, secret: str) -> Person | None:
    """Whose session it is, as they are now; None when it ended, idled for 30 minutes, or the account is closed."""
    mine = tables.session.c.digest == blake("session", secret)
    now = utc_now()
    with store.reading() as connection:
        row = connection.execute(select(tables.session).where(mine)).first()
        if row is None or row.ended or _idle(row.seen_at, now):
            return None
        who = connection.execute(select(tables.person).where(tables.person.c.name == row.person)).one()
    if not who.active:
        return None
    if now - row.seen_at > timedelta(seconds=SIGN_IN.seen_step_seconds):
        with store.writing() as connection:
            connection.execute(tables.session.update().where(mine).values(seen_at=now))
    return person_of(who)


def _idle(seen_at: datetime, now: datetime) -> bool:
    return now - seen_at > timedelta(minutes=SIGN_IN.idle_minutes)


def end_session(store: Store, secret: str) -> None:
    """Sign out."""
    mine = tables.session.c.digest == blake("session", secret)
    with store.writing() as connection:
        row = connection.execute(select(tables.session).where(mine)).first()
        if row is not None and not row.ended:
            connection.execute(tables.session.update().where(mine).values(ended=True))
            append(connection, "sign_out", str(row.person), {})
