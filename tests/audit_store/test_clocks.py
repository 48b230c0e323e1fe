"""Clocks that are wrong: the order is that of the numbers, an event keeps its time, and the trail says what is odd."""

import csv
import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from audit_store import ledger, people
from audit_store.database import utc_now
from audit_store.decisions import of_pair, undo
from audit_store.errors import AccessError
from audit_store.ledger import events_of
from audit_store.people import authenticate
from audit_store.trail_file import csv_text
from audit_store.trail_view import TrailFilter, trail_page
from audit_store.verify import verify

from .conftest import PASSWORD, Site


def test_a_clock_that_goes_back_keeps_the_order_the_answers_and_the_chain(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present")
    behind = first.created_at - timedelta(hours=1)
    monkeypatch.setattr(ledger, "utc_now", lambda: behind)
    second = site.say("ann", stay, key, "absent", supersedes=first.id)
    assert second.created_at == behind < first.created_at
    assert of_pair(site.store, stay, key)["answer"].tolist() == ["present", "absent"]
    monkeypatch.undo()
    taken = undo(site.store, site.people["ann"], "a token")
    assert [row.supersedes for row in taken] == [second.id]
    assert verify(site.store) == []
    lines = trail_page(site.store, site.people["aud"], TrailFilter(kinds=("decision",))).lines
    assert [line.seq for line in lines] == [taken[0].id, second.id, first.id]
    marks = [line.clock for line in lines]
    assert (marks[0], marks[2]) == ("", "")
    assert marks[1] == "clock 1:00:00 behind the event before"
    rows = csv.DictReader(io.StringIO(csv_text(site.store, site.people["aud"], TrailFilter()).decode()))
    assert [row["event"] for row in rows if row["clock"]] == [str(second.id)]


def test_a_clock_that_was_set_back_locks_nobody_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(people.SIGN_IN.free_failures):
        with pytest.raises(AccessError):
            authenticate(site.store, "ann", "wrong words")
    with pytest.raises(AccessError, match="wait"):
        authenticate(site.store, "ann", PASSWORD)
    behind = utc_now() - timedelta(days=1)
    monkeypatch.setattr(people, "utc_now", lambda: behind)
    assert authenticate(site.store, "ann", PASSWORD).name == "ann"


@pytest.fixture(params=["Pacific/Apia", "America/St_Johns", "Europe/Berlin", "XYZ-13:59:59"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A zone of the machine."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_times_are_utc_whatever_the_machines_zone(site: Site, zone: str) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    row = site.say("ann", *site.singles()[0], "present")
    after = datetime.now(UTC).replace(tzinfo=None)
    assert before <= row.created_at <= after
    assert verify(site.store) == []
    chosen = TrailFilter(since=before, until=after + timedelta(seconds=1))
    line = trail_page(site.store, site.people["aud"], chosen).lines[0]
    assert (line.seq, line.created_at, line.clock) == (row.id, row.created_at, "")
    assert trail_page(site.store, site.people["aud"], TrailFilter(until=before)).lines[0].seq == row.id - 1


def test_the_hour_that_daylight_saving_repeats_is_two_hours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        for moment in (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)):
            assert moment.astimezone().strftime("%H:%M") == "02:30"  # both are half past two on the wall
            monkeypatch.setattr(ledger, "utc_now", lambda moment=moment: moment.replace(tzinfo=None))
            site.say("ann", *site.singles()[moment.hour], "present")
        times = [event.created_at for event in events_of(site.store, "decision")]
        assert times[1] - times[0] == timedelta(hours=1)
        assert verify(site.store) == []
    finally:
        monkeypatch.undo()
        time.tzset()
