"""Add whether the author of a mail was proved, and of a blocked one; and an index of messages by their authors.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_message_who", "message", ["author_who", "id"], unique=False)
    no, yes = sa.false(), sa.true()
    op.add_column("arrival", sa.Column("proved", sa.Boolean(), nullable=False, server_default=no))
    op.add_column("blocked", sa.Column("proved", sa.Boolean(), nullable=False, server_default=yes))


def downgrade() -> None:
    op.drop_column("blocked", "proved")
    op.drop_column("arrival", "proved")
    op.drop_index("ix_message_who", table_name="message")
