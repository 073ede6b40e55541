"""What templates know of a message: plain strings, in the reader's language, fit for the audience.

What an outsider's template is given holds nothing that only those inside may know.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.alias import Addresses
from gateway.mail.address import mixes_scripts
from gateway.notify import buttons
from gateway.notify.recipients import SUPPRESSED, Chosen, Heard, Left
from gateway.notify.render import Renderer, Value
from gateway.records.conditions import number
from gateway.records.kinds import ASSIGNED, QUOTATION, SENT, TEAM, Kinds, Subtype
from gateway.records.lifecycle import STAGE, Change, shown_party
from gateway.records.record import Record
from gateway.site import Site
from gateway.store.messages import Message

_SHOWN_FIELDS = {
    "state": "State", "title": "Title", "team": "Team", "salesperson": "Salesperson", "customer": "Customer",
    "origin": "Origin", "stage": "Stage", "amount": "Amount", "currency": "Currency", "valid_until": "Valid until",
    "phone": "Phone", "reason": "Reason", "lines": "Lines", "pdf": "PDF", "quotation": "Quotation",
    "invoice": "Invoice",
}  # fmt: skip
_REASONS = {
    "rule": "you follow the records of this team",
    "creator": "you created this record",
    "salesperson": "you are its salesperson",
    "assigned": "it was assigned to you",
    "member": "you belong to this team",
    "added": "you follow this record",
    "cc": "you were copied into this conversation",
    "customer": "this is your own business with us",
    "addressed": "this is your own business with us",
    "answered": "this answers your message",
    "standing": "you chose to hear of the records of this team",
    "told": "you were told of what is taken back",
    "filed": "it is filed in this folder",
}
# The same of somebody else.
WHYS = {
    "rule": "by a rule:", "creator": "created it", "salesperson": "is its salesperson",
    "assigned": "it is assigned to them", "member": "belongs to the team", "added": "chose it on this record",
    "cc": "was copied in", "customer": "is the customer", "addressed": "is the customer",
    "answered": "it answers their message", "standing": "chose it for every record:",
    "told": "was told of what is taken back",
}  # fmt: skip
# Why somebody does not hear, as recipients.py and following.py say it; behind the last three stands more.
WHY_NOTS = (
    "did it themselves", "wrote it themselves", "does not follow this record", "stands in To or Cc of the mail itself",
    "mail to the address is suppressed", "wants no mail (delivery: none)", "did not hear of it either",
    "taken back before it left", "it quotes an internal note",
    "it is too long to be compared with internal notes", "nobody outside followed when it was written",
    "follows only by a command that stood beside it", "it reads like a machine's answer",
    "nobody knows who wrote it", "it came to the address of notes",
    "an outsider never hears of an internal subtype",
    "the record stood in Bcc: filed quietly", "somebody else mailed it to the customer",
    "follows, but not", "unfollowed", "the condition of the rule does not hold:",
)  # fmt: skip
FIELD_SHOWN_MAX = 300  # characters


@dataclass(frozen=True, slots=True)
class Told:
    """A message with everything around it that its mails may show."""

    message: Message
    subtype: Subtype
    record: Record
    chosen: Chosen
    attachments: Sequence[str]
    left_out: Sequence[str] = ()  # attachments too large to go along
    about: Message | None = None  # what an assignment is about: the message that made the record
    offers: int = 0  # how often the quotation had been sent by then


@dataclass(frozen=True, slots=True)
class Audience:
    """What readers share a body by: language, inside or outside, why they hear, whether they follow.

    `reader` is set only where the body holds a reader's own tag; `commands` tells that they may give any.
    """

    language: str
    outsider: bool
    reason: str
    follows: bool
    reader: str = ""
    commands: bool = False


def audience(site: Site, told: Told, heard: Heard) -> Audience:
    """Return the audience a reader belongs to. An outsider who follows, or is offered something, gets a tag."""
    personal = heard.reader if heard.outsider and (heard.follows or _is_offered(told, heard.email)) else ""
    person = site.people.by_key.get(heard.who) if not heard.outsider else None
    may = person is not None and person.entitled
    return Audience(
        site.language(heard.language), heard.outsider, heard.reason.code, heard.follows, personal, commands=may
    )


def is_open_offer(subtype: str, record: Record) -> bool:
    """Whether a record is an offer that is being sent, or waits for its answer."""
    return record.kind == QUOTATION.name and (subtype == SENT[QUOTATION.name] or record.state == "sent")


def _is_offered(told: Told, email: str) -> bool:
    """Whether a reader is the customer of an open offer."""
    return is_open_offer(told.message.subtype, told.record) and told.record.customer.owns(email)


def build(
    site: Site, addresses: Addresses, renderer: Renderer, told: Told, whose: Audience, tag: int | None
) -> dict[str, Value]:
    """Return the context for one audience; `tag` is the reader's number where the body is theirs alone."""
    message, record, language = told.message, told.record, whose.language
    words = renderer.words(language)
    kinds = site.rules.kinds
    inside = not whose.outsider
    about = told.about if inside else None
    changes = [change for change in message.changes if _is_shown(change, told.subtype, inside=inside)]
    return {
        "site": site.settings.site.name,
        "ref": record.ref,
        "title": record.title,
        "kind": kinds.by_name[record.kind].label(language) if record.kind in kinds.by_name else record.kind,
        "record_kind": record.kind,
        "again": message.details.again,
        "subtype": message.subtype,
        "subtype_label": told.subtype.label(language),
        "customer": whose.outsider,
        "not_told": inside and Left(next(iter(record.customer.emails), ""), SUPPRESSED) in told.chosen.not_hears,
        "author": _with_address(site, message),
        "text": message.text or (about.text if about else ""),
        "note": message.subtype == "note",
        "changes": [
            shown_change(site, renderer, language, each, inside=inside)
            for each in (*changes, *_facts(told, inside=inside))
        ],
        "stage": record.fields.get("stage", "")[:FIELD_SHOWN_MAX],
        "lost_reason": record.fields.get("reason", "")[:FIELD_SHOWN_MAX] if inside else "",
        "salesperson": _name(site, record.salesperson),
        "customer_name": record.customer.name or next(iter(record.customer.emails), ""),
        **offer(renderer, record, language),
        "attachments": list(told.attachments),
        "left_out": list(told.left_out),
        "withheld": [_withheld(words, each) for each in message.details.withheld],
        "others": _others(site, told) if inside else [],
        "added": list(message.details.added) if inside else [],
        "goes_to_customer": inside and (about or message).author.outsider and message.subtype != "note",
        "reason": words(_REASONS.get(whose.reason, "you follow this record")),
        "alias": str(addresses.alias(record.ref)),
        "buttons": _buttons(site, addresses, words, told, whose, tag),
        **_links(addresses, words, record, whose, tag),
    }


