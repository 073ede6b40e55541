"""From the outbox to the next hop: claim, hand over, settle, per recipient.

A few connections take claimed deliveries one after the other; what became of them is settled
in groups, so that many share a commit.

*Failure:* a 4xx, a lost connection or an answer that never came is tried again with growing
pauses for five days; a 5xx to the mail or its recipient is final; the author is told of both
ends. A node that dies leaves its leases, and the deliveries are due again: at least once, the
same octets, the same Message-ID.
"""

import asyncio
import contextlib
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway import maillog
from gateway.alias import Addresses, hide_tags
from gateway.config import Settings
from gateway.mail.address import Address, parse_address
from gateway.mail.report import read_answer
from gateway.mail.status import Status
from gateway.people import People
from gateway.send import maildir
from gateway.send.retry import DELAY_TOLD_MS, next_try
from gateway.send.sign import Key, sign
from gateway.send.smtp import Connection
from gateway.store import audit, notices, outbox, suppressed
from gateway.store.outbox import Body, Delivery, Outcome
from gateway.store.session import Away, Store, Transaction
from gateway.worker import now_ms

CONNECTIONS = 6
IN_HAND = 120  # deliveries claimed and not settled
BODIES_OCTETS = 32 * 1024 * 1024  # of shared bodies that are remembered
LARGE = 256 * 1024  # octets of a body from which on one only is on the wire at a time
BODIES_AHEAD = 20  # bodies that are read along with a claim
LEASE_MARGIN_S = 30.0
IDLE_S = 5.0
_SENT = Status(2, 50, "0.0", "in the Maildir")
_NOT_INSIDE = Status(5, 50, "7.1", "an internal mail has no recipient outside")
_NO_ADDRESS = Status(5, 1, "1.3", "the recipient is no address")


@dataclass(frozen=True, slots=True)
class Hop:
    """Where mail goes and how it is signed."""

    settings: Settings
    addresses: Addresses
    keys: tuple[Key, ...]
    password: str = ""


