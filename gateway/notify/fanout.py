"""From posted messages and waiting notices to deliveries in the outbox: gather, decide, act.

*Failure:* a store that is away leaves a message pending. Any other fault is tried three times;
then the message stays in its thread, shunted, and status counts it. A message and all of its
deliveries are one commit: everybody gets it, or nobody yet.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from gateway import maillog
from gateway.alias import Addresses
from gateway.following import Follower, Reason, followers
from gateway.mail.address import Address, parse_address
from gateway.mail.parse import Attachment
from gateway.notify import context, notice, pdf
from gateway.notify.compose import Envelope, Part, SharedBody, header, shared_body, shared_fields
from gateway.notify.context import Audience, Told
from gateway.notify.folders import Shelf, shelves
from gateway.notify.recipients import SUPPRESSED, Chosen, Heard, choose
from gateway.notify.render import Renderer
from gateway.people import People
from gateway.records.kinds import ADDRESSED_TO_CUSTOMER, ASSIGNED, NOTE, QUOTATION, SENT, Subtype
from gateway.records.record import Choice, Record
from gateway.site import Site
from gateway.store import content, filing, messages, notices, outbox, records, suppressed
from gateway.store import followers as store_followers
from gateway.store.filing import NewFiling
from gateway.store.lease import TRIES, Claim, is_deadly
from gateway.store.messages import Kept, Message
from gateway.store.outbox import NewDelivery
from gateway.store.session import Away, Store, Transaction
from gateway.worker import Traffic, now_ms

BATCH = 25
TOGETHER = 16 * 1024 * 1024  # octets of bodies in memory at once
RETRY_MS = 5_000
ATTACHED_MAX = 20 * 1024 * 1024  # octets of attachments that go along with a message
READERS_MAX = 100_000  # numbers of readers that are remembered


@dataclass(slots=True)
class Prepared:
    """A message worded for everybody who hears of it, ready to queue."""

    told: Told
    bodies: list[SharedBody] = field(default_factory=list)
    deliveries: list[tuple[int, Heard, bytes]] = field(default_factory=list)
    made: Part | None = None  # a PDF that was made for it: it stays with the message
    filings: list[tuple[int, Shelf, bytes]] = field(default_factory=list)


class FanOut:
    """Words messages and notices and queues them, a batch a step."""

    def __init__(
        self,
        store: Store,
        site: Site,
        addresses: Addresses,
        renderer: Renderer,
        traffic: Traffic,
        queued: Callable[[], None],
    ) -> None:
        """`queued` is called, in any thread, after each commit."""
        self._store = store
        self._site = site
        self._addresses = addresses
        self._renderer = renderer
        self._traffic = traffic
        self._queued = queued
        self._readers: dict[str, int] = {}
        self._accounts = site.accounts

    def step(self) -> int:
        """Fan out what is due; return how many messages and notices were claimed."""
        with self._store.write() as tx:
            now = now_ms()
            claims = messages.claim(tx, now, BATCH)
            due = notices.claim(tx, now, BATCH)
        if claims:
            self._fan_out(claims)
        if due:
            notice.send(self._store, self._site, self._addresses, self._renderer, due, self.reader)
        if claims or due:
            self._queued()
        return len(claims) + len(due)

    def _fan_out(self, claims: Sequence[Claim]) -> None:
        deadly = [claimed for claimed in claims if is_deadly(claimed)]
        for claimed in deadly:
            self._set_aside(claimed, RuntimeError("the node ended each time it was handled"))
        by_id = {claimed.id: claimed for claimed in claims if claimed not in deadly}
        try:
            with self._store.read() as tx:
                gathered = _gather(tx, self._site, by_id)
            ready: deque[tuple[Claim, Prepared]] = deque()
            octets = 0
            for message in gathered.messages:
                self._traffic.give_way()
                size = sum(kept.size for kept in gathered.attachments.get(message.id, ()))
                if size >= self._traffic.HEAVY:
                    self._queue_all(ready)
                    octets = 0
                    with self._traffic.carrying(size):
                        if (prepared := self._try(by_id[message.id], message, gathered)) is not None:
                            self._queue_all(deque([(by_id[message.id], prepared)]))
                    continue
                if (prepared := self._try(by_id[message.id], message, gathered)) is not None:
                    ready.append((by_id[message.id], prepared))
                    octets += sum(len(body.octets) for body in prepared.bodies)
                if octets > TOGETHER:
                    self._queue_all(ready)
                    octets = 0
            self._queue_all(ready)
        except Away:
            with self._store.write() as tx:
                for claimed in claims:
                    messages.postpone(tx, claimed, now_ms(), failed=False)
            raise

    def _try(self, claimed: Claim, message: Message, gathered: "Gathered") -> Prepared | None:
        try:
            return self._prepare(message, gathered)
        except Away:
            raise
        except Exception as error:  # noqa: BLE001 (one message never stops the next)
            self._set_aside(claimed, error)
            return None

    def _prepare(self, message: Message, gathered: "Gathered") -> Prepared:
        record = gathered.records[message.record_id]
        subtype = self._site.rules.kinds.subtypes.get(message.subtype) or Subtype(message.subtype, {}, message.internal)
        their = gathered.followers[record.id]
        kept = gathered.attachments.get(message.id, [])
        parts: Sequence[Part] = ()
        if kept:
            with self._store.read() as tx:
                parts = _parts(tx, kept, self._addresses)
        chosen = choose(message, subtype, record, their, self._site.people, gathered.suppressed)
        names = [part.name for part in parts]
        left_out = [each.name for each in kept if each.name not in names]
        about = gathered.parents.get(message.parent_id or 0) if subtype.name == ASSIGNED.name else None
        told = Told(message, subtype, record, chosen, names, left_out, about, self._offers(message, record))
        made = self._pdf(told)
        if made is not None:
            told, parts = replace(told, attachments=[*names, made.name]), [*parts, made]
        choices = gathered.choices[record.id] if self._accounts else ()
        places = shelves(message, record, their, choices, chosen, self._site.rules, self._accounts)
        return replace(self._worded(told, parts, places), made=made)

    def _offers(self, message: Message, record: Record) -> int:
        """Return how often a quotation had been sent when a message was posted: which offer its buttons answer."""
        if not context.is_open_offer(message.subtype, record):
            return 0
        with self._store.read() as tx:
            sent = messages.of_subtype(tx, record.id, SENT[QUOTATION.name])
        return sum(1 for each in sent if each.id <= message.id)

    def _pdf(self, told: Told) -> Part | None:
        """Make the PDF that a quotation or an invoice is sent with, where it has none."""
        record = told.record
        if not told.message.details.pdf or not (record.lines or record.fields.get("amount")):
            return None
        language = self._site.language(record.customer.language)
        values = context.page(self._site, self._addresses, self._renderer, told, language)
        made = pdf.make(self._renderer, language, record.kind, values)
        return Part(f"{record.ref}.pdf", pdf.MEDIA_TYPE, made) if made else None

    def _worded(self, told: Told, parts: Sequence[Part], places: Sequence[Shelf]) -> Prepared:
        prepared = Prepared(told)
        readers = [self._filed_for(told, place) for place in places]
        numbers = self.reader([heard.reader for heard in (*told.chosen.hears, *readers) if heard.who])
        envelope = self._envelope(told)
        shared = shared_fields(envelope)
        seller = self._site.people.by_key.get(told.record.salesperson)
        named = seller if told.subtype.name in ADDRESSED_TO_CUSTOMER else None  # the customer knows the salesperson
        outside = shared_fields(replace(envelope, author=named.name)) if named else shared
        index: dict[Audience, int] = {}

        def copy(heard: Heard) -> tuple[int, bytes]:
            """Return which body a reader's copy has, and its header block."""
            whose = context.audience(self._site, told, heard)
            number = numbers.get(heard.reader, 0)
            if whose not in index:
                values = context.build(
                    self._site, self._addresses, self._renderer, told, whose, number if whose.reader else None
                )
                text, html = self._renderer.body(context.names(self._site.rules.kinds, told), whose.language, values)
                index[whose] = len(prepared.bodies)
                prepared.bodies.append(shared_body(text, html, parts))
            body = prepared.bodies[index[whose]]
            return index[whose], self._header(told, heard, number, outside if heard.outsider else shared, body)

        for heard in told.chosen.hears:
            if parse_address(heard.email) is None or (heard.delivery == "inbox" and heard.who in self._accounts):
                continue
            number, block = copy(heard)
            prepared.deliveries.append((number, heard, block))
        for place, heard in zip(places, readers, strict=True):
            number, block = copy(heard)
            prepared.filings.append((number, place, block))
        return prepared

    def _filed_for(self, told: Told, place: Shelf) -> Heard:
        """Return whose eyes a filed copy is for: who hears of it anyway, a person, or all who read the archive."""
        for heard in told.chosen.hears:
            if heard.who == place.who and not heard.outsider:
                return heard
        filed = Reason("filed")
        person = self._site.people.by_key.get(place.who)
        if person is None:
            alias = str(self._addresses.alias(told.record.ref))
            return Heard("", alias, "", outsider=False, language="", reason=filed, delivery="none", follows=False)
        language = person.language or ""
        return Heard(
            person.key, person.email[0], person.name, outsider=False, language=language, reason=filed, delivery="none",
            follows=True,
        )  # fmt: skip

    def _header(self, told: Told, heard: Heard, number: int, shared: bytes, body: SharedBody) -> bytes:
        ref, epoch = told.record.ref, told.record.tag_epoch
        to = parse_address(heard.email)
        if to is None:
            message = f"{heard.email!r} is no address"
            raise ValueError(message)
        action = NOTE.name if told.message.subtype == NOTE.name else ""
        if not heard.who:  # for all who read the archive: nobody's tag
            return header(shared, body, "", to, self._addresses.alias(ref, action), None, "")
        reply_to = self._addresses.alias(ref, action, number, epoch)
        unsubscribe: Address | None = None
        if heard.follows or not heard.outsider:
            unsubscribe = self._addresses.alias(ref, "unfollow", number, epoch)
        reason = "" if heard.outsider else str(heard.reason)
        return header(shared, body, heard.name, to, reply_to, unsubscribe, reason)

    def _envelope(self, told: Told) -> Envelope:
        message, record = told.message, told.record
        action = NOTE.name if message.subtype == NOTE.name else ""
        team = record.team or next(iter(record.teams), "")
        return Envelope(
            author=context.shown_author(self._site, message),
            sender=self._addresses.alias(record.ref, action),
            date=message.at,
            message_id=message.message_id,
            subject=context.subject_of(record, answers=message.parent_id is not None),
            ancestors=message.ancestors,
            list_id=f"{team or record.kind}.{self._addresses.domain}",
            automatic="auto-generated" if told.subtype.transition or told.subtype.name == "assigned" else "",
            record=record.ref,
            subtype=message.subtype,
        )

    def _queue_all(self, ready: deque[tuple[Claim, Prepared]]) -> None:
        while ready:
            self._queue(ready)

    def _queue(self, ready: deque[tuple[Claim, Prepared]]) -> None:
        """Queue in one commit until nothing is left, or until another thread wants to write."""
        failed: list[tuple[Claim, Exception]] = []
        done: list[Prepared] = []
        with self._store.write() as tx:
            while ready and not (done and self._store.wanted):
                claimed, prepared = ready.popleft()
                try:
                    with tx.begin_nested():
                        if _keep(tx, self._site.people, claimed, prepared):
                            done.append(prepared)
                except Away:
                    raise
                except Exception as error:  # noqa: BLE001 (one bad row never fails its group)
                    failed.append((claimed, error))
            self._store.wake_others(tx)
        for prepared in done:
            told = prepared.told
            maillog.fanned_out(told.record.ref, told.subtype.name, len(told.chosen.hears), len(told.chosen.not_hears))
        for claimed, fault in failed:
            self._set_aside(claimed, fault)

    def _set_aside(self, claimed: Claim, error: Exception) -> None:
        with self._store.write() as tx:
            if claimed.attempts >= TRIES:
                reason = f"{type(error).__name__}: {error}"[:500]
                messages.shunt(tx, claimed, reason)
                maillog.shunted("message", claimed.id, reason)
            else:
                messages.postpone(tx, claimed, now_ms() + RETRY_MS, failed=True)
                maillog.failed_once("message", claimed.id, error)

    def reader(self, whos: Iterable[str]) -> dict[str, int]:
        """Return the numbers that stand for readers in tags."""
        wanted = list(dict.fromkeys(whos))
        if new := [who for who in wanted if who not in self._readers]:
            with self._store.write() as tx:
                found = store_followers.reader_ids(tx, new)
            if len(self._readers) > READERS_MAX:
                self._readers.clear()
            self._readers.update(found)
        return {who: self._readers[who] for who in wanted}


