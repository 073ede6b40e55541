"""Rows to begin with, and threads that all start at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.records.record import Party, Record
from gateway.store import arrivals, messages, outbox, records
from gateway.store.messages import Author, NewMessage
from gateway.store.outbox import NewDelivery

NOW = 1_790_000_000_000
BODY_HASH = b"\0" * 32


def in_threads(number: int, work: Callable[[int], object]) -> list:
    """Run `work` in threads that begin together; return what each gave, or raise what one raised."""
    ready = threading.Barrier(number)

    def run(n: int) -> object:
        ready.wait(10)
        return work(n)

    with ThreadPoolExecutor(number) as pool:
        return [each.result(60) for each in [pool.submit(run, n) for n in range(number)]]


def add_record(tx, ref="S00001", **values) -> Record:
    blank = Record(0, "quotation", ref, "20 chairs", "draft", customer=Party("王", ("wang@acme.example",)))
    return records.create(tx, blank.__class__(**{**{n: getattr(blank, n) for n in blank.__slots__}, **values}), NOW)


def add_message(tx, record_id, message_id="one@sales.example.com", *, internal=False, **values) -> int:
    new = {
        "record_id": record_id, "subtype": "note" if internal else "discussion", "internal": internal, "at": NOW,
        "author": Author("a", "A君", "a@example.com"), "subject": "", "text": "text", "message_id": message_id,
    }  # fmt: skip
    return messages.post(tx, NewMessage(**{**new, **values}))


def add_delivery(tx, message_id=None, *, internal=False, outsider=False, recipient="b@example.com", now=NOW) -> None:
    body = outbox.keep_body(tx, b"hello\r\n", BODY_HASH)
    outbox.queue(tx, [NewDelivery(message_id, internal, outsider, "b", recipient, b"To: b\r\n", body)], now)


def add_arrivals(tx, number, *, now=NOW, recipients=("s00001@sales.example.com",)) -> None:
    arrivals.keep_many(
        tx,
        [
            arrivals.Received(
                received_at=now,
                door="smtp",
                peer="192.0.2.1",
                helo="peer",
                return_path="a@example.com",
                trusted=False,
                recipients=recipients,
                content=f"Subject: {n}\r\n\r\n".encode(),
            )
            for n in range(number)
        ],
    )
