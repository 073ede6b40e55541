"""Fixtures for every tier."""

from collections.abc import Iterator
from itertools import count

import pytest
import structlog

from tests.kit import dovecot as dovecot_kit
from tests.kit.dovecot import Dovecot
from tests.kit.postgres import Postgres, need

_NUMBERS = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that the workers end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


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


@pytest.fixture
def dovecot(tmp_path) -> Iterator[Dovecot]:
    """A Dovecot of our own, where all of sales.example.com is the gateway's; in CI a missing one is a failure."""
    dovecot_kit.need()
    users = {"gateway": "pw-gateway", "chia": "pw-chia", "archive": "pw-archive"}
    with Dovecot(tmp_path / "dovecot", users, catch_all=("sales.example.com", "gateway")) as server:
        yield server
