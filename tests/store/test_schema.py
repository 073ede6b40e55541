"""The migrations make what store/tables.py says, on both dialects, and can be taken back."""

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway import bundled
from gateway.store import schema
from gateway.store.tables import metadata
from tests.store.kit import in_threads


def migrate(store, direction, revision):
    config = Config()
    config.set_main_option("script_location", str(bundled.folder("migrations")))
    config.set_main_option("path_separator", "os")
    with store.write() as tx:
        config.attributes["connection"] = tx
        getattr(command, direction)(config, revision)


def tables(store):
    with store.read() as tx:
        return set(sa.inspect(tx).get_table_names()) - {"alembic_version"}


def test_an_empty_store_has_no_revision(empty_store):
    assert schema.revision(empty_store) == ""
    assert tables(empty_store) == set()


def test_upgrade_makes_every_table_and_a_second_one_changes_nothing(empty_store):
    assert schema.upgrade(empty_store) == ("", schema.newest())
    assert tables(empty_store) == set(metadata.tables)
    assert schema.upgrade(empty_store) == (schema.newest(), schema.newest())


def test_the_schema_is_what_the_tables_say(store):
    with store.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, metadata) == []


def test_the_checks_of_the_tables_stand_in_the_schema(store):
    with store.read() as tx:
        found = {check["name"] for check in sa.inspect(tx).get_check_constraints("delivery")}
        keys = {key["name"] for key in sa.inspect(tx).get_foreign_keys("delivery")}
    assert "ck_delivery_note_stays_inside" in found
    assert "fk_delivery_message" in keys


def test_the_partial_indexes_are_partial(store):
    with store.read() as tx:
        for table in ("arrival", "message", "notice", "delivery"):
            index = next(i for i in sa.inspect(tx).get_indexes(table) if i["name"] == f"ix_{table}_due")
            where = index["dialect_options"][f"{tx.dialect.name}_where"]
            assert "state" in str(where)


def test_every_migration_can_be_taken_back_and_done_again(empty_store):
    steps = [each.revision for each in ScriptDirectory(str(bundled.folder("migrations"))).walk_revisions()][::-1]
    for revision in steps:
        migrate(empty_store, "upgrade", revision)
        migrate(empty_store, "downgrade", "-1")
        migrate(empty_store, "upgrade", revision)
    migrate(empty_store, "downgrade", "base")
    assert tables(empty_store) == set()
    assert schema.upgrade(empty_store) == ("", schema.newest())


def test_two_programs_that_migrate_at_once_migrate_once(empty_store):
    answers = in_threads(4, lambda _: schema.upgrade(empty_store))
    assert {after for _, after in answers} == {schema.newest()}
    assert tables(empty_store) == set(metadata.tables)


def test_migrations_are_named_for_when_they_run():
    for each in ScriptDirectory(str(bundled.folder("migrations"))).walk_revisions():
        name = each.path.rpartition("/")[2]
        assert name.split("_")[0] == each.revision
        assert name.split("_")[1] in {"pre", "post"}
