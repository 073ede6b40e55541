"""held, outbox: mails kept for a person, and mails on their way out."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from gateway.alias import HeldAddress, ReturnPath
from gateway.cli.app import (
    NO,
    AsJson,
    Id,
    Open,
    fail,
    foreign,
    iso,
    only_outsiders,
    opened,
    operator,
    out,
    show_json,
    show_table,
)
from gateway.decide.held import decide
from gateway.decide.route import Nowhere, route
from gateway.mail.parse import parse
from gateway.store import audit, records
from gateway.store import filing as store_filing
from gateway.store import held as store_held
from gateway.store import outbox as store_outbox
from gateway.store.held import Held
from gateway.store.session import Transaction
from gateway.worker import now_ms

_RESULT = ("method", "result", "domain", "detail")
STATES = ("queued", "deferred", "sent", "failed", "expired", "suppressed")
Filing = Annotated[bool, Parameter(negative="", help="What is filed into folders instead of what is sent.")]
held = App(name="held", help="Mails kept for a person: by policy (held), by a fault (shunted), or refused by a rule.")
outbox = App(name="outbox", help="Deliveries and their attempts.")


@held.command(name="list")
def list_held(
    *,
    refused: Annotated[bool, Parameter(negative="", help="What a rule refused, in place of what waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what is kept, newest first."""
    states = store_held.REFUSED if refused else store_held.KEPT
    with opened() as site, site.store.read() as tx:
        rows = [_row(each) for each in store_held.listed(tx, states=states)]
    if as_json:
        show_json(rows)
    else:
        nothing = "Nothing was refused." if refused else "Nothing is held."
        show_table(rows, ("id", "at", "from", "to", "subject", "cause", "reason"), nothing)


def _row(each: Held) -> dict[str, Any]:
    return {
        "id": each.id, "at": iso(each.at), "from": each.author, "to": each.to, "subject": each.subject,
        "state": each.state, "cause": each.cause, "reason": each.reason, "record": each.record,
        "results": [dict(zip(_RESULT, said, strict=False)) for said in each.results or ()],
    }  # fmt: skip


