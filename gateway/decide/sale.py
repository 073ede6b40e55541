"""What goes to the customer by a command: the quotation, or the invoice, with its PDF."""

from dataclasses import replace

from gateway.decide.post import Desk, Posted, Text, happen
from gateway.mail.address import parse_address
from gateway.mail.parse import Attachment
from gateway.records.kinds import DEFAULT_SUBTYPES
from gateway.records.lifecycle import Edit, Problem, Refusal
from gateway.records.record import Choice, Party, Record
from gateway.store import content, followers, messages
from gateway.store.messages import Author
from gateway.store.session import Transaction

SENT = {"quotation": "quotation.sent", "invoice": "invoice.validated"}


def send(
    tx: Transaction, desk: Desk, record: Record, to: tuple[str, ...], author: Author, said: Text, now: int
) -> Posted | Refusal:  # fmt: skip
    """Send a quotation or an invoice to its customer, and to the addresses in `to`, with a PDF.

    It is the one attached, or the newest on the record, or else one that is made when it goes out. A record
    without a customer's address takes the first of `to` as its customer.
    """
    emails = []
    for word in to:
        address = parse_address(word.strip("<>,;"))
        if address is None or desk.addresses.owns(address) or desk.site.people.person(address.key):
            return Refusal("to", word, Problem("{} is no address of somebody outside", (word,)))
        emails.append(address.key)
    customer: Party | None = None
    if not record.customer.emails:
        if not emails:
            return Refusal("to", "", Problem("the customer has no address; write it behind the command"))
        customer, emails = replace(record.customer, emails=(emails[0],)), emails[1:]
    subtype = desk.site.rules.kinds.subtypes[SENT[record.kind]]
    for email in emails:
        if not (customer or record.customer).owns(email):
            followers.choose(tx, record.id, Choice(email, (*DEFAULT_SUBTYPES, subtype.name), how="added"))
    if not any(_is_pdf(each.media_type, each.name) for each in said.attachments):
        latest = _latest_pdf(tx, record)
        details = replace(said.details, pdf=not latest)
        said = replace(said, attachments=(*said.attachments, *latest), details=details)
    return happen(tx, desk, record, subtype, Edit(customer=customer), author, said, now)


def _latest_pdf(tx: Transaction, record: Record) -> tuple[Attachment, ...]:
    """Return the newest PDF of a record that does not stand in a note, or nothing."""
    shown = messages.shown_attachments(tx, record.id)
    found = next((each for each in shown if _is_pdf(each.media_type, each.name)), None)
    return (Attachment(found.name, "application/pdf", content.load(tx, found.digest)),) if found else ()


def _is_pdf(media_type: str, name: str) -> bool:
    return media_type == "application/pdf" or name.lower().endswith(".pdf")
