"""The parts all pages share say what they hold, and take data as data."""

from streamlit.testing.v1 import AppTest

from app.components.page import Column, Markup, table


def test_a_table_names_its_columns_and_rows_and_escapes_what_it_holds() -> None:
    html = table(
        [Column("Label"), Column("Pairs", number=True, help="Pairs read by two")],
        [["<b>odd</b> & 'quoted'", 3], [Markup("<b>meant</b>"), None]],
        'Pairs by "label"',
    )
    assert html.count('scope="col"') == 2
    assert html.count('scope="row"') == 2
    assert "&lt;b&gt;odd&lt;/b&gt; &amp; &#x27;quoted&#x27;" in html
    assert "<b>meant</b>" in html
    assert '<td class="n">3</td>' in html
    assert '<td class="n"></td>' in html
    assert "<caption class=sr>Pairs by &quot;label&quot;</caption>" in html


def test_a_page_has_one_first_level_heading_and_its_text_is_never_markup() -> None:
    app = AppTest.from_string(
        """
from app.components.page import empty, heading, section
heading("Quality <script>", "What & why")
section("Agreement")
empty("Nothing yet", "Read a pair.")
"""
    ).run()
    html = "".join(str(element.proto.body) for element in app.get("html"))
    assert html.count("<h1") == 1
    assert "<script>" not in html
    assert "What &amp; why" in html


def test_a_chart_carries_what_it_shows_as_text() -> None:
    app = AppTest.from_string(
        """
from app.components.page import chart
import altair as alt
import pandas as pd
table = pd.DataFrame({"x": [1, 2], "y": [3, 4]})
chart(alt.Chart(table).mark_point().encode(x="x", y="y"), "Two points")
chart({"mark": "point", "data": {"values": [{"x": 1}]}, "encoding": {"x": {"field": "x"}}}, "One point", key="one")
"""
    ).run()
    assert not app.exception
    assert [element.proto.alt for element in app.get("vega_lite_chart")] == ["Two points", "One point"]


def test_notes_are_one_element_whatever_was_found_so_that_none_outlives_its_patient() -> None:
    app = AppTest.from_string(
        """
import streamlit as st
from app.components.notes_view import draw_passages
from audit_store.chart.records import Note
note = Note(1, 7, 0, 2.0, "Nursing", "Resting, no complaints.", False, None, None, False)
for notes in ([], [note], [note, note]):
    with st.container(key=f"notes_{len(notes)}"):
        draw_passages([], [], notes, False)
"""
    ).run()
    assert not app.exception
    bodies = [str(element.proto.body) for element in app.get("html")]
    assert len(bodies) == 3
    assert [body.count("Resting") for body in bodies] == [0, 1, 2]


def test_the_series_have_the_room_of_notes_that_a_cohort_does_not_have() -> None:
    app = AppTest.from_string(
        """
from app.components.page import make_room
make_room("<p class='line two'>")
make_room("<p class='line'>", told=True, notes=False)
"""
    ).run()
    with_notes, without = (str(element.proto.body) for element in app.get("html"))
    assert "--foot-two" in with_notes
    assert "--notes" not in with_notes
    assert "--foot-told" in without
    assert "--notes: 0.2" in without
