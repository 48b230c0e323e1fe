"""The demo's people: one who reads, one who settles conflicts, and two simulated readers who leave some to settle.

The simulated readers are programs, and everything says so: their accounts' names, the reason of each answer
(`audit_store.answers.SIMULATED`, which the figures on the Quality page leave out) and its comment. They answer only
pairs on which they contradict each other, so nothing they say reaches a label, a round or an export: a conflict has no
effect before an adjudicator has settled it. Their accounts are closed as soon as they have spoken.
"""

import secrets

from app.run import DEMO_ADJUDICATOR, DEMO_NAME, DEMO_PASSWORD
from audit_store.answers import SIMULATED, Reading, of_pair
from audit_store.database import Store
from audit_store.decisions import new_token, record
from audit_store.people import Person, add_person, disable_person, find_person, operator
from audit_store.round_reader import RoundFile

READERS = {"simulated-reader-1": ("present", "high"), "simulated-reader-2": ("absent", "low")}
"""Simulated readers: what each of them says of every pair, and how surely."""

CONFLICTS = 3
UNSURE = (0.35, 0.75)  # of P(label wrong): pairs on which people might well disagree
COMMENT = "Simulated for the demo: a program gave this answer, nobody read the chart."

_PICK = """
SELECT f.stay_id, l.label_key FROM flag f JOIN label l USING (label_id)
JOIN pair p ON p.label_id = f.label_id AND p.stay_id = f.stay_id
ORDER BY p.probability_note IS NULL, p.error_probability NOT BETWEEN ? AND ?, f.suspicion_rank
"""


def add_visitors(store: Store) -> None:
    """Make the accounts that a visitor signs in with, where they are missing."""
    for name, shown, role in (
        (DEMO_NAME, "Demo reviewer", "steward"),
        (DEMO_ADJUDICATOR, "Adjudicator", "adjudicator"),
    ):
        if find_person(store, name) is None:
            add_person(store, operator(), name, DEMO_PASSWORD, display_name=shown, role=role, demo=True)


def leave_conflicts(store: Store, round_file: RoundFile) -> list[tuple[int, str]]:
    """Have the simulated readers contradict each other on some flagged pairs, once; what is there already stays.

    Parameters
    ----------
    store
        The demo's store.
    round_file
        Its latest round.

    Returns
    -------
    list of tuple
        Stay and label of each pair, of labels that stand alone and differ; empty where it was done before.
    """
    readers = [_reader(store, name, number) for number, name in enumerate(READERS, 1)]
    if not all(reader.active for reader in readers):
        return []
    picked = _picked(round_file)
    for stay_id, label_key in picked:
        earlier = set(of_pair(store, stay_id, label_key)["reviewer"])
        for reader in readers:
            if reader.name not in earlier:
                answer, certainty = READERS[reader.name]
                said = Reading(
                    round_file.info.round_id,
                    stay_id,
                    label_key,
                    answer,
                    certainty,
                    reason_code=SIMULATED,
                    comment=COMMENT,
                )
                record(store, reader, said, new_token())
    for reader in readers:
        disable_person(store, operator(), reader.name)
    return picked


def _reader(store: Store, name: str, number: int) -> Person:
    """Give a simulated reader's account; its password is told to nobody."""
    found = find_person(store, name)
    if found is not None:
        return found
    shown = f"Simulated reader {number}"
    password = secrets.token_urlsafe(32)
    return add_person(store, operator(), name, password, display_name=shown, role="reviewer", demo=True)


def _picked(round_file: RoundFile) -> list[tuple[int, str]]:
    together = {key for keys in round_file.label_groups.values() for key in keys}
    picked: dict[str, int] = {}
    for stay_id, label_key in round_file.rows(_PICK, UNSURE):
        if label_key not in together and label_key not in picked and int(stay_id) not in picked.values():
            picked[str(label_key)] = int(stay_id)
        if len(picked) == CONFLICTS:
            break
    return [(stay_id, label_key) for label_key, stay_id in picked.items()]
