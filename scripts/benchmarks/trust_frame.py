"""What `miracl benchmark trust` is made of: promises, how often each is tried, and the parts that try them.

A part is a function ``lines(size, scratch, say) -> list[Line]`` in a module of its own, loaded when it is asked for.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from core.errors import ConfigError

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """One promise and what came of trying to break it.

    Parameters
    ----------
    part, promise
        Name of the part (of `PARTS`), and the promise in words.
    asked, found
        How often or against what it was tried, and what was seen, with units.
    passed
        Whether it held.
    counterexample
        The first one found; None where there is none.
    measured
        False where it could not be tried on this machine; `found` says why, and it counts neither way.
    """

    part: str
    promise: str
    asked: str
    found: str
    passed: bool
    counterexample: str | None = None
    measured: bool = True


@dataclass(frozen=True)
class Size:
    """How much is tried.

    Parameters
    ----------
    name
        ``quick`` or ``full``.
    kills, tamperings, inputs
        How many of each.
    reviewers, decisions
        People at once, and answers of each.
    seed
        Of everything that is drawn at random.
    """

    name: str
    kills: int
    tamperings: int
    inputs: int
    reviewers: int
    decisions: int
    seed: int = 0


QUICK = Size("quick", kills=12, tamperings=60, inputs=150, reviewers=4, decisions=20)
FULL = Size("full", kills=200, tamperings=1000, inputs=2000, reviewers=20, decisions=500)

Part: TypeAlias = Callable[[Size, Path, Say], list[Line]]

PARTS: dict[str, str] = {
    "kills": "scripts.benchmarks.trust_kills:lines",
    "crowd": "scripts.benchmarks.trust_crowd:lines",
    "tamper": "scripts.benchmarks.trust_tamper:lines",
    "roles": "scripts.benchmarks.trust_roles:lines",
    "inputs": "scripts.benchmarks.trust_inputs:lines",
    "disk": "scripts.benchmarks.trust_disk:lines",
    "upgrade": "scripts.benchmarks.trust_upgrade:lines",
}
"""Name of each part and where its function stands, in the order in which they run."""


def chosen_parts(only: str | None) -> list[str]:
    """Names of the parts to run, from a list parted by commas; all where it is None.

    Raises
    ------
    ConfigError
        On a name that is no part's, or none at all.
    """
    if only is None:
        return list(PARTS)
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise ConfigError(f"parts of {', '.join(PARTS)}", ", ".join(unknown) or "none", "name some of them in --only")
    return [name for name in PARTS if name in names]


def load_part(name: str) -> Part:
    """Import a part's function."""
    module, _, function = PARTS[name].partition(":")
    part: Part = getattr(import_module(module), function)
    return part


def run_part(name: str, size: Size, scratch: Path, say: Say) -> list[Line]:
    """Run one part in a folder of its own; one that fails itself is a line that does not pass."""
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return load_part(name)(size, folder, say)
    except ModuleNotFoundError as error:
        ours = str(error.name).partition(".")[0] in ("app", "audit_store", "core", "scripts")
        found = f"no module {error.name}"
        return [Line(name, "the part can be run", "once", found, passed=False, measured=ours)]
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        return [Line(name, "the part runs to its end", "once", "it broke off", passed=False, counterexample=told)]


def run_parts(
    size: Size, scratch: Path, say: Say, names: Sequence[str] = tuple(PARTS), each: Say | None = None
) -> list[Line]:
    """Run parts one after the other; `each` is told a part's name before it begins."""
    found: list[Line] = []
    for name in names:
        if each is not None:
            each(name)
        found += run_part(name, size, scratch, say)
    return found