def _others(site: Site, told: Told) -> list[str]:
    """Return who else has a message: those it goes to, and whom its mail named in To or Cc itself."""
    hears = {heard.email: heard.name or heard.email for heard in told.chosen.hears}
    for email in told.message.addressed:
        person = site.people.person(email)
        customer = told.record.customer
        name = person.name if person else customer.name if customer.owns(email) else ""
        if email != told.message.author.email and not (person and person.key == told.message.author.who):
            hears.setdefault(email, name or email)
    return list(dict.fromkeys(hears.values()))


def _facts(told: Told, *, inside: bool) -> list[Change]:
    """Return what whom a record is given to must know of it: the customer, and what is written in its fields."""
    record = told.record
    if told.subtype.name != ASSIGNED.name or not inside:
        return []
    fields = [Change(name, "", value) for name, value in record.fields.items() if name != STAGE]
    return [each for each in (Change("customer", "", shown_party(record.customer)), *fields) if each.new]


def page(site: Site, addresses: Addresses, renderer: Renderer, told: Told, language: str) -> dict[str, Value]:
    """Return what the PDF of a record says: nothing that only those inside may know."""
    record = told.record
    return {
        "site": site.settings.site.name, "ref": record.ref, "title": record.title, "origin": record.origin,
        "customer_name": record.customer.name or next(iter(record.customer.emails), ""),
        "salesperson": _name(site, record.salesperson), "date": renderer.date(language, told.message.at),
        "alias": str(addresses.alias(record.ref)), **offer(renderer, record, language),
    }  # fmt: skip


def offer(renderer: Renderer, record: Record, language: str) -> dict[str, Value]:
    """Return the lines of a record, its total, and until when it is valid."""
    return {
        **terms(renderer, record.terms, language),
        "valid_until": record.fields.get("valid_until", "")[:FIELD_SHOWN_MAX],
    }


def terms(renderer: Renderer, said: str, language: str) -> dict[str, Value]:
    """Return the lines and the total of an offer as `Record.terms` says it."""
    amount, currency, lines, *_ = json.loads(said or '["", "", []]')
    shown = [
        {"name": name, "quantity": quantity, "price": _money(renderer, language, price, "")}
        for name, quantity, price in lines
    ]
    return {"lines": shown, "total": _money(renderer, language, amount, currency)}


def _buttons(
    site: Site, addresses: Addresses, words: Callable[[str], str], told: Told, whose: Audience, tag: int | None
) -> list[Value]:  # fmt: skip
    """What the reader may do from here."""
    if whose.commands:
        return buttons.for_insiders(addresses, site.rules.kinds, site.rules.lead_stages, told.record, words)
    if whose.outsider and tag is not None and _is_offered(told, whose.reader):
        return buttons.for_customer(addresses, told.record, tag, words, told.offers)
    return []


def _links(
    addresses: Addresses, words: Callable[[str], str], record: Record, whose: Audience, tag: int | None
) -> Mapping[str, Value]:  # fmt: skip
    """The footer's ways out. Those inside need no tag: they are known by who they are."""
    unfollow = addresses.alias(record.ref, "unfollow", tag, record.tag_epoch)
    follow = addresses.alias(record.ref, "follow")
    offered = whose.follows or not whose.outsider
    return {
        "unfollow": buttons.link(str(unfollow), f"{words('Unfollow')} {record.ref}") if offered else "",
        "unfollow_address": str(unfollow) if offered else "",
        "follow": "" if whose.outsider else buttons.link(str(follow), f"{words('Follow')} {record.ref}", "discussion"),
        "follow_address": "" if whose.outsider else str(follow),
    }


