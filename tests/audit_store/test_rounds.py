"""What a round file promises."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_store.errors import AccessError, RoundError
from audit_store.ledger import events_of
from audit_store.people import operator
from audit_store.rounds import RoundFile, check_cohort_matches, open_round, publish_round, write_round
from audit_store.schema import PAIR, ROUND_TABLES

from .conftest import FIRST_STAY, Site, round_info, write_small_cohort

MakeSite = Callable[..., Site]
Tables = dict[str, pa.Table]


def with_column(tables: Tables, name: str, column: str, values: Any) -> None:
    table = tables[name]
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    tables[name] = table.set_column(table.column_names.index(column), column, array)


def changed(tables: Tables, column: str, row: int, value: Any) -> None:
    values = tables["pair"][column].to_pylist()
    values[row] = value
    with_column(tables, "pair", column, pa.array(values, tables["pair"].schema.field(column).type))


def test_a_round_reads_back_as_it_was_written(site: Site) -> None:
    came = site.tables()["pair"].to_pandas().sort_values(["stay_id", "label_id"]).reset_index(drop=True)
    kept = site.round.frame("SELECT * FROM pair ORDER BY stay_id, label_id")
    assert list(kept.columns) == PAIR.names
    for column in PAIR.names:
        if column == "history":
            assert [bytes(a) for a in kept[column]] == [bytes(b) for b in came[column]]
        else:
            np.testing.assert_array_equal(kept[column].isna(), came[column].isna())
            here = kept[column].notna()
            np.testing.assert_array_equal(kept.loc[here, column], came.loc[here, column])
    assert site.round.info.config == {"epochs": 4}
    assert site.round.n_pairs == 40 * 25
    assert site.round.n_flagged == 100


def test_pairs_are_sorted_by_label_partition_and_probability_of_error(site: Site) -> None:
    rows = site.round.rows("SELECT label_id, partition, -error_probability FROM pair")
    assert rows == sorted(rows)


LIMIT = "SELECT current_setting('memory_limit')"
HELD = "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"


@pytest.fixture
def opened(site: Site, tmp_path: Path) -> Iterator[RoundFile]:
    """A round in a file of its own: what one reader lifts holds for all of the same file."""
    path, digest = (tmp_path / site.round.path.with_suffix(end).name for end in (".duckdb", ".json"))
    for own in (path, digest):
        shutil.copy(site.round.path.with_name(own.name), own)
    round_file = RoundFile(path, digest)
    yield round_file
    round_file.close()
    assert {one.name for one in tmp_path.iterdir() if one.is_file()} == {path.name, digest.name}


@pytest.mark.parametrize("way", ["rows", "frame", "arrow"])
def test_a_query_that_needs_more_memory_than_a_page_gets_it_while_it_runs(opened: RoundFile, way: str) -> None:
    small = opened.rows(LIMIT)
    assert opened.rows("SELECT count(*) FROM pair") == [(opened.n_pairs,)]
    found = getattr(opened, way)("SELECT count(*) AS n FROM (SELECT DISTINCT range FROM range(3000000))")
    said = {"rows": lambda: found[0][0], "frame": lambda: found["n"][0], "arrow": lambda: found["n"][0].as_py()}
    assert said[way]() == 3_000_000
    assert opened.rows(LIMIT) == small
    assert opened.rows(HELD)[0][0] < 32_000_000


def test_the_limit_comes_back_once_nobody_holds_more_than_it(opened: RoundFile) -> None:
    small = opened.rows(LIMIT)
    opened.rows("CREATE TEMP TABLE held AS SELECT range * 7919 % 1000003 AS some FROM range(20000000)")
    assert opened.rows(HELD)[0][0] > 32_000_000
    assert opened.rows(LIMIT) != small
    opened.rows("DROP TABLE held")
    assert opened.rows(LIMIT) == small


def test_lifting_the_limit_waits_for_memory_that_others_hold(
    opened: RoundFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit the statement that lifts it has no room either."""

    class Full:
        refused = 0

        def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
            self.cursor = cursor

        def execute(self, query: str, values: Any = ()) -> duckdb.DuckDBPyConnection:
            if query.startswith("RESET") and Full.refused < 3:
                Full.refused += 1
                raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data of size 4.0 KiB")
            return self.cursor.execute(query, values)

    monkeypatch.setattr(opened._local, "cursor", Full(opened.cursor()))
    query = "SELECT count(*) FROM (SELECT DISTINCT range FROM range(3000000))"
    assert opened.rows(query) == [(3_000_000,)]
    assert Full.refused == 3
    Full.refused = 0
    monkeypatch.setattr("audit_store.round_reader._PATIENCE", 0.0)
    with pytest.raises(duckdb.OutOfMemoryException):
        opened.rows(query)


