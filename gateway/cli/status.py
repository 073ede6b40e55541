"""status: what waits, and whether something is stuck."""

import sys
from dataclasses import asdict
from typing import Any

from gateway.cli.app import NO, AsJson, iso, opened, out, show_json
from gateway.imap import attended
from gateway.store import mailboxes
from gateway.store import status as store_status
from gateway.store.mailboxes import Health
from gateway.worker import now_ms

STUCK_S = 900  # seconds something may wait before it counts as stuck


def status(*, as_json: AsJson = False) -> None:
    """Show counts and ages of everything waiting; exit 1 when something is stuck."""
    with opened() as site, site.store.read() as tx:
        waiting = store_status.waiting(tx, now_ms())
        known = attended(site.site.settings)
        accounts = [each for each in mailboxes.health(tx) if each.name in known]
    still = any(each.error and now_ms() - each.ok_at > STUCK_S * 1000 for each in accounts)
    stuck = waiting.oldest_s > STUCK_S or waiting.shunted > 0 or still
    if as_json:
        show_json({**asdict(waiting), "stuck": stuck, "mailboxes": [_account(each) for each in accounts]})
    else:
        for name, label in (
            ("arrivals", "arrivals to decide"), ("messages", "messages to fan out"), ("notices", "notices to word"),
            ("deliveries", "deliveries to hand over"), ("deferred", "of these put off after a try"),
            ("filings", "messages to file into folders"),
            ("held", "mails held for a person"), ("shunted", "put aside by a fault"),
        ):  # fmt: skip
            out.print(f"{getattr(waiting, name):>7}  {label}")
        out.print(f"{waiting.oldest_s:>6}s  age of the oldest that waits")
        for each in accounts:
            out.print(_line(each), markup=False)
    if stuck:
        sys.exit(NO)


def _account(each: Health) -> dict[str, Any]:
    return {
        "name": each.name, "purpose": each.purpose, "last": iso(each.ok_at), "lag_s": (now_ms() - each.ok_at) // 1000,
        "waiting": each.waiting, "quota_used_kib": each.quota_used, "quota_kib": each.quota_limit, "error": each.error,
        "error_at": iso(each.error_at) if each.error_at else "",
    }  # fmt: skip


def _line(each: Health) -> str:
    what = {"fetch": "fetched", "file": "filed", "watch": "looked into"}[each.purpose]
    room = f", {each.quota_used} of {each.quota_limit} KiB used" if each.quota_limit else ""
    wrong = f"; {each.error}" if each.error else ""
    return f"{each.name}: {what} {(now_ms() - each.ok_at) // 1000} s ago, {each.waiting} waiting{room}{wrong}"
