"""The trail in sentences: for every kind of event the code writes; filters, pages, downloads."""

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_store.database import utc_now
from audit_store.decisions import adjudicate, new_token, redact, undo
from audit_store.errors import AccessError
from audit_store.exports import export_labels
from audit_store.ledger import Event
from audit_store.people import (
    authenticate,
    disable_person,
    end_session,
    log_access,
    set_attestation,
    set_password,
    set_role,
    start_session,
)
from audit_store.trail_file import csv_text
from audit_store.trail_view import PAGE, TrailFilter, trail_choices, trail_page
from audit_store.trail_words import KINDS, Names, sentence

from .conftest import PASSWORD, Site

AT = utc_now()
NAMES = Names({"septicemia": "Septicemia"})
PAIR = {"round_id": 2, "stay_id": 3144471, "label_key": "septicemia"}
READ = {**PAIR, "answer": "present", "certainty": "high", "blinded": True, "observed": 0, "suggested": 1}


def told(kind: str, data: dict[str, Any], actor: str = "demo", names: Names = NAMES) -> str:
    return sentence(Event(412, AT, kind, actor, data, "", ""), names)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("decision", READ, "demo answered 'present' (high certainty) on Septicemia, stay ··4471, round 2, blind"),
        (
            "decision",
            {**READ, "answer": "cannot_tell", "blinded": False, "supersedes": 9, "reason_code": "no_note"},
            "demo answered 'can't say' (high certainty) on Septicemia, stay ··4471, round 2, after seeing the record, "
            "in place of event 9, reason: no note",
        ),
        (
            "decision",
            {**READ, "answer": "retract", "supersedes": 9},
            "demo took back their answer on Septicemia, stay ··4471, round 2 (event 9)",
        ),
        (
            "adjudication",
            {**PAIR, "answer": "absent", "comment_digest": "ab" * 32},
            "demo settled Septicemia, stay ··4471, round 2 as 'absent', "
            "with a comment (kept apart, digest abababababab…)",
        ),
        ("access", {**PAIR, "what": "chart"}, "demo opened the chart of Septicemia, stay ··4471, round 2"),
        ("access", {"what": "trail"}, "demo opened the audit trail"),
        ("access", {"what": "export", "round_id": 2}, "demo downloaded a file of an export, round 2"),
        ("sign_in", {"result": "ok"}, "demo signed in"),
        ("sign_in", {"result": "failed", "failures": 3}, "demo could not sign in: a wrong password, 3 in a row"),
        ("sign_out", {}, "demo signed out"),
        (
            "round",
            {"round_id": 2, "parent": 1, "decisions_count": 40},
            "demo published round 2 (after round 1, trained with 40 answers)",
        ),
        (
            "export",
            {"number": 3, "round_id": 2, "changed": 1400},
            "demo wrote export 3 of round 2: 1,400 labels changed",
        ),
        ("redact", {"comment_id": 7, "why": "a name"}, "demo removed the text of the comment of event 7: a name"),
        ("rebuild", {"rows": 1200, "tables": "[]"}, "demo rebuilt the tables from the ledger: 1,200 rows"),
        (
            "protocol",
            {
                "batch_size": 60,
                "blind": True,
                "double_share": 0.1,
                "control_share": 0.1,
                "audit_share": 0.05,
                "protocol_hash": "ab" * 32,
            },
            "demo signed the protocol abababababab…: 60 pairs a batch, read blind, 10 % read twice, 10 % controls, "
            "5 % random audit",
        ),
        (
            "batch",
            {
                "batch": "r2-b7",
                "person": "ann",
                "size": 60,
                "round_id": 2,
                "blind": True,
                "rows": [[3144471, "control"]],
            },
            "demo drew batch r2-b7 for ann: 60 questions, round 2, read blind",
        ),
        (
            "batch",
            {"batch": "r2-b8", "person": None, "size": 1, "round_id": 2, "blind": False, "rows": []},
            "demo drew batch r2-b8 for nobody yet: 1 question, round 2, not read blind",
        ),
        ("handover", {"batch": "b7", "person": "ben", "rows": [1, 2]}, "demo gave 2 pairs of batch b7 to ben"),
        ("handover", {"batch": "b7", "person": "demo", "rows": [1]}, "demo took 1 pair of batch b7"),
        ("comet", {"tail_length": 4, **PAIR}, "demo: comet · Septicemia, stay ··4471, round 2 · tail length 4"),
        ("decision", {"odd": "shape"}, "demo: answer · odd shape"),
    ],
)
def test_an_event_is_told_in_one_sentence(kind: str, data: dict[str, Any], said: str) -> None:
    assert told(kind, data) == said


