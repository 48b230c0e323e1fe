"""Recording what people say of a pair: one act, one transaction, once; and taking it back.

Nothing is changed or removed. A change of answer is a second row that names the first; an undo is a row that names
what it takes back. What a pair's rows amount to is derived in `audit_store.states`.
"""

import secrets
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import Connection, bindparam, select

from audit_store import tables
from audit_store.adjudication import Adjudication, adjudicate, conflicts
from audit_store.answers import (
    COLUMNS,
    Decision,
    PairState,
    Reading,
    accepts,
    activity,
    check_reading,
    current_answer,
    decision_of,
    of_pair,
    own_rows,
    pair_state,
    recent,
    standing_of,
    taken_back,
)
from audit_store.assignments import given_to
from audit_store.comments import checked, keep, redact
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.fileio import canonical_json
from audit_store.ledger import append, projected
from audit_store.people import Person, require_now
from audit_store.protocol import current_in
from audit_store.rounds import open_round
from audit_store.states import STATES
from audit_store.tables import ANSWERS, CERTAINTIES

UNDO_DEPTH = 10
LONGEST_TOKEN = 80
_OF_ACT = select(tables.decision).where(tables.decision.c.act == bindparam("act")).order_by(tables.decision.c.id)
_INSERT = tables.decision.insert()
_TERMS = ("protocol_hash", "batch", "position", "purpose", "stratum", "inclusion_probability")

__all__ = [
    "ANSWERS",
    "CERTAINTIES",
    "STATES",
    "Adjudication",
    "Decision",
    "PairState",
    "Reading",
    "accepts",
    "activity",
    "adjudicate",
    "conflicts",
    "current_answer",
    "new_token",
    "of_pair",
    "pair_state",
    "recent",
    "record",
    "record_together",
    "redact",
    "undo",
]


def new_token() -> str:
    """Make a token for one act: one per page shown."""
    return secrets.token_urlsafe(16)


def record(store: Store, person: Person, reading: Reading, token: str) -> Decision:
    """Record one answer; it is on disk when this returns.

    Parameters
    ----------
    store, person
        Where, and who answers (role that may decide).
    reading
        The answer. `observed` and `suggested` are taken from the round, not from the caller.
    token
        Of the page on which it was given. The same token again gives the same decision, whatever it says.

    Raises
    ------
    DecisionError
        When a value is not one of those allowed; when the person has a standing answer on the pair that
        `supersedes` does not name; when the token was used for another pair or by another person.
    AccessError
        When the person may not decide.
    RoundError
        When the round has no such pair.
    """
    return record_together(store, person, [reading], token)[0]


def record_together(store: Store, person: Person, readings: Sequence[Reading], token: str) -> list[Decision]:
    """Record the answers of one act, such as labels decided together: all of them or none.

    As `record`; the readings are of one stay and of different labels. In a group of labels decided together, one at
    most is present. Batch, position, purpose, stratum, inclusion probability and protocol are those under which the
    store gave the pair to this reader, whatever the readings say; a pair that was given to nobody is read under the
    protocol in force, if one is signed.
    """
    _check_act(readings, token)
    for reading in readings:
        check_reading(reading)
    round_file = open_round(store.workspace, readings[0].round_id)
    keys = [reading.label_key for reading in readings]
    for group in round_file.label_groups.values():
        present = [r.label_key for r in readings if r.label_key in group and r.answer == "present"]
        if len(present) > 1:
            raise DecisionError("at most one present among labels decided together", f"{len(present)}", "pick one")
    pairs = {key: round_file.stated(readings[0].stay_id, key) for key in keys}
    with store.writing() as connection:
        require_now(connection, person, "decide")
        done = _of_act(connection, token)
        if done:
            return _same_act(done, person, readings)
        return [
            _append_reading(connection, person, reading, *pairs[reading.label_key], token, len(readings) > 1)
            for reading in readings
        ]


def _check_act(readings: Sequence[Reading], token: str) -> None:
    if not 1 <= len(token) <= LONGEST_TOKEN or not token.isascii():
        raise DecisionError(f"a token of 1–{LONGEST_TOKEN} characters", f"{len(token)}", "make one with new_token()")
    if not readings:
        raise DecisionError("one reading or more", "none", "give the answer")
    places = {(reading.round_id, reading.stay_id) for reading in readings}
    if len(places) > 1 or len({reading.label_key for reading in readings}) < len(readings):
        raise DecisionError("readings of one stay, each of another label", "others", "record them one by one")


def _of_act(connection: Connection, token: str) -> list[Decision]:
    return [decision_of(row) for row in connection.execute(_OF_ACT, {"act": token}).all()]


def _same_act(done: list[Decision], person: Person, readings: Sequence[Reading]) -> list[Decision]:
    asked = {(person.name, reading.stay_id, reading.label_key) for reading in readings}
    kept = {(row.reviewer, row.stay_id, row.label_key) for row in done}
    if asked != kept or any(row.answer == "retract" for row in done):
        raise DecisionError("a token used once", "one that another act has used", "open the pair again")
    return done


