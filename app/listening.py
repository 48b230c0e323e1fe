"""Where the server listens and under which address browsers know it: said once, by the command that starts it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlparse

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
PUBLIC_VARIABLE = "MIRACL_PUBLIC_ADDRESS"
HOSTS_VARIABLE = "MIRACL_HOSTS"
BEYOND_VARIABLE = "MIRACL_BEYOND_LOOPBACK"
PROXY_VARIABLE = "MIRACL_BEHIND_PROXY"


@dataclass(frozen=True)
class Listening:
    """How a server listens.

    Parameters
    ----------
    port, address
        Of the socket.
    certificate, key
        PEM files of its TLS; both or neither.
    proxy
        Origin under which a proxy shows it (``https://audit.example.org``); None without one.
    names
        Host names, besides this machine's loopback, under which browsers may ask for it; a leading ``*.`` stands for
        any name below a domain.
    """

    port: int = 8501
    address: str = LOOPBACK
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None
    names: tuple[str, ...] = ()

    @property
    def beyond(self) -> bool:
        """Whether others than this machine's own users reach it."""
        return self.proxy is not None or not is_loopback(self.address)

    @property
    def public_address(self) -> str:
        """The origin that browsers use."""
        if self.proxy is not None:
            return self.proxy
        scheme = "http" if self.certificate is None else "https"
        plain = [name for name in self.names if not name.startswith("*")]
        host = plain[0] if plain else "localhost" if is_loopback(self.address) else self.address
        return f"{scheme}://{host}:{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that a request may ask for."""
        own = urlparse(self.public_address).hostname or ""
        shown = f"[{own}]" if ":" in own else own
        return tuple(dict.fromkeys((*LOOPBACK_NAMES, shown, *self.names)))

    def flags(self) -> dict[str, str]:
        """Streamlit's options for it."""
        public = urlparse(self.public_address)
        port = public.port or (443 if public.scheme == "https" else 80)
        flags = {
            "server.address": self.address,
            "server.port": str(self.port),
            "browser.serverAddress": public.hostname or "localhost",
            "browser.serverPort": str(port),
        }
        if self.certificate is not None and self.key is not None:
            flags |= {"server.sslCertFile": str(self.certificate), "server.sslKeyFile": str(self.key)}
        return flags

    def environment(self) -> dict[str, str]:
        """What the server process is told of it."""
        told = {PUBLIC_VARIABLE: self.public_address, HOSTS_VARIABLE: ",".join(self.hosts)}
        if self.beyond:
            told[BEYOND_VARIABLE] = "1"
        if self.proxy is not None:
            told[PROXY_VARIABLE] = "1"
        return told


@dataclass(frozen=True)
class Told:
    """What a server process was told: its public origin, the hosts it answers for, who reaches it and by what way."""

    public_address: str
    hosts: tuple[str, ...]
    beyond: bool
    behind_proxy: bool

    @property
    def secure(self) -> bool:
        """Whether browsers come by HTTPS."""
        return self.public_address.startswith("https://")


def told(environ: Mapping[str, str] | None = None) -> Told:
    """Read what `Listening.environment` wrote; a server that was told nothing listens on the loopback address."""
    environ = os.environ if environ is None else environ
    hosts = tuple(name for name in environ.get(HOSTS_VARIABLE, "").split(",") if name)
    return Told(
        environ.get(PUBLIC_VARIABLE, "http://localhost:8501"),
        hosts or LOOPBACK_NAMES,
        environ.get(BEYOND_VARIABLE) == "1",
        environ.get(PROXY_VARIABLE) == "1",
    )


def is_loopback(address: str) -> bool:
    """Whether an address reaches this machine alone."""
    if address == "localhost":
        return True
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