class Sender:
    """Hands deliveries over until it is stopped."""

    def __init__(self, store: Store, hop: Hop, people: Callable[[], People], settled: Callable[[], None]) -> None:
        """`people` gives those in force now; `settled` is called after commits that made notices."""
        self._store = store
        self._hop = hop
        self._people = people
        self._settled = settled
        self._maildir = hop.settings.path(hop.settings.hop.path) if hop.settings.hop.scheme == "maildir" else None
        self._queue: asyncio.Queue[tuple[Delivery, float]] = asyncio.Queue()
        self._outcomes: list[Outcome] = []
        self._in_hand = 0
        self._bodies: OrderedDict[int, Body] = OrderedDict()
        self._remembered = 0
        self._woken = asyncio.Event()
        self._to_settle = asyncio.Event()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._large = asyncio.Lock()
        self._reading = asyncio.Lock()

    def start(self) -> None:
        """Begin to hand over."""
        self._tasks = [asyncio.create_task(self._connection(), name=f"send-{n}") for n in range(CONNECTIONS)]
        self._claiming = asyncio.create_task(self._claim_loop())
        self._tasks += [self._claiming, asyncio.create_task(self._settle_loop())]

    def wake(self) -> None:
        """Let it look for work now. From any thread."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def stop(self, timeout_s: float = 20.0) -> None:
        """Finish what is on the wire, settle it, hand the rest back."""
        self._stopping = True
        self._woken.set()
        await asyncio.wait([self._claiming], timeout=timeout_s)  # what it claims now would be nobody's
        left: list[Delivery] = []
        while not self._queue.empty():
            left.append(self._queue.get_nowait()[0])
        self._in_hand -= len(left)
        if self._in_hand:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._outcomes or left:
            await asyncio.to_thread(self._last_words, left)

    def _last_words(self, left: list[Delivery]) -> None:
        try:
            with self._store.write() as tx:
                outbox.settle(tx, self._outcomes, now_ms())
                outbox.hand_back(tx, left)
        except Away as away:
            maillog.away("store", away)

    async def _claim_loop(self) -> None:
        while not self._stopping:
            self._woken.clear()
            claimed: list[Delivery] = []
            free = IN_HAND - self._in_hand
            if free >= IN_HAND // 4:
                began = time.monotonic()
                try:
                    claimed, bodies = await asyncio.to_thread(self._claim, free)
                    for body_id, body in bodies.items():
                        self._remember(body_id, body)
                except Away as away:
                    maillog.away("store", away)
                except Exception as error:  # noqa: BLE001 (a loop never ends by a fault)
                    maillog.fault("send", error)
                for delivery in claimed:
                    self._in_hand += 1
                    self._queue.put_nowait((delivery, began))
            if not claimed:
                try:
                    async with asyncio.timeout(IDLE_S if free else 0.5):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    def _claim(self, limit: int) -> tuple[list[Delivery], dict[int, Body]]:
        """Claim what is due, with the first of the bodies that are not remembered."""
        with self._store.read() as tx:
            due = outbox.next_due(tx)
        if due is None or due > now_ms():
            return [], {}
        with self._store.write() as tx:
            claimed = outbox.claim(tx, now_ms(), limit)
            new = list(dict.fromkeys(each.body_id for each in claimed if each.body_id not in self._bodies))
            return claimed, outbox.bodies(tx, new[:BODIES_AHEAD], LARGE)

    async def _connection(self) -> None:
        settings = self._hop.settings
        connection = (
            Connection(settings.hop, self._hop.password, settings.site.domain) if self._maildir is None else None
        )
        try:
            while True:
                delivery, claimed = await self._queue.get()
                try:
                    status = await self._hand_over(delivery, connection, claimed)
                except Exception as error:  # noqa: BLE001 (one delivery never stops the next)
                    maillog.fault("send", error)
                    status = Status(4, 51, "3.0", f"{type(error).__name__}"[:200])
                self._outcomes.append(self._outcome(delivery, status))
                self._to_settle.set()
        finally:
            if connection is not None:
                await connection.quit()

    async def _hand_over(self, delivery: Delivery, connection: Connection | None, claimed: float) -> Status:
        recipient = parse_address(delivery.recipient)
        if recipient is None:
            return _NO_ADDRESS
        # Law 5, a third time: what is internal, or worded for those inside, goes to an address of somebody inside now.
        if (delivery.internal or not delivery.outsider) and self._people().person(recipient.key) is None:
            return _NOT_INSIDE
        body = self._bodies.get(delivery.body_id)
        if body is None:
            async with self._reading:
                body = self._remember(delivery.body_id, await asyncio.to_thread(self._body, delivery.body_id))
        if len(body.octets) <= LARGE:
            return await self._carry(delivery, recipient, body, connection, claimed)
        async with self._large:
            return await self._carry(delivery, recipient, body, connection, claimed)

    async def _carry(
        self, delivery: Delivery, recipient: Address, body: Body, connection: Connection | None, claimed: float
    ) -> Status:  # fmt: skip
        header = sign(self._hop.keys, delivery.header, body.signed_hash, delivery.created_at)
        return_path = str(self._hop.addresses.return_path(delivery.id)) if delivery.return_path else ""
        if connection is None:
            await asyncio.to_thread(self._into_maildir, delivery, return_path, header, body)
            return _SENT
        until = claimed + outbox.LEASE / 1000 - LEASE_MARGIN_S
        mail = header + b"\r\n" + body.octets
        return await connection.hand_over(return_path, recipient, mail, lambda: time.monotonic() < until)

    def _into_maildir(self, delivery: Delivery, return_path: str, header: bytes, body: Body) -> None:
        recipient = parse_address(delivery.recipient)
        if recipient is not None and self._maildir is not None:
            name = f"{delivery.created_at // 1000}.{delivery.id}.{self._hop.addresses.domain}"
            mail = (header, b"\r\n", body.octets)
            maildir.deliver(self._maildir, recipient, return_path, mail, name)

    def _body(self, body_id: int) -> Body:
        with self._store.read() as tx:
            return outbox.bodies(tx, [body_id])[body_id]

    def _remember(self, body_id: int, body: Body) -> Body:
        if body_id not in self._bodies:
            self._bodies[body_id] = body
            self._remembered += len(body.octets)
        while self._remembered > BODIES_OCTETS and len(self._bodies) > 1:
            self._remembered -= len(self._bodies.popitem(last=False)[1].octets)
        return body

    def _outcome(self, delivery: Delivery, status: Status) -> Outcome:
        now = now_ms()
        if status.severity == 2:
            return Outcome(delivery, "sent", str(status))
        if status.severity == 5:
            return Outcome(delivery, "failed", str(status))
        due = next_try(delivery.attempts + 1, delivery.created_at, now)
        if due is None:
            return Outcome(delivery, "expired", str(status))
        told = delivery.told or now - delivery.created_at >= DELAY_TOLD_MS
        return Outcome(delivery, "deferred", str(status), due, told)

    async def _settle_loop(self) -> None:
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            outcomes, self._outcomes = self._outcomes, []
            try:
                await asyncio.to_thread(self._settle, outcomes)
            except Away as away:
                maillog.away("store", away)
                self._outcomes = outcomes + self._outcomes
                await asyncio.sleep(1.0)
                self._to_settle.set()
                continue
            except Exception as error:  # noqa: BLE001 (one bad row never fails its group)
                maillog.fault("send", error)
                await asyncio.to_thread(self._settle_singly, outcomes)
            self._in_hand -= len(outcomes)
            self._woken.set()
            if self._stopping and not self._in_hand:
                self._idle.set()

    def _settle_singly(self, outcomes: list[Outcome]) -> None:
        """Settle each alone, so that one that cannot be written does not undo what is known of the others."""
        for outcome in outcomes:
            for each in (outcome, dataclasses.replace(outcome, answer="unreadable answer")):
                try:
                    self._settle([each])
                    break
                except Exception as error:  # noqa: BLE001 (as above)
                    maillog.fault("send", error)

    def _settle(self, outcomes: list[Outcome]) -> None:
        now = now_ms()
        tell = []
        with self._store.write() as tx:
            for outcome in outbox.settle(tx, outcomes, now):
                delivery = outcome.delivery
                kind = {"failed": "failed", "expired": "failed"}.get(outcome.state, "")
                if outcome.state == "deferred" and outcome.told and not delivery.told:
                    kind = "delayed"
                if kind:
                    self._tell(tx, kind, outcome, now)
                    tell.append(kind)
        for outcome in outcomes:
            maillog.delivered(outcome.delivery.id, outcome.state, hide_tags(outcome.answer))
        if tell:
            self._settled()

    def _tell(self, tx: Transaction, kind: str, outcome: Outcome, now: int) -> None:
        """Tell the author, in words they understand; count what the address itself is to blame for."""
        delivery, answer = outcome.delivery, outcome.answer
        cause = read_answer(answer) if outcome.state == "failed" else "temporary"
        people = self._people()
        notices.tell_author(tx, people, kind, delivery.message_id, delivery.recipient, answer, cause, now)
        counts = outcome.state == "failed" and delivery.outsider
        if counts and suppressed.count_bounce(tx, delivery.recipient, cause, answer, delivery.id, now):
            audit.append(tx, "", "suppressed", delivery.recipient, now, answer=answer)


def load_hop(settings: Settings, addresses: Addresses, load: Callable[[Path, str, str], Key]) -> Hop:
    """Read the keys and the password that the settings name. Raises ValueError, with the mend."""
    keys = tuple(load(settings.path(key.key_file), key.selector, settings.site.domain) for key in settings.dkim)
    password = ""
    if settings.hop.user:
        path = settings.path(settings.next_hop.password_file) if settings.next_hop.password_file else None
        if path is None or not path.is_file():
            message = f"next_hop: {settings.hop.user} needs a password_file that can be read"
            raise ValueError(message)
        password = path.read_text("utf-8").strip()
    return Hop(settings, addresses, keys, password)
