"""Add mailboxes: how far accounts were read, what is filed into folders, and what people move there.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_index("ix_arrival_content", "arrival", ["content"])
    op.create_table(
        "mailbox",
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("uid", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("waiting", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("quota_used", sa.BigInteger(), nullable=True),
        sa.Column("quota_limit", sa.BigInteger(), nullable=True),
        sa.Column("ok_at", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.Column("error_at", sa.BigInteger(), nullable=True),
        sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mailbox")),
    )
    op.create_table(
        "filing",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("account", sa.String(300), nullable=False),
        sa.Column("folder", sa.String(300), nullable=False),
        sa.Column("seen", sa.Boolean(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("body_id", ID, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False, server_default=""),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("read_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("fence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_filing_message_id")),
        sa.ForeignKeyConstraint(["body_id"], ["body.id"], name=op.f("fk_filing_body_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_filing")),
        sa.UniqueConstraint("message_id", "account", "folder", name=op.f("uq_filing_message_id_account_folder")),
        sqlite_autoincrement=True,
    )
    waiting = sa.text("state IN ('queued', 'deferred')")
    op.create_index("ix_filing_due", "filing", ["account", "due_at"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "folder",
        sa.Column("account", sa.String(300), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("uid_validity", sa.BigInteger(), nullable=False),
        sa.Column("uid_next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("pk_folder")),
    )
    op.create_table(
        "card",
        sa.Column("account", sa.String(300), nullable=False),
        sa.Column("record_id", ID, nullable=False),
        sa.Column("folder", sa.String(300), nullable=False),
        sa.Column("message_id", sa.String(255), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("placed_folder", sa.String(300), nullable=False, server_default=""),
        sa.Column("placed_id", sa.String(255), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(["record_id"], ["record.id"], name=op.f("fk_card_record_id")),
        sa.PrimaryKeyConstraint("account", "record_id", name=op.f("pk_card")),
    )


def downgrade() -> None:
    for table in ("card", "folder", "filing", "mailbox"):
        op.drop_table(table)
    op.drop_index("ix_arrival_content", "arrival")
