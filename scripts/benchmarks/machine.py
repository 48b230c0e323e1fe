"""What a figure was made on: processor, versions, commit. It stands in every raw row."""

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from os import cpu_count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@cache
def machine() -> dict[str, Any]:
    """Processor, cores and versions; the commit of the code, with ``+`` where files of it have changed since."""
    return {
        "cpu": processor(),
        "cores": cpu_count() or 1,
        "python": platform.python_version(),
        **{name: _version(package) for name, package in PACKAGES.items()},
        "commit": commit(),
    }


PACKAGES = {"torch": "torch", "numpy": "numpy", "sklearn": "scikit-learn"}


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def device_name(device: str) -> str:
    """``cpu``, or the accelerator's kind and name."""
    if device == "cpu":
        return device
    import torch

    return f"{device}, {torch.cuda.get_device_name()}"


def commit(root: Path = ROOT) -> str:
    """Short hash of the working tree's commit; ``unknown`` outside a repository."""
    head = _git(root, "rev-parse", "--short=10", "HEAD")
    if head is None:
        return "unknown"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "core", "scripts")
    return f"{head}+" if changed else head


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
