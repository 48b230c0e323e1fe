"""A real Chromium on the real server, timed from inside the page: from the press to the last change of text or chart.

What the page's own clock says is what counts, so the time that Playwright takes to speak with the browser is in none of
the figures. A time ends at the frame after the last change, and only once the script has run to its end.
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from app.desk import HELD_SECONDS, SEEN_SECONDS
from app.run import LOOPBACK, command, environment
from core.errors import ConfigError, RunError

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
START_SECONDS = 60.0
QUIET_MS = 400
"""The page is taken to be complete when the script has ended and nothing changed for as long."""
LIMIT_MS = 30_000
IDLE_MS = 3_000
"""A press that sets nothing off within it is dropped."""
PERSON_MS = 1000 * (HELD_SECONDS + SEEN_SECONDS) + 150
"""Between presses, as a person does: the app takes sooner ones for a held key."""

PROBE = (
    """
window.probe = (() => {
  const CHART = '[data-testid="stVegaLiteChart"], [data-testid="stArrowVegaLiteChart"], .vega-embed';
  const app = () => document.querySelector('[data-testid="stApp"]');
  const running = () => app()?.getAttribute('data-test-script-state') !== 'notRunning';
  const TEXT = '[data-testid="stMain"] .stHtml, [data-testid="stBottom"] .stHtml';
  const ELEMENT = '[data-testid="stMain"] [data-testid="stElementContainer"]';
  const count = what => document.querySelectorAll(what).length;
  const FOLDED = 'details:not([open]) > :not(summary)';
  const shown = e => { const c = e.cloneNode(true); c.querySelectorAll(FOLDED).forEach(f => f.remove());
                       return c.textContent; };
  const texts = () => Array.from(document.querySelectorAll(TEXT), shown).join('\\n');
  const place = () => document.querySelector('.place')?.textContent || '';
  let state = null;
  const finish = (s) => {
    s.observer.disconnect();
    clearInterval(s.timer);
    for (const name of ['keydown', 'pointerdown']) window.removeEventListener(name, s.begin, true);
    const since = t => t === null ? null : t - s.start;
    const ready = Math.max(s.scriptAt || 0, s.lastAt || 0) || null;
    s.resolve({ready: since(ready), place: since(s.placeAt), text: since(s.textAt), chart: since(s.chartAt),
               last: since(s.lastAt),
               script: since(s.scriptAt), reruns: s.reruns, charts: count(CHART), elements: count(ELEMENT)});
  };
  const arm = (on) => {
    const s = {start: null, placeAt: null, textAt: null, chartAt: null, lastAt: null, scriptAt: null, reruns: 0,
               quietFrom: null, was: running(), place: place(), texts: texts(), dirty: false, chartDirty: false};
    s.done = new Promise(resolve => { s.resolve = resolve; });
    s.begin = (event) => {
      if (s.start === null && event.type === on) { s.start = event.timeStamp; s.quietFrom = s.start; s.was = false; }
    };
    for (const name of ['keydown', 'pointerdown']) window.addEventListener(name, s.begin, true);
    const frame = () => {
      s.framed = false;
      const now = performance.now();
      if (s.chartDirty) { s.chartAt = now; s.chartDirty = false; }
      if (!s.dirty) return;
      s.dirty = false;
      const here = place();
      if (here && here !== s.place) { s.place = here; s.placeAt = now; }
      const all = texts();
      if (all !== s.texts) { s.texts = all; s.textAt = now; }
      s.lastAt = now;
    };
    s.observer = new MutationObserver(records => {
      if (s.start === null) return;
      s.quietFrom = performance.now();
      let seen = false;
      for (const record of records) {
        const node = record.target.nodeType === 1 ? record.target : record.target.parentElement;
        const added = record.type === 'childList' && Array.from(record.addedNodes).some(
          n => n.nodeType === 1 && (n.matches(CHART) || n.querySelector(CHART)));
        if (node?.closest(CHART) || added) { s.chartDirty = true; seen = true; }
        if (node?.closest('[data-testid="stMain"], [data-testid="stBottom"]')) { s.dirty = true; seen = true; }
      }
      const now = running();
      if (now && !s.was) s.reruns += 1;
      if (!now && s.was) s.scriptAt = performance.now();
      s.was = now;
      if (seen && !s.framed) { s.framed = true; requestAnimationFrame(frame); }
    });
    s.observer.observe(document.documentElement, {childList: true, subtree: true, characterData: true, attributes: true,
      attributeFilter: ['data-test-script-state', 'd', 'width', 'height', 'transform', 'aria-label', 'hidden']});
    s.timer = setInterval(() => {
      if (s.start === null) return;
      const now = performance.now();
      const ended = s.scriptAt !== null && !running() && now - s.quietFrom > QUIET;
      const idle = s.reruns === 0 && !running() && now - s.start > IDLE;
      if (ended || idle || now - s.start > LIMIT) finish(s);
    }, 50);
    state = s;
  };
  return {arm, done: () => state.done};
})();
""".replace("QUIET", str(QUIET_MS))
    .replace("LIMIT", str(LIMIT_MS))
    .replace("IDLE", str(IDLE_MS))
)


@dataclass
class Server:
    """A running review server."""

    address: str
    process: "subprocess.Popen[bytes]"

    def memory_kib(self) -> int:
        """Resident memory of the server's process, KiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


