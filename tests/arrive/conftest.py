"""A house with its doors open: a real store, a real loop in a thread, real sockets."""

import asyncio
import socket
import threading
import time

import pytest
import sqlalchemy as sa
import uvloop

from gateway import site
from gateway.arrive.accept import Acceptor
from gateway.arrive.crowd import Shared
from gateway.arrive.doors import Doors
from gateway.arrive.smtp import Settings
from gateway.node import make_addresses
from gateway.records.record import Record
from gateway.store import content, records
from gateway.store.tables import arrival, arrival_recipient
from gateway.worker import Traffic
from tests.kit.client import Client
from tests.kit.node import write_site
from tests.kit.stores import new_store

DOMAIN = "sales.example.com"


class House:
    """The doors of a site, and what was kept."""

    def __init__(self, folder, new_loop=uvloop.new_event_loop):
        self.site = site.load(write_site(folder) / "gateway.yaml")
        self.store = new_store(folder, "var/gateway.db")
        with self.store.write() as tx:
            for ref in ("S00001", "S00002"):
                records.create(tx, Record(0, "quotation", ref, "20 chairs", "draft", "sales", ("sales",)), 1)
        self.addresses = make_addresses(self.site.settings)
        self.loop = new_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.arrived = 0
        self.acceptor = Acceptor(self.store, self.site, self.addresses, Traffic(), self._arrived)
        self.doors = Doors(Shared(self.acceptor, DOMAIN))

    def _arrived(self):
        self.arrived += 1

    def run(self, coroutine, timeout=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def begin(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def open(self, name="smtp", **more):
        settings = Settings(name, **{"max_size": 5_000_000, **more})
        return int(self.run(self.doors.open(settings, "127.0.0.1", 0)).rpartition(":")[2])

    def kept(self):
        """Return (return path, recipients, content) of every arrival, in order."""
        with self.store.read() as tx:
            rows = tx.execute(sa.select(arrival).order_by(arrival.c.id)).all()
            return [(row.return_path, self._recipients(tx, row.id), content.load(tx, row.content)) for row in rows]

    @staticmethod
    def _recipients(tx, arrival_id):
        query = sa.select(arrival_recipient.c.address).where(arrival_recipient.c.arrival_id == arrival_id)
        return list(tx.execute(query.order_by(arrival_recipient.c.id)).scalars())

    def until(self, condition, timeout=60):
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.005)  # polls; how long it takes decides nothing

    def close(self):
        self.run(self._shut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()
        self.store.close()

    async def _shut(self):
        await self.doors.close()
        while self.doors.shared.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_default_executor()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "site")
    yield made
    made.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def either_house(tmp_path, request):
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    made = House(tmp_path / "site", loops[request.param])
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory):
    """For many examples over one house; each looks at the last arrival."""
    made = House(tmp_path_factory.mktemp("house") / "site")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_port(shared_house):
    return shared_house.open()


@pytest.fixture
def smtp(house):
    with Client(house.open()) as client:
        yield client


@pytest.fixture
def lmtp(house):
    with Client(house.open("lmtp"), lmtp=True) as client:
        yield client


@pytest.fixture
def everything():
    """Return what reads a socket to its end."""

    def read(sock: socket.socket) -> bytes:
        said = b""
        try:
            while piece := sock.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
        return said

    return read
