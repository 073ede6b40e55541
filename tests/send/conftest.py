"""A sender over a real store, and a next hop that misbehaves on request."""

import asyncio
import time

import pytest
import sqlalchemy as sa

from gateway import config, site
from gateway.mail.canonical import simple_body_hash
from gateway.node import make_addresses
from gateway.records.record import Record
from gateway.send import deliver
from gateway.store import messages, outbox, records
from gateway.store.messages import Author, NewMessage
from gateway.store.outbox import NewDelivery
from gateway.store.tables import delivery, notice
from gateway.worker import now_ms
from tests.kit import sink
from tests.kit.node import write_site
from tests.kit.stores import new_store

HEADER = b"From: <s00001@sales.example.com>\r\nTo: <x@example.com>\r\nSubject: hello\r\nMessage-ID: <1@sales.example.com>\r\n"
BODY = b"text\r\n.\r\n..\r\n.x\r\nend\r\n"


class Bench:
    """A store with one record and one message of A君; deliveries on request."""

    def __init__(self, folder):
        self.site = site.load(write_site(folder) / "gateway.yaml")
        self.store = new_store(folder, "var/gateway.db")
        self.addresses = make_addresses(self.site.settings)
        self.messages = {internal: self._post(internal) for internal in (False, True)}
        self.settled = 0
        self.connects = 0
        self.mails = []
        self.verbs = []
        self.keys = ()

    def _post(self, internal):
        ref = "S00002" if internal else "S00001"
        with self.store.write() as tx:
            made = records.create(tx, Record(0, "quotation", ref, "20 chairs", "draft", "sales", ("sales",)), 1)
            subtype = "note" if internal else "discussion"
            author = Author("a", "A君", "a@example.com")
            new = NewMessage(made.id, subtype, internal, now_ms(), author, "hello", "text", f"{ref}@sales.example.com")
            return messages.post(tx, new)

    def queue(self, *recipients, internal=False, outsider=None, header=HEADER, body=BODY, **more):
        """Queue a delivery for each recipient, outside unless they are one of our people or it is internal."""
        with self.store.write() as tx:
            before = tx.execute(sa.select(sa.func.coalesce(sa.func.max(delivery.c.id), 0))).scalar_one()
            kept = outbox.keep_body(tx, body, simple_body_hash(body))
            new = [
                NewDelivery(
                    self.messages[internal],
                    internal,
                    self._outside(each, internal, outsider),
                    "",
                    each,
                    header,
                    kept,
                    **more,
                )
                for each in recipients
            ]
            outbox.queue(tx, new, now_ms())
        return list(range(before + 1, before + 1 + len(recipients)))

    def _outside(self, email, internal, outsider):
        outside = not internal and self.site.people.person(email) is None
        return outside if outsider is None else outsider

    def change(self, delivery_id, **values):
        with self.store.write() as tx:
            tx.execute(sa.update(delivery).where(delivery.c.id == delivery_id).values(**values))

    def row(self, delivery_id):
        with self.store.read() as tx:
            return tx.execute(sa.select(delivery).where(delivery.c.id == delivery_id)).one()

    def state(self, delivery_id):
        return self.row(delivery_id).state

    def states(self, ids):
        return [self.state(each) for each in ids]

    def attempts(self, delivery_id):
        with self.store.read() as tx:
            return [answer for _, answer in outbox.attempts(tx, delivery_id)]

    def notices(self):
        with self.store.read() as tx:
            return tx.execute(sa.select(notice).order_by(notice.c.id)).all()

    def hop(self, url, password="", keys=()):
        settings = self.site.settings.model_copy(update={"next_hop": config.NextHopSettings(url=url)})
        return deliver.Hop(settings, self.addresses, tuple(keys), password)

    def send(self, ids, behaviour=None, *, url="", password="", keys=(), done=None):
        """Run a sender over a sink until every one of `ids` was tried once more."""
        before = {each: self.row(each).attempts for each in ids}
        done = done or (lambda: all(self.row(each).attempts > before[each] for each in ids))
        asyncio.run(self._send(behaviour, url, password, keys, done))
        return self.states(ids)

    async def _send(self, behaviour, url, password, keys, done):
        def watched(verb, argument):
            self.verbs.append(verb)
            self.connects += verb == "CONNECT"
            return behaviour(verb, argument) if behaviour else None

        server, port = await sink.start(self.mails, None, watched)
        hop = self.hop(url or f"smtp://127.0.0.1:{port}", password, keys)
        sender = deliver.Sender(self.store, hop, lambda: self.site.people, self._settled)
        sender.start()
        until = time.monotonic() + 60
        while not await asyncio.to_thread(done):
            assert time.monotonic() < until, "it was never tried"
            await asyncio.sleep(0.005)
        await sender.stop()
        server.close()
        await server.wait_closed()

    def _settled(self):
        self.settled += 1


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(deliver, "CONNECTIONS", 2)
    made = Bench(tmp_path / "site")
    yield made
    made.store.close()
