"""Moving the decisions: everything arrives as it was, the old store stays whole, and only one takes decisions."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text

from audit_store import copying, moving, tables
from audit_store.copying import Copied, contents, load_copy, save_copy
from audit_store.database import make_engine, open_store
from audit_store.decisions import adjudicate, new_token, undo
from audit_store.engines import same_place, writer_of
from audit_store.errors import ChainError, StoreError, WorkspaceError
from audit_store.exports import export_labels
from audit_store.ledger import head
from audit_store.moving import move_store
from audit_store.states import snapshot
from audit_store.verify import verify

from .conftest import POSTGRES, Site

ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
ON_BOTH = pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)
MakeSite = Callable[..., Site]


@pytest.fixture
def lived(make_site: MakeSite) -> Site:
    """A workspace in which most things have happened."""
    site = make_site(20, 6)
    pairs = site.flags()
    site.say("ann", *pairs[0], "present", comment="first · ü")
    site.say("ben", *pairs[0], "absent")
    adjudicate(site.store, site.people["ada"], 1, *pairs[0], "present", comment="second", token=new_token())
    site.say("ann", *pairs[1], "cannot_tell", active_seconds=0.1 + 0.2)
    undo(site.store, site.people["ann"], new_token())
    export_labels(site.store, 1, site.people["sam"])
    return site


@pytest.fixture(params=["sqlite", POSTGRES])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a store that isn't there yet."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'moved.sqlite'}"


def held(url: str) -> Copied:
    engine = make_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            return contents(connection)
    finally:
        engine.dispose()


def states(url: str) -> tuple[str, str | None]:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            row = connection.execute(select(tables.head.c.state, tables.head.c.moved_to)).one()
            return str(row.state), row.moved_to
    finally:
        engine.dispose()


@ON_BOTH
def test_everything_arrives_and_the_old_store_takes_no_more(
    lived: Site, new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_url, before = lived.workspace.decisions_url, held(lived.workspace.decisions_url)
    answers = snapshot(lived.store).states
    moved = move_store(lived.workspace, new_url)
    assert moved == before == held(new_url) == held(old_url)
    assert moved.rows["event"] == moved.count > 10
    assert moved.rows["decision"] == 4
    with pytest.raises(WorkspaceError, match=r"has moved to the .*; set MIRACL_DECISIONS_URL"):
        lived.say("ann", *lived.singles()[5], "present")  # a server that was open meanwhile
    lived.store.close()
    with pytest.raises(WorkspaceError, match="has moved to"):
        open_store(lived.workspace)
    monkeypatch.setenv("MIRACL_DECISIONS_URL", new_url)
    store = open_store(lived.workspace)
    assert verify(store) == []
    assert snapshot(store).states.equals(answers)
    lived.store = store
    lived.say("ann", *lived.singles()[5], "present")
    assert verify(store) == []
    assert held(old_url) == before
    store.close()


@pytest.mark.postgres
@ON_SQLITE
def test_there_and_back_again_is_the_same_store(
    lived: Site, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = held(lived.workspace.decisions_url)
    lived.store.close()
    move_store(lived.workspace, postgres_url)
    monkeypatch.setenv("MIRACL_DECISIONS_URL", postgres_url)
    back = f"sqlite:///{tmp_path / 'back.sqlite'}"
    assert move_store(lived.workspace, back) == before
    assert states(postgres_url)[0] == "moved"
    monkeypatch.setenv("MIRACL_DECISIONS_URL", back)
    store = open_store(lived.workspace)
    assert verify(store) == []
    store.close()


@ON_SQLITE
def test_a_target_that_holds_anything_is_refused_and_left_as_it_is(
    lived: Site, make_site: MakeSite, new_url: str, tmp_path: Path
) -> None:
    engine = make_engine(new_url)
    with writer_of(engine).connect() as connection, connection.begin():
        connection.execute(text("CREATE TABLE wards (name text)"))
    with pytest.raises(WorkspaceError, match="an empty database; got one that holds something"):
        move_store(lived.workspace, new_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM wards")).scalar() == 0
    engine.dispose()
    with pytest.raises(WorkspaceError, match="the one in use"):
        move_store(lived.workspace, lived.workspace.decisions_url)
    other = make_site(6, 3, folder=tmp_path / "other", train=False)
    with pytest.raises(WorkspaceError, match="holds something"):
        move_store(lived.workspace, other.workspace.decisions_url)
    with pytest.raises(WorkspaceError, match="make it first"):
        move_store(lived.workspace, f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite'}")
    lived.say("ann", *lived.singles()[5], "present")
    assert verify(lived.store) == []
    assert verify(other.store) == []


@ON_SQLITE
def test_an_empty_store_that_a_command_made_too_early_is_filled(
    lived: Site, new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MIRACL_DECISIONS_URL", new_url)
        open_store(lived.workspace).close()
    assert move_store(lived.workspace, new_url) == held(new_url)


def _stop_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise where a kill would strike: before the copy, before the target is committed, or before it is opened."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if step == "filled":  # after the target's commit, before the source's
        real = moving.described
        monkeypatch.setattr(moving, "described", lambda url: stop() or real(url))
    else:
        module, name = {
            "copying": (copying, "_copy"),
            "verifying": (copying, "require_whole"),
            "opening": (moving, "_open"),
        }[step]
        monkeypatch.setattr(module, name, stop)


@ON_SQLITE
@pytest.mark.parametrize("step", ["copying", "verifying", "filled", "opening"])
def test_cut_short_anywhere_it_can_be_run_again(
    lived: Site, new_url: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_url = lived.workspace.decisions_url
    with monkeypatch.context() as patch:
        _stop_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            move_store(lived.workspace, new_url)
    with monkeypatch.context() as patch:  # whatever arrived takes no decisions yet
        patch.setenv("MIRACL_DECISIONS_URL", new_url)
        if step in ("filled", "opening"):
            with pytest.raises(WorkspaceError, match="has not finished filling; run miracl store migrate again"):
                open_store(lived.workspace)
    if step == "opening":
        with pytest.raises(WorkspaceError, match="cut short, run it once more"):
            lived.say("ann", *lived.singles()[5], "present")
    else:
        lived.say("ann", *lived.singles()[5], "present")
        assert verify(lived.store) == []
    before = held(old_url)
    assert move_store(lived.workspace, new_url) == before == held(new_url)
    assert states(old_url)[0] == "moved"
    assert states(new_url) == ("open", None)


@ON_SQLITE
def test_rows_that_arrive_changed_are_refused(lived: Site, new_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = copying._copy

    def lossy(source: object, target: object) -> None:
        real(source, target)  # type: ignore[arg-type]
        target.execute(text("UPDATE decision SET certainty = 'low'"))  # type: ignore[attr-defined]

    monkeypatch.setattr(copying, "_copy", lossy)
    with pytest.raises(ChainError, match="other rows in decision"):
        move_store(lived.workspace, new_url)
    assert states(lived.workspace.decisions_url) == ("open", None)


@ON_SQLITE
def test_a_ledger_that_does_not_hold_is_not_moved(lived: Site, new_url: str) -> None:
    engine = make_engine(lived.workspace.decisions_url)
    with writer_of(engine).connect() as connection, connection.begin():
        connection.execute(text("UPDATE event SET actor = 'mallory' WHERE seq = 9"))
    engine.dispose()
    with pytest.raises(ChainError, match="event 9"):
        move_store(lived.workspace, new_url)
    assert states(lived.workspace.decisions_url) == ("open", None)


@ON_BOTH
def test_a_copy_of_a_store_in_use_is_one_closed_file_and_fills_an_empty_store(
    lived: Site, new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "copy.sqlite"
    with lived.store.reading() as connection:
        saved = save_copy(connection, file)
    lived.say("ann", *lived.singles()[5], "present")
    assert saved.count < head(lived.store).count
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.sqlite"]
    assert load_copy(file, new_url, lived.workspace) == saved == held(new_url)
    with pytest.raises(WorkspaceError, match="holds something"):
        load_copy(file, new_url, lived.workspace)
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.sqlite"]
    lived.store.close()
    monkeypatch.setenv("MIRACL_DECISIONS_URL", new_url)
    store = open_store(lived.workspace)
    assert {finding.where for finding in verify(store)} == {lived.workspace.head_file.name}  # its tail is not there
    store.close()


@ON_SQLITE
def test_a_copy_that_cannot_be_written_leaves_nothing(lived: Site, tmp_path: Path) -> None:
    with lived.store.reading() as connection, pytest.raises(StoreError) as caught:
        save_copy(connection, tmp_path / "nowhere" / "copy.sqlite")
    assert "\n" not in str(caught.value)


def test_the_same_place_is_known_by_any_name(tmp_path: Path) -> None:
    os.symlink(tmp_path, tmp_path / "link")
    assert same_place(f"sqlite:///{tmp_path}/a.sqlite", f"sqlite:///{tmp_path}/link/a.sqlite")
    assert not same_place(f"sqlite:///{tmp_path}/a.sqlite", f"sqlite:///{tmp_path}/b.sqlite")
    assert same_place("postgresql+psycopg://a:b@db/x", "postgresql://c@db:5432/x")
    assert not same_place("postgresql+psycopg://a@db/x", "postgresql+psycopg://a@db/y")
