"""Two servers, the command line and a trainer on one workspace, people at real browsers, one person in two tabs."""

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from audit_store.answers import recent
from audit_store.database import Store, open_store
from audit_store.people import Person, find_person
from audit_store.verify import verify
from scripts.benchmarks.screen_page import Server, serving
from scripts.benchmarks.trust_site import AS_USED, PASSWORD, Place, make_place, reviewer, write_run
from scripts.benchmarks.trust_victims import Victim, publish
from tests.app.browser import FLAGS, chromium, settled
from tests.app.sitting import press, sign_in, start
from tests.scripts.conftest import run_miracl

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
FIRST, SECOND = reviewer(1), reviewer(2)


@dataclass(frozen=True)
class Site:
    """A workspace that two servers serve, and a browser."""

    place: Place
    store: Store
    servers: tuple[Server, Server]
    browser: Browser

    def tab(self, server: int, name: str) -> Page:
        """A tab of its own, signed in at one of the servers, with a pair on it."""
        page = self.browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        sign_in(page, self.servers[server].address, name, PASSWORD)
        start(page)
        return page

    def person(self, name: str) -> Person:
        """An account."""
        found = find_person(self.store, name)
        assert found is not None
        return found

    def answers(self, name: str) -> list[tuple[int, int, str, str]]:
        """Round, stay, label and answer of each of a reader's rows, oldest first."""
        rows = recent(self.store, self.person(name), 1_000).iloc[::-1]
        return list(zip(rows["round_id"], rows["stay_id"], rows["label_key"], rows["answer"], strict=True))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path, top = chromium(), tmp_path_factory.mktemp("many")
    place = make_place(top / "ward", stays=80, reviewers=2, terms=AS_USED, seed=3)
    store = open_store(place.workspace())
    with (
        serving(place.folder, top / "one.log") as one,
        serving(place.folder, top / "two.log") as two,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield Site(place, store, (one, two), browser)
        finally:
            browser.close()
            store.close()


def test_of_two_tabs_on_one_pair_one_answer_counts_and_the_other_tab_is_told(site: Site) -> None:
    one, other = site.tab(0, FIRST), site.tab(0, FIRST)
    assert one.locator(".question").inner_text() == other.locator(".question").inner_text()
    before = len(site.answers(FIRST))
    press(one, "a")
    expect(one.locator(".verdict").first).to_be_visible(timeout=30_000)
    kept = site.answers(FIRST)
    press(other, "s")
    told = other.locator("[data-testid=stToast]")
    expect(told).to_contain_text("a pair not yet answered by you", timeout=30_000)
    assert site.answers(FIRST) == kept
    assert len(kept) > before
    expect(other.locator(".verdict").first).to_be_visible(timeout=30_000)  # what was kept, not what was pressed
    one.context.close()
    other.context.close()


def test_two_servers_and_the_command_line_lose_nothing_of_each_other(site: Site) -> None:
    before = {name: len(site.answers(name)) for name in (FIRST, SECOND)}
    pages = {FIRST: site.tab(0, FIRST), SECOND: site.tab(1, SECOND)}
    with ThreadPoolExecutor(2) as commands:
        running = [commands.submit(run_miracl, verb, "--workspace", site.place.folder) for verb in ("export", "status")]
        for _ in range(3):
            for page in pages.values():
                press(page, "a")
                expect(page.locator(".verdict").first).to_be_visible(timeout=30_000)
                press(page, "j")
        done = [command.result() for command in running]
    for page in pages.values():
        page.context.close()
    assert [(command.returncode, command.stderr) for command in done] == [(0, ""), (0, "")]
    for name in pages:
        assert len(site.answers(name)) - before[name] >= 3
    assert verify(site.store) == []


def writers_of(pid: int, folder: Path) -> set[str]:
    """Names of a folder's files that a process holds open for writing now."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            path = Path(os.readlink(f"/proc/{pid}/fd/{number}"))
            flags = int(re.findall(r"flags:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{number}").read_text())[0], 8)
        except OSError:  # closed meanwhile
            continue
        if path.parent == folder and flags & os.O_ACCMODE != os.O_RDONLY:
            found.add(path.name)
    return found


def test_a_round_that_is_published_while_people_read_is_offered_and_their_batch_goes_on(site: Site) -> None:
    workspace = site.place.workspace()
    page = site.tab(0, SECOND)
    press(page, "a")
    press(page, "j")
    out = workspace.run_folder(2) / "out"
    write_run(workspace, out, 2, 5)
    trainer, written = Victim(publish, site.place, out, 2), set[str]()
    trainer.ready()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                written.update(writers_of(int(trainer.process.pid or 0), workspace.rounds.resolve()))
            except OSError:  # it has ended
                return
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert trainer.wait(120)
    finally:
        stop.set()
        watcher.join()
    assert trainer.kill()[-1] == ("kept", 2)
    assert written
    assert all(name.endswith(".part") or ".part." in name for name in written)  # aside, then renamed
    before = site.answers(SECOND)
    press(page, "a")
    expect(page.locator(".verdict").first).to_be_visible(timeout=30_000)
    expect(page.locator(".st-key-newer_round button").first).to_be_visible(timeout=30_000)  # offered
    assert {row[0] for row in site.answers(SECOND)[len(before) :]} == {1}  # and not forced: the batch goes on
    page.locator(".st-key-newer_round button").first.click()
    settled(page)
    start_again = page.get_by_role("button", name="reviewing")
    if start_again.count():
        start_again.click()
    expect(page.locator(".who", has_text="round 2")).to_be_visible(timeout=30_000)
    for server in site.servers:
        assert writers_of(server.process.pid, workspace.rounds.resolve()) == set()
    page.context.close()
    assert verify(site.store) == []
