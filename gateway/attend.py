"""Attend to an account: one connection after another, for ever, with a pause before each that grows while it fails.

*Failure:* whatever ends a connection is told, and costs a pause; nothing ends the loop but being cancelled. Where a
single mail does, that is found out first. Of several nodes one attends to an account at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway import maillog
from gateway.imap import Broken, Refused
from gateway.store import mailboxes
from gateway.store.session import Away, Store, Transaction
from gateway.suspect import Narrowed
from gateway.worker import now_ms

_PAUSE_FIRST_S, _PAUSE_LAST_S = 1.0, 120.0
_STAND_BY_S = 5.0
PATIENCE_MS = 15 * 60_000  # how long an account may stand still before people are told
Tell = Callable[[Transaction, str, str, str], None]
_GOOD_S = 60.0  # a connection that lasted so long was a good one


class Condition:
    """How an account is, as `status` shows it; people are told when it stands still, and when it goes on."""

    def __init__(self, store: Store, name: str, purpose: str, tell: Tell, beside: str = "") -> None:
        """`purpose` is fetch, file or watch.

        `tell` gets the account's name, what is wrong, "" for nothing any more, and with which mail, "" for all.
        Where something is wrong with the account `beside`, that is told, and not this.
        """
        self._store = store
        self._purpose = purpose
        self._tell = tell
        self._beside = beside
        self.name = name

    def begin(self) -> None:
        """Know the account from now on."""
        with self._store.write() as tx:
            mailboxes.begin(tx, self.name, self._purpose, now_ms())

    def wrong(self, error: str) -> None:
        """Note what is wrong."""
        with self._store.write() as tx:
            mailboxes.begin(tx, self.name, self._purpose, now_ms())
            if mailboxes.went_wrong(tx, self.name, error, now_ms(), PATIENCE_MS, self._beside):
                self._tell(tx, self.name, error, "")

    def left_out(self, mail: str, why: str) -> None:
        """Tell that a mail there cannot be taken, and why."""
        maillog.fault(self.name, ValueError(f"{mail}: {why}"))
        with self._store.write() as tx:
            self._tell(tx, self.name, why, mail)

    def waits(self, waiting: int) -> None:
        """Note how many mails wait there."""
        with self._store.write() as tx:
            mailboxes.waits(tx, self.name, waiting)

    def room(self, quota: tuple[int, int] | None) -> None:
        """Note how much of it is used, and allowed (KiB), where the server knows that."""
        if quota is not None:
            with self._store.write() as tx:
                mailboxes.has_room(tx, self.name, quota)

    def well(self, waiting: int = 0) -> None:
        """Note that it is read, or written, and how many mails wait there."""
        with self._store.write() as tx:
            if mailboxes.went_well(tx, self.name, now_ms(), waiting):
                self._tell(tx, self.name, "", "")


async def attend(
    store: Store, name: str, session: Callable[[], Awaitable[None]], failed: Callable[[str], None]
) -> None:  # fmt: skip
    """Run `session`, which connects, again and again; `failed` is told, in a thread, what ended one."""
    loop = asyncio.get_running_loop()
    pause = _PAUSE_FIRST_S
    while True:
        began, ours = loop.time(), True
        try:
            async with _only_one(store, name) as ours:
                if not ours:  # another node attends to it: its turn may end at any time
                    pause = _STAND_BY_S
                else:
                    await session()
        except Narrowed as error:
            maillog.away(name, error)
            await asyncio.sleep(_PAUSE_FIRST_S)
            continue
        except (Broken, Refused, Away, OSError) as error:
            maillog.away(name, error)
            await _tell(failed, str(error))
        except Exception as error:  # noqa: BLE001 (a loop never ends by a fault)
            maillog.fault(name, error)
            await _tell(failed, f"{type(error).__name__}: {error}")
        await asyncio.sleep(pause)
        good = not ours or loop.time() - began > pause + _GOOD_S
        pause = _PAUSE_FIRST_S if good else min(pause * 2, _PAUSE_LAST_S)


async def _tell(failed: Callable[[str], None], why: str) -> None:
    with contextlib.suppress(Away):
        await asyncio.to_thread(failed, why)


@contextlib.asynccontextmanager
async def _only_one(store: Store, name: str) -> AsyncIterator[bool]:
    held = store.only_one(name)
    ours = await asyncio.to_thread(held.__enter__)
    try:
        yield ours
    finally:
        await asyncio.shield(asyncio.to_thread(held.__exit__, None, None, None))
