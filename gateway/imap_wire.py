"""The wire to an IMAP server: the library's client, reading in a loop and in bounded memory.

The library's parser recurses once a line, joins what it has at each, and leaves commands hanging when the connection
is lost. Here the wire is read anew, and whole answers go to the one command that waits; the library keeps what is good
in it: commands, states, IDLE.

*Failure:* what is out of grammar, too large or lost fails the command that waits, and drops the connection; `broken`
says why.

*Standards:* RFC 3501 (§2.2, §4.3, §7).
"""

import asyncio
import re
from typing import Any

from aioimaplib import aioimaplib

from gateway.mail.imap import LITERAL

PART = 1024 * 1024  # octets of a mail that are fetched at once
_LINE_MAX = 2 * 1024 * 1024  # a search answers in one line, with every UID it found
_LITERAL_MAX = PART + 64 * 1024
_ANSWER_MAX = 24 * 1024 * 1024  # octets of all answers to one command, with what each line of them costs
_LINE_COSTS = 128  # octets that holding a line takes beside its own
_TAGGED = re.compile(rb"[A-Z]+\d+ (?:OK|NO|BAD)\b")
STOPPED = aioimaplib.STOP_WAIT_SERVER_PUSH
FAULTS = (aioimaplib.AioImapException, OSError, ValueError, RuntimeError)  # the last of a transport that is closed


class Wire(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]  # the library has no types
    """Reads the wire in a loop, in bounded memory; hands whole answers to the command that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._buffer = bytearray()
        self._looked = 0
        self._pieces: list[bytes] = []
        self._literal = -1  # octets of a literal that are still to come, -1 outside one
        self._octets = 0
        self.broken = ""
        self.pending_sync_command: Any = None

    def data_received(self, data: bytes) -> None:
        """Take what came: whole answers go to the command that waits."""
        if self.broken:
            return
        self._octets += len(data)
        self._buffer += data
        try:
            if self._octets > _ANSWER_MAX:
                self.fail("the server sends more than was asked for")
                return
            while self._next():
                pass
            if self.pending_sync_command is not None:
                self.pending_sync_command.flush()
        except Exception as error:  # noqa: BLE001 (whatever a server sends, it is its fault)
            self.fail(f"the server's answer makes no sense: {error}")

    def _next(self) -> bool:
        """Take one line or literal from the buffer; False if there is none whole."""
        if self._literal >= 0:
            if len(self._buffer) < self._literal:
                return False
            self._pieces.append(bytes(self._buffer[: self._literal]))
            del self._buffer[: self._literal]
            self._literal = -1
            return True
        end = self._buffer.find(b"\r\n", max(self._looked - 1, 0))
        if end < 0:
            self._looked = len(self._buffer)
            if self._looked > _LINE_MAX:
                self.fail("a line of the server has no end")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._looked = 0
        self._pieces.append(line)
        self._octets += _LINE_COSTS
        if (match := LITERAL.search(line)) is not None:
            self._literal = int(match[1])
            if not 0 <= self._literal <= _LITERAL_MAX:
                self.fail(f"the server announces {self._literal} octets")
                return False
            return True
        pieces, self._pieces = self._pieces, []
        self._answer(pieces)
        return not self.broken

    def _answer(self, pieces: list[bytes]) -> None:
        first = pieces[0]
        if not first and len(pieces) == 1:
            return
        if self.state == aioimaplib.CONNECTED:
            if not first.startswith((b"* OK", b"* PREAUTH")):
                self.fail("the server does not greet")
                return
            self._handle_line(first, None)
        elif _TAGGED.match(first):
            self._response_done(first)
        elif first.startswith(b"* BYE"):
            self.fail("the server says goodbye")
        elif first.startswith(b"* "):
            self._untagged([first[2:], *pieces[1:]])
        elif first.startswith(b"+") and getattr(self.pending_sync_command, "name", "") == "AUTHENTICATE":
            self.transport.write(b"\r\n")  # it says why the token is refused, and then refuses it
        elif first.startswith(b"+"):
            self._continuation(first)
        else:
            self.fail("the server sends what is no answer")

    def _untagged(self, pieces: list[bytes]) -> None:
        command = self.waiting
        if command is None:
            return  # nobody asked: EXISTS and the like, between two commands
        if len(pieces) == 1 or isinstance(command, aioimaplib.IdleCommand):
            command.append_to_resp(pieces[0])
        else:
            command.append_to_resp(tuple(pieces))

    @property
    def waiting(self) -> Any:
        """The one command that waits for its answer."""
        if self.pending_sync_command is not None:
            return self.pending_sync_command
        return next(iter(self.pending_async_commands.values()), None)

    def begin(self) -> None:
        """Count the octets of a new command's answers."""
        self._octets = 0

    async def execute(self, command: Any, scrub: str | None = None) -> Any:
        """Give a command. None is written to a connection that is lost: nobody would say that no answer comes."""
        if self.broken:
            raise aioimaplib.Abort(self.broken)
        return await super().execute(command, scrub)

    def fail(self, why: str) -> None:
        """Drop the connection; `why` is told to whoever waits."""
        self.broken = self.broken or why
        self._buffer.clear()
        self._pieces.clear()
        if self.transport is not None:
            self.transport.abort()
        self._release()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any more."""
        self.broken = self.broken or f"the connection is lost{f': {exc}' if exc else ''}"
        self._release()

    def _release(self) -> None:
        """Let nobody wait for an answer that will not come."""
        waiting = [self.pending_sync_command, *self.pending_async_commands.values()]
        self.pending_sync_command = None
        self.pending_async_commands.clear()
        for command in waiting:
            if command is not None:
                command._exception = aioimaplib.Abort(self.broken)
                command._event.set()
        self.idle_queue.put_nowait(aioimaplib.STOP_WAIT_SERVER_PUSH)


class Client(aioimaplib.IMAP4):  # type: ignore[misc]  # as above
    """The library's client on our wire."""

    def create_client(
        self, host: str, port: int, loop: Any, _conn_lost_cb: Any = None, ssl_context: Any = None
    ) -> None:
        """Connect, with our wire."""
        running = loop or asyncio.get_running_loop()
        self.protocol = Wire(running)
        self._client_task = running.create_task(
            running.create_connection(lambda: self.protocol, host, port, ssl=ssl_context)
        )


def capability_command(client: Any) -> Any:  # a command and its answer, as the library has them
    """Ask what a server can do, now that one is logged in: it may be more."""

    async def ask() -> Any:
        protocol = client.protocol
        made = aioimaplib.Command("CAPABILITY", protocol.new_tag(), loop=protocol.loop)
        response = await protocol.execute(made)
        for line in response.lines[:-1]:  # the last says that it is complete
            if isinstance(line, bytes) and line.upper().startswith(b"CAPABILITY"):
                protocol.capabilities = set(line.decode("ascii", "replace").upper().split())
        return response

    return ask