def shown_author(site: Site, message: Message) -> str:
    """Return the name an author is shown by; a name from outside that could pass for another's is not shown."""
    author = message.author
    if author.outsider and author.name:
        names = [person.name for person in site.people.by_key.values()]
        ours = [*names, *(team.name for team in site.rules.teams.values()), site.settings.site.name]
        odd = any(char in "<>@" for char in author.name) or mixes_scripts(author.name)
        if odd or _letters(author.name) in {_letters(each) for each in ours}:
            return author.email
    return author.name or author.email or site.settings.site.name


def _letters(name: str) -> str:
    """Return what is compared of two names: "A. Smith" and "a smith" pass for each other."""
    return "".join(char for char in name.casefold() if char.isalnum())


def _with_address(site: Site, message: Message) -> str:
    """Return an author as readers see them: an outsider's name is never shown without the address."""
    author = message.author
    shown = shown_author(site, message)
    return f"{shown} <{author.email}>" if author.outsider and shown != author.email else shown


def _withheld(words: Callable[[str], str], stored: str) -> str:
    """Return an attachment that is not passed on as a reader is told of it."""
    name, why, detail = (*stored.split("\t"), "", "")[:3]
    return f"{name} ({words(why)}{': ' + detail if detail else ''})"


def _name(site: Site, key: str) -> str:
    person = site.people.by_key.get(key)
    return person.name if person else key


def _is_shown(change: Change, subtype: Subtype, *, inside: bool) -> bool:
    """Whether a change is worth a line: a creation shows its amount and lines in a table of their own."""
    if subtype.creates and change.name in ("lines", "amount", "currency", "valid_until"):
        return False
    return inside or change.name in ("amount", "valid_until")


def shown_change(
    site: Site, renderer: Renderer, language: str, change: Change, *, inside: bool = True
) -> dict[str, Value]:
    """Return a change as people read it: what it is called, and both values; those outside read no former one."""
    words = renderer.words(language)
    label = words(_SHOWN_FIELDS[change.name]) if change.name in _SHOWN_FIELDS else change.name
    values = [change.old, change.new]
    if change.name == "salesperson":
        values = [_name(site, value) for value in values]
    elif change.name == "state":
        values = [words(value.capitalize()) for value in values]
    elif change.name == "team":
        values = [site.rules.teams[value].name if value in site.rules.teams else value for value in values]
    elif change.name == "amount":
        values = [_money(renderer, language, value, "") for value in values]
    old, new = (value[:FIELD_SHOWN_MAX] for value in values)
    return {"label": label, "old": old if inside else "", "new": new}


def said_of(kinds: Kinds, words: Callable[[str], str], language: str, word: str) -> str:
    """Return a state, a kind or a subtype as people call it; any other word as it is."""
    if word in kinds.subtypes:
        return kinds.subtypes[word].label(language)
    if word in kinds.by_name:
        return kinds.by_name[word].label(language)
    states = {state for kind in kinds.by_name.values() for state in kind.states}
    return words(word.capitalize() if word in states else word)


def why(words: Callable[[str], str], reason: str) -> str:
    """Return why somebody else hears, as a reader understands it, with the place of the rule."""
    code, _, detail = reason.partition(" ")
    return f"{words(WHYS[code])}{f' {detail}' if detail else ''}" if code in WHYS else reason


def why_not(kinds: Kinds, words: Callable[[str], str], language: str, reason: str) -> str:
    """Return why somebody else does not hear, as a reader understands it."""
    known = next((each for each in WHY_NOTS if reason == each or reason.startswith(f"{each} ")), "")
    if not known:
        return reason
    named = said_of(kinds, words, language, reason.removeprefix(known).strip())
    return f"{words(known)} {named}".strip()


def _money(renderer: Renderer, language: str, text: str, currency: str) -> str:
    amount = number(text)
    return renderer.money(language, amount, currency) if amount is not None else text[:FIELD_SHOWN_MAX]


def names(kinds: Kinds, told: Told) -> list[str]:
    """Return the templates that may word a message, the likeliest first."""
    if told.message.details.taken_back:
        return ["default/taken_back"]
    kind = kinds.kind_of(told.subtype.name)
    own = told.subtype.name.partition(".")[2] or told.subtype.name
    mine = [f"{kind.name}/{own}"] if kind else []
    return [*mine, f"default/{own}", "default/event"]


def subject_of(record: Record, *, answers: bool) -> str:
    """Return the subject every mail of a record has: mail programs group a thread by it."""
    ref = record.ref.lower() if record.kind == TEAM else record.ref
    return f"{'Re: ' if answers else ''}[{ref}] {record.title}"
