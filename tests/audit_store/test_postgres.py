"""What PostgreSQL has to keep that SQLite keeps by being one file: order under many servers, and nothing said aloud."""

import logging
import multiprocessing
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select, text

from audit_store import tables
from audit_store.database import Store, described, make_engine, open_store, read_head_file
from audit_store.decisions import Reading, new_token, record
from audit_store.errors import StoreError, WorkspaceError
from audit_store.ledger import append, head
from audit_store.states import snapshot
from audit_store.verify import verify
from audit_store.workspace import create_workspace, open_workspace
from tests.postgres import Server

from .conftest import Site

pytestmark = pytest.mark.postgres
ON_POSTGRES = pytest.mark.parametrize("backend", ["postgres"], indirect=True)
SECRET = "s3cr3t-of-the-ward"


def _decide(root: Path, who: str, pairs: list[tuple[int, str]], people: dict[str, object]) -> None:
    store = open_store(open_workspace(root))
    for stay, key in pairs:
        record(store, people[who], Reading(1, stay, key, "present"), new_token())  # type: ignore[arg-type]
    store.close()


@ON_POSTGRES
def test_servers_that_record_decisions_at_once_keep_the_chain_whole(site: Site) -> None:
    pairs, context = site.singles()[:12], multiprocessing.get_context("spawn")
    servers = [
        context.Process(target=_decide, args=(site.workspace.root, who, pairs, site.people))
        for who in ("ann", "ben", "cat")
    ]
    for server in servers:
        server.start()
    for server in servers:
        server.join(120)
        assert server.exitcode == 0
    kept = snapshot(site.store).standing.to_pylist()
    assert sorted((row["reviewer"], row["stay_id"], row["label_key"]) for row in kept) == sorted(
        (who, stay, key) for who in ("ann", "ben", "cat") for stay, key in pairs
    )
    assert verify(site.store) == []
    assert read_head_file(site.workspace.head_file) == (head(site.store).count, head(site.store).hash)


def test_servers_that_open_an_empty_database_at_once_make_one_store(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    monkeypatch.setenv("MIRACL_DECISIONS_URL", postgres_url)
    workspace = create_workspace(tmp_path)
    context = multiprocessing.get_context("spawn")
    servers = [context.Process(target=_open, args=(tmp_path,)) for _ in range(3)]
    for server in servers:
        server.start()
    for server in servers:
        server.join(120)
        assert server.exitcode == 0
    store = open_store(workspace)
    with store.reading() as connection:
        assert set(inspect(connection).get_table_names()) == {*tables.metadata.tables, "alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert connection.execute(select(tables.head.c.workspace_id)).all() == [(workspace.workspace_id,)]
    assert verify(store) == []
    store.close()


def _open(root: Path) -> None:
    open_store(open_workspace(root)).close()


@ON_POSTGRES
def test_a_cut_connection_is_one_line_and_the_next_act_works(site: Site, postgres_server: Server) -> None:
    database = str(make_engine(site.workspace.decisions_url).url.database)
    before = head(site.store)

    def cut_off_while_writing() -> None:
        with site.store.writing() as connection:
            append(connection, "test", "ann", {})
            postgres_server.cut(database)
            append(connection, "test", "ann", {})

    with pytest.raises(StoreError, match="no connection to the PostgreSQL database") as caught:
        cut_off_while_writing()
    assert "\n" not in str(caught.value)
    assert head(site.store) == before
    postgres_server.cut(database)
    site.say("ann", *site.singles()[0], "present")
    assert verify(site.store) == []


def test_a_server_that_is_away_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for url in (
        f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/ward",
        f"postgresql+psycopg://ada@127.0.0.1:1/ward?password={SECRET}",
        f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/ward?nonsense={SECRET}",
        f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:port/ward",
        f"postgresql+nodriver://ada:{SECRET}@127.0.0.1/ward",
        f"mysql://ada:{SECRET}@127.0.0.1/ward",
    ):
        monkeypatch.setenv("MIRACL_DECISIONS_URL", url)
        workspace = create_workspace(tmp_path)
        with caplog.at_level(logging.DEBUG), pytest.raises(StoreError) as caught:
            open_store(workspace)
        assert "\n" not in str(caught.value)
        told = str(caught.value) + caplog.text + repr(workspace)
        assert SECRET not in told
        assert "ada" not in told
        assert caught.value.__cause__ is None
    assert described(f"postgresql+psycopg://ada:{SECRET}@db.ward3:5433/miracl?sslmode=require") == (
        "the PostgreSQL database miracl on db.ward3:5433"
    )


@ON_POSTGRES
def test_a_refused_row_is_one_line_without_what_was_written(site: Site) -> None:
    def write() -> None:
        with site.store.writing() as connection:
            append(connection, "test", f"{SECRET} " * 20, {})

    with pytest.raises(StoreError) as caught:
        write()
    assert SECRET not in str(caught.value)
    assert verify(site.store) == []


@ON_POSTGRES
def test_another_workspace_is_refused_the_same_database(site: Site, tmp_path: Path) -> None:
    other = create_workspace(tmp_path / "other")
    with pytest.raises(WorkspaceError, match="another workspace's; give each workspace its own"):
        open_store(other)
    site.say("ann", *site.singles()[0], "present")


def test_a_database_that_holds_something_else_is_refused(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE person (name text)"))
    monkeypatch.setenv("MIRACL_DECISIONS_URL", postgres_url)
    with pytest.raises(WorkspaceError, match="tables of something else"):
        open_store(create_workspace(tmp_path))
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["person"]
    engine.dispose()


@ON_POSTGRES
def test_twenty_sessions_of_one_server_get_their_turns(site: Site) -> None:
    wrong: list[BaseException] = []

    def session(number: int) -> None:
        try:
            for i in range(3):
                head(site.store)
                with site.store.writing() as connection:
                    append(connection, "test", f"session-{number}", {"i": i})
        except BaseException as error:  # told in the test's own thread
            wrong.append(error)

    before = head(site.store).count
    sessions = [threading.Thread(target=session, args=(number,)) for number in range(20)]
    for thread in sessions:
        thread.start()
    for thread in sessions:
        thread.join(120)
    assert wrong == []
    assert head(site.store).count == before + 60
    assert verify(site.store) == []


@ON_POSTGRES
def test_a_writer_that_hangs_is_told_to_the_others_in_one_line(site: Site) -> None:
    holder = Store(site.workspace, make_engine(site.workspace.decisions_url))
    url = f"{site.workspace.decisions_url}&options=-c%20lock_timeout%3D100"
    waiter = Store(site.workspace, make_engine(url))
    with (
        holder.writing() as connection,
        pytest.raises(StoreError, match="others who were writing; try again"),
        waiter.writing(),
    ):
        pass
    assert connection.closed
    with waiter.writing() as connection:
        append(connection, "test", "ann", {})
    assert verify(site.store) == []
    holder.close()
    waiter.close()
