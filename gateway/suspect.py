"""Mails at which a server hangs up, or which it refuses to show: they are found by halves, and all others are read.

Some servers end the connection when they are asked the size of one mail whose file is damaged. What was asked for
together with it is asked for apart at the next connection, and again, until it is alone.

*Failure:* a server that gives nothing at all is away, and no mail of it is to blame: `Broken` goes on. Where fewer
mails than before ended the connection, `Narrowed` does: the next one may come at once.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.imap import Broken, Mailbox, Refused
from gateway.mail.imap import Listed

STRIKES_MAX = 2  # connections that a mail may end, alone, while the server gives others
_OCTETS_STRIKES_MAX = 5  # … by its octets, which take long where there are many
_UNPROVED_MAX = 5  # … while there is no other to ask for
_OTHERS_MAX = 5  # mails that are asked for to see that a server gives any
_ENDS_MAX = 24  # connections that may end one after the other while fewer and fewer mails are asked for


class Narrowed(Broken):
    """A connection ended at fewer mails than before: which of them it is will be known soon."""


class Suspects:
    """What is known of the mails of one folder, as long as its UIDVALIDITY is the same."""

    def __init__(self, *, proof: bool = False) -> None:
        """With `proof` a mail is bad only where the server gives others: it is not just left alone, but taken away."""
        self._proof = proof
        self._forget(0)

    def _forget(self, uid_validity: int) -> None:
        self.bad: dict[int, str] = {}
        self._validity = uid_validity
        self._told: dict[int, Listed | None] = {}  # what connections that ended gave before; None of what has gone
        self._most = 0  # how many are asked for together, 0 for all
        self._ends = 0  # connections that ended since anything was given
        self._strikes: Counter[int] = Counter()
        self._why = ""  # a connection ended at octets
        self._turn = 0  # how many others were asked for
        self._given = 0  # the last mail that was given

    def of(self, uid_validity: int) -> "Suspects":
        """Return this, without what was known where the folder was numbered anew."""
        if uid_validity != self._validity:
            self._forget(uid_validity)
        return self

    async def listed(self, box: Mailbox, uids: Sequence[int], items: str) -> list[Listed]:
        """Return what is asked of mails of the selected folder; the bad ones, and those that have gone, are missing."""
        wanted = [uid for uid in uids if uid not in self.bad and uid not in self._told]
        while wanted:
            some = wanted[: self._most or len(wanted)]
            await self._ask(box, some, items)
            self._most, self._ends = 2 * self._most, 0
            wanted = wanted[len(some) :]
        found = [each for uid in uids if (each := self._told.get(uid)) is not None]
        self._told, self._most = {}, 0
        return found

    async def _ask(self, box: Mailbox, some: Sequence[int], items: str) -> None:
        alone = len(some) == 1
        gives = box.gave or (alone and bool(self._strikes[some[0]]) and await self._gives_others(box, some[0], items))
        try:
            # A server may tell of changed flags in between: that says nothing else of the mail.
            answer = sorted(await box.listed(some, items), key=lambda each: (each.octets is not None, each.size))
            found = {each.uid: each for each in answer}
        except Refused as refused:
            if not alone:
                half = len(some) // 2
                await self._ask(box, some[:half], items)
                await self._ask(box, some[half:], items)
            elif self._proof and not await self._gives_others(box, some[0], items):
                raise
            else:
                self.bad[some[0]] = str(refused)
            return
        except Broken as broken:
            self._ends += 1
            self._most = max(1, len(some) // 2)
            if alone and (gives or not self._proof):
                self.struck(some[0], str(broken), STRIKES_MAX if gives else _UNPROVED_MAX)
            elif alone:
                self._strikes[some[0]] = 1  # another is asked for first, the next time
            if self._ends <= _ENDS_MAX and (gives or not alone):
                raise Narrowed(str(broken)) from None
            raise
        self._told |= {uid: found.get(uid) for uid in some}
        self._given = answer[-1].uid if answer else self._given

    async def _gives_others(self, box: Mailbox, uid: int, items: str) -> bool:
        """Whether the server gives another mail of the folder: then it is the mail that is bad, and not the server."""
        others = [each for each in await box.uids("ALL") if each != uid and each not in self.bad]
        for _ in others[:_OTHERS_MAX]:
            other = self._given if self._given in others else others[-1 - self._turn % len(others)]
            self._given = 0
            self._turn += 1  # this one may be bad as well: another is asked for, the next time
            with contextlib.suppress(Refused):
                answer = await box.listed([other], items)
                if any(each.size or each.octets is not None for each in answer):
                    self._given = other
                    return True
        return False

    def struck(self, uid: int, why: str, most: int = STRIKES_MAX) -> None:
        """Note that a connection ended at one mail; at the last of `most` times it is bad."""
        self._strikes[uid] += 1
        if self._strikes[uid] >= most:
            self.bad[uid] = why

    # ---- octets, which no answer to `listed` holds

    def suspected(self, uid: int) -> bool:
        """Whether a connection ended at a mail, alone or among others: it is asked for alone."""
        return self._strikes[uid] > 0

    def ended(self, uids: Iterable[int], why: str) -> None:
        """Note that a connection ended, or a command was refused, where the octets of some mails were asked for."""
        self._strikes.update(uids)
        self._why = why

    def cleared(self, uids: Iterable[int]) -> None:
        """Note that the octets of mails were given."""
        for uid in uids:
            self._strikes.pop(uid, None)

    async def blamed(self, box: Mailbox, uid: int, items: str) -> str:
        """Return why a mail is bad; "" if it is not, or the server gives no other mail's `items` either."""
        if self._strikes[uid] >= _OCTETS_STRIKES_MAX and await self._gives_others(box, uid, items):
            self.bad.setdefault(uid, self._why)
        return self.bad.get(uid, "")
