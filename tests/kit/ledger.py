"""A ledger: who promised what, a line each, in a file that outlives whoever wrote it.

Clients write `sent UID RECORD DOOR AUTHOR` before they say anything and `acked UID RECORD` after
they read the 250. The slow sink (`python -m tests.kit.ledger FILE PORT SLOWEST_MS`) writes a line
for each copy *before* its 250 leaves it: a copy whose line stands was in its hands, and no copy it
said yes to can lack one, even if it is killed as well.
"""

import asyncio
import email
import email.policy
import hashlib
import os
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.client import Client, stuffed
from tests.kit.sink import Received, Sink, message_id

_UID = re.compile(r"rg[0-9a-f]{8}c\d+n\d+z")


class Ledger:
    """A file that lines are added to. A line is one write of one process, so a kill cannot tear it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *words: object) -> None:
        os.write(self._file, ("\t".join(map(str, words)) + "\n").encode())

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> list[tuple[str, ...]]:
    """Return the lines of a ledger, in the order they were written."""
    if not path.exists():
        return []
    return [tuple(line.split("\t")) for line in path.read_text("utf-8").splitlines()]


def make_uid(run: str, client: int, number: int) -> str:
    """Return what a mail is called in its Message-ID, its subject and its body. `run` is 8 hexadecimal digits."""
    return f"rg{run}c{client}n{number}z"


def find_uid(text: str) -> str:
    """Return the first such name in `text`, or ""."""
    match = _UID.search(text)
    return match[0] if match else ""


# ---- the client's side


class Session(Client):
    """A session that believes nothing it has not read: it notices when its peer dies."""

    def __init__(self, port: int, *, lmtp: bool = False, timeout: float = 30.0) -> None:
        try:
            super().__init__(port, lmtp=lmtp, timeout=timeout)
        except OSError:
            if hasattr(self, "file"):
                self.close()
            elif hasattr(self, "socket"):
                self.socket.close()
            raise
        if not self.hello.startswith("250"):
            self.close()
            raise ConnectionError(f"greeted with {self.greeting!r}, {self.hello!r}")

    def transact(
        self, return_path: str, recipients: Sequence[str], content: bytes, answered: Callable[[str, str], None]
    ) -> None:
        """Send one mail and tell `answered` (recipient, reply) of each as soon as it is read.

        Raises OSError when the connection ends; what `answered` was told until then holds.
        """
        answer = self.sure(self.say(f"MAIL FROM:<{return_path}>"))
        if not answer.startswith("250"):
            for recipient in recipients:
                answered(recipient, answer)
            return
        taken = []
        for recipient in recipients:
            answer = self.sure(self.say(f"RCPT TO:<{recipient}>"))
            if answer.startswith("250"):
                taken.append(recipient)
            else:
                answered(recipient, answer)
        answer = self.sure(self.say("DATA" if taken else "RSET"))
        if not answer.startswith("354"):
            for recipient in taken:
                answered(recipient, answer)
            return
        self.socket.sendall(stuffed(content))
        if self.lmtp:
            for recipient in taken:
                answered(recipient, self.sure(self.answer()))
        else:
            answer = self.sure(self.answer())
            for recipient in taken:
                answered(recipient, answer)

    def sure(self, answer: str) -> str:
        if len(answer) < 3:
            raise ConnectionError("the connection ended")
        return answer


# ---- the sink's side


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that a sink took. `delivery` is the number in its return path, `uid` what its body calls it."""

    recipient: str
    message_id: str
    at: float
    size: int
    delivery: int
    uid: str
    digest: str


def copies(path: Path) -> list[Copy]:
    """Return the copies in a sink's ledger, oldest first."""
    return [
        Copy(recipient, mid, float(at), int(size), int(delivery), uid, digest)
        for recipient, mid, at, size, delivery, uid, digest in read(path)
    ]


def _line(mail: Received) -> tuple[str, ...]:
    delivery = re.fullmatch(r"bounce\+(\d+)\..*", mail.return_path)
    # Not in the header: References name other mails.
    uid = find_uid(mail.content.partition(b"\r\n\r\n")[2].decode("ascii", "replace"))
    if not uid:
        part = email.message_from_bytes(mail.content, policy=email.policy.default).get_body(("plain",))
        uid = find_uid(part.get_content()) if part is not None else ""
    return (
        mail.recipient, message_id(mail.content).strip("<>"), f"{mail.at:.6f}", str(len(mail.content)),
        delivery[1] if delivery else "0", uid, hashlib.sha256(mail.content).hexdigest()[:16],
    )  # fmt: skip


class _Late:
    """A transport whose answers leave a little late, in order: after the line is in the ledger."""

    def __init__(self, transport: asyncio.Transport, delay: Callable[[], float]) -> None:
        self._transport, self._delay = transport, delay
        self._loop = asyncio.get_running_loop()
        self._last = 0.0

    def _later(self, act: Callable[[], None]) -> None:
        self._last = max(self._last, self._loop.time()) + self._delay()
        self._loop.call_at(self._last, act)

    def write(self, octets: bytes) -> None:
        self._later(lambda: None if self._transport.is_closing() else self._transport.write(octets))

    def close(self) -> None:
        self._later(self._transport.close)

    def abort(self) -> None:
        self._transport.abort()


class _SlowSink(Sink):
    def __init__(self, took: Callable[[Received], None], delay: Callable[[], float]) -> None:
        super().__init__([], took, None)
        self._delay = delay

    def connection_made(self, transport):
        super().connection_made(_Late(transport, self._delay))

    def connection_lost(self, _error):
        self.mails.clear()


async def _main(path: Path, port: int, slowest_ms: float) -> None:
    ledger = Ledger(path)
    rng = random.Random()
    mood = {"until": 0.0, "slow": 0.0}

    def delay() -> float:
        """Change mood every half second or so: from at once to `slowest_ms` an answer."""
        now = loop.time()
        if now > mood["until"]:
            mood["until"] = now + rng.uniform(0.1, 1.0)
            mood["slow"] = slowest_ms / 1000 * rng.random() ** 3
        return mood["slow"] * rng.random() if slowest_ms else 0.0

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _SlowSink(lambda mail: ledger.write(*_line(mail)), delay), "127.0.0.1", port
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
