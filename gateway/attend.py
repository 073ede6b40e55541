"""Attend to an account: one connection after another, for ever, with a pause before each that grows while it fails.

*Failure:* whatever ends a connection is told, and costs a pause; nothing ends the loop but being cancelled. Of several
nodes one attends to an account at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway import maillog
from gateway.imap import Broken, Refused
from gateway.store.session import Away, Store

_PAUSE_FIRST_S, _PAUSE_LAST_S = 1.0, 120.0
_GOOD_S = 60.0  # a connection that lasted so long was a good one


async def attend(
    store: Store, name: str, session: Callable[[], Awaitable[None]], failed: Callable[[str], None]
) -> None:  # fmt: skip
    """Run `session`, which connects, again and again; `failed` is told, in a thread, what ended one."""
    loop = asyncio.get_running_loop()
    pause = _PAUSE_FIRST_S
    while True:
        began = loop.time()
        try:
            async with _only_one(store, name) as ours:
                if ours:
                    await session()
        except (Broken, Refused, Away, OSError) as error:
            maillog.away(name, error)
            await _tell(failed, str(error))
        except Exception as error:  # noqa: BLE001 (a loop never ends by a fault)
            maillog.fault(name, error)
            await _tell(failed, f"{type(error).__name__}: {error}")
        await asyncio.sleep(pause)
        pause = _PAUSE_FIRST_S if loop.time() - began > pause + _GOOD_S else min(pause * 2, _PAUSE_LAST_S)


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
