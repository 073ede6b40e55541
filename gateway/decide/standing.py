"""What people choose for the records of a team, or of every team, rather than for one record."""

from collections.abc import Iterable

from gateway.decide.meant import Mistake, first_named, is_team, standing_team, subtypes
from gateway.decide.post import Desk
from gateway.people import Person
from gateway.records import commands
from gateway.records.commands import Command, Given
from gateway.records.kinds import DEFAULT_SUBTYPES
from gateway.records.lifecycle import Problem
from gateway.records.record import Choice
from gateway.store import audit, followers
from gateway.store.session import Transaction

EVERYTHING = ("*",)
COMMANDS = (commands.FOLLOW, commands.UNFOLLOW, commands.ADD, commands.REMOVE)


def is_standing(words: tuple[str, ...]) -> bool:
    """Whether the words behind a command say `team:`."""
    return any(is_team(word) for word in words)


def choose(
    tx: Transaction, desk: Desk, command: Command, words: tuple[str, ...], giver: str
) -> Mistake | None:  # fmt: skip
    """Let a standing choice be made by the person `giver`, for themselves or, with `sales-admin`, for others."""
    people = desk.site.people.by_key
    who = giver
    if not words:
        return Mistake("", (f"/{command.name} {command.takes}",), Problem("something is missing behind it"))
    if command in (commands.ADD, commands.REMOVE):
        found = first_named(desk, words)
        if isinstance(found, Mistake):
            return found
        who, words = found
    if who not in people:
        return Mistake("", (), Problem("a standing choice is for one of your own people"))
    if giver not in people or (command is not commands.UNFOLLOW and not people[giver].entitled):
        return Mistake("", (), Problem("{} needs the right sales", (f"/{command.name}",)))
    if who != giver and "sales-admin" not in people[giver].rights:
        return Mistake("", (), Problem("a standing choice for others needs the right sales-admin"))
    named = standing_team(desk, words)
    if isinstance(named, Mistake):
        return named
    team, rest = named
    kinds = desk.site.rules.kinds
    chosen = subtypes(rest, list(kinds.subtypes.values()), kinds)
    if isinstance(chosen, Mistake):
        return chosen
    if command in (commands.UNFOLLOW, commands.REMOVE):
        followers.stand(tx, Choice(who, without=chosen or EVERYTHING, team=team or ""))
    else:
        followers.stand(tx, Choice(who, chosen or DEFAULT_SUBTYPES, team=team or ""))
    return None


def wanted_again(tx: Transaction, person: Person, chosen: Iterable[Given]) -> list[Given]:
    """Return what takes back a person's giving up, for one team, what they now choose for all."""
    wanted = [word for each in chosen if each.command is commands.FOLLOW for word in each.arguments[:-1]]
    mine = [each for each in followers.standing_choices(tx, person.key) if each.team]
    again = {each.team: tuple(name for name in wanted if name in each.without) for each in mine}
    return [
        Given(commands.FOLLOW.name, commands.FOLLOW, (*names, f"team:{team}")) for team, names in again.items() if names
    ]


def carry_out(
    tx: Transaction, desk: Desk, given: tuple[Given, ...], giver: str, how: str, now: int
) -> Mistake | tuple[tuple[str, str], ...]:  # fmt: skip
    """Carry out choices that name no record: all of them or none; return each with its words."""
    done = []
    with tx.begin_nested() as point:
        for each in given:
            if each.command is None:
                continue
            wrong = choose(tx, desk, each.command, each.arguments, giver)
            if wrong is not None:
                point.rollback()
                return wrong.on(each.line)
            words = each.arguments if is_standing(each.arguments) else (*each.arguments, "team:*")
            if each.command is commands.FOLLOW and len(words) == 1:
                words = (*DEFAULT_SUBTYPES, *words)
            audit.append(tx, giver, each.command.name, "", now, arguments=list(words), how=how)
            done.append((each.command.name, " ".join(words)))
    return tuple(done)
