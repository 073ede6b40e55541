"""What deciding stands on: a store of each dialect, as the tests of the store have it."""

from tests.store.conftest import postgresql, postgresql_store, sqlite_template, store

__all__ = ["postgresql", "postgresql_store", "sqlite_template", "store"]
