"""What changed between rounds, and where a group's scores are cut."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store import round_changes as module
from audit_store.round_changes import COUNTS, _compare, round_changes
from audit_store.round_reader import RoundFile
from audit_store.round_scores import PartRange, cuts, part_ranges
from audit_store.rounds import open_round
from audit_store.schema import PARTITIONS
from tests.audit_store.conftest import Site

KEYS = ["shock", "septicemia", "pneumonia"]


class Tiny:
    """A round of a few pairs in memory, with the two doors that a comparison uses."""

    def __init__(self, round_id: int, pairs: pd.DataFrame, keys: list[str], metrics: dict[str, float]) -> None:
        import duckdb

        self.connection = duckdb.connect()
        self.connection.register("pair", pa.Table.from_pandas(pairs, preserve_index=False))
        self.digest = {"blake2b": f"{round_id}-{id(self)}"}
        self.info = SimpleNamespace(round_id=round_id, cohort_fingerprint="same")
        self.label_ids = {key: number for number, key in enumerate(keys)}
        self.label_names = {key: key.title() for key in keys}
        self.n_pairs = len(pairs)
        self.metrics = metrics

    def arrow(self, query: str, tables: dict[str, pa.Table] | None = None) -> pa.Table:
        for name, table in (tables or {}).items():
            self.connection.register(name, table)
        return self.connection.sql(query).to_arrow_table()

    def epochs(self) -> pd.DataFrame:
        return pd.DataFrame([{"epoch": 1, **dict.fromkeys(self.metrics, 0.1)}, {"epoch": 2, **self.metrics}])


COLUMNS = ["stay_id", "label_id", "partition", "flagged", "suggested", "given", "observed"]


def tiny(round_id: int, rows: list[tuple[Any, ...]], keys: list[str] = KEYS, **metrics: float) -> Any:
    frame = pd.DataFrame(rows, columns=COLUMNS)
    kinds = {"stay_id": "int64", "label_id": "int16", "flagged": bool, "suggested": "uint8", "given": "float32"}
    return Tiny(round_id, frame.astype({**kinds, "observed": "uint8", "partition": object}), keys, metrics)


def test_by_hand_six_pairs_settle_stay_leave_come_and_change_their_suggestion() -> None:
    before = tiny(
        1,
        [
            (10, 0, "noisy", True, 1, 0.0, 0),  # flagged, then settled against the record
            (11, 0, "noisy", True, 1, 0.0, 0),  # flagged, then settled as recorded
            (12, 0, "noisy", True, 0, 1.0, 1),  # still flagged
            (13, 1, "uncertain", True, 1, 0.0, 0),  # flagged, then no longer suspect; the suggestion goes back
            (14, 1, "clean", False, 0, 0.0, 0),  # newly flagged, with a suggestion
            (15, 1, "locked", False, 1, 1.0, 0),  # settled before, taken back since
            (16, 1, "clean", False, 0, 0.0, 0),  # not in the later round
        ],
        test_map=0.40,
        test_f1_macro=0.30,
    )
    after = tiny(
        2,
        [
            (10, 0, "locked", False, 1, 1.0, 0),
            (11, 0, "locked", False, 0, 0.0, 0),
            (12, 0, "noisy", True, 0, 1.0, 1),
            (13, 1, "clean", False, 0, 0.0, 0),
            (14, 1, "noisy", True, 1, 0.0, 0),
            (15, 1, "clean", False, 0, 0.0, 0),
            (99, 1, "clean", False, 0, 0.0, 0),  # new
        ],
        test_map=0.45,
        test_auroc_macro=0.7,
    )
    found = _compare(before, after)
    assert (found.pairs, found.only_before, found.only_after) == (6, 1, 1)
    assert found.totals == {
        "suggestion_changed": 2,
        "to_present": 1,
        "to_absent": 1,
        "flags_left_decided": 2,
        "flags_left": 1,
        "flags_stayed": 1,
        "flags_came": 1,
        "locked_since": 2,
        "locked_as_recorded": 1,
        "locked_changed": 1,
        "unlocked": 1,
    }
    by_label = found.labels.set_index("label_key")
    assert by_label.loc["shock", ["pairs", "locked_since", "flags_came"]].tolist() == [3, 2, 0]
    assert by_label.loc["septicemia", ["pairs", "locked_since", "flags_came"]].tolist() == [3, 0, 1]
    assert by_label.loc["pneumonia", ["pairs", *COUNTS]].sum() == 0
    moves = {(row.before, row.after): row.n for row in found.transitions.itertuples() if row.n}
    assert moves == {
        ("noisy", "locked"): 2,
        ("noisy", "noisy"): 1,
        ("uncertain", "clean"): 1,
        ("clean", "noisy"): 1,
        ("locked", "clean"): 1,
    }
    assert found.metrics["metric"].tolist() == ["mean average precision"]
    assert found.metrics["difference"].tolist() == pytest.approx([0.05])


def test_rounds_whose_labels_are_numbered_otherwise_are_matched_by_key() -> None:
    before = tiny(1, [(10, 0, "noisy", True, 1, 0.0, 0), (10, 1, "clean", False, 0, 0.0, 0)], ["shock", "gone"])
    after = tiny(2, [(10, 1, "noisy", True, 1, 0.0, 0), (10, 0, "clean", False, 0, 0.0, 0)], ["new", "shock"])
    found = _compare(before, after)
    assert (found.pairs, found.only_before, found.only_after) == (1, 1, 1)
    assert found.labels.set_index("label_key").loc["shock", "flags_stayed"] == 1


def test_rounds_with_no_pair_in_common_have_nothing_but_zeros() -> None:
    found = _compare(tiny(1, [(1, 0, "clean", False, 0, 0.0, 0)]), tiny(2, [(2, 0, "clean", False, 0, 0.0, 0)]))
    assert (found.pairs, found.only_before, found.only_after) == (0, 1, 1)
    assert set(found.totals.values()) == {0}
    assert found.transitions["n"].sum() == 0


PAIR = st.tuples(st.sampled_from(PARTITIONS), st.booleans(), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1))
ROUND = st.dictionaries(st.tuples(st.integers(1, 6), st.integers(0, 2)), PAIR, max_size=18)


def rows_of(pairs: dict[tuple[int, int], tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [
        (stay, label, part, flag, sug, float(giv), obs) for (stay, label), (part, flag, sug, giv, obs) in pairs.items()
    ]


@settings(max_examples=25, deadline=None)
@given(old=ROUND, new=ROUND)
def test_the_cube_counts_what_a_naive_merge_counts(old: dict[Any, Any], new: dict[Any, Any]) -> None:
    found = _compare(tiny(1, rows_of(old)), tiny(2, rows_of(new)))
    both = [key for key in old if key in new]
    naive = dict.fromkeys(COUNTS, 0)
    moves: dict[tuple[str, str], int] = {}
    for key in both:
        (p0, f0, s0, _, _), (p1, f1, s1, giv, obs) = old[key], new[key]
        moves[p0, p1] = moves.get((p0, p1), 0) + 1
        open_ = p0 != "locked" and p1 != "locked"
        since = p1 == "locked" and p0 != "locked"
        for name, holds in {
            "suggestion_changed": open_ and s0 != s1,
            "to_present": open_ and (s0, s1) == (0, 1),
            "to_absent": open_ and (s0, s1) == (1, 0),
            "flags_left_decided": f0 and not f1 and p1 == "locked",
            "flags_left": f0 and not f1 and p1 != "locked",
            "flags_stayed": f0 and f1,
            "flags_came": f1 and not f0,
            "locked_since": since,
            "locked_as_recorded": since and giv == obs,
            "locked_changed": since and giv != obs,
            "unlocked": p0 == "locked" and p1 != "locked",
        }.items():
            naive[name] += holds
    assert found.totals == naive
    assert (found.pairs, found.only_before, found.only_after) == (len(both), len(old) - len(both), len(new) - len(both))
    assert {(row.before, row.after): row.n for row in found.transitions.itertuples() if row.n} == moves
    assert found.labels[list(COUNTS)].sum().to_dict() == naive


@pytest.fixture
def two(make_site: Callable[..., Site]) -> tuple[Site, RoundFile, RoundFile]:
    site = make_site(n_stays=12, n_labels=4)
    site.publish(2, seed=5)
    return site, open_round(site.workspace, 1), open_round(site.workspace, 2)


def test_real_round_files_are_compared_once_and_the_answer_is_kept(
    two: tuple[Site, RoundFile, RoundFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before, after = two
    found = round_changes(before, after)
    assert found.pairs == before.n_pairs == after.n_pairs
    assert found.totals["flags_stayed"] + found.totals["flags_came"] == after.n_flagged
    monkeypatch.setattr(module, "_compare", lambda *_: pytest.fail("compared again"))
    assert round_changes(before, after) is found


def test_part_ranges_hold_every_pair_of_the_group_and_cuts_lie_between_parts(
    two: tuple[Site, RoundFile, RoundFile],
) -> None:
    _, round_file, _ = two
    key = next(iter(round_file.label_ids))
    ranges = part_ranges(round_file, key, 0)
    counted = round_file.partition_counts()
    held = counted[(counted["label_key"] == key) & (counted["observed"] == 0)]
    assert {item.part: item.n for item in ranges} == dict(zip(held["partition"], held["n"], strict=True))


def test_a_cut_is_half_way_and_parts_that_overlap_or_are_settled_have_none() -> None:
    apart = [PartRange("clean", 3, 0.0, 0.2), PartRange("uncertain", 2, 0.4, 0.5), PartRange("locked", 1, 0.0, 0.9)]
    assert [(cut.at, cut.below, cut.above) for cut in cuts(apart)] == [(pytest.approx(0.3), "clean", "uncertain")]
    assert cuts([PartRange("clean", 3, 0.0, 0.5), PartRange("noisy", 2, 0.4, 0.9)]) == []
    assert cuts([]) == []
