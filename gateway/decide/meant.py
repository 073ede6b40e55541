"""What the words behind a command mean: people, teams, stages, fields, subtypes.

*Failure:* words that mean nothing here are a `Mistake`, a value, with the words that come nearest.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.decide.post import Desk
from gateway.mail.address import parse_address, parse_mailboxes
from gateway.mail.header import one_line
from gateway.people import Person
from gateway.records import commands
from gateway.records.commands import Command
from gateway.records.conditions import amount, day, number
from gateway.records.kinds import Kinds, Subtype, matches
from gateway.records.lifecycle import STAGE, VALID_UNTIL, Edit, Problem
from gateway.records.record import CUSTOMER, TITLE_MAX
from gateway.rules import Team

_VALUE_MAX = 500  # characters
_NAME_WORDS = 4  # "Jan van der Berg"
_COLON = re.compile(r"[:：=]")
PLACEHOLDERS = frozenset({"reason", "原因", "field", "欄位"})  # what a button leaves for its author to write over
_TEAM_WORDS = ("team:", "團隊:")  # what says that a choice stands for a team's records
_CUSTOMER = frozenset({CUSTOMER, "客戶"})
_ALL = frozenset({"*", "all", "全部"})
_LIST = re.compile(r"[,，、;；]")
_BETWEEN = frozenset({"and", "as", "for", "&", "和", "與", "及", "跟", "以及"})  # words of a list that name nothing
_TO = frozenset({"to", "for", "給", "给"})
_REASON_IS = re.compile(r"(?:reason|原因)\s*[:：]\s*(?=\S)", re.IGNORECASE)
_FAREWELL = re.compile(
    r"(?:(?:best|kind|warm|many)? ?(?:regards|wishes|thanks)|thanks(?: a lot)?|thank you|cheers|sincerely|yours"
    r"|謝謝(?:您|你)?|感謝(?:您|你)?|感恩|祝好|敬上|此致|順頌商祺|順祝商祺)[\s,.!，。！]*"
)
_BESIDE_NAME = 20  # characters: "敬上", a title
_SIGNED_MAX = 10  # lines
# What people call a field in a command, beside its own name.
_FIELDS = {
    "金額": "amount", "總額": "amount", "總計": "amount", "合計": "amount", "總價": "amount", "total": "amount",
    "price": "amount", "幣別": "currency", "有效期限": "valid_until", "電話": "phone", "標題": "title", "主旨": "title",
    "有效期": "valid_until", "有效日期": "valid_until", "有效日": "valid_until", "valid until": "valid_until",
    "valid": "valid_until", "validity": "valid_until", "expiry": "valid_until", "階段": "stage", "狀態": "state",
    "業務": "salesperson", "業務員": "salesperson", "負責人": "salesperson", "團隊": "team", "客戶": "customer",
    "來源": "origin",
}  # fmt: skip
# A record system says the lines and the customer; what is made of a record, and what happens to it, writes the others.
_NOT_WRITTEN = frozenset({"lines", "customer", "invoice", "quotation", "origin"})
_KNOWN_FIELDS = frozenset({*_FIELDS, *_FIELDS.values()})
_BY_COMMAND = {STAGE: "/stage", "salesperson": "/assign", "team": "/team", "state": ""}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A command that cannot be carried out: what was given, the problem, and what may have been meant.

    `wrong` is the part of it that one of `nearest` would mend; "" where none of them would. `instead` are the
    whole lines that would have worked.
    """

    given: str
    nearest: tuple[str, ...] = ()
    problem: Problem = Problem()
    wrong: str = ""
    instead: tuple[str, ...] = ()

    def on(self, line: str) -> "Mistake":
        """Return the mistake as one of this line, with the lines that would have worked."""
        word, _, behind = line.partition(" ")  # the command, as its author called it, and what it was given
        behind = f" {behind} "
        old = f" {self.wrong} " if f" {self.wrong} " in behind else self.wrong  # a word of its own, or in a list
        nearest = self.nearest[:3] if self.wrong else ()
        mended = tuple(word + behind.replace(old, old.replace(self.wrong, near), 1).rstrip() for near in nearest)
        mended = tuple(each for each in mended if each != line.rstrip())
        lines = [each.partition(" ") for each in self.instead]
        whole = tuple(
            f"{word if commands.named(named) is commands.named(word) else named} {rest}".strip()
            for named, _, rest in lines
        )
        return replace(self, given=line, instead=whole or mended)


