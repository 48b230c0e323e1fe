"""The review command starts a server on this machine alone and takes it along when it ends."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from scripts.running import StopFlag
from scripts.serve import port_is_free
from tests.app.browser import free_port

from .conftest import ROOT, run_miracl


@pytest.mark.slow
def test_the_server_answers_and_ends_with_its_command(workspace_with_round: Path) -> None:
    added = run_miracl(
        "person", "add", "ada", "--password-stdin", "--workspace", workspace_with_round, stdin="long-password\n"
    )
    assert added.returncode == 0, added.stderr
    port = free_port()
    review = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", "review", "--workspace", str(workspace_with_round), "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert review.stdout is not None
    said = ""
    while "Ctrl+C" not in said:
        line = review.stdout.readline()
        assert line, said
        said += line
    assert f"http://localhost:{port}" in said
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
        assert answer.status == 200
    review.send_signal(signal.SIGTERM)
    review.wait(timeout=30)
    review.stdout.close()
    until = time.monotonic() + 10
    while not port_is_free(port) and time.monotonic() < until:
        time.sleep(0.1)
    assert port_is_free(port)


def test_a_stop_is_asked_for_once_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopFlag() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
