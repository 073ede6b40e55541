"""rules.yaml: teams, who follows what, intake addresses, further kinds; reloads by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.document import Document, Model, Problem, Where, validate
from gateway.mail.address import parse_address
from gateway.people import Delivery, as_list
from gateway.records.commands import BY_NAME, named
from gateway.records.conditions import Condition, parse_condition
from gateway.records.kinds import BUILT_IN, TEAM, Kind, Kinds, Subtype, matches
from gateway.records.lifecycle import STAGE
from gateway.records.record import REFERENCE

FILE = "rules.yaml"
SPECIAL_FOLLOWERS = ("leader", "salesperson", "creator")
RESERVED = frozenset(
    {"gateway", "postmaster", "abuse", "bounce", "held", "mailer-daemon", "root", "noreply", "no-reply"}
)
LOCAL_PART = r"^[a-z][a-z0-9-]{0,40}$"
_DEFAULT_STAGES = ("new", "qualified", "proposition")


def _condition(value: str) -> str:
    if value:
        parse_condition(value)
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(strict=False)]
Texts = dict[Literal["zh-TW", "en"], str]


class Team(Model):
    """`teams`: people who work on the same records."""

    name: str
    leader: str = ""
    members: tuple[str, ...] = Field(default=(), strict=False)

    @property
    def everybody(self) -> tuple[str, ...]:
        """Members and leader, each once."""
        return tuple(dict.fromkeys((*self.members, *filter(None, (self.leader,)))))


class _Follow(Model):
    team: Words = ()
    who: Annotated[str, Field(min_length=1)]
    subtypes: Words
    when: Annotated[str, AfterValidator(_condition)] = ""
    delivery: Delivery | None = None


class Intake(Model):
    """`intake`: an address that creates records."""

    address: Annotated[str, Field(pattern=LOCAL_PART)]
    creates: str
    team: str = ""
    senders: Literal["people", "customers", "everyone"] = Field(default="people", alias="from")
    refusal: Texts = Field(default_factory=dict)
    assign: Literal["", "leader", "round-robin", "fewest-open"] = ""


class Quantity(Model):
    """So many messages in so many minutes."""

    messages: Annotated[int, Field(gt=0, le=1_000_000)]
    minutes: Annotated[int, Field(gt=0, le=10_080)]


class _Loop(Quantity):
    messages: Annotated[int, Field(gt=0)] = 20
    minutes: Annotated[int, Field(gt=0)] = 120


class _PersonLimit(Quantity):
    messages: Annotated[int, Field(gt=0)] = 3_000
    minutes: Annotated[int, Field(gt=0)] = 10


class _AuthorLimit(Quantity):
    messages: Annotated[int, Field(gt=0)] = 200
    minutes: Annotated[int, Field(gt=0)] = 60


class _NodeLimit(Quantity):
    messages: Annotated[int, Field(gt=0)] = 20_000
    minutes: Annotated[int, Field(gt=0)] = 60


class Limits(Model):
    """`limits`: how much is too much, and what of a mail is not passed on."""

    loop: _Loop = _Loop()
    person: _PersonLimit = _PersonLimit()
    author: _AuthorLimit = _AuthorLimit()
    node: _NodeLimit = _NodeLimit()
    executable: Literal["withhold", "hold", "pass"] = "withhold"


class _KindSubtype(Model):
    name: Texts
    origin: Words = Field(default=(), alias="from")
    to: str = ""
    internal: bool = True


class _Kind(Model):
    prefix: Annotated[str, Field(pattern=r"^[A-Z]{1,4}$")]
    name: Texts = Field(default_factory=dict)
    states: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    subtypes: dict[str, _KindSubtype] = Field(default_factory=dict)


class _File(Model):
    teams: dict[str, Team]
    follow: tuple[_Follow, ...] = Field(default=(), strict=False)
    intake: tuple[Intake, ...] = Field(default=(), strict=False)
    customer_follows: dict[str, bool] = Field(default_factory=dict)
    on_team_change: Literal["add", "replace"] = "add"
    lead_stages: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = _DEFAULT_STAGES
    confirm_twice: tuple[str, ...] = Field(default=(), strict=False)
    limits: Limits = Limits()
    kinds: dict[str, _Kind] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FollowRule:
    """An entry of `follow`, with the line it begins on: what makes followers."""

    line: int
    teams: tuple[str, ...]
    who: str
    subtypes: tuple[str, ...]
    when: Condition = Condition()
    delivery: Delivery | None = None

    @property
    def place(self) -> str:
        """Where the rule stands, as an administrator finds it."""
        return f"{FILE}:{self.line}"

    def applies(self, teams: tuple[str, ...]) -> bool:
        """Whether the rule speaks of a record that has, or had, these teams."""
        return not self.teams or any(team in self.teams for team in teams)


@dataclass(frozen=True)
class Rules:
    """The rules in force."""

    teams: Mapping[str, Team] = field(default_factory=dict)
    follow: tuple[FollowRule, ...] = ()
    intake: Mapping[str, Intake] = field(default_factory=dict)
    customer_follows: Mapping[str, bool] = field(default_factory=dict)
    replace_teams: bool = False
    lead_stages: tuple[str, ...] = _DEFAULT_STAGES
    confirm_twice: frozenset[str] = frozenset()
    limits: Limits = Limits()
    kinds: Kinds = field(default_factory=Kinds)

    def first_team(self, person: str) -> str:
        """Return the first team `person` belongs to, or ""."""
        return next(iter(self.teams_of(person)), "")

    def teams_of(self, person: str) -> tuple[str, ...]:
        """Return the teams `person` belongs to, in the order of the file."""
        return tuple(key for key, team in self.teams.items() if person in team.everybody)


_CUSTOMER_FOLLOWS = {"quotation.sent": False, "quotation.confirmed": True, "invoice.validated": False}


def load(document: Document) -> tuple[Rules, list[Problem]]:
    """Return the rules of rules.yaml, and the problems of names. Raises `Bad` where it has no right shape.

    People are checked by the site.
    """
    read = validate(document, _File)
    kinds = Kinds(_kinds(read))
    checks = (_check_kinds, _check_names, _check_words, _check_stages)
    problems = [*(each for check in checks for each in check(document, read)), *_check_subtypes(document, read, kinds)]
    follow = tuple(
        FollowRule(
            line=document.line("follow", n),
            teams=rule.team,
            who=address.key if (address := parse_address(rule.who)) else rule.who,
            subtypes=rule.subtypes,
            when=parse_condition(rule.when) if rule.when else Condition(),
            delivery=rule.delivery,
        )
        for n, rule in enumerate(read.follow)
    )
    rules = Rules(
        teams=read.teams,
        follow=follow,
        intake={intake.address: intake for intake in read.intake},
        customer_follows={**_CUSTOMER_FOLLOWS, **read.customer_follows},
        replace_teams=read.on_team_change == "replace",
        lead_stages=read.lead_stages,
        confirm_twice=frozenset(command.name for word in read.confirm_twice if (command := named(word))),
        limits=read.limits,
        kinds=kinds,
    )
    return rules, problems


def _check_stages(document: Document, read: _File) -> Iterator[Problem]:
    """Yield what is wrong with the stages of leads: each is a folder of its own, beside won and lost."""
    known = {"won": "won", "lost": "lost"}
    for number, stage in enumerate(read.lead_stages):
        folder = stage.strip().replace("/", "-").casefold()
        if not folder:
            yield document.problem(("lead_stages", number), "a stage has no name", "give it one")
        elif folder in known:
            what = f"the stage {stage!r} cannot be told from {known[folder]!r}"
            yield document.problem(("lead_stages", number), what, "call it otherwise")
        known[folder] = stage


def _kinds(read: _File) -> list[Kind]:
    kinds = []
    for name, kind in read.kinds.items():
        created = Subtype(
            f"{name}.created",
            {"zh-TW": f"{kind.name.get('zh-TW', name)}建立", "en": f"{name.capitalize()} created"},
            to=kind.states[0],
        )
        subtypes = [
            Subtype(
                f"{name}.{key}",
                {str(language): text for language, text in s.name.items()},
                internal=s.internal,
                origins=frozenset(s.origin),
                to=s.to,
            )
            for key, s in kind.subtypes.items()
        ]
        names = {"en": kind.name.get("en", name.capitalize()), "zh-TW": kind.name.get("zh-TW", name)}
        kinds.append(Kind(name, names, kind.prefix, kind.states, (created, *subtypes)))
    return kinds


def _check_kinds(document: Document, read: _File) -> list[Problem]:
    problems = []
    prefixes = {kind.prefix: kind.name for kind in BUILT_IN}
    built_in = {*(kind.name for kind in BUILT_IN), STAGE}  # in the folder Stages cards stand
    for name, kind in read.kinds.items():
        where: Where = ("kinds", name)
        if name in built_in or not name.isidentifier() or not name.islower():
            problems.append(
                document.at_key(where, f"{name!r} cannot name a further kind", "use another word in lower case")
            )
        if prefixes.setdefault(kind.prefix, name) != name:
            problems.append(
                document.problem(
                    (*where, "prefix"), f"the prefix {kind.prefix} is {prefixes[kind.prefix]}'s", "take another"
                )
            )
        for key, subtype in kind.subtypes.items():
            at = (*where, "subtypes", key)
            if key == "created":
                problems.append(document.at_key(at, "every kind has `created` already", "take it out"))
            for state, what in [*((s, "from") for s in subtype.origin), *((s, "to") for s in [subtype.to] if s)]:
                if state not in kind.states:
                    problems.append(
                        document.problem(
                            (*at, what), f"unknown state {state!r}", f"the states are {', '.join(kind.states)}"
                        )
                    )
    return problems


def _check_names(document: Document, read: _File) -> list[Problem]:
    """Teams, intake addresses and reserved words share one name space: the local parts we own."""
    problems = []
    for key in read.teams:
        if key in RESERVED or not REFERENCE.fullmatch(key) or not key.islower():
            problems.append(
                document.at_key(
                    ("teams", key),
                    f"{key!r} cannot name a team",
                    "use a lower-case letter, then up to 23 letters or digits",
                )
            )
    taken: dict[str, str] = dict.fromkeys(read.teams, "a team")
    for n, intake in enumerate(read.intake):
        where: Where = ("intake", n, "address")
        if intake.address in RESERVED:
            problems.append(document.problem(where, f"the address {intake.address!r} is reserved", "take another"))
        elif intake.address in taken:
            problems.append(
                document.problem(where, f"{intake.address!r} is {taken[intake.address]} already", "take another")
            )
        taken[intake.address] = "an intake address"
        if intake.creates not in {*read.kinds, *(kind.name for kind in BUILT_IN if kind.name != TEAM)}:
            problems.append(
                document.problem(
                    ("intake", n, "creates"),
                    f"unknown kind {intake.creates!r}",
                    "quotation, lead, invoice, or one of kinds",
                )
            )
        if intake.team and intake.team not in read.teams:
            problems.append(document.problem(("intake", n, "team"), f"unknown team {intake.team!r}", _teams(read)))
    for n, rule in enumerate(read.follow):
        for team in rule.team:
            if team not in read.teams:
                problems.append(document.problem(("follow", n, "team"), f"unknown team {team!r}", _teams(read)))
        if rule.who.startswith("group:") and rule.who.removeprefix("group:") not in read.teams:
            problems.append(document.problem(("follow", n, "who"), f"unknown team in {rule.who!r}", _teams(read)))
    return problems


def _check_words(document: Document, read: _File) -> list[Problem]:
    """Commands that ask twice are commands, and who is assigned by rule is of a team."""
    problems = []
    for n, word in enumerate(read.confirm_twice):
        if named(word) is None:
            mend = f"the commands are {', '.join(BY_NAME)}"
            problems.append(document.problem(("confirm_twice", n), f"unknown command {word!r}", mend))
    for n, intake in enumerate(read.intake):
        if intake.assign and not intake.team:
            mend = "name the team whose people they are"
            problems.append(document.problem(("intake", n, "assign"), "assign needs a team", mend))
    return problems


def _teams(read: _File) -> str:
    return f"the teams are {', '.join(read.teams)}" if read.teams else "add it under teams"


def _check_subtypes(document: Document, read: _File, kinds: Kinds) -> list[Problem]:
    problems = []
    for n, rule in enumerate(read.follow):
        for m, pattern in enumerate(rule.subtypes):
            if not any(matches([pattern], name) for name in kinds.subtypes):
                where: Where = (
                    ("follow", n, "subtypes", m)
                    if isinstance(document.data["follow"][n]["subtypes"], list)
                    else ("follow", n, "subtypes")
                )
                problems.append(
                    document.problem(where, f"unknown subtype {pattern!r}", f"known: {', '.join(kinds.subtypes)}")
                )
    for name in read.customer_follows:
        if name not in kinds.subtypes or kinds.subtypes[name].internal:
            problems.append(
                document.at_key(
                    ("customer_follows", name),
                    f"{name!r} is no subtype a customer can see",
                    "known: quotation.sent, quotation.confirmed, invoice.validated …",
                )
            )
    return problems