def whom(desk: Desk, word: str) -> str | Mistake:
    """Return whom a word names as a follower: a person by key, name or address, `group:TEAM`, customer, an address."""
    people, rules = desk.site.people, desk.site.rules
    word = unicodedata.normalize("NFKC", word)
    if word.casefold() in _CUSTOMER:
        return CUSTOMER
    teams = {team.name.casefold(): f"group:{key}" for key, team in rules.teams.items()}
    if word.casefold() in teams:
        return teams[word.casefold()]
    if word.startswith("group:") and word.removeprefix("group:") in rules.teams:
        return word
    named = person(desk, word)
    if named:
        return named
    address = parse_address(word.strip("<>,"))
    if address is not None and not desk.addresses.owns(address):
        return address.key
    known = _named(people.by_key) | {f"group:{team}": f"group:{team}" for team in rules.teams} | {CUSTOMER: CUSTOMER}
    return _unknown(word, known, Problem("nobody is known as {}", (word,)))


def first_named(desk: Desk, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | Mistake:
    """Return whom the words behind a command name first, by a name of several words too, and the other words.

    A name before an address in angle brackets, as mail programs write it, says nothing.
    """
    for at, word in enumerate(words[: _NAME_WORDS + 1]):
        if word.startswith("<") and parse_address(word.strip("<>,")):
            return _and_others(whom(desk, word), words[at + 1 :])
    missed: dict[int, Mistake] = {}
    for count in range(min(len(words), _NAME_WORDS), 0, -1):
        who = whom(desk, " ".join(words[:count]))
        if isinstance(who, str):
            return who, words[count:]
        missed[count] = who
    known = list(desk.site.rules.kinds.subtypes.values())
    return missed[next((count for count in missed if not any_meant(words[1:count], known)), 1)]


def _and_others(who: str | Mistake, others: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | Mistake:
    return (who, others) if isinstance(who, str) else who


def all_named(desk: Desk, words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]] | Mistake:
    """Return all whom the words behind a command name, one after the other, and the words after them."""
    known = list(desk.site.rules.kinds.subtypes.values())
    whos: list[str] = []
    pieces = _pieces(words)
    for at, piece in enumerate(pieces):
        left, later = piece, tuple(word for each in pieces[at + 1 :] for word in each)
        while left:
            found = first_named(desk, left)
            listed = left is piece  # a piece of a list of people is one of them, or a mistake
            if whos and (any_meant(left[:1], known) or (isinstance(found, Mistake) and not listed)):
                return tuple(whos), (*left, *later)
            if isinstance(found, Mistake):
                return found
            whos.append(found[0])
            left = found[1]
    return tuple(whos), ()


def _pieces(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the pieces of a list, each in its words, however they are set apart: by commas, by `and`."""
    pieces: list[list[str]] = [[]]
    for word in words:
        first, *others = [""] * 2 if word.casefold() in _BETWEEN else _LIST.split(word)
        pieces[-1] += filter(None, [first])
        pieces += [list(filter(None, [each])) for each in others]
    return [tuple(each) for each in pieces if each]


def person(desk: Desk, word: str) -> str:
    """Return the key of the person whom a word names by key, name or address; "" for nobody, and for several."""
    people = desk.site.people
    if word in people.by_key:
        return word
    low = unicodedata.normalize("NFKC", word).casefold()
    named = [key for key, each in people.by_key.items() if low in (key.casefold(), each.name.casefold())]
    owner = people.person(low.strip("<>,"))
    return owner.key if owner else named[0] if len(named) == 1 else ""


def is_team(word: str) -> bool:
    """Whether a word behind a command names the team whose records a choice stands for."""
    return word.lower().replace("：", ":").startswith(_TEAM_WORDS)


def standing_team(desk: Desk, words: Sequence[str]) -> tuple[str | None, tuple[str, ...]] | Mistake:
    """Return which team the words of a choice name (`team:TEAM`; "" for every one, None for none), and the others."""
    known = {team.casefold(): team for team in desk.site.rules.teams}
    known |= {each.name.casefold(): team for team, each in desk.site.rules.teams.items()}
    words = _joined(words, known)
    teams = [word for word in words if is_team(word)]
    rest = tuple(word for word in words if word not in teams)
    if not teams:
        return None, rest
    named = teams[0].replace("：", ":").partition(":")[2]
    if len(teams) == 1 and (named.casefold() in _ALL or named.casefold() in known):
        return known.get(named.casefold(), ""), rest
    called = {f"team:{name}": f"team:{team}" for name, team in known.items()}
    missed = _unknown(f"team:{named}", called, Problem("there is no team {}", (named,)))
    return replace(missed, wrong=teams[0] if missed.wrong else "")


def _joined(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Return words with `team: sales` as one, and with a team's name of several words, where it is `known`."""
    found: list[str] = []
    for word in words:
        alone = bool(found) and found[-1].lower().replace("：", ":") in _TEAM_WORDS
        found[-1:] = [found[-1] + word] if alone else [*found[-1:], word]
    for at, word in enumerate(found):
        for count in range(_NAME_WORDS, 1, -1) if is_team(word) else ():
            whole = " ".join(found[at : at + count])
            if whole.replace("：", ":").partition(":")[2].casefold() in known:
                found[at : at + count] = [whole]
                break
    return found


def subtypes(words: Iterable[str], known: Sequence[Subtype], kinds: Kinds) -> tuple[str, ...] | Mistake:
    """Return the subtypes, or patterns of them, that words name: each by its name, or what it is called."""
    called = {label.casefold(): each.name for each in known for label in (each.name, *each.names.values())}
    names = [each.name for each in known]
    for kind in kinds.by_name.values():
        if any(each.name in names for each in kind.subtypes):
            called |= {f"{label.casefold()}.*": f"{kind.name}.*" for label in kind.names.values()}  # `報價單.*`
    found: list[str] = []
    for bare in _paired(apart_in_lists(words), called):
        pattern = called.get(bare.casefold(), "*" if bare.casefold() in _ALL else bare.lower())
        if not any(matches([pattern], name) for name in names):
            return _unknown(bare, called, Problem("there is no subtype {} here", (bare,)))
        found.append(pattern)
    return tuple(found)


def _paired(words: Sequence[str], called: Collection[str]) -> list[str]:
    """Return words with two that are one as one: `quotation sent`, `報價單 送出`."""
    found: list[str] = []
    for word in words:
        before = found[-1].casefold() if found else ""
        whole = next(
            (each for each in (f"{before}.{word.casefold()}", f"{before}{word.casefold()}") if each in called), ""
        )
        found[-1:] = [whole] if before and whole else [*found[-1:], word]
    return found


def any_meant(words: Sequence[str], known: Sequence[Subtype]) -> bool:
    """Whether one of these words is a subtype or a pattern of some, or comes near to one: it is a list of them."""
    names = [called.casefold() for each in known for called in (each.name, *each.names.values())]
    return any("*" in word or is_team(word) or _is_near(word.casefold(), names) for word in apart_in_lists(words))


def _is_near(word: str, names: Sequence[str]) -> bool:
    """Whether a word may be a mistyped one of `names`; of two Chinese characters one is half."""
    return bool(difflib.get_close_matches(word, names, 1, 0.7 if word.isascii() else 0.5))


def address_words(words: Iterable[str]) -> list[str]:
    """Return the words of a list of addresses, set apart by anything, without the names before them."""
    found: list[str] = []
    for piece in _LIST.split(unicodedata.normalize("NFKC", " ".join(words))):
        named = (parse_mailboxes(piece) or ()) if "<" in piece else ()
        found += [str(each.address) for each in named] or piece.split()
    return found


def apart_in_lists(words: Iterable[str]) -> list[str]:
    """Return the words of a list, however they are set apart: `sent,confirmed`, `報價單送出、備註`."""
    return [each for word in words for each in _LIST.split(word) if each and each.casefold() not in _BETWEEN]


def edit(desk: Desk, command: Command, words: tuple[str, ...]) -> Edit | Mistake:
    """Return what a command changes, beside the transition it is."""
    rest = one_line(" ".join(words))[:_VALUE_MAX]
    rules = desk.site.rules
    if command is commands.STAGE:
        end = commands.named(rest)
        if end in (commands.WON, commands.LOST):
            return Mistake("", (f"/{end.name} {end.takes}".strip(),), Problem("{} has a command of its own", (rest,)))
        return _known(rest, rules.lead_stages, "there is no stage {}", lambda stage: Edit(fields={STAGE: stage}))
    if command is commands.LOST:
        why = _REASON_IS.sub("", rest)
        if why.casefold() in PLACEHOLDERS:
            return Mistake("", (), Problem("write why in place of {}", (rest,)))
        return Edit(fields={"reason": why})
    if command is commands.ASSIGN:
        return _assigned(desk, words)
    if command is commands.TEAM:
        teams = {name.casefold(): key for name, key in _named(rules.teams).items()}
        if rest.casefold() in teams:
            return Edit(team=teams[rest.casefold()])
        return _unknown(rest, teams, Problem("there is no team {}", (rest,)))
    return _set(words) if command is commands.SET else Edit()


def _assigned(desk: Desk, words: tuple[str, ...]) -> Edit | Mistake:
    words = words[1:] if len(words) > 1 and words[0].casefold() in _TO else words
    said = next((word for word in words if word.startswith("<")), " ".join(words))
    key = person(desk, said) or person(desk, said.lstrip("給给"))
    if key:
        return Edit(salesperson=key)
    known = _named(desk.site.people.by_key)
    one = {words[0]: found} if (found := person(desk, words[0])) else known
    return _unknown(said, one, Problem("nobody is known as {}", (said,)))


def apart(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words behind `/set` with the field apart from its value: `amount=9`, `金額：9`."""
    first = unicodedata.normalize("NFKC", words[0]) if words else ""
    field, colon, value = _COLON.sub(":", first, count=1).partition(":")
    glued = max((name for name in _FIELDS if first.startswith(name) and first != name), key=len, default="")
    left = first.removeprefix(glued)
    if glued and not colon and any(read(left) for read in (amount, day, number)):  # `/設定 金額100000`
        return (glued, left, *words[1:])
    return tuple(filter(None, (field, value, *words[1:]))) if colon and field else words


def names_field(line: str) -> bool:
    """Whether a line is a field that is known, a colon, and a value."""
    name, colon, value = _COLON.sub(":", line, count=1).partition(":")
    return bool(colon and value.strip()) and name.strip().lower() in _KNOWN_FIELDS


def _set(words: tuple[str, ...]) -> Edit | Mistake:
    said = words[0].rstrip(":：=")
    if len(words) > 2 and f"{said} {words[1].rstrip(':：=')}".lower() in _FIELDS:  # `/set valid until 2026-12-31`
        said, words = f"{said} {words[1].rstrip(':：=')}", words[1:]
    name = _FIELDS.get(said.lower(), said.lower())
    value = one_line(" ".join(words[1:]))[:_VALUE_MAX]
    near = difflib.get_close_matches(name, _KNOWN_FIELDS, 1, 0.75)
    if name in PLACEHOLDERS:
        return Mistake("", problem=Problem("write the field, and its value, in place of {}", (said,)))
    if name in _NOT_WRITTEN:
        return Mistake("", (), Problem("{} is not written by a command", (name,)))
    if near and name not in _KNOWN_FIELDS:
        return Mistake("", problem=Problem("there is no field {}", (said,)), instead=(f"/set {near[0]} {value}",))
    return _written(name, value)


def _written(name: str, value: str) -> Edit | Mistake:
    """Return what writing a value into a field changes."""
    if name == "title":
        empty = value == "-"  # which empties any other field
        return (
            Mistake("", problem=Problem("something is missing behind it")) if empty else Edit(title=value[:TITLE_MAX])
        )
    if name in _BY_COMMAND:
        command = _BY_COMMAND[name]
        instead = (f"{command} {value}",) if command else ()  # the state has several
        return Mistake("", problem=Problem("{} has a command of its own", (name,)), instead=instead)
    if value == "-":
        return Edit(fields={name: None})
    if name == "amount":
        if not amount(value):
            return Mistake("", (), Problem("{} is no amount; write one like 120000", (value,)))
        return Edit(fields={name: amount(value)})
    if name == VALID_UNTIL:
        if not day(value):
            return Mistake("", (), Problem("{} is no day; write one like 2026-12-31", (value,)))
        return Edit(fields={name: day(value)})
    return Edit(fields={name: value})


def _known(word: str, known: Iterable[str], problem: str, made: Callable[[str], Edit]) -> Edit | Mistake:
    names = {each.casefold(): each for each in known}
    found = names.get(word.casefold())
    return made(found) if found else _unknown(word, names, Problem(problem, (word,)))


def _named(known: Mapping[str, Person] | Mapping[str, Team]) -> dict[str, str]:
    """Return the keys of people or teams by what they are called: key and name."""
    return {key: key for key in known} | {each.name: key for key, each in known.items()}


def _unknown(word: str, keys: Mapping[str, str], problem: Problem) -> Mistake:
    """Return a word that names nothing as a mistake, with the keys of what is called most like it, or else of all."""
    called = {name.casefold(): key for name, key in keys.items()}
    close = difflib.get_close_matches(word.casefold(), list(called), 3, 0.4)
    near = tuple(dict.fromkeys(called[each] for each in close or called))
    return Mistake("", near[:20], problem, word if close else "")


def signed_only(text: str, person: Person | None) -> bool:
    """Whether a text is nothing, or a signature: it begins with its author's name, or a farewell."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return True
    while len(lines) > 1 and _FAREWELL.fullmatch(lines[0].casefold()):
        lines.pop(0)
    if person is None or not lines[0].casefold().startswith(person.name.casefold()):
        return False
    return len(lines[0]) <= len(person.name) + _BESIDE_NAME and len(lines) <= _SIGNED_MAX
