"""Many readers at once: twenty over two servers on PostgreSQL, eight in one server on SQLite.

A server is a process whose threads each stand for a person: they draw batches, open charts and record by the functions
behind the app's keys, on one store. The first fifth of each one's answers comes without a pause, which no person can;
the rest at a steady pace, which is what the times are told of.
"""

import math
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from audit_store import tables
from audit_store.database import Store, open_store
from audit_store.ledger import events_of
from audit_store.verify import verify
from scripts.benchmarks.trust_frame import Line, Say, Size
from scripts.benchmarks.trust_postgres import cluster
from scripts.benchmarks.trust_site import FLAGS_ONLY, Place, furnish, make_cohort, reviewer
from scripts.benchmarks.trust_sitting import Sitting, context_of, sit
from scripts.benchmarks.trust_victims import PRELOADED, settle

PART = "crowd"
SERVERS = 2
POSTGRES_MS, SQLITE_MS = 100.0, 50.0
EMBEDDED_SHARE = 0.4
"""Of reviewers, and of the decisions of each, in one embedded server: 8 × 200 beside 20 × 500."""
HURRY_SHARE = 0.2
PACE_SECONDS = 1.0
FLAGS_A_STAY = 14
WARM_UP = 3
"""First answers of each reader that are not timed: connections are made and caches fill."""


@dataclass(frozen=True)
class Crowd:
    """Who reads where: reviewers, answers of each, servers, and the pause between answers [s]."""

    place: Place
    reviewers: int
    decisions: int
    servers: int
    pace: float = PACE_SECONDS

    @property
    def hurried(self) -> int:
        """Answers of each that come without a pause."""
        return max(1, int(self.decisions * HURRY_SHARE))


@dataclass
class Done:
    """What came of it: sittings without a pause and at a pace."""

    hurried: list[Sitting]
    paced: list[Sitting]

    @property
    def all(self) -> list[Sitting]:
        """Both."""
        return [*self.hurried, *self.paced]


def lines(size: Size, scratch: Path, say: Say) -> list[Line]:
    """Let crowds of `size.reviewers` × `size.decisions` read; three lines each."""
    few = max(2, round(size.reviewers * EMBEDDED_SHARE)), max(5, round(size.decisions * EMBEDDED_SHARE))
    found = []
    with cluster() as server:
        if server is None:
            words = "no PostgreSQL or no psycopg on this machine"
            asked = f"{size.reviewers} × {size.decisions} over {SERVERS} servers on PostgreSQL"
            found.append(Line(PART, "none lost, none twice", asked, words, passed=False, measured=False))
        else:
            place = Place(scratch / "postgres", server.create("crowd"))
            crowd = Crowd(place, size.reviewers, size.decisions, SERVERS)
            found += _one(crowd, "two servers on PostgreSQL", POSTGRES_MS, size.seed, say)
    settle(Place(scratch))
    crowd = Crowd(Place(scratch / "sqlite"), *few, servers=1)
    return found + _one(crowd, "one embedded server (SQLite)", SQLITE_MS, size.seed, say)


def _one(crowd: Crowd, where: str, limit: float, seed: int, say: Say) -> list[Line]:
    say(f"a workspace for {crowd.reviewers} readers on {where}")
    invite(crowd, seed)
    say(f"{crowd.reviewers} × {crowd.decisions} on {where}")
    done = gather(crowd, seed)
    say(f"counting, {where}")
    settle(crowd.place)
    store = open_store(crowd.place.workspace())
    try:
        return told(crowd, done, store, where, limit)
    finally:
        store.close()


