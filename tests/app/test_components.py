"""Notes are text, charts show only what was measured, and an answer bar gives each label its answer."""

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.components import keys, notes_view, series_chart, strip, visit_axis
from audit_store.chart import Chart, Note
from audit_store.guidelines import load
from audit_store.plain import visible
from audit_store.terms import Segment, find_terms, segments
from tests.app.invented import MARKUP, write_invented_cohort

STAY = 200_471 + 37
TAGS = re.compile(r"<[^>]*>")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    folder = tmp_path_factory.mktemp("chart") / "cohort"
    write_invented_cohort(folder)
    return Chart.open(folder)


def note(text: str) -> Note:
    return Note(1, 2, 1, 3.0, "Nursing", text, False, 0, len(text), False)


def plain(markup: str) -> str:
    return html.unescape(TAGS.sub("", markup))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=120))
def test_any_note_text_comes_out_as_the_same_text_and_never_as_markup(text: str) -> None:
    pieces = segments(text, find_terms(text, "septicemia"))
    markup = notes_view.body_html(pieces)
    assert plain(markup) == visible(text)
    assert set(re.findall(r"</?(\w+)", markup)) <= {"span", "mark"}


def test_markup_in_a_note_is_shown_as_it_was_written() -> None:
    drawn = notes_view.note_html(note(MARKUP), "v1", ["septicemia"], (), opened=True)
    assert "<script" not in drawn
    assert "<b>b</b>" not in drawn
    assert html.escape("<script>") in drawn


def test_each_standing_of_a_term_has_its_own_class_and_a_word_in_the_legend() -> None:
    for kind, word in notes_view.WORDS.items():
        assert f'class="term {kind}"' in notes_view.body_html([Segment("x", kind, False, 0.0)])
        assert word in notes_view.legend_html([kind], False)
    assert notes_view.legend_html(["plain"], False) == ""
    assert "moved the model" in notes_view.legend_html([], True)


def test_a_term_that_a_model_mark_cuts_in_two_stays_one_term() -> None:
    pieces = [Segment("insulin gl", "drug", True, 0.4), Segment("argine", "drug", False, 0.0)]
    assert notes_view.body_html(pieces).count('class="term drug"') == 1
    assert plain(notes_view.body_html(pieces)) == "insulin glargine"


def test_the_strip_asks_at_this_visit_and_says_not_coded_where_nothing_was(chart: Chart) -> None:
    drawn = strip.strip_html("COPD", chart.strip(STAY, "copd"), chart.visits(STAY), titled=False)
    words = plain(drawn)
    assert "asked now" in words
    assert "not coded" in words
    assert words.count("present") == 1


def spec_of(chart: Chart, stays: list[int], channels: list[str]) -> dict[str, Any] | None:
    visits = [v for v in chart.visits(STAY) if v.stay_id in stays]
    frame = chart.series(stays, channels)
    places = visit_axis.lay_out(visits, frame)
    return series_chart.series_spec(series_chart.prepare(frame, places), places, channels, chart.cutoff_hours)


def test_a_chart_draws_each_measured_point_where_it_was_measured_and_no_other(chart: Chart) -> None:
    stays = [visit.stay_id for visit in chart.visits(STAY)]
    frame = chart.series(stays, ["map"])
    places = visit_axis.lay_out(chart.visits(STAY), frame)
    drawn = series_chart.prepare(frame, places)
    assert len(drawn) == len(frame)
    left = {place.stay_id: place.left for place in places}
    assert [x - left[s] for x, s in zip(drawn["x"], drawn["stay_id"], strict=True)] == pytest.approx(
        frame["hour"].astype(float).tolist(), abs=1e-5
    )


def test_charts_are_higher_where_no_notes_stand_below_them(chart: Chart) -> None:
    frame = chart.series([STAY], ["map"])
    visits = [visit for visit in chart.visits(STAY) if visit.stay_id == STAY]
    heights = []
    for roomy in (False, True):
        drawing = series_chart.lay_out_charts(frame, visits, [chart.channel("map")], None, True, roomy=roomy)
        assert drawing is not None
        heights += [layer["height"] for layer in drawing.parts[0][1]["vconcat"]]
    assert heights[0] < heights[1]


