"""status: what waits, and whether something is stuck."""

import sys
from dataclasses import asdict

from gateway.cli.app import NO, AsJson, app, opened, out, show_json
from gateway.store import status as store_status
from gateway.worker import now_ms

STUCK_S = 900  # seconds something may wait before it counts as stuck


@app.command
def status(*, as_json: AsJson = False) -> None:
    """Show counts and ages of everything waiting; exit 1 when something is stuck."""
    with opened() as site, site.store.read() as tx:
        waiting = store_status.waiting(tx, now_ms())
    stuck = waiting.oldest_s > STUCK_S or waiting.shunted > 0
    if as_json:
        show_json({**asdict(waiting), "stuck": stuck})
    else:
        for name, label in (
            ("arrivals", "arrivals to decide"), ("messages", "messages to fan out"), ("notices", "notices to word"),
            ("deliveries", "deliveries to hand over"), ("deferred", "of these put off after a try"),
            ("held", "mails held for a person"), ("shunted", "put aside by a fault"),
        ):  # fmt: skip
            out.print(f"{getattr(waiting, name):>7}  {label}")
        out.print(f"{waiting.oldest_s:>6}s  age of the oldest that waits")
    if stuck:
        sys.exit(NO)
