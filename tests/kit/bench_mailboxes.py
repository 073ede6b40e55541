"""`script/bench fetch filing looks`: what a catch-all, filing and looking into folders cost, on a real Dovecot.

The room that is measured runs in this process, over a store and a server on loopback; nothing else runs beside it.
"""

import asyncio
import socket
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from gateway.arrive.folders import Watcher
from gateway.arrive.imap import Fetcher
from gateway.imap import Mailbox, connect, filing_accounts
from gateway.send.folders import Filer
from gateway.store import tables
from gateway.worker import Traffic
from tests.kit.dovecot import Dovecot
from tests.kit.mailbox_campaign import USERS, World, mail

Figures = dict[str, float]


def _world(folder: Path, run: Callable[[World], Figures]) -> Figures:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder.mkdir(parents=True)
    with Dovecot(folder / "dovecot", {user: f"pw-{user}" for user in USERS}) as server:
        world = World(folder / "world", server)
        try:
            return run(world)
        finally:
            world.close()


def fill(server: Dovecot, user: str, folder: str, mails: Sequence[bytes]) -> None:
    """Append many mails at once: an answer to each is not waited for."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as to, to.makefile("rb") as said:
        said.readline()
        to.sendall(f'a LOGIN {user} "{server.users[user]}"\r\nb CREATE "{folder}"\r\n'.encode())
        while not said.readline().startswith(b"b "):
            pass
        for at in range(0, len(mails), 100):
            some = mails[at : at + 100]
            to.sendall(
                b"".join(
                    b'c%d APPEND "%s" {%d+}\r\n%s\r\n' % (n, folder.encode(), len(each), each)
                    for n, each in enumerate(some)
                )
            )
            while not (line := said.readline()).startswith(b"c%d " % (len(some) - 1)):
                if not line:
                    raise RuntimeError("the server hung up")


async def _until(task: Coroutine[Any, Any, None], done: Callable[[], bool], seconds: float) -> None:
    running = asyncio.create_task(task)
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(done):  # noqa: ASYNC110 (polls)  # noqa: ASYNC110 (it polls a store in another process)
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def fetch(folder: Path, count: int) -> Figures:
    """Mails a second from a full catch-all, until all are kept and moved away."""

    def run(world: World) -> Figures:
        body = 3_600
        fill(world.server, "gateway", "INBOX", [mail(f"bench{n}", body) for n in range(count)])
        house = world.house
        door = house.site.settings.imap[0]
        table = tables.mailbox.c

        async def measure() -> Figures:
            fetcher = Fetcher(house.store, house.site, house.addresses, door, Traffic(), lambda: None, lambda *_: None)

            def done() -> bool:
                # It notes that nothing waits only after the last was moved.
                with house.store.read() as tx:
                    row = tx.execute(sa.select(table.uid, table.waiting)).first()
                return row is not None and row.uid >= count and row.waiting == 0

            began = time.perf_counter()
            await _until(fetcher.run(), done, 1200)
            took = time.perf_counter() - began
            left = world.server.mails("gateway")
            if left:
                raise RuntimeError(f"{len(left)} mails are left")
            return {"mails": float(count), "fetched_per_s": count / took, "took_s": took}

        return asyncio.run(measure())

    return _world(folder, run)


def filing(folder: Path, count: int) -> Figures:
    """Messages a second that are filed into the folder of one record, in one account."""

    def run(world: World) -> Figures:
        house = world.house
        world.word()
        with house.store.write() as tx:
            tx.execute(sa.update(tables.filing).values(state="sent"))
            row = tx.execute(sa.select(tables.filing).where(tables.filing.c.account == "archive")).mappings().first()
            one = tx.execute(sa.select(tables.message).where(tables.message.c.id == row["message_id"])).mappings().one()
            for n in range(count):
                made = {**one, "id": None, "message_id": f"bench.{n}@sales.example.com"}
                made.pop("id")
                key = tx.execute(sa.insert(tables.message).values(made)).inserted_primary_key[0]
                queued = {
                    **row,
                    "message_id": key,
                    "state": "queued",
                    "settled_at": None,
                    "fence": 0,
                    "lease_until": 0,
                    "attempts": 0,
                }
                queued.pop("id")
                tx.execute(sa.insert(tables.filing).values(queued))

        async def measure() -> Figures:
            filer = Filer(
                house.store, house.site, "archive", filing_accounts(house.site.settings)["archive"], lambda *_: None
            )
            waiting = sa.select(sa.func.count()).where(tables.filing.c.state != "sent")

            def done() -> bool:
                with house.store.read() as tx:
                    return not tx.execute(waiting).scalar()

            began = time.perf_counter()
            await _until(filer.run(), done, 1200)
            took = time.perf_counter() - began
            return {"filings": float(count), "filed_per_s": count / took, "took_s": took}

        return asyncio.run(measure())

    return _world(folder, run)


def looks(folder: Path, folders: int, mails: int) -> Figures:
    """Milliseconds of a look into an account: the first, one where nothing is new, one where one folder is."""

    def run(world: World) -> Figures:
        house, server = world.house, world.server
        account = filing_accounts(house.site.settings)["chia"]
        fill(server, "chia", "Replygate/Quotations/S00001", [mail(f"old{n}") for n in range(mails)])
        with server.client("chia") as client:
            for n in range(2, folders + 1):
                client.create_folder(f"Replygate/Quotations/S{n:05d}")
        Watcher._strangers = lambda *_: []  # type: ignore[method-assign]  # as if it had all been filed by us

        async def look(watcher: Watcher, box: Mailbox) -> float:
            began = time.perf_counter()
            await watcher._look(box)
            return (time.perf_counter() - began) * 1000

        async def measure() -> Figures:
            watcher = Watcher(house.store, house.site, house.addresses, "chia", account, lambda: None, lambda *_: None)
            box = await connect(account)
            first = await look(watcher, box)
            idle = [await look(watcher, box) for _ in range(7)]
            changed = []
            for n in range(5):
                await box.append("Replygate/Quotations/S00001", mail(f"new{n}"), "x", 0)
                changed.append(await look(watcher, box))
            await box.close()
            return {
                "folders": float(folders), "mails": float(mails), "first_ms": first,
                "nothing_new_ms": statistics.median(idle), "one_new_ms": statistics.median(changed),
            }  # fmt: skip

        return asyncio.run(measure())

    return _world(folder, run)
