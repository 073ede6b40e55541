"""Threads as folders: messages and cards go into an account's folders, and its inbox is kept tidy.

Each account has a connection, a pace and a pause of its own: a slow or full one delays nobody else.

*Failure:* a lost connection or a refusal is tried again with growing pauses for five days. A mail that may stand there
already, for a node ended between APPEND and commit, is looked for by its Message-ID first, so that it never stands
twice. Nothing is deleted but what was read, is not starred and is old, in an inbox; and cards, which are replaced.

*Standards:* RFC 3501 §6.3.11 (APPEND with flags and date), RFC 4315 (the UID it got).
"""

import asyncio
import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from gateway import maillog
from gateway.attend import Condition, Tell, attend
from gateway.config import ARCHIVE, parse_duration
from gateway.folder import INBOX, LOST, OWN, STAGES, WON, is_card, of_stage
from gateway.imap import FILED, Account, Broken, Mailbox, Refused, connect
from gateway.mail.imap import message_id_of
from gateway.send.retry import next_try
from gateway.site import Site
from gateway.store import cards, filing, outbox
from gateway.store.cards import Card
from gateway.store.filing import Filed, Filing
from gateway.store.session import Store
from gateway.suspect import Suspects
from gateway.worker import now_ms

BATCH = 100
TIDY_S = 10.0
_STRIKES_MAX = 3  # times a connection may end at a filing before others come first
IDLE_S = 2.0  # the longest sleep, for what nobody wakes us for
_DECIDED_S = 300.0  # the longest that a card stays where somebody moved it while nothing is decided
_KEYWORD = re.compile(r"[^A-Za-z0-9._-]")
_IDS = "UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_AT_ONCE = 500  # mails whose Message-IDs are asked for at once


