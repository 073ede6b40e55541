"""The SMTP and LMTP doors: aiosmtpd, with what it does wrong mended.

Faults are 451 and say nothing; LMTP answers once for each recipient; a commit survives its
client; DATA goes to a spool; everything has a cap and a deadline.

*Standards:* RFC 5321, RFC 2033 (LMTP), RFC 1870 (SIZE), RFC 3207 (STARTTLS), RFC 2034 (codes).
"""

import asyncio
import ipaddress
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway import maillog
from gateway.arrive import accept
from gateway.arrive.accept import Acceptor
from gateway.arrive.spool import WHOLE, Incoming
from gateway.mail.status import Status
from gateway.store.arrivals import Received
from gateway.worker import now_ms

READ_LIMIT = WHOLE  # octets a session buffers
RECIPIENTS_MAX = 100
CONNECTIONS_MAX = 1_000
CONNECTIONS_PER_PEER = 200
SILENT_S = 0.5  # a session that said nothing for so long may have to go for another
IN_FLIGHT_MAX = 256 * 1024 * 1024  # octets of mails arriving at once
IDLE_S = 300.0
SESSION_S = 3_600.0
SLOW_AFTER_S = 30.0
SLOWEST = 500  # octets a second in DATA
_CALLS = {"MAIL": 10_000, "RCPT": 100_000, "DATA": 10_000, "RSET": 10_000, "*": 1_000}  # a session
_END = b"\r\n.\r\n"
_GO_ON = "354 go on; end with a line that holds a dot"
_OK = Status(2, 50, "1.0", "fine")
_TOO_MANY = Status(4, 52, "5.3", "too many recipients / 收件者太多")
_BUSY = Status(4, 21, "3.2", "too much at once, try again later / 目前過於忙碌，請稍後再試")
_FAULT = Status(4, 21, "3.0", accept.AWAY.text)
_SLOW = Status(4, 21, "4.2", "too slow, or silent too long / 太慢或閒置太久")
STOPPING = Status(4, 21, "3.2", "closing down, try again soon / 服務停止中，請稍後再試")
_NO_RECIPIENT = Status(5, 3, "5.1", "no recipient yet")
_NO_ARGUMENT = Status(5, 1, "5.4", "DATA takes no argument")
_PATH = re.compile(r'\s*(?:<((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>|([^<>"\s]+))(.*)', re.DOTALL)
_SIZE = re.compile(r"\bSIZE=(\d{1,15})\b", re.IGNORECASE)


@dataclass(slots=True)
class Shared:
    """What the sessions of all doors share."""

    acceptor: Acceptor
    hostname: str
    peers: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    sessions: set["Door"] = field(default_factory=set)

    def make_room(self, newest: "Door") -> bool:
        """End the session that was silent longest, of the same peer if there are too many of that peer's.

        False when there is none that is silent: then the newest has to go. So who holds connections
        without a word, however many, keeps out nobody who has something to say.
        """
        crowded = self.peers.get(newest.peer, 0) > CONNECTIONS_PER_PEER and newest.peer != "unix"
        if not crowded and len(self.sessions) <= CONNECTIONS_MAX:
            return True
        those = [each for each in self.sessions if each is not newest and (each.peer == newest.peer or not crowded)]
        silent = min((each for each in those if not each.receiving), key=lambda each: each.heard, default=None)
        if silent is None or time.monotonic() - silent.heard < SILENT_S:
            return False
        silent.end(_BUSY)
        return True


@dataclass(frozen=True, slots=True)
class Settings:
    """One door: `smtp` or `lmtp`. `trusted` are the networks of our own people's hosts."""

    name: str
    max_size: int
    trusted: Sequence[str] = ()
    tls: ssl.SSLContext | None = None
    require_tls: bool = False


