"""Folders that act: what a person drops into a record's folder, or moves from stage to stage, arrives as theirs.

What is found there is kept as an arrival of that person, and goes the way of every mail: a mail dropped into a
record's folder is their note there; a card moved to another stage is the command that says so. What is dropped into
the archive, which is for all to read, is held.

*Failure:* as of any account: a pause, and nothing is lost, for what was not kept is found again the next time. Only
what we did not put there ourselves counts; we know it by its Message-ID.
"""

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate

from gateway import maillog
from gateway.alias import Addresses
from gateway.attend import Condition, Tell, attend
from gateway.config import ARCHIVE
from gateway.folder import LOST, OWN, STAGES, WON, is_card, of_record, record_in, stage_in
from gateway.imap import FILED, WATCHED, Account, Mailbox, Refused, connect
from gateway.mail.imap import Folder, Listed, message_id_of
from gateway.people import Person
from gateway.records import commands
from gateway.records.commands import Command
from gateway.records.kinds import TEAM
from gateway.records.record import Record
from gateway.site import Site
from gateway.store import arrivals, cards, filing, mailboxes, notices, records
from gateway.store.arrivals import Received
from gateway.store.notices import NewNotice
from gateway.store.session import Store, Transaction
from gateway.suspect import Suspects
from gateway.worker import now_ms

LOOK_S = 3.0
_HEADER = "UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_UNSAID = {"\\Draft", "\\Deleted"}  # what somebody has not said yet, or has thrown away
_NOTE_MS = 30_000  # how often it is noted that all is well
_AT_ONCE = 200  # mails whose headers are asked for at once
_MOVED = "moved to the folder / 移到資料夾"


