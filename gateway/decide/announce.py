"""Events of the record system: each is taken whole or refused whole, and answered at once.

*Failure:* a bad event is `Refused` with every problem by field and value; the same `id` again
changes nothing and gets the first answer.
"""

import json
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.decide.derive import name_in_origin
from gateway.decide.intake import complete, known
from gateway.decide.post import Desk, Posted, Text, create, happen, person_author, post
from gateway.decide.public import Whose
from gateway.decide.quoted import quoting
from gateway.mail.address import parse_address
from gateway.mail.header import one_line
from gateway.mail.parse import Attachment, file_name
from gateway.records import lifecycle
from gateway.records.conditions import number
from gateway.records.kinds import DISCUSSION, LEAD, NOTE, TEAM, Kind, Subtype
from gateway.records.lifecycle import Edit, Refusal
from gateway.records.record import REFERENCE, TITLE_MAX, Line, Party, Record
from gateway.rules import RESERVED
from gateway.store import announced, records
from gateway.store.messages import Author, Details
from gateway.store.session import Conflict, Store, Transaction

ATTACHMENT_MAX = 25 * 1024 * 1024  # octets
_PLAIN = ("changed", "message")


def _text(value: object) -> object:
    """Let a number stand for its text: 120000 and 120000.00 are what a record system writes."""
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        message = "holds a character that no text may hold (NUL or half a surrogate pair)"
        raise ValueError(message)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text_ = Annotated[str, BeforeValidator(_text), Field(max_length=100_000)]
Key = Annotated[str, BeforeValidator(_text), Field(max_length=100)]
Short = Annotated[str, BeforeValidator(_text), Field(max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Customer(_Strict):
    name: Short = ""
    email: Short = ""
    language: Short = ""


class _Line(_Strict):
    name: Short
    quantity: Short = ""
    price: Short = ""


class Event(_Strict):
    """An event as it was announced, its own shape checked, its place in the site not yet."""

    id: Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=200)] | None = None
    event: Short
    ref: Short | None = None
    title: Short | None = None
    customer: _Customer | None = None
    salesperson: Short | None = None
    team: Short | None = None
    actor: Short | None = None
    origin: Short | None = None
    fields: dict[Key, Text_ | None] = Field(default_factory=dict, max_length=200)
    lines: Annotated[list[_Line], Field(max_length=1_000)] | None = None
    body: Text_ = ""
    note: Text_ = ""
    attachments: Annotated[list[str], Field(max_length=50)] = Field(default_factory=list)
    mailed: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an event: the field, its value, and the problem."""

    field: str
    value: str
    problem: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that changed nothing, with everything that is wrong with it."""

    problems: tuple[Problem, ...]


def parse_event(given: object) -> Event | Refused:
    """Read one event from what JSON gave."""
    if not isinstance(given, Mapping):
        return Refused((Problem("", _shown(given), "an event is a JSON object"),))
    try:
        return Event.model_validate(dict(given))
    except ValidationError as error:
        return Refused(tuple(_problem(dict(each)) for each in error.errors(include_url=False)))


def _problem(error: dict[str, Any]) -> Problem:
    where = ".".join(str(part) for part in error["loc"])
    known_keys = ", ".join(Event.model_fields)
    what = {"extra_forbidden": f"unknown field; known are {known_keys}", "missing": "is required"}
    said = str(error["msg"])
    return Problem(where, _shown(error.get("input")), what.get(error["type"], said[:1].lower() + said[1:]))


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:200].encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class _Checked:
    """An event whose every name means something in the site."""

    event: Event
    kind: Kind | None
    subtype: Subtype | None
    record: Record | None
    customer: Party | None
    attachments: tuple[Attachment, ...]


def take(store: Store, desk: Desk, event: Event, folder: Path, now: int) -> dict[str, Any] | Refused:
    """Take an event in a transaction of its own, or refuse it.

    The same id or reference announced at the same moment is one event, and another that can be seen now.
    """
    try:
        return _take_once(store, desk, event, folder, now)
    except Conflict:
        return _take_once(store, desk, event, folder, now)


def _take_once(store: Store, desk: Desk, event: Event, folder: Path, now: int) -> dict[str, Any] | Refused:
    with store.write() as tx:
        answer = announce(tx, desk, event, folder, now)
        store.wake_others(tx)
    return answer


