"""Every public act of the store that somebody does, and which roles may: written down here, not read from the code.

`FOUND` lists the public functions of `audit_store` that take a store and a person; each has to stand in `ACTS` or, with
a reason, in `NO_ACT`. A new function that stands in neither is a finding.
"""

import inspect
import pkgutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import audit_store
from audit_store import (
    adjudication,
    answers,
    attestations,
    backup,
    batch_lists,
    batches,
    cases,
    chain,
    comments,
    decisions,
    export_files,
    exports,
    next_round,
    people,
    protocol,
    queue,
    roles,
    rounds,
    sessions,
    trail_file,
    trail_view,
    worklist,
)
from audit_store.database import Store
from audit_store.guidelines import load as load_guidelines
from audit_store.people import Person, operator
from audit_store.quality import report
from audit_store.round_reader import RoundFile
from scripts.benchmarks.trust_site import PASSWORD, invented_round

LETTERS = {"R": "reviewer", "J": "adjudicator", "S": "steward", "U": "auditor", "O": "operator"}
ALL = "RJSUO"
READERS = "RJS"
STEWARDS = "SO"
TRAIL = "SUO"


@dataclass
class Ground:
    """What acts are tried on: a store with a round, and fresh things to act on for each try."""

    store: Store
    round_file: RoundFile
    helpers: dict[str, Person]
    numbers: count  # type: ignore[type-arg]
    scratch: Path
    unspent: str | None = None

    def fresh(self) -> int:
        """A number that was not used before."""
        return int(next(self.numbers))

    def pair(self) -> tuple[int, str]:
        """A flagged pair, decided alone, that no try has used."""
        return self._pairs()[self.fresh()]

    def _pairs(self) -> list[tuple[int, str]]:
        if not hasattr(self, "_kept"):
            grouped = {key for keys in self.round_file.label_groups.values() for key in keys}
            rows = self.round_file.rows("SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY ALL")
            self._kept = [(int(stay), str(key)) for stay, key in rows if key not in grouped]
        return self._kept

    def spare(self) -> str:
        """Name of an account that a try may change, and that no try has changed."""
        if self.unspent is None:
            self.unspent = f"spare-{self.fresh()}"
            people.add_person(self.store, operator(), self.unspent, PASSWORD)
        return self.unspent

    def read(self) -> tuple[int, str]:
        """A pair that two helpers read, and differ on."""
        stay, key = self.pair()
        for name, answer in (("helper-1", "present"), ("helper-2", "absent")):
            reading = answers.Reading(1, stay, key, answer, comment="why" if name == "helper-1" else None)
            decisions.record(self.store, self.helpers[name], reading, decisions.new_token())
        return stay, key

    def comment(self) -> int:
        """Number of a comment."""
        stay, key = self.pair()
        reading = answers.Reading(1, stay, key, "present", comment="a colleague's name")
        told = decisions.record(self.store, self.helpers["helper-1"], reading, decisions.new_token())
        if told.comment_id is None:
            raise AssertionError("a comment that was not kept")
        return told.comment_id

    def batch(self, reader: str | None = "helper-1") -> str:
        """Name of a fresh batch, of a helper or nobody's."""
        drawn = batches.draw_batch(
            self.store, self.helpers["steward"], self.round_file, reader=reader, kind="flags", size=5,
            unassigned=reader is None,
        )  # fmt: skip
        if drawn is None:
            raise AssertionError("no pair left to draw")
        return drawn.name

    def folder(self) -> Path:
        """A folder to write in."""
        return Path(tempfile.mkdtemp(dir=self.scratch))


Tried = Callable[[Person], Any]


@dataclass(frozen=True)
class Act:
    """One act: the function, the roles that may, how it is made ready for one try.

    `looks` acts are open to somebody whose password is temporary; `own` acts also to one whose attestation expired.
    """

    function: Callable[..., Any]
    may: str
    ready: Callable[[Ground], Tried]
    looks: bool = False
    own: bool = False

    @property
    def name(self) -> str:
        """Module and function."""
        return f"{self.function.__module__.removeprefix('audit_store.')}.{self.function.__name__}"

    @property
    def roles(self) -> frozenset[str]:
        """The roles that may."""
        return frozenset(LETTERS[letter] for letter in self.may)


def _reading(ground: Ground) -> answers.Reading:
    stay, key = ground.pair()
    return answers.Reading(1, stay, key, "present")


def _record(ground: Ground) -> Tried:
    reading = _reading(ground)
    return lambda who: decisions.record(ground.store, who, reading, decisions.new_token())


def _record_together(ground: Ground) -> Tried:
    reading = _reading(ground)
    return lambda who: decisions.record_together(ground.store, who, [reading], decisions.new_token())


def _undo(ground: Ground) -> Tried:
    def act(who: Person) -> None:
        decisions.undo(ground.store, who, decisions.new_token())

    return act


def _adjudicate(ground: Ground) -> Tried:
    stay, key = ground.read()
    token = decisions.new_token()
    return lambda who: adjudication.adjudicate(ground.store, who, 1, stay, key, "absent", token=token)


