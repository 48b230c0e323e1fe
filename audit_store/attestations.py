"""Data-use attestations: what someone attested, until which day, and the table of people that shows it."""

from datetime import date

import pandas as pd
from sqlalchemy import func, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import AccessError
from audit_store.ledger import append
from audit_store.roles import Person, require_now

LONGEST_ATTESTATION = 200


def checked_attestation(text: str | None, expires: str | None) -> dict[str, str | None]:
    """Check a data-use attestation and its last day; both or neither."""
    text, expires = (text or "").strip() or None, (expires or "").strip() or None
    if (text is None) != (expires is None):
        raise AccessError("an attestation and its last day", "one of the two", "give both, or leave both empty")
    if text is not None and (len(text) > LONGEST_ATTESTATION or not text.isprintable()):
        raise AccessError(f"an attestation of at most {LONGEST_ATTESTATION} characters", f"{len(text)}", "shorten it")
    if expires is not None:
        try:
            expires = date.fromisoformat(expires).isoformat()
        except ValueError:
            raise AccessError("a day as YYYY-MM-DD", "something else", "give the attestation's last day") from None
    return {"attestation": text, "attestation_expires": expires}


def attested(expires: str | None, today: str) -> str:
    """Say whether an attestation ``holds`` on a day (both YYYY-MM-DD), has ``expired``, or there is ``none``."""
    if not expires:
        return "none"
    return "holds" if expires >= today else "expired"


def people_table(store: Store, actor: Person) -> pd.DataFrame:
    """Accounts by name, with what a steward has to know of each.

    Columns: name, display_name, role, active, demo, temporary, attestation, attestation_expires (YYYY-MM-DD),
    attested (``holds``, ``expired`` or ``none``; today in UTC), issuer (the identity provider that vouches for them, or
    None), created_at, last_sign_in (UTC or NaT).

    Raises
    ------
    AccessError
        When the actor may not manage people.
    """
    c, s = tables.person.c, tables.session.c
    names = (
        "name",
        "display_name",
        "role",
        "active",
        "demo",
        "temporary",
        "attestation",
        "attestation_expires",
        "issuer",
    )
    last = select(s.person, func.max(s.created_at).label("last_sign_in")).group_by(s.person).subquery()
    query = select(*(c[name] for name in names), c.created_at, last.c.last_sign_in)
    query = query.outerjoin_from(tables.person, last, last.c.person == c.name).order_by(c.name)
    with store.reading() as connection:
        require_now(connection, actor, "manage_people")
        rows = connection.execute(query).all()
    frame = pd.DataFrame([tuple(row) for row in rows], columns=[*names, "created_at", "last_sign_in"])
    for name in ("attestation", "attestation_expires", "issuer"):  # a text column would make None a NaN
        frame[name] = pd.Series([getattr(row, name) for row in rows], index=frame.index, dtype=object)
    frame["last_sign_in"] = pd.to_datetime(frame["last_sign_in"])
    today = utc_now().date().isoformat()
    states = [attested(row.attestation_expires, today) for row in rows]
    frame["attested"] = pd.Series(states, index=frame.index, dtype=object)
    return frame


def attestation_required(store: Store) -> bool:
    """Whether somebody without an attestation is kept to the page Account; an expired one always keeps its person."""
    c = tables.access_rule.c
    with store.reading() as connection:
        found = connection.execute(select(c.require_attestation).order_by(c.id.desc()).limit(1)).scalar()
    return bool(found)


def require_attestation(store: Store, actor: Person, required: bool) -> None:
    """Ask everyone for an attestation from now on, or no longer; noted in the trail.

    Raises
    ------
    AccessError
        When the actor may not manage people, or would shut themselves out.
    """
    with store.writing() as connection:
        require_now(connection, actor, "manage_people")
        mine = select(tables.person.c.attestation_expires).where(tables.person.c.name == actor.name)
        if required and actor.role != "operator" and not connection.execute(mine).scalar():
            raise AccessError("an attestation of your own first", "none", "have another steward note yours")
        data = {"actor": actor.name, "require_attestation": required}
        event = append(connection, "access_rule", actor.name, data)
        connection.execute(tables.access_rule.insert().values(id=event.seq, created_at=event.created_at, **data))
