"""A text for outsiders that quotes a note is not posted: its author is asked first."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from gateway.decide.compare import Comparison
from gateway.decide.held import QUOTES_NOTE
from gateway.decide.place import Incoming, Place, tell_held
from gateway.decide.post import Desk, Text
from gateway.decide.public import Whose
from gateway.mail.attached import texts_in
from gateway.mail.parse import Attachment
from gateway.mail.prints import TooMuch
from gateway.store import messages
from gateway.store.arrivals import Settled
from gateway.store.session import Transaction

REASON = "it quotes an internal note, and outsiders would read it"
TOO_LONG = "it is too long to be compared with internal notes, and outsiders would read it"


def careful(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text, titles: Sequence[str] = ()
) -> Text | Settled:  # fmt: skip
    """Return what is posted of a discussion; one that quotes a note where outsiders hear is held, and its author asked.

    So is one of our own people that is too long to be compared.

    Where nobody outside hears, it is posted, and stays inside whoever comes to follow. Who released it for
    another cause was not told that it quotes a note. Of an outsider, who may be one of our people at an address
    we do not know, the salesperson is asked. `titles` are what commands write where everybody reads it, at any time.
    """
    if incoming.recipient.released and incoming.recipient.cause == QUOTES_NOTE:
        return said
    titled, reason = _why(tx, desk, incoming, where, said, titles)
    if not reason:
        return said
    if not titled and not _outsiders_hear(desk, incoming, where):
        return _inside(said, reason)
    person = incoming.identity.person
    asked = person or desk.site.people.by_key.get(where.record.salesperson)
    tell_held(tx, desk, incoming, reason, where.record, [asked.key] if asked else [])
    return Settled("held", QUOTES_NOTE, reason, where.record.id)


def kept_inside(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text) -> Text:
    """Return the text of what happens in any case; one that quotes a note is heard by those inside alone."""
    _, reason = _why(tx, desk, incoming, where, said, ())
    return _inside(said, reason) if reason else said


def _inside(said: Text, reason: str) -> Text:
    return replace(said, details=replace(said.details, inside=said.details.inside or reason.partition(",")[0]))


def _why(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text, titles: Sequence[str]
) -> tuple[bool, str]:  # fmt: skip
    """Return whether `titles` quote a note, and why the mail as a whole is not for outsiders; "" where it is."""
    person = incoming.identity.person
    author = Whose(person.key, "", where.record.id) if person else Whose("", incoming.identity.email, where.record.id)
    titled, inside = False, person is not None
    try:
        comparison = Comparison(tx, desk.addresses, author, whole=inside)
        titled = comparison.quotes(titles, files=inside)
        return titled, REASON if titled or _quotes_note(tx, said, comparison, inside=inside) else ""
    except TooMuch:
        return titled, TOO_LONG


def quoting(
    tx: Transaction, desk: Desk, author: Whose, said: Mapping[str, str], named: Container[str] = (),
    files: tuple[Attachment, ...] = (),
) -> list[str]:  # fmt: skip
    """Return what quotes a note, or cannot be compared, of texts by their names and of files, all for outsiders.

    A note may name among other words what is `named`, a product or a customer: that is no secret of it.
    """
    comparison = Comparison(tx, desk.addresses, author, whole=True)
    found: list[str] = []
    name = ""
    try:
        for name, text in said.items():
            if text and comparison.quotes([text], files=True, named=name in named):
                found.append(name)
        name = "attachments"
        if files and _quotes_note(tx, Text(attachments=files), comparison, inside=True):
            found.append(name)
    except TooMuch:
        found.append(name)
    return found


def _outsiders_hear(desk: Desk, incoming: Incoming, where: Place) -> bool:
    """Whether somebody outside hears of a discussion here, or may without another word of its author."""
    named = any(
        not desk.addresses.owns(mailbox.address) and desk.site.people.person(mailbox.address.key) is None
        for mailbox in (*incoming.mail.to, *incoming.mail.cc)
    )
    return named or bool(where.record.customer.emails) or any(follower.outsider for follower in where.followers)


def _quotes_note(tx: Transaction, said: Text, comparison: Comparison, *, inside: bool) -> bool:
    """Whether a text, or what is attached to it, quotes a note, or is the mail of one, however short.

    What somebody `inside` writes is compared with the files of notes, too: an outsider may well quote a file of
    their own. Who attaches a file anew chose to; it is compared with what notes say themselves.
    """
    mails: list[str] = []
    names = [each.name for each in said.attachments]
    texts = [*names, *(text for each in said.attachments for text in texts_in(each, mails))]
    found = comparison.quotes([said.text], files=inside) or comparison.quotes(texts)
    return found or messages.any_note(tx, mails)
