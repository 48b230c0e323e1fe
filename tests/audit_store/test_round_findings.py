"""What a round says beyond its pairs: detectors, calibration, expected harm, comparison; and older rounds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.detectors import WIDE, keep_agreement, keep_scores
from audit_store.errors import RoundError
from audit_store.fileio import file_digest
from audit_store.round_findings import agreement
from audit_store.rounds import RoundFile, open_round, write_round
from audit_store.schema import COMPARISON, HARM

from .conftest import Site, round_info

MakeSite = Callable[..., Site]


def harm_row(**more: Any) -> dict[str, Any]:
    row = {
        "label_id": 0,
        "direction": "false_negative",
        "pairs": 30,
        "changed": 4,
        "expected_better": 3.2,
        "expected_worse": 0.8,
        "expected_error_before": 6.0,
        "expected_error_after": 3.6,
        "left_alone": False,
        "reason": None,
    }
    return {**row, **more}


def harm(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=HARM)


def comparison(**more: Any) -> pa.Table:
    row = {
        "metric": "map",
        "with_decisions": 0.42,
        "without_decisions": 0.4,
        "difference": 0.02,
        "low": -0.01,
        "high": 0.05,
        "n_patients": 12,
        "note": None,
    }
    return pa.Table.from_pylist([{**row, **more}], schema=COMPARISON)


def kept(scores: pa.Table, observed: list[int]) -> duckdb.DuckDBPyConnection:
    """An in-memory round with one label, the stays 0, 1, 2 … and these scores."""
    connection = duckdb.connect()
    stays = np.arange(len(observed), dtype=np.int64)
    pair = pa.table({"stay_id": stays, "label_id": np.zeros(len(stays), np.int16), "observed": observed})
    connection.register("given_pair", pair)
    connection.execute("CREATE TABLE pair AS SELECT * FROM given_pair").fetchall()
    connection.register("staged", scores)
    keep_scores(connection, scores.schema)
    return connection


class Loose:
    """The methods of a round file that places are read with, on a bare connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def columns(self, table: str) -> tuple[str, ...]:
        return tuple(row[0] for row in self.connection.execute(f"DESCRIBE {table}").fetchall())

    def rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()

    def arrow(self, query: str, tables: None = None, values: Any = ()) -> pa.Table:
        return self.connection.sql(query, params=values).to_arrow_table()


def places(connection: duckdb.DuckDBPyConnection, stay: int) -> dict[str, tuple[int, int, float]]:
    from audit_store.detectors import places as read

    return {p.name: (p.place, p.n, p.percentile) for p in read(Loose(connection), stay, 0)}  # type: ignore[arg-type]


def wide(**columns: list[float | None]) -> pa.Table:
    n = len(next(iter(columns.values())))
    return pa.table(
        {
            "stay_id": np.arange(n, dtype=np.int64),
            "label_id": np.zeros(n, np.int16),
            **{name: pa.array(values, pa.float32()) for name, values in columns.items()},
        }
    )


def test_a_place_is_counted_within_the_recorded_value_and_ties_share_their_percentile() -> None:
    connection = kept(wide(loss=[0.9, 0.5, 0.5, 0.1, 9.0]), [1, 1, 1, 1, 0])
    assert places(connection, 0) == {"loss": (1, 4, 0.875)}
    assert places(connection, 1) == {"loss": (2, 4, 0.5)}
    assert places(connection, 3) == {"loss": (4, 4, 0.125)}
    assert places(connection, 4) == {"loss": (1, 1, 0.5)}


def test_a_pair_without_a_score_has_no_place_and_does_not_count_in_the_group() -> None:
    connection = kept(wide(loss=[0.9, 0.1, 0.2], visits=[None, 1.0, 0.0]), [0, 0, 0])
    assert places(connection, 0) == {"loss": (1, 3, 5 / 6)}
    assert places(connection, 1)["visits"] == (1, 2, 0.75)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1]), st.none() | st.floats(-3, 3, width=16), st.floats(-3, 3, width=32)),
        min_size=1,
        max_size=25,
    )
)
def test_places_are_what_a_loop_over_the_group_counts(rows: list[tuple[int, float | None, float]]) -> None:
    observed = [row[0] for row in rows]
    columns = {"a": [row[1] for row in rows], "b": [row[2] for row in rows]}
    connection = kept(wide(**columns), observed)
    for stay in range(0, len(rows), 5):
        expected = {}
        for name, scores in columns.items():
            mine = scores[stay]
            if mine is None:
                continue
            group = [s for s, c in zip(scores, observed, strict=True) if c == observed[stay] and s is not None]
            above, same = sum(s > mine for s in group), sum(s == mine for s in group)
            expected[name] = (above + 1, len(group), (len(group) - above - same / 2) / len(group))
        assert places(connection, stay) == expected


