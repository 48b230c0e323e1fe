"""The verbs verify, trail, backup and restore as they are typed."""

from pathlib import Path

import pytest
from sqlalchemy import text

from audit_store.database import open_store
from audit_store.exports import export_labels
from audit_store.people import add_person, operator
from audit_store.protocol import Terms
from audit_store.workspace import open_workspace
from scripts.benchmarks.trust_site import make_place
from scripts.cli import app, guarded


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = guarded(lambda standalone_mode: app([str(word) for word in words], standalone_mode=standalone_mode))
    said = capsys.readouterr()
    return status, said.out + said.err


def test_from_a_kept_head_to_a_restored_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_place(tmp_path / "ward", stays=50, reviewers=1, terms=Terms(batch_size=10), seed=1).folder
    store = open_store(open_workspace(folder))
    kept = export_labels(store, 1, operator(), formats=("csv",)) / "manifest.json"
    store.close()
    assert run(capsys, "backup", tmp_path / "early.tar", "-w", folder)[0] == 0
    store = open_store(open_workspace(folder))
    add_person(store, operator(), "late", "comes after it")
    export_labels(store, 1, operator(), formats=("csv",))
    later = folder / "exports" / "export-0002" / "manifest.json"
    store.close()

    status, said = run(capsys, "verify", "-w", folder, "--manifest", kept)
    assert status == 0, said
    assert "All holds" in said
    assert "is in the chain" in said
    head = said.rsplit(" ", 1)[-1].strip()
    assert run(capsys, "verify", "-w", folder, "--head", head)[0] == 0
    assert run(capsys, "verify", "-w", folder, "--head", f"3:{'0' * 64}")[0] == 1
    for wrong in ("nonsense", "3", "-1:" + "0" * 64, "3:" + "g" * 64):
        status, said = run(capsys, "verify", "-w", folder, "--head", wrong)
        assert (status, "COUNT:HASH" in said) == (2, True)
    assert run(capsys, "verify", "-w", folder, "--manifest", folder / "workspace.json")[0] == 2

    status, said = run(capsys, "restore", tmp_path / "early.tar", "-w", tmp_path / "again")
    assert (status, "verified" in said) == (0, True)
    status, said = run(capsys, "verify", "-w", tmp_path / "again", "--manifest", later)
    assert status == 1
    assert "its tail was cut" in said or "another hash" in said
    assert run(capsys, "restore", tmp_path / "early.tar", "-w", tmp_path / "again")[0] == 2

    trail = tmp_path / "trail.jsonl"
    assert run(capsys, "trail", "-w", folder, "--export", trail)[0] == 0
    assert run(capsys, "verify", "--trail", trail)[0] == 0
    trail.write_text(trail.read_text().replace("late", "soon"))
    status, said = run(capsys, "verify", "--trail", trail)
    assert (status, "its hash does not match its text" in said) == (1, True)
    table = ("trail", "-w", folder, "--export", tmp_path / "trail.csv")
    assert run(capsys, *table, "--from", "2020-01-01", "--to", "2020-01-02")[1].startswith("Wrote 0 events")
    assert run(capsys, *table, "--kind", "round")[1].startswith("Wrote 1 events")
    for words in (("--kind", "nonsense"), ("--from", "yesterday"), ("--to", "2020-01-01T00:00+02:00")):
        assert run(capsys, *table, *words)[0] == 2
    assert "downloaded the audit trail" in run(capsys, "trail", "-w", folder)[1]


def test_verify_ends_with_one_and_an_export_is_refused_where_the_store_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_place(tmp_path / "ward", stays=50, reviewers=1, terms=Terms(batch_size=10), seed=1).folder
    store = open_store(open_workspace(folder))
    with store.writing() as connection:
        connection.execute(text("UPDATE person SET role = 'steward' WHERE name = 'reviewer-01'"))
    store.close()
    status, said = run(capsys, "verify", "-w", folder)
    assert (status, said.strip()) == (1, "person, row reviewer-01: differs from the ledger in role")
    status, said = run(capsys, "export", "-w", folder)
    assert (status, said.count("\n")) == (2, 1)
    assert "person reviewer-01: differs" in said
    assert not list((folder / "exports").iterdir())
    assert run(capsys, "backup", tmp_path / "no.tar", "-w", folder)[0] == 2
    assert not list(tmp_path.glob("*no.tar*"))
