"""Add what working by mail stands on: standing choices, and what commands did.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "standing",
        sa.Column("id", ID, nullable=False),
        sa.Column("who", sa.String(400), nullable=False),
        sa.Column("team", sa.String(64), nullable=False),
        sa.Column("subtypes", sa.JSON(), nullable=False),
        sa.Column("without", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standing")),
        sa.UniqueConstraint("who", "team", name=op.f("uq_standing_who_team")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "carried_out",
        sa.Column("id", ID, nullable=False),
        sa.Column("record_id", ID, nullable=False),
        sa.Column("who", sa.String(400), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("final", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("taken_back", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.ForeignKeyConstraint(["record_id"], ["record.id"], name=op.f("fk_carried_out_record_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carried_out")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_carried_out_record", "carried_out", ["record_id", "who", "id"])


def downgrade() -> None:
    op.drop_table("carried_out")
    op.drop_table("standing")