def _adjudicate_together(ground: Ground) -> Tried:
    stay, key = ground.read()
    token = decisions.new_token()
    return lambda who: adjudication.adjudicate_together(ground.store, who, 1, stay, {key: "absent"}, token=token)


def _rationales(ground: Ground) -> Tried:
    stay, key = ground.read()
    return lambda who: adjudication.rationales(ground.store, who, stay, key)


def _on_account(function: Callable[..., Any], *values: Any) -> Callable[[Ground], Tried]:
    def ready(ground: Ground) -> Tried:
        name = ground.spare()
        return lambda who: function(ground.store, who, name, *values)

    return ready


def _enable(ground: Ground) -> Tried:
    name = "helper-closed"
    if people.find_person(ground.store, name) is None:
        people.add_person(ground.store, operator(), name, PASSWORD)
    people.disable_person(ground.store, operator(), name)
    return lambda who: people.enable_person(ground.store, who, name)


def _add(ground: Ground) -> Tried:
    name = f"added-{ground.fresh()}"
    return lambda who: people.add_person(ground.store, who, name, PASSWORD)


def _next(ground: Ground) -> tuple[int, Any, Any]:
    """What the trainer would hand over as the next round."""
    workspace = ground.store.workspace
    number = workspace.next_round()
    info, tables = invented_round(workspace, number, 5)
    return number, info, tables


def _publish(ground: Ground) -> Tried:
    number, info, tables = _next(ground)
    return lambda who: rounds.publish_round(ground.store, number, info, tables, who)


def _note_rounds(ground: Ground) -> Tried:
    number, info, tables = _next(ground)
    rounds.write_round(ground.store.workspace, number, info, tables)

    def act(who: Person) -> None:
        try:
            rounds.note_rounds(ground.store, [number], who)
        except BaseException:
            for path in (rounds_path(ground, number), ground.store.workspace.round_digest_path(number)):
                path.unlink()
            raise

    return act


def rounds_path(ground: Ground, number: int) -> Path:
    """File of a round."""
    return ground.store.workspace.round_path(number)


def _export(ground: Ground) -> Tried:
    return lambda who: exports.export_labels(ground.store, ground.round_file, who, formats=("parquet",))


def _download(ground: Ground) -> Tried:
    folder = exports.export_labels(ground.store, ground.round_file, operator(), formats=("csv",))
    number = int(folder.name.rpartition("-")[2])
    return lambda who: export_files.read_for_download(ground.store, who, number, ["listfile.csv"])


def _start(ground: Ground) -> Tried:
    words = [sys.executable, "-c", "pass"]
    return lambda who: next_round.start_next_round(ground.store, who, command=words)


def _backup(ground: Ground) -> Tried:
    target = ground.folder() / "kept"
    return lambda who: backup.back_up(ground.store, who, target, cohort=False, models=False)


def _write_trail(ground: Ground) -> Tried:
    target = ground.folder() / "trail.jsonl"
    return lambda who: trail_file.write_trail(ground.store, who, target)


def _draw(**words: Any) -> Callable[[Ground], Tried]:
    def ready(ground: Ground) -> Tried:
        return lambda who: batches.draw_batch(ground.store, who, ground.round_file, size=2, **words)

    return ready


def _take(ground: Ground) -> Tried:
    name = ground.batch(None)
    return lambda who: batch_lists.take_batch(ground.store, who, ground.round_file, name)


def _assign(ground: Ground) -> Tried:
    name = ground.batch(None)
    return lambda who: batch_lists.assign_batch(ground.store, who, name, "helper-2")


def _with_round(function: Callable[..., Any], *values: Any) -> Callable[[Ground], Tried]:
    return lambda ground: lambda who: function(ground.store, ground.round_file, who, *values)


def _plain(function: Callable[..., Any], *values: Any) -> Callable[[Ground], Tried]:
    return lambda ground: lambda who: function(ground.store, who, *values)


def _sign(ground: Ground) -> Tried:
    terms = protocol.Terms(batch_size=20 + ground.fresh() % 50)
    return lambda who: protocol.sign_protocol(ground.store, who, terms, load_guidelines())


def _redact(ground: Ground) -> Tried:
    number = ground.comment()
    return lambda who: comments.redact(ground.store, who, number, "named a colleague")


def _quality(function: Callable[..., Any]) -> Callable[[Ground], Tried]:
    return lambda ground: lambda who: function(ground.store, who, ground.round_file)


def _ask_attestation(ground: Ground) -> Tried:
    return lambda who: attestations.require_attestation(ground.store, who, False)


