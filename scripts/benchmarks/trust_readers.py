"""What reads a malformed input where no verb of the command does so alone: the app, the trainer, the store's own acts.

Each returns where all is well, and raises what a user would be told. What they find in order they must leave in order.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from app.prepare import prepare
from audit_store import guidelines, people
from audit_store.chart import Chart
from audit_store.database import open_store
from audit_store.decisions import Reading, new_token, record, redact
from audit_store.errors import StoreError
from audit_store.export_files import check_export
from audit_store.exports import list_exports
from audit_store.labels import locks
from audit_store.next_round import next_round_status, shown_command
from audit_store.people import add_person, authenticate, find_person, operator, resume_session, set_attestation
from audit_store.queue import counts, find_item, item_token, next_items
from audit_store.rounds import check_cohort_matches, open_round, publish_round
from audit_store.terms import read_terms
from audit_store.workspace import open_workspace
from core.cohort.store import open_cohort
from core.cohort.tensors import load_preprocessing, pack_cohort, save_preprocessing
from core.config import TrainConfig, make_config
from core.locks import lay_on_pairs
from scripts.benchmarks import trust_mutations as spoil
from scripts.benchmarks.trust_base import PASSWORD, READER, Base, invented_round, tiny_config

Rng = random.Random
Call = Callable[[], object]
_SHIPPED = {"guidelines": guidelines.SHIPPED, "terms": guidelines.SHIPPED.with_name("terms.toml")}
_MAIN = Path(__file__).parents[2] / "app" / "main.py"


def app_reads(folder: Path) -> None:
    """Read what the screens read: round, chart, three questions with their panels, counts, exports."""
    store = open_store(open_workspace(folder))
    round_file, chart = open_round(store.workspace), Chart.open(store.workspace.cohort)
    check_cohort_matches(store.workspace, round_file)
    known = guidelines.load()
    chart.warm()
    person = find_person(store, READER)
    flags = round_file.rows("SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY suspicion_rank")
    for stay, key in flags[:3]:
        item = find_item(store, round_file, item_token(store.workspace, int(stay), (str(key),)))
        made = prepare(chart, round_file, known, item)
        shown = [visit.stay_id for visit in made.visits]
        for part in (
            chart.summary(shown),
            chart.evidence(shown),
            chart.channels_of(shown),
            chart.recorded(*_key(item)),
        ):
            str(part)
        chart.strip(item.stay_id, item.label_keys[0])
        round_file.pair(item.stay_id, item.label_keys[0])
    for table in (
        round_file.labels(),
        round_file.mixtures(),
        round_file.epochs(),
        round_file.harm(),
        counts(store, round_file),
    ):
        len(table)
    if person is not None:
        next_items(store, round_file, person)
    for number in list_exports(store)["number"]:
        check_export(store, int(number))
    next_round_status(store.workspace)
    shown_command(store.workspace)


def _key(item: Any) -> tuple[int, str]:
    return item.stay_id, item.label_keys[0]


def trainer_reads(folder: Path) -> None:
    """Read what training reads before its first epoch."""
    store = open_store(open_workspace(folder))
    cohort = open_cohort(store.workspace.cohort)
    packed = pack_cohort(cohort, tiny_config().tensors, store.workspace.cache)
    lay_on_pairs(packed, locks(store, before_round=1).table)


def read_toml(kind: str, place: Path, rng: Rng) -> tuple[Call, str]:
    """Spoil the shipped guidelines or terms, as text or in a value, and read them."""
    text = _SHIPPED[kind].read_text(encoding="utf-8")
    path = place / f"{kind}.toml"
    lines = text.splitlines()
    how = rng.choice(("line out", "line twice", "value", "value", "value", "table", "bytes"))
    if how in ("line out", "line twice"):
        line = rng.randrange(len(lines))
        lines[line : line + 1] = [] if how == "line out" else [lines[line]] * 2
    elif how == "value":
        line = rng.choice([i for i, words in enumerate(lines) if " = " in words])
        value = rng.choice(
            (
                '""',
                "1",
                "-1",
                "1.5",
                "true",
                "[]",
                "[1]",
                '[""]',
                "{}",
                "nan",
                "2026-01-01",
                '"x"',
                "[[]]",
                '[{a="b"}]',
                '"("',
            )
        )
        lines[line] = lines[line].split(" = ")[0] + f" = {value}"
    elif how == "table":
        line = rng.choice([i for i, words in enumerate(lines) if words.startswith("[")])
        lines[line] = rng.choice(
            (
                "[other]",
                "[[label]]",
                "[label]",
                "label = 3",
                "[[reason]]",
                "[group.x]",
                "[labels]",
                "[cues]",
                "lists = [1]",
            )
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    told = f"{how}" if how == "bytes" else f"{how}: {lines[min(line, len(lines) - 1)][:60]}"
    if how == "bytes":
        told = spoil.spoil_bytes(rng, path)
    return (lambda: guidelines.read(path) if kind == "guidelines" else read_terms(path)), told


def publish_spoilt(rng: Rng, folder: Path, place: Path) -> tuple[Call, str]:
    """Spoil one of a round's tables or its record, in memory or on disk, and publish the round."""
    info, tables = invented_round(folder / "cohort", 1)
    given: dict[str, Any] = dict(tables)
    record_of: Any = info
    told = ""
    if rng.random() < 0.3:
        path = place / "round.json"
        path.write_text(json.dumps(info), encoding="utf-8")
        told, record_of = f"round.json: {spoil.spoil_json(rng, path)}", path
    else:
        name = rng.choice(list(tables))
        if rng.random() < 0.1:
            told = f"no table {name}"
            del given[name]
        elif rng.random() < 0.5:
            given[name], told = spoil.spoil_table(rng, tables[name])
            told = f"{name}: {told}"
        else:
            path = place / f"{name}.parquet"
            pq.write_table(tables[name], path)
            given[name], told = path, f"{name}.parquet: {spoil.spoil_parquet(rng, path)}"

    def publish() -> None:
        store = open_store(open_workspace(folder))
        publish_round(store, 1, record_of, given, operator())
        with suppress(StoreError):  # a round that stands may be of another cohort: the screens say so
            app_reads(folder)

    return publish, told


