"""A message is one line that a terminal takes as it stands, however long or odd what it tells of."""

import pytest

from audit_store import errors as store_errors
from core import errors as core_errors


@pytest.mark.parametrize("told", [core_errors.told, store_errors.told], ids=["trainer", "store"])
class TestMessages:
    def test_a_short_one_stands_as_it_was_said(self, told: object) -> None:
        assert told("a file", "none", "make one") == "expected a file; got none; make one"  # type: ignore[operator]

    def test_what_came_is_cut_before_what_was_expected(self, told: object) -> None:
        line = told("a name of few letters", "x" * 10_000, "type a shorter one")  # type: ignore[operator]
        assert len(line) <= core_errors.LONGEST
        assert line.startswith("expected a name of few letters; got xxx")
        assert line.endswith("…; type a shorter one")

    def test_three_long_parts_leave_one_bounded_line(self, told: object) -> None:
        line = told("e " * 500, "c " * 500, "t " * 500)  # type: ignore[operator]
        assert len(line) <= core_errors.LONGEST
        assert line.count(";") == 2

    def test_control_characters_and_marks_of_direction_are_spelt_out(self, told: object) -> None:
        line = told("a\nb", "\u202e\x1b[31m\x00\ud800", "c\r\nd")  # type: ignore[operator]
        assert line == r"expected a b; got \u202e\x1b[31m\x00\ud800; c d"
        assert line.isprintable()
        line.encode("utf-8")
