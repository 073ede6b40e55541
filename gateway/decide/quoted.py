"""A text for outsiders that quotes a note is not posted: its author is asked first."""

from dataclasses import replace

from gateway.decide.held import QUOTES_NOTE
from gateway.decide.place import Incoming, Place, tell_held
from gateway.decide.post import Desk, Text
from gateway.mail.charset import decode_text
from gateway.mail.parse import Attachment, parse
from gateway.store import prints
from gateway.store.arrivals import Settled
from gateway.store.session import Transaction

REASON = "it quotes an internal note, and outsiders would read it"
_TEXTS_MAX = 200_000  # octets of an attached text that are looked at


def careful(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text) -> Text | Settled:
    """Return what is posted of a discussion; one that quotes a note where outsiders hear is held, and its author asked.

    Where nobody outside hears, it is posted, and stays inside whoever comes to follow. Whoever
    released it has decided; an outsider was shown no note, and cannot quote one.
    """
    person = incoming.identity.person
    if person is None or incoming.recipient.released or not prints.quotes_note(tx, texts_of(said)):
        return said
    if not _outsiders_hear(desk, incoming, where):
        return replace(said, details=replace(said.details, inside="it quotes an internal note"))
    tell_held(tx, desk, incoming, REASON, where.record, [person.key])
    return Settled("held", QUOTES_NOTE, REASON, where.record.id)


def _outsiders_hear(desk: Desk, incoming: Incoming, where: Place) -> bool:
    """Whether somebody outside hears of a discussion here, or may without another word of its author."""
    named = any(
        not desk.addresses.owns(mailbox.address) and desk.site.people.person(mailbox.address.key) is None
        for mailbox in (*incoming.mail.to, *incoming.mail.cc)
    )
    return named or bool(where.record.customer.emails) or any(follower.outsider for follower in where.followers)


def texts_of(said: Text) -> list[str]:
    """Return everything of a message that can be read: its text, its quotes, texts and mails attached to it."""
    return [said.text, *(text for each in said.attachments if (text := _text_of(each)))]


def _text_of(attachment: Attachment) -> str:
    if attachment.media_type.startswith("text/"):
        return decode_text(attachment.content[:_TEXTS_MAX], "")[0]
    if attachment.media_type == "message/rfc822":
        return parse(attachment.content[:_TEXTS_MAX]).text
    return ""
