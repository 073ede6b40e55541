"""A text for outsiders that quotes a note is not posted: its author is asked first."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.decide.held import QUOTES_NOTE
from gateway.decide.place import Incoming, Place, tell_held
from gateway.decide.post import Desk, Text
from gateway.mail.attached import texts_in
from gateway.store import messages, prints
from gateway.store.arrivals import Settled
from gateway.store.prints import Whose
from gateway.store.session import Transaction

REASON = "it quotes an internal note, and outsiders would read it"


def careful(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, said: Text, titles: Sequence[str] = ()
) -> Text | Settled:  # fmt: skip
    """Return what is posted of a discussion; one that quotes a note where outsiders hear is held, and its author asked.

    Where nobody outside hears, it is posted, and stays inside whoever comes to follow. Who released it for
    another cause was not told that it quotes a note. Of an outsider, who may be one of our people at an address
    we do not know, the salesperson is asked. `titles` are what commands write where everybody reads it, at any time.
    """
    decided = incoming.recipient.released and incoming.recipient.cause == QUOTES_NOTE
    person = incoming.identity.person
    author, inside = whose(desk, person.key if person else ""), person is not None
    titled = not decided and bool(titles) and prints.quotes_note(tx, titles, author, files=inside)
    if decided or not (titled or _quotes_note(tx, said, author, inside=inside)):
        return said
    if not titled and not _outsiders_hear(desk, incoming, where):
        return replace(said, details=replace(said.details, inside="it quotes an internal note"))
    asked = person or desk.site.people.by_key.get(where.record.salesperson)
    tell_held(tx, desk, incoming, REASON, where.record, [asked.key] if asked else [])
    return Settled("held", QUOTES_NOTE, REASON, where.record.id)


def whose(desk: Desk, who: str) -> Whose:
    """Return what is known of a person, or of somebody outside (""), whose text is compared with notes."""
    return Whose(who, lambda email: desk.site.people.person(email) is None)


def _outsiders_hear(desk: Desk, incoming: Incoming, where: Place) -> bool:
    """Whether somebody outside hears of a discussion here, or may without another word of its author."""
    named = any(
        not desk.addresses.owns(mailbox.address) and desk.site.people.person(mailbox.address.key) is None
        for mailbox in (*incoming.mail.to, *incoming.mail.cc)
    )
    return named or bool(where.record.customer.emails) or any(follower.outsider for follower in where.followers)


def _quotes_note(tx: Transaction, said: Text, author: Whose, *, inside: bool) -> bool:
    """Whether a text, or what is attached to it, quotes a note, or is the mail of one, however short.

    What somebody `inside` writes is compared with the files of notes, too: an outsider may well quote a file of
    their own. Who attaches a file anew chose to; it is compared with what notes say themselves.
    """
    mails: list[str] = []
    names = [each.name for each in said.attachments]
    texts = [*names, *(text for each in said.attachments for text in texts_in(each, mails))]
    found = prints.quotes_note(tx, [said.text], author, files=inside) or prints.quotes_note(tx, texts, author)
    return found or messages.any_note(tx, mails)
