"""What deciding stands on: a store of each dialect, as the tests of the store have it, and houses on one."""

import shutil

import pytest

from gateway.store.session import open_store
from tests.kit.house import ZONE, House, calm_rules
from tests.kit.zone import Zone
from tests.store.conftest import postgresql, postgresql_store, sqlite_template, store

__all__ = ["postgresql", "postgresql_store", "sqlite_template", "store"]


def on_copy(template, folder, **files) -> House:
    """Return a house of ACME's quotation S00001, with limits that no test meets, on a copy of a migrated store."""
    folder.mkdir(parents=True)
    shutil.copy(template, folder / "x.db")
    zone = Zone.read(ZONE)
    built = House(folder, zone, open_store("sqlite:///x.db", folder), **{"rules": calm_rules(), **files})
    built.quotation()
    return built


@pytest.fixture
def make(sqlite_template, tmp_path):
    """Return what makes houses."""
    houses = []

    def make_one(name="site", **files):
        houses.append(on_copy(sqlite_template, tmp_path / name, **files))
        return houses[-1]

    yield make_one
    for each in houses:
        each.close()


@pytest.fixture
def made(make):
    """A house of ACME's quotation S00001, on SQLite."""
    return make()


@pytest.fixture
def both_made(store, tmp_path):
    """The same on a store of each dialect."""
    built = House(tmp_path / "site", Zone.read(ZONE), store, rules=calm_rules())
    built.quotation()
    yield built
    built.reader.close()


@pytest.fixture
def offered(tmp_path):
    """A house whose quotation has an amount and lines, with a lead."""
    house = House(tmp_path / "site", Zone.read(ZONE))
    house.quotation(lines=[{"name": "Chair", "quantity": 20, "price": "6000"}], fields={"amount": "120000"})
    house.announce("lead.created", title="desks", salesperson="a", actor="a", team="sales")
    house.sent()
    yield house
    house.close()
