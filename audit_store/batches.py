"""Drawing a batch: flags, second readings, controls and the random audit in the protocol's shares, in chance order.

Everything is checked inside the write transaction, so two people who draw at once never get the same flag. Nobody is
given a pair that they have answered, in whatever round, or hold in another batch.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from audit_store import tables
from audit_store.assignments import ROW_FIELDS, assigned, expanded, of_round
from audit_store.batch_lists import (
    Batch,
    Pace,
    assign_batch,
    batch_items,
    batch_of,
    batches_for,
    list_batches,
    open_batch_of,
    pace,
    reader_of,
    take_batch,
)
from audit_store.database import Store
from audit_store.errors import DecisionError
from audit_store.ledger import append, projected
from audit_store.protocol import LARGEST_BATCH, Protocol, Terms, current_in, current_protocol
from audit_store.roles import PERMISSIONS, Person, require, require_now
from audit_store.round_reader import RoundFile
from audit_store.sampling import ItemKey, Plan, Stream, group_ids, plan, random_numbers, stream_seed
from audit_store.states import snapshot
from audit_store.tables import BATCH_KINDS, PURPOSES

__all__ = [
    "BATCH_KINDS",
    "Batch",
    "Pace",
    "assign_batch",
    "batch_items",
    "batches_for",
    "composition",
    "draw_batch",
    "list_batches",
    "open_batch_of",
    "pace",
    "take_batch",
]

_ONLY = {"second_reading": "double_review", "random_audit": "random_audit", "controls": "control", "flags": "flag"}


def composition(terms: Terms, size: int | None = None) -> dict[str, int]:
    """How many of a mixed batch's items are of each purpose (of `tables.PURPOSES`), by largest remainders."""
    n = terms.batch_size if size is None else size
    shares = {
        "random_audit": terms.audit_share,
        "control": terms.control_share,
        "double_review": terms.double_share,
        "flag": terms.flag_share,
    }
    exact = {name: round(share * n, 9) for name, share in shares.items()}
    parts = {name: int(value) for name, value in exact.items()}
    rest = sorted(parts, key=lambda name: parts[name] - exact[name])
    for name in rest[: n - sum(parts.values())]:
        parts[name] += 1
    return {name: parts[name] for name in PURPOSES}


def draw_batch(
    store: Store,
    person: Person,
    round_file: RoundFile,
    *,
    reader: str | None = None,
    labels: tuple[str, ...] = (),
    kind: str = "mixed",
    size: int | None = None,
    unassigned: bool = False,
) -> Batch | None:
    """Draw a batch of a round, for oneself, another reader, or nobody yet.

    Parameters
    ----------
    store, person, round_file
        Where, who draws, and from which round.
    reader
        Who is to read it; None for oneself. Others' batches take the right to assign.
    labels
        Label keys to keep to; all where empty.
    kind
        ``mixed`` (the protocol's shares), or one purpose alone: ``second_reading``, ``random_audit``, ``controls``,
        ``flags``; those take the right to assign, since a reader would know what the pairs are.
    size
        Items, 1–500; None for the protocol's.
    unassigned
        Draw it for nobody yet, so that a reader can take it. So are batches of one kind where `reader` is None.

    Returns
    -------
    Batch or None
        None when nothing is left to draw, or the protocol's budget is spent. A batch is shorter where little is left.

    Raises
    ------
    DecisionError
        When no protocol is signed, or an argument is not among those allowed.
    AccessError
        When a role does not allow it.
    """
    _check(round_file, labels, kind, size)
    may_assign = "assign" in PERMISSIONS.get(person.role, frozenset())
    nobody = unassigned or (reader is None and kind != "mixed" and may_assign)
    who = None if nobody else (person.name if reader is None else reader)
    own = who == person.name
    action = "decide" if own and (kind == "mixed" or may_assign) else "assign"
    require(person, action)
    signed = current_protocol(store)
    if signed is not None:
        # What takes long is read before the store is locked; what is new since then is little.
        plan(store, round_file, signed)
        assigned(store)
        snapshot(store)
    with store.writing() as connection:
        require_now(connection, person, action)
        if who is not None:
            reader_of(connection, who)
        protocol = current_in(connection)
        if protocol is None:
            raise DecisionError("a signed protocol", "none yet", "a steward signs one on the page Protocol")
        draw = _Draw(store, round_file, protocol, who, labels)
        picked = draw.pick(kind, size or protocol.terms.batch_size)
        if not picked:
            return None
        name = f"{round_file.info.round_id}-{draw.batches + 1}"
        rows = draw.rows(picked, stream_seed(store.workspace.secret, round_file.info.round_id, f"places {name}"))
        _write(connection, person, rows, name, who, kind, round_file.info.round_id, protocol)
    return batch_of(store, round_file.info.round_id, name, who)


