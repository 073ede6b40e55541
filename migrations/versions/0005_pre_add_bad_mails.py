"""Add bad mails: what lies in a catch-all, was passed, and was never taken in.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("mailbox", sa.Column("bad", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("mailbox", "bad")
