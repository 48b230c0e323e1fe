"""The workspace that the screens are timed on: made once in a folder that is safe to delete; what is there is kept."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from audit_store.database import Store, open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.fileio import blake, canonical_json
from audit_store.people import Person, add_person, find_person, operator
from audit_store.queue import item_token
from audit_store.rounds import RoundFile, open_round, publish_round
from audit_store.states import snapshot
from audit_store.workspace import create_workspace
from core.errors import RunError
from scripts.benchmarks.screen_tables import LONG_HOURS, Size, round_info, round_tables, write_copies

VERSION = 1
"""Of what is invented; another one makes another folder."""
SEED = 30
BROWSER, PASSWORD = "bench", "screens are timed"
ANSWERS = ("present", "absent", "absent", "cannot_tell")


@dataclass(frozen=True)
class Site:
    """The workspace's folder, its store and last round, and links to the long stays."""

    folder: Path
    store: Store
    round_file: RoundFile
    long_links: tuple[str, ...]


def reader(number: int) -> str:
    """Name of a reader's account, from 1."""
    return f"reader-{number:02}"


def prepare(cache: Path, size: Size, say: Callable[[str], object]) -> Site:
    """Make the workspace, or what is missing of it; what is there is kept.

    Parameters
    ----------
    cache
        Folder that holds it, safe to delete.
    size
        How much.
    say
        Told what is being made.

    Raises
    ------
    RunError
        When the folder can't be written in.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise RunError(f"a folder to write in at {cache}", came, "name another with --cache") from None
    name = blake(canonical_json({**asdict(size), "version": VERSION}), size=4)
    folder = cache / f"screen-{size.stays}x{size.rounds}-{name}"
    workspace = create_workspace(folder)
    store = open_store(workspace)
    if not (workspace.cohort / "manifest.json").is_file():
        say(f"cohort of {size.stays:,} invented stays …")
        aside = workspace.cache / "pool"
        write_copies(workspace.cohort, aside, size, SEED)
        shutil.rmtree(aside)
    read = {name: pq.read_table(workspace.cohort / f"{name}.parquet") for name in ("stays", "labels")}
    notes = pq.read_table(workspace.cohort / "notes.parquet", columns=["stay_id", "note_id"])
    for round_id in range(1, size.rounds + 1):
        if round_id in workspace.round_ids():
            continue
        say(f"round {round_id} of {size.rounds}: {size.pairs:,} pairs …")
        tables = round_tables(read["stays"], read["labels"], notes, SEED + round_id)
        info = round_info(round_id, workspace.manifest(), tables, SEED + round_id)
        publish_round(store, round_id, info, tables, operator())
    people = [account(store, name) for name in (BROWSER, *(reader(i + 1) for i in range(size.readers)))]
    round_file = open_round(workspace)
    answer_flags(store, round_file, people[1:], size.decisions, say)
    return Site(folder, store, round_file, tuple(_long_links(store, round_file, read["stays"])))


def account(store: Store, name: str) -> Person:
    """Find an account that may review, or make it."""
    return find_person(store, name) or add_person(store, operator(), name, PASSWORD, role="reviewer")


def answer_flags(
    store: Store, round_file: RoundFile, people: list[Person], wanted: int, say: Callable[[str], object]
) -> None:
    """Answer flagged pairs, some of them by two readers, until the store holds `wanted` decisions."""
    there = snapshot(store)
    if there.count >= wanted:
        return
    say(f"{wanted - there.count:,} answers …")
    done = {(row["stay_id"], row["label_key"]) for row in there.states.select(["stay_id", "label_key"]).to_pylist()}
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    flags = round_file.rows(
        "SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY hash(suspicion_rank) LIMIT $1",
        (4 * wanted,),
    )
    open_ones = [(int(stay), str(key)) for stay, key in flags if key not in grouped and (stay, key) not in done]
    missing = wanted - there.count
    for number, (stay, key), (who, other) in _dealt(open_ones, people):
        both = (who, other) if number % 5 == 0 and other is not who else (who,)
        for place, person in enumerate(both):
            answer = ANSWERS[(number + place * (number % 2)) % len(ANSWERS)]
            record(store, person, Reading(round_file.info.round_id, stay, key, answer), new_token())
        missing -= len(both)
        if missing <= 0:
            return


def _dealt(
    pairs: list[tuple[int, str]], people: list[Person]
) -> Iterator[tuple[int, tuple[int, str], tuple[Person, Person]]]:
    dealt = zip(cycle(people), cycle(people[1:] + people[:1]), strict=False)
    for number, (pair, both) in enumerate(zip(pairs, dealt, strict=False)):
        yield number, pair, both


def _long_links(store: Store, round_file: RoundFile, stays: Any) -> Iterator[str]:
    """Tokens of one question about each long stay, of a label that is decided alone."""
    long = [row["stay_id"] for row in stays.to_pylist() if row["los_hours"] == LONG_HOURS and row["split"] == "train"]
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    alone = next(key for key in round_file.label_ids if key not in grouped)
    return (item_token(store.workspace, stay, (alone,)) for stay in long)
