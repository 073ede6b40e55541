"""A connection to one account on an IMAP server, as the rooms use it: one command at a time, every one bounded.

*Failure:* whatever goes wrong on the wire, a time-out, a lost connection, an answer too large or out of grammar,
raises `Broken` and drops the connection. A command that the server refuses raises `Refused`.

*Standards:* RFC 3501 (IMAP4rev1), RFC 2177 (IDLE), RFC 4315 (UIDPLUS), RFC 5819 (LIST-STATUS), RFC 6851 (MOVE),
RFC 2087 (QUOTA), RFC 2342 (NAMESPACE).
"""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gateway.config import ARCHIVE, ImapAccount, Settings
from gateway.imap_wire import FAULTS, PART, STOPPED, Client, capability_command
from gateway.mail.imap import (
    Folder,
    Listed,
    Names,
    quoted,
    read_appended,
    read_folders,
    read_listed,
    read_names,
    read_quota,
    read_selected,
    read_uids,
    uid_sets,
)

CONNECT_S = 20.0
COMMAND_S = 60.0
_TOKEN_S = 30.0
FILED, WATCHED = "folders", "watch"
_STATUS = "UIDNEXT UIDVALIDITY MESSAGES"


class Broken(Exception):
    """The connection is lost, or what came over it cannot be trusted; a new one may work."""


class Refused(Exception):
    """The server said no to a command; the connection goes on."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where an account is and how one logs in."""

    host: str
    port: int
    user: str
    tls: bool = True
    password_file: Path | None = None
    token_command: str = ""

    @property
    def name(self) -> str:
        """What the account is called in logs and in the store."""
        return f"{self.user}@{self.host}:{self.port}"

    def attended(self, what: str) -> str:
        """How it is called there, as what is attended to: a folder that is fetched from, FILED into, or WATCHED."""
        return f"{self.name} {what}"


