"""A migrated, empty store on both dialects: every test that takes `store` runs on each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import schema
from gateway.store.session import Store, open_store
from gateway.store.tables import metadata


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    """A migrated SQLite file, to copy."""
    folder = tmp_path_factory.mktemp("template")
    made = open_store("sqlite:///gateway.db", folder)
    schema.upgrade(made)
    made.close()
    return folder / "gateway.db"


@pytest.fixture(scope="session")
def postgresql_store(postgres) -> Iterator[Store]:
    """A migrated PostgreSQL database, shared; `store` empties it."""
    made = open_store(postgres.new_database(), Path())
    schema.upgrade(made)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path) -> Iterator[Store]:
    """An empty store, migrated."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "gateway.db")
        made = open_store("sqlite:///gateway.db", tmp_path)
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
    url = "sqlite:///gateway.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    made = open_store(url, tmp_path)
    yield made
    made.close()