def announce(tx: Transaction, desk: Desk, event: Event, folder: Path, now: int) -> dict[str, Any] | Refused:
    """Take an event, or refuse it; `folder` is what attachments are relative to."""
    if event.id is not None and (answer := announced.answer_to(tx, event.id)) is not None:
        return {**answer, "repeated": True}
    problems: list[Problem] = []
    checked = _check(tx, desk, event, folder, problems)
    if problems:
        return Refused(tuple(problems))
    posted = _carry_out(tx, desk, checked, now)
    if isinstance(posted, Refusal):
        return Refused((Problem(posted.field, posted.value, str(posted.problem)),))
    if event.note:
        post(
            tx,
            desk,
            posted.record,
            NOTE,
            person_author(desk, event.actor or ""),
            Text(desk.addresses.untagged(event.note)),
            now,
        )
    answer = {
        "record": posted.record.ref,
        "alias": str(desk.addresses.alias(posted.record.ref)),
        "event": event.event,
        "message": f"<{posted.message_id}>" if posted.message_id else None,
        "repeated": False,
    }
    if event.id is not None:
        announced.keep(tx, event.id, answer, now)
    return answer


def _carry_out(tx: Transaction, desk: Desk, checked: _Checked, now: int) -> Posted | Refusal:
    event = checked.event
    actor = person_author(desk, event.actor or "")
    body = desk.addresses.untagged(event.body)
    said = Text(body, attachments=checked.attachments, details=Details(mailed=event.mailed, announced=event.id or ""))
    edit = Edit(
        title=one_line(event.title)[:TITLE_MAX] if event.title else None,
        team=event.team,
        salesperson=event.salesperson,
        customer=_merged(checked),
        origin=event.origin.upper() if event.origin else None,
        fields=event.fields,
        lines=tuple(Line(one_line(x.name), x.quantity, x.price) for x in event.lines)
        if event.lines is not None
        else None,
    )
    if checked.kind is not None and checked.subtype is not None and checked.subtype.creates:
        fields = {name: value for name, value in event.fields.items() if value is not None}
        edit = complete(
            desk,
            Edit(edit.title, edit.team, edit.salesperson, edit.customer, edit.origin, fields, edit.lines),
            salesperson="",
            team="",
        )
        made = create(tx, desk, checked.kind, event.ref or "", edit, actor, said, now)
        origin = records.find(tx, event.origin, lock=True) if event.origin else None
        if origin is not None:
            name_in_origin(tx, desk, origin, made.record, actor, now)
        return made
    if checked.record is None:
        return Refusal("ref", event.ref or "", lifecycle.Problem("there is no such record"))
    if event.event == "message":
        return post(tx, desk, checked.record, DISCUSSION, _speaker(event, actor), said, now)
    return happen(tx, desk, checked.record, checked.subtype, edit, actor, said, now)


def _merged(checked: _Checked) -> Party | None:
    """Return the customer of an event; one without an address keeps what the record knows of theirs."""
    given = checked.customer
    if given is None or given.emails or checked.record is None:
        return given
    old = checked.record.customer
    return Party(given.name or old.name, old.emails, given.language or old.language, old.key)


def _speaker(event: Event, actor: Author) -> Author:
    return actor if event.actor else Author(name=actor.name)


def _check(tx: Transaction, desk: Desk, event: Event, folder: Path, problems: list[Problem]) -> _Checked:
    """Look every name up; what is wrong goes to `problems`."""
    rules, people = desk.site.rules, desk.site.people
    subtype = rules.kinds.subtypes.get(event.event)
    if event.event not in _PLAIN and (subtype is None or not subtype.transition):
        known_events = [name for name, each in rules.kinds.subtypes.items() if each.transition]
        problems.append(
            Problem("event", event.event, f"unknown event; known are {', '.join([*known_events, *_PLAIN])}")
        )
    for field, key in (("salesperson", event.salesperson), ("actor", event.actor)):
        if key and key not in people.by_key:
            problems.append(Problem(field, key, f"unknown person; the people are {', '.join(people.by_key)}"))
    if event.team and event.team not in rules.teams:
        problems.append(Problem("team", event.team, f"unknown team; the teams are {', '.join(rules.teams)}"))
    problems += _misplaced(event)
    if event.origin and not records.exists(tx, event.origin):
        problems.append(Problem("origin", event.origin, "there is no such record"))
    stage = event.fields.get("stage")
    kind = rules.kinds.kind_of(event.event)
    record = _check_ref(tx, desk, event, kind, subtype, problems)
    lead = (kind.name if kind else record.kind if record else "") == LEAD.name
    if event.event == "changed" and lead and record and "stage" in event.fields and stage != record.fields.get("stage"):
        problems.append(Problem("fields.stage", stage or "", "a lead changes its stage by lead.stage"))
    elif stage and lead and stage not in rules.lead_stages:
        problems.append(Problem("fields.stage", stage, f"unknown stage; the stages are {', '.join(rules.lead_stages)}"))
    public = event.event == "message" or (subtype is not None and not subtype.internal)
    files = _check_files(event, folder, problems)
    checked = _Checked(event, kind, subtype, record, _check_customer(desk, event, problems), files)
    problems += _quoting(tx, desk, checked, public=public)
    return checked


