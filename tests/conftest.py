"""Fixtures for every tier."""

from collections.abc import Iterator
from itertools import count

import pytest
import structlog

from tests.kit.postgres import Postgres, need

_NUMBERS = count(1)


@pytest.fixture(autouse=True)
def _own_log():
    """Let no test log into a stream that another captured and closed."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[Postgres]:
    """A PostgreSQL server of our own; in CI a missing one is a failure."""
    need()
    with Postgres() as server:
        server.start(tmp_path_factory.mktemp("postgres"))
        yield server


@pytest.fixture
def postgresql_url(postgres) -> str:
    """The URL of a new, empty database."""
    return postgres.database(f"test{next(_NUMBERS)}")