@dataclass(slots=True)
class Mailbox:
    """A connection that is logged in. One task uses it, one command at a time."""

    account: Account
    _client: Any
    _names: Names = Names()
    _folders: set[str] = field(default_factory=set)
    _idles_not: bool = False  # whether the server said no to IDLE, whatever it can do
    gave: bool = False  # whether it told something of a mail

    # ---- one command

    async def _do(self, made: Callable[[], Awaitable[Any]], seconds: float = COMMAND_S) -> Sequence[Any]:
        """Give a command and return the lines of its answer; a refusal raises."""
        wire = self._client.protocol
        if wire.broken:
            raise Broken(wire.broken)
        wire.begin()
        try:
            async with asyncio.timeout(seconds):
                response = await made()
        except TimeoutError:
            wire.fail("the server takes too long to answer")
            raise Broken(wire.broken) from None
        except FAULTS as error:
            wire.fail(str(error))
            raise Broken(wire.broken) from None
        except asyncio.CancelledError:
            wire.fail("given up")
            raise
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # which wait_for forgets where the answer comes at the same moment
            wire.fail("given up")
            raise asyncio.CancelledError
        if response.result != "OK":
            said = response.lines[-1] if response.lines else b""
            raise Refused(said.decode("utf-8", "replace")[:200] if isinstance(said, bytes) else "refused")
        lines: Sequence[Any] = response.lines[:-1]
        return lines

    def has(self, capability: str) -> bool:
        """Whether the server says it can do something."""
        return bool(self._client.has_capability(capability)) and not (capability == "IDLE" and self._idles_not)

    async def close(self) -> None:
        """Log out, and drop the connection whatever comes of it."""
        with contextlib.suppress(Broken, Refused):
            await self._do(self._client.logout, 5.0)
        self._client.protocol.fail("closed")

    # ---- folders

    async def folders(self, pattern: str = "*") -> list[Folder]:
        """Return the folders that match, with their status where the server tells it along."""
        more = f" RETURN (STATUS ({_STATUS}))" if self.has("LIST-STATUS") else ""
        wanted = self._names.wire(pattern) + more
        listed, status = read_folders(await self._do(lambda: self._client.list('""', wanted)), self._names)
        self._folders.update(listed)
        found = [status[name] for name in listed if name in status]
        for name in listed:
            if name not in status:
                with contextlib.suppress(Refused):  # it cannot be opened, or somebody took it away meanwhile
                    found.append(await self.status(name))
        return found

    async def learn(self, pattern: str = "*") -> None:
        """Know which folders that match are there now, and no others."""
        wanted = self._names.wire(pattern)
        self._folders = set(read_folders(await self._do(lambda: self._client.list('""', wanted)), self._names)[0])

    async def status(self, name: str) -> Folder:
        """Return what a folder holds, without selecting it."""
        wire = self._names.wire(name)
        lines = await self._do(lambda: self._client.status(wire, f"({_STATUS})"))
        return next(iter(read_folders(lines, self._names)[1].values()), Folder(name))

    async def make(self, name: str) -> None:
        """Make a folder, and show it to the account's programs, unless it is there."""
        if name in self._folders or name.upper() == "INBOX":
            return
        wire = self._names.wire(name)
        with contextlib.suppress(Refused):  # it is there already, or the next command says what is wrong
            await self._do(lambda: self._client.create(wire))
        with contextlib.suppress(Refused):
            await self._do(lambda: self._client.subscribe(wire))
        self._folders.add(name)

    def forget(self, name: str) -> None:
        """Make a folder again when it is wanted: somebody may have taken it away."""
        self._folders.discard(name)

    async def select(self, name: str) -> Folder:
        """Open a folder and return its state."""
        wire = self._names.wire(name)
        try:
            lines = await self._do(lambda: self._client.select(wire))
        except Refused:
            self.forget(name)
            raise
        folder = read_selected(lines, name)
        if folder is None:
            self._client.protocol.fail("the server tells no UIDVALIDITY")
            raise Broken(self._client.protocol.broken)
        return folder

    # ---- mails

    async def uids(self, criteria: str) -> list[int]:
        """Return the UIDs of mails in the selected folder that fit, in their order."""
        return read_uids(await self._do(lambda: self._client.uid_search(criteria, charset=None)))

    async def find(self, message_id: str) -> list[int]:
        """Return the UIDs of the mails with this Message-ID in the selected folder."""
        return await self.uids(f"HEADER MESSAGE-ID {quoted('<' + message_id + '>')}")

    async def listed(self, uids: Sequence[int] | str, items: str) -> list[Listed]:
        """Return what is asked of mails; those that have gone meanwhile are missing."""
        found: list[Listed] = []
        for wanted in [uids] if isinstance(uids, str) else uid_sets(uids):
            lines = await self._do(partial(self._client.uid, "FETCH", wanted, f"({items})"))
            found += [read for line in lines if (read := read_listed(line)) is not None]
            self.gave = self.gave or bool(found)
        return found

    async def octets(self, uid: int, size: int, most: int) -> AsyncIterator[bytes]:
        """Give a mail of the selected folder in parts, without marking it as read. Raises Refused if it has gone.

        Before its `size`, as the server says it, 0 where it does not, a part that is shorter than what was asked for is
        not the last. A server whose mail is larger is not followed beyond `most` octets.
        """
        at = 0
        while at <= most:
            lines = await self._do(partial(self._client.uid, "FETCH", str(uid), f"(UID BODY.PEEK[]<{at}.{PART}>)"))
            read = [each for line in lines if (each := read_listed(line)) is not None and each.uid == uid]
            part = next((each.octets for each in read if each.octets is not None), b"" if read and at else None)
            if part is None:
                message = f"mail {uid} has gone"
                raise Refused(message)
            if part:
                yield part
            at += len(part)
            if not part or (len(part) < PART and at >= size):
                return
        message = f"mail {uid} is larger than {most} octets, whatever the server says"
        raise Refused(message)

    async def flag(self, uids: Sequence[int], flags: str, *, off: bool = False) -> None:
        """Put flags on mails of the selected folder, or take them off."""
        sign = "-" if off else "+"
        for some in uid_sets(uids):
            await self._do(partial(self._client.uid, "STORE", some, f"{sign}FLAGS.SILENT", f"({flags})"))

    async def move(self, uids: Sequence[int], to: str) -> None:
        """Move mails of the selected folder to another; what has gone already stays gone."""
        wire = self._names.wire(to)
        for some in uid_sets(uids):
            await self._do(partial(self._client.uid, "MOVE" if self.has("MOVE") else "COPY", some, wire))
        if not self.has("MOVE"):
            await self.delete(uids)

    async def delete(self, uids: Sequence[int]) -> None:
        """Take mails out of the selected folder; without UIDPLUS they are only marked."""
        await self.flag(uids, "\\Deleted")
        for some in uid_sets(uids) if self.has("UIDPLUS") else ():
            await self._do(partial(self._client.uid, "EXPUNGE", some))

    async def append(self, folder: str, octets: bytes, flags: str, at: int) -> tuple[int, int]:
        """Put a mail into a folder with its own date (ms since 1970); return UIDVALIDITY and UID, 0 where not told."""
        wire = self._names.wire(folder)
        moment = datetime.fromtimestamp(at / 1000, UTC)
        client, seconds = self._client, COMMAND_S + len(octets) / 100_000
        client.timeout = seconds
        wire_lines: list[bytes] = []

        async def give() -> Any:
            response = await client.append(octets, wire, flags or None, moment)
            wire_lines.extend(line for line in response.lines if isinstance(line, bytes))
            return response

        await self._do(give, seconds)
        return read_appended(b" ".join(wire_lines))

    # ---- waiting, and room

    async def idle(self, seconds: float) -> bool:
        """Wait until the server has something to say, or for so long; True if it said something."""
        if not self.has("IDLE"):
            return False
        wire = self._client.protocol
        wire.begin()
        while not wire.idle_queue.empty():
            wire.idle_queue.get_nowait()
        if wire.broken:
            raise Broken(wire.broken)
        heard = began = False
        try:
            async with asyncio.timeout(CONNECT_S):
                waiting = await self._client.idle_start(timeout=seconds + 5)
            began = True
            waiting.add_done_callback(_retrieved)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    heard = await wire.idle_queue.get() != STOPPED
            self._client.idle_done()
            async with asyncio.timeout(CONNECT_S):
                await waiting
        except (TimeoutError, *FAULTS) as error:
            if not began and not wire.broken and not isinstance(error, TimeoutError):
                self._idles_not = True
                return False
            wire.fail(str(error) or "the server does not end IDLE")
            raise Broken(wire.broken) from None
        except asyncio.CancelledError:
            wire.fail("given up")
            raise
        return heard

    async def noop(self) -> None:
        """Ask whether the server is still there."""
        await self._do(self._client.noop)

    async def quota(self) -> tuple[int, int] | None:
        """Return used and allowed KiB, or None where the server knows no quota."""
        if not self.has("QUOTA"):
            return None
        with contextlib.suppress(Refused):
            return read_quota(await self._do(lambda: self._client.getquotaroot("INBOX")))
        return None


