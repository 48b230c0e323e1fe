"""Starting the review server and waiting until it answers."""

import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from app.listening import LOOPBACK, Listening
from app.run import command, environment
from audit_store.errors import StoreError

STARTUP_SECONDS = 60.0
_POLL_SECONDS = 0.2


def port_is_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether nothing listens on this port of an address of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def start(workspace: Path, port: int, listening: Listening | None = None) -> subprocess.Popen[bytes]:
    """Start the review server, on the loopback address unless told otherwise.

    Raises
    ------
    StoreError
        When the port is taken.
    """
    place = listening or Listening(port)
    if not port_is_free(port, place.address.strip("[]")):
        raise StoreError(
            f"port {port} free on this machine",
            "a server that already uses it, or an address of no interface",
            "give another --port",
        )
    told = environment(workspace, listening=place)
    return subprocess.Popen(command(port, place), env=told, stdin=subprocess.DEVNULL)


def wait_until_ready(server: subprocess.Popen[bytes], port: int, listening: Listening | None = None) -> None:
    """Return when the server's health check answers.

    Raises
    ------
    StoreError
        When it ends, or does not answer within a minute.
    """
    place = listening or Listening(port)
    anywhere = {"0.0.0.0": LOOPBACK, "::": "::1"}
    host = anywhere.get(place.address, place.address)
    scheme = "http" if place.certificate is None else "https"
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/_stcore/health"
    asked = urllib.request.Request(address, headers={"Host": f"localhost:{port}"})
    unchecked = ssl.create_default_context()  # asks oneself, by an address that the certificate need not name
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    until = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise StoreError("a running review server", f"one that ended with status {server.returncode}", "see above")
        try:
            with urllib.request.urlopen(asked, timeout=1, context=unchecked) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    server.terminate()
    raise StoreError("the review server to answer", "no answer within a minute", "start it again")


def serve(workspace: Path, port: int, announce: str, listening: Listening | None = None) -> int:
    """Run the server until it is stopped; print `announce` and the address when it is ready."""
    place = listening or Listening(port)
    server = start(workspace, port, place)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive this command
    try:
        wait_until_ready(server, port, place)
        print(f"{announce}\n\n    {place.public_address}\n\nCtrl+C stops the server; nothing is lost.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
