"""What notes say, and the files attached to them, as prints: which a text may quote, in whatever thread they stand."""

from collections.abc import Iterator, Sequence
from itertools import islice

import sqlalchemy as sa

from gateway.mail import prints
from gateway.mail.attached import texts_in
from gateway.mail.parse import Attachment
from gateway.store.content import insert_new
from gateway.store.session import Transaction
from gateway.store.tables import note_print

_ASKED = 500  # prints that are asked for at once
_SHARED_MAX = 200  # notes in which one piece stands, the newest
_KEPT_MAX = 20_000  # prints of a note, from which on no other file of it is looked at
_ANY = sa.select(note_print.c.message_id).limit(1)
_NTH = sa.func.row_number().over(partition_by=note_print.c.piece, order_by=note_print.c.message_id.desc()).label("nth")
_SHARING = sa.select(note_print, _NTH).where(note_print.c.piece.in_(sa.bindparam("pieces", expanding=True))).subquery()
_FIND = sa.select(_SHARING.c.piece, _SHARING.c.message_id).where(_SHARING.c.nth <= _SHARED_MAX)


def keep(tx: Transaction, message_id: int, text: str, attached: Sequence[Attachment] = ()) -> None:
    """Keep the prints of a note, and of the texts attached to it."""
    pieces = prints.prints(text)
    for said in (said for each in attached for said in texts_in(each, [])):
        if len(pieces) < _KEPT_MAX:
            pieces |= prints.prints(said)
    if pieces:
        insert_new(tx, note_print, [{"piece": piece, "message_id": message_id} for piece in pieces])


def are_any(tx: Transaction) -> bool:
    """Whether there is any note to quote."""
    return tx.execute(_ANY).first() is not None


def sharing(tx: Transaction, pieces: Iterator[int]) -> dict[int, set[int]]:
    """Return the ids of the notes in which pieces stand, the newest of them, by the prints of the pieces."""
    found: dict[int, set[int]] = {}
    while batch := list(islice(pieces, _ASKED)):
        for row in tx.execute(_FIND, {"pieces": batch}):
            found.setdefault(row.piece, set()).add(row.message_id)
    return found
