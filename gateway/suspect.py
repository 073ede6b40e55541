"""Mails at which a server hangs up, or which it refuses to show: they are found by halves, and all others are read.

Some servers end the connection when they are asked the size of one mail whose file is damaged. What was asked for
together with it is asked for apart at the next connection, and again, until it is alone. A mail is bad where the
server fails at it again and again, each time on a connection on which it gave another.

*Failure:* a server that gives nothing at all is away, and no mail of it is to blame: `Broken` goes on. Where more is
known than before, `Narrowed` does: the next connection may come at once.
"""

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from gateway.imap import Broken, Mailbox, Refused
from gateway.mail.imap import Listed

_STRIKES_MAX = 2  # connections that a mail may end, alone, while the server gives others
_LENIENT_MAX = 5  # … by its octets, which take long where there are many; and times that it may be refused
_UNPROVED_MAX = 5  # … while there is no other to ask for
_PATIENT_MAX = 12  # … where what is left alone would be missed, in a quarter of an hour
_FOR_NOW_MAX = 50  # times that a server may say of itself that it cannot, now
_BEGINNING = "UID BODY.PEEK[]<0.1000>"  # of another mail, to see that the server gives any octets
_OTHERS_MAX = 5  # mails that are asked for to see that a server gives any
_ENDS_MAX = 24  # connections that may end one after the other while nothing is given
# What a server says of itself, and not of a mail (RFC 5530 §3; what large ones say of who asks too much).
_FOR_NOW = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|THROTTLED)\b", re.IGNORECASE)


class Narrowed(Broken):
    """A connection ended, or a mail was refused, and more is known than before: which one it is will be known soon."""


