"""The submission door: SMTP for our own people, who log in, and only over TLS.

A login that fails is answered slowly, and after some failures not at all for a while, whether the
password is right or not. Mail still goes to our own addresses only: nothing is relayed.

*Standards:* RFC 6409 (submission), RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 3207 (STARTTLS), RFC 8314.
"""

import asyncio
import base64
from collections.abc import Callable

from aiosmtpd.smtp import AuthResult
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway import maillog
from gateway.arrive.crowd import Shared
from gateway.arrive.session import AUTH_LINE_MAX
from gateway.arrive.smtp import Door, Settings
from gateway.mail.status import Status
from gateway.people import People
from gateway.users import Users

PER_LOGIN_AND_PEER = RateLimitItemPerMinute(5, 15)  # failures, in so many minutes
PER_LOGIN = RateLimitItemPerMinute(20, 15)
PER_PEER = RateLimitItemPerMinute(50, 15)
SESSION_FAILURES = 3
SLOW_S = 1.0  # how much longer each failure is kept waiting
_AT_ONCE = 4  # passwords that are looked at at the same time: each takes 32 MiB
_WRONG = Status(5, 35, "7.8", "login or password is wrong / 帳號或密碼錯誤")
_LOCKED = Status(4, 54, "7.0", "too many failures, try again later / 失敗次數過多，請稍後再試")
_TOO_OFTEN = Status(4, 21, "7.0", "too many failures / 失敗次數過多")
_UNREADABLE = Status(5, 1, "5.2", "that is no login and password")
_GIVEN_UP = Status(5, 1, "7.0", "given up")
_NOT_NOW = Status(5, 3, "5.1", "not while a mail is under way")
_ANSWERED = AuthResult(success=False, handled=True)


class Submitters:
    """Tells who logs in, and locks out who tries too often."""

    def __init__(self, users: Users, people: Callable[[], People]) -> None:
        """`people` gives those in force now."""
        self._users = users
        self._people = people
        self._failures = MovingWindowRateLimiter(MemoryStorage())
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def person(self, login: str, password: bytes, peer: str) -> str | None:
        """Return the key of the person who logs in, or ""; None when that is not even looked at.

        Whether it is locked is asked when its turn comes: many tries at once are no way around the lock.
        """
        async with self._at_once:
            people = self._people()
            owner = people.by_key.get(login) or people.person(login.lower())
            limits = _limits(owner.key if owner else login, peer)  # however the name is spelt
            if not all(self._failures.test(item, *keys) for item, keys in limits):
                return None
            who = await asyncio.to_thread(self._users.person, login, password, people)
            if not who:
                for item, keys in limits:
                    self._failures.hit(item, *keys)
        return who


def _limits(login: str, peer: str) -> list[tuple[RateLimitItemPerMinute, tuple[str, ...]]]:
    name = login.lower()[:200]
    return [(PER_LOGIN_AND_PEER, (name, peer)), (PER_LOGIN, (name,)), (PER_PEER, ("", peer))]


class SubmissionDoor(Door):
    """A submission session."""

    offers_auth = True

    def __init__(
        self, doors: Shared, settings: Settings, loop: asyncio.AbstractEventLoop, submitters: Submitters
    ) -> None:
        super().__init__(
            doors,
            settings,
            loop,
            auth_exclude_mechanism=(),
            auth_required=True,
            auth_require_tls=True,
        )
        self._submitters = submitters
        self._failed = 0

    async def smtp_AUTH(self, arg: str | None) -> None:
        """Let mechanisms be written in any case, and nobody log in while a mail is under way (RFC 4954 §4)."""
        mechanism, *rest = (arg or "").split() or [""]
        if self.envelope is not None and self.envelope.mail_from:
            await self.push(self.say(_NOT_NOW))
            return
        await super().smtp_AUTH(" ".join([mechanism.upper(), *rest]))

    async def auth_PLAIN(self, _server: object, args: list[str]) -> AuthResult:
        """Take login and password at once (RFC 4616); nobody acts for another."""
        given = await self._given(args, "")
        if given is None:
            return _ANSWERED
        role, *login = given.split(b"\0")
        if len(login) != 2 or role not in {b"", login[0]}:
            await self.push(self.say(_UNREADABLE))
            return _ANSWERED
        return await self._judge(login[0], login[1])

    async def auth_LOGIN(self, _server: object, args: list[str]) -> AuthResult:
        """Take login and password one after the other."""
        login = await self._given(args, "VXNlcm5hbWU6")  # "Username:"
        if login is None:
            return _ANSWERED
        password = await self._given([], "UGFzc3dvcmQ6")  # "Password:"
        return _ANSWERED if password is None else await self._judge(login, password)

    async def _given(self, args: list[str], question: str) -> bytes | None:
        """Return what came with the command, or else in answer to a question; None when it was refused.

        aiosmtpd would log what it cannot read, and take a line that is too long for commands.
        """
        if len(args) > 1:
            told = args[1]
        else:
            await self.push(f"334 {question}")
            line = await self._line(AUTH_LINE_MAX)
            if line is None:
                return None
            told = line.strip()
        if told == "*":
            await self.push(self.say(_GIVEN_UP))
            return None
        try:
            return b"" if told == "=" else base64.b64decode(told, validate=True)
        except ValueError:
            await self.push(self.say(_UNREADABLE))
            return None

    async def _judge(self, login: bytes, password: bytes) -> AuthResult:
        who = await self._submitters.person(login.decode("utf-8", "replace"), password, self.group)
        if who is None:
            await self.push(self.say(_LOCKED))
            return _ANSWERED
        maillog.logged_in(self.peer, who)
        if who:
            return AuthResult(success=True, auth_data=who)
        self._failed += 1
        await asyncio.sleep(SLOW_S * self._failed)
        if self._failed >= SESSION_FAILURES:
            self.end(_TOO_OFTEN)
        else:
            await self.push(self.say(_WRONG))
        return _ANSWERED
