"""A PostgreSQL server of the tests' own, thrown away after them, and fresh databases on it."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text

from audit_store.database import create_schema, make_engine
from audit_store.engines import writer_of
from scripts.benchmarks.trust_postgres import Cluster, cluster

ABSENT = "PostgreSQL is not installed (Debian: apt install postgresql)"
TEMPLATE = "miracl_template"
# Another order of text than SQLite's, so that nothing depends on it.
LOCALE = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
_NUMBER = itertools.count(1)


class Server:
    """The running server."""

    def __init__(self, running: Cluster) -> None:
        self._running = running
        self._admin = create_engine(running.url("postgres"), isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.create(TEMPLATE)
        engine = make_engine(self.url(TEMPLATE))
        with writer_of(engine).connect() as connection, connection.begin():
            create_schema(connection)
        engine.dispose()

    def url(self, database: str) -> str:
        """URL of a database."""
        return self._running.url(database)

    def run(self, statement: str) -> None:
        """Run a statement as the server's owner, outside a transaction."""
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def create(self, database: str) -> None:
        """Make an empty database."""
        self.run(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' {LOCALE}")

    def cut(self, database: str) -> None:
        """End every connection to a database, as a server's restart does."""
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    def named(self, template: str | None = TEMPLATE) -> str:
        """Make a database like `template`, by default one with an empty store, or an empty one; return its name."""
        name = f"miracl_{next(_NUMBER)}"
        if template is None:
            self.create(name)
        else:
            self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @contextmanager
    def fresh(self, template: str | None = TEMPLATE) -> Iterator[str]:
        """Lend a new database, as `named` makes it; give its URL."""
        name = self.named(template)
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Let go of the server."""
        self._admin.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Run a server for the tests; where PostgreSQL is absent they are skipped, and fail where CI=true."""
    with cluster(fsync="off", synchronous_commit="off", full_page_writes="off", autovacuum="off") as running:
        if running is None:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(ABSENT)
        server = Server(running)
        yield server
        server.close()


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """URL of a fresh database without any table."""
    with postgres_server.fresh(None) as url:
        yield url
