"""How a session begins, is spoken in and ends; aiosmtpd's own loop bounds neither errors nor what it logs.

Who does not speak SMTP, or speaks before we greet, is hung up on. Errors and idle words are counted.
Once a session is told that it ends no command of it is obeyed, whatever stands behind it in the pipe.

*Standards:* RFC 5321 §4.1.1 (commands), §2.3.8 (lines end with CRLF), §4.5.3.1.10 (too many recipients); RFC 6531 §3.3
(addresses in UTF-8).
"""

import asyncio
import fcntl
import re
import termios
import time
from functools import cache
from typing import Any, cast

from aiosmtpd.smtp import SMTP, TLSSetupException

from gateway import maillog
from gateway.arrive import accept, crowd
from gateway.arrive.crowd import Shared
from gateway.mail.status import Status

LINE_MAX = 2_048  # octets of a command
AUTH_LINE_MAX = 12_288  # RFC 4954 §4
DISCARD_MAX = 1024 * 1024  # octets of a longer one that are read to find its end
IDLE_S = 300.0
SESSION_S = 3_600.0
LINGER_S = 2.0  # how long what was said last may take to leave
ERRORS_MAX = 20  # since the last mail
JUNK_MAX = 100  # words that bring no mail nearer, since the last mail
_OVERSHOOT = 0.02  # of an error is each recipient beyond the limit: a long list comes in one packet
_NO_JUNK = frozenset({"MAIL", "RCPT", "DATA", "QUIT", "STARTTLS", "AUTH"})
_BEFORE_TLS = frozenset({"NOOP", "EHLO", "STARTTLS", "QUIT", "AUTH"})  # AUTH has an answer of its own
# What follows these is no command: a browser's request, or octets of a mail in chunks nobody was offered.
_FOREIGN = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI", "BDAT", "BURL", "XEXCH50"}
)
_UNREADABLE = re.compile(rb"[^\t\x20-\x7e]")
_WITH_ADDRESSES = frozenset({b"MAIL", b"RCPT"})  # which may be in UTF-8 (RFC 6531 §3.3)
BUSY = Status(4, 21, "3.2", "too much at once, try again later / 目前過於忙碌，請稍後再試")
SLOW = Status(4, 21, "4.2", "too slow, or silent too long / 太慢或閒置太久")
ERRORS = Status(4, 21, "7.0", "too many errors / 錯誤過多")
EARLY = Status(5, 54, "5.1", "you spoke before we greeted / 請先等候問候")
FOREIGN = Status(5, 54, "5.1", "this is no SMTP / 這不是 SMTP")
_BYE = Status(2, 21, "0.0", "bye")
_NO_ARGUMENT = Status(5, 1, "5.4", "that takes no argument")
_TLS_FIRST = Status(5, 30, "7.0", "begin with STARTTLS / 請先使用 STARTTLS")
_TLS_TWICE = Status(5, 3, "5.1", "it is TLS already")
_UNKNOWN = Status(5, 0, "5.1", "unknown command")
_TOO_LONG = Status(5, 0, "5.6", "line is too long")
_NO_CRLF = Status(5, 0, "5.2", "lines end with CR and LF")
_ILL = Status(5, 0, "5.2", "commands are ASCII, addresses UTF-8, without control characters")


