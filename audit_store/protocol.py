"""The protocol: the terms under which pairs are read, signed before the first batch and named in each decision.

A changed protocol is a new one; batches that were drawn keep theirs.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.fileio import blake, canonical_json
from audit_store.guidelines import Guideline
from audit_store.ledger import append, projected
from audit_store.roles import Person, require_now

SMALLEST_BATCH, LARGEST_BATCH = 5, 500
LARGEST_SHARE, LARGEST_SUM = 0.5, 0.9
LARGEST_BUDGET = 10_000_000
_SHARES = ("double_share", "control_share", "audit_share")


@dataclass(frozen=True)
class Terms:
    """What is agreed before reading starts.

    Parameters
    ----------
    batch_size
        Items in a batch, 5–500.
    budget
        Items to read in a round, by all readers together; None: until the flags are read.
    blind
        Whether the recorded value, the suggestion and the purpose are hidden until the answer.
    double_share, control_share, audit_share
        Shares of a batch, 0–0.5 each and 0.9 at most together: second readings, controls, random audit. The rest are
        flags.
    """

    batch_size: int = 60
    budget: int | None = None
    blind: bool = True
    double_share: float = 0.10
    control_share: float = 0.10
    audit_share: float = 0.10

    @property
    def flag_share(self) -> float:
        """Share of a batch that is left for flags."""
        return 1.0 - self.double_share - self.control_share - self.audit_share


@dataclass(frozen=True)
class Protocol:
    """Signed terms.

    Parameters
    ----------
    id, created_at, actor
        Number of the event that signed them, when (UTC), and by whom.
    hash
        BLAKE2b-256 of terms and guideline versions, 64 hex digits.
    terms, guideline_versions
        What was signed; versions by label key.
    """

    id: int
    created_at: datetime
    actor: str
    hash: str
    terms: Terms
    guideline_versions: dict[str, str]


def check_terms(terms: Terms) -> None:
    """Refuse terms that can't be worked by.

    Raises
    ------
    DecisionError
        Naming the first that can't.
    """
    if not _whole(terms.batch_size) or not SMALLEST_BATCH <= terms.batch_size <= LARGEST_BATCH:
        raise DecisionError(f"a batch of {SMALLEST_BATCH}–{LARGEST_BATCH} pairs", "another size", "change the size")
    if terms.budget is not None and (
        not _whole(terms.budget) or not terms.batch_size <= terms.budget <= LARGEST_BUDGET
    ):
        raise DecisionError("a budget of one batch or more, or none", "another number", "change the budget")
    if not isinstance(terms.blind, bool):
        raise DecisionError("blind readings: yes or no", "neither", "choose one")
    for name in _SHARES:
        share = getattr(terms, name)
        if not isinstance(share, int | float) or isinstance(share, bool) or not math.isfinite(share):
            raise DecisionError(f"{name} as a number", "another value", "give a share such as 0.1")
        if not 0 <= share <= LARGEST_SHARE:
            raise DecisionError(f"{name} of 0–{LARGEST_SHARE}", f"{share:g}", "change the share")
    total = sum(getattr(terms, name) for name in _SHARES)
    if total > LARGEST_SUM + 1e-9:
        raise DecisionError(
            f"shares of at most {LARGEST_SUM} together, so that flags are read", f"{total:g}", "lower one of them"
        )


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def protocol_hash(terms: Terms, guideline_versions: Mapping[str, str]) -> str:
    """BLAKE2b-256 of the canonical JSON of terms and guideline versions, in hex: the same terms, the same hash."""
    shares = {name: float(getattr(terms, name)) for name in _SHARES}
    return blake(canonical_json({"terms": {**asdict(terms), **shares}, "guidelines": dict(guideline_versions)}))


def sign_protocol(store: Store, person: Person, terms: Terms, guidelines: Mapping[str, Guideline]) -> Protocol:
    """Sign terms together with the versions of the guidelines as they are now; batches drawn from now on follow them.

    Raises
    ------
    DecisionError
        When the terms can't be worked by.
    AccessError
        When the person's role may not sign.
    """
    check_terms(terms)
    versions = {key: guideline.version_id for key, guideline in guidelines.items()}
    values: dict[str, Any] = {
        **asdict(terms),
        **{name: float(getattr(terms, name)) for name in _SHARES},
        "actor": person.name,
        "guideline_versions": canonical_json(versions),
        "protocol_hash": protocol_hash(terms, versions),
    }
    with store.writing() as connection:
        require_now(connection, person, "sign_protocol")
        row = projected(append(connection, "protocol", person.name, values), tables.protocol)
        connection.execute(tables.protocol.insert().values(**row))
    return _of_row(row)


def _of_row(row: Mapping[str, Any]) -> Protocol:
    terms = Terms(**{name: row[name] for name in Terms.__dataclass_fields__})
    versions: dict[str, str] = json.loads(row["guideline_versions"])
    return Protocol(int(row["id"]), row["created_at"], str(row["actor"]), str(row["protocol_hash"]), terms, versions)


def current_in(connection: Connection) -> Protocol | None:
    """Return the protocol in force, within a transaction; None where none was signed."""
    query = select(tables.protocol).order_by(tables.protocol.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else _of_row(dict(row))


def current_protocol(store: Store) -> Protocol | None:
    """Return the protocol in force: the last one signed; None where none was."""
    with store.reading() as connection:
        return current_in(connection)


def protocol_by_hash(store: Store, digest: str) -> Protocol | None:
    """Return the latest protocol of a hash, such as one that a batch keeps; None where none has it."""
    c = tables.protocol.c
    query = select(tables.protocol).where(c.protocol_hash == digest).order_by(c.id.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _of_row(dict(row))


def protocol_is_current(store: Store, guidelines: Mapping[str, Guideline]) -> bool:
    """Whether a protocol is signed and the guidelines are still those that it was signed with."""
    signed = current_protocol(store)
    return signed is not None and signed.guideline_versions == {k: g.version_id for k, g in guidelines.items()}


def list_protocols(store: Store) -> pd.DataFrame:
    """Every protocol signed, latest first.

    Columns: id, created_at (UTC), actor, protocol_hash, batch_size, budget, blind, double_share, control_share,
    audit_share.
    """
    c = tables.protocol.c
    columns = [c.id, c.created_at, c.actor, c.protocol_hash, *(c[name] for name in Terms.__dataclass_fields__)]
    with store.reading() as connection:
        rows = connection.execute(select(*columns).order_by(c.id.desc())).all()
    return pd.DataFrame([tuple(row) for row in rows], columns=[column.name for column in columns])