def config_from(rng: Rng) -> tuple[Call, str]:
    """Spoil a config's JSON, and build the config of it."""
    body = make_config(rng.choice(("miracl", "calibrated", "paper"))).to_dict()
    told = spoil.spoil_value(rng, body)
    text = json.dumps(body)
    if rng.random() < 0.2:
        text, told = text[: rng.randrange(len(text))], "cut short"
    return (lambda: TrainConfig.from_json(text)), told


def act_with(folder: Path, act: str, text: str) -> None:
    """Do what a form or a field does, with an odd text in it."""
    store = open_store(open_workspace(folder))
    me = find_person(store, READER)
    assert me is not None
    round_file = open_round(store.workspace)
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    key = next(key for key in round_file.label_ids if key not in grouped)
    stay = int(round_file.rows("SELECT min(stay_id) FROM pair")[0][0])
    if act == "sign in":
        authenticate(store, text, text)
    elif act == "add person":
        add_person(store, operator(), text, PASSWORD)
    elif act == "display":
        add_person(store, operator(), "bo", PASSWORD, display_name=text)
    elif act == "password":
        add_person(store, operator(), "bo", text)
        authenticate(store, "bo", text)
    elif act == "attestation":
        set_attestation(store, operator(), READER, text, "2027-01-01")
    elif act == "comment":
        record(store, me, Reading(1, stay, key, "absent", comment=text), new_token())
    elif act == "reading":
        record(
            store, me, Reading(1, stay, key, text, reason_code=text, batch=text, guideline_version=text), new_token()
        )
        record(store, me, Reading(1, stay, text, "absent"), new_token())
    elif act == "redact":
        made = record(store, me, Reading(1, stay, key, "absent", comment="to be removed"), new_token())
        redact(store, operator(), made.comment_id or 0, text)
    elif act == "token":
        record(store, me, Reading(1, stay, key, "absent"), text)
    if act != "token":
        resume_session(store, text)


def find_link(folder: Path, token: str) -> None:
    """Follow a link, and take up a session by its ticket."""
    store = open_store(open_workspace(folder))
    people.resume_session(store, token)
    find_item(store, open_round(store.workspace), token)


def pages_of(folder: Path, page: str, asked: Mapping[str, str]) -> None:
    """Open a page of the app with odd words in its address; what it can't show it says, and never breaks."""
    from streamlit.testing.v1 import AppTest

    from app.session import WORKSPACE_VARIABLE

    os.environ[WORKSPACE_VARIABLE] = str(folder)
    main = sys.modules["__main__"]
    try:
        app = AppTest.from_file(str(_MAIN), default_timeout=60)
        for name, text in asked.items():
            app.query_params[name] = text
        app.run()
        app.text_input(key="sign_in_name").input(READER)
        app.text_input(key="sign_in_password").input(PASSWORD)
        app.button[[button.label for button in app.button].index("Sign in")].click().run()
        app.session_state["go"] = page
        app.run()
        if app.exception:
            raise RuntimeError(f"page {page} broke: {app.exception[0].message[:80]}")
    finally:
        sys.modules["__main__"] = main
        os.environ.pop(WORKSPACE_VARIABLE, None)


def round_status_of(folder: Path) -> None:
    """Read how the next round stands, as a screen does."""
    place = open_workspace(folder)
    told = next_round_status(place)
    if len(told.line) > 300:
        raise RuntimeError("a line too long for a screen")
    shown_command(place)


def preprocessing_of(base: Base, place: Path) -> tuple[Call, Callable[[Rng], str]]:
    """Copy a model's preprocessing; give the reader, and what spoils a file of it."""
    kept = base.plain.parent / "model"
    if not kept.is_dir():
        aside = kept.with_name(f"model.{os.getpid()}")
        aside.mkdir()
        save_preprocessing(aside, pack_cohort(open_cohort(base.plain / "cohort"), tiny_config().tensors))
        try:
            aside.rename(kept)
        except OSError:  # another worker was first
            shutil.rmtree(aside)
    folder = shutil.copytree(kept, place / "model")

    def change(rng: Rng) -> str:
        path = rng.choice(sorted(folder.iterdir()))
        return f"{path.name}: {spoil.spoil_any(rng, path)}"

    return (lambda: load_preprocessing(folder)), change
