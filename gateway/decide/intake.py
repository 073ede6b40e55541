"""A mail to an intake address becomes a record."""

import re
from collections.abc import Sequence
from dataclasses import replace

from gateway.decide.authorise import Role, authorise_intake
from gateway.decide.place import Incoming, tell_held
from gateway.decide.post import Desk, Text
from gateway.decide.post import create as create_record
from gateway.decide.public import Whose
from gateway.decide.quoted import quoting
from gateway.mail.address import parse_address, parse_mailboxes
from gateway.mail.quoting import split_reply
from gateway.records.commands import asks_note, split_commands
from gateway.records.conditions import amount
from gateway.records.kinds import DEFAULT_SUBTYPES, LEAD, Kind
from gateway.records.lifecycle import AMOUNT, STAGE, Edit
from gateway.records.record import CUSTOMER, Choice, Party, Record
from gateway.rules import Intake
from gateway.store import followers, messages, notices, records
from gateway.store.arrivals import Settled
from gateway.store.messages import Author, Details
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

_LEADING = re.compile(r"\s*([A-Za-z][A-Za-z _-]{0,30}|[\u4e00-\u9fff]{2,8})\s*[:：]\s*(.{1,500}?)\s*")
# What a leading line of a mail may be called, and the field it fills.
_CUSTOMER = frozenset({"customer", "客戶", "客户", "顧客"})
_FIELDS = {
    "amount": "amount", "金額": "amount", "金额": "amount", "總額": "amount",
    "currency": "currency", "幣別": "currency", "valid until": "valid_until", "有效期限": "valid_until",
    "stage": "stage", "階段": "stage", "phone": "phone", "電話": "phone",
}  # fmt: skip
_LINES_MAX = 20
ADDED_MAX = 20  # outside addresses one mail can make followers


def record_answered(tx: Transaction, found: Intake, incoming: Incoming) -> str:
    """Return the reference of the record made by the mail this one answers, which came by that intake; or ""."""
    made = messages.records_made(tx, _scope(found), incoming.refers_to)
    record = records.load(tx, made[:1]).get(made[0]) if made else None
    return record.ref if record else ""


