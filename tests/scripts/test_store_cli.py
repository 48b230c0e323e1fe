"""`miracl store`: what it says, what it asks the user to do next, and what it never says."""

import random
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_store.database import make_engine, open_store
from audit_store.errors import StoreError
from audit_store.workspace import create_workspace
from scripts.benchmarks.trust_earlier import write_earlier
from scripts.benchmarks.trust_upgrade import Stand, Tally, kill_a_move, kill_an_upgrade
from scripts.cli import app

RUN = CliRunner()


def said(*words: str) -> str:
    result = RUN.invoke(app, list(words), terminal_width=400)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


def test_upgrade_says_where_the_copy_lies(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path)
    write_earlier(workspace, "0002")
    with pytest.raises(StoreError, match="run miracl store upgrade"):
        said("status", "--workspace", str(tmp_path))
    told = said("store", "upgrade", "--workspace", str(tmp_path))
    backup = next((tmp_path / "backups").iterdir())
    assert "from schema 0002 to " in told
    assert "and verified them" in told
    assert str(backup) in told.replace(" ", "")
    with sqlite3.connect(backup) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
    copy.close()
    assert "Nothing to do" in said("store", "upgrade", "--workspace", str(tmp_path))


def test_migrate_says_what_to_set_and_the_old_store_is_refused_afterwards(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ward3")
    open_store(workspace).close()
    told = said("store", "migrate", "--to", f"sqlite:///{tmp_path / 'new.sqlite'}", "-w", str(tmp_path / "ward3"))
    assert "from the SQLite file decisions.sqlite to the SQLite file new.sqlite" in told
    assert "set MIRACL_DECISIONS_URL" in told
    with pytest.raises(StoreError, match=r"has moved to the SQLite file new\.sqlite"):
        said("verify", "--workspace", str(tmp_path / "ward3"))


@pytest.mark.postgres
def test_migrate_to_postgresql_never_says_user_or_password(tmp_path: Path, postgres_url: str) -> None:
    workspace = create_workspace(tmp_path / "ward3")
    open_store(workspace).close()
    url = make_engine(postgres_url).url.set(password="s3cr3t").render_as_string(hide_password=False)
    told = said("store", "migrate", "--to", url, "--workspace", str(tmp_path / "ward3"))
    assert "PostgreSQL database" in told
    assert "s3cr3t" not in told
    with pytest.raises(StoreError) as caught:
        said("store", "migrate", "--to", url, "--workspace", str(tmp_path / "ward3"))
    assert "s3cr3t" not in str(caught.value)


def test_killed_upgrades_and_moves_leave_one_whole_store(tmp_path: Path) -> None:
    stand, rng = Stand(tmp_path, None), random.Random(7)
    upgrades, moves = Tally(), Tally()
    # The first of a kind is not killed, but gives the measure of when to strike.
    for number in (0, 4, 4):
        kill_an_upgrade(stand, upgrades, number, rng)
    for number in (0, 0, 0):
        kill_a_move(stand, moves, number, rng)
    assert upgrades.wrong is None
    assert moves.wrong is None
    assert upgrades.before + upgrades.after == moves.before + moves.after == 3
