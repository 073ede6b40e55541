"""Who hears of a message, and why; who does not, and why not. Pure.

Law 5 is kept here first: an outsider never hears of an internal subtype.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.following import Follower, Grant, Reason, customer, insider, outsider
from gateway.people import Delivery, People
from gateway.records.kinds import ADDRESSED_TO_CUSTOMER, ASSIGNED, DISCUSSION, Subtype
from gateway.records.record import Record
from gateway.store.messages import Message

SUPPRESSED = "mail to the address is suppressed"


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody who hears of a message. `email` is where it goes."""

    who: str
    email: str
    name: str
    outsider: bool
    language: str
    reason: Reason
    delivery: Delivery
    follows: bool

    @property
    def reader(self) -> str:
        """What stands for them in a tag: `person:KEY`, or an outsider's address."""
        return self.who if self.outsider else f"person:{self.who}"


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody who does not hear of a message, and why not."""

    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Everybody, on one side or the other."""

    hears: tuple[Heard, ...]
    not_hears: tuple[Left, ...]


def choose(
    message: Message,
    subtype: Subtype,
    record: Record,
    their: Sequence[Follower],
    people: People,
    suppressed: Collection[str] = (),
) -> Chosen:
    """Return who hears of `message`, each once, and for everybody else the reason.

    `their` are the record's followers as the rules now in force make them, `suppressed` the
    addresses (lower case) we no longer send to.
    """
    hears: list[Heard] = []
    left: list[Left] = []
    seen: set[str] = set()
    for follower, grant in _candidates(message, subtype, record, their, people):
        if follower.who in seen:
            continue
        seen.add(follower.who)
        outcome = _judge(message, subtype, follower, grant, suppressed)
        if isinstance(outcome, str):
            left.append(Left(follower.who, outcome))
        else:
            hears.append(outcome)
            others = [each for each in message.details.also if each in follower.emails and each not in suppressed]
            hears += [replace(outcome, email=each) for each in others if each != outcome.email]
    return Chosen(tuple(hears), tuple(left))


def _candidates(
    message: Message, subtype: Subtype, record: Record, their: Sequence[Follower], people: People
) -> Iterator[tuple[Follower, Grant | str]]:
    """Give everybody who might hear, with what lets them: first those who are addressed."""
    by_who = {follower.who: follower for follower in their}
    if message.details.taken_back:
        for person in people.by_key.values():
            heard = person.key in message.details.taken_back
            given = Grant((subtype.name,), Reason("told"), person.delivery) if heard else "did not hear of it either"
            yield by_who.get(person.key) or insider(person), given
        return
    assigned = next((change.new for change in message.changes if change.name == "salesperson"), record.salesperson)
    if subtype.name == ASSIGNED.name and assigned in people.by_key:
        person = people.by_key[assigned]
        yield by_who.get(assigned) or insider(person), Grant((subtype.name,), Reason("assigned"), person.delivery)
    if subtype.name in ADDRESSED_TO_CUSTOMER and record.customer.emails:
        follower = customer(record)
        if message.details.mailed:
            yield by_who.get(follower.who, follower), "somebody else mailed it to the customer"
        else:
            yield by_who.get(follower.who, follower), Grant((subtype.name,), Reason("addressed"))
    if subtype.name == DISCUSSION.name and message.details.answered:
        follower = _outsider(message.details.answered, record, their)
        yield follower, Grant((subtype.name,), Reason("answered"))
    for follower in their:
        yield follower, follower.heard(subtype.name, record)
    for person in people.by_key.values():
        if person.key not in by_who:
            yield insider(person), "does not follow this record"


def _outsider(email: str, record: Record, their: Sequence[Follower]) -> Follower:
    for follower in their:
        if email in follower.emails:
            return follower
    if record.customer.owns(email):
        return customer(record)
    return outsider(email)


def _judge(
    message: Message, subtype: Subtype, follower: Follower, grant: Grant | str, suppressed: Collection[str]
) -> Heard | str:
    email = next((email for email in _in_order(message, follower) if email not in suppressed), "")
    if why_not := _why_not(message, subtype, follower, grant, email):
        return why_not
    if isinstance(grant, str):
        return grant
    reason, way = grant.reason, grant.delivery
    return Heard(
        follower.who, email, follower.name, follower.outsider, follower.language, reason, way, follower.follows
    )


def _why_not(message: Message, subtype: Subtype, follower: Follower, grant: Grant | str, email: str) -> str:
    """Return why a follower does not hear; the order is that in which people would ask."""
    said = message.details
    wrote = message.author.email in follower.emails or (message.author.who and message.author.who == follower.who)
    reasons = (
        (wrote, "did it themselves" if subtype.transition else "wrote it themselves"),
        (isinstance(grant, str), str(grant)),
        (said.automatic, f"automatic mail is filed, not passed on ({said.automatic})"),
        (said.quiet, "the record stood in Bcc: filed quietly"),
        (
            follower.outsider and (subtype.internal or message.internal),
            "an outsider never hears of an internal subtype",
        ),
        (follower.outsider and bool(said.inside), said.inside),
        (follower.outsider and follower.who in said.unheard, "follows only by a command that stood beside it"),
        (
            any(each in message.addressed for each in follower.emails),
            "stands in To or Cc of the mail itself",
        ),
        (not email, SUPPRESSED),
        (isinstance(grant, Grant) and grant.delivery == "none", "wants no mail (delivery: none)"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _in_order(message: Message, follower: Follower) -> Sequence[str]:
    """The first address is where mail goes; an answer goes to the address that asked."""
    if message.details.answered in follower.emails:
        return [message.details.answered, *follower.emails]
    return follower.emails
