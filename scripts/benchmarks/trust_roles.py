"""Role × action: every act by every role on a real store. What is allowed works; the rest is refused, writing nothing.

Besides the roles, people who are not what they were: closed, of another role, with an expired attestation, with a
temporary password, without an account, with a forged role. Each holds the `Person` of better days.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from audit_store.database import open_store, utc_now
from audit_store.decisions import new_token
from audit_store.errors import AccessError, StoreError
from audit_store.ledger import head
from audit_store.people import (
    Person,
    add_person,
    disable_person,
    operator,
    set_attestation,
    set_password,
    set_role,
)
from audit_store.protocol import Terms
from audit_store.rounds import open_round
from audit_store.verify import verify
from scripts.benchmarks.trust_acts import ACTS, LETTERS, Act, Ground, unlisted
from scripts.benchmarks.trust_frame import Line, Size
from scripts.benchmarks.trust_site import PASSWORD, furnish, make_cohort

__all__ = ["lines", "make_ground", "try_cell", "walk"]
_STAYS = 80
_TERMS = Terms(batch_size=5, double_share=0.0, control_share=0.0, audit_share=0.0)


@dataclass(frozen=True)
class Actor:
    """Somebody who tries acts: what they hold of themselves, and the role that counts (None: none does)."""

    words: str
    person: Person
    role: str | None
    temporary: bool = False
    barred: bool = False

    def may(self, act: Act) -> bool:
        """Whether an act has to work for them."""
        if self.role is None or self.role not in act.roles:
            return False
        if self.barred:
            return act.own
        return act.looks or not self.temporary


@dataclass(frozen=True)
class Cell:
    """What came of one try: None where it is as it has to be."""

    act: str
    actor: str
    allowed: bool
    wrong: str | None


def make_ground(folder: Path, seed: int = 0) -> Ground:
    """Make a workspace with a round, helpers and a protocol."""
    store = open_store(make_cohort(folder / "workspace", _STAYS, seed))
    furnish(store, 0, _TERMS, seed)
    helpers = {f"helper-{n}": add_person(store, operator(), f"helper-{n}", PASSWORD) for n in (1, 2)}
    helpers["steward"] = add_person(store, operator(), "helping-steward", PASSWORD, role="steward")
    scratch = folder / "scratch"
    scratch.mkdir()
    return Ground(store, open_round(store.workspace, 1), helpers, itertools.count(1), scratch)


def actors(ground: Ground) -> list[Actor]:
    """The roles, and people who are not what they were."""
    store, made = ground.store, []
    for role in list(LETTERS.values())[:4]:
        person = add_person(store, operator(), f"a-{role}", PASSWORD, role=role)
        made.append(Actor(role, person, role))
    made.append(Actor("operator", operator(), "operator"))
    for role in ("steward", "adjudicator"):
        closed = add_person(store, operator(), f"closed-{role}", PASSWORD, role=role)
        disable_person(store, operator(), closed.name)
        made.append(Actor(f"{role}, closed", closed, None))
        expired = add_person(store, operator(), f"expired-{role}", PASSWORD, role=role)
        yesterday = (utc_now() - timedelta(days=1)).date().isoformat()
        set_attestation(store, operator(), expired.name, "agreement", yesterday)
        made.append(Actor(f"{role}, attestation expired", expired, role, barred=True))
        given = add_person(store, operator(), f"given-{role}", PASSWORD, role=role)
        set_password(store, ground.helpers["steward"], given.name, "handed over, quite long")
        made.append(Actor(f"{role}, password temporary", given, role, temporary=True))
        demoted = add_person(store, operator(), f"demoted-{role}", PASSWORD, role=role)
        set_role(store, operator(), demoted.name, "auditor")
        made.append(Actor(f"{role} once, auditor now", demoted, "auditor"))
        forged = add_person(store, operator(), f"forged-{role}", PASSWORD)
        made.append(Actor(f"reviewer who says {role}", replace(forged, role=role), "reviewer"))
        made.append(Actor(f"nobody who says {role}", Person(f"nobody-{role}", "Nobody", role), None))
    made.append(Actor("a role that nobody knows", Person("king", "King", "king"), None))
    return made


def try_cell(ground: Ground, act: Act, actor: Actor) -> Cell:
    """Try one act by one actor."""
    tried, allowed = act.ready(ground), actor.may(act)
    if act.function.__name__ == "undo" and allowed:
        with suppress(StoreError):
            _answer(ground, actor.person)
    before, files = head(ground.store), _files(ground)
    wrong: str | None = None
    try:
        tried(actor.person)
        if not allowed:
            wrong = "it worked"
    except AccessError as error:
        if allowed:
            wrong = f"it was refused: {error.came}"
    except StoreError as error:
        wrong = f"{type(error).__name__} in place of {'what it does' if allowed else 'a refusal'}: {error.came}"
    if allowed:
        ground.unspent = None
    elif wrong is None and head(ground.store) != before:
        wrong = "it was refused, and the ledger grew"
    elif wrong is None and (left := _files(ground) - files):
        wrong = f"it was refused, and left {sorted(left)[0]}"
    return Cell(act.name, actor.words, allowed, wrong)


def _files(ground: Ground) -> set[str]:
    """Files of the workspace and beside it; the database's own log and locks come and go."""
    root = ground.scratch.parent
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.name.startswith((".", "decisions."))}


def _answer(ground: Ground, person: Person) -> None:
    from audit_store.answers import Reading
    from audit_store.decisions import record

    record(ground.store, person, Reading(1, *ground.pair(), "present"), new_token())


def walk(ground: Ground, say: Callable[[str], None], acts: tuple[Act, ...] = ACTS, every: int = 1) -> list[Cell]:
    """Try all acts by all actors, or each `every`-th cell of those who are not what they were."""
    team = actors(ground)
    cells = []
    for number, act in enumerate(acts):
        for place, actor in enumerate(team):
            if place < len(LETTERS) or (number + place) % every == 0:
                cells.append(try_cell(ground, act, actor))
        say(f"{act.name}: {len(cells)} cells")
    return cells


def lines(size: Size, scratch: Path, say: Callable[[str], None]) -> list[Line]:
    """Role × action as lines of the trust table."""
    missing = unlisted()
    told = [
        Line(
            "roles",
            "every public act of the store stands in the table",
            f"{len({act.name for act in ACTS})} functions by introspection",
            "all" if not missing else f"{len(missing)} not",
            not missing,
            missing[0] if missing else None,
        )
    ]
    ground = make_ground(scratch, size.seed)
    try:
        cells = walk(ground, say, every=1 if size.name == "full" else 4)
        for words, chosen in (
            ("what a role allows works", [cell for cell in cells if cell.allowed]),
            ("what it does not is refused, and writes nothing", [cell for cell in cells if not cell.allowed]),
        ):
            wrong = [cell for cell in chosen if cell.wrong is not None]
            first = f"{wrong[0].act} by {wrong[0].actor}: {wrong[0].wrong}" if wrong else None
            asked = f"{len(chosen)} cells, role × act"
            told.append(Line("roles", words, asked, f"{len(chosen) - len(wrong)} as said", not wrong, first))
        findings = [f for f in verify(ground.store) if not f.where.startswith("round-")]
        told.append(
            Line(
                "roles",
                "the chain holds after all of it",
                f"{head(ground.store).count:,} events",
                "whole" if not findings else "broken",
                not findings,
                str(findings[0]) if findings else None,
            )
        )
    finally:
        ground.store.close()
    return told
