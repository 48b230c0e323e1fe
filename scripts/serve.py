"""Starting the review server and waiting until it answers."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from app.run import LOOPBACK, command, environment, url
from audit_store.errors import StoreError

STARTUP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def port_is_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def start(workspace: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the review server on the loopback address.

    Raises
    ------
    StoreError
        When the port is taken.
    """
    if not port_is_free(port):
        raise StoreError(f"port {port} free on this machine", "a server that already uses it", "give another --port")
    return subprocess.Popen(command(port), env=environment(workspace), stdin=subprocess.DEVNULL)


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when the server's health check answers.

    Raises
    ------
    StoreError
        When it ends, or does not answer within a minute.
    """
    address = f"http://{LOOPBACK}:{port}/_stcore/health"
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise StoreError("a running review server", f"one that ended with status {server.returncode}", "see above")
        try:
            with urllib.request.urlopen(address, timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    server.terminate()
    raise StoreError("the review server to answer", "no answer within a minute", "start it again")


def serve(workspace: Path, port: int, announce: str) -> int:
    """Run the server until it is stopped; print `announce` and the address when it is ready."""
    server = start(workspace, port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive this command
    try:
        wait_until_ready(server, port)
        print(f"{announce}\n\n    {url(port)}\n\nCtrl+C stops the server; nothing is lost.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
