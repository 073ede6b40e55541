"""A text for outsiders that quotes a note is not posted: its author is asked first."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.decide.held import QUOTES_NOTE
from gateway.decide.place import Incoming, Place, tell_held
from gateway.decide.post import Desk, Text
from gateway.mail.charset import decode_text, decode_words, is_utf_16
from gateway.mail.html import html_to_text
from gateway.mail.parse import Attachment, parse
from gateway.store import messages, prints
from gateway.store.arrivals import Settled
from gateway.store.session import Transaction

REASON = "it quotes an internal note, and outsiders would read it"
_TEXTS_MAX = 1_000_000  # octets of an attached text that are looked at
_LOOKED_MAX = 2_000_000  # octets of an attached mail
_DEPTH_MAX = 5  # mails in mails
_MAILS_MAX = 100  # of a mailbox
_FIELDS = rb"(?:[A-Za-z-]{2,60}:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*){2}"
_MAIL = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,20}(?:From [^\r\n]{1,200}\r?\n)?" + _FIELDS)
_MBOX = re.compile(rb"(?:\A|\r?\n)From [^\r\n]{1,200}\r?\n")
_MARKUP = re.compile(r"<(?:!doctype|html|head|body|div|p|table|span|br)\b", re.IGNORECASE)


def careful(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text, titles: Sequence[str] = ()
) -> Text | Settled:  # fmt: skip
    """Return what is posted of a discussion; one that quotes a note where outsiders hear is held, and its author asked.

    Where nobody outside hears, it is posted, and stays inside whoever comes to follow. Who released it for
    another cause was not told that it quotes a note. Of an outsider, who may be one of our people at an address
    we do not know, the salesperson is asked. `titles` are what commands write where everybody reads it, at any time.
    """
    decided = incoming.recipient.released and incoming.recipient.cause == QUOTES_NOTE
    titled = not decided and bool(titles) and prints.quotes_note(tx, titles)
    if decided or not (titled or _quotes_note(tx, said)):
        return said
    if not titled and not _outsiders_hear(desk, incoming, where):
        return replace(said, details=replace(said.details, inside="it quotes an internal note"))
    asked = incoming.identity.person or desk.site.people.by_key.get(where.record.salesperson)
    tell_held(tx, desk, incoming, REASON, where.record, [asked.key] if asked else [])
    return Settled("held", QUOTES_NOTE, REASON, where.record.id)


def _outsiders_hear(desk: Desk, incoming: Incoming, where: Place) -> bool:
    """Whether somebody outside hears of a discussion here, or may without another word of its author."""
    named = any(
        not desk.addresses.owns(mailbox.address) and desk.site.people.person(mailbox.address.key) is None
        for mailbox in (*incoming.mail.to, *incoming.mail.cc)
    )
    return named or bool(where.record.customer.emails) or any(follower.outsider for follower in where.followers)


def _quotes_note(tx: Transaction, said: Text) -> bool:
    """Whether a text, or what is attached to it, quotes a note, or is the mail of one, however short."""
    mails: list[str] = []
    files = [each.name for each in said.attachments]
    texts = [said.text, *files, *(text for each in said.attachments for text in _texts_in(each, mails))]
    return prints.quotes_note(tx, texts) or messages.any_note(tx, mails)


def _texts_in(attachment: Attachment, ids: list[str], depth: int = 0) -> Iterator[str]:
    """Give the texts in an attachment, and in the mails in it, of whatever type it says to be; add their `ids`."""
    content = attachment.content[:_LOOKED_MAX]
    mails = _mails_in(content) if attachment.media_type != "message/rfc822" else [content]
    for mail in (parse(each) for each in mails):
        ids.append(mail.message_id)
        yield mail.text
        yield "\n".join(decode_words(body) for _, body in mail.header.fields)
        for each in mail.attachments if depth < _DEPTH_MAX else ():
            yield from _texts_in(each, ids, depth + 1)
    # What looks like a mail may be a list of terms, a calendar or a card.
    if attachment.media_type.startswith("text/") or b"\0" not in content or is_utf_16(content):
        text = decode_text(content[:_TEXTS_MAX], "")[0]
        yield html_to_text(text) if _MARKUP.search(text[:20_000]) else text


def _mails_in(content: bytes) -> list[bytes]:
    """Return the mails of a file that holds one, or a mailbox of some; [] if it holds none."""
    if not _MAIL.match(content[:2000]):
        return []
    return _MBOX.split(content.removeprefix(b"\xef\xbb\xbf"), _MAILS_MAX)[:_MAILS_MAX]
