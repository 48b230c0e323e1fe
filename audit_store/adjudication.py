"""Settling a pair that readers disagree on: by someone who is not one of them."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow.compute as pc
from sqlalchemy import select

from audit_store import tables
from audit_store.comments import checked, keep
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.ledger import append, projected
from audit_store.people import Person, require_now
from audit_store.rounds import open_round
from audit_store.states import snapshot
from audit_store.tables import ANSWERS

LONGEST_TOKEN = 80


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
    """Settle a pair that was read: present or absent locks it, can't tell leaves the recorded value.

    Parameters
    ----------
    store, person
        Where, and who settles it (role that may adjudicate, and no reader of this pair).
    round_id, stay_id, label_key
        The pair.
    answer
        ``present``, ``absent`` or ``cannot_tell``.
    comment
        Why, or None.
    token
        Of the page; the same token again gives the same adjudication.

    Raises
    ------
    DecisionError
        When nobody read the pair, or the person is one of its readers.
    """
    if answer not in ANSWERS[:3]:
        raise DecisionError(f"answer in {{{', '.join(ANSWERS[:3])}}}", "another word", "pick one of them")
    if not 1 <= len(token) <= LONGEST_TOKEN or not token.isascii():
        raise DecisionError(f"a token of 1–{LONGEST_TOKEN} characters", f"{len(token)}", "make one with new_token()")
    observed, _ = open_round(store.workspace, round_id).stated(stay_id, label_key)
    text = checked(comment)
    a, d = tables.adjudication.c, tables.decision.c
    with store.writing() as connection:
        require_now(connection, person, "adjudicate")
        done = connection.execute(select(tables.adjudication).where(a.token == token)).first()
        if done is not None:
            kept = Adjudication(*done)
            if (kept.adjudicator, kept.stay_id, kept.label_key) != (person.name, stay_id, label_key):
                raise DecisionError("a token used once", "one that another act has used", "open the pair again")
            return kept
        query = select(d.reviewer).where(d.stay_id == stay_id, d.label_key == label_key)
        readers = set(connection.execute(query).scalars().all())
        if not readers:
            raise DecisionError("a pair that someone read", "one that nobody did", "wait for its readers")
        if person.name in readers:
            raise DecisionError("an adjudicator who did not read the pair", "one of its readers", "ask another person")
        comment_id, digest = keep(connection, text) if text else (None, None)
        values = {
            "adjudicator": person.name,
            "round_id": round_id,
            "stay_id": stay_id,
            "label_key": label_key,
            "observed": observed,
            "answer": answer,
            "comment_id": comment_id,
            "comment_digest": digest,
            "token": token,
        }
        row = projected(append(connection, "adjudication", person.name, values), tables.adjudication)
        connection.execute(tables.adjudication.insert().values(**row))
        return Adjudication(**row)


def conflicts(store: Store) -> pd.DataFrame:
    """Pairs whose readers disagree: stay_id, label_key, readers (names joined by ``;``), n_present, n_absent."""
    states = snapshot(store).states
    columns = ["stay_id", "label_key", "readers", "n_present", "n_absent"]
    frame: pd.DataFrame = states.filter(pc.equal(states["state"], "conflict")).select(columns).to_pandas()
    return frame