def test_a_row_per_detector_and_a_column_per_detector_give_the_same_table_and_view() -> None:
    given_wide = wide(loss=[0.9, 0.1, 0.2], visits=[None, 1.0, 0.0])
    long = pa.table(
        {
            "stay_id": [0, 1, 2, 1, 2],
            "label_id": [0] * 5,
            "detector": ["loss"] * 3 + ["visits"] * 2,
            "score": [0.9, 0.1, 0.2, 1.0, 0.0],
        }
    )
    one, two = kept(given_wide, [0, 0, 1]), kept(long, [0, 0, 1])
    for name in (WIDE, "detector_score"):
        query = f"SELECT * FROM {name} ORDER BY ALL"
        assert one.execute(query).fetchall() == two.execute(query).fetchall()
    assert one.execute("SELECT count(*) FROM detector_score").fetchall() == [(5,)]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (wide(Loss=[0.1]), "lower case"),
        (wide(**{'x"; DROP TABLE pair; --': [0.1]}), "lower case"),
        (wide(loss=[float("nan")]), "finite scores of detector loss"),
        (wide(loss=[float("inf")]), "finite scores of detector loss"),
        (pa.table({"stay_id": [0], "label_id": [0], "loss": ["high"]}), r"loss \(string\)"),
        (pa.table({"label_id": [0], "loss": [0.1]}), "stay_id"),
        (pa.table({"stay_id": [0], "label_id": [0], "detector": ["loss"]}), "score"),
        (
            pa.table({"stay_id": [0] * 2, "label_id": [0] * 2, "detector": ["loss"] * 2, "score": [0.1] * 2}),
            "1 rows too many",
        ),
    ],
    ids=["capital", "markup", "nan", "infinite", "text", "no-stay", "no-score", "repeated"],
)
def test_scores_that_cannot_be_kept_are_refused_in_one_line(scores: pa.Table, words: str) -> None:
    with pytest.raises(RoundError, match=words) as caught:
        kept(scores, [0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "1 rows too many"),
        (lambda table: table.set_column(0, "stay_id", pa.array([5] * table.num_rows)), "rows"),
        (lambda table: table.set_column(1, "label_id", pa.array([77] * table.num_rows)), "rows"),
    ],
    ids=["repeated", "stranger-stay", "stranger-label"],
)
def test_scores_of_no_pair_or_twice_of_one_leave_no_round(make_site: MakeSite, change: Any, words: str) -> None:
    site = make_site(6, 3, train=False)
    tables = site.tables()
    tables["detector_score"] = change(tables["detector_score"])
    with pytest.raises(RoundError, match=words):
        write_round(site.workspace, 1, round_info(1, "f"), tables)
    assert list(site.workspace.rounds.iterdir()) == []


def test_the_round_file_gives_places_of_training_pairs_and_none_of_test_pairs(site: Site) -> None:
    pairs = site.round.frame("SELECT stay_id, label_id, split, observed, selection_score FROM pair")
    keys = list(site.round.label_ids)
    train = pairs[pairs["split"] == "train"].iloc[3]
    group = pairs[
        (pairs["split"] == "train")
        & (pairs["label_id"] == train["label_id"])
        & (pairs["observed"] == train["observed"])
    ]
    frame = site.round.detector_scores(int(train["stay_id"]), keys[train["label_id"]]).set_index("detector")
    assert frame.loc["loss", "place"] == 1 + (group["selection_score"] > train["selection_score"]).sum()
    assert frame.loc["loss", "n"] == len(group)
    test = pairs[pairs["split"] == "test"].iloc[0]
    assert site.round.detector_places(int(test["stay_id"]), keys[test["label_id"]]) == []


def test_flags_in_a_detectors_top_twentieth_are_counted_within_their_group() -> None:
    scores = [float(i) for i in range(40)]
    connection = kept(wide(aum=scores, mild=[0.0] * 40, visits=[None] * 39 + [1.0]), [0] * 20 + [1] * 20)
    connection.execute("CREATE TABLE flag AS SELECT * FROM pair WHERE stay_id IN (19, 18, 39, 0)").fetchall()
    keep_agreement(connection)
    rows = connection.execute("SELECT * FROM detector_agreement").fetchall()
    assert rows == [("aum", 4, 2), ("mild", 4, 0), ("visits", 1, 0)]
    frame = agreement(pd.DataFrame(rows, columns=["detector", "flags", "top"]))
    assert frame["share"].tolist() == [0.5, 0.0, 0.0]
    assert frame["name"][0] == "leant the other way (AUM)"


