"""A session with an IMAP server that behaves, over mailboxes in memory; `hostile_imap` is the server around it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.hostile_imap import HostileImap

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n\Z")
_WORD = re.compile(rb'"((?:\\.|[^"\\])*)"|\x00(\d+)\x00|((?:[^\s()"\[\x00]|\[[^\]]*\])+)', re.DOTALL)
_LINE_MAX = 8_192
_BODY = re.compile(r"BODY(?:\.PEEK)?\[(|HEADER(?:\.FIELDS \([^)]*\))?)\](?:<(\d+)\.(\d+)>)?\Z", re.IGNORECASE)


class Refused(Exception):
    """The tagged answer to a command, which is not OK."""


@dataclass
class Mail:
    uid: int
    octets: bytes
    flags: set[str] = field(default_factory=set)
    date: str = "01-Jan-2026 12:00:00 +0000"


@dataclass
class Mailbox:
    mails: list[Mail] = field(default_factory=list)
    uid_validity: int = 1_700_000_000
    uid_next: int = 1

    def add(self, octets: bytes, flags: set[str] | None = None) -> Mail:
        mail = Mail(self.uid_next, octets, set(flags or ()))
        self.uid_next += 1
        self.mails.append(mail)
        return mail

    def chosen(self, uids: str) -> list[Mail]:
        """Return the mails of a set like `1:3,7,9:*`."""
        last = self.mails[-1].uid if self.mails else 0
        found = set()
        for part in uids.split(","):
            ends = sorted(last if end == "*" else int(end) for end in part.split(":"))
            found |= {mail.uid for mail in self.mails if ends[0] <= mail.uid <= ends[-1]}
        return [mail for mail in self.mails if mail.uid in found]


class Session:
    """One connection: it reads a command, answers it, and reads the next."""

    def __init__(self, server: "HostileImap", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.box: Mailbox | None = None
        self.known = 0  # how many mails the client heard of
        self.idles = self.over = False

    # ---- the wire

    def say(self, *parts: bytes | str) -> None:
        octets = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
        self.server.octets_sent += len(octets)
        self.writer.write(octets)

    def line(self, *parts: bytes | str) -> None:
        self.say(*parts, b"\r\n")

    def news(self) -> None:
        if self.box is not None and len(self.box.mails) != self.known:
            self.known = len(self.box.mails)
            self.line(f"* {self.known} EXISTS")

    async def run(self) -> None:
        self.line(f"* OK [CAPABILITY {self.server.capabilities}] ready")
        while not self.over:
            tag, words, said = await self._command()
            self.server.commands.append(said)
            name = words.pop(0).upper() if words else ""
            if name == "UID" and words:
                name = f"UID {words.pop(0).upper()}"
            does = _COMMANDS.get(name, Session.unknown) if len(said) <= _LINE_MAX else Session.unknown
            try:
                said = await does(self, words) or "done"
                self.news()
                self.line(f"{tag} OK {said}")
            except Refused as refused:
                self.line(f"{tag} {refused}")
            except (LookupError, ValueError) as error:
                self.line(f"{tag} BAD {error!r}")
            await self.writer.drain()

    async def _command(self) -> tuple[str, list[str], str]:
        """Read a command with its literals: its tag, its words (without parentheses), and the line as it came."""
        literals: list[bytes] = []
        text = b""
        while True:
            text += await self.reader.readuntil(b"\n")
            found = _LITERAL.search(text)
            if found is None:
                break
            if not found[2]:
                self.line("+ go on")
            literals.append(await self.reader.readexactly(int(found[1])))
            text = text[: found.start()] + b"\x00%d\x00" % (len(literals) - 1)
        words = []
        for word in _WORD.finditer(text):
            if word[2] is not None:
                octets = literals[int(word[2])]
            else:
                octets = re.sub(rb"\\(.)", rb"\1", word[1]) if word[1] is not None else word[3]
            words.append(octets.decode("latin-1"))
        return words[0] if words else "*", words[1:], text.decode("latin-1").strip()

    # ---- the account

    async def capability(self, _: list[str]) -> None:
        self.line(f"* CAPABILITY {self.server.capabilities}")

    async def unknown(self, _: list[str]) -> None:
        raise Refused("BAD unknown command")

    async def nothing(self, _: list[str]) -> None:
        pass

    async def login(self, _: list[str]) -> str:
        return f"[CAPABILITY {self.server.capabilities}] welcome"

    async def authenticate(self, words: list[str]) -> str:
        if len(words) < 2:
            self.line("+ ")
            await self.reader.readuntil(b"\n")
        self.server.proofs.append(" ".join(words))
        return await self.login(words)

    async def logout(self, _: list[str]) -> None:
        self.over = True
        self.line("* BYE until next time")

    async def namespace(self, _: list[str]) -> None:
        self.line('* NAMESPACE (("" "/")) NIL NIL')

    # ---- its mailboxes

    async def list_(self, words: list[str]) -> None:
        if words[1:] == [""]:
            self.line(r'* LIST (\Noselect) "/" ""')
            return
        pattern = re.escape(words[0] + words[1]).replace(r"\*", ".*").replace("%", "[^/]*")
        for name in sorted(self.server.boxes):
            if re.fullmatch(pattern, name):
                self.line(f'* LIST () "/" "{name}"')
                if "STATUS" in words:
                    self._status(name, words[words.index("STATUS") + 1 :])

    async def status(self, words: list[str]) -> None:
        self._box(words[0])
        self._status(words[0], words[1:])

    def _status(self, name: str, items: list[str]) -> None:
        box = self._box(name)
        known = {
            "MESSAGES": len(box.mails), "UIDNEXT": box.uid_next, "UIDVALIDITY": box.uid_validity, "RECENT": 0,
            "UNSEEN": sum("\\Seen" not in mail.flags for mail in box.mails),
        }  # fmt: skip
        told = " ".join(f"{item.upper()} {known[item.upper()]}" for item in items)
        self.line(f'* STATUS "{name}" ({told})')

    def _box(self, name: str) -> Mailbox:
        name = "INBOX" if name.upper() == "INBOX" else name
        if name not in self.server.boxes:
            raise Refused("NO [TRYCREATE] no such mailbox")
        return self.server.boxes[name]

    async def create(self, words: list[str]) -> None:
        if words[0] in self.server.boxes:
            raise Refused("NO [ALREADYEXISTS] it is there")
        self.server.boxes[words[0]] = Mailbox(uid_validity=1_700_000_000 + len(self.server.boxes))

    async def select(self, words: list[str]) -> str:
        self.box = self._box(words[0])
        if self.server.misbehaves("wrong UIDVALIDITY"):
            self.box.uid_validity += 1
        self.known = len(self.box.mails)
        self.line(r"* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)")
        self.line(r"* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] as you like")
        self.line(f"* {self.known} EXISTS\r\n* 0 RECENT")
        self.line(f"* OK [UIDVALIDITY {self.box.uid_validity}] valid\r\n* OK [UIDNEXT {self.box.uid_next}] next")
        return "[READ-WRITE] selected"

    async def close(self, _: list[str]) -> None:
        self.box = None

    async def append(self, words: list[str]) -> str:
        box = self._room(words[0])
        if self.server.hangs_up_at and self.server.hangs_up_at in words[-1].encode("latin-1"):
            raise EOFError
        mail = self.server.take(words[-1].encode("latin-1"), words[0], {w for w in words[1:-1] if w[:1] == "\\"})
        return f"[APPENDUID {box.uid_validity} {mail.uid}] taken"

    async def idle(self, _: list[str]) -> None:
        if not self.server.idles:
            raise Refused("NO [LIMIT] not now")
        self.line("+ idling")
        self.news()
        self.idles = True
        try:
            await self.reader.readuntil(b"\n")
        finally:
            self.idles = False

    # ---- the mails of the one that is selected

    @property
    def selected(self) -> Mailbox:
        if self.box is None:
            raise Refused("BAD no mailbox is selected")
        return self.box

    async def search(self, words: list[str]) -> None:
        found = list(self.selected.mails)
        words = [word for word in words if word not in {"CHARSET", "UTF-8", "US-ASCII"}]
        while words:
            fits = self._criterion(words)
            found = [mail for mail in found if fits(mail)]
        self.line(" ".join(["* SEARCH", *(str(mail.uid) for mail in found)]))

    def _criterion(self, words: list[str]) -> Callable[[Mail], bool]:
        """Take one criterion from the words and return what fits it."""
        key = words.pop(0).upper()
        if key == "ALL":
            return lambda _: True
        if key == "UID":
            uids = {mail.uid for mail in self.selected.chosen(words.pop(0))}
            return lambda mail: mail.uid in uids
        if key == "HEADER":
            field_, value = words.pop(0).lower().encode(), words.pop(0).lower().encode("latin-1")
            wanted = re.compile(rb"^%s:[^\n]*%s" % (re.escape(field_), re.escape(value)), re.MULTILINE)
            return lambda mail: wanted.search(mail.octets.lower()) is not None
        if re.fullmatch(r"(?:UN)?(?:SEEN|DELETED|FLAGGED|ANSWERED)", key):
            flag = "\\" + key.removeprefix("UN").capitalize()
            return lambda mail: (flag in mail.flags) != key.startswith("UN")
        raise Refused(f"BAD unknown criterion {key}")

    async def fetch(self, words: list[str]) -> None:
        items = list(dict.fromkeys(["UID", *(word.upper() for word in words[1:])]))
        a_mail = any(_BODY.match(item) for item in items)
        for mail in self.selected.chosen(words[0]):
            answer = self._fetched(mail, items)
            if a_mail:
                await self.server.give(self, answer)
            else:
                self.say(answer)
            await self.writer.drain()

    def _fetched(self, mail: Mail, items: list[str]) -> bytes:
        told = []
        for item in items:
            if (body := _BODY.match(item)) is not None:
                told.append(self._part(mail, *body.groups()))
                if ".PEEK" not in item:
                    mail.flags.add("\\Seen")
                continue
            known = {
                "UID": f"{mail.uid}", "FLAGS": f"({' '.join(sorted(mail.flags))})",
                "RFC822.SIZE": f"{self.server.sizes.get(mail.uid, len(mail.octets))}", "INTERNALDATE": f'"{mail.date}"',
            }  # fmt: skip
            told.append(f"{item} {known[item]}".encode())
        return b"* %d FETCH (%s)\r\n" % (self.selected.mails.index(mail) + 1, b" ".join(told))

    @staticmethod
    def _part(mail: Mail, section: str, begin: str | None, count: str | None) -> bytes:
        octets = mail.octets
        if section:
            octets = octets.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if begin is not None and count is not None:
            octets = octets[int(begin) : int(begin) + int(count)]
        at = "" if begin is None else f"<{begin}>"
        return f"BODY[{section}]{at} {{{len(octets)}}}\r\n".encode() + octets

    async def store(self, words: list[str]) -> None:
        how, flags = words[1].upper(), set(words[2:])
        for mail in self.selected.chosen(words[0]):
            if how[0] == "+":
                mail.flags |= flags
            else:
                mail.flags = mail.flags - flags if how[0] == "-" else set(flags)
            if not how.endswith(".SILENT"):
                self.say(self._fetched(mail, ["UID", "FLAGS"]))

    async def copy(self, words: list[str]) -> str:
        return f"{self._copied(words)[1]} copied"

    async def move(self, words: list[str]) -> None:
        chosen, told = self._copied(words)
        self.line(f"* OK {told} moved")
        self._expunge(chosen)

    def _room(self, name: str) -> Mailbox:
        there = self._box(name)
        if name in self.server.full:
            raise Refused("NO [OVERQUOTA] no room")
        return there

    def _copied(self, words: list[str]) -> tuple[list[Mail], str]:
        there = self._room(words[1])
        chosen = self.selected.chosen(words[0])
        copies = [self.server.take(mail.octets, words[1], mail.flags) for mail in chosen]
        old, new = (",".join(str(mail.uid) for mail in mails) for mails in (chosen, copies))
        return chosen, f"[COPYUID {there.uid_validity} {old} {new}]" if chosen else "nothing to"

    async def expunge(self, words: list[str]) -> None:
        chosen = self.selected.chosen(words[0] if words else "1:*")
        self._expunge([mail for mail in chosen if "\\Deleted" in mail.flags])

    def _expunge(self, mails: list[Mail]) -> None:
        for mail in mails:
            self.line(f"* {self.selected.mails.index(mail) + 1} EXPUNGE")
            self.selected.mails.remove(mail)
        self.known = len(self.selected.mails)


_Does = Callable[[Session, list[str]], Awaitable[str | None]]
_COMMANDS: dict[str, _Does] = {
    "CAPABILITY": Session.capability, "NOOP": Session.nothing, "CHECK": Session.nothing, "ID": Session.nothing,
    "LOGIN": Session.login, "AUTHENTICATE": Session.authenticate, "LOGOUT": Session.logout,
    "NAMESPACE": Session.namespace, "LIST": Session.list_, "STATUS": Session.status,
    "CREATE": Session.create, "SUBSCRIBE": Session.nothing, "UNSUBSCRIBE": Session.nothing,
    "SELECT": Session.select, "EXAMINE": Session.select, "CLOSE": Session.close, "UNSELECT": Session.close,
    "APPEND": Session.append, "IDLE": Session.idle, "EXPUNGE": Session.expunge,
    "UID SEARCH": Session.search, "UID FETCH": Session.fetch, "UID STORE": Session.store, "UID COPY": Session.copy,
    "UID MOVE": Session.move, "UID EXPUNGE": Session.expunge,
}  # fmt: skip