class Watcher:
    """Watches one account until it is stopped."""

    def __init__(
        self, store: Store, site: Site, addresses: Addresses, key: str, account: Account,
        arrived: Callable[[], None], tell: Tell,
    ) -> None:  # fmt: skip
        """`key` is a person's, or the archive's; `arrived` is called, in any thread, after each commit.

        `tell` tells people that it stands still where filing into the same account does not.
        """
        self._store = store
        self._site = site
        self._addresses = addresses
        self._key = key
        self._account = account
        self._arrived = arrived
        self._condition = Condition(store, account.attended(WATCHED), "watch", tell, account.attended(FILED))
        self._suspects: defaultdict[str, Suspects] = defaultdict(lambda: Suspects(patient=True))  # by folder
        self._pattern = "*" if key == ARCHIVE else f"{OWN}*"

    async def run(self) -> None:
        """Watch for ever."""
        await attend(self._store, self._condition.name, self._connected, self._condition.wrong)

    async def _connected(self) -> None:
        await asyncio.to_thread(self._condition.begin)
        box = await connect(self._account)
        noted = 0
        try:
            while True:
                await self._look(box)
                if now_ms() - noted > _NOTE_MS:
                    await asyncio.to_thread(self._condition.well)
                    noted = now_ms()
                await asyncio.sleep(LOOK_S)
        finally:
            await box.close()

    async def _look(self, box: Mailbox) -> None:
        """Look into every folder that has something new; not into those of who has left."""
        if self._key != ARCHIVE and self._key not in self._site.people.by_key:
            return
        seen = await asyncio.to_thread(self._seen)
        found: dict[str, list[str]] = {}  # the folders in which a card lies, by its Message-ID
        looked: list[tuple[str, int, int]] = []
        await box.noop()  # of a folder that is selected the status is as old as what the client was told last
        for folder in await box.folders(self._pattern):
            new = seen.get(folder.name) != (folder.uid_validity, folder.uid_next)
            if new and await asyncio.to_thread(self._acts, folder.name):
                validity, following = seen.get(folder.name, (0, 1))
                first = following if validity == folder.uid_validity else 1
                with contextlib.suppress(Refused):  # somebody took the folder away meanwhile
                    how_far = await self._look_into(box, folder, first, found)
                    if folder.name.startswith(STAGES):  # a card may lie in two of them: that is seen at the end
                        looked.append(how_far)
                    else:
                        await asyncio.to_thread(self._looked, {}, [how_far])
        if looked:
            await asyncio.to_thread(self._looked, found, looked)

    def _seen(self) -> dict[str, tuple[int, int]]:
        with self._store.read() as tx:
            return dict(mailboxes.seen(tx, self._key))

    def _acts(self, folder: str) -> bool:
        """Whether a folder is a stage's, or that of a record there is; what else somebody keeps is theirs."""
        ref = self._record_in(folder)
        if not ref:
            return folder.startswith(STAGES)
        with self._store.read() as tx:
            record = records.find(tx, ref)
        kind = record.kind if record is not None else TEAM if ref in self._site.rules.teams else ""
        return bool(kind) and folder.removeprefix(OWN) == of_record(kind, ref)

    def _record_in(self, folder: str) -> str:
        return record_in(folder, self._site.rules.kinds.by_name)

    async def _look_into(
        self, box: Mailbox, folder: Folder, first: int, found: dict[str, list[str]]
    ) -> tuple[str, int, int]:
        """Take what was dropped into a folder, or add its cards to those `found`; return how far it was looked into."""
        state = await box.select(folder.name)
        suspects = self._suspects[folder.name].of(state.uid_validity)
        uids = [uid for uid in await box.uids(f"UID {first}:*") if uid >= first]
        for at in range(0, len(uids), _AT_ONCE):
            some = uids[at : at + _AT_ONCE]
            # A server may tell of changed flags in between: what has no header says nothing of the mail.
            answer = await suspects.listed(box, some, _HEADER)
            # What cannot be read stays where it is, and stands in the way of no other.
            for uid in (uid for uid in some if uid in suspects.bad):
                await asyncio.to_thread(self._leave, folder.name, f"it cannot be read: {suspects.bad[uid]}")
            listed = [each for each in answer if each.octets is not None and not _UNSAID & each.flags]
            if folder.name.startswith(STAGES):
                for message_id in filter(is_card, (message_id_of(each.octets) for each in listed)):
                    found.setdefault(message_id, []).append(folder.name)
            else:
                for each in await asyncio.to_thread(self._strangers, folder.name, listed):
                    await self._take(box, folder.name, state, each)
        return folder.name, state.uid_validity, max([state.uid_next, *(uid + 1 for uid in uids)])

    def _looked(self, found: Mapping[str, Sequence[str]], looked: Sequence[tuple[str, int, int]]) -> None:
        """Keep what the cards say that were moved, and how far every folder was looked into, in one commit."""
        with self._store.write() as tx:
            moved = self._cards(tx, found)
            for name, validity, following in looked:
                mailboxes.looked_at(tx, self._key, name, validity, following)
        if moved:
            self._arrived()

    # ---- dropped mails

    def _strangers(self, folder: str, listed: Sequence[Listed]) -> list[Listed]:
        """Return the mails that we did not file into a folder; a card that strayed there is none."""
        ids = {each.uid: message_id_of(each.octets) for each in listed}
        with self._store.read() as tx:
            ours = filing.known_in(tx, self._key, folder, list(ids.values()))
        return [each for each in listed if ids[each.uid] not in ours and not is_card(ids[each.uid])]

    async def _take(self, box: Mailbox, folder: str, state: Folder, each: Listed) -> None:
        """Keep a dropped mail as an arrival, and how far the folder was looked into, in one commit."""
        limit = self._site.settings.max_size
        if each.size > limit:
            why = f"it has {each.size} octets, more than the {limit} that are taken"
            await asyncio.to_thread(self._leave, folder, why)
            return
        async with self._suspects[folder].octets(box, [each.uid]):
            parts = [part async for part in box.octets(each.uid, each.size, limit)]
        action = "" if self._key == ARCHIVE else commands.NOTE.name
        address = str(self._addresses.alias(self._record_in(folder), action))
        received = self._received(b"".join(parts), address)
        await asyncio.to_thread(self._keep, received, folder, state.uid_validity, each.uid + 1)

    def _leave(self, folder: str, why: str) -> None:
        """Leave a mail in a folder, and tell whose account it is, once a day; of the archive `settings`."""
        person = self._site.people.by_key.get(self._key)
        if person is None:
            self._condition.left_out(folder, why)
        else:
            maillog.fault("folders", ValueError(f"a mail in {folder}: {why}"))
            data = {"account": self._account.name, "mail": folder, "error": why}
            with self._store.write() as tx:
                notices.add(tx, NewNotice("account", person.key, person.email[0], data, daily=True), now_ms())

    def _received(self, octets: bytes, address: str) -> Received:
        door, who = (arrivals.ARCHIVE, "") if self._key == ARCHIVE else (arrivals.FOLDER, self._key)
        return Received(
            received_at=now_ms(), door=door, peer=self._account.name[:64], helo="", return_path="", trusted=False,
            recipients=(address,), content=octets, auth_who=who,
        )  # fmt: skip

    def _keep(self, received: Received, folder: str, uid_validity: int, following: int) -> None:
        with self._store.write() as tx:
            if not self._was_held(tx, received):
                arrivals.keep_many(tx, [received])
            mailboxes.looked_at(tx, self._key, folder, uid_validity, following)
            self._store.wake_others(tx)
        self._arrived()

    @staticmethod
    def _was_held(tx: Transaction, received: Received) -> bool:
        """Whether a mail that is dropped into the archive was before; a note stands once by its Message-ID (law 2)."""
        if received.door != arrivals.ARCHIVE or not isinstance(received.content, bytes):
            return False
        digest = hashlib.sha256(received.content).digest()
        return mailboxes.was_dropped(tx, digest, received.peer, received.recipients[0])

    # ---- cards

    def _cards(self, tx: Transaction, found: Mapping[str, Sequence[str]]) -> bool:
        """Keep what cards that were moved say: the command that their new folder is. A copy says what a move does."""
        person = self._site.people.by_key.get(self._key)
        moved = False
        for record_id, stood, message_id in cards.standing(tx, self._key, list(found)):
            folder = next((each for each in found[message_id] if each != stood), None)
            lead = records.load(tx, [record_id]).get(record_id)
            if folder is None or lead is None or person is None:
                continue
            given = _commands(lead, stage_in(folder, self._site.rules.lead_stages) or folder.removeprefix(STAGES))
            mail = _command_mail(person, str(self._addresses.alias(lead.ref)), given)
            arrivals.keep_many(tx, [self._received(mail, str(self._addresses.alias(lead.ref)))])
            cards.moved(tx, self._key, record_id, folder)
            self._store.wake_others(tx)
            moved = True
        return moved


def _commands(lead: Record, stage: str) -> list[tuple[Command, str]]:
    """Return the commands that bring a lead into a stage, won or lost."""
    restored = [(commands.RESTORE, "")] if lead.state == "lost" else []
    if stage == WON:
        return [*restored, (commands.WON, "")]
    if stage == LOST:
        return [(commands.LOST, _MOVED)]
    same = lead.state != "open" and lead.fields.get("stage") == stage
    return restored if restored and same else [*restored, (commands.STAGE, stage)]


def _command_mail(person: Person, to: str, given: Sequence[tuple[Command, str]]) -> bytes:
    """Return the mail that a person would have written to say it."""
    lines = "\r\n".join(f"/{command.name} {words}".strip() for command, words in given)
    fields = (
        f"From: {person.email[0]}", f"To: {to}", f"Date: {formatdate()}", "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit",
    )  # fmt: skip
    return "\r\n".join((*fields, "", lines, "")).encode()
