"""Roles: who may do what, checked against what the store holds at that moment; and noting who opened what."""

import getpass
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import AccessError
from audit_store.ledger import append
from audit_store.tables import ROLES

ACTIONS = (
    "view",
    "decide",
    "adjudicate",
    "assign",
    "export",
    "publish_round",
    "manage_people",
    "read_trail",
    "redact",
    "sign_protocol",
)
_STEWARD = frozenset(
    {"view", "assign", "export", "publish_round", "manage_people", "read_trail", "redact", "sign_protocol"}
)
PERMISSIONS: dict[str, frozenset[str]] = {
    "reviewer": frozenset({"view", "decide"}),
    "adjudicator": frozenset({"view", "decide", "adjudicate"}),
    "steward": _STEWARD | {"decide"},
    "auditor": frozenset({"view", "read_trail"}),
    "operator": _STEWARD,
}
ACCESSES = ("chart", "note", "export", "evidence", "trail", "trail_download", "comment", "backup")
_ACCOUNT = select(tables.person).where(tables.person.c.name == bindparam("who"))
_ASKS = select(tables.access_rule.c.require_attestation).order_by(tables.access_rule.c.id.desc()).limit(1)
_NOTE = tables.access.insert()


@dataclass(frozen=True)
class Person:
    """Someone who acts: an account, or the command line's operator.

    Parameters
    ----------
    name, display_name, role, active, demo
        As in the store.
    temporary
        Whether the password was set by someone else, who therefore knows it: nothing can be done until it is changed.
    attestation, attestation_expires
        What agreement on the use of the data they attested, and the last day on which it holds (YYYY-MM-DD).
    issuer
        The identity provider that vouches for them; None for an account with a password here.
    barred
        Whether an attestation that expired, or is missing where one is asked for, keeps them to the page Account.
    """

    name: str
    display_name: str
    role: str
    active: bool = True
    demo: bool = False
    temporary: bool = False
    attestation: str | None = None
    attestation_expires: str | None = None
    issuer: str | None = None
    barred: bool = False


def operator() -> Person:
    """Whoever runs the command on this machine; they own the files, so no password is asked. Can't decide."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):
        login = "unknown"
    return Person(f"operator:{login}"[:80], login, "operator")


def require(person: Person, action: str) -> None:
    """Refuse an act that the person's role does not allow.

    Raises
    ------
    AccessError
        When it does not, or the account is disabled.
    """
    if action not in ACTIONS:
        raise AccessError(f"an action of {', '.join(ACTIONS)}", action, "name one of them")
    if not person.active:
        raise AccessError("an active account", "a disabled one", "ask a steward to enable it")
    if action not in PERMISSIONS.get(person.role, frozenset()):
        able = ", ".join(role for role in ROLES if action in PERMISSIONS[role])
        raise AccessError(f"a role that may {action} ({able})", f"a {person.role}", "ask a steward for the role")


def require_now(connection: Connection, person: Person, action: str) -> Person:
    """As `require`, with the role, activity and attestation that the store holds at this moment.

    Returns
    -------
    Person
        Them as the store has them now; the operator as given.

    Raises
    ------
    AccessError
        As `require`; also while a temporary password is not changed, or no attestation holds that has to.
    """
    if person.role == "operator":
        require(person, action)
        return person
    row = connection.execute(select(tables.person).where(tables.person.c.name == person.name)).first()
    if row is None:
        raise AccessError("an account of this workspace", "none of that name", "sign in again")
    now = person_of(row)
    require(now if person.active else person, action)
    if row.temporary and action != "view":
        raise AccessError("a password of your own", "a temporary one", "choose your own on the page Account")
    if attestation_bars(connection, row):
        came = f"one that ended on {row.attestation_expires}" if row.attestation_expires else "none"
        raise AccessError("a data-use attestation that holds", came, "ask a steward to note a new one")
    return now


def require_live(store: Store, person: Person, action: str) -> Person:
    """As `require_now`, for an act that reads: what the person was when they signed in counts for nothing."""
    with store.reading() as connection:
        return require_now(connection, person, action)


def attestation_bars(connection: Connection, row: Any) -> bool:
    """Whether a person's attestation has expired, or is missing where the workspace asks for one; today in UTC."""
    if row.attestation_expires:
        return bool(row.attestation_expires < utc_now().date().isoformat())
    return bool(connection.execute(_ASKS).scalar())


def keep_a_steward(connection: Connection, actor: Person, row: Any, data: dict[str, Any]) -> None:
    """Refuse to leave a workspace without an active steward; the command line can always make one, and is let."""
    stays = data["active"] and data["role"] == "steward"
    if actor.role == "operator" or row.role != "steward" or not row.active or stays:
        return
    c = tables.person.c
    others = connection.execute(select(c.name).where(c.role == "steward", c.active, c.name != row.name)).first()
    if others is None:
        raise AccessError("an active steward who stays", "the last one", "make another person a steward first")


def person_of(row: Any) -> Person:
    """Make a person of their row."""
    return Person(
        str(row.name),
        str(row.display_name),
        str(row.role),
        bool(row.active),
        bool(row.demo),
        bool(row.temporary),
        row.attestation,
        row.attestation_expires,
        row.issuer,
    )


def log_access(
    store: Store,
    person: Person,
    what: str,
    round_id: int | None = None,
    stay_id: int | None = None,
    label_key: str | None = None,
) -> None:
    """Note that someone opened a chart, a whole note, evidence, an export or the trail."""
    if what not in ACCESSES:
        raise AccessError(f"an access of {', '.join(ACCESSES)}", "another word", "name one of them")
    data = {"person": person.name, "what": what, "round_id": round_id, "stay_id": stay_id, "label_key": label_key}
    with store.writing() as connection:
        require_now(connection, person, "view")
        event = append(connection, "access", person.name, data)
        connection.execute(_NOTE, {"id": event.seq, "created_at": event.created_at, **data})
