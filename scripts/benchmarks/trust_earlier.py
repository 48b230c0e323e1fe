"""Stores of earlier schemas, with rows in each of their tables, as those versions wrote them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, Table

from audit_store.comments import comment_digest
from audit_store.database import GENESIS, create_schema, make_engine, utc_now
from audit_store.engines import writer_of
from audit_store.fileio import blake, canonical_json
from audit_store.head_file import mirror_head
from audit_store.ledger import Event, event_hash, payload_text
from audit_store.workspace import Workspace

EARLIER = ("0001", "0002", "0003", "0004")
_TERMS = {"batch_size": 60, "budget": None, "blind": True}
_SHARES = {"double_share": 0.1, "control_share": 0.1, "audit_share": 0.1}


@dataclass
class _Ledger:
    """Writes events and their rows, with the columns that the schema has and no others."""

    connection: Connection
    tables: dict[str, Table]
    count: int = 0
    hash: str = GENESIS
    events: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, kind: str, actor: str, data: dict[str, Any], table: str | None = None) -> Event:
        """Add an event; with `table`, also the row that follows from it."""
        self.count += 1
        at = utc_now() + timedelta(microseconds=self.count)
        payload = payload_text(self.count, at, kind, actor, data)
        event = Event(self.count, at, kind, actor, data, self.hash, event_hash(self.hash, payload))
        row = {"seq": event.seq, "created_at": at, "kind": kind, "actor": actor, "payload": payload}
        self.events.append({**row, "prev_hash": event.prev_hash, "hash": event.hash})
        if table is not None:
            chained = {"id": event.seq, "created_at": at, "prev_hash": event.prev_hash, "hash": event.hash}
            whole = {**data, **chained}
            self.put(table, {name: value for name, value in whole.items() if name in self.tables[table].c})
        self.hash = event.hash
        return event

    def put(self, table: str, row: dict[str, Any]) -> None:
        """Add a row that stands in no event by itself."""
        self.rows.setdefault(table, []).append(row)

    def write(self) -> None:
        """Write all of it."""
        self.connection.execute(self.tables["event"].insert(), self.events)
        for name in self.tables:  # those that others refer to come first
            if self.rows.get(name):
                self.connection.execute(self.tables[name].insert(), self.rows[name])
        self.connection.execute(self.tables["head"].update().values(events=self.count, hash=self.hash))


def write_earlier(workspace: Workspace, revision: str, decisions: int = 8) -> tuple[int, str]:
    """Write a store of an earlier schema into a workspace that has none; return its ledger's head.

    Parameters
    ----------
    workspace
        Where.
    revision
        One of `EARLIER`.
    decisions
        Answers in it, two or more.
    """
    engine = make_engine(workspace.decisions_url)
    try:
        with writer_of(engine).connect() as connection, connection.begin():
            create_schema(connection, revision)
            found = MetaData()
            found.reflect(bind=connection)
            ledger = _Ledger(connection, {table.name: table for table in found.sorted_tables})
            _people(ledger)
            _protocol(ledger)
            _batches(ledger, decisions)
            _decisions(ledger, decisions)
            _accesses(ledger)
            ledger.write()
        mirror_head(workspace.head_file, ledger.count, ledger.hash)
        return ledger.count, ledger.hash
    finally:
        engine.dispose()


def _people(ledger: _Ledger) -> None:
    for name, role in (("ann", "reviewer"), ("ada", "adjudicator"), ("sam", "steward")):
        credential = f"a hash that no password has: {name}"
        data: dict[str, Any] = {"name": name, "display_name": name.title(), "role": role, "active": True, "demo": False}
        data["credential_digest"] = blake(credential)
        data.update(temporary=False, attestation="agreement 7", attestation_expires="2031-12-31")
        data.update(issuer=None, subject_digest=None)
        data = {column: value for column, value in data.items() if column in ledger.tables["person"].c}
        event = ledger.add("person", "operator:root", data)
        ledger.put("person", {**data, "credential": credential, "created_at": event.created_at})
    event = ledger.add("sign_in", "ann", {"result": "ok"})
    session = {"digest": blake("session"), "person": "ann", "created_at": event.created_at}
    ledger.put("session", {**session, "seen_at": event.created_at, "ended": False})
    ledger.put("sign_in_failure", {"digest": blake("failure"), "failures": 2, "last_at": event.created_at})
    if "access_rule" in ledger.tables:
        ledger.add("access_rule", "sam", {"actor": "sam", "require_attestation": True}, "access_rule")


def _protocol(ledger: _Ledger) -> None:
    if "protocol" in ledger.tables:
        data = {**_TERMS, **_SHARES, "actor": "sam", "guideline_versions": "{}", "protocol_hash": blake("terms")}
        ledger.add("protocol", "sam", data, "protocol")


def _given(decisions: int) -> Iterator[list[Any]]:
    """Rows of a batch: stay, label, position, purpose, stratum, inclusion probability."""
    for i in range(min(decisions, 20)):
        yield [
            1000 + i,
            "pneumonia",
            i + 1,
            "flag" if i % 3 else "random_audit",
            None if i % 3 else "pneumonia:1",
            0.25,
        ]


def _batches(ledger: _Ledger, decisions: int) -> None:
    fields = ("stay_id", "label_key", "position", "purpose", "stratum", "inclusion_probability")
    if "handover" not in ledger.tables:
        for row in _given(decisions):
            whole = {"round_id": 1, "person": "ann", "batch": "1-1", "blind": True}
            ledger.add("assignment", "sam", {**whole, **dict(zip(fields, row, strict=True))}, "assignment")
        return
    rows = list(_given(decisions))
    terms = {"kind": "mixed", "blind": True, "protocol_hash": blake("terms")}
    whole = {"batch": "1-1", "round_id": 1, "person": None, **terms}
    event = ledger.add("batch", "sam", {**whole, "size": len(rows), "rows": rows})
    numbers = [event.seq * 10_000 + place for place in range(len(rows))]
    ledger.add("handover", "sam", {"batch": "1-1", "person": "ann", "given": len(rows), "rows": numbers}, "handover")
    for number, row in zip(numbers, rows, strict=True):
        kept = {**whole, **dict(zip(fields, row, strict=True)), "person": "ann"}
        ledger.put("assignment", {**kept, "id": number, "created_at": event.created_at})


def _decisions(ledger: _Ledger, decisions: int) -> None:
    standing = None
    for i in range(decisions):
        text, salt = f"comment {i} · ü", f"{i:032x}"
        commented = i % 4 == 0
        digest = comment_digest(salt, text) if commented else None
        if commented:
            ledger.put("comment", {"id": ledger.count + 1, "salt": salt, "text": text, "digest": digest})
        data = {
            "reviewer": "ann",
            "round_id": 1,
            "stay_id": 1000 + (0 if standing is not None else i),
            "label_key": "pneumonia",
            "observed": i % 2,
            "suggested": 1 - i % 2,
            "answer": ("present", "absent", "cannot_tell")[i % 3],
            "certainty": "low" if i % 5 == 0 else "high",
            "reason_code": None,
            "codable": "yes",
            "comment_id": ledger.count + 1 if commented else None,
            "comment_digest": digest,
            "guideline_version": "v1",
            "protocol_hash": None,
            "batch": None,
            "position": i,
            "purpose": "flag",
            "stratum": None,
            "inclusion_probability": None,
            "blinded": True,
            "saw_suggestion": False,
            "evidence_opened": canonical_json(["chart"]),
            "active_seconds": 0.1 * i,
            "supersedes": standing,
            "act": f"act-{i}",
            "token": f"act-{i}",
        }
        event = ledger.add("decision", "ann", data, "decision")
        standing = event.seq if i == 0 else None
    judged = {"adjudicator": "ada", "round_id": 1, "stay_id": 1000, "label_key": "pneumonia", "observed": 0}
    said = {"answer": "present", "comment_id": None, "comment_digest": None, "token": "judged-1"}
    ledger.add("adjudication", "ada", {**judged, **said}, "adjudication")


def _accesses(ledger: _Ledger) -> None:
    seen = {"person": "ann", "what": "chart", "round_id": 1, "stay_id": 1000, "label_key": "pneumonia"}
    ledger.add("access", "ann", seen, "access")
    made = {"number": 1, "actor": "sam", "round_id": 1, "changed": 3, "manifest_digest": blake("manifest")}
    ledger.add("export", "sam", made, "export")