def test_many_heavy_readers_of_one_file_all_get_their_rows(opened: RoundFile) -> None:
    again = RoundFile(opened.path, opened.path.with_suffix(".json"))
    query = "SELECT count(*) FROM (SELECT DISTINCT range::VARCHAR FROM range(150000))"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: (opened, again)[i % 2].rows(query), range(64)))
    again.close()
    assert found == [[(150_000,)]] * 64
    opened.rows("SELECT 1")
    assert opened.rows(LIMIT) == [("30.5 MiB",)]


def test_parquet_files_and_tables_give_the_same_round(site: Site, tmp_path: Path) -> None:
    paths = {}
    for name, table in site.tables().items():
        paths[name] = tmp_path / f"{name}.parquet"
        pq.write_table(table, paths[name])
    (tmp_path / "round.json").write_text(json.dumps(round_info(2, site.manifest["fingerprint"])))
    write_round(site.workspace, 2, tmp_path / "round.json", paths)
    one, two = open_round(site.workspace, 1), open_round(site.workspace, 2)
    for name in ROUND_TABLES:
        assert one.rows(f"SELECT * FROM {name} ORDER BY ALL") == two.rows(f"SELECT * FROM {name} ORDER BY ALL")


def spoil_no_table(t: Tables) -> None:
    del t["mixture"]


def spoil_no_column(t: Tables) -> None:
    t["pair"] = t["pair"].drop_columns(["probability"])


def spoil_text_for_number(t: Tables) -> None:
    with_column(t, "pair", "probability", ["high"] * t["pair"].num_rows)


def spoil_nan(t: Tables) -> None:
    changed(t, "probability", 3, float("nan"))


def spoil_infinite(t: Tables) -> None:
    changed(t, "difficulty", 3, float("inf"))


def spoil_gap(t: Tables) -> None:
    changed(t, "selection_score", 3, None)


def spoil_label_value(t: Tables) -> None:
    changed(t, "observed", 3, 2)


def spoil_duplicate(t: Tables) -> None:
    t["pair"] = pa.concat_tables([t["pair"], t["pair"].slice(0, 2)])


def spoil_partition(t: Tables) -> None:
    changed(t, "partition", 3, "dirty")


def spoil_stranger(t: Tables) -> None:
    changed(t, "label_id", 3, 77)


def spoil_patient(t: Tables) -> None:
    changed(t, "patient_id", 3, 5)


def spoil_split(t: Tables) -> None:
    flip = {"train": "test", "test": "train"}
    first = t["pair"]["stay_id"][0].as_py()
    values = [
        flip[split] if stay == first else split
        for stay, split in zip(t["pair"]["stay_id"].to_pylist(), t["pair"]["split"].to_pylist(), strict=True)
    ]
    with_column(t, "pair", "split", values)


def spoil_direction(t: Tables) -> None:
    flip = {"false_positive": "false_negative", "false_negative": "false_positive"}
    changed(t, "direction", 3, flip[t["pair"]["direction"][3].as_py()])


def spoil_rank(t: Tables) -> None:
    row = next(i for i, flagged in enumerate(t["pair"]["flagged"].to_pylist()) if flagged)
    changed(t, "suspicion_rank", row, 9_999)


def spoil_history(t: Tables) -> None:
    changed(t, "history", 3, b"\x01")