def invite(crowd: Crowd, seed: int) -> None:
    """Make the workspace: enough flags for all, and their accounts."""
    settle(crowd.place)
    batches = 1 + math.ceil(crowd.decisions / FLAGS_ONLY.batch_size)  # each reader holds one that is not read out
    stays = max(60, crowd.reviewers * batches * FLAGS_ONLY.batch_size // FLAGS_A_STAY)
    store = open_store(make_cohort(crowd.place.folder, stays, seed))
    try:
        furnish(store, crowd.reviewers, FLAGS_ONLY, seed)
    finally:
        store.close()


def gather(crowd: Crowd, seed: int) -> Done:
    """Let everybody read, each server in a process of its own."""
    names = [reviewer(i + 1) for i in range(crowd.reviewers)]
    shares = [names[i :: crowd.servers] for i in range(crowd.servers)]
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    done = Done([], [])
    for decisions, pace, into in (
        (crowd.hurried, 0.0, done.hurried),
        (crowd.decisions - crowd.hurried, crowd.pace, done.paced),
    ):
        with ProcessPoolExecutor(crowd.servers, mp_context=context) as servers:
            for sittings in servers.map(
                serve,
                [crowd.place] * crowd.servers,
                shares,
                [decisions] * crowd.servers,
                [pace] * crowd.servers,
                [seed + i for i in range(crowd.servers)],
            ):
                into += sittings
    return done


def serve(place: Place, names: Sequence[str], decisions: int, pace: float, seed: int) -> list[Sitting]:
    """Stand for one server: a thread for each reader, on one store."""
    settle(place)
    rng = random.Random(seed)
    contexts = [context_of(place, name) for name in names]
    with ThreadPoolExecutor(len(names)) as threads:
        found = list(
            threads.map(
                sit, contexts, [decisions] * len(names), [pace] * len(names), [rng.randrange(1 << 30) for _ in names]
            )
        )
    contexts[0].store.close()
    return found


def told(crowd: Crowd, done: Done, store: Store, where: str, limit: float) -> list[Line]:
    """Make the lines of one crowd."""
    asked = f"{crowd.reviewers} × {crowd.decisions} in {where}"
    wrong = lost_or_twice(crowd, done, store)
    kept = sum(len(sitting.kept) for sitting in done.all)
    broken = next((str(finding) for finding in verify(store)), None)
    paced, hurried = milliseconds(done.paced), milliseconds(done.hurried)
    p50, p95 = np.percentile(paced, [50, 95])
    fast = np.percentile(hurried, [50, 95])
    times = (
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms at one answer in {crowd.pace:g} s each; "
        f"without any pause p50 {fast[0]:.0f} ms, p95 {fast[1]:.0f} ms"
    )
    late = None if p95 <= limit else f"p95 {p95:.0f} ms"
    return [
        Line(
            PART, "none lost, none twice", asked, f"{kept:,} acts acknowledged, each there once", wrong is None, wrong
        ),
        Line(PART, "the chain stays whole under a crowd", asked, "verified", broken is None, broken),
        Line(PART, f"a decision is on disk within {limit:.0f} ms (p95)", asked, times, late is None, late),
    ]


def milliseconds(sittings: Sequence[Sitting]) -> list[float]:
    """Times of `record` after each reader's first few, ms."""
    timed = (sitting.seconds[WARM_UP:] or sitting.seconds for sitting in sittings)
    return [1000 * seconds for each in timed for seconds in each] or [math.nan]


def lost_or_twice(crowd: Crowd, done: Done, store: Store) -> str | None:
    """Hold what readers were told against the store: the first act that failed, is missing, or is there twice."""
    for sitting in done.all:
        if sitting.errors:
            return f"{sitting.name}: {sitting.errors[0]}"
    answered = sum(len(sitting.kept) for sitting in done.all)
    if answered != crowd.reviewers * crowd.decisions:
        return f"{answered} acts in place of {crowd.reviewers * crowd.decisions}: pairs ran out"
    c = tables.decision.c
    with store.reading() as connection:
        rows = {str(act): int(n) for act, n in connection.execute(select(c.act, func.count()).group_by(c.act)).all()}
        pairs = select(c.reviewer, c.stay_id, c.label_key).group_by(c.reviewer, c.stay_id, c.label_key)
        twice = connection.execute(pairs.having(func.count() > 1).limit(1)).first()
    if twice is not None:
        return f"{twice.reviewer} has two answers on one pair"
    kept = {said.token: said.rows for sitting in done.all for said in sitting.kept}
    for token, count in kept.items():
        if rows.get(token) != count:
            return f"an acknowledged act of {count} rows has {rows.get(token, 0)}"
    if len(rows) != len(kept):
        return f"{len(rows) - len(kept)} acts that nobody was told of"
    events = len(events_of(store, "decision"))
    return None if events == sum(rows.values()) else f"{events} events of {sum(rows.values())} decisions"