class Suspects:
    """What is known of the mails of one folder, as long as its UIDVALIDITY is the same."""

    def __init__(self, *, proof: bool = False, patient: bool = False) -> None:
        """With `proof` a mail is bad only where the server gives others: it is not just left alone, but taken away.

        A `patient` one waits longer for a server that gives no other.
        """
        self._proof = proof
        self._patient = patient
        self._unproved = _PATIENT_MAX if patient else _UNPROVED_MAX
        self._forget(0)

    def _forget(self, uid_validity: int) -> None:
        self.bad: dict[int, str] = {}
        self._validity = uid_validity
        self._told: dict[int, Listed | None] = {}  # what connections that ended gave before; None of what has gone
        self._most = 0  # how many are asked for together, 0 for all
        self._ends = 0  # connections that ended since anything was given
        self._apart: set[int] = set()  # what is asked for alone
        self._strikes: Counter[int] = Counter()
        self._turn = 0  # how many others were asked for
        self._given: dict[str, int] = {}  # the last mail of which it was given, by what was asked for
        self._at_once = 0  # what is asked for without another before it

    def of(self, uid_validity: int) -> "Suspects":
        """Return this, without what was known where the folder was numbered anew."""
        if uid_validity != self._validity:
            self._forget(uid_validity)
        return self

    def known_first(self, uids: Sequence[int]) -> Sequence[int]:
        """Return the first of `uids`, up to one of which it is not known how it is; all of them if it is the first."""
        unknown = next((at for at, uid in enumerate(uids) if uid not in self.bad and uid not in self._told), 0)
        return uids[:unknown] or uids

    async def listed(self, box: Mailbox, uids: Sequence[int], items: str) -> list[Listed]:
        """Return what is asked of mails of the selected folder; the bad ones, and those that have gone, are missing."""
        wanted = [uid for uid in uids if uid not in self.bad and uid not in self._told]
        while wanted:
            some = wanted[: self._most or len(wanted)]
            await self._ask(box, some, items)
            self._most, self._ends = 2 * self._most, 0
            wanted = wanted[len(some) :]
        return [each for uid in uids if (each := self._told.pop(uid, None)) is not None]

    async def _ask(self, box: Mailbox, some: Sequence[int], items: str) -> None:
        uid, alone = some[0], len(some) == 1
        gives = box.gave or (alone and uid in self._apart and await self._gives_others(box, uid, items))
        try:
            # A server may tell of changed flags in between: that says nothing else of the mail.
            answer = sorted(await box.listed(some, items), key=lambda each: (each.octets is not None, each.size))
            found = {each.uid: each for each in answer}
        except Refused as refused:
            if alone:
                await self._refused(box, uid, items, str(refused))
            else:
                half = len(some) // 2
                await self._ask(box, some[:half], items)
                await self._ask(box, some[half:], items)
            return
        except Broken as broken:
            self._most = max(1, len(some) // 2)
            if alone and (gives or not self._proof):
                self._struck(uid, str(broken), _STRIKES_MAX if gives else self._unproved)
            again = self._patient and alone and uid in self._apart and not gives
            self._apart.update(some[:1] if alone else ())
            raise (broken if again and uid not in self.bad else self._ended(str(broken))) from None
        self._told |= {each: found.get(each) for each in some}
        if answer:
            self._given[items] = answer[-1].uid

    async def _refused(self, box: Mailbox, uid: int, items: str, why: str) -> None:
        """Take a mail as bad that was refused often enough, alone; or raise, to ask for it again."""
        gives = await self._gives_others(box, uid, items)
        self._blamed(uid, why, gives=gives)
        if uid in self.bad:
            return
        if _FOR_NOW.search(why) or not gives:
            raise Refused(why)
        raise Narrowed(why)

    def _ended(self, why: str) -> Broken:
        self._ends += 1
        return Narrowed(why) if self._ends <= _ENDS_MAX else Broken(why)

    async def _gives_others(self, box: Mailbox, uid: int, items: str) -> bool:
        """Whether the server gives another mail of the folder: then it is the mail that is bad, and not the server.

        Where the other one was what ended the connection, the mail itself is asked for at the next, and no other.
        """
        if uid == self._at_once:
            self._at_once = 0
            return False
        others = [each for each in await box.uids("ALL") if each != uid and each not in self.bad]
        for _ in others[:_OTHERS_MAX]:
            other = self._given.pop(items, 0)
            other = other if other in others else others[-1 - self._turn % len(others)]
            self._turn += 1  # this one may be bad as well: another is asked for, the next time
            try:
                answer = await box.listed([other], items)
            except Refused:
                continue
            except Broken as broken:
                self._at_once = uid
                raise self._ended(str(broken)) from None
            if any(each.size or each.octets is not None for each in answer):
                self._given[items] = other
                return True
        return False

    def _struck(self, uid: int, why: str, most: int) -> None:
        """Note that the server failed at one mail; at the last of `most` times it is bad."""
        self._strikes[uid] += 1
        if self._strikes[uid] >= most:
            self.bad[uid] = why

    def _blamed(self, uid: int, why: str, *, gives: bool) -> None:
        """Note that a mail was refused, or its octets were not given; `gives` tells that another's were."""
        if gives or not self._proof:
            most = _FOR_NOW_MAX if _FOR_NOW.search(why) else _LENIENT_MAX if gives else self._unproved
            self._struck(uid, why, most)

    # ---- octets, which no answer to `listed` holds

    def apart(self, uid: int) -> bool:
        """Whether the server failed at a mail, alone or among others: it is asked for alone."""
        return uid in self._apart

    @contextlib.asynccontextmanager
    async def octets(self, box: Mailbox, uids: Sequence[int]) -> AsyncIterator[None]:
        """Within it the octets of mails are asked for; whatever the server fails with goes on, and is noted."""
        gives = self.apart(uids[0]) and await self._gives_others(box, uids[0], _BEGINNING)
        try:
            yield
        except (Broken, Refused) as error:
            self._apart.update(uids)
            if len(uids) == 1:
                self._blamed(uids[0], str(error), gives=gives)
            if gives:
                raise Narrowed(str(error)) from None
            raise
        self._apart.difference_update(uids)