def spoil_evidence(t: Tables) -> None:
    with_column(t, "evidence", "stay_id", [1, 2])


def spoil_mixture(t: Tables) -> None:
    t["mixture"] = pa.concat_tables([t["mixture"], t["mixture"].slice(0, 1)])


def spoil_empty(t: Tables) -> None:
    t["pair"] = t["pair"].slice(0, 0)
    t["evidence"] = t["evidence"].slice(0, 0)
    t["detector_score"] = t["detector_score"].slice(0, 0)


SPOILS = [
    (spoil_no_table, "no mixture"),
    (spoil_no_column, "probability"),
    (spoil_text_for_number, "types"),
    (spoil_nan, r"pair\.probability finite"),
    (spoil_infinite, r"pair\.difficulty finite"),
    (spoil_gap, r"pair\.selection_score finite"),
    (spoil_label_value, r"pair\.observed in \{0, 1\}"),
    (spoil_duplicate, "2 rows too many"),
    (spoil_partition, r"pair\.partition in"),
    (spoil_stranger, r"pair\.label_id among"),
    (spoil_patient, "one patient, visit and split"),
    (spoil_split, "both train and test"),
    (spoil_direction, "false_positive exactly"),
    (spoil_rank, "suspicion ranks 1 to N"),
    (spoil_history, "one byte per epoch"),
    (spoil_evidence, "evidence for pairs"),
    (spoil_mixture, "mixture"),
    (spoil_empty, "a round with pairs"),
]


def test_bad_tables_are_refused_in_one_line_and_nothing_is_left(make_site: MakeSite) -> None:
    site = make_site(train=False)
    for spoil, words in SPOILS:
        tables = site.tables()
        spoil(tables)
        with pytest.raises(RoundError, match=words) as caught:
            write_round(site.workspace, 1, round_info(1, "f"), tables)
        assert "\n" not in str(caught.value)
        assert list(site.workspace.rounds.iterdir()) == [], spoil.__name__


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": None}, "seed"),
        ({"round_id": 9}, "round 1"),
        ({"seconds": "long"}, "types"),
        ({"schema_version": 99}, "99"),
    ],
)
def test_a_bad_round_json_is_refused(make_site: MakeSite, change: dict[str, Any], words: str) -> None:
    site = make_site(4, 3, train=False)
    with pytest.raises(RoundError, match=words):
        write_round(site.workspace, 1, {**round_info(1, "f"), **change}, site.tables())


def test_a_round_is_never_replaced(site: Site) -> None:
    before = site.workspace.round_path(1).read_bytes()
    with pytest.raises(RoundError, match="already there"):
        site.publish(1, seed=9)
    assert site.workspace.round_path(1).read_bytes() == before


def test_publishing_again_after_a_kill_adds_only_the_missing_note(make_site: MakeSite) -> None:
    site = make_site(train=False)
    write_round(site.workspace, 1, round_info(1, site.manifest["fingerprint"]), site.tables())
    assert events_of(site.store, "round") == []
    site.publish(1)
    assert [event.data["round_id"] for event in events_of(site.store, "round")] == [1]


def test_only_those_who_may_publish_rounds_do(make_site: MakeSite) -> None:
    site = make_site(4, 3, train=False)
    with pytest.raises(AccessError):
        publish_round(site.store, 1, round_info(1, "f"), site.tables(), site.people["ann"])
    assert site.workspace.round_ids() == []


@pytest.mark.parametrize("cut", [1, 4096, 300_000])
def test_a_file_cut_short_is_one_line(site: Site, cut: int) -> None:
    path = site.workspace.round_path(1)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-cut] if cut < path.stat().st_size else b"")
    with pytest.raises(RoundError, match="bytes") as caught:
        open_round(site.workspace, 1)
    assert "\n" not in str(caught.value)


def test_a_file_of_zeros_is_one_line(site: Site) -> None:
    path = site.workspace.round_path(1)
    site.round.close()
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(RoundError, match="damaged"):
        open_round(site.workspace, 1)


