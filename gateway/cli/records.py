"""announce, record, follow, unfollow, explain: records and who follows them."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from gateway.cli.app import NO, AsJson, Open, fail, foreign, iso, opened, operator, out, say, show_json, show_table
from gateway.following import Follower, followers
from gateway.mail.address import parse_address
from gateway.notify.recipients import choose
from gateway.records.kinds import DEFAULT_SUBTYPES, matches
from gateway.records.lifecycle import shown_party
from gateway.records.record import CUSTOMER, Choice, Record
from gateway.store import audit, messages, records, suppressed
from gateway.store import followers as store_followers
from gateway.store.messages import Author, Details, Message
from gateway.store.session import Transaction
from gateway.worker import now_ms

record = App(name="record", help="Records and their threads.")


@record.command(name="list")
def list_records(
    *,
    kind: str = "",
    state: str = "",
    team: str = "",
    last: Annotated[int, Parameter(help="How many of the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List records, newest first."""
    with opened() as site, site.store.read() as tx:
        found = records.listed(tx, kind, state, team, last)
    rows = [
        {
            "record": r.ref, "kind": r.kind, "title": r.title, "state": r.state, "team": r.team,
            "salesperson": r.salesperson, "customer": shown_party(r.customer), "created": iso(r.created_at),
        }
        for r in found
    ]  # fmt: skip
    if as_json:
        show_json(rows)
    else:
        show_table(
            rows, ("record", "kind", "state", "title", "team", "salesperson", "customer"), "There are no such records."
        )
    if not rows:
        sys.exit(NO)