class Conversation(SMTP):
    """A session of aiosmtpd's, bounded. `receiving` while a mail comes, `keeping` while it is committed."""

    line_length_limit = AUTH_LINE_MAX + 2
    errors_max, junk_max = ERRORS_MAX, JUNK_MAX
    transport: asyncio.Transport | None

    def __init__(self, hooks: object, doors: Shared, loop: asyncio.AbstractEventLoop, **more: Any) -> None:  # noqa: ANN401 (aiosmtpd's own options, handed on)
        super().__init__(hooks, hostname=doors.hostname, timeout=IDLE_S, loop=loop, **more)
        self.doors = doors
        self.peer = self.group = ""
        self.receiving = self.keeping = self.ended = False
        self.heard = self.came = time.monotonic()  # a command or a chunk; any octets
        self._greeted = False
        self._errors = 0.0
        self._junk = 0
        self._after: Status | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def __dir__(self) -> list[str]:
        """Name verbs and mechanisms only: aiosmtpd looks through all the names of each new session."""
        kind: Any = type(self)
        return _names(kind)

    # -- it begins and ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the session; if there are too many, a silent one goes first."""
        again = self._deadline is not None  # a second time, for TLS
        if not again:
            name = transport.get_extra_info("peername")
            self.peer = str(name[0]) if isinstance(name, tuple) and name else "unix"
            self.group = crowd.group_of(self.peer)
            self._deadline = self.loop.call_later(SESSION_S, self.end, SLOW)
        super().connection_made(transport)
        if again:
            return
        stays = self.doors.enter(self)
        if _spoke_already(transport):
            self.end(EARLY)
        elif not stays:
            self.end(BUSY)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the session."""
        self.ended = True
        self.doors.left(self)
        for timer in (self._deadline, self._linger):
            if timer is not None:
                timer.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Take octets, unless they come before the greeting or after the end."""
        if self.ended:
            return
        if not self._greeted:
            self.end(EARLY)
            return
        self.came = time.monotonic()
        super().data_received(data)

    def eof_received(self) -> bool:
        """Let go of a peer that says no more: aiosmtpd would hold the half that is open until its time is up."""
        super().eof_received()
        return False

    def end(self, status: Status, *, unless_busy: bool = False) -> None:
        """Say why and hang up; with `unless_busy` not while a mail comes. A mail being kept is answered first."""
        if (unless_busy and self.receiving) or self.ended or self.transport is None:
            return
        if self.keeping:
            self._after = self._after or status
            return
        self.ended = True
        if not self.transport.is_closing():
            self.transport.write(self.say(status).encode() + b"\r\n")
            self.transport.close()
        self._linger = self.loop.call_later(LINGER_S, self._abort)
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def _abort(self) -> None:
        """Let go of a peer that reads not even our last words."""
        transport = cast("asyncio.Transport | None", self._original_transport or self.transport)
        if transport is not None:
            transport.abort()

    def leave(self) -> bool:
        """Go, for there is no room; False if it is going already or cannot just now."""
        if self.ended or self.keeping:
            return False
        self.end(BUSY)
        return True

    def forgive(self) -> None:
        """Forget what was wrong: a mail was kept."""
        self._errors, self._junk = 0.0, 0

    def settled(self) -> None:
        """Let happen what waited until a mail was answered."""
        if self._after is not None:
            self.end(self._after)

    def stalls(self, _now: float) -> bool:
        """Whether its mail comes too slowly, or not at all."""
        return False

    def _reset_timeout(self, duration: float | None = None) -> None:
        self.heard = time.monotonic()
        self.doors.heard(self)
        super()._reset_timeout(duration)

    def _timeout_cb(self) -> None:
        self.end(SLOW)

    # -- it is spoken in

    def say(self, status: Status) -> str:
        """Return the line that answers a command; what is not yes is logged."""
        if status.severity != 2:
            maillog.rejected(self.door_name, self.peer, str(status))
        return str(status)

    @property
    def door_name(self) -> str:
        """How the door is called in the log."""
        return "smtp"

    async def push(self, status: str | bytes) -> None:
        """Send a line, in UTF-8, and count it if it is a no."""
        line = status.encode("utf-8") if isinstance(status, str) else status
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        await super().push(line)
        if line[:1] in {b"4", b"5"}:
            self._errors += _OVERSHOOT if line.startswith(b"452 4.5.3") else 1
            if self._errors >= self.errors_max:
                self.end(ERRORS)

    async def handle_exception(self, error: Exception) -> str:
        """Answer 451 and nothing else (law 4): aiosmtpd would say 500 and what went wrong."""
        maillog.fault(self.door_name, error)
        return str(accept.AWAY)

    async def _handle_client(self) -> None:
        """Greet, then obey one command after the other."""
        try:
            self._greeted = True
            await self.push(f"220 {self.hostname} {self.__ident__}")
            while not self.ended:
                line = await self._line()
                if line is not None:
                    await self._obey(line)
        except (ConnectionError, EOFError):
            pass  # the peer is gone
        except TLSSetupException as error:
            if self.transport is not None:
                self.transport.close()
                self.connection_lost(error)
        finally:
            self._writer.close()

    async def _line(self, most: int = 0) -> str | None:
        """Read a command, or with `most` an answer of so many octets; None when it was none, and has been answered."""
        reader: Any = self._reader
        try:
            line: bytes = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as more:
            await self._discard(more.consumed)
            return None
        text = line.rstrip(b"\r\n")
        verb = text.split(b" ", 1)[0].upper()
        if not most and text and (not text[:1].isalpha() or b":" in verb or verb.decode("latin-1") in _FOREIGN):
            self.end(FOREIGN)
        elif len(text) > (most or (AUTH_LINE_MAX if verb == b"AUTH" else LINE_MAX)):
            await self.push(self.say(_TOO_LONG))
        elif not line.endswith(b"\r\n"):
            await self.push(self.say(_NO_CRLF))
        elif not most and verb in _WITH_ADDRESSES and (path := _utf_8(text)).isprintable():
            return path
        elif _UNREADABLE.search(text):
            await self.push(self.say(_ILL))
        else:
            return text.decode("ascii")
        return None

    async def _discard(self, octets: int) -> None:
        """Read a line that is too long to its end, and say so."""
        reader: Any = self._reader
        read = 0
        while octets:
            read += len(await reader.readexactly(octets))
            if read > DISCARD_MAX:
                self.end(FOREIGN)
                return
            try:
                await reader.readuntil(b"\n")
                octets = 0
            except asyncio.LimitOverrunError as more:
                octets = more.consumed
        await self.push(self.say(_TOO_LONG))

    async def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        verb = word.upper()
        if verb not in _NO_JUNK:
            self._junk += 1
            if self._junk > self.junk_max:
                self.end(ERRORS)
                return
        if self.require_starttls and not self._tls_protocol and verb not in _BEFORE_TLS:
            await self.push(self.say(_TLS_FIRST))
            return
        method = self._smtp_methods.get(verb)
        if method is None:
            await self.push(self.say(_UNKNOWN))
            return
        self._reset_timeout()
        try:
            await method(rest.strip() or None)
        except (ConnectionError, TLSSetupException):
            raise
        except Exception as error:  # noqa: BLE001 (law 4: faults are 4xx)
            await self.push(await self.handle_exception(error))

    async def smtp_QUIT(self, arg: str | None) -> None:
        """Say good-bye."""
        if arg:
            await self.push(self.say(_NO_ARGUMENT))
        else:
            self.end(_BYE)

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Begin TLS, once: aiosmtpd would begin it again inside."""
        if self._tls_protocol:
            await self.push(self.say(_TLS_TWICE))
        else:
            await super().smtp_STARTTLS(arg)


@cache
def _names(kind: type) -> list[str]:
    return [name for name in dir(kind) if name.startswith(("smtp_", "auth_"))]


def _utf_8(text: bytes) -> str:
    """Return a line in UTF-8; what is none becomes characters that nobody prints."""
    return text.decode("utf-8", "surrogateescape")


def _spoke_already(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer said something before it was greeted: an SMTP client waits, others do not."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    try:
        waiting = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4)
    except OSError:
        return False
    return any(waiting)
