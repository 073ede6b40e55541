"""Bring the store's schema up to date, and tell whether it is: alembic over `migrations/`."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway import bundled
from gateway.store.session import Store

_LOCK = 0x7265706C  # an advisory lock's key on PostgreSQL: two nodes that start at once migrate once


def upgrade(store: Store) -> tuple[str, str]:
    """Bring the schema to the newest revision; return the revision before and after.

    One transaction: on SQLite it is exclusive as it is, on PostgreSQL an advisory lock makes it so.
    """
    before = revision(store)
    config = _config()
    with store.write() as tx:
        if not store.embedded:
            tx.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        config.attributes["connection"] = tx
        command.upgrade(config, "head")
    return before, revision(store)


def revision(store: Store) -> str:
    """Return the revision the store is at, "" for an empty one."""
    with store.read() as tx:
        return MigrationContext.configure(tx).get_current_revision() or ""


def newest() -> str:
    """Return the revision this program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(bundled.folder("migrations")))
    config.set_main_option("path_separator", "os")
    return config
