"""The catch-all mailbox as a door: mails are fetched, kept like any other, and only then moved away.

Progress is UIDVALIDITY and the last UID, written in the transaction that keeps the mails; flags and moves come after,
and are made up for when a node ended between. So nothing is lost, and law 2 with the digest of what was fetched before
lets nothing count twice, whatever the server numbers anew or says again.

*Failure:* a server that is away, silent or out of its mind costs a pause that grows; a mail that cannot be fetched is
moved to `failed` and never stops the next. After a quarter of an hour without success the people with `settings` are
told, and again when it goes on.

*Standards:* RFC 3501 §2.3.1 (UIDs), RFC 2177 (IDLE).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parseaddr

from gateway import maillog
from gateway.alias import Addresses
from gateway.attend import Condition, Tell, attend
from gateway.config import ImapDoor
from gateway.imap import Mailbox, Refused, account_of, connect
from gateway.mail.header import split_mail
from gateway.mail.imap import Folder, Listed
from gateway.site import Site
from gateway.store import arrivals, mailboxes
from gateway.store.arrivals import IMAP, Received
from gateway.store.mailboxes import Progress
from gateway.store.session import Store
from gateway.suspect import Suspects
from gateway.worker import Traffic, now_ms

POLL_S = 30.0  # and the longest that IDLE is believed
_BATCH = 50  # mails that share a commit
_TOGETHER = 8 * 1024 * 1024  # octets of mails in memory at once
_SMALL = 256 * 1024  # octets up to which mails are fetched many at a time
_MOVED = 500  # mails that are moved by one command
NO_ENVELOPE = ""  # the recipient of a mail that names no address of ours


@dataclass(frozen=True, slots=True)
class Fetched:
    """A mail of the catch-all; its octets are None where it cannot be taken, for what is `wrong`."""

    uid: int
    octets: bytes | None
    wrong: str = ""


class Fetcher:
    """Fetches one catch-all mailbox until it is stopped."""

    def __init__(
        self, store: Store, site: Site, addresses: Addresses, door: ImapDoor, traffic: Traffic,
        arrived: Callable[[], None], tell: Tell,
    ) -> None:  # fmt: skip
        """`arrived` is called, in any thread, after each commit; `tell` tells people how it is."""
        self._store = store
        self._site = site
        self._addresses = addresses
        self._door = door
        self._traffic = traffic
        self._arrived = arrived
        self._account = account_of(site.settings, door)
        self.name = self._account.attended(door.folder)
        self._condition = Condition(store, self.name, "fetch", tell)
        self._suspects = Suspects(proof=True)
        # UIDVALIDITY and UID of bad mails that were moved away, or nearly.
        self._put_aside: set[tuple[int, int]] = set()
        self._stays = ""  # why what was kept cannot be moved away
        self._most = site.settings.max_size

    async def run(self) -> None:
        """Fetch for ever."""
        await attend(self._store, self.name, self._connected, self._condition.wrong)

    async def _connected(self) -> None:
        await asyncio.to_thread(self._condition.begin)
        box = await connect(self._account)
        try:
            folder = await box.select(self._door.folder)
            self._stays = ""
            for name in filter(None, (self._door.done, self._door.failed)):
                with contextlib.suppress(Refused):  # what cannot be moved there stays, and is told
                    await box.make(name)
            folder = await box.select(self._door.folder)
            await self._catch_up(box, folder)
            while True:
                while await self._fetch_new(box, folder):
                    pass
                await asyncio.to_thread(self._condition.room, await box.quota())
                await self._note(0)
                if not await box.idle(POLL_S):
                    await asyncio.sleep(0 if box.has("IDLE") else POLL_S)
                    await box.noop()
                if self._stays:  # there may be room by now
                    self._stays = ""
                    await self._catch_up(box, folder)
        finally:
            await box.close()

    async def _note(self, waiting: int) -> None:
        """Note how the account is: not well where what was taken in cannot be moved away, though nothing is lost."""
        if self._stays:
            await asyncio.to_thread(self._condition.wrong, self._stays)
            await asyncio.to_thread(self._condition.waits, waiting)
        else:
            await asyncio.to_thread(self._condition.well, waiting)

    async def _progress(self, folder: Folder) -> Progress:
        known = await asyncio.to_thread(self._read_progress)
        return known if known.uid_validity == folder.uid_validity else Progress(folder.uid_validity, 0)

    def _read_progress(self) -> Progress:
        with self._store.read() as tx:
            return mailboxes.progress(tx, self.name)

    async def _catch_up(self, box: Mailbox, folder: Folder) -> None:
        """Move away what was kept, but not moved, when a node ended."""
        reached = await self._progress(folder)
        if reached.uid:
            undone = "UNDELETED" if self._door.done else "UNSEEN"
            left = [uid for uid in await box.uids(f"UID 1:{reached.uid} {undone}") if uid <= reached.uid]
            await self._away(box, [uid for uid in left if uid not in reached.bad], self._door.done)
            await self._aside(box, folder, [uid for uid in left if uid in reached.bad])

    async def _fetch_new(self, box: Mailbox, folder: Folder) -> bool:
        """Take the next mails in; False if there is none."""
        reached = await self._progress(folder)
        new = [uid for uid in await box.uids(f"UID {reached.uid + 1}:*") if uid > reached.uid]
        if not new:
            return False
        await asyncio.to_thread(self._condition.waits, len(new))
        waiting = len(new)
        new = [*self._suspects.of(folder.uid_validity).known_first(new)]
        told = {each.uid: each for each in await self._suspects.listed(box, new, SIZES)}
        # What the server leaves out of its answer is there none the less.
        found = [told.get(uid) or Listed(uid) for uid in new]
        for group in _grouped(found, self._suspects):
            fetched = await self._taken(box, group)
            bad = [each for each in fetched if each.octets is None]
            for each in bad:
                await asyncio.to_thread(self._condition.left_out, f"{self._door.failed}: {each.uid}", each.wrong)
            self._traffic.arriving()
            reached = Progress(folder.uid_validity, group[-1].uid, (*reached.bad, *(each.uid for each in bad)))
            await asyncio.to_thread(self._keep, fetched, reached)
            await self._aside(box, folder, [each.uid for each in bad])
            waiting -= len(group)
            await self._note(waiting)
            self._arrived()
            await self._away(box, [each.uid for each in fetched if each.octets is not None], self._door.done)
        return True

    async def _taken(self, box: Mailbox, group: Sequence[Listed]) -> list[Fetched]:
        """Fetch a group; where the server fails again and again at one mail it is bad, and stops nobody else."""
        first, suspects = group[0], self._suspects
        if first.uid in suspects.bad:
            return [Fetched(first.uid, None, suspects.bad[first.uid])]
        if first.size > self._most:
            return [Fetched(first.uid, None, f"it has {first.size} octets, more than the {self._most} that are taken")]
        async with suspects.octets(box, [each.uid for each in group]):
            return await self._fetch(box, group)

    async def _fetch(self, box: Mailbox, group: Sequence[Listed]) -> list[Fetched]:
        """Return a group of mails; small ones by one command, a large one, or one that is asked for apart, in parts."""
        first = group[0]
        if len(group) == 1 and (first.size > _SMALL or not first.size or self._suspects.apart(first.uid)):
            return await self._in_parts(box, first)
        listed = await box.listed([each.uid for each in group], _WHOLE)
        found = {each.uid: each.octets for each in listed if each.octets is not None}
        left_out = [each for each in group if each.uid not in found]
        fetched = [Fetched(each.uid, found[each.uid]) for each in group if each.uid in found]
        for each in left_out:
            fetched += await self._in_parts(box, each)
        return fetched

    async def _in_parts(self, box: Mailbox, each: Listed) -> list[Fetched]:
        """Return one mail; nothing if it has gone, which was somebody's own decision. Raises Refused otherwise."""
        try:
            return [Fetched(each.uid, b"".join([part async for part in box.octets(each.uid, each.size, self._most)]))]
        except Refused:
            if await box.uids(f"UID {each.uid}"):
                raise
            return []

    def _keep(self, fetched: Sequence[Fetched], reached: Progress) -> None:
        """Keep mails and note how far we are, in one commit."""
        mails = [each.octets for each in fetched if each.octets is not None]
        digests = [hashlib.sha256(octets).digest() for octets in mails]
        with self._store.write() as tx:
            before = mailboxes.known(tx, digests, self.name)
            new: dict[bytes, Received] = {}
            for digest, octets in zip(digests, mails, strict=True):
                if digest not in before:
                    new[digest] = self._received(octets)
            if new:
                arrivals.keep_many(tx, list(new.values()))
            mailboxes.advance(tx, self.name, reached)
            self._store.wake_others(tx)
        maillog.fetched(self.name, len(new), len(mails) - len(new))

    def _received(self, octets: bytes) -> Received:
        recipients, return_path = envelope(octets, self._door.envelope_headers, self._addresses)
        return Received(
            received_at=now_ms(), door=IMAP, peer=self.name[:64], helo="", return_path=return_path, trusted=False,
            recipients=recipients or (NO_ENVELOPE,), content=octets,
        )  # fmt: skip

    async def _aside(self, box: Mailbox, folder: Folder, bad: Sequence[int]) -> None:
        """Move away what could not be taken in, each once: a server may hang up at that, too."""
        for each in ((folder.uid_validity, uid) for uid in bad):
            if each not in self._put_aside:
                self._put_aside.add(each)
                if not await self._away(box, [each[1]], self._door.failed):
                    self._put_aside.discard(each)

    async def _away(self, box: Mailbox, uids: Sequence[int], to: str) -> bool:
        """Move away what was dealt with; what the server does not let go stays until the next connection."""
        for at in range(0, len(uids), _MOVED):
            some = uids[at : at + _MOVED]
            try:
                if to:
                    await box.move(some, to)
                else:
                    await box.flag(some, "\\Seen")
            except Refused as refused:
                self._stays = f"what was fetched cannot be moved to {to or 'anywhere'}: {refused}"
                return False
        return True