_ALL_EVENTS = trail_view.TrailFilter()
ACTS: tuple[Act, ...] = (
    Act(decisions.record, READERS, _record),
    Act(decisions.record_together, READERS, _record_together),
    Act(decisions.undo, READERS, _undo),
    Act(adjudication.adjudicate, "J", _adjudicate),
    Act(adjudication.adjudicate_together, "J", _adjudicate_together),
    Act(adjudication.rationales, "J", _rationales),
    Act(cases.conflict_items, "J", _with_round(cases.conflict_items)),
    Act(cases.settled, "JSUO", _with_round(cases.settled), looks=True),
    Act(batches.draw_batch, READERS, _draw()),
    Act(batches.draw_batch, STEWARDS, _draw(reader="helper-1")),
    Act(batches.draw_batch, STEWARDS, _draw(kind="flags", unassigned=True)),
    Act(batch_lists.take_batch, READERS, _take),
    Act(batch_lists.assign_batch, STEWARDS, _assign),
    Act(batch_lists.batches_for, ALL, _with_round(batch_lists.batches_for), looks=True),
    Act(batch_lists.open_batch_of, ALL, _with_round(batch_lists.open_batch_of), looks=True),
    Act(protocol.sign_protocol, STEWARDS, _sign),
    Act(next_round.start_next_round, STEWARDS, _start),
    Act(next_round.stop_next_round, STEWARDS, _plain(next_round.stop_next_round)),
    Act(exports.export_labels, STEWARDS, _export),
    Act(export_files.read_for_download, STEWARDS, _download),
    Act(backup.back_up, STEWARDS, _backup),
    Act(people.add_person, STEWARDS, _add),
    Act(people.disable_person, STEWARDS, _on_account(people.disable_person)),
    Act(people.enable_person, STEWARDS, _enable),
    Act(people.set_role, STEWARDS, _on_account(people.set_role, "auditor")),
    Act(people.set_password, STEWARDS, _on_account(people.set_password, "another one, quite long")),
    Act(people.set_attestation, STEWARDS, _on_account(people.set_attestation, "agreement", "2999-01-01")),
    Act(people.people_table, STEWARDS, _plain(attestations.people_table)),
    Act(attestations.require_attestation, STEWARDS, _ask_attestation),
    Act(comments.redact, STEWARDS, _redact),
    Act(chain.rebuild, STEWARDS, _plain(chain.rebuild)),
    Act(trail_view.trail_page, TRAIL, _plain(trail_view.trail_page, _ALL_EVENTS)),
    Act(trail_view.trail_choices, TRAIL, _plain(trail_view.trail_choices)),
    Act(trail_file.write_trail, TRAIL, _write_trail),
    Act(trail_file.json_lines, TRAIL, _plain(trail_file.json_lines)),
    Act(trail_file.csv_text, TRAIL, _plain(trail_file.csv_text, _ALL_EVENTS)),
    Act(report.quality, ALL, _quality(report.quality), looks=True),
    Act(report.own, ALL, _quality(report.own), looks=True),
    Act(queue.page, ALL, _with_round(queue.page), looks=True),
    Act(queue.next_items, ALL, _with_round(queue.next_items), looks=True),
    Act(queue.count, ALL, _with_round(queue.count), looks=True),
    Act(worklist.worklist, ALL, _with_round(worklist.worklist, None), looks=True),
    Act(roles.log_access, ALL, _plain(roles.log_access, "chart", 1), looks=True),
    Act(sessions.start_session, "RJSU", _plain(sessions.start_session), looks=True, own=True),
    Act(rounds.publish_round, STEWARDS, _publish),  # last: the others are tried on round 1 as the current one
    Act(rounds.note_rounds, STEWARDS, _note_rounds),
)

_CHECK = "it is the check itself"
_ARGUMENT = "it works out something from the person it is given, and tells nothing of the store"
_SELF = "it tells what the person it names did, to code that has checked who asks"
NO_ACT: dict[str, str] = {
    "roles.require": _CHECK,
    "roles.require_now": _CHECK,
    "roles.require_live": _CHECK,
    "roles.keep_a_steward": _CHECK,
    "worklist.sees_purpose": _ARGUMENT,
    "worklist.oversees": _ARGUMENT,
    "worklist.orders_for": _ARGUMENT,
    "worklist.held_in": _SELF,
    "trail_view.still_open": _SELF,
    "answers.current_answer": _SELF,
    "answers.recent": _SELF,
    "answers.activity": _SELF,
    "batch_lists.pace": _SELF,
    "batch_lists.batch_items": "a batch that is not one's own is refused to every role (tests of batches)",
    "cases.is_reader": _SELF,
    "people.change_own_password": "whoever knows the old password may, and nobody else (tests of people)",
    "restore.restore": "there is no store yet whose people could be asked; the command line alone calls it",
}


def found() -> set[str]:
    """Public functions of the store that take a person."""
    names = set()
    for module in pkgutil.walk_packages(audit_store.__path__, "audit_store."):
        if ".migrations" in module.name:
            continue
        loaded = import_module(module.name)
        for name, value in vars(loaded).items():
            if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.name:
                continue
            if any(parameter.annotation is Person for parameter in inspect.signature(value).parameters.values()):
                names.add(f"{module.name.removeprefix('audit_store.')}.{name}")
    return names


def unlisted() -> list[str]:
    """Functions that stand in no table, and lines of the tables that stand for no function."""
    listed = {act.name for act in ACTS} | NO_ACT.keys()
    return sorted(found() ^ listed)
