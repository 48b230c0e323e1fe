"""How the review server is started: the command line and its environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from app.theme import SERVER_FLAGS, THEME_FLAGS

WORKSPACE_VARIABLE = "MIRACL_WORKSPACE"
LOOPBACK = "127.0.0.1"
DEMO_NAME = "demo"
DEMO_PASSWORD = "demo-password"


def command(port: int = 8501, address: str = LOOPBACK, public_address: str = "localhost") -> list[str]:
    """The command that serves the screens; listens on this machine alone unless told otherwise.

    No page of it asks the internet for anything: usage statistics are off and every asset comes from the server.
    """
    flags = {
        "server.address": address,
        "server.port": str(port),
        "browser.serverAddress": public_address,
        **SERVER_FLAGS,
        **THEME_FLAGS,
    }
    main = Path(__file__).with_name("main.py")
    return [
        sys.executable,
        "-m",
        "app.server",  # Streamlit's command, in a process that keeps quiet
        "run",
        str(main),
        *[f"--{name}={value}" for name, value in flags.items()],
    ]


def environment(workspace: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The server's environment: the workspace by name, and the installed packages on its path.

    Each drawing of a page is a new thread, and the C library gives threads memory arenas of their own, which fill up
    with what sessions leave behind; two arenas halve that. A value set outside stands.
    """
    environ = dict(os.environ if base is None else base)
    environ.setdefault("MALLOC_ARENA_MAX", "2")
    environ[WORKSPACE_VARIABLE] = str(workspace.resolve())
    root = str(Path(__file__).resolve().parents[1])
    environ["PYTHONPATH"] = os.pathsep.join(p for p in (root, environ.get("PYTHONPATH", "")) if p)
    return environ


def url(port: int = 8501, public_address: str = "localhost") -> str:
    """Where a browser finds the screens."""
    return f"http://{public_address}:{port}"
