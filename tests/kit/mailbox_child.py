"""What reads and writes mailboxes, in a process of its own that is killed at a chosen point or ends when all is done."""

import asyncio
import inspect
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imapclient
import sqlalchemy as sa
from aioimaplib import aioimaplib

from gateway import attend, site
from gateway.arrive import folders as watching
from gateway.arrive import imap as fetching
from gateway.arrive.folders import Watcher
from gateway.arrive.imap import SIZES, Fetcher
from gateway.config import ARCHIVE
from gateway.imap import Mailbox, filing_accounts
from gateway.imap_wire import Wire
from gateway.node import make_addresses, open_site_store
from gateway.send import folders as filing
from gateway.send.folders import Filer
from gateway.store import cards, tables
from gateway.store.filing import WAITING
from gateway.store.session import Store
from gateway.worker import Traffic
from tests.kit.imap_child import shorten

WORKERS = multiprocessing.get_context("forkserver")
DEADLINE_S = 120.0
KILLED, LATE = -signal.SIGKILL, 3
Kind = Literal["fetch", "file", "watch"]


@dataclass(frozen=True)
class Point:
    """A place to die: before or after a method, at one of its first `hits` calls that fit."""

    kind: Kind
    of: type
    method: str
    after: bool = False
    hits: int = 1
    fits: Callable[..., bool] = lambda *_: True


_select = Mailbox.select
_open = ""  # the folder that was selected last


async def _selecting(box: Mailbox, name: str) -> Any:
    global _open  # noqa: PLW0603 (a process of its own, with one connection)
    _open = name
    return await _select(box, name)


def _in_stages(*_: object) -> bool:
    return _open.startswith("Replygate/Stages/")


def _in_inbox(_: Mailbox, uids: object = (), *__: object) -> bool:
    return _open == "Replygate/Inbox" and bool(uids)


def _idles(wire: Wire, pieces: list[bytes]) -> bool:
    return isinstance(wire.waiting, aioimaplib.IdleCommand) and b"EXISTS" in pieces[0]


def _some(_: object, some: object = (), *__: object) -> bool:
    return bool(some)


POINTS = {
    "fetch: before it selects": Point("fetch", Mailbox, "select", hits=2),
    "fetch: after the list": Point("fetch", Mailbox, "listed", after=True, fits=lambda _, *more: more[-1] == SIZES),
    "fetch: in the middle of a fetch": Point("fetch", Wire, "_answer", hits=5, fits=lambda _, a: b"BODY[]" in a[0]),
    "fetch: before the commit": Point("fetch", Fetcher, "_keep", hits=3),
    "fetch: after the commit": Point("fetch", Fetcher, "_keep", after=True, hits=3),
    "fetch: before the move": Point("fetch", Mailbox, "move", hits=3),
    "fetch: after the move": Point("fetch", Mailbox, "move", after=True, hits=3),
    "fetch: in IDLE": Point("fetch", Wire, "_untagged", fits=_idles),
    "file: before the claim": Point("file", Filer, "_claim"),
    "file: after the claim": Point("file", Filer, "_claim", after=True),
    "file: before APPEND": Point("file", Mailbox, "append", hits=3),
    "file: after APPEND": Point("file", Mailbox, "append", after=True, hits=3),
    "file: after the commit": Point("file", Filer, "_settle", after=True, fits=_some),
    "file: a card, before the old is deleted": Point("file", Mailbox, "delete", fits=_in_stages),
    "file: a card, after the old is deleted": Point("file", Mailbox, "delete", after=True, fits=_in_stages),
    "file: in tidy": Point("file", Mailbox, "delete", fits=_in_inbox),
    "watch: after a mail is kept": Point("watch", Watcher, "_keep", after=True, hits=2),
    "watch: before it notes how far it is": Point(
        "watch", Watcher, "_looked", fits=lambda *a: any("S0" in name for name, *_ in a[2])
    ),
    "watch: after a card is kept": Point("watch", Watcher, "_looked", after=True, fits=lambda *a: bool(a[1])),
}  # fmt: skip


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(point: Point, hit: int) -> None:
    Mailbox.select = _selecting  # type: ignore[method-assign]
    original = getattr(point.of, point.method)
    left = hit

    def strikes(*arguments: Any) -> bool:
        nonlocal left
        if not point.fits(*arguments):
            return False
        left -= 1
        if left == 0 and not point.after:
            _die()
        return left == 0

    def patched(*arguments: Any, **more: Any) -> Any:
        dies = strikes(*arguments)
        result = original(*arguments, **more)
        if dies:
            _die()
        return result

    async def patched_async(*arguments: Any, **more: Any) -> Any:
        dies = strikes(*arguments)
        result = await original(*arguments, **more)
        if dies:
            _die()
        return result

    setattr(point.of, point.method, patched_async if inspect.iscoroutinefunction(original) else patched)


