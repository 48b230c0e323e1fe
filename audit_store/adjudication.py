"""Settling a pair that readers disagree on: by someone who is not one of them, from their reasons without their names.

Rows are only added: a later adjudication of a pair supersedes the earlier one, and both stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow.compute as pc
from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.answers import Decision, decision_of, standing_of
from audit_store.comments import checked, keep
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.fileio import blake
from audit_store.ledger import append, projected
from audit_store.people import Person, require_now
from audit_store.rounds import open_round
from audit_store.states import snapshot
from audit_store.tables import ANSWERS

LONGEST_TOKEN = 76  # of the 80 that the column holds; the rest numbers the rows of one act
READER_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Adjudication:
    """One row of `adjudication`."""

    id: int
    created_at: datetime
    adjudicator: str
    round_id: int
    stay_id: int
    label_key: str
    observed: int
    answer: str
    comment_id: int | None
    comment_digest: str | None
    token: str


@dataclass(frozen=True)
class Rationale:
    """What one reader said of a pair, and why, without who it was.

    Parameters
    ----------
    reader
        ``Reader A``, ``Reader B`` …, in an order that follows from the pair and the workspace's secret.
    answer, certainty, reason_code, comment
        Of the answer that stands.
    blinded
        Whether it was given before the record and the suggestion were shown.
    before
        Answers of the same reader that this one replaced, oldest first.
    """

    reader: str
    answer: str
    certainty: str
    reason_code: str | None
    comment: str | None
    blinded: bool
    before: tuple[str, ...]


def adjudicate(
    store: Store,
    person: Person,
    round_id: int,
    stay_id: int,
    label_key: str,
    answer: str,
    *,
    comment: str | None = None,
    token: str,
) -> Adjudication:
    """Settle one pair; see `adjudicate_together`."""
    return adjudicate_together(store, person, round_id, stay_id, {label_key: answer}, comment=comment, token=token)[0]


def adjudicate_together(
    store: Store,
    person: Person,
    round_id: int,
    stay_id: int,
    answers: Mapping[str, str],
    *,
    comment: str | None = None,
    token: str,
) -> list[Adjudication]:
    """Settle a pair that was read, or pairs of labels decided together: all or none.

    Present or absent locks a pair; can't tell leaves the recorded value.

    Parameters
    ----------
    store, person
        Where, and who settles it (role that may adjudicate, and no reader of these pairs).
    round_id, stay_id
        Which stay, and the round whose screen showed it.
    answers
        ``present``, ``absent`` or ``cannot_tell`` by label key; of labels decided together one at most is present.
    comment
        Why, or None; kept with the first row.
    token
        Of the page; the same token again gives the same rows, whatever it says.

    Raises
    ------
    DecisionError
        When nobody read the pair, the person is one of its readers, or a value is not one of those allowed.
    AccessError
        When the person may not adjudicate.
    """
    if not answers or not set(answers.values()) <= set(ANSWERS[:3]):
        raise DecisionError(f"answer in {{{', '.join(ANSWERS[:3])}}}", "another word", "pick one of them")
    if not 1 <= len(token) <= LONGEST_TOKEN or not token.isascii():
        raise DecisionError(f"a token of 1–{LONGEST_TOKEN} characters", f"{len(token)}", "make one with new_token()")
    keys = list(answers)
    round_file = open_round(store.workspace, round_id)
    for group in round_file.label_groups.values():
        if sum(answers[key] == "present" for key in keys if key in group) > 1:
            raise DecisionError("at most one present among labels decided together", "two", "pick one")
    observed = {key: round_file.stated(stay_id, key)[0] for key in keys}
    tokens = {key: token if len(keys) == 1 else f"{token}|{i}" for i, key in enumerate(sorted(keys))}
    text = checked(comment)
    with store.writing() as connection:
        require_now(connection, person, "adjudicate")
        done = _of_tokens(connection, [token, *tokens.values()])
        if done:
            asked = {(person.name, stay_id, key) for key in keys}
            if {(row.adjudicator, row.stay_id, row.label_key) for row in done} != asked:
                raise DecisionError("a token used once", "one that another act has used", "open the pair again")
            return done
        if not _refuse_readers(connection, person, stay_id, keys):
            raise DecisionError("a pair that someone read", "one that nobody did", "wait for its readers")
        written: list[Adjudication] = []
        for key in keys:
            comment_id, digest = keep(connection, text) if text and not written else (None, None)
            values = {
                "adjudicator": person.name,
                "round_id": round_id,
                "stay_id": stay_id,
                "label_key": key,
                "observed": observed[key],
                "answer": answers[key],
                "comment_id": comment_id,
                "comment_digest": digest,
                "token": tokens[key],
            }
            row = projected(append(connection, "adjudication", person.name, values), tables.adjudication)
            connection.execute(tables.adjudication.insert().values(**row))
            written.append(Adjudication(**row))
        return written


def _of_tokens(connection: Connection, tokens: Sequence[str]) -> list[Adjudication]:
    c = tables.adjudication.c
    rows = connection.execute(select(tables.adjudication).where(c.token.in_(list(tokens))).order_by(c.id)).all()
    return [Adjudication(*row) for row in rows]


def _rows_of(connection: Connection, stay_id: int, keys: Sequence[str]) -> list[Decision]:
    d = tables.decision.c
    query = select(tables.decision).where(d.stay_id == stay_id, d.label_key.in_(list(keys))).order_by(d.id)
    return [decision_of(row) for row in connection.execute(query).all()]


def _refuse_readers(connection: Connection, person: Person, stay_id: int, keys: Sequence[str]) -> list[Decision]:
    """Give every row on some pairs; refuse a person who wrote one of them, also where it was taken back."""
    rows = _rows_of(connection, stay_id, keys)
    if any(row.reviewer == person.name for row in rows):
        raise DecisionError("an adjudicator who did not read the pair", "one of its readers", "ask another person")
    return rows


def rationales(
    store: Store, person: Person, stay_id: int, label_key: str, together: Sequence[str] = ()
) -> tuple[Rationale, ...]:
    """Give what each reader of a pair said and why, without names, to an adjudicator.

    Parameters
    ----------
    store, person
        Where, and who asks: a role that may adjudicate, and no reader of the pair.
    stay_id, label_key
        The pair.
    together
        All labels of its question where several are decided together, so that Reader A is one person for all.

    Returns
    -------
    tuple of Rationale
        By letter. Neither the order nor the letter follows from names or from who read first.

    Raises
    ------
    DecisionError
        When the person is one of the readers.
    AccessError
        When the person may not adjudicate.
    """
    keys = sorted({label_key, *together})
    with store.reading() as connection:
        require_now(connection, person, "adjudicate")
        rows = _refuse_readers(connection, person, stay_id, keys)
        texts = _comments(connection, rows)
    secret = store.workspace.secret
    place = ["reader", str(stay_id), *keys]
    readers = sorted({row.reviewer for row in rows}, key=lambda name: blake(*place, name, key=secret))
    told = []
    for number, reader in enumerate(readers):
        mine = [row for row in rows if row.reviewer == reader and row.label_key == label_key]
        standing = standing_of(mine)
        if standing is None:
            continue
        earlier = [row.answer for row in mine if row.id < standing.id and row.answer != "retract"]
        name = f"Reader {READER_LETTERS[number]}" if number < len(READER_LETTERS) else f"Reader {number + 1}"
        comment = texts.get(standing.comment_id) if standing.comment_id is not None else None
        changed = tuple(answer for i, answer in enumerate(earlier) if answer != [*earlier, standing.answer][i + 1])
        told.append(
            Rationale(
                name,
                standing.answer,
                standing.certainty,
                standing.reason_code,
                comment,
                standing.blinded,
                changed,
            )
        )
    return tuple(told)


def _comments(connection: Connection, rows: Sequence[Decision]) -> dict[int, str | None]:
    c = tables.comment.c
    numbers = [row.comment_id for row in rows if row.comment_id is not None]
    found = connection.execute(select(c.id, c.text).where(c.id.in_(numbers))).all() if numbers else []
    return {int(row.id): row.text for row in found}


def adjudications_of(store: Store, stay_id: int, label_key: str) -> list[Adjudication]:
    """Every adjudication of a pair, oldest first: the last one counts."""
    c = tables.adjudication.c
    query = select(tables.adjudication).where(c.stay_id == stay_id, c.label_key == label_key).order_by(c.id)
    with store.reading() as connection:
        return [Adjudication(*row) for row in connection.execute(query).all()]


def conflicts(store: Store) -> pd.DataFrame:
    """Pairs whose readers disagree: stay_id, label_key, readers (names joined by ``;``), n_present, n_absent."""
    states = snapshot(store).states
    columns = ["stay_id", "label_key", "readers", "n_present", "n_absent"]
    frame: pd.DataFrame = states.filter(pc.equal(states["state"], "conflict")).select(columns).to_pandas()
    return frame