def test_harm_and_comparison_are_kept_where_given_and_empty_where_not(make_site: MakeSite) -> None:
    site = make_site(6, 3, train=False)
    tables = site.tables()
    left = harm_row(label_id=1, changed=0, expected_better=0.0, expected_worse=0.0, left_alone=True, reason="no noise")
    more = {"harm": harm(left, harm_row()), "comparison": comparison(note="as recorded")}
    write_round(site.workspace, 1, round_info(1, "f", calibrated=True), {**tables, **more})
    write_round(site.workspace, 2, {**round_info(2, "f"), "calibrated": None, "schema_version": 1}, tables)
    one, two = open_round(site.workspace, 1), open_round(site.workspace, 2)
    assert one.harm()["label_key"].tolist() == list(one.label_ids)[:2]
    assert one.harm()["reason"].tolist()[1] == "no noise"
    assert one.comparison()["difference"].tolist() == [0.02]
    assert one.info.calibrated
    assert two.harm().empty
    assert two.comparison().empty
    assert not two.info.calibrated
    assert two.info.schema_version == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"harm": harm(harm_row(label_id=9))}, "harm.label_id among"),
        ({"harm": harm(harm_row(direction="up"))}, "harm.direction in"),
        ({"harm": harm(harm_row(), harm_row())}, "1 rows too many"),
        ({"harm": harm(harm_row(changed=31))}, "changed among pairs"),
        ({"harm": harm(harm_row(expected_worse=-1.0))}, "numbers of labels"),
        ({"harm": harm(harm_row()).drop_columns(["pairs"])}, "pairs"),
        ({"comparison": comparison(low=0.2)}, "low at most high"),
        ({"comparison": comparison(difference=0.3)}, "with_decisions - without_decisions"),
        ({"comparison": comparison(high=float("nan"))}, "comparison.high finite"),
    ],
    ids=["label", "direction", "twice", "changed", "negative", "column", "interval", "difference", "nan"],
)
def test_a_bad_optional_table_is_refused(make_site: MakeSite, table: dict[str, pa.Table], words: str) -> None:
    site = make_site(4, 3, train=False)
    with pytest.raises(RoundError, match=words):
        write_round(site.workspace, 1, round_info(1, "f"), {**site.tables(), **table})
    assert list(site.workspace.rounds.iterdir()) == []


def as_version_1(path: Path, digest: Path) -> None:
    """Turn a round's file into one as version 1 wrote it: no new columns, scores as a long table."""
    with duckdb.connect(str(path)) as connection:
        for statement in (
            "CREATE TABLE long AS SELECT * FROM detector_score",
            "DROP VIEW detector_score",
            f"DROP TABLE {WIDE}",
            "DROP TABLE detector_agreement",
            "ALTER TABLE long RENAME TO detector_score",
            "ALTER TABLE pair DROP probability_peer",
            "ALTER TABLE flag DROP probability_peer",
            "ALTER TABLE round DROP calibrated",
            "UPDATE round SET schema_version = 1",
            "CHECKPOINT",
        ):
            connection.execute(statement).fetchall()
    body = json.loads(digest.read_text())
    digest.write_text(json.dumps({**body, "blake2b": file_digest(path), "bytes": path.stat().st_size}))


def test_a_round_of_version_1_opens_and_says_nothing_of_what_came_later(make_site: MakeSite) -> None:
    site = make_site(6, 3)
    stay, key = site.flags()[0]
    path, digest = site.workspace.round_path(1), site.workspace.round_digest_path(1)
    before = site.round.pair(stay, key)
    site.round.close()
    as_version_1(path, digest)
    old = RoundFile(path, digest)
    pair = old.pair(stay, key)
    assert pair.probability_peer is None
    assert not pair.calibrated
    assert pair.error_probability == before.error_probability
    assert old.info.schema_version == 1
    assert old.detector_places(stay, key) == []
    assert old.detector_scores(stay, key).empty
    assert old.detector_agreement().empty
    assert old.harm().empty
    assert old.comparison().empty
    assert len(old.pairs_of_stay(stay)) == 3
    assert isinstance(old.labels(), pd.DataFrame)
    old.close()
