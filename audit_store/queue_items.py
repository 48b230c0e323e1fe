"""The queue's arithmetic: a round's flags as columns in memory, read once, and what people decided laid on them.

A round never changes, so its flags (a fiftieth of its pairs) are read once a process; the state of each flag is worked
out once after each decision. A page of the queue then is a few passes over arrays, without a query.
"""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.database import Store
from audit_store.round_reader import RoundFile
from audit_store.states import STATES, Snapshot, snapshot

ORDERS = ("suspicion", "patient", "label")
_OPEN = STATES.index("open")
_COLUMNS = "stay_id, patient_id, visit, label_id, observed, suggested, direction, error_probability, suspicion_rank"


@dataclass(frozen=True)
class Flags:
    """A round's flags, most suspect first, and its labels.

    Parameters
    ----------
    columns
        Arrays of one length: stay_id, patient_id, visit, label_id, observed, suggested, direction (text),
        error_probability, suspicion_rank.
    keys, names, groups
        Of each label by `label_id`: key, published name, group as stored or None.
    """

    columns: dict[str, np.ndarray]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str | None, ...]

    @cached_property
    def stays(self) -> np.ndarray:
        """Stays that have a flag, ascending."""
        return np.unique(self.columns["stay_id"])

    @cached_property
    def pair(self) -> np.ndarray:
        """A number for each flag's pair: place of its stay · labels + label."""
        place = np.searchsorted(self.stays, self.columns["stay_id"])
        numbers: np.ndarray = place * len(self.keys) + self.columns["label_id"]
        return numbers

    @cached_property
    def group_of_label(self) -> np.ndarray:
        """The least `label_id` of those that are decided together with a label, for each."""
        first: dict[str, int] = {}
        return np.array([first.setdefault(g, i) if g is not None else i for i, g in enumerate(self.groups)], np.int64)

    @cached_property
    def group(self) -> np.ndarray:
        """Of each flag, the group of its label."""
        of_flags: np.ndarray = self.group_of_label[self.columns["label_id"]]
        return of_flags

    @cached_property
    def item(self) -> np.ndarray:
        """A number for each flag's item: its stay and the labels that are decided together."""
        place = np.searchsorted(self.stays, self.columns["stay_id"])
        numbers: np.ndarray = place * len(self.keys) + self.group
        return numbers

    @cached_property
    def _by_pair(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.pair, kind="stable")
        return order, self.pair[order]

    def places(self, stay_ids: np.ndarray, label_keys: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Find pairs among the flags.

        Returns
        -------
        given, flag
            Places of those that are flagged among what was given, and their flags' places.
        """
        label = pc.fill_null(pc.index_in(label_keys, value_set=pa.array(self.keys, pa.string())), -1).to_numpy()
        stay = np.searchsorted(self.stays, stay_ids).clip(max=max(len(self.stays) - 1, 0))
        known = label >= 0
        known &= self.stays[stay] == stay_ids if len(self.stays) else False
        order, numbers = self._by_pair
        wanted = stay * len(self.keys) + label
        at = np.searchsorted(numbers, wanted).clip(max=max(len(numbers) - 1, 0))
        hit = np.flatnonzero(known & (numbers[at] == wanted)) if len(numbers) else np.zeros(0, np.int64)
        return hit, order[at[hit]]


@dataclass(frozen=True)
class Marks:
    """What people decided about a round's flags at one moment.

    Parameters
    ----------
    now
        The moment.
    state
        uint8, of each flag its place in `STATES`.
    read
        Per reader, the flags they have an answer standing on; filled when asked for.
    """

    now: Snapshot
    state: np.ndarray
    read: dict[str, np.ndarray] = field(default_factory=dict)

    def read_by(self, flags: Flags, reader: str) -> np.ndarray:
        """Tell which flags a reader has answered, bool."""
        if reader not in self.read:
            standing = self.now.standing
            own = standing.filter(pc.equal(standing["reviewer"], reader))
            _, at = flags.places(own["stay_id"].to_numpy(), own["label_key"])
            mask = np.zeros(len(self.state), np.bool_)
            mask[at] = True
            self.read[reader] = mask
        return self.read[reader]


_FLAGS: WeakKeyDictionary[RoundFile, Flags] = WeakKeyDictionary()
_LOCK = threading.Lock()


def flags_of(round_file: RoundFile) -> Flags:
    """Give a round's flags; read once."""
    with _LOCK:
        found = _FLAGS.get(round_file)
    if found is not None:
        return found
    table = round_file.arrow(f"SELECT {_COLUMNS} FROM flag ORDER BY suspicion_rank")
    labels = round_file.rows("SELECT label_id, label_key, name, label_group FROM label ORDER BY label_id")
    width = max((int(row[0]) for row in labels), default=-1) + 1
    by_id = {int(row[0]): row[1:] for row in labels}
    words = [by_id.get(i, ("", "", None)) for i in range(width)]
    columns = {name: table[name].to_numpy() for name in table.column_names}
    columns["label_id"] = columns["label_id"].astype(np.int64)
    keys, names, groups = (tuple(row[k] for row in words) for k in range(3))
    made = Flags(columns, keys, names, groups)
    with _LOCK:
        return _FLAGS.setdefault(round_file, made)


def marks_of(store: Store, round_file: RoundFile, flags: Flags) -> Marks:
    """Give what people have decided about the flags; worked out anew after each decision."""
    now = snapshot(store)
    name = f"marks {round_file.path.name}"
    with store.memory_lock:
        held: tuple[Flags, Marks] | None = store.memory.get(name)
        if held is not None and held[0] is flags and held[1].now is now:
            return held[1]
        state = np.full(len(flags.pair), _OPEN, np.uint8)
        code = pc.index_in(now.states["state"], value_set=pa.array(STATES, pa.string())).to_numpy()
        given, at = flags.places(now.states["stay_id"].to_numpy(), now.states["label_key"])
        state[at] = code[given]
        marks = Marks(now, state)
        store.memory[name] = (flags, marks)
        return marks


@dataclass(frozen=True)
class Wanted:
    """What is asked of the queue: `audit_store.queue.QueueFilter`, checked.

    Parameters
    ----------
    reader
        Whose queue.
    mine
        Items that the reader has answered instead of those they have not.
    states, labels
        Words of `STATES`, label keys; all labels where empty.
    direction, patient
        One direction, one patient, or None.
    order
        Of `ORDERS`.
    """

    reader: str
    mine: bool
    states: tuple[str, ...]
    labels: tuple[str, ...]
    direction: str | None
    patient: int | None
    order: str


def items(flags: Flags, marks: Marks, wanted: Wanted) -> np.ndarray:
    """Give the items that are offered, in order: of each its most suspect flag that the filter lets through.

    An item is offered where one of its flags passes every filter and none is answered by the reader; with `mine` where
    one is.

    Returns
    -------
    ndarray
        int64, places among the flags.
    """
    columns, label = flags.columns, flags.columns["label_id"]
    asked = np.ones(len(flags.keys), np.bool_)
    if wanted.labels:
        asked = np.isin(np.arange(len(flags.keys)), [flags.keys.index(key) for key in wanted.labels])
        together = np.isin(flags.group_of_label, flags.group_of_label[asked])
        rows = np.flatnonzero(together[label])
    else:
        rows = np.arange(len(label))
    if wanted.patient is not None:
        rows = rows[columns["patient_id"][rows] == wanted.patient]
    states = np.isin(np.arange(len(STATES)), [STATES.index(state) for state in wanted.states])
    passes = states[marks.state[rows]] & asked[label[rows]]
    if wanted.direction is not None:
        passes &= columns["direction"][rows] == wanted.direction
    item = flags.item[rows]
    answered = np.isin(item, item[marks.read_by(flags, wanted.reader)[rows]])
    offered = np.flatnonzero(passes & (answered == wanted.mine))
    _, first = np.unique(item[offered], return_index=True)  # flags are in order of suspicion: the first is the best
    best: np.ndarray = rows[offered[np.sort(first)]]
    ordered: np.ndarray = best[_order(flags, best, wanted.order)]
    return ordered


def _order(flags: Flags, best: np.ndarray, order: str) -> np.ndarray:
    columns = flags.columns
    placed: np.ndarray = np.arange(len(best))
    if order == "patient" and len(best):
        patients, inverse = np.unique(columns["patient_id"][best], return_inverse=True)
        leading = np.full(len(patients), len(flags.pair), np.int64)
        np.minimum.at(leading, inverse, best)
        keys = (best, columns["stay_id"][best], columns["visit"][best], patients[inverse], leading[inverse])
        placed = np.lexsort(keys)
    elif order == "label":
        placed = np.lexsort((best, flags.group[best]))
    return placed
