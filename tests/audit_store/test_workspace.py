"""What the workspace's folder promises."""

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from audit_store import tables
from audit_store.database import open_store
from audit_store.errors import StoreError, WorkspaceError
from audit_store.fileio import remove_leftovers
from audit_store.ledger import head
from audit_store.workspace import create_workspace, open_workspace


def test_a_new_workspace_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "deep" / "workspace")
    open_store(workspace).close()
    for path in workspace.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path.name
    assert workspace.latest_round() is None
    assert workspace.next_round() == 1


def test_opening_again_keeps_name_and_secret(tmp_path: Path) -> None:
    one = create_workspace(tmp_path)
    two = create_workspace(tmp_path)
    assert (one.workspace_id, one.secret) == (two.workspace_id, two.secret)
    assert one.secret.hex() not in repr(one)


def test_a_newer_workspace_is_refused(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    (tmp_path / "workspace.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(WorkspaceError, match="version 99; upgrade"):
        open_workspace(tmp_path)


@pytest.mark.parametrize("body", ["", "[]", "{", "{}", '{"version": "one"}', '{"version": true}', '{"version": 0}'])
def test_a_spoilt_workspace_is_one_line(tmp_path: Path, body: str) -> None:
    create_workspace(tmp_path)
    (tmp_path / "workspace.json").write_text(body)
    with pytest.raises(WorkspaceError) as caught:
        open_workspace(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_lost_secret_is_one_line(tmp_path: Path) -> None:
    create_workspace(tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(WorkspaceError, match="secret"):
        open_workspace(tmp_path)


def test_no_workspace_and_no_cohort_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="build-cohort"):
        open_workspace(tmp_path / "nowhere")
    with pytest.raises(WorkspaceError, match="build-cohort"):
        create_workspace(tmp_path).manifest()


def test_rounds_count_in_order(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    for round_id in (2, 10, 1):
        workspace.round_path(round_id).touch()
    (workspace.rounds / "round-draft.duckdb").touch()
    assert workspace.round_ids() == [1, 2, 10]
    assert workspace.next_round() == 11


def test_a_newer_decisions_store_is_refused(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    open_store(workspace).close()
    engine = create_engine(workspace.decisions_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(WorkspaceError, match="newer schema; upgrade"):
        open_store(workspace)


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from audit_store.database import _MIGRATIONS

    workspace = create_workspace(tmp_path)
    open_store(workspace).close()
    engine = create_engine(workspace.decisions_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert set(inspect(connection).get_table_names()) == {*tables.metadata.tables, "alembic_version"}
    engine.dispose()
    assert ScriptDirectory(str(_MIGRATIONS)).get_current_head() == tables.REVISION


def test_the_tables_can_be_made_on_postgresql() -> None:
    from sqlalchemy import select
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    dialect = postgresql.dialect()
    for table in tables.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect))
        assert "SERIAL" not in made
        assert "AUTOINCREMENT" not in made
    locking = select(tables.head.c.events).with_for_update()
    assert str(locking.compile(dialect=dialect)).endswith("FOR UPDATE")


def test_a_migration_that_fails_half_way_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    workspace = create_workspace(tmp_path)
    real = command.upgrade

    def fail(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        raise RuntimeError("power cut")

    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(RuntimeError):
        open_store(workspace)
    engine = create_engine(workspace.decisions_url)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    store = open_store(workspace)
    assert head(store).count == 0
    store.close()


@pytest.mark.parametrize("url", ["nonsense", "oracle2://x", "sqlite://", "sqlite:////nowhere/at/all.sqlite"])
def test_a_url_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("MIRACL_DECISIONS_URL", url)
    with pytest.raises(StoreError) as caught:
        open_store(create_workspace(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_decisions_file_is_one_line(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    (tmp_path / "decisions.sqlite").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreError) as caught:
        open_store(workspace)
    assert "\n" not in str(caught.value)


def test_leftovers_of_dead_writers_are_found_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    import os

    (tmp_path / ".round-0001.duckdb.999999999.part").touch()
    (tmp_path / f".round-0002.duckdb.{os.getppid()}.part").touch()
    assert [path.name for path in remove_leftovers(tmp_path, "round-")] == [".round-0001.duckdb.999999999.part"]