@dataclass
class Traffic:
    """Bytes and messages on a page's WebSocket since `reset`."""

    received: int = 0
    messages: int = 0
    sizes: list[int] = field(default_factory=list)

    def reset(self) -> None:
        """Begin anew."""
        self.received = self.messages = 0
        self.sizes.clear()

    def take(self, body: "str | bytes") -> None:
        """Count one message."""
        self.received += len(body)
        self.messages += 1
        self.sizes.append(len(body))


def chromium() -> str:
    """Where Chromium is.

    Raises
    ------
    ConfigError
        When there is none.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise ConfigError("Chromium on this machine", "none", "install it, for example apt-get install chromium")


@contextmanager
def serving(workspace: Path, log: Path) -> Iterator[Server]:
    """Start the review server on a free port of this machine; stop it after."""
    with socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(port), env=environment(workspace, dict(os.environ)), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://localhost:{port}"
            _answers(address, process)
            yield Server(address, process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(address: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RunError("the review server to answer", "no answer", "see its log beside the rows")


@contextmanager
def browsing(width: int = 1440, height: int = 900) -> Iterator["tuple[Page, Traffic]"]:
    """A page of a fresh Chromium, and what its WebSocket carries."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.add_init_script(PROBE)
        traffic = Traffic()
        page.on("websocket", lambda wire: wire.on("framereceived", traffic.take))
        try:
            yield page, traffic
        finally:
            browser.close()


def settled(page: "Page") -> None:
    """Wait until the server has nothing more to draw."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(state="attached")
    page.wait_for_timeout(300)


def timed(page: "Page", act: Any, on: str = "keydown") -> dict[str, Any]:
    """Time what an act of the person's sets off, in the page's own clock.

    Parameters
    ----------
    page
        Where.
    act
        Called without arguments once the page listens.
    on
        The event that starts the clock: ``keydown`` or ``pointerdown``.

    Returns
    -------
    dict
        Milliseconds to the new pair's head (`place`), the last change of text (`text`), of a chart (`chart`), of
        anything (`last`), to the script's end (`script`), and to the later of both (`ready`); None where nothing of
        it changed.
    """
    page.evaluate("on => window.probe.arm(on)", on)
    act()
    told: dict[str, Any] = page.evaluate("() => window.probe.done()")
    return told


def _sign_out(page: "Page") -> None:
    """End the sitting; pressed again where a page that was being drawn anew took no notice."""
    from playwright.sync_api import TimeoutError as TooLong

    form = page.locator(".st-key-sign_in_name input")
    for last in (False, False, True):
        settled(page)
        page.locator(".st-key-sign_out button").click()
        try:
            form.wait_for(timeout=LIMIT_MS if last else LIMIT_MS / 3)
            break
        except TooLong:
            if last:
                raise
    settled(page)


def sign_in(page: "Page", address: str, name: str, password: str) -> None:
    """Sign in with a named account at an address of the server's; a sitting that is there ends first."""
    if page.locator(".st-key-sign_out button").count():
        _sign_out(page)
    page.goto(address)
    page.locator(".st-key-sign_in_name input").fill(name)
    page.locator(".st-key-sign_in_password input").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator(".st-key-sign_in_name").wait_for(state="detached", timeout=LIMIT_MS)
    settled(page)
