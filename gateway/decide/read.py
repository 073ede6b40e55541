"""What is known of a mail before it is decided: parsed, proved, looked at.

Whoever has to be asked, the DNS or a checker, is asked here, outside every transaction and in
threads of its own: a mail whose answers are late is handed back and does not hold up the next.

*Failure:* a checker that is away lets a mail wait a quarter of an hour, then its attachments are
withheld. A fault in proving is logged, and proves nothing.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from gateway import maillog
from gateway.alias import named_in_chinese
from gateway.decide.authenticate import Identity, Proof, asks_dns, identify, in_folder, prove
from gateway.decide.inspect import CheckerAway, Inspection, inspect, unchecked
from gateway.decide.resolver import Resolver
from gateway.mail.lookup import Lookup
from gateway.mail.parse import Mail, parse
from gateway.site import Site
from gateway.store.arrivals import Arrival
from gateway.worker import now_ms

THREADS = 16
LATE_S = 2.0  # how long a batch waits for answers
PATIENCE_MS = 15 * 60_000  # how long a mail waits for a DNS or a checker that is away
_PENDING_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Read:
    """An arrival with what its mail says, who wrote it, and what of it is not passed on."""

    arrival: Arrival
    mail: Mail
    identity: Identity
    inspection: Inspection = Inspection()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch once it was read: what can be decided, what has to wait, and what cannot be read."""

    ready: Sequence[Read]
    waiting: Sequence[Arrival]
    failed: Sequence[tuple[Arrival, Exception]]


@dataclass(frozen=True, slots=True)
class _Examined:
    proof: Proof
    inspection: Inspection


class Reader:
    """Reads arrivals, asking many servers at once."""

    def __init__(self, site: Site, resolver: Resolver) -> None:
        """Start no thread before the first mail that needs one."""
        self._site = site
        self._resolver = resolver
        self._pool = ThreadPoolExecutor(THREADS, "examine")
        self._asked: dict[int, Future[_Examined]] = {}

    def read(self, arrivals: Sequence[Arrival]) -> Batch:
        """Read a batch; what has no answer in time waits, and is asked about no second time."""
        parsed: list[tuple[Arrival, Mail]] = []
        failed: list[tuple[Arrival, Exception]] = []
        for arrival in arrivals:
            try:
                parsed.append((arrival, self._parse(arrival)))
            except Exception as error:  # noqa: BLE001 (one that cannot be read never stops the next)
                failed.append((arrival, error))
        asked = {arrival.id: self._ask(arrival, mail) for arrival, mail in parsed if self._needs_others(arrival, mail)}
        wait(asked.values(), LATE_S)
        ready: list[Read] = []
        waiting: list[Arrival] = []
        for arrival, mail in parsed:
            future = asked.get(arrival.id)
            if future is not None and not future.done():
                waiting.append(arrival)
                continue
            self._asked.pop(arrival.id, None)
            try:
                examined = future.result() if future else self._examine(arrival, mail)
                ready.append(self._known(arrival, mail, examined))
            except CheckerAway as away:
                maillog.away("checker", away)
                waiting.append(arrival)
            except Exception as error:  # noqa: BLE001 (as above)
                failed.append((arrival, error))
        return Batch(ready, waiting, failed)

    def read_one(self, arrival: Arrival) -> Read:
        """Read one arrival, however long it takes; a checker that is away leaves attachments unchecked."""
        mail = self._parse(arrival)
        try:
            return self._known(arrival, mail, self._examine(arrival, mail))
        except CheckerAway:
            return self._known(arrival, mail, _Examined(self._prove(arrival, mail), unchecked(mail.attachments)))

    def _parse(self, arrival: Arrival) -> Mail:
        mail, domain = parse(arrival.content), self._site.settings.site.domain
        to, cc = (named_in_chinese(mail.header.all(field), domain) for field in ("to", "cc"))
        return replace(mail, to=(*mail.to, *to), cc=(*mail.cc, *cc)) if to or cc else mail

    def _known(self, arrival: Arrival, mail: Mail, examined: _Examined) -> Read:
        people = self._site.people
        identity = in_folder(arrival, people) or identify(mail, people, examined.proof)
        return Read(arrival, mail, identity, examined.inspection)

    def _needs_others(self, arrival: Arrival, mail: Mail) -> bool:
        checks = self._site.settings.checks
        looked_at = (checks.clamd and mail.attachments) or checks.rspamd
        return bool(looked_at) or asks_dns(arrival, mail, self._site.settings.authentication)

    def _ask(self, arrival: Arrival, mail: Mail) -> Future[_Examined]:
        if len(self._asked) > _PENDING_MAX:
            self._asked.clear()
        if arrival.id not in self._asked:
            self._asked[arrival.id] = self._pool.submit(self._examine, arrival, mail)
        return self._asked[arrival.id]

    def _examine(self, arrival: Arrival, mail: Mail) -> _Examined:
        proof = self._prove(arrival, mail)
        checks, policy = self._site.settings.checks, self._site.rules.limits.executable
        try:
            return _Examined(proof, inspect(arrival, mail.attachments, checks, policy))
        except CheckerAway:
            if now_ms() - arrival.received_at < PATIENCE_MS:
                raise
            return _Examined(proof, unchecked(mail.attachments))

    def _prove(self, arrival: Arrival, mail: Mail) -> Proof:
        settings = self._site.settings.authentication
        lookup: Lookup = self._resolver.lookup()
        try:
            return prove(arrival, mail, self._site.people, settings, lookup)
        except Exception as error:  # noqa: BLE001 (a fault of ours proves nothing, and loses nothing)
            maillog.fault("authenticate", error)
            return Proof()

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