@held.command(name="show")
def show_held(
    held_id: Id,
    /,
    *,
    raw: Annotated[bool, Parameter(negative="", help="The mail byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one kept mail."""
    with opened() as site, site.store.read() as tx:
        found = store_held.find(tx, held_id)
        if found is None:
            fail(f"nothing is held as {held_id}", NO)
        octets = store_held.octets(tx, found)
    if raw:
        sys.stdout.buffer.write(octets)
        return
    mail = parse(octets)
    shown = {
        **_row(found),
        "text": mail.text,
        "attachments": [a.name for a in mail.attachments],
        "defects": list(mail.defects),
    }
    if as_json:
        show_json(shown)
        return
    for said in shown.pop("results"):
        out.print(f"{said['method']}: {said['result']} {said['domain']} {said['detail']}".rstrip(), markup=False)
    for name, value in shown.items():
        if name != "text" and value:
            out.print(foreign(f"{name}: {', '.join(value) if isinstance(value, list) else value}"), markup=False)
    out.print(foreign("\n" + mail.text), markup=False)


@held.command
def release(held_id: Id, /) -> None:
    """Let a kept mail through: it is decided again as one that you vouch for."""
    with opened() as site, site.store.write() as tx:
        _decide(site, tx, "release", held_id)
    out.print(f"{held_id} is released; a node decides it again now.")


@held.command(name="route")
def reroute(held_id: Id, address: str, /) -> None:
    """Let a kept mail through to another of our ADDRESSes: a record, a team, an intake."""
    with opened() as site, site.store.write() as tx:
        target = route(address, site.addresses, site.site.rules, lambda ref: records.epoch(tx, ref))
        if isinstance(target, Nowhere | ReturnPath | HeldAddress):
            fail(f"{address} leads nowhere: name a record, a team or an intake in {site.addresses.domain}", NO)
        _decide(site, tx, "route", held_id, address)
    out.print(f"{held_id} goes to {address}; a node decides it again now.", markup=False)


@held.command
def drop(
    held_id: Id,
    /,
    *,
    block: Annotated[bool, Parameter(negative="", help="Block its author from now on.")] = False,
) -> None:
    """Give a kept mail up: its octets stay, nobody hears of it."""
    with opened() as site, site.store.write() as tx:
        found = _decide(site, tx, "block" if block else "drop", held_id)
    what = ", and its author blocked" if block else ""
    where = ", where nobody proves who wrote" if block and not found.proved else ""
    out.print(f"{held_id} is dropped{what}{where}.")


def _decide(site: Open, tx: Transaction, action: str, held_id: Id, address: str = "") -> Held:
    found = store_held.find(tx, held_id)
    if found is None:
        fail(f"nothing is held as {held_id}", NO)
    if action == "block":
        only_outsiders(site, found.author)
    if not decide(tx, action, found, operator(), now_ms(), address):
        fail(f"nothing is held as {held_id} any more", NO)
    site.store.wake_others(tx)
    return found


@outbox.command(name="list")
def list_outbox(
    *,
    state: Annotated[str, Parameter(help=f"one of {', '.join(STATES)}; default: what waits")] = "",
    filing: Filing = False,
    as_json: AsJson = False,
) -> None:
    """List deliveries that wait, or those in one state, newest first."""
    if state and state not in STATES:
        fail(f"--state {state}: use one of {', '.join(STATES)}", 2)
    with opened() as site, site.store.read() as tx:
        if filing:
            rows = [_filing(each) for each in store_filing.listed(tx, state)]
            columns: tuple[str, ...] = ("id", "account", "folder", "state", "attempts", "answer")
        else:
            rows = [_delivery(each) for each in store_outbox.listed(tx, (state,) if state else store_outbox.WAITING)]
            columns = ("id", "to", "record", "state", "attempts", "next", "answer")
    if as_json:
        show_json(rows)
    else:
        show_table(rows, columns, "Nothing is filed." if filing else "No deliveries.")


def _filing(each: store_filing.Listed) -> dict[str, Any]:
    return {
        "id": each.id, "account": each.account, "folder": each.folder, "message": f"<{each.message}>",
        "state": each.state, "attempts": each.attempts, "answer": each.answer,
    }  # fmt: skip


def _delivery(each: store_outbox.Listed) -> dict[str, Any]:
    return {
        "id": each.id, "to": each.to, "record": each.record, "message": f"<{each.message}>" if each.message else "",
        "state": each.state, "attempts": each.attempts,
        "next": iso(each.next) if each.state in store_outbox.WAITING else "", "answer": each.answer,
    }  # fmt: skip


@outbox.command(name="show")
def show_outbox(
    delivery_id: Id,
    /,
    *,
    filing: Filing = False,
    raw: Annotated[bool, Parameter(negative="", help="The mail as it was queued.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one delivery with its attempts, or one filing."""
    with opened() as site, site.store.read() as tx:
        shown, tries = _one_filing(tx, delivery_id) if filing else _one_delivery(tx, delivery_id)
        octets = (store_filing if filing else store_outbox).octets(tx, delivery_id) if raw else b""
    if raw:
        sys.stdout.buffer.write(octets)
        return
    if as_json:
        show_json({**shown, "tries": tries})
        return
    for name, value in shown.items():
        if value != "":
            out.print(f"{name}: {value}", markup=False)
    for each in tries:
        out.print(f"  {each['at']}  {each['answer']}", markup=False)


def _one_delivery(tx: Transaction, delivery_id: Id) -> tuple[dict[str, Any], list[dict[str, str]]]:
    found = store_outbox.listed(tx, STATES, only=delivery_id)
    if not found:
        fail(f"there is no delivery {delivery_id}", NO)
    tries = [{"at": iso(at), "answer": answer} for at, answer in store_outbox.attempts(tx, delivery_id)]
    return _delivery(found[0]), tries


def _one_filing(tx: Transaction, filing_id: Id) -> tuple[dict[str, Any], list[dict[str, str]]]:
    found = store_filing.listed(tx, only=filing_id)
    if not found:
        fail(f"there is no filing {filing_id}", NO)
    return _filing(found[0]), []


@outbox.command
def retry(delivery_id: Id, /, *, filing: Filing = False) -> None:
    """Try a delivery, or a filing, again now, also one that was given up."""
    act = store_filing.retry if filing else store_outbox.retry
    _act(delivery_id, act, "outbox retry", "is tried again", filing=filing)


@outbox.command(name="drop")
def drop_delivery(delivery_id: Id, /, *, filing: Filing = False) -> None:
    """Give a delivery, or a filing, up that waits: its recipient does not get it."""
    act = store_filing.drop if filing else store_outbox.drop
    _act(delivery_id, act, "outbox drop", "is given up", filing=filing)


def _act(row: int, act: Callable[[Transaction, int, int], bool], what: str, done: str, *, filing: bool) -> None:
    kind = "filing" if filing else "delivery"
    with opened() as site, site.store.write() as tx:
        if not act(tx, row, now_ms()):
            fail(f"there is no {kind} {row} of which that can be said", NO)
        audit.append(tx, operator(), what, f"filing {row}" if filing else str(row), now_ms())
        site.store.wake_others(tx)
    out.print(f"{row} {done}")
