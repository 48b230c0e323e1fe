"""Which pairs are read by chance: the random audit and the controls of a round, with their inclusion probabilities.

Each pair has one permanent random number per round and stream. A stratum's sample of size n_h is its n_h lowest
numbers, so what was drawn of it so far, always the lowest, is itself a simple random sample (Ohlsson 1995).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from audit_store.database import Store
from audit_store.fileio import blake
from audit_store.protocol import Protocol, Terms
from audit_store.round_reader import RoundFile

ItemKey = tuple[int, int]
"""A stay, and the lowest label_id of the labels decided together (the label's own where it is decided alone)."""

PLANS_KEPT = 4
LEAST_PART = 1 / 3  # of the largest stratum's weight: rare labels' positives get at least this part of its sample
CONTROL_FLOOR = 1 / 4  # of a label's flags, added to each of its two strata's weights
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Stream:
    """A sample in the order in which it is drawn.

    Parameters
    ----------
    stay_id, label_id
        int64 and int16 [n]: the pairs.
    item
        Item of each pair.
    sampled
        Stratum and inclusion probability of each pair of the sample.
    """

    stay_id: npt.NDArray[np.int64]
    label_id: npt.NDArray[np.int16]
    item: list[ItemKey]
    sampled: dict[ItemKey, tuple[str, float]]


@dataclass(frozen=True)
class Plan:
    """What is to be read of a round under a protocol.

    Parameters
    ----------
    total
        Items to read in all, by the budget or until the flags are read.
    audit, control
        The two samples.
    flags
        Flagged items, most suspect first, without those that the audit reads.
    strata
        stream, stratum, label_key, observed, pairs (N_h), planned (n_h), inclusion_probability.
    """

    total: int
    audit: Stream
    control: Stream
    flags: list[ItemKey]
    strata: pd.DataFrame


@dataclass(frozen=True)
class _Frame:
    """All stated pairs of a round, one row each."""

    stay_id: npt.NDArray[np.int64]
    label_id: npt.NDArray[np.int16]
    group_id: npt.NDArray[np.int16]
    observed: npt.NDArray[np.uint8]
    train: npt.NDArray[np.bool_]
    flagged: npt.NDArray[np.bool_]

    @property
    def stratum(self) -> npt.NDArray[np.int64]:
        """Twice the label's number, plus the recorded value."""
        return self.label_id.astype(np.int64) * 2 + self.observed


def splitmix64(values: U64) -> U64:
    """Scramble 64-bit numbers, one to one (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = values + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def random_numbers(seed: int, stay_id: npt.NDArray[np.int64], label_id: npt.NDArray[np.int16]) -> U64:
    """Give each pair its permanent random number, uint64 [n]: the same for the same seed, stay and label."""
    with np.errstate(over="ignore"):
        stays = splitmix64(stay_id.astype(np.int64).view(np.uint64) ^ np.uint64(seed))
        return splitmix64(stays + splitmix64(label_id.astype(np.uint64)))


def stream_seed(secret: bytes, round_id: int, stream: str) -> int:
    """Seed of a round's stream: 64 bits keyed with the workspace's secret, so that nobody can foresee a sample."""
    return int(blake(f"round {round_id}", stream, size=8, key=secret), 16)


def draw_order(sizes: npt.NDArray[np.int64], weight: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.int64]:
    """In which stratum each of n draws falls, int64 [min(n, sum of sizes)].

    The draws go to the strata in proportion to their weights by Sainte-Laguë's divisors, until one is used up. The
    order for a larger n begins with that for a smaller one, so samples of growing size lie within one another.
    """
    most = np.minimum(sizes, n)
    stratum = np.repeat(np.arange(len(sizes)), most)
    turn = np.arange(len(stratum)) - np.repeat(np.cumsum(most) - most, most)
    return stratum[np.lexsort((stratum, (turn + 0.5) / weight[stratum]))[:n]]


def lowest(
    numbers: U64, stratum: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Places of each stratum's lowest random numbers, in their order; `wanted` of each of its `sizes` members."""
    order = np.argsort(stratum.astype(np.int16), kind="stable")
    ends = np.cumsum(sizes)
    found = []
    for end, size, n in zip(ends.tolist(), sizes.tolist(), wanted.tolist(), strict=True):
        members = order[end - size : end]
        if n < size:
            members = members[np.argpartition(numbers[members], n)[:n]]
        found.append(members[np.argsort(numbers[members], kind="stable")])
    return found


def items_to_read(terms: Terms, flagged_items: int) -> int:
    """Items to read of a round: the budget, or as many as it takes to read every flag at the protocol's shares."""
    if terms.budget is not None:
        return terms.budget
    return max(terms.batch_size, math.ceil(flagged_items / terms.flag_share))


def plan(store: Store, round_file: RoundFile, protocol: Protocol) -> Plan:
    """Plan the reading of a round under a protocol; the same workspace, round and terms give the same plan.

    The plan is made once and kept in memory: about half a second for 1.5 million pairs.
    """
    key = (round_file.info.round_id, round_file.digest["blake2b"], protocol.terms)
    with store.memory_lock:
        kept: dict[tuple[int, str, Terms], Plan] = store.memory.setdefault("plans", {})
        if key not in kept:
            made = _plan(store.workspace.secret, round_file, protocol.terms)
            while len(kept) >= PLANS_KEPT:
                kept.pop(next(iter(kept)))
            kept[key] = made
        return kept[key]


def group_ids(round_file: RoundFile) -> npt.NDArray[np.int16]:
    """Lowest label_id of the labels that each is decided with, int16 by label_id."""
    numbers = round_file.label_ids
    first = np.arange(max(numbers.values(), default=-1) + 1, dtype=np.int16)
    for keys in round_file.label_groups.values():
        first[[numbers[key] for key in keys]] = min(numbers[key] for key in keys)
    return first


def _plan(secret: bytes, round_file: RoundFile, terms: Terms) -> Plan:
    frame = _frame(round_file)
    flags = _flagged_items(round_file)
    total = items_to_read(terms, len(flags))
    round_id = round_file.info.round_id
    names = [f"{key}|{value}" for key in round_file.label_ids for value in (0, 1)]
    everything = np.ones(len(frame.stay_id), dtype=bool)
    sizes = np.bincount(frame.stratum, minlength=len(names))
    roots = np.sqrt(sizes)
    audit, audit_strata = _sample(
        frame,
        everything,
        np.maximum(roots, LEAST_PART * roots.max(initial=0.0)),
        math.ceil(round(terms.audit_share * total, 6)),
        stream_seed(secret, round_id, "random_audit"),
        names,
    )
    in_audit = set(audit.item)
    control, control_strata = _sample(
        frame,
        _may_be_control(frame, audit, stream_seed(secret, round_id, "items")),
        _control_weight(frame, len(names)),
        math.ceil(round(terms.control_share * total, 6)),
        stream_seed(secret, round_id, "control"),
        names,
    )
    strata = pd.concat([audit_strata.assign(stream="random_audit"), control_strata.assign(stream="control")])
    return Plan(total, audit, control, [item for item in flags if item not in in_audit], strata.reset_index(drop=True))


def _frame(round_file: RoundFile) -> _Frame:
    pairs = round_file.arrow("SELECT stay_id, label_id, observed, split = 'train' AS train, flagged FROM pair")
    label_id = pairs["label_id"].to_numpy()
    return _Frame(
        pairs["stay_id"].to_numpy(),
        label_id,
        group_ids(round_file)[label_id],
        pairs["observed"].to_numpy(),
        pairs["train"].to_numpy(),
        pairs["flagged"].to_numpy(),
    )


def _flagged_items(round_file: RoundFile) -> list[ItemKey]:
    """List flagged items by their most suspect pair."""
    first = group_ids(round_file)
    rows = round_file.arrow("SELECT stay_id, label_id FROM flag ORDER BY suspicion_rank")
    groups = first[rows["label_id"].to_numpy()].tolist()
    return list(dict.fromkeys(zip(rows["stay_id"].to_pylist(), groups, strict=True)))


def _may_be_control(frame: _Frame, audit: Stream, seed: int) -> npt.NDArray[np.bool_]:
    """Train pairs of labels with flags, in items without a flag and not in the audit."""
    with_flags = np.zeros(int(frame.label_id.max(initial=-1)) + 1, dtype=bool)
    with_flags[frame.label_id[frame.flagged]] = True
    free = frame.train & ~frame.flagged & with_flags[frame.label_id]
    items = random_numbers(seed, frame.stay_id, frame.group_id)  # 64 bits name an item; a clash is one in 10 million
    if audit.item:
        stays, groups = (np.array(column) for column in zip(*audit.item, strict=True))
        audited = random_numbers(seed, stays.astype(np.int64), groups.astype(np.int16))
    else:
        audited = np.zeros(0, dtype=np.uint64)
    taken = np.unique(np.concatenate([items[frame.flagged], audited]))
    if len(taken):
        place = np.searchsorted(taken, items[free])
        free[free] = taken[np.minimum(place, len(taken) - 1)] != items[free]
    return free


def _control_weight(frame: _Frame, n_strata: int) -> npt.NDArray[np.float64]:
    """In proportion to the flags of the label and recorded value, so that a batch's controls look like its flags."""
    flags = np.bincount(frame.stratum[frame.flagged], minlength=n_strata).reshape(-1, 2).astype(np.float64)
    return np.asarray(flags + CONTROL_FLOOR * flags.sum(axis=1, keepdims=True), dtype=np.float64).ravel()


def _sample(
    frame: _Frame,
    among: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    n: int,
    seed: int,
    names: list[str],
) -> tuple[Stream, pd.DataFrame]:
    rows = np.flatnonzero(among)
    stratum = frame.stratum[rows]
    sizes = np.bincount(stratum, minlength=len(names))
    turns = draw_order(sizes, weight, n)
    wanted = np.bincount(turns, minlength=len(names))
    numbers = random_numbers(seed, frame.stay_id[rows], frame.label_id[rows])
    places = np.zeros(len(turns), dtype=np.int64)
    for number, members in enumerate(lowest(numbers, stratum, sizes, wanted)):
        places[turns == number] = rows[members]
    stay_id, label_id = frame.stay_id[places], frame.label_id[places]
    share = np.divide(wanted, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
    item = list(zip(stay_id.tolist(), frame.group_id[places].tolist(), strict=True))
    told = [(names[number], float(share[number])) for number in turns.tolist()]
    sampled = dict(zip(zip(stay_id.tolist(), label_id.tolist(), strict=True), told, strict=True))
    strata = pd.DataFrame(
        {
            "stratum": names,
            "label_key": [name.rpartition("|")[0] for name in names],
            "observed": [int(name[-1]) for name in names],
            "pairs": sizes,
            "planned": wanted,
            "inclusion_probability": share,
        }
    )
    return Stream(stay_id, label_id, item, sampled), strata
