"""A mail to the return path of one delivery: a report settles that delivery, and no other.

*Standards:* RFC 3464 (delivery status), RFC 3834 (automatic answers go to the return path).
"""

from gateway.decide.place import Incoming
from gateway.mail.report import read_report
from gateway.store import notices, outbox
from gateway.store.arrivals import Settled
from gateway.store.session import Transaction


def take(tx: Transaction, delivery: int, incoming: Incoming) -> Settled:
    """Settle `delivery` by the report an arrival holds; keep what a person wrote there."""
    report = read_report(incoming.mail)
    if report is None:
        if incoming.automatic:
            return Settled("done", "automatic", incoming.automatic)
        return Settled("held", "return path", "a person wrote to a return path")
    if report.action != "failed":
        return Settled("done", "report", f"{report.action} {report.status}")
    answer = f"{report.status} {report.diagnostic}".strip()
    failed = outbox.report(tx, delivery, "failed", answer, incoming.now)
    if failed is not None:
        notices.tell_author(tx, "failed", failed.message_id, failed.recipient, answer, incoming.now)
    return Settled("done", "report", f"failed {answer}")
