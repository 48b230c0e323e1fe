"""Accounts and signing in by password.

What each role may do stands in `audit_store.roles`, sessions in `audit_store.sessions`, accounts of an identity
provider in `audit_store.admission`.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
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
from audit_store.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, check_password, temporary_password
from audit_store.plain import is_plain
from audit_store.roles import (
    ACTIONS,
    PERMISSIONS,
    Person,
    keep_a_steward,
    log_access,
    operator,
    person_of,
    require,
    require_live,
    require_now,
)
from audit_store.sessions import end_session, resume_session, session_seconds, start_session
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
    "require_live",
    "require_now",
    "resume_session",
    "session_seconds",
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

    shortest_password: int = SHORTEST_PASSWORD
    free_failures: int = 5
    free_failures_of_an_address: int = 30  # a ward's people may share one address
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 300.0
    forget_failures_hours: float = 24.0


SIGN_IN = SignIn()
_HASHER = PasswordHasher()
_LONGEST = LONGEST_PASSWORD + 1
_NOBODY: list[str] = []
NO_PASSWORD = "!"  # in place of a hash, for accounts of an identity provider; no password matches it


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
    shown = (display_name or "").strip()[:200] or name
    if not is_plain(shown):
        raise AccessError("a name shown that is plain text of one line", "control characters", "type it again")
    credential = _hash(name, password, demo)
    attested = checked_attestation(attestation, attestation_expires)
    with store.writing() as connection:
        require_now(connection, actor, "manage_people")
        if connection.execute(select(tables.person.c.name).where(tables.person.c.name == name)).first():
            raise AccessError("a name that is free", "one that is taken", "pick another name")
        data = {
            "name": name,
            "display_name": shown,
            "role": role,
            "credential_digest": blake(credential),
            "active": True,
            "demo": demo,
            "temporary": temporary,
            **attested,
        }
        event = append(connection, "person", actor.name, data)
        connection.execute(tables.person.insert().values(**data, credential=credential, created_at=event.created_at))
    words, day = attested["attestation"], attested["attestation_expires"]
    return Person(name, str(data["display_name"]), role, True, demo, temporary, words, day)


def _hash(name: str, password: str, demo: bool = False) -> str:
    check_password(name, password, demo=demo)
    return _HASHER.hash(password)


def _change(store: Store, actor: Person, name: str, values: dict[str, Any], credential: str | None = None) -> Person:
    with store.writing() as connection:
        if not (credential and actor.name == name):
            require_now(connection, actor, "manage_people")
        mine = tables.person.c.name == name
        row = connection.execute(select(tables.person).where(mine)).first()
        if row is None:
            raise AccessError("an account of this workspace", "none of that name", "see miracl person list")
        if row.issuer is not None and (credential or "role" in values):
            raise AccessError(
                "an account of this workspace's own",
                "one of the identity provider",
                "change its groups or password at the provider; they hold from the next sign-in",
            )
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
    credential = _hash(name, password)
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
    check_password(person.name, new)
    authenticate(store, person.name, old)
    return set_password(store, person, person.name, new)


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


def authenticate(store: Store, name: str, password: str, *, address: str | None = None) -> Person:
    """Sign in by name and password.

    An unknown name, a wrong password and a closed account take the same time and get the same words. After five
    failures for a name, or thirty from an address, each further try waits, twice as long each time up to five minutes.

    Parameters
    ----------
    store, name, password
        Where, and what was typed.
    address
        Network address of the client, where it is known to be the client's own; kept as a keyed digest alone.

    Raises
    ------
    AccessError
        When sign-in fails or has to wait.
    """
    secret = store.workspace.secret
    counted = {blake("sign-in", name.casefold(), key=secret): SIGN_IN.free_failures}
    if address:
        counted[blake("sign-in from", address, key=secret)] = SIGN_IN.free_failures_of_an_address
    failures = tables.sign_in_failure
    with store.reading() as connection:
        row = connection.execute(select(tables.person).where(tables.person.c.name == name)).first()
        failed = connection.execute(select(failures).where(failures.c.digest.in_(counted))).all()
    for kept in failed:
        _wait(kept, counted[kept.digest])
    known = row is not None and row.credential != NO_PASSWORD
    good = _matches(str(row.credential) if row is not None and known else _nobody(), password[:_LONGEST]) and known
    good = good and row is not None and bool(row.active)
    now = utc_now()
    with store.writing() as connection:
        connection.execute(
            delete(failures).where(failures.c.last_at < now - timedelta(hours=SIGN_IN.forget_failures_hours))
        )
        failed = connection.execute(select(failures).where(failures.c.digest.in_(counted))).all()
        counts = {kept.digest: int(kept.failures) for kept in failed}
        connection.execute(delete(failures).where(failures.c.digest == next(iter(counted))))
        if good:
            append(connection, "sign_in", name, {"result": "ok", "way": "password"})
        else:
            connection.execute(delete(failures).where(failures.c.digest.in_(counted)))
            rows = [{"digest": digest, "failures": 1 + counts.get(digest, 0), "last_at": now} for digest in counted]
            connection.execute(failures.insert(), rows)
            if row is not None:
                append(connection, "sign_in", name, {"result": "failed", "failures": rows[0]["failures"]})
    if not good or row is None:
        raise AccessError("a name and its password", "a pair that does not match", "try again, or ask a steward")
    return person_of(row)


def _wait(failed: Any, free: int) -> None:
    if failed.failures < free:
        return
    doubled = SIGN_IN.first_wait_seconds * 2 ** min(int(failed.failures) - free, 30)
    wait = min(doubled, SIGN_IN.longest_wait_seconds)
    left = (failed.last_at + timedelta(seconds=wait) - utc_now()).total_seconds()
    if 0 < left <= wait:  # more is left only where the clock was set back since: nobody waits for that
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
