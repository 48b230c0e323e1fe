"""The list on the queue page: what is given to a person to read, what they have answered, and what others did.

Who may decide reads blind as long as the protocol says so, whatever else their role allows. A blind reader's list holds
the pairs of their own batches and their own answers, in an order that tells nothing: in a list of flags alone the pairs
that are missing would be the controls, and in an order of suspicion the controls would stand last. Purpose and
direction of a pair are told once the person has answered it. Who never decides (auditors) sees all of it.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.assignments import assigned
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.people import Person
from audit_store.protocol import Protocol
from audit_store.queue import Item, item_token
from audit_store.roles import PERMISSIONS, require_live
from audit_store.round_reader import RoundFile
from audit_store.schema import DIRECTIONS
from audit_store.states import STATES, snapshot
from audit_store.tables import PURPOSES

ORDERS = {
    "batch": "batch NULLS LAST, position, best NULLS LAST, stay_id, group_id",
    "suspicion": "best NULLS LAST, doubt DESC, stay_id, group_id",
    "probability": "doubt DESC, best NULLS LAST, stay_id, group_id",
    "patient": "patient_id, visit, stay_id, group_id",
    "label": "group_id, patient_id, visit, stay_id",
}
_TELLING = ("suspicion", "probability")
_PLACED = ["id", "stay_id", "label_key", "person", "batch", "position", "purpose", "round_id"]

# What is known of each pair of the list; then items (labels decided together are one), a part of them, and its details.
_ROWS = """
WITH grouping AS MATERIALIZED (
    SELECT label_id, label_key, name,
        min(label_id) OVER (PARTITION BY coalesce('g' || label_group, 'l' || label_key)) AS group_id
    FROM label
), said AS MATERIALIZED (
    SELECT g.label_id, d.stay_id, bool_or(d.reviewer = $me) AS mine, max(d.answer) FILTER (d.reviewer = $me) AS answer,
        bool_or(d.round_id = $round AND ($everyone OR d.reviewer = $me)) AS here,
        coalesce(bool_or(d.round_id = $round AND d.reviewer = $reader), false) AS of_reader
    FROM standing d JOIN grouping g USING (label_key) GROUP BY d.stay_id, g.label_id
), own AS MATERIALIZED (
    SELECT g.label_id, d.stay_id, arg_max(d.batch, d.rank) AS batch, arg_max(d.position, d.rank) AS position,
        arg_max(d.purpose, d.rank) AS purpose, coalesce(bool_or(d.person = $me), false) AS given,
        coalesce(bool_or(d.person = $reader), false) AS of_reader
    FROM (
        SELECT *, row_number() OVER (ORDER BY coalesce(person = $me, false), id) AS rank FROM placed
        WHERE round_id = $round AND ($everyone OR person = $me) AND ($batch IS NULL OR batch = $batch)
    ) d JOIN grouping g USING (label_key) GROUP BY d.stay_id, g.label_id
), asked AS MATERIALIZED (
    SELECT stay_id, label_id FROM own UNION SELECT stay_id, label_id FROM said WHERE here AND $batch IS NULL
), known AS (
    SELECT f.stay_id, f.label_id, f.patient_id, f.visit, f.direction, f.suspicion_rank, f.error_probability,
        true AS flagged
    FROM flag f LEFT JOIN asked a USING (stay_id, label_id) WHERE a.stay_id IS NOT NULL OR ($free AND $batch IS NULL)
    UNION ALL
    SELECT p.stay_id, p.label_id, p.patient_id, p.visit, p.direction, NULL, p.error_probability, false
    FROM pair p SEMI JOIN asked a USING (stay_id, label_id) WHERE NOT p.flagged
), marked AS MATERIALIZED (
    SELECT k.*, g.label_key, g.group_id, o.batch, o.position, o.purpose, coalesce(s.state, 'open') AS true_state,
        coalesce(d.mine, false) AS mine, d.answer, coalesce(d.of_reader, o.of_reader, false) AS of_reader,
        coalesce(d.mine, false) OR $sees AS open_book,
        coalesce(d.mine, false) OR $sees OR $free OR ($everyone AND NOT coalesce(o.given, false)) AS open_state
    FROM known k JOIN grouping g USING (label_id) LEFT JOIN own o USING (stay_id, label_id)
    LEFT JOIN said d USING (stay_id, label_id)
    LEFT JOIN pair_state s ON s.stay_id = k.stay_id AND s.label_key = g.label_key
), item AS (
    SELECT stay_id, group_id, min(patient_id) AS patient_id, min(visit) AS visit, min(batch) AS batch,
        min(position) AS position, bool_or(mine) AS mine, min(suspicion_rank) AS best,
        min(CASE WHEN open_state THEN list_position(
            ['conflict', 'answered', 'adjudicated', 'locked', 'open'], true_state) ELSE 5 END) AS state_number,
        max(CASE WHEN open_book THEN coalesce(purpose, CASE WHEN flagged THEN 'flag' END) END) AS purpose,
        arg_max(CASE WHEN open_book AND flagged THEN direction END, error_probability) AS direction,
        max(error_probability) AS doubt, max(CASE WHEN open_book THEN error_probability END) AS error_probability
    FROM marked GROUP BY stay_id, group_id
    HAVING ($all_labels OR bool_or(list_contains($labels, label_key))) AND ($reader IS NULL OR bool_or(of_reader))
), part AS (
    SELECT *, ['conflict', 'answered', 'adjudicated', 'locked', 'open'][state_number] AS state,
        count(*) OVER () AS total, row_number() OVER (ORDER BY {order}) AS place FROM item
    WHERE list_contains($states, ['conflict', 'answered', 'adjudicated', 'locked', 'open'][state_number])
        AND ($purpose IS NULL OR purpose = $purpose) AND ($direction IS NULL OR direction = $direction)
    QUALIFY place > $offset AND place <= $offset + $limit
)
SELECT i.*, m.asked, m.answer FROM part i JOIN (
    SELECT stay_id, group_id, min(label_key) AS asked,
        string_agg(CASE WHEN mine THEN label_key || ':' || answer END, ';' ORDER BY label_key) AS answer
    FROM marked SEMI JOIN part USING (stay_id, group_id) GROUP BY stay_id, group_id
) m USING (stay_id, group_id) ORDER BY i.place
"""


@dataclass(frozen=True)
class WorkFilter:
    """What to list and in which order.

    Parameters
    ----------
    labels
        Label keys; all where empty.
    states
        States of the pair, of `audit_store.states.STATES`. To a blind reader what they have not answered is ``open``.
    batch
        Name of a batch, or None.
    reader
        Pairs that this person was given or has answered, or None.
    purpose, direction
        Of `tables.PURPOSES` and `schema.DIRECTIONS`, or None; only what may be told is compared.
    order
        ``batch`` (as drawn), ``suspicion`` (the round's own order), ``probability`` (of error; both refused to a blind
        reader under a protocol), ``patient`` or ``label``.
    """

    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = STATES
    batch: str | None = None
    reader: str | None = None
    purpose: str | None = None
    direction: str | None = None
    order: str = "batch"


@dataclass(frozen=True)
class Worklist:
    """A part of the list.

    Parameters
    ----------
    rows
        token, stay_id, patient_id, visit, label_keys (tuple), label_names (tuple), label_group, state, mine, answer
        (the person's own, "label:answer;…"; None before), answers (everyone's, "reader:answer;…", of the first label;
        None unless all may be seen), batch, position, purpose, direction, error_probability (None where they may not
        be told).
    total
        Number of items that the filter lets through.
    """

    rows: pd.DataFrame
    total: int


def sees_purpose(person: Person, protocol: Protocol | None) -> bool:
    """Whether purpose, direction and others' answers may be shown before the person has answered.

    Not to those who may decide while reading is blind, as it is before any protocol is signed.
    """
    blind = protocol is None or protocol.terms.blind
    return not blind or "decide" not in PERMISSIONS.get(person.role, frozenset())


def oversees(person: Person) -> bool:
    """Whether the person may list what others were given and have answered (stewards, auditors)."""
    return bool(PERMISSIONS.get(person.role, frozenset()) & {"assign", "read_trail"})


def orders_for(person: Person, protocol: Protocol | None) -> tuple[str, ...]:
    """List the orders that give nothing away to this person."""
    hidden = protocol is not None and not sees_purpose(person, protocol)
    return tuple(name for name in ORDERS if not (hidden and name in _TELLING))


def worklist(
    store: Store,
    round_file: RoundFile,
    person: Person,
    protocol: Protocol | None,
    chosen: WorkFilter | None = None,
    limit: int = 12,
    offset: int = 0,
) -> Worklist:
    """List items of a round for a person.

    Parameters
    ----------
    store, round_file, person, protocol
        Where, which round (the current or an earlier one), for whom, and under which protocol (None: unsigned).
    chosen
        Filter and order; None for everything as drawn.
    limit, offset
        Which part of the list.

    Raises
    ------
    AccessError
        When the person may not look, as they are in the store now.
    DecisionError
        When the filter or the order would tell what is hidden, or names what this round does not have.
    """
    person = require_live(store, person, "view")
    chosen = chosen or WorkFilter()
    _check(round_file, person, protocol, chosen)
    now, sees = snapshot(store), sees_purpose(person, protocol)
    everyone = oversees(person)
    held = {
        "standing": now.standing.select(["stay_id", "label_key", "reviewer", "round_id", "answer"]),
        "pair_state": now.states.select(["stay_id", "label_key", "state"]),
        "placed": assigned(store).select(_PLACED),
    }
    latest = store.workspace.latest_round()
    values: dict[str, Any] = {
        "me": person.name,
        "round": round_file.info.round_id,
        "everyone": everyone,
        "sees": sees,
        "free": round_file.info.round_id == latest and (protocol is None or sees),
        "batch": chosen.batch,
        "reader": chosen.reader,
        "labels": list(chosen.labels),
        "all_labels": not chosen.labels,
        "states": list(chosen.states),
        "purpose": chosen.purpose,
        "direction": chosen.direction,
        "limit": limit,
        "offset": offset,
    }
    found = round_file.arrow(_ROWS.format(order=ORDERS[chosen.order]), held, values).to_pandas()
    return _named(store, round_file, _with_others(now.standing, found) if sees else found)


def held_in(store: Store, round_file: RoundFile, person: Person, item: Item) -> str | None:
    """Name the person's own batch of this round that holds an item; the latest where there are several."""
    placed = assigned(store)
    here = pc.and_(pc.equal(placed["stay_id"], item.stay_id), pc.is_in(placed["label_key"], pa.array(item.label_keys)))
    own = pc.and_(pc.equal(placed["person"], person.name), pc.equal(placed["round_id"], round_file.info.round_id))
    names = placed.filter(pc.fill_null(pc.and_(here, own), False))["batch"].to_pylist()
    return str(names[-1]) if names else None


