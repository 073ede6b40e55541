"""Put a message in its thread, with the record changes that belong to it: inside one transaction.

Everything that happens to a record, however it came about, ends here.
"""

import secrets
from dataclasses import dataclass, field, replace

from gateway.alias import Addresses
from gateway.decide.flood import Flood
from gateway.mail.parse import Attachment
from gateway.records import lifecycle
from gateway.records.kinds import ADDRESSED_TO_CUSTOMER, ASSIGNED, DEFAULT_SUBTYPES, NOTE, Kind, Subtype
from gateway.records.lifecycle import Change, Edit, Refusal
from gateway.records.record import CUSTOMER, TITLE_MAX, Choice, Record
from gateway.rules import RESERVED
from gateway.site import Site
from gateway.store import followers, messages, prints, records
from gateway.store.messages import ANCESTORS, Author, Details, Message, NewMessage
from gateway.store.session import Transaction


@dataclass(frozen=True, slots=True)
class Desk:
    """What deciding needs to know of the site."""

    site: Site
    addresses: Addresses
    flood: Flood = field(default_factory=Flood)


@dataclass(frozen=True, slots=True)
class Text:
    """What is said along with an event, or is the event."""

    text: str = ""
    quoted: str = ""
    subject: str = ""
    attachments: tuple[Attachment, ...] = ()
    original_id: str = ""
    addressed: tuple[str, ...] = ()
    arrival_id: int | None = None
    vouched: bool = True
    details: Details = field(default_factory=Details)


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that was posted: the record as it stands now, the message's id and Message-ID.

    `assigned` is the message that tells a new salesperson, `warning` what whoever did it should know.
    """

    record: Record
    message: int | None = None
    message_id: str = ""
    changes: tuple[Change, ...] = ()
    assigned: int | None = None
    warning: str = ""

    @property
    def all_messages(self) -> tuple[int, ...]:
        """The ids of the messages there are."""
        return tuple(each for each in (self.message, self.assigned) if each is not None)


def post(  # noqa: PLR0913 (a message has that many sides)
    tx: Transaction, desk: Desk, record: Record, subtype: Subtype, author: Author, said: Text, now: int,
    *, parent: Message | None = None, changes: tuple[Change, ...] = (),
) -> Posted:  # fmt: skip
    """Post a message of `subtype` on `record`."""
    message_id = f"{record.ref.lower()}.{secrets.token_hex(12)}@{desk.addresses.domain}"
    above = (*parent.ancestors, parent.original_id, parent.message_id) if parent else messages.root_ids(tx, record.id)
    outside = any(desk.site.people.person(email) is None for email in said.addressed)
    made = messages.post(
        tx,
        NewMessage(
            record_id=record.id,
            subtype=subtype.name,
            internal=subtype.internal,
            at=now,
            author=author,
            subject=said.subject,
            text=said.text,
            quoted=said.quoted,
            message_id=message_id,
            original_id=said.original_id,
            parent_id=parent.id if parent else None,
            ancestors=ancestors(above),
            addressed=said.addressed,
            changes=changes,
            details=replace(said.details, outside=outside),
            arrival_id=said.arrival_id,
            attachments=said.attachments,
            vouched=said.vouched,
        ),
    )
    if subtype is NOTE:
        prints.keep(tx, made, said.text, said.attachments)
    return Posted(record, made, message_id, changes)


def ancestors(above: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids to thread by, of those `above`: the root first, the parent last, at most 20."""
    ids = tuple(dict.fromkeys(filter(None, above)))
    return ids if len(ids) <= ANCESTORS else (ids[0], *ids[-(ANCESTORS - 1) :])


def create(  # noqa: PLR0913 (a creation has that many sides)
    tx: Transaction, desk: Desk, kind: Kind, ref: str, edit: Edit, actor: Author, said: Text, now: int,
    *, customer: bool = False,
) -> Posted:  # fmt: skip
    """Create a record of `kind` and post its creation. `ref` "" takes the next number.

    `customer` tells that the author is the customer, not a person: the creation is theirs to say.
    """
    rules = desk.site.rules
    taken = {*rules.teams, *rules.intake, *RESERVED}
    ref = ref or records.next_ref(tx, kind, lambda each: each.lower() in taken)
    blank = Record(0, kind.name, ref, "", kind.first_state, creator="" if customer else actor.who)
    if kind.name == "lead" and not edit.fields.get(lifecycle.STAGE):
        edit = replace(edit, fields={**edit.fields, lifecycle.STAGE: rules.lead_stages[0]})
    title = (edit.title or "").strip()[:TITLE_MAX] or f"{kind.label(desk.site.language(None))} {ref.upper()}"
    outcome = lifecycle.apply(blank, None, replace(edit, title=title))
    if isinstance(outcome, Refusal):
        raise TypeError(str(outcome.problem))
    record = records.create(tx, outcome.record, now)
    subtype = rules.kinds.subtypes[f"{kind.name}.created"]
    shown = tuple(change for change in outcome.changes if change.name not in ("state", "title"))
    posted = post(tx, desk, record, subtype, actor, said, now, changes=shown)
    by = person_author(desk, "") if customer else actor  # a customer assigns nobody: a rule does
    about = next(iter(messages.load(tx, [posted.message] if posted.message else [])), None)
    return replace(posted, assigned=_assigned(tx, desk, record, "", by, now, about))


def happen(
    tx: Transaction, desk: Desk, record: Record, subtype: Subtype | None, edit: Edit, actor: Author, said: Text,
    now: int,
) -> Posted | Refusal:  # fmt: skip
    """Let an event happen to a record, or say why it cannot; None only changes fields, without a message."""
    rules = desk.site.rules
    transition = None if said.details.again else subtype
    outcome = lifecycle.apply(record, transition, edit, replace_teams=rules.replace_teams)
    if isinstance(outcome, Refusal):
        return outcome
    if outcome.changes:
        records.change(tx, outcome.record, now)
    posted = Posted(outcome.record, changes=outcome.changes)
    if subtype is not None:
        if rules.customer_follows.get(subtype.name):
            followers.choose(tx, record.id, Choice(CUSTOMER, DEFAULT_SUBTYPES, how=CUSTOMER))
        if subtype.name in ADDRESSED_TO_CUSTOMER:
            said = replace(said, details=replace(said.details, terms=outcome.record.terms))
        posted = post(tx, desk, outcome.record, subtype, actor, said, now, changes=outcome.changes)
    return replace(posted, assigned=_assigned(tx, desk, outcome.record, record.salesperson, actor, now))


def _assigned(
    tx: Transaction, desk: Desk, record: Record, before: str, actor: Author, now: int, about: Message | None = None
) -> int | None:  # fmt: skip
    """Tell a new salesperson, unless they did it themselves; an answer to that answers what it is `about`.

    That is the message that made the record, or else what was heard from outside last.
    """
    if record.salesperson and record.salesperson not in (before, actor.who):
        about = about or messages.newest_from_outside(tx, record.id)
        change = Change("salesperson", before, record.salesperson)
        return post(tx, desk, record, ASSIGNED, actor, Text(), now, changes=(change,), parent=about).message
    return None


def person_author(desk: Desk, key: str) -> Author:
    """Return a person as the author of a message; the site itself for nobody."""
    person = desk.site.people.by_key.get(key)
    return Author(key, person.name, person.email[0]) if person else Author(name=desk.site.settings.site.name)