class Filer:
    """Files into one account until it is stopped."""

    def __init__(self, store: Store, site: Site, key: str, account: Account, tell: Tell) -> None:
        """`key` is a person's, or the archive's; `tell` tells people that it stands still, or goes on."""
        self._store = store
        self._site = site
        self._key = key
        self._account = account
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tidied = 0.0
        self._last = (0, b"")
        self._ids: dict[int, str] = {}  # of what is read and not starred in the inbox, by UID
        self._ids_of = 0  # its UIDVALIDITY
        self._moved: dict[str, float] = {}  # since when a card stands where somebody moved it
        self._condition = Condition(store, account.attended(FILED), "file", tell)
        self._strikes: Counter[int] = Counter()  # how often a connection ended at a filing
        self._suspects: defaultdict[str, Suspects] = defaultdict(Suspects)  # by folder
        self._missed: set[str] = set()  # cards that stood nowhere the last time
        self._swept = False  # whether no card was placed since cards that nobody knows were looked for
        self._refused = ""  # what the account said no to last, and has taken nothing since
        self._keywords = True  # whether the server takes them, as far as is known
        self._looked_at = 0  # the last card that was looked at, of more than are looked at in a row

    def wake(self) -> None:
        """Let it look for work now. From any thread."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """File for ever."""
        await attend(self._store, self._condition.name, self._connected, self._wrong)

    def _wrong(self, error: str) -> None:
        """Note what ended a connection, and how much waits meanwhile."""
        with self._store.read() as tx:
            waiting = filing.waiting(tx, self._key)
        self._condition.wrong(error)
        self._condition.waits(waiting)

    async def _connected(self) -> None:
        await asyncio.to_thread(self._condition.begin)
        box = await connect(self._account)
        try:
            await box.learn("*" if self._key == ARCHIVE else f"{OWN}*")
            self._ids.clear()
            self._swept, self._keywords = False, True
            while True:
                self._woken.clear()
                due = self._loop.time() - self._tidied > TIDY_S
                if due:  # first, so that a full account has room again
                    await self._furnish(box)
                    await self._tidy(box)
                    await self._sweep(box)
                worked = await self._file(box)
                if self._key != ARCHIVE:
                    worked += await self._place_cards(box)
                if due:
                    self._tidied = self._loop.time()
                    await asyncio.to_thread(self._note_condition, await box.quota())
                if not worked:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(IDLE_S):
                            await self._woken.wait()
        finally:
            await box.close()

    def _note_condition(self, quota: tuple[int, int] | None) -> None:
        """Note how the account is: one that says no to all it is given is not well."""
        self._condition.room(quota)
        with self._store.read() as tx:
            waiting = filing.waiting(tx, self._key)
            misplaced = bool(cards.to_place(tx, self._key, 0, 1))
        if self._refused and (waiting or misplaced):
            self._wrong(self._refused)
            return
        self._refused = ""  # what it was said of has been given up
        self._condition.well(waiting)

    async def _furnish(self, box: Mailbox) -> None:
        """Make the folders into which cards are moved, also those where none stands yet."""
        if self._key == ARCHIVE:
            return
        await box.learn(f"{OWN}*")  # somebody may have taken one away, or called it otherwise
        await box.make(INBOX)
        for stage in (*self._site.rules.lead_stages, WON, LOST):
            await box.make(of_stage(stage))

    # ---- messages

    async def _file(self, box: Mailbox) -> int:
        """File what is due; return how much was."""
        claimed = await asyncio.to_thread(self._claim)
        outcomes: list[Filed] = []
        try:
            for each in claimed:
                outcomes.append(await self._one(box, each))
        except Broken as broken:
            begun = claimed[len(outcomes)]
            self._strikes[begun.id] += 1
            if self._strikes[begun.id] >= _STRIKES_MAX:  # it may be this mail that the server hangs up at: others first
                outcomes.append(self._again(begun, str(broken)))
            raise
        finally:
            # What was begun and has no outcome is handed back: it is looked for before it is tried again.
            if claimed:
                left = claimed[len(outcomes) :]
                await asyncio.shield(asyncio.to_thread(self._settle, outcomes, left))
        return len(claimed)

    def _claim(self) -> list[Filing]:
        with self._store.write() as tx:
            return filing.claim(tx, self._key, now_ms(), BATCH)

    def _body(self, body_id: int) -> bytes:
        """Return a body; several folders in a row want the same."""
        if body_id != self._last[0]:
            with self._store.read() as tx:
                self._last = (body_id, outbox.bodies(tx, [body_id])[body_id].octets)
        return self._last[1]

    def _settle(self, outcomes: Sequence[Filed], left: Sequence[Filing]) -> None:
        with self._store.write() as tx:
            filing.settle(tx, outcomes, now_ms())
            filing.hand_back(tx, left)
        for each in outcomes:
            maillog.filed(each.filing.id, each.state, each.answer)

    async def _one(self, box: Mailbox, each: Filing) -> Filed:
        try:
            await box.make(each.folder)
            if each.again and (uid := await self._there(box, each.folder, each.message_id)):
                return Filed(each, "sent", "it stands there already", uid)
            flags = " ".join(filter(None, ("\\Seen" if each.seen else "", _KEYWORD.sub("-", each.subtype))))
            octets = each.header + b"\r\n" + await asyncio.to_thread(self._body, each.body_id)
            uid = await self._append(box, each.folder, octets, flags, each.at)
        except Refused as refused:
            self._refused = str(refused)
            return self._again(each, str(refused))
        self._refused = ""
        return Filed(each, "sent", "filed", uid or None)

    async def _append(self, box: Mailbox, folder: str, octets: bytes, flags: str, at: int) -> int:
        """Append a mail; into a folder that somebody took away, once it is made again.

        A server that refuses what it is given may take no keyword: then it goes without.
        """
        plain = " ".join(each for each in flags.split() if each.startswith("\\"))
        flags = flags if self._keywords else plain
        try:
            return (await box.append(folder, octets, flags, at))[1]
        except Refused:
            box.forget(folder)
            await box.make(folder)
        try:
            return (await box.append(folder, octets, flags, at))[1]
        except Refused as refused:
            if flags == plain or "OVERQUOTA" in str(refused):
                raise
        uid = (await box.append(folder, octets, plain, at))[1]
        self._keywords = False
        return uid

    async def _there(self, box: Mailbox, folder: str, message_id: str) -> int:
        try:
            await box.select(folder)
        except Refused:
            if any(each.name == folder for each in await box.folders(folder)):
                raise  # it is in use, say; what stands there is not known
            await box.make(folder)  # somebody took it away, and what stood there
            return 0
        return next(iter(await box.find(message_id)), 0)

    def _again(self, each: Filing, answer: str) -> Filed:
        due = next_try(each.claim.attempts + 1, each.created_at, now_ms())
        return Filed(each, "expired", answer) if due is None else Filed(each, "deferred", answer, due_at=due)

    # ---- cards

    async def _place_cards(self, box: Mailbox) -> int:
        """Let every card stand where it belongs, as it is now; return how many were placed."""
        placed = 0
        for each in await asyncio.to_thread(self._cards):
            try:
                if each.placed_folder and await self._was_moved(box, each):
                    since = self._moved.setdefault(each.placed_id, self._loop.time())
                    if self._loop.time() - since < _DECIDED_S:
                        continue  # by somebody, just now: what they mean is decided first
                self._moved.pop(each.placed_id, None)
                await self._place(box, each)
            except Refused as refused:  # it is tried again the next time, and stands in no other's way
                self._refused = str(refused)
                continue
            self._refused, self._swept = "", False
            await asyncio.to_thread(self._placed, each)
            placed += 1
        return placed

    async def _was_moved(self, box: Mailbox, each: Card) -> bool:
        """Whether a card stands in the folder of another stage than where we put it."""
        if await self._stands(box, each.placed_folder, each.placed_id):
            return False
        for folder in map(of_stage, (*self._site.rules.lead_stages, WON, LOST)):
            if folder != each.placed_folder and await self._stands(box, folder, each.placed_id):
                return True
        return False

    async def _stands(self, box: Mailbox, folder: str, message_id: str) -> bool:
        return await self._opened(box, folder) and bool(await box.find(message_id))

    async def _place(self, box: Mailbox, each: Card) -> None:
        """Put a card where it belongs, and then away with the one before."""
        if each.folder:
            await box.make(each.folder)
            await box.select(each.folder)
            if not await box.find(each.message_id):
                await self._append(box, each.folder, each.octets, "lead.card", now_ms())
        if each.placed_folder and (each.placed_folder, each.placed_id) != (each.folder, each.message_id):
            with contextlib.suppress(Refused):  # somebody took the folder away
                await box.select(each.placed_folder)
                await box.delete(await box.find(each.placed_id))

    async def _sweep(self, box: Mailbox) -> None:
        """Take away cards that stand where none belongs: copies, and those of a node that ended too early.

        Cards that somebody deleted stand again: those that are missed twice, for one may be on its way.
        """
        if self._key == ARCHIVE:
            return
        folders, placed = await box.folders(f"{STAGES}*"), await asyncio.to_thread(self._placed_ids)
        if self._swept and sum(each.messages for each in folders) >= len(placed):
            return
        self._swept = True
        missed = set(placed)
        for folder in folders:
            if folder.messages and await self._opened(box, folder.name):
                suspects = self._suspects[folder.name].of(folder.uid_validity)
                listed = await suspects.listed(box, await box.uids("ALL"), _IDS)
                ours = {each.uid: name for each in listed if is_card(name := message_id_of(each.octets))}
                known = await asyncio.to_thread(self._known, list(ours.values()))
                await box.delete([uid for uid, message_id in ours.items() if message_id not in known])
                missed = missed - set(ours.values()) if not suspects.bad else set()
        lost, self._missed = missed & self._missed, missed
        await asyncio.to_thread(self._lost, lost)

    async def _opened(self, box: Mailbox, folder: str) -> bool:
        """Open a folder; False where the server refuses."""
        try:
            await box.select(folder)
        except Refused:
            return False
        return True

    def _known(self, message_ids: Sequence[str]) -> set[str]:
        with self._store.read() as tx:
            return cards.known(tx, self._key, message_ids)

    def _placed_ids(self) -> set[str]:
        with self._store.read() as tx:
            return cards.placed_ids(tx, self._key)

    def _lost(self, message_ids: Collection[str]) -> None:
        if message_ids:
            with self._store.write() as tx:
                cards.lost(tx, self._key, message_ids)

    def _cards(self) -> list[Card]:
        """Return the next cards to place: those of which none can be placed stand in no other's way."""
        with self._store.read() as tx:
            found = cards.to_place(tx, self._key, self._looked_at, BATCH)
        self._looked_at = found[-1].record_id if len(found) == BATCH else 0
        return found

    def _placed(self, each: Card) -> None:
        with self._store.write() as tx:
            cards.placed(tx, self._key, each.record_id, each.folder, each.message_id)

    # ---- the inbox

    async def _tidy(self, box: Mailbox) -> None:
        """Clear away what was read long ago and is not starred, in the inbox, and nothing else anywhere."""
        if self._key == ARCHIVE:
            return
        settings = self._site.settings.filing
        keep = parse_duration(settings.keep_read if settings else "7d")
        validity = (await box.select(INBOX)).uid_validity
        suspects = self._suspects[INBOX].of(validity)
        if validity != self._ids_of:  # these numbers are of other mails now
            self._ids, self._ids_of = {}, validity
        read = await box.uids("SEEN UNFLAGGED")
        new = [uid for uid in read if uid not in self._ids]
        self._ids = {uid: message_id for uid, message_id in self._ids.items() if uid in set(read)}
        for at in range(0, len(new), _AT_ONCE):
            listed = await suspects.listed(box, new[at : at + _AT_ONCE], _IDS)
            self._ids |= {each.uid: message_id_of(each.octets) for each in listed}
        before = now_ms() - int(keep.total_seconds() * 1000)
        old = await asyncio.to_thread(self._read_long_ago, list(self._ids.values()), before)
        await box.delete([uid for uid, message_id in self._ids.items() if message_id in old])

    def _read_long_ago(self, read: Sequence[str], before: int) -> set[str]:
        with self._store.write() as tx:
            filing.note_read(tx, self._key, read, now_ms())
            return filing.read_long_ago(tx, self._key, before)
