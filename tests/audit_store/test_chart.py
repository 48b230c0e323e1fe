"""The chart reads one patient and nothing else, and draws only what was measured."""

import json
import shutil
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.chart import Chart, Statement, masked, statements
from audit_store.chart.files import PrunedTable
from audit_store.chart.series import segments, thin
from audit_store.errors import WorkspaceError
from core.cohort.labels_add import add_labels
from core.cohort.labels_in import LabelsIn
from tests.audit_store.chart_cohort import Stay, write_invented

LIFELONG, ACUTE = "copd", "septicemia"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stays = {
        11: Stay(
            1, 1, admitted=datetime.fromisoformat("2020-01-01"), present=(LIFELONG,), notes=[(1.0, "history", "COPD.")]
        ),
        12: Stay(
            1,
            2,
            admitted=datetime.fromisoformat("2020-03-01"),
            present=("diabetes_with_complications", ACUTE),
            series=[(float(h), "map", 70.0 + h) for h in range(3)]
            + [(50.0, "creatinine", 1.5), (2.0, "creatinine", 1.1)],
            evidence=[
                (1.0, "drug", "norepinephrine", 5.0, "mcg/min", None),
                (48.0, "micro", "Blood culture", None, None, "no growth"),
                (0.0, "diagnosis", "038.9", None, None, "sepsis"),
                (None, "finding", "Past history", None, None, "COPD"),
            ],
            notes=[(60.0, "discharge", "Later."), (None, "history", "Undated."), (2.0, "progress", "Early.")],
        ),
        13: Stay(
            1,
            3,
            admitted=datetime.fromisoformat("2020-03-09"),
            present=None,
            readers_only=True,
            notes=[(1.0, "x", "Seen.")],
        ),
        21: Stay(2, 1, "unknown", hospital_stay=5, age=None, sex=None),
        22: Stay(2, 2, "within_admission", hospital_stay=6, age=90.0, sex="Male"),
        23: Stay(2, 3, "within_admission", hospital_stay=6, age=90.0),
        31: Stay(3, 1, los=12.0),
    }
    return write_invented(tmp_path_factory.mktemp("chart") / "cohort", stays)


@pytest.fixture(scope="module")
def chart(folder: Path) -> Chart:
    return Chart.open(folder)


def test_the_header_says_visit_sex_age_and_days_and_shows_no_whole_id(chart: Chart) -> None:
    header = chart.header(12)
    assert header.text == "··0012 · visit 2 of 3 (order known) · F 71 · 3.0 days"
    assert (header.coded, chart.header(13).coded) == (True, False)
    assert masked(123_454_471) == "··4471"


def test_the_header_is_honest_about_age_sex_and_order(chart: Chart) -> None:
    assert chart.header(21).text == "··0021 · visit 1 of 3 (order unknown) · – age not recorded · 3.0 days"
    assert chart.header(22).visit_text == "visit 2 of 3 (order known within this hospital stay)"
    assert (chart.header(22).age_text, chart.header(22).sex) == ("90 or older", "M")
    assert chart.header(31).visit_text == "only visit"


def test_visits_stand_on_one_axis_only_where_their_order_and_distance_are_known(chart: Chart) -> None:
    known = chart.visits(12)
    assert [v.axis_start for v in known] == [0.0, 60 * 24.0, 68 * 24.0]
    assert [v.is_this for v in known] == [False, True, False]
    assert [v.gap_text for v in known] == ["", "57 days later", "5 days later"]
    unknown = chart.visits(22)
    assert [v.axis_start for v in unknown] == [None, None, None]
    assert [v.hospital_group for v in unknown] == [0, 1, 1]
    assert [v.gap_text for v in unknown] == ["", "order unknown", "same hospital stay"]
    assert (chart.order_known(12), chart.order_known(21), chart.order_known(31)) == (True, False, True)


def test_series_hold_measured_values_alone_with_the_cut_off_marked(chart: Chart) -> None:
    frame = chart.series([12], ["creatinine"])
    assert frame["hour"].tolist() == [2.0, 50.0]
    assert frame["value"].tolist() == [1.1, 1.5]
    assert frame["after_cutoff"].tolist() == [False, True]
    assert frame["segment"].tolist() == [0, 0]
    assert set(frame["unit"]) == {"mg/dL"}
    assert chart.series([11]).empty


