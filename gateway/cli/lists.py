"""suppression, block, audit: addresses we no longer send to or take mail from, and who decided what."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.app import (
    NO,
    AsJson,
    fail,
    iso,
    only_outsiders,
    opened,
    operator,
    out,
    say,
    show_json,
    show_table,
)
from gateway.mail.address import parse_address
from gateway.store import audit as store_audit
from gateway.store import suppressed
from gateway.store.suppressed import Entry
from gateway.worker import now_ms

suppression = App(name="suppression", help="Addresses we no longer send to.")
block = App(name="block", help="Outsiders whose mail is refused, quietly.")
audit = App(name="audit", help="The audit log: who decided what.")


def _email(text: str) -> str:
    address = parse_address(text)
    if address is None:
        fail(f"{text!r} is no address", NO)
    return address.key


def _show(entries: list[Entry], empty: str, *, as_json: bool) -> None:
    rows = [{"email": each.email, "reason": each.reason, "at": iso(each.at)} for each in entries]
    if as_json:
        show_json(rows)
    else:
        show_table(rows, ("email", "at", "reason"), empty)


@suppression.command(name="list")
def list_suppressed(*, as_json: AsJson = False) -> None:
    """List the addresses we no longer send to, and why."""
    with opened() as site, site.store.read() as tx:
        _show(suppressed.listed_suppressed(tx), "Mail is sent to everybody.", as_json=as_json)


@suppression.command(name="add")
def suppress(address: str, /, *, reason: str = "by the administrator") -> None:
    """Send no more mail to ADDRESS."""
    email = _email(address)
    with opened() as site, site.store.write() as tx:
        if not suppressed.suppress(tx, email, reason, now_ms()):
            fail(f"{email} was suppressed already", NO)
        store_audit.append(tx, operator(), "suppressed", email, now_ms(), reason=reason)
    out.print(f"No more mail goes to {email}.", markup=False)


@suppression.command(name="remove")
def send_again(address: str, /) -> None:
    """Send mail to ADDRESS again, and forget what it bounced."""
    email = _email(address)
    with opened() as site, site.store.write() as tx:
        if not suppressed.send_again(tx, email):
            fail(f"{email} is not suppressed", NO)
        store_audit.append(tx, operator(), "sent to again", email, now_ms())
    out.print(f"Mail goes to {email} again.", markup=False)


@block.command(name="list")
def list_blocked(*, as_json: AsJson = False) -> None:
    """List whose mail is refused."""
    with opened() as site, site.store.read() as tx:
        _show(suppressed.listed_blocked(tx), "Nobody is blocked.", as_json=as_json)


@block.command(name="add")
def block_author(address: str, /) -> None:
    """Refuse mail of ADDRESS from now on, without a word to it."""
    email = _email(address)
    with opened() as site, site.store.write() as tx:
        only_outsiders(site, email)
        if not suppressed.block(tx, email, operator(), now_ms()):
            fail(f"{email} is blocked already", NO)
        store_audit.append(tx, operator(), "blocked", email, now_ms())
    out.print(f"Mail of {email} is refused from now on.", markup=False)


@block.command(name="remove")
def unblock(address: str, /) -> None:
    """Take mail of ADDRESS again."""
    email = _email(address)
    with opened() as site, site.store.write() as tx:
        if not suppressed.unblock(tx, email):
            fail(f"{email} is not blocked", NO)
        store_audit.append(tx, operator(), "unblocked", email, now_ms())
    out.print(f"Mail of {email} is taken again.", markup=False)


@audit.command(name="list")
def list_audit(
    *,
    last: Annotated[int, Parameter(help="How many of the newest.")] = 100,
    what: Annotated[str, Parameter(help="Only entries of this kind.")] = "",
    as_json: AsJson = False,
) -> None:
    """List who decided what, oldest first."""
    with opened() as site, site.store.read() as tx:
        entries = store_audit.listed(tx, last, what)
    rows = [
        {
            "id": each.id, "at": iso(each.at), "who": each.who or "the gateway", "what": each.what, "about": each.about,
            "data": dict(each.data), "hash": each.hash.hex(),
        }
        for each in entries
    ]  # fmt: skip
    if as_json:
        show_json(rows)
        return
    for row, each in zip(rows, entries, strict=True):
        row["data"] = ", ".join(f"{name}={value}" for name, value in each.data.items())
    show_table(rows, ("id", "at", "who", "what", "about", "data"), "Nothing was decided yet.")


@audit.command
def verify(
    *,
    head: Annotated[str, Parameter(help="A hash noted before: it must still be in the log.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compute the whole chain of hashes again; exit 1 at the first entry that does not hold."""
    try:
        noted = bytes.fromhex(head) if head else None
    except ValueError:
        fail(f"--head {head}: is no hash", 2)
    with opened() as site, site.store.read() as tx:
        found = store_audit.verify(tx, noted)
    shown = {"entries": found.entries, "head": found.head.hex(), "broken": found.broken}
    if as_json:
        show_json(shown)
    elif found.broken is None:
        out.print(f"{found.entries} entries hold. Note the head elsewhere: {found.head.hex()}")
    elif found.broken == 0:
        say(f"{found.entries} entries hold, but the noted hash is not among them: the log was cut, or made anew.")
    else:
        say(f"Entry {found.broken} does not hold: the log was changed there, or before it.")
    if found.broken is not None:
        sys.exit(NO)