def _quoting(tx: Transaction, desk: Desk, checked: _Checked, *, public: bool) -> list[Problem]:
    """Return what of an event quotes a note, and outsiders would read: title, terms and customer at any time."""
    event = checked.event
    said = {"body": event.body if public else "", "title": event.title or ""}
    said |= {"customer.name": event.customer.name if event.customer else ""}
    said |= {
        f"fields.{name}": value or "" for name, value in event.fields.items() if name not in lifecycle.INNER_FIELDS
    }
    for n, line in enumerate(event.lines or ()):
        said |= {f"lines.{n}.{name}": getattr(line, name) for name in ("name", "quantity", "price")}
    named = said.keys() - {"body", *(f"lines.{n}.name" for n, e in enumerate(event.lines or ()) if not number(e.price))}
    about = checked.record or (records.find(tx, event.origin) if event.origin else None)
    author = Whose(event.actor or "", record_id=about.id if about else None)
    return [
        Problem(name, said.get(name, "")[:200], "quotes an internal note, or is too long to be compared with them")
        for name in quoting(tx, desk, author, said, named, checked.attachments if public else ())
    ]


def _misplaced(event: Event) -> list[Problem]:
    """Return what an event says that it cannot say: nothing of it is left out silently."""
    if event.event == "changed":
        said = {"body": event.body, "attachments": ", ".join(event.attachments)}
        return [Problem(n, v[:200], "changed says nothing to anybody; use message") for n, v in said.items() if v]
    if event.event != "message":
        return []
    changes = ("title", "customer", "salesperson", "team", "origin", "lines")
    given = [name for name in changes if getattr(event, name) is not None] + ["fields"] * bool(event.fields)
    problems = [Problem(name, "", "a message changes nothing; use changed") for name in given]
    if not event.body.strip():
        problems.append(Problem("body", event.body, "a message needs a body"))
    return problems


def _check_ref(
    tx: Transaction, desk: Desk, event: Event, kind: Kind | None, subtype: Subtype | None, problems: list[Problem]
) -> Record | None:
    rules = desk.site.rules
    if subtype is not None and subtype.creates:
        ref = event.ref
        if ref is not None and not REFERENCE.fullmatch(ref):
            problems.append(Problem("ref", ref, "a reference is a letter, then up to 23 letters or digits"))
        elif ref is not None and (ref.lower() in {*rules.teams, *rules.intake, *RESERVED}):
            problems.append(Problem("ref", ref, "is the name of a team, an intake address or reserved"))
        elif ref is not None and records.exists(tx, ref):
            problems.append(Problem("ref", ref, "there is a record with this reference already"))
        return None
    if event.ref is None:
        problems.append(Problem("ref", "", "is required for every event but a creation"))
        return None
    record = records.find(tx, event.ref, lock=True)
    if record is None:
        problems.append(Problem("ref", event.ref, "there is no such record"))
    elif record.kind == TEAM and event.event != "message":
        problems.append(Problem("ref", event.ref, "is a team's thread, which only takes messages"))
    elif kind is not None and record.kind != kind.name:
        problems.append(Problem("event", event.event, f"{record.ref} is a {record.kind}, not a {kind.name}"))
    return record


def _check_customer(desk: Desk, event: Event, problems: list[Problem]) -> Party | None:
    given = event.customer
    if given is None:
        return None
    address = parse_address(given.email)
    if given.email and address is None:
        problems.append(Problem("customer.email", given.email, "is no address"))
        return None
    if given.language and given.language not in ("zh-TW", "en"):
        problems.append(Problem("customer.language", given.language, "use zh-TW or en"))
    if address is not None and desk.site.people.person(address.key):
        problems.append(Problem("customer.email", given.email, "is one of your own people's"))
    if address is not None and desk.addresses.owns(address):
        problems.append(Problem("customer.email", given.email, "is an address of the gateway itself"))
    return known(desk, Party(one_line(given.name), (address.key,) if address else (), given.language))


def _check_files(event: Event, folder: Path, problems: list[Problem]) -> tuple[Attachment, ...]:
    read = []
    for n, name in enumerate(event.attachments):
        try:
            path = (folder / name).resolve()
            if not path.is_relative_to(folder.resolve()):
                problems.append(Problem(f"attachments.{n}", name, "leads outside the folder of the event"))
                continue
            if path.exists() and not path.is_file():
                problems.append(Problem(f"attachments.{n}", name, "is no file"))
                continue
            if path.stat().st_size > ATTACHMENT_MAX:
                problems.append(Problem(f"attachments.{n}", name, "is larger than 25 MiB"))
                continue
            content = path.read_bytes()
        except (OSError, ValueError, RuntimeError) as error:
            problems.append(Problem(f"attachments.{n}", name, f"cannot be read: {getattr(error, 'strerror', error)}"))
            continue
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        read.append(Attachment(file_name(path.name) or "unnamed", media_type, content))
    return tuple(read)
