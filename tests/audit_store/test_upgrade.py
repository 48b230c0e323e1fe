"""Stores of earlier schemas: refused until they are upgraded, upgraded whole or not at all, with a copy first."""

import stat
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from audit_store.chain import check_ledger
from audit_store.copying import Copied, contents, load_copy
from audit_store.database import known_revisions, make_engine, open_store, version_of
from audit_store.engines import writer_of
from audit_store.errors import ChainError, StoreError, WorkspaceError
from audit_store.ledger import head
from audit_store.people import add_person, operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.states import snapshot
from audit_store.tables import REVISION
from audit_store.upgrade import upgrade_store
from audit_store.workspace import Workspace, create_workspace
from scripts.benchmarks.trust_earlier import EARLIER, write_earlier

from .conftest import POSTGRES

ON_BOTH = pytest.mark.parametrize("url", ["", POSTGRES], indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the workspace's decisions are: in its folder, or in an empty PostgreSQL database."""
    if getattr(request, "param", "") == "postgres":
        monkeypatch.setenv("MIRACL_DECISIONS_URL", request.getfixturevalue("postgres_url"))
    return str(getattr(request, "param", ""))


@pytest.fixture
def workspace(tmp_path: Path, url: str) -> Workspace:
    """A workspace without a store."""
    return create_workspace(tmp_path / "workspace")


def held(workspace: Workspace, url: str | None = None) -> Copied:
    engine = make_engine(url or workspace.decisions_url)
    try:
        with engine.connect() as connection, connection.begin():
            return contents(connection)
    finally:
        engine.dispose()


def backups(workspace: Workspace) -> list[Path]:
    return sorted((workspace.root / "backups").glob("*"))


def test_each_earlier_schema_is_tried() -> None:
    assert [*EARLIER, REVISION] == known_revisions()


@ON_BOTH
@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_each_earlier_schema_is_refused_then_upgraded_with_all_it_holds(
    workspace: Workspace, revision: str
) -> None:
    kept = write_earlier(workspace, revision)
    before = held(workspace)
    assert all(before.rows.values()), "a table without a row would prove nothing"
    with pytest.raises(WorkspaceError, match=f"schema {revision}, an earlier one; run miracl store upgrade"):
        open_store(workspace)
    assert held(workspace) == before
    done = upgrade_store(workspace)
    assert (done.before, done.after, done.backup) == (revision, REVISION, backups(workspace)[0])
    store = open_store(workspace)
    assert list(check_ledger(store)) == []
    assert (head(store).count, head(store).hash) == kept
    assert snapshot(store).standing.num_rows == 7
    after = held(workspace)
    assert {name: after.rows[name] for name in before.rows} == before.rows
    assert after.digests["event"] == before.digests["event"]
    add_person(store, operator(), "eve", "correct horse", role="reviewer")
    sign_protocol(store, operator(), Terms(), {})
    assert list(check_ledger(store)) == []
    store.close()
    assert upgrade_store(workspace).backup is None
    assert len(backups(workspace)) == 1


@ON_BOTH
def test_the_copy_is_the_old_store_for_its_owner_alone(workspace: Workspace, tmp_path: Path) -> None:
    write_earlier(workspace, "0002")
    before = held(workspace)
    backup = upgrade_store(workspace).backup
    assert backup is not None
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.parent.stat().st_mode) == 0o700
    assert load_copy(backup, f"sqlite:///{tmp_path / 'old.sqlite'}", workspace) == before
    assert backups(workspace) == [backup]


@ON_BOTH
def test_a_step_that_fails_half_way_leaves_the_old_store_and_the_copy(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_earlier(workspace, "0001")
    before, real = held(workspace), command.upgrade

    def fail(config: Config, revision: str) -> None:
        if revision != REVISION:  # the copy of a PostgreSQL store
            return real(config, revision)
        real(config, "0003")
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", fail)
        with pytest.raises(StoreError, match="got RuntimeError; nothing was changed; the copy stays too"):
            upgrade_store(workspace)
    assert held(workspace) == before
    assert len(backups(workspace)) == 1
    assert upgrade_store(workspace).before == "0001"


@ON_BOTH
def test_a_ledger_that_does_not_hold_is_not_upgraded_unless_told_to(workspace: Workspace) -> None:
    write_earlier(workspace, "0002")
    engine = make_engine(workspace.decisions_url)
    with writer_of(engine).connect() as connection, connection.begin():
        connection.execute(text("UPDATE event SET actor = 'mallory' WHERE seq = 5"))
    with pytest.raises(ChainError, match="event 5"):
        upgrade_store(workspace)
    with engine.connect() as connection:
        assert version_of(connection) == "0002"
    engine.dispose()
    assert upgrade_store(workspace, with_findings=True).after == REVISION
    store = open_store(workspace)
    assert [finding.row for finding in check_ledger(store)][:1] == ["5"]
    store.close()


def test_no_copy_no_upgrade(workspace: Workspace) -> None:
    write_earlier(workspace, "0003")
    (workspace.root / "backups").write_text("in the way")
    with pytest.raises(WorkspaceError, match="a folder for the copy"):
        upgrade_store(workspace)
    assert held(workspace).revision == "0003"


def test_nothing_and_a_newer_schema_are_not_upgraded(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="none yet"):
        upgrade_store(workspace)
    write_earlier(workspace, "0003")
    engine = make_engine(workspace.decisions_url)
    with writer_of(engine).connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(WorkspaceError, match="newer schema; upgrade"):
        upgrade_store(workspace)
    assert backups(workspace) == []


def test_a_server_that_runs_on_at_an_upgrade_is_told_to_start_again(workspace: Workspace) -> None:
    store = open_store(workspace)
    engine = make_engine(workspace.decisions_url)
    with writer_of(engine).connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="got schema 9999; start this server or command again"), store.writing():
        pass
    store.close()


@pytest.mark.parametrize("url", [POSTGRES], indirect=True)
def test_a_writer_that_waits_during_an_upgrade_neither_stops_it_nor_is_lost(workspace: Workspace) -> None:
    write_earlier(workspace, "0003")
    engine = make_engine(workspace.decisions_url)
    told: list[object] = []

    def write() -> None:
        with writer_of(engine).connect() as connection, connection.begin():
            told.append(connection.execute(text("SELECT events FROM head FOR UPDATE")).scalar())
            told.append(version_of(connection))

    waiter = threading.Thread(target=write)

    def begin_to_write(step: str) -> None:
        if step.startswith("copying"):
            waiter.start()
            waiter.join(0.5)
            assert told == []

    upgrade_store(workspace, begin_to_write)
    waiter.join(60)
    assert told[1] == REVISION
    engine.dispose()