def test_channels_come_most_measured_first_with_first_last_lowest_and_highest(chart: Chart) -> None:
    assert [c.name for c in chart.channels_of([12])] == ["map", "creatinine"]
    row = chart.summary([12]).set_index("channel").loc["creatinine"]
    assert (row["n"], row["first"], row["last"], row["min_hour"], row["max_hour"]) == (2, 1.1, 1.5, 2.0, 50.0)


def test_notes_come_in_order_of_visit_and_hour_with_readers_only_and_late_ones_marked(chart: Chart) -> None:
    notes = chart.notes([11, 12, 13])
    assert [n.text for n in notes] == ["COPD.", "Undated.", "Early.", "Later.", "Seen."]
    assert [n.after_cutoff for n in notes] == [False, False, False, True, False]
    assert [n.readers_only for n in notes] == [False, False, False, False, True]


def test_a_blind_reading_gets_no_coded_diagnosis_and_late_evidence_is_marked(chart: Chart) -> None:
    rows = chart.evidence([12])
    assert set(rows["kind"]) == {"drug", "micro", "finding"}
    assert rows.set_index("name")["after_cutoff"].to_dict() == {
        "norepinephrine": False,
        "Blood culture": True,
        "Past history": False,
    }
    assert "diagnosis" in set(chart.evidence([12], blind=False)["kind"])


def test_a_blind_strip_withholds_this_stay_alone(chart: Chart) -> None:
    blind, seen = chart.strip(12, LIFELONG), chart.strip(12, LIFELONG, blind=False)
    assert [c.state for c in blind.cells] == ["present", "?", "not coded"]
    assert [c.state for c in seen.cells] == ["present", "absent", "not coded"]
    assert all(c.code is None for c in blind.cells if c.is_this)
    assert blind.note == "lifelong: recorded at 1 of 1 coded other visit"
    assert seen.note == (
        "lifelong: recorded at 1 of 2 coded visits. Odd for a lifelong condition: v1 has it, v2 after it not"
    )


def test_a_blind_strip_reads_the_same_whatever_this_stay_is_recorded_as(tmp_path: Path) -> None:
    notes = set()
    for place, present in enumerate([(), (LIFELONG,)]):
        stays = {1: Stay(1, 1, present=(LIFELONG,)), 2: Stay(1, 2, present=present)}
        strip = Chart.open(write_invented(tmp_path / f"c{place}", stays)).strip(2, LIFELONG)
        notes.add((strip.note, tuple(c.state for c in strip.cells)))
    assert len(notes) == 1


def test_the_other_labels_leave_out_the_asked_one_and_its_group(chart: Chart) -> None:
    assert [label.key for label in chart.other_labels(12, LIFELONG)] == ["diabetes_with_complications", ACUTE]
    assert [label.key for label in chart.other_labels(12, "diabetes_without_complication")] == [ACUTE]
    assert chart.other_labels(13, ACUTE) == []
    assert [chart.recorded(s, LIFELONG) for s in (11, 12, 13)] == ["present", "absent", "not coded"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "manifest.json").unlink(),
        lambda f: (f / "manifest.json").write_text("{"),
        lambda f: (f / "manifest.json").write_text('{"schema_version": 99}'),
        lambda f: (f / "notes.parquet").unlink(),
        lambda f: (f / "observations.parquet").write_bytes(b"PAR1"),
    ],
)
def test_a_spoilt_cohort_is_refused_in_one_line(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    folder = write_invented(tmp_path / "cohort", {1: Stay(1)})
    spoil(folder)
    with pytest.raises(WorkspaceError) as caught:
        Chart.open(folder)
    assert "\n" not in str(caught.value)


def test_a_cohort_that_was_rebuilt_under_an_open_chart_is_not_read_with_the_old_footers(tmp_path: Path) -> None:
    series = [(1.0, "map", 70.0)]
    chart = Chart.open(write_invented(tmp_path / "cohort", {1: Stay(1, series=series), 2: Stay(2)}))
    write_invented(tmp_path / "cohort", {1: Stay(1, series=series * 1), 2: Stay(2, series=series)})
    with pytest.raises(WorkspaceError):
        chart.series([2])


def test_an_unknown_stay_is_refused_without_its_id(chart: Chart) -> None:
    with pytest.raises(WorkspaceError) as caught:
        chart.header(987_654)
    assert "987" not in str(caught.value)


def test_only_row_groups_that_can_hold_the_stay_are_read(folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "observations.parquet")
    path = tmp_path / "split.parquet"
    pq.write_table(table, path, row_group_size=1)
    pruned = PrunedTable.open(path)
    assert pruned.footer.num_row_groups == table.num_rows
    assert pruned.groups_for(np.array([11])) == []
    assert pruned.rows((12,)).num_rows == table.num_rows
    assert pruned.rows((11,)).num_rows == 0


def test_threads_read_the_same_patient_alike(folder: Path) -> None:
    fresh, texts = Chart.open(folder), []

    def read() -> None:
        for stay in (12, 21, 31, 11):
            texts.append((stay, fresh.header(stay).text, len(fresh.series([stay]))))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 32
    assert len(set(texts)) == 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(-50, 50)), min_size=1, max_size=400), st.integers(4, 60))
