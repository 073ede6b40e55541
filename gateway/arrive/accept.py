"""Is this recipient ours, is there room; keep; then say yes.

*Failure:* a store that is away and a full disk are 4xx, so the peer keeps the mail. 5xx comes
only for an address that is not ours or a mail too large. When `keep` returns, nothing is lost.

*Standards:* RFC 5321 §4.2.5 (when the responsibility passes), RFC 3463 (enhanced codes).
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway import maillog
from gateway.alias import Addresses, HeldAddress, RecordAddress, ReturnPath
from gateway.mail.status import Status
from gateway.rules import RESERVED
from gateway.site import Site
from gateway.store import arrivals, records
from gateway.store.arrivals import Received
from gateway.store.session import Away, Store
from gateway.worker import Traffic

KEPT = Status(2, 50, "0.0", "kept")
RECIPIENT_OK = Status(2, 50, "1.5", "recipient is ours")
UNKNOWN = Status(5, 50, "1.1", "no such address here / 沒有這個地址")
NOT_OURS = Status(5, 50, "1.2", "not our domain, and we relay for nobody / 非本站網域")
AWAY = Status(4, 51, "3.0", "cannot take mail just now, try again later / 暫時無法收信，請稍後再試")
FULL = Status(4, 52, "3.1", "no room just now, try again later / 暫時沒有空間，請稍後再試")
TOO_LARGE = Status(5, 52, "3.4", "mail is too large / 郵件過大")
_GROUP_MAX = 100  # mails that share a commit
_KNOWN_MAX = 100_000  # references remembered as ours
_KNOWN_S = 5.0  # for how long: so long may a revoked tag still be taken in, to be held


class Acceptor:
    """Decides at RCPT and keeps mails, many arriving at once in one commit."""

    def __init__(
        self, store: Store, site: Site, addresses: Addresses, traffic: Traffic, arrived: Callable[[], None]
    ) -> None:
        """`traffic` is told of mails that arrive; `arrived` is called, in any thread, after each commit."""
        self._store = store
        self._site = site
        self._addresses = addresses
        self._traffic = traffic
        self._arrived = arrived
        self._known: dict[str, tuple[int, float]] = {}  # reference → tag epoch, and when it was looked up
        self._waiting: list[tuple[Received, asyncio.Future[Status]]] = []
        self._keeping: asyncio.Task[None] | None = None
        self._spool = site.settings.state / "spool"
        self._spool.mkdir(parents=True, exist_ok=True)
        for left in self._spool.iterdir():
            left.unlink()

    @property
    def spool(self) -> Path:
        """The folder for mails that are too large to hold in memory while they arrive."""
        return self._spool

    async def recipient(self, text: str) -> Status:
        """Return whether we take mail for `text`, an address as RCPT gave it."""
        if text.lower() == "postmaster":
            return RECIPIENT_OK
        address = self._addresses.parse(text)
        if address is None:
            return UNKNOWN if text.rpartition("@")[2].rstrip(".").lower() == self._addresses.domain else NOT_OURS
        if not self._addresses.owns(address):
            return NOT_OURS
        if self._is_word(address.local.lower()):
            return RECIPIENT_OK
        ref, epoch = self._addresses.ref(address), None
        is_team = ref.lower() in self._site.rules.teams
        if ref and not is_team:
            try:
                epoch = await self._epoch(ref)
            except Away as away:
                maillog.away("store", away)
                return AWAY
        match self._addresses.read(address, lambda _ref: epoch or 0):
            case ReturnPath() | HeldAddress():
                return RECIPIENT_OK
            case RecordAddress():
                return RECIPIENT_OK if is_team or epoch is not None else UNKNOWN
            case _:
                return UNKNOWN

    def _is_word(self, local: str) -> bool:
        rules = self._site.rules
        return local in rules.intake or local in rules.teams or local in (RESERVED - {"bounce", "held"})

    def forget(self) -> None:
        """Look every record up again: another program changed the store, and may have revoked tags."""
        self._known.clear()

    async def _epoch(self, ref: str) -> int | None:
        """Return how often a record's tags were revoked, as looked up a moment ago, or None if there is no such record.

        Other threads forget what is known at any time, so nothing is looked up twice for one answer. Raises Away.
        """
        known = self._known.get(ref)
        if known is not None and time.monotonic() - known[1] < _KNOWN_S:
            return known[0]
        epoch = await asyncio.to_thread(self._read_epoch, ref)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        if epoch is not None:
            self._known[ref] = (epoch, time.monotonic())
        return epoch

    def _read_epoch(self, ref: str) -> int | None:
        with self._store.read() as tx:
            return records.epoch(tx, ref)

    def arriving(self) -> None:
        """Note that a mail is on its way in: what works through the backlog gives way to it."""
        self._traffic.arriving()

    def room(self, octets: int) -> Status | None:
        """Return why a mail of `octets` cannot be taken now, or None if there is room."""
        try:
            free = shutil.disk_usage(self._spool).free
        except OSError:
            return AWAY
        return FULL if free < octets * 3 // 2 else None

    async def keep(self, received: Received) -> Status:
        """Keep a mail durably, then say yes; a spool file is closed afterwards.

        Cancelling the caller does not stop the commit.
        """
        self._traffic.arriving()
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        self._waiting.append((received, future))
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_waiting())
        return await asyncio.shield(future)

    async def drained(self) -> None:
        """Wait until everything that waits to be kept is."""
        if self._keeping is not None:
            await self._keeping

    async def _keep_waiting(self) -> None:
        """Commit whatever has gathered while the last commit was under way, until nothing has."""
        while self._waiting:
            group, self._waiting = self._waiting[:_GROUP_MAX], self._waiting[_GROUP_MAX:]
            statuses = await asyncio.to_thread(self._commit, [received for received, _ in group])
            for (received, future), status in zip(group, statuses, strict=True):
                if not isinstance(received.content, bytes):
                    received.content.close()
                if not future.done():
                    future.set_result(status)
            if KEPT in statuses:
                self._arrived()

    def _commit(self, group: Sequence[Received]) -> list[Status]:
        """Keep a group in one commit; if that fails, each alone, so that one bad mail fails only itself."""
        try:
            with self._store.write() as tx:
                arrivals.keep_many(tx, group)
                self._store.wake_others(tx)
        except Away as away:
            maillog.away("store", away)
            return [AWAY] * len(group)
        except Exception as error:  # noqa: BLE001 (law 4: faults are 4xx)
            if len(group) == 1:
                maillog.fault("accept", error)
                return [AWAY]
            return [self._commit([each])[0] for each in group]
        return [KEPT] * len(group)
