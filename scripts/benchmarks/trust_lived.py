"""A workspace in which everything has happened at least once: every table holds rows, every kind of file is there."""

from dataclasses import dataclass
from pathlib import Path

from audit_store.adjudication import adjudicate
from audit_store.attestations import require_attestation
from audit_store.batches import assign_batch, batch_items, draw_batch
from audit_store.comments import redact
from audit_store.database import Store, open_store
from audit_store.decisions import Reading, new_token, record, undo
from audit_store.errors import StoreError
from audit_store.exports import export_labels
from audit_store.ledger import head
from audit_store.people import (
    Person,
    authenticate,
    change_own_password,
    disable_person,
    end_session,
    log_access,
    operator,
    set_attestation,
    set_role,
    start_session,
)
from audit_store.rounds import open_round, publish_round
from scripts.benchmarks.trust_site import AS_USED, PASSWORD, STEWARD, account, furnish, invented_round, make_cohort

STAYS = 60
ANSWERS = ("present", "absent", "absent", "cannot_tell")


@dataclass(frozen=True)
class Lived:
    """The workspace's folder, how many events it holds, and earlier states (the database and its head file)."""

    folder: Path
    events: int
    earlier: tuple[tuple[bytes, bytes], ...]


def make_lived(folder: Path, seed: int = 0, acts: int = 24) -> Lived:
    """Make such a workspace; its store is closed again.

    Parameters
    ----------
    folder
        A folder that is not there yet.
    seed
        Of the patients and of the round.
    acts
        Answers that each of two readers gives.
    """
    workspace = make_cohort(folder, STAYS, seed)
    earlier = []
    for step in (_begin, _read, _read_more, _end):
        store = open_store(workspace)
        step(store, acts, seed)
        count = head(store).count
        store.close()
        earlier.append(((folder / "decisions.sqlite").read_bytes(), workspace.head_file.read_bytes()))
    return Lived(folder, count, tuple(earlier[:-1]))


def _begin(store: Store, acts: int, seed: int) -> None:
    readers = furnish(store, 2, AS_USED, seed)
    account(store, "adjudicator", "adjudicator")
    account(store, "leaver", "reviewer")
    change_own_password(store, readers[0], PASSWORD, f"{PASSWORD} again")
    end_session(store, start_session(store, authenticate(store, readers[1].name, PASSWORD)))
    try:
        authenticate(store, readers[1].name, "not this one")
    except StoreError:
        log_access(store, readers[1], "chart", 1)
    steward = account(store, STEWARD, "steward")
    set_attestation(store, operator(), STEWARD, "data use 1.5", "2099-01-01")
    require_attestation(store, steward, True)
    require_attestation(store, steward, False)
    set_attestation(store, steward, readers[0].name, "data use 1.5", "2099-01-01")
    set_role(store, steward, "leaver", "auditor")
    disable_person(store, steward, "leaver")


def _people(store: Store) -> tuple[Person, Person, Person, Person]:
    one, other = account(store, "reviewer-01", "reviewer"), account(store, "reviewer-02", "reviewer")
    return one, other, account(store, "adjudicator", "adjudicator"), account(store, STEWARD, "steward")


def _read(store: Store, acts: int, seed: int) -> None:
    """Draw batches, read some of them, and hand one over."""
    one, other, _, steward = _people(store)
    round_file = open_round(store.workspace, 1)
    for person in (one, other):
        batch = draw_batch(store, person, round_file)
        if batch is None:
            raise RuntimeError("no batch could be drawn")
        items = batch_items(store, round_file, person, batch)[:acts]
        for number, item in enumerate(items):
            comment = f"reading {number} of {person.name}: ä" if number % 3 == 0 else None
            seconds = 3.25 + number if number % 2 == 0 else None
            key = item.label_keys[0]
            answer = Reading(
                1, item.stay_id, key, ANSWERS[number % 4], comment=comment, active_seconds=seconds, position=number
            )
            record(store, person, answer, new_token())
        undo(store, person, new_token())
        log_access(store, person, "note", 1, items[0].stay_id, items[0].label_keys[0])
    waiting = draw_batch(store, steward, round_file, kind="controls", size=5, unassigned=True)
    if waiting is not None:
        assign_batch(store, steward, waiting.name, one.name)
    export_labels(store, round_file, operator(), formats=("csv",))
    round_file.close()


def _read_more(store: Store, acts: int, seed: int) -> None:
    """Disagree on pairs that nobody was given, settle them, and take the text of a comment out."""
    one, other, adjudicator, steward = _people(store)
    round_file = open_round(store.workspace, 1)
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    flags = round_file.rows(
        "SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY suspicion_rank DESC"
    )
    pairs = [(int(stay), str(key)) for stay, key in flags if key not in grouped]
    said = 0
    for stay, key in pairs:
        if said == 3:
            break
        try:
            first = record(store, one, Reading(1, stay, key, "present", comment="a name"), new_token())
            record(store, other, Reading(1, stay, key, "absent"), new_token())
        except StoreError:
            continue
        adjudicate(store, adjudicator, 1, stay, key, "absent", comment="settled", token=new_token())
        if said == 0 and first.comment_id is not None:
            redact(store, steward, first.comment_id, "named a colleague")
        said += 1
    round_file.close()


def _end(store: Store, acts: int, seed: int) -> None:
    """Publish another round and export it."""
    info, tables = invented_round(store.workspace, 2, seed)
    publish_round(store, 2, info, tables, operator())
    round_file = open_round(store.workspace, 2)
    export_labels(store, round_file, account(store, STEWARD, "steward"))
    round_file.close()