def test_thinning_keeps_first_last_smallest_and_largest_and_no_more_points_than_asked(
    points: list[tuple[float, float]], limit: int
) -> None:
    hours, values = (np.array(column) for column in zip(*sorted(points), strict=True))
    kept = thin(hours, values, limit)
    assert len(kept) <= max(limit, 4)
    assert (np.diff(kept) > 0).all()
    assert {0, len(hours) - 1} <= set(kept.tolist())
    assert (values[kept].min(), values[kept].max()) == (values.min(), values.max())
    if len(hours) <= limit:
        assert len(kept) == len(hours)


def test_a_silence_of_many_intervals_breaks_the_line_and_a_short_one_does_not() -> None:
    assert segments(np.array([0.0, 1, 2, 3, 12, 13])).tolist() == [0, 0, 0, 0, 1, 1]
    assert segments(np.array([0.0, 1, 2, 7])).tolist() == [0, 0, 0, 0]
    assert segments(np.array([0.0, 24, 48, 120])).tolist() == [0, 0, 0, 0]
    assert segments(np.array([3.0])).tolist() == [0]


def test_a_label_that_stands_alone_is_never_shown_beside_others_nor_they_beside_it(
    tmp_path: Path, folder: Path
) -> None:
    copy = tmp_path / "cohort"
    shutil.copytree(folder, copy)
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["labels"]:
        entry["alone"] = entry["key"] == ACUTE
    path.write_text(json.dumps(manifest))
    chart = Chart.open(copy)
    assert [label.key for label in chart.other_labels(12, LIFELONG)] == ["diabetes_with_complications"]
    assert chart.other_labels(12, ACUTE) == []


def test_other_sources_state_their_word_beside_the_recorded_one(tmp_path: Path, folder: Path) -> None:
    copy, path = tmp_path / "cohort", tmp_path / "model.csv"
    shutil.copytree(folder, copy)
    path.write_text(f"stay_id,label,probability\n12,{LIFELONG},0.83\n13,{ACUTE},0.2\n")
    add_labels(copy, LabelsIn(path, source="risk_model", primary=False))
    chart = Chart.open(copy)
    assert statements(chart, 12, LIFELONG) == (Statement("risk_model", "risk model", "model", 1, "0.830"),)
    assert statements(chart, 12, ACUTE) == ()
    assert chart.recorded(12, LIFELONG) == "absent"
    add_labels(copy, LabelsIn(path, source="risk_model", replace=True))
    turned = Chart.open(copy)
    assert [(made.title, made.kind, made.observed) for made in statements(turned, 12, LIFELONG)] == [
        ("billing codes", "codes", 0)
    ]
    assert turned.recorded(12, LIFELONG) == "present"
    assert statements(turned, 13, ACUTE) == ()