def _check(round_file: RoundFile, labels: tuple[str, ...], kind: str, size: int | None) -> None:
    if kind not in BATCH_KINDS:
        raise DecisionError(f"a kind of {', '.join(BATCH_KINDS)}", "another word", "pick one of them")
    if size is not None and not 1 <= size <= LARGEST_BATCH:
        raise DecisionError(f"a batch of 1–{LARGEST_BATCH} pairs", "another size", "change the size")
    unknown = [key for key in labels if key not in round_file.label_ids]
    if unknown:
        raise DecisionError("labels of this round", f"{len(unknown)} others", "pick among the round's labels")


def _write(
    connection: Connection,
    actor: Person,
    rows: list[dict[str, Any]],
    name: str,
    who: str | None,
    kind: str,
    round_id: int,
    protocol: Protocol,
) -> None:
    data = {
        "batch": name,
        "round_id": round_id,
        "person": who,
        "kind": kind,
        "size": len({row["position"] for row in rows}),
        "blind": protocol.terms.blind,
        "protocol_hash": protocol.hash,
        "rows": [[row[field] for field in ROW_FIELDS] for row in rows],
    }
    event = append(connection, "batch", actor.name, data)
    written = [projected(row, tables.assignment) for row in expanded(event)]
    connection.execute(tables.assignment.insert(), written)


@dataclass(frozen=True)
class _Picked:
    item: ItemKey
    purpose: str