@dataclass(frozen=True, slots=True)
class Gathered:
    """What wording a batch of messages needs from the store."""

    messages: list[Message]
    records: dict[int, Record]
    choices: dict[int, list[Choice]]
    followers: dict[int, list[Follower]]
    suppressed: frozenset[str]
    attachments: dict[int, list[Kept]]
    parents: dict[int, Message]


def _gather(tx: Transaction, site: Site, ids: Iterable[int]) -> Gathered:
    found = messages.load(tx, ids)
    by_id = records.load(tx, {message.record_id for message in found})
    choices = store_followers.choices(tx, by_id)
    their = {key: followers(record, choices[key], site.people, site.rules) for key, record in by_id.items()}
    emails = {email for each in their.values() for follower in each for email in follower.emails}
    emails |= {email for record in by_id.values() for email in record.customer.emails}
    emails |= {message.details.answered for message in found if message.details.answered}
    above = [each.parent_id for each in found if each.parent_id is not None and each.subtype == ASSIGNED.name]
    return Gathered(
        found,
        by_id,
        choices,
        their,
        suppressed.suppressed(tx, emails),
        messages.attachments(tx, [message.id for message in found]),
        {each.id: each for each in messages.load(tx, above)},
    )


def _parts(tx: Transaction, kept: Sequence[Kept], addresses: Addresses) -> list[Part]:
    """Return the attachments that go along, without readers' tags; what is too much stays with the record."""
    room = ATTACHED_MAX
    parts = []
    for each in kept:
        if each.size <= room:
            room -= each.size
            octets = addresses.untagged_file(content.load(tx, each.digest))
            parts.append(Part(each.name, each.media_type, octets))
    return parts