def test_what_was_measured_before_the_unit_shifts_no_hour_of_the_axis(chart: Chart) -> None:
    visits = [visit for visit in chart.visits(STAY) if visit.stay_id == STAY]
    frame = chart.series([STAY], ["map"])
    earlier = pd.concat([frame, frame.head(1).assign(hour=-275.9)], ignore_index=True)
    places = visit_axis.lay_out(visits, earlier)
    assert [place.left for place in places] == [0.0]
    assert visit_axis.window_of(places, visit_axis.WHOLE)[0] == 0.0
    two = chart.visits(STAY)[:2]
    both = chart.series([visit.stay_id for visit in two], ["map"])
    early = pd.concat([both, both.head(1).assign(stay_id=two[1].stay_id, hour=-30.0)], ignore_index=True)
    plainly, roomier = visit_axis.lay_out(two, both), visit_axis.lay_out(two, early)
    assert roomier[1].left == pytest.approx(plainly[1].left + 30.0)


def test_visits_never_overlap_on_the_axis(chart: Chart) -> None:
    visits = chart.visits(STAY)
    places = visit_axis.lay_out(visits, chart.series([v.stay_id for v in visits], ["map"]))
    for before, after in itertools.pairwise(places):
        assert before.left + before.length < after.left


def test_lines_are_cut_by_visit_and_by_run_and_axes_carry_their_units(chart: Chart) -> None:
    text = json.dumps(spec_of(chart, [STAY], ["map", "lactate"]))
    assert '"mmHg"' in text
    assert '"mmol/L"' in text
    assert '"run"' in text
    assert str(STAY) not in text
    assert "interpolate" not in text


def test_channels_that_nobody_measured_make_no_chart(chart: Chart) -> None:
    assert spec_of(chart, [STAY], ["troponin_i"]) is None


def test_the_description_of_a_chart_is_one_that_altair_accepts(chart: Chart) -> None:
    stays = [visit.stay_id for visit in chart.visits(STAY)]
    spec = spec_of(chart, stays, ["map", "lactate", "temperature"])
    assert spec is not None
    alt.VConcatChart.from_dict(spec, validate=True)


def test_points_outside_the_normal_range_differ_in_shape_not_only_in_colour() -> None:
    frame = pd.DataFrame(
        {
            "stay_id": [1, 1, 1],
            "segment": [0, 0, 0],
            "hour": [0.0, 1.0, 2.0],
            "value": [10.0, 50.0, 90.0],
            "low": [20.0] * 3,
            "high": [80.0] * 3,
            "unit": ["u"] * 3,
            "title": ["t"] * 3,
            "category": [None] * 3,
        }
    )
    drawn = series_chart.prepare(frame, [visit_axis.Place(1, "v1", 0.0, 3.0, True)])
    assert drawn["standing"].tolist() == ["low", "within", "high"]


def test_one_label_is_answered_by_p_a_and_s() -> None:
    given_ = keys.choices(["septicemia"], None)
    assert [(c.key, c.answers) for c in given_] == [
        ("P", {"septicemia": "present"}),
        ("A", {"septicemia": "absent"}),
        ("S", {"septicemia": "cannot_tell"}),
    ]


def test_labels_decided_together_are_one_question_whose_answers_name_both_labels(tmp_path: Path) -> None:
    group = load().group_of("diabetes_with_complications")
    assert group is not None
    made = {c.key: c.answers for c in keys.choices(group.labels, group)}
    first, second = group.labels
    assert made["1"] == {first: "present", second: "absent"}
    assert made["2"] == {first: "absent", second: "present"}
    assert made["A"] == {first: "absent", second: "absent"}
    assert made["S"] == {first: "cannot_tell", second: "cannot_tell"}
    assert not {"C", "R"} & set(made)