SIZES = "UID RFC822.SIZE"
_WHOLE = "UID BODY.PEEK[]"


def _grouped(found: Sequence[Listed], suspects: Suspects) -> list[list[Listed]]:
    """Return mails in groups that fit together, in their order; a large or a suspected one is alone."""
    groups: list[list[Listed]] = []
    octets = 0
    for each in found:
        last = groups[-1] if groups else []
        full = not last or len(last) >= _BATCH or octets + each.size > _TOGETHER
        alone = [one for one in (each, *last[-1:]) if one.size > _SMALL or not one.size or suspects.apart(one.uid)]
        if full or alone:
            groups.append([])
            octets = 0
        groups[-1].append(each)
        octets += each.size
    return groups


def envelope(octets: bytes, fields: Sequence[str], addresses: Addresses) -> tuple[tuple[str, ...], str]:
    """Return our addresses a mail was delivered to, and its return path, as our own last hop wrote them down.

    Only what stands above the first Received field is that hop's; below it anybody may have written anything.
    """
    header, _ = split_mail(octets)
    own: list[tuple[str, str]] = []
    for name, value in header.fields:
        if name == "received":
            break
        own.append((name, value.strip()))
    recipients: tuple[str, ...] = ()
    for field in fields:
        found = [value for name, value in own if name == field.lower()]
        named = [_address(each) for value in found for each in value.split(",")]
        ours = [text for text in named if _is_ours(text, addresses)]
        if ours:
            recipients = tuple(dict.fromkeys(ours))
            break
    # Some write the return path further down, some nowhere: it decides nothing but whether a machine wrote, and what
    # nobody wrote down is not the null one.
    written = header.all("return-path") or header.all("from")
    return recipients, _address(written[0]) if written else ""


def _address(value: str) -> str:
    return parseaddr(value)[1].strip()[:1000]


def _is_ours(text: str, addresses: Addresses) -> bool:
    address = addresses.parse(text)
    return address is not None and addresses.owns(address)
