"""A site: its three files, checked against each other, and people and rules swapped whole.

*Failure:* `load` raises `Bad` with every problem of all three files; a reload that fails keeps
what is in force and returns the problems.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway import config, people, rules
from gateway.config import ARCHIVE, Settings
from gateway.document import Bad, Document, Problem, read
from gateway.mail.address import parse_address
from gateway.people import People
from gateway.rules import SPECIAL_FOLLOWERS, Rules

IN_FORCE = "in-force"  # a folder in `state`


@dataclass(frozen=True, slots=True)
class InForce:
    """People and rules that were checked against each other; replaced whole, never in part."""

    people: People
    rules: Rules


@dataclass(slots=True)
class Site:
    """The settings of a node, and the people and rules in force now."""

    settings: Settings
    now: InForce
    notes: Sequence[Problem] = ()
    _seen: bytes = field(default=b"", repr=False)

    @property
    def people(self) -> People:
        """The people in force."""
        return self.now.people

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self.now.rules

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts threads are filed into: people's, by their keys, and the archive."""
        filing = self.settings.filing
        if filing is None:
            return frozenset()
        own = {account.person for account in filing.accounts}
        return frozenset(own | ({ARCHIVE} if filing.archive else set()))

    def language(self, chosen: str | None) -> str:
        """Return a reader's language: their own, or the site's."""
        return chosen or self.settings.site.language

    @property
    def digest(self) -> str:
        """What tells these people and rules from others, in hexadecimal digits."""
        return self._seen.hex()

    def changed(self) -> bool:
        """Whether people.yaml or rules.yaml is not what was read last, good or bad."""
        return _digest(self.settings.folder) != self._seen

    def remember(self) -> None:
        """Keep a copy of the files in force, for commands that run while somebody edits them.

        Files that were edited since they were read are not those in force: they are kept once they are read, and good.
        """
        files = {name: _octets(self.settings.folder / name) for name in (people.FILE, rules.FILE)}
        if _digest_of(files.values()) != self._seen:
            return
        copies = self.settings.state / IN_FORCE
        copies.mkdir(parents=True, exist_ok=True)
        for name, octets in files.items():
            new = copies / f".{name}"
            new.write_bytes(octets or b"")
            new.replace(copies / name)

    def reload(self) -> Sequence[Problem]:
        """Read people and rules again; return the problems that kept the old in force, if any.

        Who has left is nobody at once, though gateway.yaml may still name an account of theirs until the next start.
        """
        self._seen = _digest(self.settings.folder)
        try:
            now, notes = _load_in_force(self.settings.folder, self.settings.site.domain)
        except Bad as bad:
            return bad.problems
        self.now, self.notes = now, notes
        return ()


def load(path: Path, *, last_good: bool = False) -> Site:
    """Read the site whose gateway.yaml is at `path`. Raises `Bad` with all problems at once.

    With `last_good`, people and rules that cannot be used are those a node last had in force, and
    what is wrong with the files stands in `notes`.
    """
    problems: list[Problem] = []
    settings: Settings | None = None
    document: Document | None = None
    now: InForce | None = None
    notes: list[Problem] = []
    try:
        document = read(path)
        settings, more = config.load(document, path.parent)
        notes += more
    except Bad as bad:
        problems += bad.problems
    seen = _digest(path.parent)
    try:
        now, more = _load_in_force(path.parent, settings.site.domain if settings else "")
        if settings is not None and document is not None:
            _refuse_unknown(settings, document, now)
        notes += more
    except Bad as bad:
        copies = settings.state / IN_FORCE if settings else None
        if last_good and copies and (copies / rules.FILE).exists():
            now, _ = _load_in_force(copies, "")
            notes += bad.problems
        else:
            problems += bad.problems
    if settings is None or document is None or now is None or problems:
        raise Bad(problems)
    return Site(settings, now, notes, seen)


def _refuse_unknown(settings: Settings, document: Document, now: InForce) -> None:
    """Refuse an account of somebody who is not in the people. Raises `Bad`."""
    for number, account in enumerate(settings.filing.accounts if settings.filing else ()):
        if account.person not in now.people.by_key:
            where = ("filing", "accounts", number, "person")
            known = f"the people are {', '.join(now.people.by_key)}; who has left has no account any more"
            raise Bad([document.problem(where, f"unknown person {account.person!r}", known)])


