"""What deciding stands on: a store of each dialect, as the tests of the store have it, and houses on one."""

import pytest

from tests.kit.house import ZONE, House, calm_rules
from tests.kit.zone import Zone
from tests.store.conftest import postgresql, postgresql_store, store

__all__ = ["postgresql", "postgresql_store", "store"]


def acme(folder, **files) -> House:
    """Return a house of ACME's quotation S00001, with limits that no test meets."""
    built = House(folder, Zone.read(ZONE), **{"rules": calm_rules(), **files})
    built.quotation()
    return built


@pytest.fixture
def make(tmp_path):
    """Return what makes houses."""
    houses = []

    def make_one(name="site", **files):
        houses.append(acme(tmp_path / name, **files))
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
