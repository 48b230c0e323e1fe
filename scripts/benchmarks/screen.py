"""How long a person waits at the screens: a real server on ten rounds of the paper's size, Chromium, other people.

    miracl benchmark screen

makes the workspace once (`screen_workspace`), then presses keys as a person does and reads the page's own clock. It
writes the table, the raw rows and the machine under `out`. Nothing is asserted: times hang on what else runs.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.states import snapshot
from core.errors import RunError
from core.fileio import replacing
from scripts.benchmarks.machine import machine, now
from scripts.benchmarks.screen_acts import (
    answers_go_on,
    change_filters,
    clear_batch,
    draw_series,
    hold_key,
    press,
    start,
)
from scripts.benchmarks.screen_crowd import Crowd
from scripts.benchmarks.screen_figures import SCHEMA, Row, markdown
from scripts.benchmarks.screen_page import Server, Traffic, browsing, serving, sign_in
from scripts.benchmarks.screen_tables import PAPER, QUICK
from scripts.benchmarks.screen_workspace import BROWSER, PASSWORD, Site, prepare, reader

if TYPE_CHECKING:
    from playwright.sync_api import Page

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Often:
    """How often each thing is done.

    Parameters
    ----------
    presses
        Of a key that shows the next pair, and of one that answers and goes on.
    beside
        Of the first, beside the crowd.
    filters, series, holds
        Changes of a filter, series drawn, keys held.
    warm_up
        First presses that don't count: caches fill.
    """

    presses: int = 64
    beside: int = 40
    filters: int = 24
    series: int = 24
    holds: int = 3
    warm_up: int = 4


PERSON = Often()
GLANCE = Often(presses=2, beside=2, filters=2, series=1, holds=1, warm_up=1)


class Clock:
    """Turns what an act sets off into rows."""

    def __init__(self, page: "Page", traffic: Traffic, server: Server, say: Callable[[str], object]) -> None:
        self.page, self.traffic, self.server, self.say = page, traffic, server, say
        self.sessions = 1
        self.rows: list[Row] = []

    def take(self, measure: str, number: int, act: Callable[[], dict[str, Any]], *, warm: bool, what: str = "") -> Row:
        """Do an act and keep its row."""
        self.traffic.reset()
        before = processor_ms(self.server)
        told = act()
        row = self.row(
            measure, number, warm_up=warm, what=what, server_cpu_ms=processor_ms(self.server) - before,
            bytes=self.traffic.received, messages=self.traffic.messages, **told,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def row(self, measure: str, number: int, **more: Any) -> Row:
        """Make a row with what all have; the rest is empty."""
        own = {"measure": measure, "number": number, "sessions": self.sessions, "warm_up": False}
        known = {**own, "load": os.getloadavg()[0], "made_at": now(), **more}
        return {name: known.get(name) for name in SCHEMA.names}

    def memory(self, number: int) -> None:
        """Keep how much memory the server has now."""
        self.rows.append(self.row("memory", number, memory_mib=self.server.memory_kib() / 1024))


def processor_ms(server: Server) -> float:
    """Processor time that the server has used, all threads, ms."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_MS


def run(cache: Path, out: Path | None, *, quick: bool, say: Callable[[str], object]) -> str:
    """Measure, print and write.

    Parameters
    ----------
    cache
        Folder of the workspace, safe to delete.
    out
        Folder of table, raw rows and machine; None for nowhere.
    quick
        A tiny size that only shows that everything runs.
    say
        Told what is being done.

    Returns
    -------
    str
        The table.
    """
    size, often = (QUICK, GLANCE) if quick else (PAPER, PERSON)
    site = prepare(cache, size, say)
    with (
        tempfile.TemporaryDirectory(prefix="miracl-screen-") as aside,
        serving(site.folder, Path(aside) / "server.log") as server,
        browsing() as (page, traffic),
    ):
        clock = Clock(page, traffic, server, say)
        browser = page.context.browser
        name = f"Chromium {browser.version}" if browser is not None else "Chromium"
        _sit(site, clock, often, size.readers)
    about = {
        **machine(),
        **{package: version(package) for package in ("streamlit", "duckdb", "playwright")},
        "browser": name,
        "rounds": size.rounds,
        "pairs": size.pairs,
        "decisions": snapshot(site.store).count,
        "taken_at": now(),
    }
    table = markdown(clock.rows, about)
    if out is not None:
        _write(out, table, clock.rows, about)
    return table


def _sit(site: Site, clock: Clock, often: Often, others: int) -> None:
    """Everything that is measured, one after the other; a part that the screens do not let through is told."""
    from playwright.sync_api import Error

    parts: tuple[tuple[str, Callable[[], None]], ...] = (
        ("queue", lambda: _queue(clock, often)),
        ("next pair", lambda: _next_pair(clock, often, others)),
        ("answers", lambda: _answers(site, clock, often)),
        ("long series", lambda: _long_series(site, clock, often)),
    )
    for name, part in parts:
        clock.say(f"{name} …")
        try:
            part()
        except (Error, RunError) as error:
            clock.sessions = 1
            clock.say(f"{name} ended early: {' '.join(str(error).split())[:300]}")


def _queue(clock: Clock, often: Often) -> None:
    sign_in(clock.page, clock.server.address, BROWSER, PASSWORD)
    for number, (what, act) in enumerate(change_filters(clock.page, often.filters + 1)):
        clock.take("filter", number, act, warm=number < 1, what=what)


def _next_pair(clock: Clock, often: Often, others: int) -> None:
    """Look at pair after pair, alone and then beside the crowd."""
    sign_in(clock.page, clock.server.address, BROWSER, PASSWORD)  # a sitting without filters
    start(clock.page)
    _press(clock, "next", "j", often.presses, often.warm_up)
    for number in range(3):
        clock.memory(number)
    with Crowd(clock.server.address, [reader(i + 1) for i in range(others)], PASSWORD) as crowd:
        clock.say(f"next pair, beside {crowd.ready} more sessions …")
        clock.sessions = 1 + crowd.ready
        for number in range(often.beside):
            _press(clock, "next", "j", 1, 0, number)
            clock.memory(number)
    clock.sessions = 1
    for failed in crowd.failed:
        clock.say(f"a session ended early: {failed}")


def _answers(site: Site, clock: Clock, often: Often) -> None:
    """Answer and go on with one key; then hold it."""
    sign_in(clock.page, clock.server.address, BROWSER, PASSWORD)
    start(clock.page)
    answers_go_on(clock.page)
    _press(clock, "answer", "a", often.presses, often.warm_up)
    for number in range(often.holds):
        clear_batch(clock.page)
        most, shown = hold_key(clock.page, site.store, "a")
        clock.rows.append(clock.row("held", number, decisions=most, pairs_shown=shown))


def _long_series(site: Site, clock: Clock, often: Often) -> None:
    acts = draw_series(clock.page, clock.server.address, site.long_links, (BROWSER, PASSWORD), often.series + 1)
    for number, act in enumerate(acts):
        clock.take("series", number, act, warm=number < 1)


def _press(clock: Clock, measure: str, key: str, times: int, warm_up: int, first: int = 0) -> None:
    for number in range(warm_up + times):
        clear_batch(clock.page)
        clock.take(measure, first + number, lambda: press(clock.page, key), warm=number < warm_up)


def _write(out: Path, table: str, rows: list[Row], about: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "screen.md") as path:
        path.write_text(table + "\n", encoding="utf-8")
    with replacing(out / "screen.parquet") as path:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression="zstd")
    with replacing(out / "screen.json") as path:
        path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