def account_of(settings: Settings, given: ImapAccount) -> Account:
    """Return an account of gateway.yaml, its paths resolved."""
    password = settings.path(given.password_file) if given.password_file else None
    return Account(given.host, given.port, given.user, given.tls, password, given.token_command)


def filing_accounts(settings: Settings) -> dict[str, Account]:
    """Return the accounts threads are filed into: people's, by their keys, and the archive."""
    filing = settings.filing
    if filing is None:
        return {}
    found = {account.person: account_of(settings, account) for account in filing.accounts}
    return found | ({ARCHIVE: account_of(settings, filing.archive)} if filing.archive else {})


def attended(settings: Settings) -> set[str]:
    """Return what every account of gateway.yaml is attended to as: which is fetched from, filed into, watched."""
    doors = {account_of(settings, door).attended(door.folder) for door in settings.imap}
    return doors | {
        name for each in filing_accounts(settings).values() for name in map(each.attended, (FILED, WATCHED))
    }


async def connect(account: Account) -> Mailbox:
    """Connect and log in. Raises Broken, also where the password is refused or cannot be read."""
    try:
        secret = await _secret(account)
    except (OSError, UnicodeError) as error:
        message = f"the password or token cannot be had: {error}"
        raise Broken(message) from None
    context = ssl.create_default_context() if account.tls else None
    client = Client(account.host, account.port, timeout=COMMAND_S, ssl_context=context)
    box = Mailbox(account, client)
    try:
        async with asyncio.timeout(CONNECT_S):
            await client.wait_hello_from_server()
    except (TimeoutError, *FAULTS) as error:
        client._client_task.cancel()
        client.protocol.fail(f"cannot connect: {str(error) or 'it takes too long'}")
        raise Broken(client.protocol.broken) from None
    try:
        if account.token_command:
            await box._do(lambda: client.xoauth2(account.user, secret))
        else:
            await box._do(lambda: client.login(quoted(account.user), secret))
        await box._do(capability_command(client))
        await _learn_names(box)
    except Refused as refused:
        client.protocol.fail(f"the server refused the login: {refused}")
        raise Broken(client.protocol.broken) from None
    return box


def _retrieved(ended: "asyncio.Future[Any]") -> None:
    """Look at how IDLE ended, also when nobody waits for it any more."""
    if not ended.cancelled():
        ended.exception()


async def _learn_names(box: Mailbox) -> None:
    client = box._client
    lines = [*await box._do(lambda: client.list('""', '""'))]
    if box.has("NAMESPACE"):
        lines += await box._do(client.namespace)
    box._names = read_names(lines, box._names)


async def _secret(account: Account) -> str:
    """Return the password of an account, or the token that its command prints. Raises OSError, never with a secret."""
    if account.token_command:
        return await _token(account.token_command)
    return account.password_file.read_text("utf-8").rstrip("\r\n") if account.password_file else ""


async def _token(command: str) -> str:
    """Run the administrator's command, and end all it started where it takes too long."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        async with asyncio.timeout(_TOKEN_S):
            printed, _ = await process.communicate()
    except TimeoutError:
        message = f"token_command takes longer than {_TOKEN_S} s"
        raise OSError(message) from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    token = printed.strip()
    if process.returncode or not token or not token.isascii():
        said = f"ended with status {process.returncode}" if process.returncode else "printed no token"
        message = f"token_command {said}"
        raise OSError(message)
    return token.decode("ascii")
