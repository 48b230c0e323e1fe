"""A PostgreSQL of its own, thrown away afterwards: reached by a socket in its folder alone, never by the network."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

USER = "miracl"
_ACCOUNTS = ("postgres", "nobody")
_SETTINGS = {"listen_addresses": "''", "max_connections": "200", "shared_buffers": "64MB", "fsync": "on"}


@dataclass(frozen=True)
class Cluster:
    """A running server: the folder of its socket."""

    socket: Path

    def url(self, database: str) -> str:
        """Give SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.socket}"

    def create(self, database: str) -> str:
        """Make an empty database; return its URL."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0"))
        finally:
            engine.dispose()
        return self.url(database)


def programs() -> Path | None:
    """Folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found is not None and shutil.which("pg_ctl") is not None:
        return Path(found).parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return places[-1].parent if places else None


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster | None]:
    """Run a throw-away server within the block; None where PostgreSQL or its driver is missing.

    It syncs as a real one does, unless `settings` of the server say otherwise. PostgreSQL refuses to run as root; it
    then runs as the account postgres or nobody.
    """
    folder = programs()
    if folder is None or not _driver():
        yield None
        return
    # A socket's path may have 107 characters, so the folder is a short one of its own.
    root = Path(tempfile.mkdtemp(prefix="miracl-pg-"))
    account = _account()
    try:
        if account is not None:
            os.chown(root, *account)
        data = root / "data"
        _run(folder / "initdb", account, "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--locale=C")
        told = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **settings}.items()) + f" -k {root}"
        _run(folder / "pg_ctl", account, "-D", data, "-w", "-l", root / "log", "-o", told, "start")
        try:
            yield Cluster(root)
        finally:
            _run(folder / "pg_ctl", account, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _driver() -> bool:
    try:
        make_url("postgresql+psycopg://").get_dialect().import_dbapi()
    except ImportError:
        return False
    return True


def _account() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = next(known[name] for name in _ACCOUNTS if name in known)
    return found.pw_uid, found.pw_gid


def _run(program: Path, account: tuple[int, int] | None, *words: object) -> None:
    user, group = account if account is not None else (None, None)
    command = [str(program), *map(str, words)]
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user,
        group=group,
        extra_groups=[] if account is not None else None,
        cwd="/",
        timeout=120,
    )
