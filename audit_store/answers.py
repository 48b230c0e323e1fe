"""What a person says of a pair, what is kept of it, and looking it up again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow.compute as pc
from sqlalchemy import Connection, bindparam, select

from audit_store import tables
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.people import Person
from audit_store.states import snapshot
from audit_store.tables import ANSWERS, CERTAINTIES, CODABLE, PURPOSES

LONGEST_WORD = 80
_OWN_ROWS = (
    select(tables.decision)
    .where(
        tables.decision.c.stay_id == bindparam("stay"),
        tables.decision.c.label_key == bindparam("label"),
        tables.decision.c.reviewer == bindparam("reader"),
    )
    .order_by(tables.decision.c.id)
)
SIMULATED = "simulated"
"""Reason code of an answer that a program gave, as in the demo: no figure on readers or labels counts it."""


@dataclass(frozen=True)
class Reading:
    """What a person says of one pair.

    Parameters
    ----------
    round_id, stay_id, label_key
        The pair, and the round whose screen showed it.
    answer
        ``present``, ``absent`` or ``cannot_tell``.
    certainty
        ``high`` or ``low``.
    reason_code, comment, codable
        Optional: a short code, free text, and ``yes``/``no``/``unclear`` for whether it could be billed.
    blinded
        Whether the recorded value and the suggestion were hidden while reading.
    saw_suggestion
        Whether the suggestion was on the screen when the answer was given.
    active_seconds
        Seconds at work on the pair.
    evidence_opened
        Names of the panels, notes and folds that were opened.
    guideline_version, protocol_hash, batch, position, purpose, stratum, inclusion_probability
        Under what terms the pair was shown.
    supersedes
        Id of the person's own standing answer that this one replaces.
    """

    round_id: int
    stay_id: int
    label_key: str
    answer: str
    certainty: str = "high"
    reason_code: str | None = None
    comment: str | None = None
    codable: str | None = None
    blinded: bool = True
    saw_suggestion: bool = False
    active_seconds: float | None = None
    evidence_opened: tuple[str, ...] = ()
    guideline_version: str | None = None
    protocol_hash: str | None = None
    batch: str | None = None
    position: int | None = None
    purpose: str = "flag"
    stratum: str | None = None
    inclusion_probability: float | None = None
    supersedes: int | None = None


@dataclass(frozen=True)
class Decision:
    """One row of `decision`: what was said, by whom, of which pair, and its place in the chain."""

    id: int
    created_at: datetime
    reviewer: str
    round_id: int
    stay_id: int
    label_key: str
    observed: int
    suggested: int
    answer: str
    certainty: str
    reason_code: str | None
    codable: str | None
    comment_id: int | None
    comment_digest: str | None
    guideline_version: str | None
    protocol_hash: str | None
    batch: str | None
    position: int | None
    purpose: str
    stratum: str | None
    inclusion_probability: float | None
    blinded: bool
    saw_suggestion: bool
    evidence_opened: str
    active_seconds: float | None
    supersedes: int | None
    act: str
    token: str
    prev_hash: str
    hash: str

    @property
    def accepts(self) -> bool | None:
        """Whether the answer accepts the proposed correction (True), rejects it (False), or neither (None)."""
        return accepts(self.answer, self.observed, self.suggested)


COLUMNS = tuple(f.name for f in fields(Decision))


@dataclass(frozen=True)
class PairState:
    """What a pair's answers amount to: state, agreed value {0, 1}, locked, soft target, readers by name."""

    state: str
    value: int | None
    locked: bool
    soft: float | None
    readers: tuple[str, ...]


def accepts(answer: str, observed: int, suggested: int) -> bool | None:
    """Whether an answer accepts the correction (True), rejects it (False), or neither (None).

    Neither: where nothing was proposed (`suggested` = `observed`), and where the answer is not present or absent.
    """
    if suggested == observed or answer not in ("present", "absent"):
        return None
    return int(answer == "present") == suggested


def check_reading(reading: Reading) -> None:
    """Refuse a reading whose values are not among those allowed."""
    choices = (
        ("answer", ANSWERS[:3]),
        ("certainty", CERTAINTIES),
        ("purpose", PURPOSES),
        ("codable", (*CODABLE, None)),
    )
    for name, allowed in choices:
        if getattr(reading, name) not in allowed:
            words = ", ".join(word for word in allowed if word)
            todo = "take an answer back with undo" if name == "answer" else "pick one of them"
            raise DecisionError(f"{name} in {{{words}}}", "another word", todo)
    for name in ("reason_code", "guideline_version", "protocol_hash", "batch", "stratum"):
        word = getattr(reading, name)
        longest = 64 if name == "protocol_hash" else LONGEST_WORD
        if word is not None and (len(word) > longest or not word.isprintable()):
            raise DecisionError(f"{name} of at most {longest} printable characters", f"{len(word)}", "shorten it")
    seconds, share = reading.active_seconds, reading.inclusion_probability
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise DecisionError("active_seconds finite and not negative", "another number", "mend the clock")
    if share is not None and not 0 < share <= 1:
        raise DecisionError("inclusion_probability above 0 and at most 1", "another number", "mend the sampling")


