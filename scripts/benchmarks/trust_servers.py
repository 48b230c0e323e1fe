"""Kills of whole servers: the review server with a browser at its keys, and PostgreSQL's processes under a reader."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from audit_store.database import open_store
from audit_store.decisions import recent
from audit_store.errors import AccessError
from audit_store.people import find_person
from scripts.benchmarks.screen_page import PERSON_MS, Server, browsing, serving, sign_in
from scripts.benchmarks.trust_checks import Acts, reopen, unsound
from scripts.benchmarks.trust_frame import Line, Say
from scripts.benchmarks.trust_site import PASSWORD, Place, account
from scripts.benchmarks.trust_victims import START_SECONDS, Victim, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROMISE = "what the page showed as answered is kept when the server is killed"
READER = "browser"
KEYS = ("p", "a", "s")
MOST_KEYS = 4
SHOWN_MS = 30_000
LAST_KEY_SECONDS = 0.4


def kill_servers(place: Place, kills: int, rng: random.Random, scratch: Path, say: Say) -> Line:
    """Press keys at a real server, kill it, start it again: every answer that the page had shown is there."""
    asked = f"{kills} kills of a server with Chromium at it"
    if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
        return Line("kills", PROMISE, asked, "no Chromium on this machine", passed=False, measured=False)
    settle(place)
    store = open_store(place.workspace())
    account(store, READER, "reviewer")
    store.close()
    shown, slowest, wrong = 0, 0.0, None
    starts: list[float] = []
    for number in range(kills):
        say(f"server {number + 1} of {kills}")
        answered, seconds, found = _one_server(place, rng, scratch / f"server-{number}.log", starts)
        shown, slowest = shown + answered, max(slowest, seconds)
        if found is not None and wrong is None:
            wrong = f"server {number + 1}: {found}"
    found_words = (
        f"{shown} answers shown, all kept; store open again after {slowest:.2f} s at most, "
        f"a server that starts anew (Python's imports with it) after {max(starts):.1f} s"
    )
    return Line("kills", PROMISE, asked, found_words, wrong is None, wrong)


def _one_server(place: Place, rng: random.Random, log: Path, starts: list[float]) -> tuple[int, float, str | None]:
    """Answer a few pairs, and kill the server at a random moment after one more key."""
    settle(place)
    before = _answers(place)
    began = time.perf_counter()
    with serving(place.folder, log) as server:
        starts.append(time.perf_counter() - began)
        shown = _read_and_kill(server, rng)
    opened = reopen(place)
    try:
        wrong = unsound(opened.store)
    finally:
        opened.store.close()
    more = _answers(place) - before
    if wrong is None and not shown <= more <= shown + 1:
        wrong = f"{shown} answers were shown, and {more} are kept"
    return shown, opened.seconds, wrong


def _read_and_kill(server: Server, rng: random.Random) -> int:
    """Answer a few pairs until each is shown as answered, press one more key, and kill the server; give how many."""
    with browsing() as (page, _):
        sign_in(page, server.address, READER, PASSWORD)
        page.get_by_role("button", name="reviewing").click()
        page.wait_for_selector(".question", timeout=SHOWN_MS)
        shown = rng.randint(1, MOST_KEYS)
        for _ in range(shown):
            _press(page, rng.choice(KEYS))
            page.wait_for_selector(".verdict", timeout=SHOWN_MS)
            _press(page, "j")
            page.wait_for_selector(".verdict", state="detached", timeout=SHOWN_MS)
        _press(page, "a")
        time.sleep(rng.uniform(0, LAST_KEY_SECONDS))
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    return shown


def _press(page: "Page", key: str) -> None:
    page.wait_for_timeout(PERSON_MS)
    page.keyboard.press(key)


def _answers(place: Place) -> int:
    """How many acts of the browser's reader are kept."""
    store = open_store(place.workspace())
    try:
        person = find_person(store, READER)
        if person is None:
            raise AccessError("the browser's account", "none", "add it")
        return int(recent(store, person, 10_000)["act"].nunique())
    finally:
        store.close()


def kill_backends(victim: Victim, place: Place, acts: Acts, rng: random.Random) -> None:
    """Kill PostgreSQL's process behind a reader, wait until the server has recovered, and hear what the reader told."""
    engine = create_engine(str(place.url))
    victim.under_way()
    victim.wait(rng.uniform(0, 0.5))
    query = text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
    with engine.connect() as connection:
        found = [int(pid) for pid in connection.execute(query).scalars()]
    os.kill(rng.choice(found), signal.SIGKILL)
    victim.wait(0.5)
    acts.hear(victim.kill())
    engine.dispose()
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with engine.connect():
                break
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    engine.dispose()