def _hasten() -> None:
    """Let it pause and gather less: what is done in many steps can be broken off at many."""
    attend._PAUSE_FIRST_S = 0.05
    fetching._BATCH = 2
    filing.BATCH = 4
    filing.IDLE_S = 0.02
    filing.TIDY_S = -1.0
    watching.LOOK_S = 0.05


def _end_when_idle(come: "Coming | None") -> None:
    """End where a fetcher has nothing more to do; before that let mails come, if any are to come in IDLE."""
    original = Mailbox.idle

    async def idle(box: Mailbox, seconds: float) -> bool:
        if come is None:
            os._exit(0)
        threading.Thread(target=come.append, daemon=True).start()
        return await original(box, seconds)

    Mailbox.idle = idle  # type: ignore[method-assign]


@dataclass(frozen=True)
class Coming:
    """Mails that come while somebody waits for them."""

    port: int
    user: str
    password: str
    mails: tuple[bytes, ...]

    def append(self) -> None:
        with imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=30) as client:
            client.login(self.user, self.password)
            for mail in self.mails:
                client.append("INBOX", mail)


def _end_when_filed(store: Store) -> None:
    """End where a filer has nothing more to do, and has looked through the inbox since."""
    original, quiet = Filer._tidy, 0

    async def tidy(filer: Filer, box: Mailbox) -> None:
        nonlocal quiet
        await original(filer, box)
        quiet = 0 if await asyncio.to_thread(_to_file, store, filer._key) else quiet + 1
        if quiet > 3:
            os._exit(0)

    Filer._tidy = tidy  # type: ignore[method-assign]


def _to_file(store: Store, key: str) -> bool:
    with store.read() as tx:
        waiting = sa.select(sa.func.count()).where(tables.filing.c.account == key, tables.filing.c.state.in_(WAITING))
        return bool(tx.execute(waiting).scalar() or cards.to_place(tx, key, 0, 1))


def _end_when_looked() -> None:
    """End where a watcher looked into every folder, and found nothing new the next time."""
    original, looks = Watcher._look, 0

    async def look(watcher: Watcher, box: Mailbox) -> None:
        nonlocal looks
        await original(watcher, box)
        looks += 1
        if looks > 2:
            os._exit(0)

    Watcher._look = look  # type: ignore[method-assign]


def _main(folder: Path, kind: Kind, key: str, name: str, hit: int, come: Coming | None, seconds: float) -> None:
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    _hasten()
    if name:
        _arm(POINTS[name], hit)
    if seconds:
        shorten(seconds / 5)
    try:
        asyncio.run(_run(folder, kind, key, come, seconds or DEADLINE_S))
    except TimeoutError:
        os._exit(LATE)


async def _run(folder: Path, kind: Kind, key: str, come: Coming | None, seconds: float) -> None:
    loaded = site.load(folder / "gateway.yaml")
    store = open_site_store(loaded.settings)
    # As a node does that starts on SQLite: the one that held the leases is dead.
    with store.write() as tx:
        tx.execute(sa.update(tables.filing).values(lease_until=0))
    addresses = make_addresses(loaded.settings)
    if kind == "fetch":
        _end_when_idle(come)
        door = loaded.settings.imap[0]
        runs = Fetcher(store, loaded, addresses, door, Traffic(), lambda: None, lambda *_: None).run()
    elif kind == "file":
        _end_when_filed(store)
        runs = Filer(store, loaded, key, filing_accounts(loaded.settings)[key], lambda *_: None).run()
    else:
        _end_when_looked()
        account = filing_accounts(loaded.settings)[key]
        runs = Watcher(store, loaded, addresses, key, account, lambda: None, lambda *_: None).run()
    async with asyncio.timeout(seconds):
        await runs


def run(
    folder: Path, kind: Kind, key: str = ARCHIVE, name: str = "", hit: int = 0, come: Coming | None = None,
    seconds: float = 0.0,
) -> int:  # fmt: skip
    """Run it to its end, or to a point where it dies; return its exit status. In `seconds` it must be done."""
    WORKERS.set_forkserver_preload(["tests.kit.mailbox_child"])
    process = WORKERS.Process(target=_main, args=(folder, kind, key, name, hit, come, seconds))
    process.start()
    process.join(DEADLINE_S + 30)
    status = process.exitcode
    process.kill()
    process.join()
    process.close()
    return LATE if status is None else status
