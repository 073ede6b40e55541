"""What goes to the customer by a command: the quotation, or the invoice, with its PDF."""

from dataclasses import replace

from gateway.decide.meant import address_words
from gateway.decide.post import Desk, Posted, Text, happen
from gateway.mail.address import parse_address
from gateway.mail.parse import Attachment
from gateway.records.conditions import is_over
from gateway.records.kinds import DEFAULT_SUBTYPES, QUOTATION, SENT
from gateway.records.lifecycle import VALID_UNTIL, Change, Edit, Problem, Refusal, shown_party
from gateway.records.record import Choice, Party, Record
from gateway.store import content, followers, messages
from gateway.store.messages import Author
from gateway.store.session import Transaction
from gateway.store.suppressed import suppressed

OVER = "The last day of this offer is over: when the customer says yes, you are asked first."
UNREACHED = (
    "Nothing was sent to the customer: mail to their address failed before, and is suppressed. Ask them for another "
    "address and write it behind /send, or ask an administrator to send to it again."
)
NOTHING = "No PDF and no amount went along: the customer got the text alone."


def send(
    tx: Transaction, desk: Desk, record: Record, to: tuple[str, ...], author: Author, said: Text, now: int,
    *, again: bool = False,
) -> Posted | Refusal:  # fmt: skip
    """Send a quotation or an invoice to its customer, and to the addresses in `to`, with a PDF.

    `again` lets what is no longer a transition, an invoice they lost, go to them once more.
    It is the one attached, or the newest that somebody inside put on the record and that was not sent with another
    amount or other lines, or else one that is made when it goes out. The changes that are returned name one that is
    there, and whom it goes to. A record without a customer's address takes the first of `to` as its customer.
    """
    emails = []
    for word in address_words(to):
        address = parse_address(word)
        if address is None or desk.addresses.owns(address) or desk.site.people.person(address.key):
            return Refusal("to", word, Problem("{} is no address of somebody outside", (word,)))
        emails.append(address.key)
    customer: Party | None = None
    if not record.customer.emails:
        if not emails:
            return Refusal("to", "", Problem("the customer has no address; write it behind the command"))
        customer, emails = replace(record.customer, emails=(emails[0],)), emails[1:]
    subtype = desk.site.rules.kinds.subtypes[SENT[record.kind]]
    attached = tuple(each for each in said.attachments if _is_pdf(each.media_type, each.name))
    old = latest_pdf(tx, record)
    latest = latest_pdf(tx, record, _outdated(tx, record, subtype.name))
    party = customer or record.customer
    for email in emails:
        if not party.owns(email):
            followers.choose(tx, record.id, Choice(email, (*DEFAULT_SUBTYPES, subtype.name), how="added"))
    again = again and record.state in subtype.again
    also = tuple(filter(party.owns, emails))
    details = replace(said.details, also=also, pdf=not (attached or latest), again=again)
    said = replace(said, attachments=(*said.attachments, *(() if attached else latest)), details=details)
    posted = happen(tx, desk, record, subtype, Edit(customer=customer), author, said, now)
    if isinstance(posted, Refusal):
        return posted
    gone = attached or latest
    told = [Change("customer", "", ", ".join(dict.fromkeys([shown_party(posted.record.customer), *emails])))]
    if gone:
        told.append(Change("pdf", "", ", ".join(each.name for each in gone)))
    elif old:  # whether one can be made is known when it goes out: a new one is named only in place of the old
        told.append(Change("pdf", old[0].name, f"{record.ref}.pdf"))
    over = is_over(record.fields.get(VALID_UNTIL, ""), now, desk.site.settings.site.timezone)
    warning = OVER if over and record.kind == QUOTATION.name else "" if gone or old or record.terms else NOTHING
    if not set(party.emails) - suppressed(tx, party.emails):
        warning = UNREACHED
    return replace(posted, changes=(*posted.changes, *told), warning=warning)


def _outdated(tx: Transaction, record: Record, subtype: str) -> int:
    """Return the message up to which PDFs show what is no longer offered: the last time it was sent; 0 for none."""
    last = messages.last_told(tx, record.id, subtype)
    return last.id if last is not None and last.details.terms not in ("", record.terms) else 0


def latest_pdf(tx: Transaction, record: Record, after: int = 0) -> tuple[Attachment, ...]:
    """Return the newest PDF of a record that does not stand in a note, or nothing; of messages `after` one alone."""
    shown = messages.shown_attachments(tx, record.id, after)
    found = next((each for each in shown if _is_pdf(each.media_type, each.name)), None)
    return (Attachment(found.name, "application/pdf", content.load(tx, found.digest)),) if found else ()


def _is_pdf(media_type: str, name: str) -> bool:
    return media_type == "application/pdf" or name.lower().endswith(".pdf")
