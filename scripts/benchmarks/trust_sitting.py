"""A reader without a browser: opens batches, sheets and charts, and answers by the functions behind the app's keys."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app import desk as desks
from app.acts import write_answers
from app.desk import Desk, Sheet
from app.session import Context
from audit_store.chart import Chart
from audit_store.database import open_store
from audit_store.decisions import new_token, record_together, undo
from audit_store.errors import AccessError
from audit_store.guidelines import load as load_guidelines
from audit_store.people import find_person, log_access
from audit_store.queue import Item
from audit_store.readers import readers_of
from audit_store.rounds import open_round
from scripts.benchmarks.trust_site import Place

ANSWERS = ("present", "absent", "absent", "cannot_tell")
WORDS = "seen in the second note; asked for a second look"


@dataclass(frozen=True)
class Said:
    """An act as its reader knows it: token, and how many rows it has."""

    token: str
    rows: int


def context_of(place: Place, name: str) -> Context:
    """What the app has at hand for somebody who signed in.

    Raises
    ------
    AccessError
        When there is no such account.
    """
    os.environ.update(place.environment)
    workspace = place.workspace()
    store = open_store(workspace)
    person = find_person(store, name)
    if person is None:
        raise AccessError("an account of this workspace", "none of that name", "add it")
    return Context(store, person, open_round(workspace), Chart.open(workspace.cohort), load_guidelines())


def items(context: Context) -> Iterator[tuple[Desk, Item, Sheet]]:
    """Open item after item, batch after batch, each noted as opened, until nothing is left."""
    desk = desks.open_batch(context)
    while desk.items:
        while desk.item is not None:
            item = desk.item
            sheet = desk.sheet(context)
            log_access(context.store, context.person, "chart", desk.round_id, item.stay_id, item.label_keys[0])
            yield desk, item, sheet
            desk.move(1)
        desk = desks.open_batch(context, fresh=True)
        if desk.item is None or desk.item.state != "open":
            return


def chosen(rng: random.Random, item: Item) -> dict[str, str]:
    """Draw an answer; of labels decided together one at most is present."""
    answer = rng.choice(ANSWERS)
    keys = item.label_keys
    return {key: answer if place == 0 or answer != "present" else "absent" for place, key in enumerate(keys)}


def answer_until_killed(place: Place, name: str, seed: int, told: Any) -> None:
    """Answer, change answers and take them back without a pause; tell each act before it begins and once it is kept.

    Parameters
    ----------
    place, name
        Whose sitting.
    seed
        Of what is answered.
    told
        The end of a pipe: ("ready",), then ("begin", token, rows) and ("kept", token, rows) for each act.
    """
    rng = random.Random(seed)
    context = context_of(place, name)
    told.send(("ready",))
    for desk, item, sheet in items(context):
        if rng.random() < 0.3:
            sheet.comment = WORDS
        _told_act(told, sheet.token, len(item.label_keys), context, desk, sheet, item, chosen(rng, item))
        if rng.random() < 0.2:
            other = {key: "absent" if d.answer != "absent" else "cannot_tell" for key, d in sheet.answers.items()}
            _told_act(told, sheet.token, len(other), context, desk, sheet, item, other)
        elif rng.random() < 0.2:
            token = new_token()
            told.send(("begin", token, len(sheet.answers)))
            undo(context.store, context.person, token)
            told.send(("kept", token, len(sheet.answers)))
    told.send(("done",))


def _told_act(
    told: Any, token: str, rows: int, context: Context, desk: Desk, sheet: Sheet, item: Item, said: Any
) -> None:
    told.send(("begin", token, rows))
    write_answers(context, desk, sheet, item, said)
    told.send(("kept", token, rows))


@dataclass
class Sitting:
    """What one reader of the crowd did: tokens and rows kept, seconds of each record, what went wrong."""

    name: str
    kept: list[Said]
    seconds: list[float]
    errors: list[str]


def sit(context: Context, decisions: int, think: float, seed: int) -> Sitting:
    """Answer a number of pairs as the app does: open, read, record, look who else answered, go on.

    Parameters
    ----------
    context
        Whose sitting; the store may be shared with other threads.
    decisions
        Items to answer.
    think
        Mean seconds between an item's opening and its answer (uniform between half and one and a half times it).
    seed
        Of answers and pauses.
    """
    rng = random.Random(seed)
    done = Sitting(context.person.name, [], [], [])
    if think:
        time.sleep(think * rng.random())
    for desk, item, sheet in items(context):
        if think:
            time.sleep(think * (0.5 + rng.random()))
        made = desks.readings(context, desk, item, sheet, chosen(rng, item))
        began = time.perf_counter()
        try:
            written = record_together(context.store, context.person, made, sheet.token)
        except Exception as error:
            done.errors.append(f"{type(error).__name__}: {error}"[:200])
            continue
        done.seconds.append(time.perf_counter() - began)
        done.kept.append(Said(sheet.token, len(written)))
        sheet.answers.update({decision.label_key: decision for decision in written})
        readers_of(context.store, item.stay_id, item.label_keys[0])
        if len(done.kept) + len(done.errors) >= decisions:
            break
    return done
