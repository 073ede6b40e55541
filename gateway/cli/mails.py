"""held, outbox: mails kept for a person, and mails on their way out."""

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from gateway.cli.app import NO, AsJson, app, fail, iso, opened, out, show_json, show_table
from gateway.mail.parse import parse
from gateway.store import held as store_held
from gateway.store import outbox as store_outbox
from gateway.store.held import Held
from gateway.worker import now_ms

STATES = ("queued", "deferred", "sent", "failed", "expired", "suppressed")
held = App(name="held", help="Mails kept for a person: by policy (held) or by a fault (shunted).")
outbox = App(name="outbox", help="Deliveries and their attempts.")
app.command(held)
app.command(outbox)


@held.command(name="list")
def list_held(*, as_json: AsJson = False) -> None:
    """List what is kept, newest first."""
    with opened() as site, site.store.read() as tx:
        rows = [_row(each) for each in store_held.listed(tx)]
    if as_json:
        show_json(rows)
    else:
        show_table(rows, ("id", "at", "from", "to", "subject", "cause", "reason"), "Nothing is held.")


def _row(each: Held) -> dict[str, Any]:
    return {
        "id": each.id, "at": iso(each.at), "from": each.author, "to": each.to, "subject": each.subject,
        "state": each.state, "cause": each.cause, "reason": each.reason, "record": each.record,
    }  # fmt: skip


@held.command(name="show")
def show_held(
    held_id: int,
    /,
    *,
    raw: Annotated[bool, Parameter(negative="", help="The mail byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one kept mail."""
    with opened() as site, site.store.read() as tx:
        found = store_held.listed(tx, only=held_id)
        if not found:
            fail(f"nothing is held as {held_id}", NO)
        octets = store_held.octets(tx, found[0])
    if raw:
        sys.stdout.buffer.write(octets)
        return
    mail = parse(octets)
    shown = {
        **_row(found[0]),
        "text": mail.text,
        "attachments": [a.name for a in mail.attachments],
        "defects": list(mail.defects),
    }
    if as_json:
        show_json(shown)
        return
    for name, value in shown.items():
        if name != "text" and value:
            out.print(f"{name}: {', '.join(value) if isinstance(value, list) else value}", markup=False)
    out.print("\n" + mail.text, markup=False)


@held.command
def release(held_id: int, /) -> None:
    """Let a kept mail through: it is decided again as one that you vouch for."""
    with opened() as site, site.store.write() as tx:
        if not store_held.release(tx, held_id, now_ms()):
            fail(f"nothing is held as {held_id}", NO)
        site.store.wake_others(tx)
    out.print(f"{held_id} is released; a node decides it again now.")


@outbox.command(name="list")
def list_outbox(
    *,
    state: Annotated[str, Parameter(help=f"one of {', '.join(STATES)}; default: what waits")] = "",
    as_json: AsJson = False,
) -> None:
    """List deliveries that wait, or those in one state, newest first."""
    if state and state not in STATES:
        fail(f"--state {state}: use one of {', '.join(STATES)}", 2)
    with opened() as site, site.store.read() as tx:
        found = store_outbox.listed(tx, (state,) if state else store_outbox.WAITING)
    rows = [_delivery(each) for each in found]
    if as_json:
        show_json(rows)
    else:
        show_table(rows, ("id", "to", "record", "state", "attempts", "next", "answer"), "No deliveries.")


def _delivery(each: store_outbox.Listed) -> dict[str, Any]:
    return {
        "id": each.id, "to": each.to, "record": each.record, "message": f"<{each.message}>" if each.message else "",
        "state": each.state, "attempts": each.attempts,
        "next": iso(each.next) if each.state in store_outbox.WAITING else "", "answer": each.answer,
    }  # fmt: skip


@outbox.command(name="show")
def show_outbox(
    delivery_id: int,
    /,
    *,
    raw: Annotated[bool, Parameter(negative="", help="The mail as it was queued.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one delivery with its attempts."""
    with opened() as site, site.store.read() as tx:
        found = store_outbox.listed(tx, STATES, only=delivery_id)
        if not found:
            fail(f"there is no delivery {delivery_id}", NO)
        tries = [{"at": iso(at), "answer": answer} for at, answer in store_outbox.attempts(tx, delivery_id)]
        octets = store_outbox.octets(tx, delivery_id) if raw else b""
    if raw:
        sys.stdout.buffer.write(octets)
        return
    shown = _delivery(found[0])
    if as_json:
        show_json({**shown, "tries": tries})
        return
    for name, value in shown.items():
        if value != "":
            out.print(f"{name}: {value}", markup=False)
    for each in tries:
        out.print(f"  {each['at']}  {each['answer']}", markup=False)
