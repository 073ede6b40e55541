"""Bring the store's schema up to date, and tell whether it is: alembic over `migrations/`."""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from gateway import bundled
from gateway.store.session import Store

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION = sa.table("alembic_version", sa.column("version_num"))
_LOCK = 0x7265706C  # an advisory lock's key on PostgreSQL: two nodes that start at once migrate once


def upgrade(store: Store) -> tuple[str, str]:
    """Bring the schema to the newest revision; return the revision before and after.

    One transaction: on SQLite it is exclusive as it is, on PostgreSQL an advisory lock makes it so.
    """
    from alembic import command  # noqa: PLC0415 (it takes as long to load as most commands to run)

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
        if not sa.inspect(tx).has_table(_VERSION.name):
            return ""
        return str(tx.execute(sa.select(_VERSION.c.version_num)).scalar() or "")


def newest() -> str:
    """Return the revision this program needs: the greatest number a migration begins with."""
    return max(path.name.split("_")[0] for path in (bundled.folder("migrations") / "versions").glob("[0-9]*.py"))


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 (see above)

    config = Config()
    config.set_main_option("script_location", str(bundled.folder("migrations")))
    config.set_main_option("path_separator", "os")
    return config
