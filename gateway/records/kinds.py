"""The kinds of record, their states, and the subtypes by which followers choose what they hear.

The three built-in kinds are after Odoo's Sales, CRM and Invoicing; more come from rules.yaml.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

TEAM = "team"


@dataclass(frozen=True, slots=True)
class Subtype:
    """One thing that happens to a record, by its full name (`quotation.sent`).

    `to` is the state it leads to, "" for none; `origins` are the states it may come from, empty
    for any; in those of `again` what it took to the customer may go to them once more, and nothing changes.
    `internal` subtypes are heard by those inside only.
    """

    name: str
    names: Mapping[str, str]
    internal: bool = True
    origins: frozenset[str] = frozenset()
    to: str = ""
    again: frozenset[str] = frozenset()

    @property
    def transition(self) -> bool:
        """Whether it makes or changes a record, rather than saying something on it."""
        return "." in self.name

    @property
    def creates(self) -> bool:
        """Whether a record comes to be by it."""
        return self.name.endswith(".created")

    def label(self, language: str) -> str:
        """Return the name people see in `language`, or else in English, or else the key."""
        return self.names.get(language) or self.names.get("en") or self.name


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: the letter its references begin with, its states, its subtypes."""

    name: str
    names: Mapping[str, str]
    prefix: str
    states: tuple[str, ...]
    subtypes: tuple[Subtype, ...] = field(default=())

    @property
    def first_state(self) -> str:
        """The state in which a record of this kind begins."""
        return self.states[0]

    def label(self, language: str) -> str:
        """Return the name people see in `language`."""
        return self.names.get(language) or self.names.get("en") or self.name


DISCUSSION = Subtype("discussion", {"zh-TW": "討論", "en": "Discussion"}, internal=False)
NOTE = Subtype("note", {"zh-TW": "備註", "en": "Note"})
ASSIGNED = Subtype("assigned", {"zh-TW": "指派", "en": "Assigned"})
_EVERYWHERE = (DISCUSSION, NOTE, ASSIGNED)

# What a follower hears who was added without saying what.
DEFAULT_SUBTYPES = (DISCUSSION.name,)
# What takes a record to its customer, follower or not, by kind.
SENT = {"quotation": "quotation.sent", "invoice": "invoice.validated"}
ADDRESSED_TO_CUSTOMER = frozenset(SENT.values())


def _subtype(
    name: str, zh: str, en: str, *, public: bool = False, origins: str = "", to: str = "", again: str = ""
) -> Subtype:  # fmt: skip
    states = {"origins": frozenset(origins.split()), "again": frozenset(again.split())}
    return Subtype(name, {"zh-TW": zh, "en": en}, internal=not public, to=to, **states)


QUOTATION = Kind(
    "quotation",
    {"zh-TW": "報價單", "en": "Quotation"},
    "S",
    ("draft", "sent", "confirmed", "cancelled"),
    (
        _subtype("quotation.created", "報價單建立", "Quotation created", to="draft"),
        _subtype("quotation.sent", "報價單送出", "Quotation sent", public=True, origins="draft sent", to="sent"),
        _subtype(
            "quotation.confirmed", "銷售訂單已確認", "Sales order confirmed",
            public=True, origins="draft sent", to="confirmed",
        ),
        _subtype(
            "quotation.cancelled", "報價單取消", "Quotation cancelled",
            public=True, origins="draft sent confirmed", to="cancelled",
        ),
    ),
)  # fmt: skip
LEAD = Kind(
    "lead",
    {"zh-TW": "商機", "en": "Lead"},
    "L",
    ("open", "won", "lost"),
    (
        _subtype("lead.created", "商機建立", "Lead created", to="open"),
        _subtype("lead.stage", "階段變更", "Stage changed", origins="open", to="open"),
        _subtype("lead.won", "贏得商機", "Lead won", origins="open", to="won"),
        _subtype("lead.lost", "失去商機", "Lead lost", origins="open", to="lost"),
        _subtype("lead.restored", "商機恢復", "Lead restored", origins="lost", to="open"),
    ),
)
INVOICE = Kind(
    "invoice",
    {"zh-TW": "發票", "en": "Invoice"},
    "I",
    ("draft", "posted", "paid"),
    (
        _subtype("invoice.created", "發票建立", "Invoice created", to="draft"),
        _subtype(
            "invoice.validated", "發票已確認", "Invoice validated",
            public=True, origins="draft", to="posted", again="posted paid",
        ),
        _subtype("invoice.paid", "發票已付款", "Invoice paid", public=True, origins="posted", to="paid"),
    ),
)  # fmt: skip
TEAM_KIND = Kind(TEAM, {"zh-TW": "團隊", "en": "Team"}, "", ("open",))
# States in which nobody works on a record any more.
CLOSED = frozenset({"cancelled", "won", "lost", "paid", "done"})
BUILT_IN = (QUOTATION, LEAD, INVOICE, TEAM_KIND)


class Kinds:
    """Every kind of a site, built in or configured, and every subtype by name."""

    def __init__(self, further: Iterable[Kind] = ()) -> None:
        """Put the `further` kinds beside those built in."""
        self.by_name = {kind.name: kind for kind in (*BUILT_IN, *further)}
        self.subtypes = {subtype.name: subtype for subtype in _EVERYWHERE}
        self._kind_of: dict[str, Kind] = {}
        for kind in self.by_name.values():
            for subtype in kind.subtypes:
                self.subtypes[subtype.name] = subtype
                self._kind_of[subtype.name] = kind

    def kind_of(self, subtype: str) -> Kind | None:
        """Return the kind whose transition `subtype` is."""
        return self._kind_of.get(subtype)

    def of_record(self, kind: str) -> list[Subtype]:
        """Return the subtypes one can follow on a record of `kind`."""
        return [*_EVERYWHERE, *self.by_name[kind].subtypes] if kind in self.by_name else list(_EVERYWHERE)


def matches(patterns: Iterable[str], subtype: str) -> str:
    """Return the first of `patterns` (subtype names, `quotation.*`, `*`) that fits, or ""."""
    return next((p for p in patterns if p == subtype or ("*" in p and fnmatchcase(subtype, p))), "")
