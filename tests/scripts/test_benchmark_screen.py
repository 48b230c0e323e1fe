"""The screens' benchmark: its arithmetic by hand, its invented tables, and a run of the smallest size."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from core.cohort.labelset import PHENOTYPES
from scripts.benchmarks.screen_crowd import Tab
from scripts.benchmarks.screen_figures import ASKED, SCHEMA, added_mib, counted, held_mib, markdown, memory, percentile
from scripts.benchmarks.screen_tables import copied, recorded
from tests.app.browser import chromium

from .conftest import run_miracl

ABOUT = {"rounds": 10, "pairs": 1_494_950, "decisions": 3000, "cores": 2, "browser": "Chromium", "streamlit": "1.67"}


def row(measure: str, number: int, **more: Any) -> dict[str, Any]:
    own = {"measure": measure, "number": number, "sessions": 1, "warm_up": False, "load": 0.5}
    return {name: {**own, **more}.get(name) for name in SCHEMA.names}


def test_percentiles_lie_between_neighbours_and_none_is_no_number() -> None:
    assert percentile([10, 20, 30, 40, 50], 0.5) == 30
    assert percentile([10, 20, 30, 40, 50], 0.95) == pytest.approx(48)
    assert percentile([7], 0.95) == 7
    assert math.isnan(percentile([], 0.95))


def test_added_memory_is_the_most_seen_less_the_middle_of_before() -> None:
    assert added_mib([100, 104, 101], [110, 139, 120]) == 38
    assert math.isnan(added_mib([], [110]))
    # what is held is the middle of the later half: the most may have been seen while they came in
    assert held_mib([100, 104, 101], [180, 160, 121, 123]) == 21
    assert math.isnan(held_mib([100], []))
    rows = [row("memory", i, memory_mib=m) for i, m in enumerate((100.0, 102.0))]
    rows += [row("memory", i, sessions=20, memory_mib=m) for i, m in enumerate((110.0, 130.0))]
    assert memory(rows) == ([100.0, 102.0], [110.0, 130.0], 20)


def test_the_warm_up_and_presses_that_changed_nothing_do_not_count() -> None:
    rows = [row("next", 0, warm_up=True, text=900.0), row("next", 1, text=100.0), row("next", 2)]
    rows += [row("next", 3, sessions=20, text=150.0), row("answer", 0, text=120.0)]
    assert counted(rows, "next", "text", 1) == [100.0]
    assert counted(rows, "next", "text", 20) == [150.0]


def test_the_table_says_what_was_met_and_leaves_open_what_was_not_measured() -> None:
    rows = [row("next", i, place=90.0, text=t, chart=390.0) for i, t in enumerate((140.0, 148.0, 200.0))]
    rows += [row("memory", 0, memory_mib=200.0), row("memory", 1, sessions=20, memory_mib=230.0)]
    rows += [row("next", 9, sessions=20, place=150.0, text=500.0, chart=400.0)]
    rows += [row("held", 0, decisions=1, pairs_shown=3)]
    told = {
        line.split("|")[1].strip(): line.split("|")[-2].strip() for line in markdown(rows, ABOUT).splitlines()[4:-2]
    }
    assert told["key J to the next pair's head on screen"] == "yes"
    assert told["key J to the last of its text"] == "no"
    assert told["twenty days of seventeen channels drawn"] == "–"
    assert told["memory that 19 more sessions hold once they read"] == "yes"
    assert told["memory that 19 more sessions add at most, while they come in and draw batches"] == "yes"
    assert told["key J to head beside 19 more sessions"] == "yes"
    assert told["key J to text beside 19 more sessions"] == "no"
    assert [line for line in told if "held" in line]
    assert len(ASKED) == 8


def test_copies_of_stays_share_no_id_and_repeat_all_else() -> None:
    table = pa.table({"stay_id": [5, 6, 9], "patient_key": ["a", "b", "c"], "age": [1.0, 2.0, 3.0]})
    made = copied(table, 3)
    assert len(set(made["stay_id"].to_pylist())) == len(set(made["patient_key"].to_pylist())) == 9
    assert made["age"].to_pylist() == 3 * [1.0, 2.0, 3.0]


def test_recorded_labels_find_their_stay_and_place_whatever_the_order() -> None:
    keys = [PHENOTYPES[3].key, PHENOTYPES[0].key, PHENOTYPES[3].key]
    labels = pa.table({"stay_id": [8, 5, 5], "label": keys, "observed": pa.array([1, 1, None], pa.uint8())})
    made = recorded(np.array([5, 8]), labels)
    assert made.sum() == 2
    assert (made[1, 3], made[0, 0]) == (1, 1)


def test_a_client_reads_where_controls_are_and_when_a_page_is_through() -> None:
    tab, message = Tab(), ForwardMsg()
    message.delta.new_element.button.id = "$$ID-0a1b-answer_absent"
    assert not tab.take(message)
    assert tab.widgets == {"answer_absent": "$$ID-0a1b-answer_absent"}
    both = ForwardMsg()
    both.new_session.page_script_hash = "page"
    assert not tab.take(both)
    ended = ForwardMsg()
    ended.script_finished = ForwardMsg.FINISHED_SUCCESSFULLY
    assert tab.take(ended)
    assert b"answer_absent" in tab.rerun(tab.widgets["answer_absent"])


@pytest.mark.browser
@pytest.mark.slow
def test_the_smallest_run_measures_everything_and_writes_rows(tmp_path: Path) -> None:
    chromium()
    for _ in range(
        2
    ):  # on a machine that is busy otherwise a wait for the browser may run out; what counts is the rows
        done = run_miracl("benchmark", "screen", "--quick", "--cache", tmp_path / "cache", "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        if "ended early" not in done.stdout:
            break
    assert "ended early" not in done.stdout
    rows = pq.read_table(tmp_path / "out" / "screen.parquet").to_pylist()
    assert {row["measure"] for row in rows} == {"filter", "next", "answer", "held", "memory", "series"}
    assert (tmp_path / "out" / "screen.json").is_file()
    assert "| met |" in (tmp_path / "out" / "screen.md").read_text(encoding="utf-8")
