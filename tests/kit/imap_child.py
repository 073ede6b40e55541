"""A client of an IMAP server in a process of its own, so that what it costs in memory can be told."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import imap
from gateway.imap import Account, Broken, Mailbox, Refused

SECONDS = 2.0  # the deadline of a command, in place of a minute
WORKERS = multiprocessing.get_context("forkserver")


@dataclass
class Outcome:
    """What came of it: how it ended, the mails that were taken, and what it cost."""

    ended: str = ""
    mails: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)  # by the next connection
    seconds: float = 0.0
    mib: float = 0.0


def shorten(seconds: float = SECONDS) -> None:
    """Let commands end sooner. Only for a process of our own."""
    imap.COMMAND_S = imap.CONNECT_S = seconds
    Mailbox._do.__defaults__ = (seconds,)


def account(port: int, folder: Path) -> Account:
    password = folder / "password"
    password.write_text("x")
    return Account("127.0.0.1", port, "gateway", tls=False, password_file=password)


async def at_once(box: Mailbox) -> list[bytes]:
    """Fetch all mails by one command."""
    await box.select("INBOX")
    found = {each.uid: each.octets for each in await box.listed("1:*", "UID BODY.PEEK[]") if each.octets is not None}
    return [found[uid] for uid in sorted(found)]


async def in_parts(box: Mailbox) -> list[bytes]:
    """Fetch all mails one by one, in parts."""
    await box.select("INBOX")
    uids = sorted({each.uid for each in await box.listed("1:*", "UID")})
    return [b"".join([part async for part in box.octets(uid, 0, 64 * 1024 * 1024)]) for uid in uids]


Fetch = Callable[[Mailbox], Any]


def peak_mib() -> float:
    """Return the most memory this process had since `forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> float:
    """Begin to measure anew; return what there is now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


async def _try(port: int, folder: Path, fetch: Fetch) -> tuple[str, list[bytes]]:
    box = None
    try:
        box = await imap.connect(account(port, folder))
        return "", await fetch(box)
    except (Broken, Refused) as error:
        return f"{type(error).__name__}: {error}", []
    finally:
        if box is not None:
            await box.close()


async def _once(port: int, folder: Path, fetch: Fetch, told: Any) -> None:
    box = await imap.connect(account(port, folder))  # what is loaded once is loaded
    await box.close()
    outcome = Outcome()
    before = forget_peak()
    began = time.monotonic()
    outcome.ended, outcome.mails = await _try(port, folder, fetch)
    outcome.seconds = time.monotonic() - began
    outcome.mib = peak_mib() - before
    again, outcome.after = await _try(port, folder, fetch)
    outcome.ended += f"; and again {again}" if again else ""
    told.send(outcome)


def _main(port: int, folder: Path, fetch: Fetch, told: Any, seconds: float) -> None:
    shorten(seconds)
    asyncio.run(_once(port, folder, fetch, told))


def client(port: int, folder: Path, fetch: Fetch, seconds: float = SECONDS) -> Outcome:
    """Fetch from a server twice, with a new connection each time; return what came of it."""
    WORKERS.set_forkserver_preload(["tests.kit.imap_child"])
    ours, theirs = WORKERS.Pipe()
    process = WORKERS.Process(target=_main, args=(port, folder, fetch, theirs, seconds))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        ours.close()
        process.join(30)
        process.kill()
        process.close()
