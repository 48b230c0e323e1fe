"""What people do in a workspace, with made-up words in every field; each refusal's line is printed.

python -m tests.privacy.acts WORKSPACE, as a process that keeps quiet like the server.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit_store.adjudication import adjudicate
from audit_store.database import open_store
from audit_store.decisions import Reading, new_token, record, redact, undo
from audit_store.errors import StoreError
from audit_store.people import add_person, authenticate, operator, set_attestation, start_session
from audit_store.quiet import keep_quiet
from audit_store.rounds import open_round
from audit_store.trail_file import csv_text, json_lines
from audit_store.trail_view import TrailFilter
from audit_store.workspace import open_workspace
from tests.privacy.planted import WORDS


def refused(act: Callable[..., Any], *given: Any, **named: Any) -> None:
    """Do what can't be done; its line goes to standard output."""
    try:
        act(*given, **named)
    except StoreError as error:
        print(f"refused: {error}")
    else:
        raise AssertionError(f"{act.__name__} was let through")


def main(folder: Path) -> None:
    """Add people, read, disagree, settle, take a comment away, look at the trail, and make mistakes."""
    store = open_store(open_workspace(folder))
    word = WORDS["password"]
    people = {
        name: add_person(store, operator(), name, word, display_name=WORDS["display name"], role=role)
        for name, role in (("ada", "reviewer"), ("bea", "reviewer"), ("cleo", "adjudicator"), ("dora", "steward"))
    }
    set_attestation(store, people["dora"], "ada", WORDS["attestation"], "2030-01-31")
    start_session(store, authenticate(store, "ada", word))
    round_file = open_round(store.workspace)
    pairs = round_file.rows(
        "SELECT stay_id, label_key FROM pair JOIN label USING (label_id) WHERE flagged ORDER BY suspicion_rank"
    )
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    singles = [(int(stay), str(key)) for stay, key in pairs if key not in grouped]
    number = round_file.info.round_id
    said = f"{WORDS['comment']} was at the bedside"
    for stay, key in singles[:4]:
        first = record(store, people["ada"], Reading(number, stay, key, "present", comment=said), new_token())
        record(store, people["bea"], Reading(number, stay, key, "absent", comment=said), new_token())
    stay, key = singles[0]
    settled = f"{WORDS['adjudication comment']} settles it"
    adjudicate(store, people["cleo"], number, stay, key, "present", token=new_token(), comment=settled)
    again = singles[4]
    mine = record(store, people["ada"], Reading(number, *again, "present", comment=said), new_token())
    undo(store, people["ada"], new_token())
    redact(store, people["dora"], int(first.comment_id or 0), WORDS["redaction"])
    (folder / "trail.jsonl").write_bytes(json_lines(store, people["dora"]))
    (folder / "trail.csv").write_bytes(csv_text(store, people["dora"], TrailFilter()))

    ada = people["ada"]
    long = f"{WORDS['comment']} " * 400
    refused(authenticate, store, WORDS["typed name"], WORDS["typed password"])
    refused(authenticate, store, "ada", WORDS["typed password"])
    refused(add_person, store, ada, "eve", word, display_name=WORDS["display name"])
    refused(add_person, store, operator(), WORDS["typed name"] + " é", word)
    refused(add_person, store, operator(), "eve", word, role=WORDS["typed name"])
    refused(set_attestation, store, people["dora"], "ada", WORDS["attestation"], WORDS["typed name"])
    refused(record, store, ada, Reading(number, *singles[5], "present", comment=long), new_token())
    refused(record, store, ada, Reading(number, *singles[5], WORDS["typed name"]), new_token())
    refused(record, store, ada, Reading(number, singles[5][0], WORDS["typed name"], "present"), new_token())
    refused(record, store, ada, Reading(number, *singles[5], "absent", comment=f"{said}\ud800"), new_token())
    refused(adjudicate, store, ada, number, stay, key, "present", token=new_token(), comment=settled)
    refused(redact, store, ada, mine.comment_id, WORDS["redaction"])
    store.close()


if __name__ == "__main__":
    keep_quiet()
    main(Path(sys.argv[1]))
