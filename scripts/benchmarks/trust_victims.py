"""What is killed: a reader at the app's functions, and the command line's verbs, each in a process of its own.

Processes are forked from one that has imported everything (`multiprocessing`'s fork server), so that a kill falls into
the work and not into Python's start.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from audit_store.chain import rebuild
from audit_store.database import open_store
from audit_store.errors import StoreError
from audit_store.people import operator
from scripts.benchmarks.trust_site import PASSWORD, Place

PRELOADED = ["scripts.benchmarks.trust_victims", "scripts.benchmarks.trust_sitting", "scripts.cli", "scripts.bridge"]
START_SECONDS = 120.0
SIGKILLED = -9
COMMANDS = ("export", "person", "verify", "backup")


class Victim:
    """A process that tells what it has done, and can be killed."""

    def __init__(self, work: Callable[..., None], *words: Any) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.heard: list[tuple[Any, ...]] = []
        self._ear, mouth = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(work, words, mouth), daemon=True)
        self.process.start()
        mouth.close()

    def ready(self) -> None:
        """Wait until it is about to work.

        Raises
        ------
        RuntimeError
            When it ended before, or does not begin.
        """
        if not self._ear.poll(START_SECONDS) or not self._hear() or self.heard[0][0] != "ready":
            self.kill()
            raise RuntimeError(f"a process did not begin its work: {self.heard}")

    def under_way(self) -> None:
        """Wait until it has begun its first act, or ended."""
        while self._ear.poll(START_SECONDS) and self._hear():
            if self.heard[-1][0] == "begin":
                return

    def wait(self, seconds: float) -> bool:
        """Wait for so long, or until it has ended; True where it has ended."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def kill(self) -> list[tuple[Any, ...]]:
        """Send SIGKILL, and return all that it told before."""
        self.process.kill()
        self.process.join()
        while self._hear():
            pass
        self._ear.close()
        return self.heard

    @property
    def ended(self) -> int | None:
        """Status of the process: 0 where it came to its end, −9 where it was killed, None while it runs."""
        return self.process.exitcode

    def _hear(self) -> bool:
        try:
            self.heard.append(self._ear.recv())
        except (EOFError, OSError):
            return False
        return True


def _run(work: Callable[..., None], words: Sequence[Any], told: Connection) -> None:
    try:
        work(*words, told)
    except StoreError as error:
        told.send(("refused", str(error)))


def settle(place: Place) -> None:
    """Point this process at a place's decisions."""
    os.environ.pop("MIRACL_DECISIONS_URL", None)
    os.environ.update(place.environment)


def command(place: Place, words: Sequence[str], typed: str, told: Any) -> None:
    """Run a verb of the command line; tell ("ready",) before it and ("kept", status) after."""
    from scripts.cli import app, guarded

    settle(place)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(silence, stream)
    sys.argv = ["miracl", *words]
    sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()))
    told.send(("ready",))
    told.send(("kept", guarded(app)))


def export(place: Place, told: Any) -> None:
    """Write an export."""
    command(place, ["export", "--workspace", str(place.folder)], "", told)


def add_person(place: Place, name: str, told: Any) -> None:
    """Add an account."""
    words = ["person", "add", name, "--role", "reviewer", "--password-stdin", "--workspace", str(place.folder)]
    command(place, words, f"{PASSWORD}\n", told)


def verify(place: Place, told: Any) -> None:
    """Walk everything."""
    command(place, ["verify", "--workspace", str(place.folder)], "", told)


def can_back_up() -> bool:
    """Whether the command line has a verb `backup`."""
    from scripts.cli import app

    return any((item.name or getattr(item.callback, "__name__", "")) == "backup" for item in app.registered_commands)


def backup(place: Place, target: Path, told: Any) -> None:
    """Take a backup."""
    command(place, ["backup", str(target), "--workspace", str(place.folder)], "", told)


def make_projections_anew(place: Place, told: Any) -> None:
    """Make the tables anew from the ledger."""
    settle(place)
    store = open_store(place.workspace())
    told.send(("ready",))
    told.send(("kept", rebuild(store, operator())))


def publish(place: Place, out: Path, round_id: int, told: Any) -> None:
    """Do what `miracl train` does when a run is through: put the model in place and publish the round."""
    from scripts.bridge import publish as publish_run
    from scripts.bridge import tidy

    settle(place)
    store = open_store(place.workspace())
    told.send(("ready",))
    tidy(store)
    if round_id not in store.workspace.round_ids():
        publish_run(store, round_id, out)
    told.send(("kept", round_id))