def _check(round_file: RoundFile, person: Person, protocol: Protocol | None, chosen: WorkFilter) -> None:
    if chosen.order not in ORDERS:
        raise DecisionError(f"an order of {', '.join(ORDERS)}", "another word", "pick one of them")
    if chosen.order not in orders_for(person, protocol):
        raise DecisionError("an order that tells nothing, while reading blind", "one by suspicion", "pick another")
    if not set(chosen.states) <= set(STATES):
        raise DecisionError(f"states of {', '.join(STATES)}", "another word", "pick among them")
    if chosen.purpose not in (None, *PURPOSES) or chosen.direction not in (None, *DIRECTIONS):
        raise DecisionError("a purpose and a direction that exist", "another word", "pick among them")
    if chosen.reader not in (None, person.name) and not oversees(person):
        raise DecisionError("your own pairs", "another reader's", "ask a steward, who may list them")
    unknown = [key for key in chosen.labels if key not in round_file.label_ids]
    if unknown:
        raise DecisionError("labels of this round", f"{len(unknown)} others", "pick among the round's labels")


def _with_others(standing: pa.Table, found: pd.DataFrame) -> pd.DataFrame:
    """Add who answered what, for those who may see it: "name:answer;…" of each item's first label."""
    told = []
    for stay, key in zip(found["stay_id"].tolist(), found["asked"].tolist(), strict=True):
        rows = standing.filter(pc.and_(pc.equal(standing["stay_id"], stay), pc.equal(standing["label_key"], key)))
        names = zip(rows["reviewer"].to_pylist(), rows["answer"].to_pylist(), strict=True)
        told.append(";".join(f"{name}:{answer}" for name, answer in sorted(names)) or None)
    return found.assign(answers=pd.Series(told, index=found.index, dtype=object))