class _Hooks:
    """What aiosmtpd asks about a command whose syntax is right."""

    async def handle_EHLO(  # noqa: N802 (aiosmtpd's name and arguments)
        self, door: "Door", session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        kept = [line for line in responses if door.offers_auth or not line.startswith("250-AUTH")]
        last = kept.pop()
        return [*kept, "250-PIPELINING", "250-ENHANCEDSTATUSCODES", last]

    async def handle_MAIL(  # noqa: N802 (aiosmtpd's name)
        self, door: "Door", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        declared = _SIZE.search(" ".join(options))
        if refused := door.refuses(int(declared[1]) if declared else 0):
            return door.say(refused)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return door.say(_OK)

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, door: "Door", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= RECIPIENTS_MAX:
            return door.say(_TOO_MANY)
        status = await door.doors.acceptor.recipient(address)
        if status.severity == 2:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return door.say(status)


_HOOKS = _Hooks()


class Door(SMTP):
    """An SMTP session."""

    line_length_limit = READ_LIMIT
    command_size_limit = 2_048
    offers_auth = False

    def __init__(
        self, doors: Shared, settings: Settings, loop: asyncio.AbstractEventLoop, **more: Any,  # noqa: ANN401 (aiosmtpd's)
    ) -> None:  # fmt: skip
        super().__init__(
            _HOOKS,
            data_size_limit=settings.max_size,
            hostname=doors.hostname,
            ident=f"Replygate {settings.name.upper()}",
            tls_context=settings.tls,
            require_starttls=settings.require_tls,
            timeout=IDLE_S,
            command_call_limit=_CALLS,
            loop=loop,
            **{"auth_exclude_mechanism": ("LOGIN", "PLAIN"), **more},
        )
        self.doors = doors
        self._settings = settings
        self.peer = ""
        self.receiving = False
        self.heard = time.monotonic()
        self._trusted = False
        self._deadline: asyncio.TimerHandle | None = None

    # -- connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the session; if there are too many, the silent ones go first."""
        again = self._deadline is not None  # a second time, for TLS
        if not again:
            name = transport.get_extra_info("peername")
            self.peer = str(name[0]) if isinstance(name, tuple) and name else "unix"
            self._trusted = _inside(self.peer, self._settings.trusted)
            self._deadline = self.loop.call_later(SESSION_S, self.end, _SLOW)
            self.doors.sessions.add(self)
            self.doors.peers[self.peer] = self.doors.peers.get(self.peer, 0) + 1
        super().connection_made(transport)
        if not again and not self.doors.make_room(self):
            self.end(_BUSY)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the session."""
        if self in self.doors.sessions:
            self.doors.sessions.discard(self)
            left = self.doors.peers.get(self.peer, 1) - 1
            self.doors.peers[self.peer] = left
            if left <= 0:
                del self.doors.peers[self.peer]
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(error)

    def end(self, status: Status, *, unless_busy: bool = False) -> None:
        """Say why and hang up; with `unless_busy` not while a mail is arriving."""
        if unless_busy and self.receiving:
            return
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is not None and not transport.is_closing():
            transport.write(self.say(status).encode() + b"\r\n")
            transport.close()

    def _reset_timeout(self, duration: float | None = None) -> None:
        self.heard = time.monotonic()
        super()._reset_timeout(duration)

    def _timeout_cb(self) -> None:
        self.end(_SLOW)

    async def handle_exception(self, error: Exception) -> str:
        """Answer 451 and nothing else (law 4): aiosmtpd would say 500 and what went wrong."""
        maillog.fault(self._settings.name, error)
        return str(accept.AWAY)

    # -- commands

    def say(self, status: Status) -> str:
        """Return the line that answers a command; what is not yes is logged."""
        if status.severity != 2:
            maillog.rejected(self._settings.name, self.peer, str(status))
        return str(status)

    async def push(self, status: str | bytes) -> None:
        """Send a line, in UTF-8."""
        line = status.encode("utf-8") if isinstance(status, str) else status
        await super().push(line)

    def refuses(self, octets: int) -> Status | None:
        """Return why a mail that says to be of `octets` is not taken, or None."""
        if octets > self._settings.max_size:
            return accept.TOO_LARGE
        if self.doors.in_flight > IN_FLIGHT_MAX:
            return _BUSY
        return self.doors.acceptor.room(max(octets, READ_LIMIT))

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Read a path by our own rules: aiosmtpd's parser takes time a stranger chooses."""
        match = _PATH.fullmatch(arg)
        if match is None:
            return None, None
        path = match[1] if match[1] is not None else match[2]
        address = path.rpartition(":")[2] if path.startswith("@") else path
        if match[1] == "":
            return "<>", match[3].strip()
        return (address, match[3].strip()) if len(address) <= 998 else (None, None)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 (aiosmtpd's name)
        """Refuse a declared size before aiosmtpd reads the rest."""
        declared = _SIZE.search(arg or "")
        if declared and int(declared[1]) > self._settings.max_size:
            await self.push(self.say(accept.TOO_LARGE))
            return
        await super().smtp_MAIL(arg)

    async def smtp_GET(self, _arg: str | None) -> None:  # noqa: N802 (aiosmtpd's name)
        """Hang up on a browser that was led here (RFC 5321 knows no such verb)."""
        self.end(_SLOW)

    smtp_POST = smtp_GET  # noqa: N815 (aiosmtpd's name)
    smtp_CONNECT = smtp_GET  # noqa: N815 (aiosmtpd's name)
    smtp_PUT = smtp_GET  # noqa: N815 (aiosmtpd's name)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 (aiosmtpd's name)
        """Take a mail into a spool and keep it."""
        envelope = cast("Envelope", self.envelope)
        session = cast("Session", self.session)
        if not envelope.rcpt_tos or arg or not session.host_name:
            await self.push(self.say(_NO_ARGUMENT if arg else _NO_RECIPIENT))
            return
        if refused := self.refuses(0):
            await self.push(self.say(refused))
            return
        self.receiving = True
        self.doors.acceptor.arriving()
        complete = False
        mail = Incoming(self.doors.acceptor.spool, self._settings.max_size)
        try:
            await self.push(_GO_ON)
            complete = await self._receive(mail)
            if complete:
                await self._answer(await self._keep(envelope, session, mail), envelope)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 (law 4: faults are 4xx, and what is left of a mail is no command)
            maillog.fault(self._settings.name, error)
            if complete:
                await self._answer(accept.AWAY, envelope)
            else:
                self.end(_FAULT)
        finally:
            mail.close()
            self.receiving = False
            self._set_post_data_state()  # type: ignore[no-untyped-call]  # aiosmtpd's

    async def _receive(self, mail: Incoming) -> bool:
        """Read up to the final dot; False if the session had to end before it."""
        reader: Any = self._reader
        reader._buffer[:0] = b"\r\n"  # noqa: SLF001 (asyncio has no way to unread)
        began = time.monotonic()
        last = False
        counted = 0
        try:
            while not last:
                try:
                    chunk: bytes = await reader.readuntil(_END)
                    last = True
                except asyncio.LimitOverrunError as more:
                    chunk = await reader.readexactly(more.consumed)
                mail.take(chunk, last=last)
                counted += len(chunk)
                self.doors.in_flight += len(chunk)
                self._reset_timeout()
                elapsed = time.monotonic() - began
                slow = not last and elapsed > SLOW_AFTER_S and counted / elapsed < SLOWEST
                if slow or counted > 2 * self._settings.max_size + READ_LIMIT:
                    self.end(_SLOW if slow else accept.TOO_LARGE)
                    return False
        finally:
            self.doors.in_flight -= counted
        return True

    async def _keep(self, envelope: Envelope, session: Session, mail: Incoming) -> Status:
        content = mail.content()
        if content is None:
            return accept.TOO_LARGE
        return_path = envelope.mail_from or ""
        status = await self.doors.acceptor.keep(
            Received(
                received_at=now_ms(),
                door=self._settings.name,
                peer=self.peer[:64],
                helo=str(session.host_name)[:255],
                return_path="" if return_path == "<>" else return_path,
                trusted=self._trusted,
                auth_who=str(session.auth_data) if session.authenticated and session.auth_data else "",
                recipients=tuple(dict.fromkeys(envelope.rcpt_tos)),
                content=content,
            )
        )
        if status is accept.KEPT:
            maillog.accepted(self._settings.name, self.peer, mail.size, len(envelope.rcpt_tos))
        return status

    async def _answer(self, status: Status, _envelope: Envelope) -> None:
        await self.push(self.say(status))


class LmtpDoor(Door, LMTP):
    """An LMTP session: one answer after DATA for each recipient (RFC 2033 §4.2)."""

    async def _answer(self, status: Status, envelope: Envelope) -> None:
        await self.push("\r\n".join([self.say(status)] * len(envelope.rcpt_tos)))


def _inside(peer: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in ipaddress.ip_network(network) for network in networks)
