"""A record and what was chosen on it, as the rooms hand them to each other: frozen data."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

REFERENCE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,23}", re.ASCII)
TITLE_MAX = 200  # characters


@dataclass(frozen=True, slots=True)
class Party:
    """A record's customer: one outside party with all their addresses; mail goes to the first."""

    name: str = ""
    emails: tuple[str, ...] = ()
    language: str = ""
    key: str = ""

    def owns(self, email: str) -> bool:
        """Whether the address (lower case) is one of theirs."""
        return email in self.emails

    @property
    def firm(self) -> str:
        """What tells customers apart: those with an address in one domain are one; "" for nobody."""
        return self.key or next((email.rpartition("@")[2] for email in self.emails), "")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a quotation or invoice; numbers as the text they came in."""

    name: str
    quantity: str = ""
    price: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What a thread is about, as it stands now.

    `id` is the store's, 0 before it is kept. `teams` are all the teams it has had, `team` the one
    it has. `fields` hold text by name; a lead's stage is one of them. `tag_epoch` is how often the
    tags in its addresses were revoked.
    """

    id: int
    kind: str
    ref: str
    title: str
    state: str
    team: str = ""
    teams: tuple[str, ...] = ()
    salesperson: str = ""
    creator: str = ""
    customer: Party = Party()
    fields: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    origin: str = ""
    created_at: int = 0
    tag_epoch: int = 0

    @property
    def terms(self) -> str:
        """What it offers or asks for, as one text: two are the same if the customer would pay the same for the same.

        The title is one of them, which the customer reads first; without an amount or lines there are none.
        """
        lines = [[line.name, line.quantity, line.price] for line in self.lines]
        amount = self.fields.get("amount", "")
        asked = [amount, self.fields.get("currency", ""), lines, self.title]
        return json.dumps(asked, ensure_ascii=False) if amount or lines else ""

    def party(self, who: str) -> str:
        """Return how a choice names somebody: `customer` for each of the customer's addresses, else `who`."""
        return CUSTOMER if self.customer.owns(who) else who


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chose on one record, or was chosen for them.

    `who` is a person's key, `group:TEAM`, `customer`, or an address in lower case. `subtypes` are
    patterns they hear, `without` patterns they no longer want, from whatever source. `team` is None
    for a choice on one record; a standing choice is for the records of that team, "" for every record.
    """

    who: str
    subtypes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    how: str = "added"
    team: str | None = None


CUSTOMER = "customer"