def _named(store: Store, round_file: RoundFile, frame: pd.DataFrame) -> Worklist:
    """Add names and tokens; labels decided together are one item by the group's name."""
    groups = {key: group for group, keys in round_file.label_groups.items() for key in keys}
    whole = [groups.get(key) for key in frame["asked"]]
    keys = [
        (str(key),) if group is None else round_file.label_groups[group]
        for group, key in zip(whole, frame["asked"], strict=True)
    ]
    frame["label_group"] = pd.Series(whole, index=frame.index, dtype=object)
    frame["label_keys"] = pd.Series(keys, index=frame.index, dtype=object)
    names = [tuple(round_file.label_names[key] for key in item) for item in keys]
    frame["label_names"] = pd.Series(names, index=frame.index, dtype=object)
    stays = frame["stay_id"].tolist()
    frame["token"] = [item_token(store.workspace, int(stay), item) for stay, item in zip(stays, keys, strict=True)]
    if "answers" not in frame:
        frame["answers"] = None
    total = int(frame["total"].iloc[0]) if len(frame) else 0
    order = ["token", "stay_id", "patient_id", "visit", "label_keys", "label_names", "label_group", "state", "mine"]
    order += ["answer", "answers", "batch", "position", "purpose", "direction", "error_probability"]
    frame = frame[order].astype(object)
    return Worklist(frame.where(frame.notna(), None), total)