def create(tx: Transaction, desk: Desk, found: Intake, incoming: Incoming) -> Settled:
    """Make a record of what a mail says: subject is title, the author salesperson or customer."""
    identity, mail, released = incoming.identity, incoming.mail, incoming.recipient.released
    if incoming.automatic and not released:
        reason = f"automatic mail creates nothing: {incoming.automatic}"
        if incoming.doubtful or incoming.tells:
            tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "automatic", reason)
    file = desk.site.people.party(identity.email)
    role: Role = (
        "unknown" if not identity.email else "person" if identity.person else "customer" if file else "stranger"
    )
    decided = authorise_intake(found.senders, role, authenticated=identity.authenticated, released=released)
    if decided.name == "refuse":
        _tell_refused(tx, found, incoming)
        return Settled("refused", decided.cause, decided.reason)
    if decided.name != "accept":
        tell_held(tx, desk, incoming, decided.reason, None, [])
        return Settled("held", decided.cause, decided.reason)
    edit, said = _read(desk, found, incoming, file)
    if not (released and incoming.recipient.cause == "note") and _is_inner(tx, desk, incoming, edit):
        reason = "what is a note, answers one or quotes one creates nothing that outsiders could hear of"
        tell_held(tx, desk, incoming, reason, None, [])
        return Settled("held", "note", reason)
    if messages.claim_effect(tx, _scope(found), incoming.original_id, mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mail created a record already")
    actor = Author(identity.person.key if identity.person else "", incoming.author_name, identity.email)
    kind = desk.site.rules.kinds.by_name[found.creates]
    outside = identity.person is None
    if outside and found.assign and not edit.salesperson:
        edit = replace(edit, salesperson=_assigned(tx, desk, found, kind))
    posted = create_record(tx, desk, kind, "", edit, actor, said, incoming.now, customer=outside)
    messages.effect_made(tx, _scope(found), incoming.original_id, mail.body_digest, posted.record.id)
    if identity.person is not None and identity.authenticated:
        _let_follow(tx, desk, posted.record, said.addressed)
        data = {"what": "created", "answers": mail.message_id}
        new = NewNotice("transcript", identity.person.key, identity.email, data, posted.record.id)
        notices.add(tx, new, incoming.now)
    return Settled("posted", record_id=posted.record.id, message_id=posted.message)


def _read(desk: Desk, found: Intake, incoming: Incoming, file: Party | None) -> tuple[Edit, Text]:
    """Return what a mail says of the record it makes, and the first message; `file` is the author's as a customer."""
    identity, mail = incoming.identity, incoming.mail
    reply = split_reply(mail.text)
    customer, fields, rest = leading_lines(reply.text)
    if identity.person is None:
        customer = file or Party(incoming.author_name, tuple(filter(None, (identity.email,))))
    elif customer is not None:
        customer = _outside(desk, known(desk, customer))
    if found.creates == LEAD.name and fields.get(STAGE) not in desk.site.rules.lead_stages:
        fields.pop(STAGE, None)
    edit = complete(
        desk,
        Edit(title=mail.subject or None, customer=customer, fields=dict(fields)),
        salesperson=identity.person.key if identity.person else "",
        team=found.team,
    )
    said = Text(
        text=desk.addresses.untagged(rest),
        quoted=desk.addresses.untagged(reply.quoted),
        subject=mail.subject,
        attachments=incoming.attachments,
        original_id=mail.message_id,
        addressed=tuple(box.address.key for box in (*mail.to, *mail.cc) if not desk.addresses.owns(box.address)),
        arrival_id=incoming.arrival.id,
        vouched=identity.person is not None and identity.authenticated,
        details=Details(
            defects=mail.defects,
            authenticated=identity.how,
            withheld=incoming.withheld,
            results=tuple(str(each) for each in identity.results),
        ),
    )
    return edit, said


def _assigned(tx: Transaction, desk: Desk, found: Intake, kind: Kind) -> str:
    """Return the salesperson whom the intake's rule assigns: the leader, whose turn it is, or who has the fewest open.

    Only people with the right `sales` have a turn.
    """
    team, people = desk.site.rules.teams[found.team], desk.site.people.by_key
    if found.assign == "leader":
        return team.leader
    members = [key for key in team.members if people[key].entitled]
    if not members:
        return team.leader
    if found.assign == "round-robin":
        return members[(records.next_turn(tx, f"turn:{found.address}") - 1) % len(members)]
    counts = records.open_by_person(tx, kind.name, members)
    return min(members, key=lambda key: counts.get(key, 0))


def _outside(desk: Desk, given: Party) -> Party | None:
    """Return a customer, unless the line names one of our own people or an address of ours."""
    for email in given.emails:
        address = parse_address(email)
        if desk.site.people.person(email) or address is None or desk.addresses.owns(address):
            return None
    return given


def _let_follow(tx: Transaction, desk: Desk, record: Record, named: Sequence[str]) -> None:
    """Make the outside addresses a person put in To or Cc follow the discussion from the start."""
    for email in named[:ADDED_MAX]:
        if desk.site.people.person(email) is None:
            who = CUSTOMER if record.customer.owns(email) else email
            followers.choose(tx, record.id, Choice(who, DEFAULT_SUBTYPES, how="cc"))


def _is_inner(tx: Transaction, desk: Desk, incoming: Incoming, edit: Edit) -> bool:
    """Whether a mail of our own people is a note, or answers one, or what it says of the record to be quotes one."""
    person, mail = incoming.identity.person, incoming.mail
    if incoming.note or person is None:
        return incoming.note
    given, _ = split_commands(split_reply(mail.text).text)
    fields = {name: value for name, value in edit.fields.items() if value}
    said = {"title": mail.subject, "customer": edit.customer.name if edit.customer else "", **fields}
    return asks_note(given) or bool(quoting(tx, desk, Whose(person.key), said, ("customer",)))


def _scope(found: Intake) -> str:
    return f"intake:{found.address}"


def _tell_refused(tx: Transaction, found: Intake, incoming: Incoming) -> None:
    """Tell an authenticated author, at most once a day; nobody else. To outsiders nothing of their mail is repeated."""
    identity = incoming.identity
    if identity.authenticated:
        subject = incoming.mail.subject if identity.person else ""
        data = {"address": incoming.recipient.address, "subject": subject, "text": dict(found.refusal)}
        who = identity.person.key if identity.person else ""
        notices.add(tx, NewNotice("refused", who, identity.email, data, daily=True), incoming.now)


def leading_lines(text: str) -> tuple[Party | None, dict[str, str], str]:
    """Read the `Customer: …`, `金額：…` lines at the top: the customer, the fields, and the rest.

    An amount that is none is text: where people read it, and nothing counts with it.
    """
    customer: Party | None = None
    fields: dict[str, str] = {}
    lines = text.split("\n")
    read = 0
    for line in lines[:_LINES_MAX]:
        match = _LEADING.fullmatch(line[:600])
        word = " ".join(match[1].lower().replace("_", " ").split()) if match else ""
        if match and word in _CUSTOMER:
            customer = _party(match[2])
        elif match and word in _FIELDS and (_FIELDS[word] != AMOUNT or amount(match[2])):
            fields[_FIELDS[word]] = match[2]
        elif line.strip():
            break
        read += 1
    return customer, fields, "\n".join(lines[read:]).strip("\n") if (customer or fields) else text


def _party(value: str) -> Party:
    """Read a customer; people write a firm's name as it is, with its comma: `ACME Co., Ltd. <wang@acme.example>`."""
    mailboxes = parse_mailboxes(value)
    if mailboxes:
        return Party(mailboxes[0].name, (mailboxes[0].address.key,))
    name, _, rest = value.strip().rstrip(">").rpartition("<")
    address = parse_address(rest) if name and value.strip().endswith(">") else None
    return Party(name.strip(), (address.key,)) if address else Party(value)


def known(desk: Desk, given: Party) -> Party:
    """Return a customer with what their file in people.yaml fills in: found by address, key or name."""
    people = desk.site.people
    file = people.party(given.emails[0]) if given.emails else None
    if file is None and not given.emails:
        same = [
            c.email[0] for key, c in people.customers.items() if given.name.lower() in (key.lower(), c.name.lower())
        ]
        file = people.party(same[0]) if len(same) == 1 else None
    if file is None:
        return given
    emails = tuple(dict.fromkeys((*given.emails, *file.emails)))
    name = given.name if given.emails and given.name else file.name
    return Party(name, emails, given.language or file.language, file.key)


def complete(desk: Desk, edit: Edit, *, salesperson: str, team: str) -> Edit:
    """Fill salesperson and team: from the event, then the customer's file, then `salesperson` and `team` given."""
    people, rules = desk.site.people, desk.site.rules
    file = people.customers.get(edit.customer.key) if edit.customer else None
    seller = edit.salesperson or (file.salesperson if file else "") or salesperson
    theirs = (file.team or rules.first_team(file.salesperson)) if file else ""
    chosen = edit.team or theirs or team or rules.first_team(seller)
    return replace(edit, salesperson=seller, team=chosen)