def decision_of(row: Any) -> Decision:
    """Make a decision of its row."""
    return Decision(*(getattr(row, name) for name in COLUMNS))


def own_rows(connection: Connection, person: str, stay_id: int, label_key: str) -> list[Decision]:
    """Return one reader's rows on one pair, oldest first."""
    asked = {"stay": stay_id, "label": label_key, "reader": person}
    return [decision_of(row) for row in connection.execute(_OWN_ROWS, asked).all()]


def standing_of(rows: Sequence[Decision]) -> Decision | None:
    """Return the last of one reader's answers on one pair that was not taken back."""
    taken = {row.supersedes for row in rows if row.answer == "retract"}
    stand = [row for row in rows if row.answer != "retract" and row.id not in taken]
    return stand[-1] if stand else None


def current_answer(store: Store, person: Person, stay_id: int, label_key: str) -> Decision | None:
    """Return the person's own answer on a pair that stands, or None."""
    with store.reading() as connection:
        return standing_of(own_rows(connection, person.name, stay_id, label_key))


def of_pair(store: Store, stay_id: int, label_key: str) -> pd.DataFrame:
    """Every row on one pair, oldest first, with whether it was taken back and whether it is its reader's answer now.

    Columns: id, created_at, reviewer, round_id, answer, certainty, reason_code, comment, blinded, saw_suggestion,
    supersedes, taken_back, current.
    """
    d, t = tables.decision.c, tables.comment.c
    columns: list[Any] = [d.id, d.created_at, d.reviewer, d.round_id, d.answer, d.certainty, d.reason_code]
    columns += [t.text.label("comment"), d.blinded, d.saw_suggestion, d.supersedes]
    query = select(*columns).outerjoin_from(tables.decision, tables.comment, d.comment_id == t.id)
    query = query.where(d.stay_id == stay_id, d.label_key == label_key).order_by(d.id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    frame = pd.DataFrame([tuple(row) for row in rows], columns=[column.name for column in columns])
    retracts = frame["answer"] == "retract"
    frame["taken_back"] = frame["id"].isin(frame.loc[retracts, "supersedes"].tolist())
    stands = frame[~retracts & ~frame["taken_back"]]
    frame["current"] = frame["id"].isin(stands.groupby("reviewer")["id"].max().tolist())
    return frame


def recent(store: Store, person: Person, limit: int = 10) -> pd.DataFrame:
    """Return the person's last answers, newest first, with whether each was taken back.

    Columns: id, act, created_at, round_id, stay_id, label_key, answer, certainty, taken_back.
    """
    c = tables.decision.c
    columns = [c.id, c.act, c.created_at, c.round_id, c.stay_id, c.label_key, c.answer, c.certainty]
    query = select(*columns).where(c.reviewer == person.name, c.answer != "retract").order_by(c.id.desc()).limit(limit)
    with store.reading() as connection:
        rows = connection.execute(query).all()
        taken = taken_back(connection, [int(row.id) for row in rows])
    frame = pd.DataFrame([tuple(row) for row in rows], columns=[column.name for column in columns])
    frame["taken_back"] = frame["id"].isin(sorted(taken))
    return frame


def taken_back(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return those of some decisions that a later row takes back."""
    c = tables.decision.c
    query = select(c.supersedes).where(c.supersedes.in_(list(ids)), c.answer == "retract")
    return {int(number) for number in connection.execute(query).scalars().all()}


def pair_state(store: Store, stay_id: int, label_key: str) -> PairState:
    """Return the state of one pair."""
    states = snapshot(store).states
    hit = states.filter(pc.and_(pc.equal(states["stay_id"], stay_id), pc.equal(states["label_key"], label_key)))
    if hit.num_rows == 0:
        return PairState("open", None, False, None, ())
    row = hit.to_pylist()[0]
    readers = tuple(str(row["readers"]).split(";")) if row["readers"] else ()
    return PairState(str(row["state"]), row["value"], bool(row["locked"]), row["soft"], readers)


def activity(store: Store, person: Person) -> pd.DataFrame:
    """Return a person's own pace: day (UTC), decisions, median_seconds of active time per act."""
    c = tables.decision.c
    query = select(c.act, c.created_at, c.active_seconds).where(c.reviewer == person.name, c.answer != "retract")
    with store.reading() as connection:
        rows = connection.execute(query).all()
    frame = pd.DataFrame([tuple(row) for row in rows], columns=["act", "created_at", "seconds"])
    frame["day"] = pd.to_datetime(frame["created_at"]).dt.date
    frame["seconds"] = frame["seconds"].astype(float)
    days = frame.groupby("day").agg(decisions=("act", "nunique"), median_seconds=("seconds", "median"))
    return days.reset_index()
