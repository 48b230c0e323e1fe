"""How the review server is started: the command line and its environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from app.listening import LOOPBACK, Listening
from app.theme import SERVER_FLAGS, THEME_FLAGS

__all__ = [
    "DEMO_ADJUDICATOR",
    "DEMO_NAME",
    "DEMO_PASSWORD",
    "LOOPBACK",
    "WORKSPACE_VARIABLE",
    "Listening",
    "command",
    "environment",
]
WORKSPACE_VARIABLE = "MIRACL_WORKSPACE"
DEMO_NAME = "demo"
DEMO_ADJUDICATOR = "demo-adjudicator"
DEMO_PASSWORD = "demo-password"


def command(port: int = 8501, listening: Listening | None = None) -> list[str]:
    """The command that serves the screens; listens on this machine alone unless told otherwise.

    No page of it asks the internet for anything: usage statistics are off and every asset comes from the server.
    """
    place = listening or Listening(port)
    flags = {**place.flags(), **SERVER_FLAGS, **THEME_FLAGS}
    return [
        sys.executable,
        "-m",
        "app.server",  # Streamlit's command, in a process that keeps quiet
        "run",
        str(Path(__file__).with_name("asgi.py")),
        *[f"--{name}={value}" for name, value in flags.items()],
    ]


def environment(
    workspace: Path, base: Mapping[str, str] | None = None, listening: Listening | None = None
) -> dict[str, str]:
    """The server's environment: the workspace by name, how it is reached, and the installed packages on its path.

    Each drawing of a page is a new thread, and the C library gives threads memory arenas of their own, which fill up
    with what sessions leave behind; two arenas halve that. A value set outside stands.
    """
    environ = dict(os.environ if base is None else base)
    environ.setdefault("MALLOC_ARENA_MAX", "2")
    environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    environ[WORKSPACE_VARIABLE] = str(workspace.resolve())
    if listening is not None:
        environ |= listening.environment()
    root = str(Path(__file__).resolve().parents[1])
    environ["PYTHONPATH"] = os.pathsep.join(p for p in (root, environ.get("PYTHONPATH", "")) if p)
    return environ
