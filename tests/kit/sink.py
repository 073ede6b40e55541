"""A next hop that counts what it gets, and misbehaves on request.

`python -m tests.kit.sink LEDGER` runs one in a process of its own: it prints its port, and writes
a line for each mail to LEDGER after its own 250.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Received:
    return_path: str
    recipient: str
    content: bytes
    at: float


# (verb, argument) -> a reply to give instead, "" to hang up, None for the usual answer.
Behaviour = Callable[[str, str], str | None]


class Sink(asyncio.Protocol):
    """One session; `mails` and `behaviour` are the sink's."""

    def __init__(self, mails: list[Received], took: Callable[[Received], None] | None, behaviour: Behaviour | None):
        self.mails, self.took, self.behaviour = mails, took, behaviour
        self.buffer = b""
        self.data: list[bytes] | None = None
        self.path = self.rcpt = ""

    def connection_made(self, transport):
        self.transport = transport
        self.reply("CONNECT", "", "220 sink")

    def reply(self, verb, argument, usual):
        given = self.behaviour(verb, argument) if self.behaviour else None
        if given == "":
            self.transport.abort()
        else:
            self.transport.write((given or usual).encode() + b"\r\n")
        return given

    def data_received(self, octets):
        self.buffer += octets
        while True:
            if self.data is not None:
                head, dot, rest = self.buffer.partition(b"\r\n.\r\n")
                if not dot:
                    return
                self.buffer = rest
                self.data = None
                content = (head + b"\r\n").replace(b"\r\n..", b"\r\n.")
                mail = Received(self.path, self.rcpt, content, time.time())
                given = self.behaviour("DOT", self.rcpt) if self.behaviour else None
                if given == "":
                    self.transport.abort()
                    return
                self.transport.write((given or "250 2.0.0 kept").encode() + b"\r\n")
                if given is None or given.startswith("2"):
                    self.mails.append(mail)
                    if self.took:
                        self.took(mail)
                continue
            line, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                return
            self.buffer = rest
            self.command(line.decode("utf-8", "replace"))

    def command(self, line):
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        if verb in ("EHLO", "LHLO"):
            self.reply(verb, argument, "250-sink\r\n250-SIZE 100000000\r\n250 8BITMIME")
        elif verb == "MAIL":
            self.path = argument.partition("<")[2].partition(">")[0]
            self.reply(verb, self.path, "250 2.1.0 ok")
        elif verb == "RCPT":
            self.rcpt = argument.partition("<")[2].partition(">")[0]
            self.reply(verb, self.rcpt, "250 2.1.5 ok")
        elif verb == "DATA":
            given = self.reply(verb, self.rcpt, "354 go on")
            if given is None or given.startswith("3"):
                self.data = []
        elif verb == "QUIT":
            self.reply(verb, argument, "221 2.0.0 bye")
            self.transport.close()
        else:
            self.reply(verb, argument, "250 2.0.0 ok")


async def start(
    mails: list[Received],
    took: Callable[[Received], None] | None = None,
    behaviour: Behaviour | None = None,
    port: int = 0,
) -> tuple[asyncio.Server, int]:
    """Start a sink on loopback; return the server and its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(mails, took, behaviour), "127.0.0.1", port)
    return server, server.sockets[0].getsockname()[1]


def message_id(content: bytes) -> str:
    for line in content.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        if line.lower().startswith(b"message-id:"):
            return line.split(b":", 1)[1].strip().decode("ascii")
    return ""


async def _main(ledger: Path, port: int) -> None:
    mails: list[Received] = []
    with ledger.open("a", encoding="utf-8", buffering=1) as file:

        def took(mail: Received) -> None:
            mails.clear()
            # The copy's record and place in its thread stand in its subject and id, its reader in RCPT.
            words = [mail.recipient, message_id(mail.content), f"{mail.at:.6f}", str(len(mail.content))]
            file.write("\t".join(words) + "\n")

        server, bound = await start(mails, took, port=port)
        sys.stdout.write(f"{bound}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
