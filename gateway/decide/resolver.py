"""Asks the DNS: answers are remembered, each mail has a budget of time and questions.

*Failure:* whatever keeps an answer away is `Unreachable`, and remembered for a minute, so that a
name server that is silent does not hold up the next mail as long as the first.

*Standards:* RFC 1035, RFC 2308 (what is not there is an answer, too).
"""

import threading
import time
from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from gateway.mail.lookup import Lookup, RecordType, Unreachable

BUDGET_S = 6.0  # for everything that is asked for one mail
QUESTIONS_MAX = 100  # for one mail
_ONE_S = 3.0
_REMEMBERED = 20_000
_AWAY_S = 60.0
_SILENT_MAX = 3  # answers that stay away one after the other, before the server counts as away
_SILENT_S = 10.0  # for how long nothing is asked then
_ANSWER_MAX = 64 * 1024  # octets of one answer


class Resolver:
    """A stub resolver; safe in any thread."""

    def __init__(self, server: str = "") -> None:
        """`server` is `HOST:PORT` or `HOST`, "" for what the system is configured to ask."""
        self._resolver: dns.resolver.Resolver | None = None
        try:
            self._resolver = dns.resolver.Resolver(configure=not server)
        except dns.resolver.NoResolverConfiguration:
            return
        if server:
            host, _, port = server.rpartition(":") if server.count(":") == 1 or "]:" in server else (server, "", "53")
            self._resolver.nameservers = [host.strip("[]")]
            self._resolver.port = int(port)
        self._resolver.cache = dns.resolver.LRUCache(_REMEMBERED)
        self._resolver.timeout = _ONE_S / 2
        self._away: dict[tuple[str, str], float] = {}
        self._guard = threading.Lock()
        self._silent = 0
        self._until = 0.0

    def lookup(self, budget_s: float = BUDGET_S) -> Lookup:
        """Return what asks for one mail: it has so many seconds from now."""
        until = time.monotonic() + budget_s
        asked = 0

        def ask(name: str, kind: RecordType) -> Sequence[bytes | str]:
            nonlocal asked
            asked += 1
            left = until - time.monotonic()
            if left <= 0 or asked > QUESTIONS_MAX:
                message = "the time for asking the DNS is used up"
                raise Unreachable(message)
            return self._ask(name, kind, min(left, _ONE_S))

        return ask

    def _ask(self, name: str, kind: RecordType, lifetime: float) -> Sequence[bytes | str]:
        if self._resolver is None:
            message = "no name server is configured"
            raise Unreachable(message)
        key = (name.lower(), kind)
        if max(self._away.get(key, 0.0), self._until) > time.monotonic():
            message = f"{name}: the DNS did not answer a moment ago"
            raise Unreachable(message)
        try:
            answer = self._resolver.resolve(
                dns.name.from_text(name), kind, lifetime=lifetime, raise_on_no_answer=False, search=False
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape, UnicodeError):
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            self._remember_away(key, silent=isinstance(error, dns.exception.Timeout | OSError))
            message = f"{name}: {type(error).__name__}"
            raise Unreachable(message) from None
        self._silent = 0
        return _values(answer, kind)

    def _remember_away(self, key: tuple[str, str], *, silent: bool) -> None:
        """Remember that a name has no answer now; a server that is silent again and again is let be for a while."""
        now = time.monotonic()
        with self._guard:
            self._silent = self._silent + 1 if silent else 0
            if self._silent >= _SILENT_MAX:
                self._silent, self._until = 0, now + _SILENT_S
            if len(self._away) >= _REMEMBERED:
                self._away = {each: until for each, until in self._away.items() if until > now}
            if len(self._away) < _REMEMBERED:
                self._away[key] = now + _AWAY_S


def _values(answer: dns.resolver.Answer, kind: RecordType) -> Sequence[bytes | str]:
    records = list(answer.rrset or [])
    if kind == "TXT":
        joined = [b"".join(each.strings) for each in records]
        return joined if sum(map(len, joined)) <= _ANSWER_MAX else []
    if kind == "MX":
        records.sort(key=lambda each: int(each.preference))
        return [each.exchange.to_text(omit_final_dot=True) for each in records]
    if kind == "PTR":
        return [each.target.to_text(omit_final_dot=True) for each in records]
    return [str(each.address) for each in records]
