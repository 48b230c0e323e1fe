"""The queue: what is flagged in a round, minus what is decided.

Labels that are decided together are one item. Nobody is offered a pair that they have answered, unless they took the
answer back. The arithmetic is `audit_store.queue_items`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.database import Store
from audit_store.errors import DecisionError, RoundError
from audit_store.people import Person, require_live
from audit_store.queue_items import ORDERS, Flags, Marks, Wanted, flags_of, items, marks_of
from audit_store.round_reader import RoundFile
from audit_store.states import STATES, snapshot
from audit_store.tokens import name_digest, seal, unseal
from audit_store.workspace import Workspace

_REVEALING = ("observed", "suggested", "direction", "error_probability", "suspicion_rank")


@dataclass(frozen=True)
class QueueFilter:
    """What to list and in which order.

    Parameters
    ----------
    labels
        Label keys; all where empty.
    states
        States of the pair, of `audit_store.states.STATES`.
    direction
        ``false_positive`` or ``false_negative``; refused while `blind`, for it gives the recorded value away.
    order
        ``suspicion`` (most suspect first), ``patient`` (a patient's items together) or ``label``.
    blind
        Leave out every column that gives the recorded value or the suggestion away.
    patient_id
        One patient alone, or None.
    """

    labels: tuple[str, ...] = ()
    states: tuple[str, ...] = ("open",)
    direction: str | None = None
    order: str = "suspicion"
    blind: bool = True
    patient_id: int | None = None


@dataclass(frozen=True)
class Item:
    """One question for a reader: a stay and a label, or the labels that are decided together.

    `batch` and `position` (from 1) where it was drawn in one.
    """

    token: str
    stay_id: int
    patient_id: int
    visit: int
    label_keys: tuple[str, ...]
    label_group: str | None
    state: str
    batch: str | None = None
    position: int | None = None


def _wanted(round_file: RoundFile, person: Person, chosen: QueueFilter, mine: bool) -> Wanted:
    if chosen.blind and chosen.direction is not None:
        raise DecisionError("no filter by direction while reading blind", "one", "clear it, or switch blindness off")
    if chosen.order not in ORDERS:
        raise DecisionError(f"an order of {', '.join(ORDERS)}", "another word", "pick one of them")
    if not set(chosen.states) <= set(STATES):
        raise DecisionError(f"states of {', '.join(STATES)}", "another word", "pick among them")
    unknown = [key for key in chosen.labels if key not in round_file.label_ids]
    if unknown:
        raise DecisionError("labels of this round", f"{len(unknown)} others", "pick among the round's labels")
    states = STATES if mine else chosen.states
    return Wanted(
        person.name, mine, states, chosen.labels, chosen.direction, chosen.patient_id, chosen.order
    )  # fmt: skip


def _items(
    store: Store, round_file: RoundFile, person: Person, chosen: QueueFilter, mine: bool
) -> tuple[Flags, Marks, np.ndarray]:
    wanted = _wanted(round_file, person, chosen, mine)
    flags = flags_of(round_file)
    marks = marks_of(store, round_file, flags)
    return flags, marks, items(flags, marks, wanted)


def page(
    store: Store,
    round_file: RoundFile,
    person: Person,
    chosen: QueueFilter | None = None,
    limit: int = 50,
    offset: int = 0,
    mine: bool = False,
) -> pd.DataFrame:
    """List items of the queue.

    Parameters
    ----------
    store, round_file, person
        Where, which round, and for whom.
    chosen
        Filter and order; None for open items, most suspect first, blind.
    limit, offset
        Which part of the list.
    mine
        List what the person has answered instead of what they have not.

    Returns
    -------
    DataFrame
        token, stay_id, patient_id, visit, label_keys (tuple), label_names (tuple), label_group, state; when not blind
        also observed, suggested, direction, error_probability and suspicion_rank of the item's most suspect pair
        that the filter lets through.
    """
    require_live(store, person, "view")
    chosen = chosen or QueueFilter()
    flags, marks, found = _items(store, round_file, person, chosen, mine)
    rows = found[offset : offset + limit]
    column, label = flags.columns, flags.columns["label_id"][rows]
    frame = pd.DataFrame({name: column[name][rows] for name in ("stay_id", "patient_id", "visit")})
    for name, words in (("label_group", flags.groups), ("label_key", flags.keys)):
        frame[name] = pd.Series([words[i] for i in label], index=frame.index, dtype=object)
    frame["state"] = pd.Series([STATES[code] for code in marks.state[rows]], index=frame.index, dtype="str")
    if not chosen.blind:
        shown = {name: column[name][rows] for name in _REVEALING}
        frame = frame.assign(**{**shown, "direction": pd.Series(shown["direction"], index=frame.index, dtype="str")})
    groups = [group if group in round_file.label_groups else None for group in frame["label_group"]]
    frame["label_group"] = pd.Series(groups, index=frame.index, dtype=object)  # a text column would make None a NaN
    keys = [
        round_file.label_groups[group] if group is not None else (str(key),)
        for group, key in zip(frame["label_group"], frame["label_key"], strict=True)
    ]
    frame["label_keys"] = pd.Series(keys, index=frame.index, dtype=object)
    frame["label_names"] = pd.Series(
        [tuple(round_file.label_names[key] for key in item) for item in keys], index=frame.index, dtype=object
    )
    frame["token"] = [
        item_token(store.workspace, int(stay), item) for stay, item in zip(frame["stay_id"], keys, strict=True)
    ]
    order = ["token", "stay_id", "patient_id", "visit", "label_keys", "label_names", "label_group", "state"]
    return frame[order + [name for name in _REVEALING if name in frame]]


def next_items(
    store: Store,
    round_file: RoundFile,
    person: Person,
    chosen: QueueFilter | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Item]:
    """List the person's next items; see `page`."""
    frame = page(store, round_file, person, chosen, limit, offset)
    return [
        Item(
            row["token"],
            int(row["stay_id"]),
            int(row["patient_id"]),
            int(row["visit"]),
            row["label_keys"],
            row["label_group"],
            row["state"],
        )
        for row in frame.to_dict("records")
    ]


def count(
    store: Store, round_file: RoundFile, person: Person, chosen: QueueFilter | None = None, mine: bool = False
) -> int:
    """Count the items that `page` would list."""
    require_live(store, person, "view")
    return len(_items(store, round_file, person, chosen or QueueFilter(), mine)[2])


def counts(store: Store, round_file: RoundFile) -> pd.DataFrame:
    """Count flagged pairs by label (label_key, name, flagged) and state, one column for each of `STATES`."""
    flags = flags_of(round_file)
    marks = marks_of(store, round_file, flags)
    width, kinds = len(flags.keys), len(STATES)
    found = np.bincount(flags.columns["label_id"] * kinds + marks.state, minlength=width * kinds).reshape(width, kinds)
    here = [round_file.label_ids[key] for key in round_file.label_ids]
    frame = pd.DataFrame({"label_key": list(round_file.label_ids), "name": [flags.names[i] for i in here]})
    frame["flagged"] = found[here].sum(axis=1)
    return frame.assign(**{name: found[here, k] for k, name in enumerate(STATES)})


def _item_name(label_keys: Iterable[str]) -> str:
    return "\x1f".join(sorted(label_keys))


def item_token(workspace: Workspace, stay_id: int, label_keys: Iterable[str]) -> str:
    """Make the token that names an item in links: 22 URL-safe characters, the same for the same item."""
    return seal(workspace.secret, stay_id, _item_name(label_keys))


def find_item(store: Store, round_file: RoundFile, token: str) -> Item:
    """Find the item that a token names, flagged or not.

    Raises
    ------
    RoundError
        When the token is none of this workspace's, or the pair is not in the round.
    """
    opened = unseal(store.workspace.secret, token)
    together = {keys: group for group, keys in round_file.label_groups.items()}
    candidates = [*together, *((key,) for key in round_file.label_ids)]
    secret = store.workspace.secret
    keys = next((k for k in candidates if opened and name_digest(secret, _item_name(k)) == opened[1]), None)
    if opened is None or keys is None:
        raise RoundError("a link of this workspace", "another one", "open the queue")
    pair = round_file.arrow(
        "SELECT stay_id, patient_id, visit FROM pair WHERE stay_id = $stay AND label_id = $label",
        values={"stay": opened[0], "label": round_file.label_id(keys[0])},
    ).to_pylist()
    if not pair:
        raise RoundError("a pair of this round", "one that is no longer in it", "open the queue of the current round")
    states = snapshot(store).states
    hit = states.filter(
        pc.and_(pc.equal(states["stay_id"], opened[0]), pc.is_in(states["label_key"], pa.array(list(keys))))
    )
    found = hit["state"].to_pylist()
    state = next((name for name in ("conflict", "answered", "adjudicated", "locked") if name in found), "open")
    return Item(token, opened[0], pair[0]["patient_id"], pair[0]["visit"], keys, together.get(keys), state)