def _append_reading(
    connection: Connection, person: Person, reading: Reading, observed: int, suggested: int, act: str, several: bool
) -> Decision:
    earlier = own_rows(connection, person.name, reading.stay_id, reading.label_key)
    standing = standing_of(earlier)
    if standing is None and reading.supersedes is not None:
        raise DecisionError("an own answer to replace", "none that stands", "open the pair again")
    if standing is not None and reading.supersedes != standing.id:
        raise DecisionError("a pair not yet answered by you", "one that is", "change that answer, or undo it")
    if earlier:
        reading = replace(reading, blinded=False, saw_suggestion=True)
    reading = _under_terms(connection, person, reading)
    values = {f.name: getattr(reading, f.name) for f in fields(Reading)}
    values["evidence_opened"] = canonical_json(list(reading.evidence_opened))
    text = checked(values.pop("comment"))
    comment_id, digest = keep(connection, text) if text else (None, None)
    values.update(
        reviewer=person.name,
        observed=observed,
        suggested=suggested,
        comment_id=comment_id,
        comment_digest=digest,
        act=act,
        token=f"{act}|{reading.label_key}" if several else act,
    )
    return _append(connection, person, values)


def _under_terms(connection: Connection, person: Person, reading: Reading) -> Reading:
    """Put in under what terms the pair was given to the reader; nothing of it is taken from the screen."""
    given = given_to(connection, person.name, reading.round_id, reading.stay_id, reading.label_key)
    if given is not None:
        terms = {name: given[name] for name in _TERMS}
        blind = bool(given["blind"])
    else:
        signed = current_in(connection)
        terms = dict.fromkeys(_TERMS)
        terms.update(purpose="flag", position=reading.position, protocol_hash=None if signed is None else signed.hash)
        blind = signed is None or signed.terms.blind
    return replace(reading, **terms, blinded=reading.blinded and blind)


def _append(connection: Connection, person: Person, values: dict[str, Any]) -> Decision:
    row = projected(append(connection, "decision", person.name, values), tables.decision)
    connection.execute(_INSERT, row)
    return Decision(**row)


def undo(store: Store, person: Person, token: str, decision_id: int | None = None) -> list[Decision]:
    """Take back one of the person's last ten acts: by default the latest that still stands.

    Parameters
    ----------
    store, person, token
        As `record`; the same token again gives the same rows.
    decision_id
        A decision of the act to take back, or None.

    Returns
    -------
    list of Decision
        The rows written, one per decision taken back. After the undo of a change, the answer before it stands again.

    Raises
    ------
    DecisionError
        When there is nothing to take back, or the decision is not among the last ten acts, or was changed since.
    """
    if not 1 <= len(token) <= LONGEST_TOKEN or not token.isascii():
        raise DecisionError(f"a token of 1–{LONGEST_TOKEN} characters", f"{len(token)}", "make one with new_token()")
    with store.writing() as connection:
        require_now(connection, person, "decide")
        done = _of_act(connection, token)
        if done:
            if any(row.reviewer != person.name or row.answer != "retract" for row in done):
                raise DecisionError("a token used once", "one that another act has used", "try again")
            return done
        acts = _last_acts(connection, person.name, UNDO_DEPTH)
        taken = taken_back(connection, [row.id for rows in acts for row in rows])
        wanted = [
            rows
            for rows in acts
            if (decision_id is None or any(row.id == decision_id for row in rows))
            and not all(row.id in taken for row in rows)
        ]
        if not wanted:
            raise DecisionError(f"an answer among your last {UNDO_DEPTH}", "none that stands", "nothing was changed")
        written = []
        rows = [row for row in wanted[0] if row.id not in taken]
        for row in rows:
            standing = standing_of(own_rows(connection, person.name, row.stay_id, row.label_key))
            if standing is None or standing.id != row.id:
                raise DecisionError("an answer that stands", "one that you changed since", "undo the change first")
            values = {
                name: getattr(row, name) for name in COLUMNS if name not in ("id", "created_at", "prev_hash", "hash")
            }
            values.update(
                answer="retract",
                comment_id=None,
                comment_digest=None,
                blinded=False,
                saw_suggestion=True,
                active_seconds=None,
                supersedes=row.id,
                act=token,
                token=f"{token}|{row.label_key}" if len(rows) > 1 else token,
            )
            written.append(_append(connection, person, values))
        return written


def _last_acts(connection: Connection, person: str, limit: int) -> list[list[Decision]]:
    """Return the person's last acts that gave an answer, newest first."""
    c = tables.decision.c
    query = select(tables.decision).where(c.reviewer == person, c.answer != "retract").order_by(c.id.desc())
    acts: dict[str, list[Decision]] = {}
    for row in connection.execute(query.limit(limit * 4)).all():
        if row.act not in acts and len(acts) == limit:
            break
        acts.setdefault(str(row.act), []).append(decision_of(row))
    return list(acts.values())