def _keep(tx: Transaction, people: People, claimed: Claim, prepared: Prepared) -> bool:
    """Write a message's outcome and its deliveries; False when another node did it meanwhile."""
    message, chosen = prepared.told.message, prepared.told.chosen
    hears, not_hears = as_stored(chosen)
    if not messages.fanned_out(tx, claimed, hears, not_hears):
        return False
    if (made := prepared.made) is not None:
        messages.attach(tx, message.id, [Attachment(made.name, made.media_type, made.content)])
    bodies = [outbox.keep_body(tx, body.octets, body.signed_hash) for body in prepared.bodies]
    places = [
        NewFiling(message.id, place.account, place.folder, place.who == message.author.who != "", block, bodies[index])
        for index, place, block in prepared.filings
    ]
    filing.queue(tx, places, now_ms())
    deliveries = [
        NewDelivery(message.id, message.internal, heard.outsider, heard.who, heard.email, block, bodies[index])
        for index, heard, block in prepared.deliveries
    ]
    outbox.queue(tx, deliveries, now_ms())
    if message.author.who and message.subtype not in ADDRESSED_TO_CUSTOMER:  # who sends an offer is told at once
        for left in chosen.not_hears:
            if left.reason == SUPPRESSED and "@" in left.who:
                notices.tell_unreached(tx, people, message.id, left.who, now_ms())
    return True


def as_stored(chosen: Chosen) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return who heard and who did not as they stand with the message."""
    hears = [{"who": h.who, "email": h.email, "reason": str(h.reason), "delivery": h.delivery} for h in chosen.hears]
    return hears, [{"who": left.who, "reason": left.reason} for left in chosen.not_hears]