class _Draw:
    """What can be drawn of a round at this moment, inside a write transaction."""

    def __init__(
        self, store: Store, round_file: RoundFile, protocol: Protocol, who: str | None, labels: tuple[str, ...]
    ) -> None:
        self.round_file, self.terms, self.who = round_file, protocol.terms, who
        self.plan: Plan = plan(store, round_file, protocol)
        self.seed = stream_seed(store.workspace.secret, round_file.info.round_id, "second readings")
        first = group_ids(round_file).tolist()
        numbers = round_file.label_ids
        self.keys: dict[int, list[str]] = {}
        for key, number in numbers.items():
            self.keys.setdefault(first[number], []).append(key)
        self.groups = {first[numbers[key]] for key in labels} or set(self.keys)
        group_of = {key: first[number] for key, number in numbers.items()}
        rows = of_round(store, round_file.info.round_id)
        self.given = len(set(zip(rows["batch"].to_pylist(), rows["position"].to_pylist(), strict=True)))
        self.batches = len(rows["batch"].unique())
        self.purposes: dict[ItemKey, set[str]] = {}
        self.readers: dict[ItemKey, set[str]] = {}
        self.said: set[ItemKey] = set()
        columns = (rows[name].to_pylist() for name in ("stay_id", "label_key", "person", "purpose"))
        for stay, key, person, purpose in zip(*columns, strict=True):
            item = (stay, group_of[key])
            self.purposes.setdefault(item, set()).add(purpose)
            if person is not None:
                self.readers.setdefault(item, set()).add(person)
        states, standing = snapshot(store).states, snapshot(store).standing
        for stay, key in zip(states["stay_id"].to_pylist(), states["label_key"].to_pylist(), strict=True):
            if key in group_of:
                self.said.add((stay, group_of[key]))
        columns = (standing[name].to_pylist() for name in ("stay_id", "label_key", "reviewer"))
        for stay, key, person in zip(*columns, strict=True):
            if key in group_of:
                self.readers.setdefault((stay, group_of[key]), set()).add(person)

    def pick(self, kind: str, size: int) -> list[_Picked]:
        """Choose a batch's items: none twice, none that the reader has answered or holds."""
        budget = self.terms.budget
        n = size if budget is None else min(size, max(budget - self.given, 0))
        if kind != "mixed":
            return self._take(_ONLY[kind], n, [])
        parts = composition(self.terms, n)
        twice = math.ceil(round(self.terms.double_share * self.plan.total, 6))
        done = sum("double_review" in purposes for purposes in self.purposes.values())
        parts["double_review"] = min(parts["double_review"], max(twice - done, 0))
        picked: list[_Picked] = []
        for purpose in ("random_audit", "double_review"):
            picked += self._take(purpose, parts[purpose], picked)
        missing = n - len(picked) - parts["control"]
        flags = self._take("flag", missing, picked)
        picked += flags
        if flags:  # controls have something to be taken for
            picked += self._take("control", parts["control"], picked)
            picked += self._take("flag", n - len(picked), picked)
        return picked + self._take("random_audit", n - len(picked), picked)

    def _take(self, purpose: str, n: int, picked: Sequence[_Picked]) -> list[_Picked]:
        """Take the first n items of a purpose's order that may be given."""
        chosen = {one.item for one in picked}
        found: list[_Picked] = []
        if n <= 0:
            return found
        for item in self._candidates(purpose):
            if item[1] in self.groups and item not in chosen and not self._mine(item):
                chosen.add(item)
                found.append(_Picked(item, purpose))
                if len(found) == n:
                    break
        return found

    def _mine(self, item: ItemKey) -> bool:
        return self.who is not None and self.who in self.readers.get(item, ())

    def _candidates(self, purpose: str) -> Iterable[ItemKey]:
        if purpose == "flag":
            return (i for i in self.plan.flags if i not in self.purposes and i not in self.said)
        if purpose == "double_review":
            return self._second_readings()
        stream = self.plan.audit if purpose == "random_audit" else self.plan.control
        return (i for i in stream.item if purpose not in self.purposes.get(i, ()))

    def _second_readings(self) -> list[ItemKey]:
        """Items with one reader so far, those answered first, in chance order; audit pairs once they were drawn."""
        waiting = {i for i in self.plan.audit.item if "random_audit" not in self.purposes.get(i, ())}
        ours = self.purposes.keys() | set(self.plan.flags)
        once = [i for i, readers in self.readers.items() if len(readers) == 1 and i in ours and i not in waiting]
        if not once:
            return []
        stays, groups = (np.array(column) for column in zip(*once, strict=True))
        chance = random_numbers(self.seed, stays.astype(np.int64), groups.astype(np.int16)).tolist()
        return [i for _, _, i in sorted(zip((i not in self.said for i in once), chance, once, strict=True))]

    def rows(self, picked: list[_Picked], seed: int) -> list[dict[str, Any]]:
        """Spell items out into rows of `assignment`, in positions of chance."""
        places = np.random.default_rng(seed).permutation(len(picked)) + 1
        streams: dict[str, Stream] = {"random_audit": self.plan.audit, "control": self.plan.control}
        found = []
        for one, position in sorted(zip(picked, places.tolist(), strict=True), key=lambda pair: pair[1]):
            stay, group = one.item
            for key in self.keys[group]:
                stream = streams.get(one.purpose)
                told = stream.sampled.get((stay, self.round_file.label_ids[key])) if stream else None
                stratum, share = told or (None, None)
                values = (stay, key, position, one.purpose, stratum, share)
                found.append(dict(zip(ROW_FIELDS, values, strict=True)))
        return found
