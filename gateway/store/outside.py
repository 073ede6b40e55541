"""What somebody outside wrote, or got."""

from typing import Literal

import sqlalchemy as sa

from gateway.store import content, messages
from gateway.store.messages import Message
from gateway.store.session import Transaction
from gateway.store.tables import body, delivery, message

_MESSAGES_MAX = 200  # of a record, or of a person
_NOT_GOT = ("failed", "expired", "suppressed")  # deliveries
_GOT = sa.and_(delivery.c.outsider, delivery.c.state.not_in(_NOT_GOT))
_SENT = (
    sa.select(delivery.c.header, body.c.content)
    .join(body, body.c.id == delivery.c.body_id)
    .where(delivery.c.message_id == sa.bindparam("of"), _GOT)
    .limit(1)
)


def read(tx: Transaction, by: Literal["record_id", "author_who"], value: int | str) -> list[Message]:
    """Return the newest messages on a record, or of a person, that somebody outside wrote or got, the newest first."""
    got = sa.exists().where(delivery.c.message_id == message.c.id, _GOT)
    may = sa.or_(got, sa.not_(message.c.internal), message.c.author_who == "")
    query = sa.select(message.c.id, got.label("got")).where(message.c[by] == value, may).order_by(message.c.id.desc())
    found = {row.id: row.got for row in tx.execute(query.limit(_MESSAGES_MAX))}
    loaded = messages.load(tx, found)[::-1]
    return [each for each in loaded if found[each.id] or each.author.outsider or each.details.outside]


def as_sent(tx: Transaction, message_id: int) -> bytes | None:
    """Return a message as the mail that somebody outside got, or None."""
    row = tx.execute(_SENT, {"of": message_id}).first()
    return row.header + b"\r\n" + content.load(tx, row.content) if row else None
