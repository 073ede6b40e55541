"""The SMTP and LMTP doors: aiosmtpd, with what it does wrong mended.

Faults are 451 and say nothing; LMTP answers once for each recipient; a commit survives its
client; DATA goes to a spool; everything has a cap and a deadline. Who does not speak SMTP, or
speaks before we greet, is hung up on; no command is obeyed after that.

*Standards:* RFC 5321, RFC 2033 (LMTP), RFC 1870 (SIZE), RFC 3207 (STARTTLS), RFC 2034 (codes),
RFC 6531 (SMTPUTF8).
"""

import asyncio
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope, Session

from gateway import maillog
from gateway.arrive import accept, crowd
from gateway.arrive.crowd import Shared
from gateway.arrive.session import BUSY, SLOW, Conversation
from gateway.arrive.spool import WHOLE, Incoming
from gateway.mail.status import Status
from gateway.store.arrivals import Received
from gateway.worker import now_ms

READ_LIMIT = WHOLE  # octets of a mail a session buffers
RECIPIENTS_MAX = 100
IN_FLIGHT_MAX = 256 * 1024 * 1024  # octets of mails arriving at once
SLOW_AFTER_S = 30.0
_END = b"\r\n.\r\n"
_GO_ON = "354 go on; end with a line that holds a dot"
_OK = Status(2, 50, "1.0", "fine")
_TOO_MANY = Status(4, 52, "5.3", "too many recipients / 收件者太多")
_FAULT = Status(4, 21, "3.0", accept.AWAY.text)
STOPPING = Status(4, 21, "3.2", "closing down, try again soon / 服務停止中，請稍後再試")
_NO_RECIPIENT = Status(5, 3, "5.1", "no recipient yet")
_NO_ARGUMENT = Status(5, 1, "5.4", "DATA takes no argument")
_DISCREET = Status(2, 52, "0.0", "we tell nobody who is here; send mail and see")
_PATH = re.compile(r'\s*(?:<((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>|([^<>"\s]+))(.*)', re.DOTALL)
_SIZE = re.compile(r"\bSIZE=(\d{1,15})\b", re.IGNORECASE)
_AUTH_OF = re.compile(r"\sAUTH=\S+", re.IGNORECASE)


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

    async def handle_EHLO(
        self, door: "Door", session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        kept = [line for line in responses if door.offers_auth or not line.startswith("250-AUTH")]
        last = kept.pop()
        return [*kept, "250-PIPELINING", "250-ENHANCEDSTATUSCODES", last]

    async def handle_MAIL(
        self, door: "Door", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        declared = _SIZE.search(" ".join(options))
        if refused := door.refuses(int(declared[1]) if declared else 0):
            return door.say(refused)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return door.say(_OK)

    async def handle_RCPT(
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


class Door(Conversation):
    """An SMTP session."""

    command_size_limit = 2_048
    offers_auth = False

    def __init__(
        self, doors: Shared, settings: Settings, loop: asyncio.AbstractEventLoop, **more: Any,  # noqa: ANN401 (aiosmtpd's own options, handed on)
    ) -> None:  # fmt: skip
        super().__init__(
            _HOOKS,
            doors,
            loop,
            data_size_limit=settings.max_size,
            enable_SMTPUTF8=True,
            ident=f"Replygate {settings.name.upper()}",
            tls_context=settings.tls,
            require_starttls=settings.require_tls,
            **{"auth_exclude_mechanism": ("LOGIN", "PLAIN"), **more},
        )
        self._settings = settings
        self._began = 0.0  # when the mail that comes began to
        self._counted = 0  # octets of it so far

    @property
    def door_name(self) -> str:
        """How the door is called in the log."""
        return self._settings.name

    def stalls(self, now: float) -> bool:
        """Whether its mail comes too slowly, or not at all."""
        since = now - self._began
        reader: Any = self._reader
        octets = self._counted + len(reader._buffer)  # noqa: SLF001 (asyncio tells nobody)
        slow = since > crowd.STALLED_S and octets < since * crowd.SLOWEST
        return slow or now - self.came > crowd.STALLED_S

    def refuses(self, octets: int) -> Status | None:
        """Return why a mail that says to be of `octets` is not taken, or None."""
        if octets > self._settings.max_size:
            return accept.TOO_LARGE
        if self.doors.in_flight > IN_FLIGHT_MAX:
            return BUSY
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

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Refuse a declared size before aiosmtpd reads the rest; whom AUTH= names says nothing to us (RFC 4954 §5)."""
        declared = _SIZE.search(arg or "")
        if declared and int(declared[1]) > self._settings.max_size:
            await self.push(self.say(accept.TOO_LARGE))
            return
        await super().smtp_MAIL(_AUTH_OF.sub("", arg) if arg and self.offers_auth else arg)

    async def smtp_VRFY(self, _arg: str | None) -> None:
        """Tell nothing: aiosmtpd would repeat what was asked."""
        await self.push(self.say(_DISCREET))

    async def smtp_DATA(self, arg: str | None) -> None:
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
        reader: Any = self._reader
        reader._limit = READ_LIMIT  # noqa: SLF001 (asyncio has no way to change it)
        try:
            self._began, self._counted = time.monotonic(), 0
            await self.push(_GO_ON)
            self.keeping = complete = await self._receive(mail)
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
            reader._limit = self.line_length_limit  # noqa: SLF001 (as above)
            self.receiving = self.keeping = False
            self._set_post_data_state()  # type: ignore[no-untyped-call]  # aiosmtpd's
        self.settled()

    async def _receive(self, mail: Incoming) -> bool:
        """Read up to the final dot; False if the session had to end before it."""
        reader: Any = self._reader
        reader._buffer[:0] = b"\r\n"  # noqa: SLF001 (asyncio has no way to unread)
        last = False
        try:
            while not last:
                try:
                    chunk: bytes = await reader.readuntil(_END)
                    last = True
                except asyncio.LimitOverrunError as more:
                    chunk = await reader.readexactly(more.consumed)
                mail.take(chunk, last=last)
                self._counted += len(chunk)
                self.doors.in_flight += len(chunk)
                self._reset_timeout()
                elapsed = time.monotonic() - self._began
                slow = not last and elapsed > SLOW_AFTER_S and self._counted / elapsed < crowd.SLOWEST
                if slow or self._counted > 2 * self._settings.max_size + READ_LIMIT:
                    self.end(SLOW if slow else accept.TOO_LARGE)
                    return False
        finally:
            self.doors.in_flight -= self._counted
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
                trusted=crowd.inside(self.peer, self._settings.trusted),
                auth_who=_who(session),
                recipients=tuple(dict.fromkeys(envelope.rcpt_tos)),
                content=content,
            )
        )
        if status is accept.KEPT:
            self.forgive()
            maillog.accepted(self._settings.name, self.peer, mail.size, len(envelope.rcpt_tos))
        return status

    async def _answer(self, status: Status, _envelope: Envelope) -> None:
        await self.push(self.say(status))


class LmtpDoor(Door, LMTP):
    """An LMTP session: one answer after DATA for each recipient (RFC 2033 §4.2).

    The errors are not the peer's: a border MTA passes on what strangers wrote.
    """

    errors_max = junk_max = 1_000

    async def _answer(self, status: Status, envelope: Envelope) -> None:
        await self.push("\r\n".join([self.say(status)] * len(envelope.rcpt_tos)))


def _who(session: Any) -> str:  # noqa: ANN401 (aiosmtpd declares no type for what a login gave)
    return str(session.auth_data) if session.authenticated and session.auth_data else ""
