"""An IMAP server that is not one: it holds mails in memory, and misbehaves at the moment a mail is fetched.

It runs in a thread of its own. Any name and password log in. Until a mail's octets are asked for it behaves, and in
the mode "" it goes on so. `capabilities` leaves out what a poor server cannot do: MOVE, IDLE, UIDPLUS, LIST-STATUS.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

from tests.kit.imap_session import Mail, Mailbox, Refused, Session

Mode = Literal[
    "", "endless literal", "negative literal", "stray data", "silence", "cut mid-literal",
    "thousands of lines in one read", "wrong UIDVALIDITY", "says a mail twice", "flags before it", "flags after it",
    "refuses a mail", "leaves a mail out", "takes a mail away", "millions of short lines",
]  # fmt: skip
CAPABILITIES = "IMAP4rev1 IDLE MOVE UIDPLUS LIST-STATUS NAMESPACE UNSELECT SASL-IR"
_JUNK = (
    b"* \r\n", b"*\r\n", b"\r\n", b"garbage\r\n", b"\xff\xfe\x00\x80\r\n", b"* 99999999999999999999999 EXISTS\r\n",
    b"* OK [\r\n", b"ZZZ999 OK of another command\r\n", b"* 7 FETCH (FLAGS (\\Seen))\r\n", b'* LIST (((( "\r\n',
    b"* SEARCH x -1 99999999999999999999\r\n", b"* BYTE \x01\x02\x03\r\n", b"* 0 EXPUNGE\r\n",
)  # fmt: skip
_FLOOD = b"* OK [ALERT] nothing to say\r\n" * 50_000


class HostileImap:
    """A server at `port`; it counts what it sent, and keeps what it heard."""

    def __init__(
        self,
        mails: Sequence[bytes] = (),
        mode: Mode = "",
        *,
        times: int | None = None,
        only: bytes = b"",
        capabilities: str = CAPABILITIES,
    ) -> None:
        """Hold these mails in INBOX; misbehave so many `times` and then no more, or always.

        `only` narrows it to answers that hold these octets; `sizes` are lies about RFC822.SIZE, by UID. Into the
        folders in `full` nothing is put; at an APPEND that holds `hangs_up_at` the connection ends. `idles` is
        whether it does what it says of IDLE. A command's line is 8,192 octets at most (RFC 7162 §4).
        """
        self.mode: Mode = mode
        self.times = times
        self.only = only
        self.sizes: dict[int, int] = {}
        self.full: set[str] = set()
        self.hangs_up_at = b""
        self.idles = True
        self.capabilities = capabilities
        self.boxes = {"INBOX": Mailbox()}
        for octets in mails:
            self.boxes["INBOX"].add(octets)
        self.port = 0
        self.octets_sent = self.connections = self.misbehaved = 0
        self.commands: list[str] = []
        self.proofs: list[str] = []  # what AUTHENTICATE was given
        self.errors: list[BaseException] = []  # our own mistakes
        self.sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> "HostileImap":
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake IMAP server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        """Drop every connection and end."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        if self._thread.is_alive():
            raise RuntimeError("the fake IMAP server did not stop")
        if self.errors:
            raise self.errors[0]

    def mails(self, name: str = "INBOX") -> list[bytes]:
        return [mail.octets for mail in self.boxes[name].mails]

    def deliver(self, octets: bytes, name: str = "INBOX") -> None:
        """Let a mail come: who idles there hears of it."""
        self._loop.call_soon_threadsafe(self.take, octets, name)

    def take(self, octets: bytes, name: str, flags: set[str] | None = None) -> Mail:
        mail = self.boxes[name].add(octets, flags)
        for session in self.sessions:
            if session.idles and session.box is self.boxes[name]:
                session.news()
        return mail

    def misbehaves(self, *modes: Mode) -> bool:
        """Whether it is to misbehave now, in one of these modes; it counts each time it says so."""
        if self.mode not in modes or (self.times is not None and self.misbehaved >= self.times):
            return False
        self.misbehaved += 1
        return True

    async def give(self, session: Session, answer: bytes) -> None:
        """Give the answer that holds a mail, or misbehave."""
        does = _MISBEHAVIOURS.get(self.mode)
        if does is not None and self.only in answer and self.misbehaves(self.mode):
            await does(session, answer)
        else:
            session.say(answer)

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        session = Session(self, reader, writer)
        self.sessions.add(session)
        try:
            await session.run()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 (the test hears of it)
            self.errors.append(error)
        finally:
            self.sessions.discard(session)
            self._tasks.discard(task)
            writer.close()
            if self._ended.is_set():
                writer.transport.abort()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


# ---- what it does in place of giving a mail


def _parts(answer: bytes) -> tuple[bytes, bytes]:
    """Return an answer up to the size of its literal, and the literal and what follows."""
    head, _, rest = answer.partition(b"{")
    return head, rest.partition(b"\r\n")[2]


async def _endless_literal(session: Session, answer: bytes) -> None:
    session.line(_parts(answer)[0], b"{4000000000}")
    while True:
        session.say(b"x" * 65_534, b"\r\n")
        await session.writer.drain()


async def _negative_literal(session: Session, answer: bytes) -> None:
    session.line(_parts(answer)[0], b"{-1}")
    session.line(b")")


async def _stray_data(session: Session, answer: bytes) -> None:
    session.say(*_JUNK, answer, *_JUNK)


async def _silence(session: Session, _: bytes) -> None:
    await session.reader.read()  # until the other side goes
    raise EOFError


async def _cut(session: Session, answer: bytes) -> None:
    session.say(answer[: len(answer) - len(_parts(answer)[1]) // 2])
    raise EOFError


async def _thousands(session: Session, answer: bytes) -> None:
    session.say(_FLOOD + answer)


async def _twice(session: Session, answer: bytes) -> None:
    session.say(answer, answer)


async def _flags_before(session: Session, answer: bytes) -> None:
    session.say(_flags_of(answer), answer)


async def _flags_after(session: Session, answer: bytes) -> None:
    session.say(answer, _flags_of(answer))


def _flags_of(answer: bytes) -> bytes:
    """Return what a server says of a mail, beside what was asked, when another client marked it."""
    number, _, rest = answer.partition(b" FETCH (UID ")
    return number + b" FETCH (UID " + rest.partition(b" ")[0] + b" FLAGS (\\Seen))\r\n"


async def _refuses(_: Session, __: bytes) -> None:
    raise Refused("NO [SERVERBUG] cannot read it")


async def _leaves_out(_: Session, __: bytes) -> None:
    pass


async def _takes_away(session: Session, answer: bytes) -> None:
    number = int(answer.split()[1])
    del session.selected.mails[number - 1]
    session.line(f"* {number} EXPUNGE")


async def _short_lines(session: Session, answer: bytes) -> None:
    for _ in range(2_000):
        session.say(b"* 12\r\n" * 10_000)
        await session.writer.drain()
    session.say(answer)


_MISBEHAVIOURS: dict[Mode, Callable[[Session, bytes], Awaitable[None]]] = {
    "endless literal": _endless_literal,
    "negative literal": _negative_literal,
    "stray data": _stray_data,
    "silence": _silence,
    "cut mid-literal": _cut,
    "thousands of lines in one read": _thousands,
    "says a mail twice": _twice,
    "flags before it": _flags_before,
    "flags after it": _flags_after,
    "refuses a mail": _refuses,
    "leaves a mail out": _leaves_out,
    "takes a mail away": _takes_away,
    "millions of short lines": _short_lines,
}
