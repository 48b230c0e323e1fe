"""Verification: what was tampered with is found and named."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import create_engine, text

from audit_store.decisions import adjudicate, new_token, undo
from audit_store.errors import AccessError, ChainError
from audit_store.exports import export_labels
from audit_store.people import log_access, operator
from audit_store.verify import cohort_fingerprint, rebuild, verify, verify_head
from core.cohort.store import fingerprint

from .conftest import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def lived(make_site: MakeSite) -> Site:
    """A workspace in which everything has happened at least once."""
    site = make_site(20, 6)
    pairs = site.flags()
    site.say("ann", *pairs[0], "present", comment="first")
    site.say("ben", *pairs[0], "absent")
    adjudicate(site.store, site.people["ada"], 1, *pairs[0], "present", comment="second", token=new_token())
    site.say("ann", *pairs[1], "cannot_tell", active_seconds=3.25)
    undo(site.store, site.people["ann"], new_token())
    log_access(site.store, site.people["ann"], "chart", 1, pairs[0][0], pairs[0][1])
    export_labels(site.store, 1, site.people["sam"])
    return site


def spoil(site: Site, *statements: str) -> None:
    engine = create_engine(site.workspace.decisions_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def found(site: Site) -> list[tuple[str, str]]:
    return [(finding.where, finding.row) for finding in verify(site.store)]


def test_an_untouched_workspace_holds(lived: Site) -> None:
    assert verify(lived.store) == []
    steps: list[str] = []
    verify(lived.store, steps.append)
    assert steps == ["ledger", "rounds", "cohort", "exports"]


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE event SET payload = replace(payload, 'reviewer', 'steward') WHERE seq = 3", "3"),
        ("UPDATE event SET actor = 'mallory' WHERE seq = 5", "5"),
        ("UPDATE event SET kind = 'access' WHERE seq = 5", "5"),
        ("UPDATE event SET created_at = '2020-01-01 00:00:00.000000' WHERE seq = 6", "6"),
        ("UPDATE event SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 4", "4"),
        ("DELETE FROM event WHERE seq = 4", "4"),
        ("DELETE FROM event WHERE seq = 1", "1"),
        ("UPDATE event SET payload = 'nonsense' WHERE seq = 7", "7"),
    ],
)
def test_a_changed_event_is_named(lived: Site, statement: str, row: str) -> None:
    spoil(lived, statement)
    assert found(lived)[0] == ("event", row)


def test_swapped_events_are_named(lived: Site) -> None:
    spoil(
        lived,
        "UPDATE event SET seq = -1 WHERE seq = 3",
        "UPDATE event SET seq = 3 WHERE seq = 4",
        "UPDATE event SET seq = 4 WHERE seq = -1",
    )
    assert found(lived)[0] == ("event", "3")


def test_a_cut_tail_is_found_by_the_head_outside_and_by_the_exports(lived: Site) -> None:
    kept = json.loads(lived.workspace.head_file.read_text())
    last = kept["count"]
    spoil(
        lived,
        f"DELETE FROM event WHERE seq = {last}",
        "DELETE FROM export",
        f"UPDATE head SET events = {last - 1}, hash = (SELECT hash FROM event WHERE seq = {last - 1})",
    )
    findings = found(lived)
    assert ("decisions.head.json", str(last)) in findings
    assert verify_head(lived.store, kept["count"], kept["hash"]) is not None


def test_a_lost_head_file_is_named(lived: Site) -> None:
    lived.workspace.head_file.unlink()
    assert found(lived) == [("decisions.head.json", "-")]


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE decision SET answer = 'absent' WHERE id = (SELECT min(id) FROM decision)", "decision"),
        ("UPDATE decision SET reviewer = 'cat' WHERE id = (SELECT min(id) FROM decision)", "decision"),
        ("UPDATE decision SET active_seconds = 99 WHERE active_seconds IS NOT NULL", "decision"),
        ("DELETE FROM decision WHERE id = (SELECT max(id) FROM decision)", "decision"),
        ("UPDATE adjudication SET answer = 'absent'", "adjudication"),
        ("DELETE FROM access", "access"),
        ("UPDATE export SET changed = 77", "export"),
        ("UPDATE person SET role = 'steward' WHERE name = 'ann'", "person"),
        ("UPDATE person SET credential = 'x' WHERE name = 'ann'", "person"),
        ("UPDATE comment SET text = 'changed' WHERE id = (SELECT min(id) FROM comment)", "comment"),
        ("UPDATE comment SET text = NULL", "comment"),
    ],
)
def test_a_changed_table_is_named(lived: Site, statement: str, where: str) -> None:
    spoil(lived, statement)
    assert [finding[0] for finding in found(lived)] == [where]


def test_any_changed_byte_of_an_event_is_found(lived: Site) -> None:
    rng = random.Random(3)
    engine = create_engine(lived.workspace.decisions_url)
    for _ in range(40):
        with engine.begin() as connection:
            rows = connection.execute(text("SELECT seq, payload, prev_hash, hash FROM event")).all()
            row = rng.choice(rows)
            column = rng.choice(["payload", "prev_hash", "hash"])
            value = str(getattr(row, column))
            place = rng.randrange(len(value))
            other = value[:place] + chr((ord(value[place]) - 32 + 1) % 94 + 32) + value[place + 1 :]
            update = text(f"UPDATE event SET {column} = :value WHERE seq = :seq")
            connection.execute(update, {"value": other, "seq": row.seq})
        assert ("event", str(row.seq)) in found(lived) or ("event", str(row.seq + 1)) in found(lived)
        with engine.begin() as connection:
            connection.execute(update, {"value": value, "seq": row.seq})
    engine.dispose()
    assert verify(lived.store) == []


def test_rebuilding_restores_the_projections(lived: Site) -> None:
    before = [lived.store.workspace, verify(lived.store)]
    spoil(
        lived,
        "UPDATE decision SET answer = 'absent'",
        "DELETE FROM adjudication",
        "UPDATE person SET role = 'steward' WHERE name = 'ann'",
    )
    assert verify(lived.store) != []
    with pytest.raises(AccessError):
        rebuild(lived.store, lived.people["ben"])
    assert rebuild(lived.store, operator()) == 7
    assert verify(lived.store) == before[1] == []


def test_a_broken_chain_is_not_rebuilt_from(lived: Site) -> None:
    spoil(lived, "UPDATE event SET payload = 'x' WHERE seq = 2")
    with pytest.raises(ChainError, match="event 2"):
        rebuild(lived.store, operator())


def test_a_changed_round_is_named(lived: Site) -> None:
    path = lived.workspace.round_path(1)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))
    assert found(lived)[0][0] == "round-0001.duckdb"


def test_a_round_whose_digest_was_changed_along_with_it_is_named(lived: Site) -> None:
    from audit_store.fileio import file_digest

    path, beside = lived.workspace.round_path(1), lived.workspace.round_digest_path(1)
    lived.round.close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE pair SET observed = 1 - observed")
    told = json.loads(beside.read_text())
    beside.write_text(json.dumps({**told, "bytes": path.stat().st_size, "blake2b": file_digest(path)}))
    assert ("round-0001.duckdb", "-") in found(lived)


def test_a_lost_round_is_named(lived: Site) -> None:
    lived.workspace.round_path(1).unlink()
    assert ("round-0001.duckdb", "-") in found(lived)


def test_a_changed_cohort_is_named(lived: Site) -> None:
    path = lived.workspace.cohort / "labels.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    assert found(lived) == [("cohort/labels.parquet", "-")]


def test_a_changed_manifest_is_named(lived: Site) -> None:
    path = lived.workspace.cohort / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["labels"][0]["key"] = "other"
    path.write_text(json.dumps(manifest))
    assert found(lived) == [("cohort/manifest.json", "-")]


def test_the_stores_fingerprint_of_a_cohort_is_the_trainers(site: Site) -> None:
    manifest = site.manifest
    args = (manifest["tables"], manifest["labels"], manifest["channels"])
    assert cohort_fingerprint(*args) == fingerprint(*args) == manifest["fingerprint"]


@pytest.mark.parametrize("name", ["labels_long.csv", "manifest.json", "listfile.csv"])
def test_a_changed_export_is_named(lived: Site, name: str) -> None:
    path = lived.workspace.exports / "export-0001" / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    assert found(lived) == [(f"exports/export-0001/{name}", "-")]


def test_a_lost_export_is_named(lived: Site, tmp_path: Path) -> None:
    (lived.workspace.exports / "export-0001").rename(tmp_path / "elsewhere")
    assert found(lived) == [("exports/export-0001", "-")]
