"""The attrition log: counts that follow from one another."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.attrition import Attrition
from core.errors import CohortError


def test_each_line_takes_up_where_the_last_one_left_off() -> None:
    log = Attrition("unit stays", 10)
    log.keep("adults", 8)
    log.note("kept as not recorded: 3")
    log.keep("any data", 7)
    assert log.lines() == [
        {"criterion": "unit stays", "in": 10, "removed": 0, "out": 10},
        {"criterion": "adults", "in": 10, "removed": 2, "out": 8},
        {"criterion": "kept as not recorded: 3", "in": 8, "removed": 0, "out": 8},
        {"criterion": "any data", "in": 8, "removed": 1, "out": 7},
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_what_was_removed_and_what_is_left_add_up_to_the_first_count(counts: list[int]) -> None:
    ordered = sorted(counts, reverse=True)
    log = Attrition("all", ordered[0])
    for count in ordered[1:]:
        log.keep("criterion", count)
    assert sum(int(line["removed"]) for line in log.lines()) + log.remaining == ordered[0]


@pytest.mark.parametrize("remaining", [-1, 6])
def test_a_criterion_cannot_leave_more_than_came_in_or_fewer_than_none(remaining: int) -> None:
    with pytest.raises(CohortError):
        Attrition("all", 5).keep("criterion", remaining)


def test_a_negative_first_count_is_refused() -> None:
    with pytest.raises(CohortError):
        Attrition("all", -1)


def test_the_lines_are_copies() -> None:
    log = Attrition("all", 5)
    log.lines()[0]["out"] = 99
    assert log.remaining == 5
