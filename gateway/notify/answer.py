"""What somebody inside asked of the gateway: a record, its followers, why somebody heard, their open records, help.

Sections of lines in the reader's language, and for the history the thread itself as an mbox.

*Standards:* RFC 4155 (mbox).
"""

import email.utils
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from gateway.alias import Addresses
from gateway.following import followers, in_general
from gateway.notify import buttons, context
from gateway.notify.compose import Part
from gateway.notify.render import Renderer, Value
from gateway.people import Person
from gateway.records.commands import COMMANDS, Command, fits
from gateway.records.kinds import CLOSED, LEAD, Subtype
from gateway.records.lifecycle import STAGE, Change, shown_party
from gateway.records.record import Record
from gateway.site import Site
from gateway.store import followers as store_followers
from gateway.store import messages, notices, records
from gateway.store.messages import Message
from gateway.store.session import Transaction

SUMMARY_MAX = 30  # messages that a history sums up in its text
_TEXT_MAX = 300
_MBOX_MAX = 15 * 1024 * 1024  # octets of a thread that are attached, the newest
_LISTED_MAX = 100
TITLES = {
    "show": "The record", "history": "The thread", "followers": "Who follows it",
    "why": "Who heard of it, who did not, and why", "list": "Your open records", "help": "What you can do here",
    "prefs": "What you hear of",
}  # fmt: skip
# What to know before an answer's lines: about a record, and without one.
HINTS = {
    "help": "Write a command in the first line of an answer, in either language; the text below it is posted. "
    "Several commands may stand in one mail. Or press one here: it opens a mail that is ready to send.",
    "help without": "These need no record. For what you can do on a record, send /help to its own address.",
    "prefs": "Put an x into the boxes of what you want to hear of on this record, take it out of the others, "
    "and answer this mail.",
    "prefs without": "Put an x into the boxes of what you want to hear of on every record, take it out of the others, "
    "and answer this mail. What you chose on one record stays.",
}
DESCRIPTIONS = {
    "note": "the text is an internal note; no customer ever sees it",
    "send": "send it to the customer, with the PDF of this mail or the newest on the record; the text goes along",
    "confirm": "the customer ordered", "cancel": "it comes to nothing", "stage": "move the lead to another stage",
    "won": "the lead is won", "lost": "the lead is lost, and why", "restore": "take a lost lead up again",
    "validate": "the invoice is final; it goes to the customer", "paid": "the invoice is paid",
    "set": "write a field: amount, currency, valid_until, title …; - empties it", "assign": "give it to somebody",
    "team": "give it to another team", "follow": "hear of it; of certain things only, if you name them",
    "unfollow": "hear of it no longer", "add": "let somebody else hear of it",
    "remove": "let somebody no longer hear of it",
    "show": "see the record as it stands", "history": "get the whole thread", "followers": "see who follows it",
    "why": "see who heard of a message, who did not, and why: answer its mail with it", "list": "see your open records",
    "help": "get this mail", "quote": "make a quotation of it, for the same customer and with the same followers",
    "invoice": "make the invoice of the order", "undo": "take back your last command, within ten minutes",
    "prefs": "choose what you hear of, by ticking boxes",
}  # fmt: skip


TAKEN_BACK = "taken back before it left"
COPIED = "is the salesperson, and was told of the customer's answer"
STANDING = "choose for every record of a team, or with team:* for all; also in a mail to gateway@"


class Row(TypedDict):
    """A line of an answer: what it opens when pressed, and what one may do there."""

    text: str
    link: str
    buttons: list[Value]