def test_a_sentence_tells_neither_the_record_nor_what_a_pair_was_drawn_for() -> None:
    for kind in (*KINDS, "comet"):
        text = told(kind, {**READ, "purpose": "control", "stratum": "s9", "batch": "b", "what": "chart"})
        assert "observed" not in text
        assert "suggested" not in text
        assert "control" not in text
        assert "s9" not in text
        assert "3144471" not in text


def test_an_account_is_told_by_what_changed() -> None:
    row = {"name": "ann", "display_name": "Ann", "role": "reviewer", "active": True, "credential_digest": "1"}
    before = Names(before={412: row})
    assert told("person", row, "sam", Names(before={412: None})) == "sam added the account 'ann' (reviewer)"
    changed = {**row, "role": "adjudicator"}
    assert told("person", changed, "sam", before) == "sam changed the role of 'ann' from reviewer to adjudicator"
    assert told("person", {**row, "active": False}, "sam", before) == "sam closed the account 'ann'"
    assert told("person", {**row, "credential_digest": "2"}, "ann", before) == "ann changed their own password"
    given = {**row, "credential_digest": "2", "temporary": True}
    assert told("person", given, "sam", before) == "sam changed the password of 'ann' (temporary)"
    attested = {**row, "attestation": "DUA 1.5", "attestation_expires": "2027-01-01"}
    assert told("person", attested, "sam", before) == (
        "sam changed the data-use attestation of 'ann': DUA 1.5, until 2027-01-01"
    )


def test_every_kind_of_event_that_the_code_appends_has_words() -> None:
    kinds = set()
    for path in (Path(__file__).parents[2] / "audit_store").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "append"
            if named and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                kinds.add(str(node.args[1].value))
    assert {"decision", "adjudication", "person", "access", "sign_in", "sign_out", "export", "round"} <= kinds
    assert kinds <= set(KINDS)


@pytest.fixture
def lived(site: Site) -> Site:
    """A site where one of each thing was done."""
    store, sam = site.store, site.people["sam"]
    stay, key = site.singles()[0]
    row = site.say("ann", stay, key, "present", comment="=a comment about the patient")
    site.say("ben", stay, key, "absent")
    adjudicate(store, site.people["ada"], 1, stay, key, "absent", token=new_token())
    site.say("cat", *site.singles()[1], "present")
    undo(store, site.people["cat"], new_token())
    export_labels(store, 1, sam, formats=("csv",))
    log_access(store, site.people["aud"], "trail")
    end_session(store, start_session(store, authenticate(store, "ann", PASSWORD)))
    set_role(store, sam, "cat", "auditor")
    set_password(store, sam, "ben", "another horse")
    set_attestation(store, sam, "ann", "DUA 1.5", "2027-01-01")
    disable_person(store, sam, "ben")
    other = site.say("ann", *site.singles()[2], "present", comment="a name")
    redact(store, sam, other.comment_id, "named a colleague")
    assert row.comment_id is not None
    return site


def test_the_trail_is_for_stewards_and_auditors(lived: Site) -> None:
    for who in ("ann", "ada"):
        for read in (trail_page, csv_text):
            with pytest.raises(AccessError):
                read(lived.store, lived.people[who], TrailFilter())
        with pytest.raises(AccessError):
            trail_choices(lived.store, lived.people[who])
    for who in ("sam", "aud"):
        assert trail_page(lived.store, lived.people[who], TrailFilter()).lines


def test_filters_narrow_by_kind_person_round_and_day(lived: Site) -> None:
    aud = lived.people["aud"]

    def lines(**more: Any) -> list[str]:
        return [line.text for line in trail_page(lived.store, aud, TrailFilter(**more)).lines]

    assert all("answer" in text for text in lines(kinds=("decision",)))
    assert len(lines(kinds=("decision",))) == 5
    assert {text.split()[0] for text in lines(person="ada")} == {"ada"}
    kinds = {line.kind for line in trail_page(lived.store, aud, TrailFilter(round_id=1)).lines}
    assert kinds == {"answer", "adjudication", "export", "round"}
    assert lines(round_id=7) == []
    assert lines(since=utc_now() + timedelta(hours=1)) == []
    assert lines(until=utc_now() - timedelta(days=1)) == []
    assert any("changed the role of 'cat' from reviewer to auditor" in text for text in lines(kinds=("person",)))
    kinds_by_word, people, rounds = trail_choices(lived.store, aud)
    assert kinds_by_word["redact"] == "comment removed"
    assert "ada" in people
    assert rounds == [1]


def test_pages_stay_where_they_are_while_others_act(lived: Site) -> None:
    aud = lived.people["aud"]
    for _ in range(PAGE):
        log_access(lived.store, aud, "trail")
    first = trail_page(lived.store, aud, TrailFilter())
    log_access(lived.store, aud, "trail")
    second = trail_page(lived.store, aud, TrailFilter(up_to=first.up_to), page=1)
    assert len(first.lines) == PAGE
    assert second.lines[0].seq == first.lines[-1].seq - 1
    assert second.total == first.total
