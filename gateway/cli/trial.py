"""try: what would become of a mail, step by step; nothing is changed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.alias import named_in_chinese
from gateway.arrive.crowd import inside
from gateway.cli.app import NO, USAGE, Open, fail, opened, out, say
from gateway.decide.post import Desk
from gateway.decide.read import Read, Reader
from gateway.decide.resolver import Resolver
from gateway.decide.route import Nowhere, route
from gateway.decide.serve import decide
from gateway.following import followers
from gateway.mail.parse import Mail, parse
from gateway.mail.quoting import begins_quoted, split_reply
from gateway.notify.recipients import Chosen, choose
from gateway.records.commands import split_commands
from gateway.records.kinds import Subtype
from gateway.records.record import Record
from gateway.store import arrivals, messages, records, suppressed
from gateway.store import followers as store_followers
from gateway.store.arrivals import Received, Settled
from gateway.store.lease import Claim
from gateway.store.messages import Message
from gateway.store.session import Transaction
from gateway.worker import now_ms

_DISPOSITIONS = {"posted": "accept", "done": "accept", "held": "hold", "refused": "refuse", "discarded": "discard"}
_TO_FIELDS = ("x-original-to", "delivered-to", "envelope-to")


def try_mails(
    *files: Path,
    to: Annotated[list[str] | None, Parameter(help="Addresses it comes to; default: ours in To and Cc.")] = None,
    peer: Annotated[str, Parameter(help="The host it comes from.")] = "127.0.0.1",
    return_path: Annotated[str | None, Parameter(help="Its return path; default: the author.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON line for each file.")] = False,
) -> None:
    """Tell what would become of the mails in FILES, as if they came by SMTP now; nothing is changed."""
    if not files:
        fail("name at least one file", USAGE)
    with opened() as site:
        reader = Reader(site.site, Resolver(site.site.settings.authentication.resolver))
        unread = False
        for file in files:
            try:
                content = file.read_bytes() if str(file) != "-" else sys.stdin.buffer.read()
            except OSError as error:
                say(f"replygate: {file}: cannot be read: {error.strerror}")
                unread = True
                continue
            shown = attempt(site, reader, content, to or [], peer, return_path)
            if as_json:
                sys.stdout.write(json.dumps({"file": str(file), **shown}, ensure_ascii=False) + "\n")
            else:
                _print(str(file), shown)
        reader.close()
    if unread:
        sys.exit(NO)


def attempt(
    site: Open, reader: Reader, content: bytes, to: Sequence[str], peer: str, return_path: str | None
) -> dict[str, Any]:  # fmt: skip
    """Return what would become of a mail: decided in a transaction that is taken back."""
    content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    mail = parse(content)
    smtp = site.site.settings.smtp
    author = str(mail.author.address) if mail.author else ""
    recipients = tuple(to) or _ours(site, mail)
    received = Received(
        now_ms(), "smtp", peer, "try", author if return_path is None else return_path.strip("<>"),
        inside(peer, smtp.trusted_networks if smtp else ()), recipients, content,
    )  # fmt: skip
    read = reader.read_one(arrivals.imagined(received))
    shown = _known(read)
    if not recipients:
        return {**shown, "disposition": "refuse", "reason": "no address of ours in To or Cc; name one with --to"}
    with site.store.write() as tx:
        trial = tx.begin_nested()
        shown |= _decided(tx, site, read, received)
        trial.rollback()
    return shown


def _ours(site: Open, mail: Mail) -> tuple[str, ...]:
    chinese = named_in_chinese([*mail.header.all("to"), *mail.header.all("cc")], site.addresses.domain)
    named = [mailbox.address for mailbox in (*mail.to, *mail.cc, *chinese)]
    traced = [site.addresses.parse(mail.header.first(name)) for name in _TO_FIELDS]
    ours = [str(each) for each in (*named, *traced) if each is not None and site.addresses.owns(each)]
    return tuple(dict.fromkeys(ours))


def _known(read: Read) -> dict[str, Any]:
    """Return what is known of a mail wherever it goes."""
    mail, identity = read.mail, read.identity
    reply = split_reply(mail.text)
    own = identity.person is not None and not begins_quoted(mail.text)
    given, text = split_commands(reply.text) if own else ((), reply.text)
    return {
        "disposition": "", "reason": "", "record": "", "author": identity.email,
        "authenticated": identity.authenticated, "how": identity.how, "subtype": "",
        "text": text, "quoted": reply.quoted,
        "attachments": [each.name for each in mail.attachments],
        "withheld": [{"name": e.name, "why": e.why, "detail": e.detail} for e in read.inspection.withheld],
        "defects": list(mail.defects),
        "commands": [
            {"command": e.command.name if e.command else e.word, "arguments": list(e.arguments)} for e in given
        ],
        "results": [
            {"method": e.method, "result": e.verdict, "domain": e.domain, "detail": e.detail} for e in identity.results
        ],
        "recipients": [], "not": [], "to": [], "also": [],
    }  # fmt: skip


def _decided(tx: Transaction, site: Open, read: Read, received: Received) -> dict[str, Any]:
    rules = site.site.rules
    unknown = [
        each
        for each in received.recipients
        if isinstance(route(each, site.addresses, rules, lambda ref: records.epoch(tx, ref)), Nowhere)
    ]
    if len(unknown) == len(received.recipients):
        return {"disposition": "refuse", "reason": "550 5.1.1 no such address here", "to": list(unknown)}
    (made,) = arrivals.keep_many(tx, [received])
    (arrival,) = arrivals.load(tx, [Claim(made, 0, 1)])
    try:
        outcomes = decide(tx, Desk(site.site, site.addresses), Read(arrival, read.mail, read.identity, read.inspection))
    except Exception as error:  # noqa: BLE001 (what would be shunted is said so)
        return {"disposition": "shunt", "reason": f"{type(error).__name__}: {error}"}
    outcome, *others = [each for each in outcomes if each.cause != "same record"] or outcomes
    also = [_outcome(tx, site, each) for each in others]
    return {**_outcome(tx, site, outcome), "to": list(received.recipients), "also": also}


def _outcome(tx: Transaction, site: Open, outcome: Settled) -> dict[str, Any]:
    record = records.load(tx, [outcome.record_id]).get(outcome.record_id) if outcome.record_id else None
    shown: dict[str, Any] = {
        "disposition": _DISPOSITIONS.get(outcome.state, outcome.state),
        "reason": outcome.reason, "cause": outcome.cause, "record": record.ref if record else "",
    }  # fmt: skip
    found = messages.load(tx, [outcome.message_id]) if outcome.message_id else []
    if not found or record is None:
        return shown
    chosen = _chosen(tx, site, record, found[0])
    return shown | {
        "subtype": found[0].subtype, "text": found[0].text, "quoted": found[0].quoted,
        "automatic": found[0].details.automatic, "inside": found[0].details.inside,
        "recipients": [{"who": each.who, "email": each.email, "why": str(each.reason)} for each in chosen.hears],
        "not": [{"who": each.who, "why": each.reason} for each in chosen.not_hears],
    }  # fmt: skip


def _chosen(tx: Transaction, site: Open, record: Record, message: Message) -> Chosen:
    choices = store_followers.choices(tx, [record.id])[record.id]
    their = followers(record, choices, site.site.people, site.site.rules)
    subtype = site.site.rules.kinds.subtypes.get(message.subtype) or Subtype(message.subtype, {}, message.internal)
    emails = [email for each in their for email in each.emails]
    return choose(message, subtype, record, their, site.site.people, suppressed.suppressed(tx, emails))


def _print(file: str, shown: dict[str, Any]) -> None:
    out.print(file, style="bold", markup=False)
    sure = f"proved by {shown['how']}" if shown["authenticated"] else "nothing proves that they wrote it"
    out.print(f"  from: {shown['author'] or 'not exactly one well-formed From'}; {sure}", markup=False)
    for each in shown["results"]:
        out.print(f"    {each['method']}: {each['result']} {each['domain']} {each['detail']}".rstrip(), markup=False)
    for name in ("to", "defects", "attachments"):
        if shown[name]:
            out.print(f"  {name}: {', '.join(shown[name])}", markup=False)
    for each in shown["withheld"]:
        out.print(f"  withheld: {each['name']}: {each['why']} {each['detail']}".rstrip(), markup=False)
    for each in shown["commands"]:
        out.print(f"  command: /{each['command']} {' '.join(each['arguments'])}".rstrip(), markup=False)
    for decided in (shown, *shown["also"]):  # at one address after the other
        what = " ".join(filter(None, (decided["disposition"], decided.get("subtype", ""), decided["record"])))
        why = f": {decided['reason']}" if decided["reason"] else ""
        out.print(f"  decided: {what}{why}", style="cyan", markup=False)
        for name, shown_as in (("automatic", "a machine's"), ("inside", "heard inside alone")):
            if decided.get(name):
                out.print(f"    {shown_as}: {decided[name]}", markup=False)
        for each in decided.get("recipients", ()):
            out.print(f"  → {each['who']} <{each['email']}>: {each['why']}", markup=False)
        for each in decided.get("not", ()):
            out.print(f"  – {each['who']}: {each['why']}", style="dim", markup=False)
