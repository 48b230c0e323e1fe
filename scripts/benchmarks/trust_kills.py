"""SIGKILL at random moments: of readers, of the command line's verbs, of a real server, of PostgreSQL's own processes.

After each kill the store is opened anew and everything in it is compared with what the killed processes had told, each
by a pipe, once the store had said that it was kept.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit_store.database import open_store
from scripts.benchmarks import trust_victims as victims
from scripts.benchmarks.trust_checks import Acts, half_files, leftovers, lost_or_halved, reopen, unfinished, unsound
from scripts.benchmarks.trust_frame import Line, Say, Size
from scripts.benchmarks.trust_postgres import cluster
from scripts.benchmarks.trust_servers import kill_backends, kill_servers
from scripts.benchmarks.trust_site import AS_USED, Place, furnish, make_cohort, make_place, reviewer, write_run
from scripts.benchmarks.trust_sitting import answer_until_killed
from scripts.benchmarks.trust_victims import SIGKILLED, Victim

PART = "kills"
LIMIT_SECONDS = 2.0
STAYS = 300
REVIEWERS = 4
READING_SECONDS = 0.6
"""A reader is killed within it, counted from the first act: some thirty acts, one after the other without a pause."""
WHILE_DRAWING = 0.15
"""Share of readers killed before: while they open the store and draw their batch."""
SHARES = {
    "reader": 0.52,
    "export": 0.14,
    "publish": 0.08,
    "person": 0.08,
    "rebuild": 0.04,
    "verify": 0.02,
    "backup": 0.04,
}
"""Of the kills on SQLite; a twentieth and an eighth of all are of real servers and on PostgreSQL."""
SERVERS, ON_POSTGRES = 1 / 20, 1 / 8
AGAIN = ("export", "publish")
"""What a person runs again after a kill, and what then has to clean up."""


@dataclass
class Tally:
    """Kills, and the first thing that each promise's check found wrong."""

    kills: int = 0
    through: int = 0
    slowest: float = 0.0
    wrong: dict[str, str] = field(default_factory=dict)

    def blame(self, promise: str, kind: str, what: str | None) -> None:
        """Keep the first counterexample of a promise."""
        if what is not None:
            self.wrong.setdefault(promise, f"kill {self.kills} ({kind}): {what}")


@dataclass
class Target:
    """A place that is shot at: what was told there, and how long each kind of work takes undisturbed."""

    place: Place
    rng: random.Random
    acts: Acts = field(default_factory=Acts)
    lasts: dict[str, float] = field(default_factory=dict)
    number: int = 0

    def start(self, kind: str) -> Victim:
        """Start a process of a kind of work, and wait until it is about to begin."""
        self.number += 1
        victim = self._start(kind)
        victim.ready()
        return victim

    def _start(self, kind: str) -> Victim:
        place, number = self.place, self.number
        if kind == "reader":
            return Victim(answer_until_killed, place, reviewer(1 + number % REVIEWERS), self.rng.randrange(1 << 30))
        if kind == "person":
            return Victim(victims.add_person, place, f"added-{number:04}")
        if kind == "backup":
            return Victim(victims.backup, place, place.folder.with_name(f"backup-{number:04}.tar"))
        if kind == "publish":
            workspace = place.workspace()
            round_id = workspace.next_round()
            out = workspace.run_folder(round_id) / "out"
            if not (out / "model").is_dir():
                write_run(workspace, out, round_id, self.rng.randrange(1 << 16))
            return Victim(victims.publish, place, out, round_id)
        works: dict[str, Callable[..., None]] = {
            "export": victims.export,
            "rebuild": victims.make_projections_anew,
            "verify": victims.verify,
        }
        return Victim(works[kind], place)

    def run(self, kind: str) -> str | None:
        """Let a kind of work run to its end, as a person would; say what went wrong."""
        victim = self.start(kind)
        began = time.perf_counter()
        ended = victim.wait(victims.START_SECONDS)
        self.lasts[kind] = time.perf_counter() - began
        told = victim.kill()
        if not ended:
            return f"{kind} does not come to an end"
        done = told[-1]
        failed = kind in victims.COMMANDS and done[-1] != 0
        return f"{kind} fails: {done}" if victim.ended != 0 or done[0] != "kept" or failed else None

    def shoot(self, kind: str, tally: Tally) -> None:
        """Kill one process of a kind of work at a random moment, and look at what is left."""
        if kind != "reader" and kind not in self.lasts:
            tally.blame("files", kind, self.run(kind))
        victim = self.start(kind)
        if kind == "reader" and self.rng.random() > WHILE_DRAWING:
            victim.under_way()
        victim.wait(self.rng.uniform(0, self.lasts.get(kind, READING_SECONDS)))
        self.acts.hear(victim.kill())
        tally.kills += victim.ended == SIGKILLED
        tally.through += victim.ended != SIGKILLED
        self.examine(kind, tally)

    def examine(self, kind: str, tally: Tally) -> None:
        """Open anew and hold everything against what was told."""
        opened = reopen(self.place)
        try:
            tally.slowest = max(tally.slowest, opened.seconds)
            late = f"open again after {opened.seconds:.2f} s" if opened.seconds > LIMIT_SECONDS else None
            tally.blame("open", kind, late)
            tally.blame("acts", kind, lost_or_halved(opened.store, self.acts))
            tally.blame("files", kind, half_files(opened.store))
            tally.blame("chain", kind, unsound(opened.store))
        finally:
            opened.store.close()

    def clean(self, tally: Tally) -> None:
        """Run again what was killed, to its end: nothing may be left over, and nothing missing in the ledger."""
        for kind in AGAIN:
            tally.blame("files", kind, self.run(kind))
        left = leftovers(self.place.folder)
        tally.blame("files", "the end", f"left aside: {', '.join(left[:3])}" if left else None)
        opened = reopen(self.place)
        try:
            tally.blame("chain", "the end", unfinished(opened.store))
        finally:
            opened.store.close()