def _digest(folder: Path) -> bytes:
    return _digest_of(_octets(folder / name) for name in (people.FILE, rules.FILE))


def _octets(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _digest_of(files: Iterable[bytes | None]) -> bytes:
    digest = hashlib.sha256()
    for octets in files:
        digest.update(b"-" if octets is None else hashlib.sha256(octets).digest())
    return digest.digest()


def _load_in_force(folder: Path, domain: str) -> tuple[InForce, list[Problem]]:
    problems: list[Problem] = []
    read_people: People | None = None
    read_rules: Rules | None = None
    documents: dict[str, Document] = {}
    try:
        documents[people.FILE] = read(folder / people.FILE)
        read_people, found = people.load(documents[people.FILE])
        problems += [*found, *_check_domain(documents[people.FILE], read_people, domain)]
    except Bad as bad:
        problems += bad.problems
    try:
        documents[rules.FILE] = read(folder / rules.FILE)
        read_rules, found = rules.load(documents[rules.FILE])
        problems += found
    except Bad as bad:
        problems += bad.problems
    if read_people is not None and read_rules is not None:
        problems += _check_people(documents[rules.FILE], read_people, read_rules)
        problems += _check_teams(documents[people.FILE], read_people, read_rules)
    if problems or read_people is None or read_rules is None:
        raise Bad(problems)
    return InForce(read_people, read_rules), _notes(documents, read_people, read_rules)


def _check_domain(document: Document, known: People, domain: str) -> list[Problem]:
    """Return whose address is the gateway's own: it would take their mail for one of ours that came back."""
    mend = f"every address in {domain} is"
    return [
        document.problem((section, key, "email"), f"{email} is an address of the gateway's", mend)
        for section, entries in (("people", known.by_key), ("customers", known.customers))
        for key, entry in entries.items()
        for email in entry.email
        if domain and email.rpartition("@")[2] == domain
    ]


def _check_people(document: Document, known: People, made: Rules) -> list[Problem]:
    problems = []
    mend = f"the people are {', '.join(known.by_key)}"
    for key, team in made.teams.items():
        if team.leader and team.leader not in known.by_key:
            problems.append(document.problem(("teams", key, "leader"), f"unknown person {team.leader!r}", mend))
        problems += [
            document.problem(("teams", key, "members", n), f"unknown person {member!r}", mend)
            for n, member in enumerate(team.members)
            if member not in known.by_key
        ]
    for n, rule in enumerate(made.follow):
        named = rule.who in known.by_key or rule.who in SPECIAL_FOLLOWERS or rule.who.startswith("group:")
        if not named and parse_address(rule.who) is None:
            what = f"unknown person {rule.who!r}"
            problems.append(
                document.problem(
                    ("follow", n, "who"), what, "a person, group:TEAM, leader, salesperson, creator or an address"
                )
            )
    return problems


def _check_teams(document: Document, known: People, made: Rules) -> list[Problem]:
    return [
        document.problem(
            ("customers", key, "team"), f"unknown team {customer.team!r}", f"the teams are {', '.join(made.teams)}"
        )
        for key, customer in known.customers.items()
        if customer.team and customer.team not in made.teams
    ]


def _notes(documents: dict[str, Document], known: People, made: Rules) -> list[Problem]:
    """What acts as mail, for now or for want of an account."""
    acts = {
        "inbox": "acts as mail where filing has no account of theirs",
        "digest": "acts as mail in this release",
    }
    notes = [
        documents[people.FILE].problem(
            ("people", key, "delivery"), f"delivery: {person.delivery} {acts[person.delivery]}", note=True
        )
        for key, person in known.by_key.items()
        if person.delivery in acts
    ]
    notes += [
        documents[rules.FILE].problem(
            ("follow", n, "delivery"), f"delivery: {rule.delivery} {acts[rule.delivery]}", note=True
        )
        for n, rule in enumerate(made.follow)
        if rule.delivery in acts
    ]
    return notes
