"""The submission door: SMTP for our own people, who log in, and only over TLS.

A login that fails is answered slowly, and after some failures not at all for a while, whether the
password is right or not. Mail still goes to our own addresses only: nothing is relayed.

*Standards:* RFC 6409 (submission), RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 3207 (STARTTLS), RFC 8314.
"""

import asyncio
from collections.abc import Callable

from aiosmtpd.smtp import AuthResult, LoginPassword
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway import maillog
from gateway.arrive.smtp import Door, Settings, Shared
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


class Submitters:
    """Tells who logs in, and locks out who tries too often."""

    def __init__(self, users: Users, people: Callable[[], People]) -> None:
        """`people` gives those in force now."""
        self._users = users
        self._people = people
        self._failures = MovingWindowRateLimiter(MemoryStorage())
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def is_locked(self, login: str, peer: str) -> bool:
        """Whether a login is not even looked at."""
        return not all(self._failures.test(item, *keys) for item, keys in _limits(login, peer))

    async def person(self, login: str, password: bytes, peer: str) -> str:
        """Return the key of the person who logs in, or ""."""
        async with self._at_once:
            who = await asyncio.to_thread(self._users.person, login, password, self._people())
        if not who:
            for item, keys in _limits(login, peer):
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
            authenticator=lambda _server, _session, _envelope, _mechanism, data: AuthResult(
                success=False, handled=True, auth_data=data
            ),
        )
        self._submitters = submitters
        self._failed = 0

    async def smtp_AUTH(self, arg: str | None) -> None:  # noqa: N802 (aiosmtpd's name)
        """Let mechanisms be written in any case."""
        mechanism, *rest = (arg or "").split(" ", 1)
        await super().smtp_AUTH(" ".join([mechanism.upper(), *rest]))

    async def auth_PLAIN(self, _server: object, args: list[str]) -> AuthResult:  # noqa: N802 (aiosmtpd's name)
        """Take login and password at once (RFC 4616)."""
        return await self._judge(await super().auth_PLAIN(_server, args))

    async def auth_LOGIN(self, _server: object, args: list[str]) -> AuthResult:  # noqa: N802 (aiosmtpd's name)
        """Take login and password one after the other."""
        return await self._judge(await super().auth_LOGIN(_server, args))

    async def _judge(self, given: AuthResult) -> AuthResult:
        """Look at what was given; aiosmtpd only gathered it."""
        if not isinstance(given.auth_data, LoginPassword):
            return given
        login = given.auth_data.login.decode("utf-8", "replace")
        if self._submitters.is_locked(login, self.peer):
            await self.push(self.say(_LOCKED))
            return given
        who = await self._submitters.person(login, given.auth_data.password, self.peer)
        maillog.logged_in(self.peer, who)
        if who:
            return AuthResult(success=True, auth_data=who)
        self._failed += 1
        await asyncio.sleep(SLOW_S * self._failed)
        if self._failed >= SESSION_FAILURES:
            self.end(_TOO_OFTEN)
        else:
            await self.push(self.say(_WRONG))
        return given