def test_no_round_is_one_line(make_site: MakeSite) -> None:
    site = make_site(4, 3, train=False)
    with pytest.raises(RoundError, match="miracl train"):
        open_round(site.workspace)
    with pytest.raises(RoundError, match="round 7"):
        open_round(site.workspace, 7)


def test_a_changed_cohort_is_refused(site: Site) -> None:
    check_cohort_matches(site.workspace, site.round)
    write_small_cohort(site.workspace.cohort, 42)
    with pytest.raises(RoundError, match="changed since the round was trained"):
        check_cohort_matches(site.workspace, site.round)


def test_the_round_file_answers_what_the_screens_ask(site: Site) -> None:
    file = site.round
    stay, key = site.flags()[0]
    pair = file.pair(stay, key)
    frame = file.frame("SELECT * FROM pair WHERE stay_id = ? AND label_id = ?", (stay, pair.label_id))
    assert pair.observed == frame["observed"][0]
    np.testing.assert_allclose(pair.history, np.frombuffer(bytes(frame["history"][0]), np.uint8) / 255)
    assert file.suspicion(stay, key) == (1, 100)
    assert pair.n_flagged == 100
    assert pair.suspicion_rank == 1
    stayed = file.pairs_of_stay(stay)
    assert stayed["label_key"].tolist() == list(file.label_ids)
    strip = file.label_strip(pair.patient_id, key)
    assert strip["visit"].tolist() == sorted(strip["visit"])
    assert stay in strip["stay_id"].tolist()
    assert len(file.pairs_of_patient(pair.patient_id)) == 25 * len(strip)
    assert file.partition_counts()["n"].sum() == file.n_pairs
    assert file.flag_counts()["n"].sum() == file.n_flagged
    assert len(file.epochs()) == 4
    assert len(file.mixtures()) == 50
    assert len(file.mixtures(key)) == 2
    assert file.detector_scores(stay, key)["detector"].tolist()[0] == "loss"
    marks = file.evidence(FIRST_STAY, min(file.label_ids))
    assert marks["weight"].abs().is_monotonic_decreasing
    assert len(marks) == 2


def test_the_histogram_counts_every_pair_of_its_class_once(site: Site) -> None:
    key = next(iter(site.round.label_ids))
    for observed in (0, 1):
        histogram = site.round.score_histogram(key, observed, bins=10)
        found = site.round.rows("SELECT count(*) FROM pair WHERE label_id = 0 AND observed = ?", (observed,))
        assert histogram["n"].sum() == found[0][0]
        assert histogram["low"].between(0, 0.9).all()


def test_groups_of_labels_come_from_the_manifest(site: Site) -> None:
    assert site.round.label_groups["diabetes"] == ("diabetes_with_complications", "diabetes_without_complication")


def test_an_unknown_pair_or_label_is_one_line(site: Site) -> None:
    with pytest.raises(RoundError, match="not in it"):
        site.round.pair(1, "shock")
    with pytest.raises(RoundError, match="another label"):
        site.round.pair(FIRST_STAY, "gout")


def test_threads_read_at_once(site: Site) -> None:
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                assert len(site.round.pairs_of_stay(FIRST_STAY)) == 25
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_round_is_closed_to_others(site: Site) -> None:
    assert site.workspace.round_path(1).stat().st_mode & 0o077 == 0
    assert site.workspace.round_digest_path(1).stat().st_mode & 0o077 == 0


def test_a_label_name_with_quotes_commas_and_markup_does_no_harm(make_site: MakeSite) -> None:
    site = make_site(6, 3, train=False)
    tables = site.tables()
    name = 'x", "y\'; DROP TABLE pair; --<script>'
    with_column(tables, "label", "name", [name, *tables["label"]["name"].to_pylist()[1:]])
    publish_round(site.store, 1, round_info(1, site.manifest["fingerprint"]), tables, operator())
    assert name in site.round.label_names.values()


def test_a_missing_digest_file_is_one_line(site: Site) -> None:
    site.workspace.round_digest_path(1).unlink()
    with pytest.raises(RoundError, match="beside the round file"):
        RoundFile(site.workspace.round_path(1), site.workspace.round_digest_path(1))