def lines(size: Size, scratch: Path, say: Say) -> list[Line]:
    """Kill `size.kills` processes; one line a promise."""
    servers = max(1, round(size.kills * SERVERS))
    on_postgres = max(2, round(size.kills * ON_POSTGRES))
    rng = random.Random(size.seed)
    say("a workspace to harm")
    target = Target(
        make_place(scratch / "sqlite", stays=STAYS, reviewers=REVIEWERS, terms=AS_USED, seed=size.seed), rng
    )
    tally = on_sqlite(target, size.kills - servers - on_postgres, say)
    return [
        *told(tally, target, "SQLite, app's functions and command line"),
        kill_servers(target.place, servers, rng, scratch, say),
        *_postgres(on_postgres, rng, scratch, say),
    ]


def on_sqlite(target: Target, kills: int, say: Say) -> Tally:
    """Kill readers and verbs of the command line, in an order drawn by chance."""
    tally = Tally()
    for kind in drawn(kills, SHARES, target.rng):
        say(f"kill {tally.kills + 1} of {kills}: {kind}")
        while tally.kills < kills:
            before = tally.kills
            target.shoot(kind, tally)
            if tally.kills > before:
                break
    target.clean(tally)
    return tally


def drawn(kills: int, shares: dict[str, float], rng: random.Random) -> list[str]:
    """Deal kills out to kinds of work by their shares, shuffled; the first kind gets what rounding leaves."""
    known = {kind: share for kind, share in shares.items() if kind != "backup" or victims.can_back_up()}
    total = sum(known.values())
    dealt = [kind for kind, share in known.items() for _ in range(round(kills * share / total))][:kills]
    dealt += [next(iter(known))] * (kills - len(dealt))
    rng.shuffle(dealt)
    return dealt


def told(tally: Tally, target: Target, where: str) -> list[Line]:
    """Make the lines of what was killed in one place."""
    acts = target.acts
    asked = f"{tally.kills} kills ({where})"
    unheard = len(acts.begun) - len(acts.kept)
    made: Sequence[tuple[str, str, str]] = (
        (
            "acts",
            "no acknowledged decision is lost, none is kept by half",
            f"{len(acts.kept):,} acts acknowledged, all there and whole; {unheard} begun and cut off",
        ),
        (
            "chain",
            "the chain and every table that follows from it stay whole",
            "walked after each kill",
        ),
        (
            "files",
            "exports, rounds and backups are complete or absent",
            "what is left aside is never read",
        ),
        ("open", "open again in under 2 s", f"slowest {tally.slowest:.2f} s"),
    )
    return [
        Line(PART, promise, asked, found, name not in tally.wrong, tally.wrong.get(name))
        for name, promise, found in made
    ]


def _postgres(kills: int, rng: random.Random, scratch: Path, say: Say) -> list[Line]:
    """Kill readers on PostgreSQL, and PostgreSQL's own processes under readers."""
    say("a PostgreSQL to harm")
    with cluster() as server:
        if server is None:
            words = "no PostgreSQL or no psycopg on this machine"
            return [Line(PART, "the same on PostgreSQL", f"{kills} kills", words, passed=False, measured=False)]
        place = Place(scratch / "postgres", server.create("kills"))
        victims.settle(place)
        workspace = make_cohort(place.folder, STAYS, 1)
        opened = open_store(workspace)
        furnish(opened, REVIEWERS, AS_USED, 1)
        opened.close()
        target, tally = Target(place, rng), Tally()
        backends = max(1, kills // 5)
        while tally.kills < kills - backends:
            say(f"kill {tally.kills + 1} of {kills} on PostgreSQL")
            target.shoot("reader", tally)
        while tally.kills < kills:
            say(f"kill {tally.kills + 1} of {kills}: PostgreSQL's own process")
            kill_backends(target.start("reader"), place, target.acts, rng)
            tally.kills += 1
            target.examine("server process", tally)
        made = told(tally, target, f"PostgreSQL, {backends} of its own processes")
        victims.settle(Place(scratch))
        return [line for line in made if "exports" not in line.promise]
