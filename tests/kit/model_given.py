"""What people and the record system give the model: mails and events, and the commands there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ASKS = ("show", "help", "followers", "why", "history", "list", "prefs")
EVENTS = {
    "send": {"quotation": "quotation.sent", "invoice": "invoice.validated"},
    "confirm": {"quotation": "quotation.confirmed"}, "cancel": {"quotation": "quotation.cancelled"},
    "stage": {"lead": "lead.stage"}, "won": {"lead": "lead.won"}, "lost": {"lead": "lead.lost"},
    "restore": {"lead": "lead.restored"}, "validate": {"invoice": "invoice.validated"}, "paid": {"invoice": "invoice.paid"},
}  # fmt: skip
NEEDS = {"stage": 1, "lost": 1, "set": 2, "assign": 1, "team": 1, "add": 1, "remove": 1}
FOLLOWING = ("follow", "unfollow", "add", "remove")
FIELDS = {"金額": "amount", "幣別": "currency", "電話": "phone", "標題": "title"}
OWN_COMMAND = ("stage", "state", "salesperson", "team", "customer", "origin")


@dataclass(frozen=True)
class Mail:
    """A mail as it comes: commands by their English names with their words, `lines` as they are written."""

    number: int
    author: str
    sure: bool = True
    to: str = ""  # the record; note; a command's address; accept, decline; gateway
    tag: str = ""  # whose reply address: person:KEY, or an outsider's address
    commands: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    text: str = ""
    cc: tuple[str, ...] = ()
    hidden: bool = False  # the record stands in Bcc
    answers: int | None = None  # which message of the thread, counted from its end


@dataclass(frozen=True)
class Event:
    """What the record system announces."""

    number: int
    name: str
    actor: str = ""
    fields: Mapping[str, str | None] = field(default_factory=dict)
    salesperson: str = ""
    team: str = ""
    body: str = ""
    mailed: bool = False