class Section(TypedDict):
    """What answers one question: a title, what to know before, and lines."""

    title: str
    hint: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to answer: the names of the commands that asked, by whom, in which language, about which record.

    `about` is the message that was answered with the question, or None.
    """

    names: Sequence[str]
    person: Person
    language: str
    record: Record | None
    about: int | None = None


def sections(
    tx: Transaction, site: Site, addresses: Addresses, renderer: Renderer, asked: Asked
) -> tuple[list[Section], list[Part]]:  # fmt: skip
    """Return the sections that answer, each with its title and lines, and what is attached."""
    words = renderer.words(asked.language)
    found: list[Section] = []
    parts: list[Part] = []
    for name in dict.fromkeys(asked.names):
        record = asked.record
        rows: list[Row] = []
        hint = HINTS.get(name if record else f"{name} without", "")
        if name == "help":
            rows = [*_help(site, addresses, words, asked), *_names(site, words, asked)]
        elif name == "list":
            rows = _list(tx, site, addresses, words, asked)
        elif name == "prefs":
            rows = _boxes(tx, site, words, asked)
        elif record is not None:
            rows = _about(tx, site, renderer, asked, record, name)
            if name == "history":
                parts.append(Part(f"{record.ref}.mbox", "application/mbox", _mbox(tx, addresses, record)))
        found.append({"title": words(TITLES[name]), "rows": rows, "hint": words(hint)})
    return found, parts


def _about(
    tx: Transaction, site: Site, renderer: Renderer, asked: Asked, record: Record, name: str
) -> list[Row]:  # fmt: skip
    match name:
        case "show":
            return _show(site, renderer, asked.language, record)
        case "followers":
            return _followers(tx, site, renderer.words(asked.language), asked.language, record)
        case "why":
            about = messages.load(tx, [asked.about]) if asked.about else messages.thread(tx, record.id, 1)
            return _why(tx, site, renderer, asked.language, about)
        case _:
            return [
                _summed_up(site, renderer, asked.language, each) for each in messages.thread(tx, record.id, SUMMARY_MAX)
            ]


def _row(text: str, link: str = "", buttons: Sequence[Value] = ()) -> Row:
    return {"text": text, "link": link, "buttons": list(buttons)}


def _show(site: Site, renderer: Renderer, language: str, record: Record) -> list[Row]:
    facts = [
        Change("title", "", record.title), Change("state", "", record.state), Change("team", "", record.team),
        Change("salesperson", "", record.salesperson), Change("customer", "", shown_party(record.customer)),
        Change("origin", "", record.origin), *(Change(name, "", value) for name, value in record.fields.items()),
    ]  # fmt: skip
    shown = [context.shown_change(site, renderer, language, each) for each in facts if each.new]
    lines = [f"{line.name}  × {line.quantity or '1'}  @ {line.price or '–'}" for line in record.lines]
    return [*(_row(f"{each['label']}: {each['new']}") for each in shown), *(_row(line) for line in lines)]


def _followers(
    tx: Transaction, site: Site, words: Callable[[str], str], language: str, record: Record
) -> list[Row]:  # fmt: skip
    choices = store_followers.choices(tx, [record.id])[record.id]
    kinds = site.rules.kinds
    known = [subtype.name for subtype in kinds.of_record(record.kind)]
    rows = []
    for each in followers(record, choices, site.people, site.rules):
        hears = [kinds.subtypes[name].label(language) for name in each.wants(known)]
        reasons = ", ".join(dict.fromkeys(context.why(words, str(grant.reason)) for grant in each.grants))
        shown = f"{each.name} <{each.emails[0]}>" if each.name else each.emails[0]
        rows.append(_row(f"{shown}: {', '.join(hears) or '–'} ({reasons})"))
    return rows


def _why(
    tx: Transaction, site: Site, renderer: Renderer, language: str, about: Sequence[Message]
) -> list[Row]:  # fmt: skip
    """Return who heard of a message and who did not, each with the reason, below what it was."""
    if not about:
        return []
    words = renderer.words(language)
    heard = [
        _row(f"✓ {_called(site, each['who'], each['email'])}: {context.why(words, each['reason'])}")
        for each in about[0].hears
    ]
    copied = notices.copies(tx, about[0].record_id, about[0].message_id)
    heard += [_row(f"✓ {_called(site, who, email)}: {words(COPIED)}") for who, email in copied]
    kinds, told = site.rules.kinds, {who for who, _ in copied}
    left = [
        _row(f"– {_called(site, each['who'])}: {context.why_not(kinds, words, language, each['reason'])}")
        for each in about[0].not_hears
        if each["who"] not in told
    ]
    return [_summed_up(site, renderer, language, about[0]), *heard, *left]


def _called(site: Site, who: str, email: str = "") -> str:
    """Return somebody by name, with the address where it is told."""
    person = site.people.by_key.get(who)
    name = person.name if person else who
    return f"{name} <{email}>" if email and email != name else name


def _summed_up(site: Site, renderer: Renderer, language: str, message: Message) -> Row:
    text = " ".join(message.text.split())[:_TEXT_MAX]
    shown = [context.shown_change(site, renderer, language, each) for each in message.changes]
    changes = ", ".join(f"{each['label']}: {each['old'] or '–'} → {each['new'] or '–'}" for each in shown)
    subtype = site.rules.kinds.subtypes.get(message.subtype)
    label = subtype.label(language) if subtype else message.subtype
    gone = bool(message.not_hears) and all(each["reason"] == TAKEN_BACK for each in message.not_hears)
    back = f"– {renderer.words(language)(TAKEN_BACK)}" if gone and not message.hears else ""
    said = " ".join(filter(None, (text, f"({changes})" if changes else "", back)))
    author = message.author.name or message.author.email
    return _row(f"{renderer.time(language, message.at)}  {author}  [{label}]  {said}")


def _list(
    tx: Transaction, site: Site, addresses: Addresses, words: Callable[[str], str], asked: Asked
) -> list[Row]:  # fmt: skip
    mine = [each for each in records.of_person(tx, asked.person.key, _LISTED_MAX) if each.state not in CLOSED]
    kinds, stages = site.rules.kinds, site.rules.lead_stages
    entitled = asked.person.entitled
    return [
        _row(
            f"{each.ref}  {each.title}  [{each.fields.get(STAGE) or words(each.state.capitalize())}]"
            f"  {shown_party(each.customer)}".rstrip(),
            f"mailto:{addresses.alias(each.ref)}",
            buttons.for_insiders(addresses, kinds, stages, each, words) if entitled else (),
        )
        for each in mine
    ]


def _help(site: Site, addresses: Addresses, words: Callable[[str], str], asked: Asked) -> list[Row]:
    rows = []
    record = asked.record
    for command in COMMANDS:
        if _may(command, record, site, asked.person):
            takes = f" {words(command.takes)}" if command.takes else ""
            address = str(addresses.alias(record.ref, command.name)) if record else str(addresses.word("gateway"))
            said = f"/{command.name} /{command.chinese}{takes}: {words(DESCRIPTIONS[command.name])}"
            subject = f"/{command.name}"
            # What it takes stands there to be written over; without a record the command itself does, too.
            named = [word for word in command.takes.split() if record is None or not word.startswith("[")]
            needs = " ".join(named).strip("[]…")
            fill = words(needs) if needs else ""
            body = fill if record else f"{subject} {fill}".strip()
            rows.append(_row(said, buttons.link(address, subject, body)))
    if asked.person.entitled:
        rows.append(_row(f"/follow quotation.* team:sales: {words(STANDING)}"))
    return rows


def _names(site: Site, words: Callable[[str], str], asked: Asked) -> list[Row]:
    """Return what may stand behind the commands here: subtypes, people, teams, stages."""
    record, rules = asked.record, site.rules
    if not asked.person.entitled:
        return []
    known = rules.kinds.of_record(record.kind) if record else list(rules.kinds.subtypes.values())
    subtypes = [f"{each.name} {each.label(asked.language)}" for each in known]
    kinds = [record.kind] if record else list(rules.kinds.by_name)
    people = [f"{key} {person.name}" for key, person in site.people.by_key.items()]
    teams = [f"{key} {team.name}" for key, team in rules.teams.items()]
    names = [("SUBTYPE", [*subtypes, *(f"{kind}.*" for kind in kinds)]), ("TEAM", teams)]
    if record is not None:
        names.insert(1, ("PERSON, WHO", people[:_LISTED_MAX]))
    if record is not None and record.kind == LEAD.name:
        names.append(("NAME", list(rules.lead_stages)))
    return [_row(f"{words(what)}: {', '.join(named)}") for what, named in names]


def _may(command: Command, record: Record | None, site: Site, person: Person) -> bool:
    """Whether a command is for this reader, on this record, in its state."""
    if not person.entitled:
        return command.name in (("list", "help", "prefs") if record is None else ("help", "unfollow"))
    if record is None:
        return command.name in ("follow", "unfollow", "prefs", "list", "help")
    return fits(command, record, site.rules.kinds)


def _boxes(tx: Transaction, site: Site, words: Callable[[str], str], asked: Asked) -> list[Row]:
    """Return a box for each subtype, ticked where the reader hears of it: on the record, or on a team's new one.

    The last line says what was ticked, for the answer (decide/prefs.py): only what differs from it was chosen.
    """
    person, record = asked.person, asked.record
    if record is not None:
        known: Sequence[Subtype] = site.rules.kinds.of_record(record.kind)
        their = followers(record, store_followers.choices(tx, [record.id])[record.id], site.people, site.rules)
        mine = next((each for each in their if each.who == person.key), None)
    else:
        known = list(site.rules.kinds.subtypes.values())
        mine = in_general(person, store_followers.standing_choices(tx), site.people, site.rules)
    hears = mine.wants([each.name for each in known]) if mine else []
    boxes = [
        _row(f"[{'x' if each.name in hears else ' '}] {each.name}  {each.label(asked.language)}") for each in known
    ]
    sent = "".join("1" if each.name in hears else "0" for each in known)
    return [*boxes, _row(f"{words('As it was sent:')} {sent}")]


def _mbox(tx: Transaction, addresses: Addresses, record: Record) -> bytes:
    """Return a thread as an mbox: the mails as they were received, and the events as mails of ours."""
    pieces: list[bytes] = []
    size = 0
    for message in reversed(messages.thread(tx, record.id)):
        octets = messages.original(tx, message.id) or _as_mail(addresses, record, message)
        lines = octets.replace(b"\r\n", b"\n").split(b"\n")
        quoted = b"\n".join(b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in lines)
        at = time.asctime(time.gmtime(message.at / 1000))
        piece = f"From {message.author.email or 'gateway'} {at}\n".encode("utf-8", "replace") + quoted + b"\n\n"
        size += len(piece)
        if size > _MBOX_MAX:
            break
        pieces.append(piece)
    return b"".join(reversed(pieces))


def _as_mail(addresses: Addresses, record: Record, message: Message) -> bytes:
    changes = "".join(f"\n{each.name}: {each.old or '–'} → {each.new or '–'}" for each in message.changes)
    head = (
        f"From: {addresses.alias(record.ref)}\nDate: {email.utils.formatdate(message.at / 1000)}\n"
        f"Subject: [{record.ref}] {message.subtype}\nMessage-ID: <{message.message_id}>\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    )
    return (head + message.text + changes + "\n").encode("utf-8", "replace")