@record.command(name="show")
def show_record(
    ref: str,
    /,
    *,
    last: Annotated[int | None, Parameter(help="Only so many of the newest messages.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one record: its fields, its followers, its thread, and who heard of what."""
    with opened() as site, site.store.read() as tx:
        found = _found(tx, ref)
        shown = describe(site, tx, found, last)
    if as_json:
        show_json(shown)
    else:
        _print_record(shown)


def _found(tx: Transaction, ref: str) -> Record:
    found = records.find(tx, ref)
    if found is None:
        fail(f"there is no record {ref}", NO)
    return found


def describe(site: Open, tx: Transaction, found: Record, last: int | None) -> dict[str, Any]:
    """Return a record as `record show --json` prints it."""
    kinds = site.site.rules.kinds
    known = [subtype.name for subtype in kinds.of_record(found.kind)]
    thread = messages.thread(tx, found.id, last)
    attached = messages.attachments(tx, [message.id for message in thread])
    return {
        "record": found.ref,
        "kind": found.kind,
        "title": found.title,
        "state": found.state,
        "alias": str(site.addresses.alias(found.ref)),
        "team": found.team,
        "salesperson": found.salesperson,
        "customer": {
            "name": found.customer.name, "email": next(iter(found.customer.emails), ""),
            "emails": list(found.customer.emails), "language": found.customer.language, "key": found.customer.key,
        },
        "fields": dict(found.fields),
        "lines": [{"name": line.name, "quantity": line.quantity, "price": line.price} for line in found.lines],
        "origin": found.origin,
        "created": iso(found.created_at),
        "followers": [_follower(each, known) for each in _followers(site, tx, found)],
        "thread": [_message(each, [kept.name for kept in attached.get(each.id, [])]) for each in thread],
    }  # fmt: skip


def _followers(site: Open, tx: Transaction, found: Record) -> list[Follower]:
    choices = store_followers.choices(tx, [found.id])[found.id]
    return followers(found, choices, site.site.people, site.site.rules)


def _follower(each: Follower, known: Sequence[str]) -> dict[str, Any]:
    return {
        "who": each.who, "email": each.emails[0], "name": each.name, "outsider": each.outsider,
        "subtypes": each.wants(known), "without": [*each.without, *each.taken_off],
        "why": [str(grant.reason) for grant in each.grants],
    }  # fmt: skip


def _message(each: Message, attached: Sequence[str]) -> dict[str, Any]:
    return {
        "message": f"<{each.message_id}>",
        "original_id": f"<{each.original_id}>" if each.original_id else "",
        "subtype": each.subtype,
        "internal": each.internal,
        "author": {"who": each.author.who, "name": each.author.name, "email": each.author.email},
        "at": iso(each.at),
        "subject": each.subject,
        "text": each.text,
        "quoted": each.quoted,
        "attachments": list(attached),
        "changes": [{"name": c.name, "old": c.old, "new": c.new} for c in each.changes],
        "authenticated": each.details.authenticated,
        "authentication": list(each.details.results),
        "withheld": [withheld.replace("\t", ": ", 1).replace("\t", " ") for withheld in each.details.withheld],
        "automatic": each.details.automatic,
        "defects": list(each.details.defects),
        "state": each.state,
        "heard": [dict(heard, why=heard["reason"]) for heard in each.hears],
        "not_heard": [{"who": left["who"], "why": left["reason"]} for left in each.not_hears],
    }


def _print_record(shown: dict[str, Any]) -> None:
    out.print(f"{shown['record']}  {shown['kind']}  {shown['state']}  {shown['title']}", style="bold", markup=False)
    for name in ("alias", "team", "salesperson", "origin", "created"):
        if shown[name]:
            out.print(f"  {name}: {shown[name]}", markup=False)
    if shown["customer"]["name"] or shown["customer"]["email"]:
        out.print(f"  customer: {shown['customer']['name']} <{shown['customer']['email']}>", markup=False)
    for name, value in shown["fields"].items():
        out.print(f"  {name}: {value}", markup=False)
    out.print("\nFollowers", style="bold")
    rows = [
        {**each, "subtypes": ", ".join(each["subtypes"]), "why": ", ".join(dict.fromkeys(each["why"]))}
        for each in shown["followers"]
    ]
    show_table(rows, ("who", "email", "subtypes", "why"), "  nobody")
    out.print("\nThread", style="bold")
    for each in shown["thread"]:
        author = each["author"]
        out.print(
            f"\n{each['at']}  {each['subtype']}  {author['name']} {author['email']}".rstrip(),
            style="cyan",
            markup=False,
        )
        for change in each["changes"]:
            out.print(f"  {change['name']}: {change['old'] or '–'} → {change['new'] or '–'}", markup=False)
        if each["text"]:
            out.print(foreign("  " + each["text"].replace("\n", "\n  ")), markup=False)
        for said in each["authentication"]:
            out.print(f"  {said}", style="dim", markup=False)
        for withheld in each["withheld"]:
            out.print(f"  withheld: {withheld}", markup=False)
        if each["attachments"]:
            out.print(f"  attached: {', '.join(each['attachments'])}", markup=False)
        for heard in each["heard"]:
            out.print(f"  → {heard['who']} <{heard['email']}>: {heard['why']}", style="dim", markup=False)


def follow(ref: str, who: str, /, *subtypes: str) -> None:
    """Let WHO (a person, group:TEAM, customer or an address) follow REF: Discussions, or SUBTYPES."""
    with opened() as site, site.store.write() as tx:
        found = _found(tx, ref)
        key = found.party(_who(site, who))
        _check_subtypes(site, found, subtypes)
        store_followers.choose(tx, found.id, Choice(key, subtypes or DEFAULT_SUBTYPES))
        records.touch(tx, found.id, now_ms())
        audit.append(tx, operator(), "follow", found.ref, now_ms(), follower=key, subtypes=list(subtypes))
    out.print(f"{who} follows {found.ref}: {', '.join(subtypes or DEFAULT_SUBTYPES)}", markup=False)
    internal = {each.name for each in site.site.rules.kinds.of_record(found.kind) if each.internal}
    if subtypes and set(subtypes) <= internal and key not in site.site.people.by_key and not key.startswith("group:"):
        say("but nobody outside hears of what is internal")


def unfollow(ref: str, who: str, /, *subtypes: str) -> None:
    """Let WHO no longer hear of REF: of anything, or of SUBTYPES."""
    with opened() as site, site.store.write() as tx:
        found = _found(tx, ref)
        key = found.party(_who(site, who))
        _check_subtypes(site, found, subtypes)
        store_followers.choose(tx, found.id, Choice(key, without=subtypes or ("*",)))
        records.touch(tx, found.id, now_ms())
        audit.append(tx, operator(), "unfollow", found.ref, now_ms(), follower=key, subtypes=list(subtypes))
    out.print(f"{who} no longer follows {found.ref}: {', '.join(subtypes) or 'anything'}", markup=False)


def _who(site: Open, who: str) -> str:
    people, rules = site.site.people, site.site.rules
    if who in people.by_key or who == CUSTOMER:
        return who
    if who.startswith("group:") and who.removeprefix("group:") in rules.teams:
        return who
    if who in people.customers:
        return people.customers[who].email[0]
    address = parse_address(who)
    if address is None:
        fail(f"{who!r} is nobody known: a person ({', '.join(people.by_key)}), group:TEAM, customer or an address", NO)
    person = people.person(address.key)
    return person.key if person else address.key


def _check_subtypes(site: Open, found: Record, subtypes: Sequence[str]) -> None:
    known = [subtype.name for subtype in site.site.rules.kinds.of_record(found.kind)]
    for pattern in subtypes:
        if not any(matches([pattern], name) for name in known):
            fail(f"unknown subtype {pattern!r}; a {found.kind} has {', '.join(known)}", NO)


def explain(
    ref: str, event: str, /, *, actor: Annotated[str, Parameter(help="Who would do it.")] = "", as_json: AsJson = False
) -> None:
    """Tell who would hear if EVENT happened to REF, by which rule, and who would not, and why."""
    with opened() as site, site.store.read() as tx:
        found = _found(tx, ref)
        subtype = site.site.rules.kinds.subtypes.get(event)
        if subtype is None or subtype not in site.site.rules.kinds.of_record(found.kind):
            known = [each.name for each in site.site.rules.kinds.of_record(found.kind)]
            fail(f"unknown event {event!r}; a {found.kind} has {', '.join(known)}", NO)
        their = _followers(site, tx, found)
        no_more = suppressed.suppressed(tx, [email for each in their for email in each.emails])
    person = site.site.people.by_key.get(actor)
    if actor and person is None:
        fail(f"--actor {actor}: unknown person; the people are {', '.join(site.site.people.by_key)}", NO)
    author = Author(actor, person.name, person.email[0]) if person else Author()
    imagined = Message(
        0,
        found.id,
        event,
        subtype.internal,
        now_ms(),
        author,
        "",
        "",
        "",
        "",
        "",
        None,
        (),
        (),
        (),
        Details(),
        (),
        (),
        "pending",
    )
    chosen = choose(imagined, subtype, found, their, site.site.people, no_more)
    hears = [{"who": h.who, "email": h.email, "reason": str(h.reason), "delivery": h.delivery} for h in chosen.hears]
    left = [{"who": each.who, "reason": each.reason} for each in chosen.not_hears]
    if as_json:
        show_json({"hears": hears, "not": left})
        return
    out.print(f"If {event} happened to {found.ref} now, these would hear of it:", style="bold", markup=False)
    show_table(hears, ("who", "email", "reason", "delivery"), "  nobody")
    out.print("\nAnd these would not:", style="bold")
    show_table(left, ("who", "reason"), "  nobody")
