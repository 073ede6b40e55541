"""Fixtures for every tier."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.postgres import Postgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[Postgres]:
    """A PostgreSQL server of our own; in CI a missing one is a failure."""
    if not Postgres.available():
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed; .ci/run installs it")
        pytest.skip("PostgreSQL is not installed: this was NOT tested on it")
    folder = Path(tmp_path_factory.mktemp("postgres"))
    server = Postgres()
    server.start(folder)
    yield server
    server.stop()


@pytest.fixture
def postgresql_url(postgres) -> str:
    """The URL of a new, empty database."""
    return postgres.new_database()
