"""From a kept arrival to its place in a thread: gather, decide, act.

An arrival is claimed, read, and decided for each of its recipients in one transaction; several
share a commit, each in a savepoint of its own.

*Failure:* a store that is away leaves the arrival as it was. Any other fault is tried three
times, then the arrival is shunted with its octets, and the next one goes on. Nothing is lost.
"""

from collections import deque
from collections.abc import Callable, Sequence

from gateway import maillog
from gateway.decide.place import tell_shunted
from gateway.decide.post import Desk
from gateway.decide.read import PATIENCE_MS, Read, Reader
from gateway.decide.serve import decide
from gateway.store import arrivals, held
from gateway.store.arrivals import Arrival, Settled
from gateway.store.lease import TRIES, Claim, is_deadly
from gateway.store.session import Away, Store, Transaction
from gateway.worker import Traffic, now_ms

BATCH = 50
TOGETHER = 16 * 1024 * 1024  # octets of mails in memory at once
RETRY_MS = 5_000
LOOK_AGAIN_MS = 60_000
LATE_MS = 3_000  # after which a mail whose answers were late is looked at again


class Receiver:
    """Decides what has arrived, a batch a step."""

    def __init__(self, store: Store, desk: Desk, reader: Reader, traffic: Traffic, posted: Callable[[], None]) -> None:
        """`posted` is called, in any thread, after each commit."""
        self._store = store
        self._desk = desk
        self._reader = reader
        self._traffic = traffic
        self._posted = posted
        self._next_look = 0

    def step(self) -> int:
        """Decide the arrivals that are due; return how many were claimed."""
        with self._store.write() as tx:
            self._look_again(tx)
            claims = arrivals.claim(tx, now_ms(), BATCH)
        if not claims:
            return 0
        claims = self._without_deadly(claims)
        with self._store.read() as tx:
            groups = arrivals.by_size(tx, claims, TOGETHER)
        for n, group in enumerate(groups):
            try:
                with self._traffic.carrying(group.octets):
                    self._step_group(group.claims)
            except Away:
                self._hand_back([claimed for left in groups[n:] for claimed in left.claims])
                raise
        return max(len(claims), 1)

    def _look_again(self, tx: Transaction) -> None:
        """Decide again, once a minute, what is held only because the DNS could not be asked when it came."""
        now = now_ms()
        if now >= self._next_look:
            self._next_look = now + LOOK_AGAIN_MS
            held.look_again(tx, "not authenticated", now - PATIENCE_MS, now)

    def _without_deadly(self, claims: list[Claim]) -> list[Claim]:
        """Shunt, before a look at it, what was claimed alone too often: it ended the process each time."""
        deadly = [claimed for claimed in claims if is_deadly(claimed)]
        for claimed in deadly:
            self._shunt(claimed, "the node ended each time it was handled")
        return [claimed for claimed in claims if claimed not in deadly]

    def _step_group(self, group: list[Claim]) -> None:
        with self._store.read() as tx:
            due = arrivals.load(tx, group)
        batch = self._reader.read(due)
        if batch.waiting:
            self._let_wait(batch.waiting)
        failed = self._decide_all(batch.ready)
        self._set_aside([*batch.failed, *failed])
        self._posted()

    def _let_wait(self, waiting: Sequence[Arrival]) -> None:
        with self._store.write() as tx:
            for arrival in waiting:
                arrivals.postpone(tx, arrival.claim, now_ms() + LATE_MS, failed=False)

    def _decide_all(self, read: Sequence[Read]) -> list[tuple[Arrival, Exception]]:
        failed: list[tuple[Arrival, Exception]] = []
        waiting = deque(read)
        while waiting:
            self._traffic.give_way()
            self._decide_some(waiting, failed)
        return failed

    def _decide_some(self, waiting: deque[Read], failed: list[tuple[Arrival, Exception]]) -> None:
        """Decide in one commit until nothing waits, or until another thread wants to write."""
        settled: list[tuple[int, Settled]] = []
        with self._store.write() as tx:
            while waiting and not (settled and (self._store.wanted or self._traffic.busy)):
                each = waiting.popleft()
                try:
                    with tx.begin_nested():
                        outcomes = decide(tx, self._desk, each)
                        _finish(tx, each.arrival)
                    settled += [(each.arrival.id, outcome) for outcome in outcomes]
                except Away:
                    raise
                except _ClaimLost:
                    continue
                except Exception as error:  # noqa: BLE001 (a mail that cannot be handled is set aside)
                    failed.append((each.arrival, error))
            self._store.wake_others(tx)
        for arrival_id, outcome in settled:
            maillog.decided(arrival_id, outcome.state, outcome.cause, str(outcome.record_id or ""))

    def _set_aside(self, failed: list[tuple[Arrival, Exception]]) -> None:
        for arrival, error in failed:
            if arrival.claim.attempts >= TRIES:
                self._shunt(arrival.claim, f"{type(error).__name__}: {error}"[:500])
                continue
            with self._store.write() as tx:
                arrivals.postpone(tx, arrival.claim, now_ms() + RETRY_MS, failed=True)
            maillog.failed_once("arrival", arrival.id, error)

    def _shunt(self, claimed: Claim, reason: str) -> None:
        """Put a mail aside with its octets, and tell those with `settings`: a fault is theirs to look at."""
        now = now_ms()
        with self._store.write() as tx:
            if arrivals.shunt(tx, claimed, reason, now):
                tell_shunted(tx, self._desk, held.shunted_of(tx, claimed.id), now)
        maillog.shunted("arrival", claimed.id, reason)

    def _hand_back(self, claims: list[Claim]) -> None:
        with self._store.write() as tx:
            for claimed in claims:
                arrivals.postpone(tx, claimed, now_ms(), failed=False)


class _ClaimLost(Exception):
    """Another node decided this arrival meanwhile."""


def _finish(tx: Transaction, arrival: Arrival) -> None:
    if not arrivals.finish(tx, arrival.claim):
        raise _ClaimLost
