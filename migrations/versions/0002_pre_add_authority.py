"""Add what authority stands on: proofs of the author, decisions, prints of notes, bounces, blocks, the audit log.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("arrival", sa.Column("auth_who", sa.String(100), nullable=False, server_default=""))
    op.add_column("arrival", sa.Column("results", sa.JSON(), nullable=True))
    op.add_column("arrival_recipient", sa.Column("decided_by", sa.String(100), nullable=False, server_default=""))
    op.add_column("arrival_recipient", sa.Column("decided_at", sa.BigInteger(), nullable=True))
    op.add_column("record", sa.Column("tag_epoch", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "note_print",
        sa.Column("piece", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_note_print_message_id")),
        sa.PrimaryKeyConstraint("piece", "message_id", name=op.f("pk_note_print")),
    )
    op.create_table(
        "bounce",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.String(400), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("delivery_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_bounce_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bounce_email", "bounce", ["email"])
    op.create_table(
        "blocked",
        sa.Column("email", sa.String(400), nullable=False),
        sa.Column("by", sa.String(100), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_blocked")),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(400), nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("about", sa.String(400), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_hash")),
        sqlite_autoincrement=True,
    )
    _guard_audit()


def _guard_audit() -> None:
    """Let the database itself refuse to change what was written."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
        "FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()"
    )


def downgrade() -> None:
    op.drop_table("audit")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_is_append_only()")
    op.drop_table("blocked")
    op.drop_table("bounce")
    op.drop_table("note_print")
    for table, column in (
        ("record", "tag_epoch"), ("arrival_recipient", "decided_at"), ("arrival_recipient", "decided_by"),
        ("arrival", "results"), ("arrival", "auth_who"),
    ):  # fmt: skip
        with op.batch_alter_table(table) as batch:
            batch.drop_column(column)
