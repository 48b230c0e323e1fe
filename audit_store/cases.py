"""The adjudicator's list: pairs whose readers disagree, pairs that no reader could settle, and what was settled."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.database import Store
from audit_store.errors import AccessError
from audit_store.people import PERMISSIONS, Person, require_live
from audit_store.queue import Item, item_token
from audit_store.round_reader import RoundFile
from audit_store.states import Snapshot, snapshot

_PLACES = """
SELECT w.stay_id, w.label_key, w.at, l.label_group, p.patient_id, p.visit
FROM wanted w JOIN label l USING (label_key) JOIN pair p ON p.stay_id = w.stay_id AND p.label_id = l.label_id
ORDER BY w.at, w.stay_id, w.label_key
"""


@dataclass(frozen=True)
class Cases:
    """What waits for one adjudicator.

    Parameters
    ----------
    items
        One for each question, the one that waits longest first; labels decided together are one.
    own
        Questions left out because the person is one of their readers.
    gone
        Pairs that are no longer in the round.
    """

    items: tuple[Item, ...]
    own: int
    gone: int


def conflict_items(store: Store, round_file: RoundFile, person: Person, *, unsure: bool = False) -> Cases:
    """List what waits for an adjudicator, without what would give a reader's name or the record away.

    Parameters
    ----------
    store, round_file
        Where, and the round under review: a conflict of an earlier round is listed while its pair is in this one.
    person
        For whom; a role that may adjudicate. What they read themselves is counted in `own` and left out.
    unsure
        Pairs where every reader said "can't say", in place of those where readers disagree.

    Raises
    ------
    AccessError
        When the role may not adjudicate.
    """
    require_live(store, person, "adjudicate")
    now = snapshot(store)
    states = now.states
    chosen = pc.equal(states["state"], "conflict")
    if unsure:
        nobody = pc.equal(pc.add(states["n_present"], states["n_absent"]), 0)
        chosen = pc.and_(pc.equal(states["state"], "answered"), nobody)
    rows = states.filter(chosen)
    items, gone = _items(store, round_file, now, rows.select(["stay_id", "label_key", "decided_at"]))
    mine = _read_by(now, person)
    open_to = tuple(item for item in items if not any((item.stay_id, key) in mine for key in item.label_keys))
    return Cases(open_to, len(items) - len(open_to), gone)


def _items(store: Store, round_file: RoundFile, now: Snapshot, wanted: pa.Table) -> tuple[list[Item], int]:
    """Questions that hold some pairs, oldest first, and how many pairs the round lacks."""
    if wanted.num_rows == 0:
        return [], 0
    places = round_file.arrow(_PLACES, {"wanted": wanted.rename_columns(["stay_id", "label_key", "at"])}).to_pylist()
    state = {
        (row["stay_id"], row["label_key"]): str(row["state"])
        for row in now.states.filter(pc.is_in(now.states["stay_id"], wanted["stay_id"].combine_chunks())).to_pylist()
    }
    items: dict[str, Item] = {}
    for row in places:
        group = row["label_group"] if row["label_group"] in round_file.label_groups else None
        keys = round_file.label_groups[group] if group is not None else (str(row["label_key"]),)
        token = item_token(store.workspace, int(row["stay_id"]), keys)
        own_state = state[row["stay_id"], row["label_key"]]
        items.setdefault(
            token, Item(token, int(row["stay_id"]), int(row["patient_id"]), int(row["visit"]), keys, group, own_state)
        )
    return list(items.values()), wanted.num_rows - len(places)


def _read_by(now: Snapshot, person: Person) -> set[tuple[int, str]]:
    rows = now.decisions.filter(pc.equal(now.decisions["reviewer"], person.name)).select(["stay_id", "label_key"])
    return {(int(row["stay_id"]), str(row["label_key"])) for row in rows.to_pylist()}


def is_reader(store: Store, person: Person, stay_id: int, label_keys: Sequence[str]) -> bool:
    """Whether the person ever answered one of these pairs, also where they took it back."""
    mine = _read_by(snapshot(store), person)
    return any((stay_id, key) in mine for key in label_keys)


def settled(store: Store, round_file: RoundFile, person: Person) -> pd.DataFrame:
    """Adjudications, latest first, one row for each label; for those who may adjudicate or read the trail.

    Returns
    -------
    DataFrame
        id, created_at (UTC), adjudicator, round_id, stay_id, label_key, answer, item_token, own (whether the person
        read the pair), counts (whether it is the pair's last one).
    """
    person = require_live(store, person, "view")
    if not {"adjudicate", "read_trail"} & PERMISSIONS.get(person.role, frozenset()):
        raise AccessError("a role that adjudicates or reads the trail", f"a {person.role}", "ask a steward")
    now = snapshot(store)
    columns = ["id", "created_at", "adjudicator", "round_id", "stay_id", "label_key", "answer"]
    frame: pd.DataFrame = now.adjudications.select(columns).to_pandas().sort_values("id", ascending=False)
    frame = frame.reset_index(drop=True)
    together = {key: keys for keys in round_file.label_groups.values() for key in keys}
    mine = _read_by(now, person)
    pairs = list(zip(frame["stay_id"].tolist(), frame["label_key"].tolist(), strict=True))
    frame["item_token"] = pd.Series(
        [item_token(store.workspace, int(stay), together.get(key, (key,))) for stay, key in pairs], dtype=object
    )
    frame["own"] = pd.Series([(stay, key) in mine for stay, key in pairs], dtype=bool)
    frame["counts"] = ~frame.duplicated(["stay_id", "label_key"], keep="first")
    return frame
