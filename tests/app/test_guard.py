"""What each answer of a real server carries: headers, cookies' marks; and which requests get none."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.guard import content_policy, marked
from app.listening import Listening, told
from tests.app.browser import free_port, serving
from tests.app.invented import FLAGS, make_workspace

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PATHS = ("/", "/queue", "/_stcore/health", "/_stcore/host-config", "/nothing/here", "/media/none.bin")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "cert.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test"
    names = ["-addext", "subjectAltName=DNS:audit.test,DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", *words.split(), *names, "-keyout", str(pair[1]), "-out", str(pair[0])],
        check=True,
        capture_output=True,
    )
    return pair


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, tls: tuple[Path, Path]) -> Iterator[dict[str, int]]:
    """Two servers on one workspace: one for this machine, one with TLS for a public name."""
    folder = tmp_path_factory.mktemp("guard")
    place = make_workspace(folder / "workspace", FLAGS[:1])
    here = Listening(free_port())
    beyond = Listening(free_port(), "127.0.0.1", *tls, proxy=None, names=("audit.test", "localhost"))
    with serving(place.folder, folder / "here.log", here), serving(place.folder, folder / "beyond.log", beyond):
        yield {"http": here.port, "https": beyond.port}
    place.store.close()


def ask(port: int, path: str, *, secure: bool = False, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One request; the answer, its body read."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    made = (
        http.client.HTTPSConnection("127.0.0.1", port, context=unchecked, timeout=20)
        if secure
        else http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    )
    try:
        made.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = made.getresponse()
        answer.read()
        return answer
    finally:
        made.close()


@pytest.mark.slow
def test_every_answer_carries_every_header_and_the_cookies_their_marks(servers: dict[str, int]) -> None:
    for scheme, port in servers.items():
        secure = scheme == "https"
        for path in PATHS:
            sent = {name.lower(): value for name, value in ask(port, path, secure=secure).getheaders()}
            assert {name: sent.get(name) for name in EVERYWHERE} == EVERYWHERE, path
            assert sent["cache-control"] == "no-store", path
            assert "camera=()" in sent["permissions-policy"]
            policy = dict(part.split(" ", 1) for part in sent["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == "'none'"
            assert "unsafe" not in policy["script-src"]
            assert not re.search(r"https?:|wss?:|\*", sent["content-security-policy"])
            assert ("strict-transport-security" in sent) is secure
        cookie = ask(port, "/_stcore/health", secure=secure).getheader("set-cookie") or ""
        assert cookie.startswith("_streamlit_xsrf=")
        assert "SameSite=Lax" in cookie
        assert ("; Secure" in cookie) is secure
        script = re.search(r'src="\./(static/js/[^"]+)"', _first_page(port, secure))
        assert script is not None
        kept = ask(port, f"/{script.group(1)}", secure=secure)
        assert (kept.status, kept.getheader("cache-control")) == (200, "public, immutable, max-age=31536000")
        assert kept.getheader("x-content-type-options") == "nosniff"


def _first_page(port: int, secure: bool) -> str:
    import urllib.request

    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    scheme = "https" if secure else "http"
    with urllib.request.urlopen(f"{scheme}://localhost:{port}/", context=unchecked, timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_foreign_hosts_and_other_sites_pages_get_nothing(servers: dict[str, int]) -> None:
    port = servers["http"]
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", ""):
        assert ask(port, "/", Host=host).status == 400, host
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert ask(port, "/", Host=host).status == 200, host
    assert ask(port, "/_stcore/upload_file/a/b", method="PUT", Origin="https://evil.example").status == 403
    for path in ("/_stcore/metrics", "/_stcore/agent/mcp", "/_stcore/agent/openapi.json"):
        assert ask(port, path).status == 404
    own = f"http://localhost:{port}"
    for origin, status in (
        (own, 101),
        (f"http://127.0.0.1:{port}", 403),
        ("https://evil.example", 403),
        ("null", 403),
        (f"http://localhost:{port + 1}", 403),
    ):
        assert handshake(port, origin) == status, origin


def handshake(port: int, origin: str) -> int:
    """Status of a web socket's opening that a page of this origin asks for."""
    lines = (
        "GET /_stcore/stream HTTP/1.1",
        f"Host: localhost:{port}",
        f"Origin: {origin}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: streamlit",
        "",
        "",
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall("\r\n".join(lines).encode())
        return int(wire.recv(64).split(b" ")[1])


def test_the_cookie_that_says_who_someone_is_goes_with_the_browser() -> None:
    given = "_streamlit_user=abc; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax"
    assert marked(given, secure=False) == "_streamlit_user=abc; HttpOnly; Path=/; SameSite=lax"
    assert marked(given, secure=True).endswith("; Secure")
    assert marked(given.replace("_user=", "_user_tokens="), secure=False).count("Max-Age") == 0
    gone = 'x="_streamlit_user=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"'
    assert "Max-Age=0" in marked(gone.removeprefix('x="'), secure=True)
    assert marked("_streamlit_xsrf=1; Path=/; Secure", secure=True).count("Secure") == 1


def test_the_policy_names_no_host_and_allows_no_script_of_the_page() -> None:
    policy = content_policy(["'sha256-x'"])
    assert "http" not in policy
    assert "script-src 'self' blob: 'sha256-x';" in policy


def test_a_server_is_told_how_it_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Listening(8600, "0.0.0.0", Path("c"), Path("k"), names=("*.wards.test", "audit.test"))
    assert shown.public_address == "https://audit.test:8600"
    assert shown.beyond
    assert "server.sslCertFile" in shown.flags()
    proxied = Listening(8600, proxy="https://audit.example.org")
    assert proxied.beyond
    assert proxied.flags()["browser.serverPort"] == "443"
    for place in (shown, proxied, Listening(8600, "::1")):
        heard = told(place.environment())
        assert (heard.public_address, heard.hosts, heard.beyond) == (place.public_address, place.hosts, place.beyond)
        assert json.dumps(place.environment())
    assert not Listening(8600).beyond
    for name in [name for name in os.environ if name.startswith("MIRACL_")]:
        monkeypatch.delenv(name)
    assert not told().beyond
