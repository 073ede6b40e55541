"""The next hops `smtp:`, `smtps:` and `lmtp:`: one kept connection, one mail after the other.

*Failure:* after anything unexpected the connection is dropped, and what happened to the mail is
a temporary failure. What the server answers is a value; nothing but a fault of ours raises.

*Standards:* RFC 5321 (SMTP), RFC 2033 (LMTP), RFC 3207 (STARTTLS), RFC 8314 (TLS on connect),
RFC 7435 (encryption without proof where nothing better is offered).
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiosmtplib

from gateway.config import NextHop
from gateway.mail.address import Address
from gateway.mail.status import Status, parse_reply, readable

CONNECT_S = 30.0
COMMAND_S = 300.0
FINAL_DOT_S = 600.0
IDLE_S = 60.0  # a connection that was not used for so long is opened anew
MAILS_PER_CONNECTION = 1_000
_YES = 2


class _Lmtp(aiosmtplib.SMTP):
    """The same client, greeting as LMTP does."""

    async def execute_command(self, *args: bytes, **options: Any) -> aiosmtplib.SMTPResponse:  # noqa: ANN401 (aiosmtplib's own options, handed on)
        if args[0] == b"EHLO":
            args = (b"LHLO", *args[1:])
        return await super().execute_command(*args, **options)


class Connection:
    """A connection to the next hop, opened when it is first needed and kept."""

    def __init__(self, hop: NextHop, password: str, hostname: str) -> None:
        """`password` is for `hop.user`, "" for none; `hostname` is what we greet as."""
        self._hop = hop
        self._password = password
        self._hostname = hostname
        self._client: aiosmtplib.SMTP | None = None
        self._used = 0.0
        self._count = 0

    async def hand_over(
        self, return_path: str, recipient: Address, mail: bytes, still_ours: Callable[[], bool]
    ) -> Status:
        """Hand one mail over and return the answer of the first verb that was not yes, or of the final dot.

        `return_path` "" is the null one. `still_ours` is asked just before DATA: if the lease is
        lost, nothing is sent.
        """
        try:
            client = await self._connected()
        except aiosmtplib.SMTPResponseException as refused:
            # Whatever the server says before a mail is begun is not about that mail.
            self.close()
            return Status(4, refused.code % 100, "3.0", readable(f"{refused.code} {refused.message}"))
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError) as error:
            self.close()
            return Status(4, 51, "4.1", _said("cannot connect", error))
        try:
            return await self._transact(client, return_path, recipient, mail, still_ours)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ssl.SSLError, ValueError) as error:
            self.close()
            return Status(4, 51, "4.2", _said("connection lost", error))

    async def _transact(
        self, client: aiosmtplib.SMTP, return_path: str, recipient: Address, mail: bytes, still_ours: Callable[[], bool]
    ) -> Status:
        self._count += 1
        options = (b"SIZE=%d" % len(mail),) if client.supports_extension("size") else ()
        for verb, argument, more in ((b"MAIL", f"FROM:<{return_path}>", options), (b"RCPT", f"TO:<{recipient}>", ())):
            reply = await client.execute_command(verb, argument.encode("ascii"), *more, timeout=COMMAND_S)
            status = parse_reply(reply.code, reply.message)
            if status.severity != _YES:
                await self._reset(client, status)
                return status
        if not still_ours():
            self.close()
            return Status(4, 51, "4.4", "the lease ran out before the mail was sent")
        try:
            reply = await client.data(mail, timeout=FINAL_DOT_S)
        except aiosmtplib.SMTPResponseException as refused:
            status = parse_reply(refused.code, refused.message)
            if status.severity == _YES:  # yes to DATA itself, before it had the mail: it is out of step
                self.close()
                return Status(4, 51, "5.0", f"out of step: {refused.code} to DATA")
            await self._reset(client, status)
            return status
        self._used = time.monotonic()
        return parse_reply(reply.code, reply.message)

    async def _reset(self, client: aiosmtplib.SMTP, status: Status) -> None:
        if status.code == 21:
            self.close()
            return
        await client.execute_command(b"RSET", timeout=COMMAND_S)
        self._used = time.monotonic()

    async def _connected(self) -> aiosmtplib.SMTP:
        stale = time.monotonic() - self._used > IDLE_S or self._count >= MAILS_PER_CONNECTION
        if self._client is not None and self._client.is_connected and not stale:
            return self._client
        self.close()
        hop = self._hop
        client = (_Lmtp if hop.scheme == "lmtp" else aiosmtplib.SMTP)(
            hostname=hop.host if not hop.path else None,
            port=hop.port if not hop.path else None,
            socket_path=hop.path or None,
            local_hostname=self._hostname,
            use_tls=hop.scheme == "smtps",
            # Without a password, encryption is better than none but proves nothing; with one, it must.
            start_tls=None if hop.scheme == "smtp" and not hop.user else hop.scheme == "smtp",
            validate_certs=hop.scheme == "smtps" or bool(hop.user),
            timeout=CONNECT_S,
        )
        await client.connect()
        self._client = client
        if client.last_ehlo_response is None:
            await client.ehlo()
        if hop.user:
            await client.login(hop.user, self._password)
        self._used = time.monotonic()
        self._count = 0
        return client

    def close(self) -> None:
        """Drop the connection."""
        if self._client is not None:
            self._client.close()
        self._client = None

    async def quit(self) -> None:
        """Take leave, briefly."""
        if self._client is not None and self._client.is_connected:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError, asyncio.CancelledError):
                await self._client.quit(timeout=2)
        self.close()


def _said(what: str, error: BaseException) -> str:
    return readable(f"{what}: {type(error).__name__}: {error}")
