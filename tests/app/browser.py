"""A real server and a real Chromium for the tests that need both."""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from app.listening import Listening
from app.run import command, environment

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
START_SECONDS = 60.0


def chromium() -> str:
    """Where Chromium is; without one the test is skipped, or fails where CI promises one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        words = "no chromium on this machine: install it (apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(workspace: Path, log: Path, listening: Listening | None = None) -> Iterator[str]:
    """Start the review server on a workspace; stop it after."""
    place = listening or Listening(free_port())
    scheme = "http" if place.certificate is None else "https"
    own = f"{scheme}://localhost:{place.port}"
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    told = environment(workspace, listening=place)
    with log.open("wb") as out:
        process = subprocess.Popen(command(place.port, place), env=told, stdout=out, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                try:
                    with urllib.request.urlopen(f"{own}/_stcore/health", timeout=2, context=unchecked):
                        break
                except (urllib.error.URLError, OSError):
                    if time.monotonic() > end or process.poll() is not None:
                        raise AssertionError(log.read_text(encoding="utf-8")[-2000:]) from None
                    time.sleep(0.2)
            yield own
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def browsing(width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A page of a fresh Chromium that may reach this machine alone."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        try:
            yield page
        finally:
            browser.close()


def settled(page: Page) -> None:
    """Wait until the server has nothing more to draw."""
    # by a locator: the server's content policy lets nobody evaluate text as a script
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(state="attached")
    page.wait_for_timeout(150)
