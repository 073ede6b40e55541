"""Which folders a message belongs into: the archive's, and those in people's own accounts. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gateway.config import ARCHIVE
from gateway.folder import INBOX, OWN, of_record
from gateway.following import Follower
from gateway.notify.recipients import Chosen
from gateway.records.kinds import NOTE, TEAM, matches
from gateway.records.record import Choice, Record
from gateway.rules import Rules
from gateway.store.messages import OWN_FOLDER, Message


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of an account, and whose eyes it is for: a person's key, or "" for the archive."""

    account: str
    folder: str
    who: str = ""


def shelves(
    message: Message, record: Record, their: Sequence[Follower], choices: Iterable[Choice], chosen: Chosen,
    rules: Rules, accounts: Collection[str],
) -> list[Shelf]:  # fmt: skip
    """Return every folder a message belongs into, each once. `accounts` are those there are."""
    own = of_record(record.kind, record.ref)
    groups = {of_record(TEAM, team): team for team in _groups(message, record, choices, rules)}
    found = [Shelf(ARCHIVE, folder) for folder in (own, *groups)]
    inboxes = {heard.who for heard in chosen.hears if heard.delivery == "inbox"}
    for follower in their:
        if follower.outsider:
            continue
        if follower.follows:
            found.append(Shelf(follower.who, OWN + own, follower.who))
        found += [
            Shelf(follower.who, OWN + folder, follower.who)
            for folder, team in groups.items()
            if follower.who in rules.teams[team].everybody
        ]
    found += [Shelf(who, INBOX, who) for who in inboxes]
    lies_there = Shelf(message.author.who, OWN + own, message.author.who)  # who dropped a mail there has it there
    dropped = message.details.authenticated == OWN_FOLDER and message.subtype == NOTE.name  # no card that was moved
    return [each for each in dict.fromkeys(found) if each.account in accounts and not (dropped and each == lies_there)]


def _groups(message: Message, record: Record, choices: Iterable[Choice], rules: Rules) -> list[str]:
    """Return the teams that follow as a group, and as a group hear of this."""
    if record.kind == TEAM:
        return []
    heard = [
        rule.who
        for rule in rules.follow
        if rule.who.startswith("group:") and rule.applies(record.teams)
        and matches(rule.subtypes, message.subtype) and rule.when.failing(record.fields) is None
    ]  # fmt: skip
    heard += [each.who for each in choices if each.who.startswith("group:") and matches(each.subtypes, message.subtype)]
    teams = (who.removeprefix("group:") for who in dict.fromkeys(heard))
    return [team for team in teams if team in rules.teams]
