"""A migrated, empty store on both dialects: every test that takes `store` runs on each."""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import schema
from gateway.store.session import Store, open_store
from gateway.store.tables import metadata
from tests.kit.postgres import Postgres
from tests.kit.stores import new_store


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory) -> Iterator[sa.Engine]:
    """A PostgreSQL server; a missing one fails in CI and is a loud skip on a laptop."""
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and not shutil.which("initdb"):
        missing = "PostgreSQL is not installed, so NOTHING of this was tried on it: apt-get install postgresql"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    server = Postgres()
    try:
        url = server.start(tmp_path_factory.mktemp("postgresql"))
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        yield engine
        engine.dispose()
    finally:
        server.stop()


def new_database(engine: sa.Engine) -> str:
    """Make an empty database; return its URL."""
    name = f"test_{secrets.token_hex(6)}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return engine.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_store(postgresql) -> Iterator[Store]:
    """A migrated PostgreSQL database, shared; `store` empties it."""
    made = open_store(new_database(postgresql), Path())
    schema.upgrade(made)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path) -> Iterator[Store]:
    """An empty store, migrated."""
    if request.param == "sqlite":
        made = new_store(tmp_path, "gateway.db")
        yield made
        made.close()
        return
    made = request.getfixturevalue("postgresql_store")
    names = ", ".join(table.name for table in metadata.sorted_tables)
    with made.write() as tx:
        tx.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
    yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_store(request, tmp_path) -> Iterator[Store]:
    """A store in which nothing is yet, not even the schema."""
    server = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    url = new_database(server) if server else "sqlite:///gateway.db"
    made = open_store(url, tmp_path)
    yield made
    made.close()
