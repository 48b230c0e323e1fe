"""A process without a way out: each name looked up and each connection beyond this machine is refused, and noted.

The seal is an audit hook, which Python code can't go round, put into a child process (and its own children) by a
`sitecustomize` on PYTHONPATH. What libraries written in C do by themselves it can't see; `test_outbound` looks at the
one of them that could (DuckDB's extensions) by its settings.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_SITE = """
import os, sys

_FOLDER = {folder!r}
_LOOPBACK = ("127.", "::1", "::ffff:127.", "localhost", "0.0.0.0", "::")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
_TALKS = ("socket.connect", "socket.sendto", "socket.sendmsg")


def _note(name, line):
    handle = os.open(os.path.join(_FOLDER, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, (line + "\\n").encode("utf-8", "backslashreplace"))
    finally:
        os.close(handle)


def _stays_here(host):
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    return host in (None, "") or str(host).startswith(_LOOPBACK)


def _seal(event, arguments):
    if event in _LOOKUPS:
        place = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
    elif event in _TALKS:
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket, or one that is connected already
            return
        place = address[0]
    else:
        return
    if not _stays_here(place):
        _note("tried.txt", f"{{event}} {{place}}")
        raise OSError(101, "sealed: this process may reach nothing but its own machine")


sys.addaudithook(_seal)
_note("sealed.txt", str(os.getpid()))
"""

_LOUD = """
import logging

logging.basicConfig(level=logging.DEBUG, filename=os.path.join(_FOLDER, f"debug-{{os.getpid()}}.log"))
logging.Logger.setLevel = lambda self, level: None  # whatever a library asks for, its loggers say everything
"""


def environment(folder: Path, base: Mapping[str, str] | None = None, *, loud: bool = False) -> dict[str, str]:
    """The environment of a sealed process.

    Parameters
    ----------
    folder
        Where the seal and its notes lie: ``sealed.txt`` (processes sealed), ``tried.txt`` (what they tried),
        ``debug-*.log`` where `loud`.
    base
        The environment to begin from; this process's own when not given.
    loud
        Every logger at DEBUG, whatever level anyone sets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _SITE + (_LOUD if loud else "")
    (folder / "sitecustomize.py").write_text(source.format(folder=str(folder)), encoding="utf-8")
    environ = dict(os.environ if base is None else base)
    for name in ("MIRACL_DECISIONS_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        environ.pop(name, None)
    environ["PYTHONPATH"] = os.pathsep.join(p for p in (str(folder), environ.get("PYTHONPATH", "")) if p)
    return environ


def tried(folder: Path) -> list[str]:
    """What sealed processes tried to reach, one line each."""
    file = folder / "tried.txt"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def processes(folder: Path) -> int:
    """How many processes ran under the seal."""
    file = folder / "sealed.txt"
    return len(set(file.read_text(encoding="utf-8").split())) if file.exists() else 0
