"""What a reader may do from a mail: commands as mailto: links, those that make sense in the record's state.

*Standards:* RFC 6068 (mailto; subject and body filled in, percent-encoded).
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from gateway.alias import OFFERS, Addresses
from gateway.notify.render import Value
from gateway.records import commands
from gateway.records.commands import COMMANDS
from gateway.records.kinds import SENT, Kinds
from gateway.records.lifecycle import STAGE
from gateway.records.record import Record

_NEWLINE = re.compile(r"\r?\n")
LABELS = {
    "send": "Send to the customer", "confirm": "Confirm", "cancel": "Cancel it", "won": "Won", "lost": "Lost",
    "restore": "Restore", "validate": "Validate", "paid": "Mark as paid", "accept": "Accept the offer",
    "decline": "Decline the offer", "quote": "Make a quotation", "invoice": "Make the invoice",
}  # fmt: skip


def for_insiders(
    addresses: Addresses, kinds: Kinds, stages: Sequence[str], record: Record, words: Callable[[str], str]
) -> list[Value]:  # fmt: skip
    """Return the commands that people with the right may give on a record now."""
    found: list[Value] = []
    for command in COMMANDS:
        if not command.kinds or not commands.fits(command, record, kinds):
            continue
        has_it = command is commands.SEND and record.state in kinds.subtypes[SENT[record.kind]].again
        if has_it or (command.makes and record.fields.get(command.makes)):
            continue  # another is seldom meant
        if command is commands.STAGE:
            found += [
                _button(addresses, record, command.name, f"→ {stage}", stage)
                for stage in stages
                if stage != record.fields.get(STAGE)
            ]
        elif command is not commands.VALIDATE:
            reason = words("Reason") if command is commands.LOST else ""
            found.append(_button(addresses, record, command.name, words(LABELS[command.name]), reason))
    return found


def for_customer(
    addresses: Addresses, record: Record, tag: int, words: Callable[[str], str], offers: int
) -> list[Value]:  # fmt: skip
    """Return a customer's yes and no to a quotation: addresses that hold their tag.

    The subject names which of several `offers` is answered: the mail may be an old one.
    """
    if record.kind != "quotation" or record.state not in commands.SEND.states:
        return []
    more = commands.offer_mark(offers)
    return [_button(addresses, record, name, words(LABELS[name]), tag=tag, more=more) for name in OFFERS]


def _button(
    addresses: Addresses, record: Record, action: str, label: str, body: str = "", tag: int | None = None,
    more: str = "",
) -> Value:  # fmt: skip
    address = str(addresses.alias(record.ref, action, tag, record.tag_epoch))
    shown = link(address, f"{label} {record.ref}{more}", body or label)
    return {"label": label, "link": shown, "address": address, "body": body}


def link(address: str, subject: str, body: str = "") -> str:
    """Return a mailto: link that opens a mail ready to send; its lines are broken by CR LF (RFC 6068 §5)."""
    made = f"mailto:{quote(address, safe='@')}?subject={quote(subject)}"
    lines = _NEWLINE.sub("\r\n", body)
    return f"{made}&body={quote(lines)}" if body else made
