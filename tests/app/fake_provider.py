"""A small OpenID provider on this machine: it vouches for whoever the test says is at its keyboard."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlparse

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "miracl-test", "a secret of the client"


@dataclass
class Provider:
    """Who is signed in there, for how long its tokens hold, and what it was asked.

    `person` are the claims of whoever sits at the keyboard; `lifetime` is in seconds.
    """

    address: str
    key: RSAKey
    person: dict[str, Any] = field(default_factory=dict)
    lifetime: float = 3600.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    @property
    def metadata_url(self) -> str:
        """Address of the discovery document."""
        return f"{self.address}/.well-known/openid-configuration"

    def metadata(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "end_session_endpoint": f"{self.address}/end",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def token(self, nonce: str) -> str:
        """An ID token for the person at the keyboard."""
        now = int(time.time())
        claims = {"iss": self.address, "aud": CLIENT_ID, "iat": now, "exp": int(now + self.lifetime), "nonce": nonce}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, {**claims, **self.person}, self.key)
        self.tokens.append(signed)
        return signed

    def paths(self) -> list[str]:
        """Paths that were asked, in order."""
        return [path for path, _ in self.asked]


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the test's output."""

    def _json(self, body: Any, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _redirect(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        parsed = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(parsed.query).items()}
        self.provider.asked.append((parsed.path, query))
        if parsed.path == "/.well-known/openid-configuration":
            self._json(self.provider.metadata())
        elif parsed.path == "/keys":
            public = self.provider.key.as_dict(private=False)
            self._json({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})
        elif parsed.path == "/authorize":
            code = secrets.token_urlsafe(16)
            self.provider.codes[code] = query
            self._redirect(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")
        elif parsed.path == "/end":
            self._redirect(query["post_logout_redirect_uri"])
        else:
            self._json({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.provider.asked.append((self.path, form))
        asked = self.provider.codes.pop(form.get("code", ""), None)
        wanted = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        given = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(given).rstrip(b"=").decode()
        if asked is None or self.headers.get("Authorization") != wanted or challenge != asked["code_challenge"]:
            self._json({"error": "invalid_grant"}, 400)
            return
        self._json(
            {
                "access_token": secrets.token_urlsafe(16),
                "token_type": "Bearer",
                "expires_in": int(self.provider.lifetime),
                "id_token": self.provider.token(asked["nonce"]),
            }
        )


@contextmanager
def providing() -> Iterator[Provider]:
    """Run the provider on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}", RSAKey.generate_key(2048))
    server.RequestHandlerClass = type("Handler", (_Handler,), {"provider": provider})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
