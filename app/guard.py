"""What each answer of the server carries for safety: headers, cookies' marks, and which requests get none at all.

Pages may load nothing but what this server sends: no other host, no frame, no script in the page itself. A request
under a foreign host name, or a socket that another site's page opens, is refused before Streamlit sees it (left to
itself, Streamlit would ask the internet for this machine's address to compare).
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from app.listening import LOOPBACK_NAMES, Told

NO_CAPABILITIES = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "magnetometer", "microphone", "midi", "payment", "serial", "usb", "xr-spatial-tracking",
)  # fmt: skip
UNUSED_PATHS = ("/_stcore/metrics", "/_stcore/agent")
_HASHED = "/static/"
_AUTH_COOKIES = ("_streamlit_user=", "_streamlit_user_")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def script_hashes(index: Path) -> list[str]:
    """Sources that allow the scripts standing in Streamlit's own first page, and no other script in a page."""
    scripts = _INLINE.findall(index.read_text(encoding="utf-8"))
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return [f"'sha256-{digest}'" for digest in digests]


def content_policy(hashes: Iterable[str]) -> str:
    """The content security policy of every answer.

    Styles may stand in the page: Streamlit sets them from its scripts. Scripts of components come as ``blob:`` that a
    script of this server made. Charts are drawn by an interpreter of expressions, so nothing needs ``eval``.
    """
    parts = {
        "default-src": ["'none'"],
        "script-src": ["'self'", "blob:", *hashes],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "media-src": ["'self'"],
        "worker-src": ["'self'", "blob:"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in parts.items())


def headers(told: Told, policy: str) -> dict[str, str]:
    """Headers of every answer."""
    sent = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": ", ".join(f"{name}=()" for name in NO_CAPABILITIES),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if told.secure:
        sent["Strict-Transport-Security"] = "max-age=31536000"
    return sent


class Guard:
    """ASGI middleware that adds the headers, marks the cookies, and refuses requests of other sites' pages."""

    def __init__(self, app: ASGIApp, told: Told, policy: str) -> None:
        self._app = app
        self._told = told
        self._headers = headers(told, policy)
        public = urlparse(told.public_address)
        self._origins = {f"{public.scheme}://{public.netloc}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        foreign = not self._own(asked.get("origin"), asked.get("host", ""))
        if scope["type"] == "websocket":
            if foreign:
                await WebSocketClose(code=1008)(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mark(scope, message)
            await send(message)

        if scope["path"].startswith(UNUSED_PATHS):
            await PlainTextResponse("Not found", status_code=404)(scope, receive, sending)
        elif foreign and scope["method"] not in _SAFE_METHODS:
            await PlainTextResponse("Not from this site", status_code=403)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _own(self, origin: str | None, host: str) -> bool:
        """Whether a request comes from this server's own pages; one without an origin is no browser's socket."""
        if origin is None or origin in self._origins:
            return True
        parts = urlparse(origin)
        named = (parts.hostname or "") if ":" not in (parts.hostname or "") else f"[{parts.hostname}]"
        return (
            parts.scheme in ("http", "https") and parts.netloc == host and named in (*self._told.hosts, *LOOPBACK_NAMES)
        )

    def _mark(self, scope: Scope, message: Any) -> None:
        sent = MutableHeaders(raw=message["headers"])
        for name, value in self._headers.items():
            sent[name] = value
        if not scope["path"].startswith(_HASHED):
            sent["Cache-Control"] = "no-store"
        cookies = [marked(value, self._told.secure) for value in sent.getlist("set-cookie")]
        if cookies:
            del sent["set-cookie"]
            for value in cookies:
                sent.append("set-cookie", value)


def marked(cookie: str, secure: bool) -> str:
    """A cookie that goes over HTTPS alone where browsers come so, and, where it says who someone is, with the browser.

    Streamlit would let the signed-in user's cookie stay for thirty days.
    """
    parts = [part.strip() for part in cookie.split(";")]
    if parts[0].startswith(_AUTH_COOKIES) and not _deletes(parts):
        parts = [part for part in parts if not part.lower().startswith(("max-age=", "expires="))]
    if secure and not any(part.lower() == "secure" for part in parts):
        parts.append("Secure")
    return "; ".join(parts)


def _deletes(parts: list[str]) -> bool:
    return any(part.lower() == "max-age=0" for part in parts)
