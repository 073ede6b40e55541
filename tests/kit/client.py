"""A client that speaks SMTP or LMTP by hand: fast, and able to say what no library would."""

import asyncio
import socket
from collections.abc import Sequence


class Client:
    """A blocking session. `lmtp` greets with LHLO and reads an answer for each recipient."""

    def __init__(self, port: int, *, lmtp: bool = False, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.socket.makefile("rb")
        self.lmtp = lmtp
        self.greeting = self.answer()
        self.hello = self.say("LHLO test" if lmtp else "EHLO test")

    def answer(self) -> str:
        lines = []
        while True:
            line = self.file.readline().decode("utf-8", "replace").rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def say(self, line: str) -> str:
        self.socket.sendall(line.encode() + b"\r\n")
        return self.answer()

    def send(self, return_path: str, recipients: Sequence[str], content: bytes) -> list[str]:
        """Send one mail; return the answers: of each RCPT that was not yes, then those after DATA."""
        answers = [self.say(f"MAIL FROM:<{return_path}>")]
        if not answers[0].startswith("250"):
            return answers
        refused = []
        taken = 0
        for recipient in recipients:
            answer = self.say(f"RCPT TO:<{recipient}>")
            if answer.startswith("250"):
                taken += 1
            else:
                refused.append(answer)
        if not taken:
            self.say("RSET")
            return refused
        self.say("DATA")
        self.socket.sendall(stuffed(content))
        return refused + [self.answer() for _ in range(taken if self.lmtp else 1)]

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stuffed(content: bytes) -> bytes:
    """Return a mail as DATA carries it, with the final dot."""
    text = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    text = text if text.endswith(b"\r\n") else text + b"\r\n"
    text = (b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:]
    return text + b".\r\n"


async def load(port: int, mails: Sequence[tuple[str, Sequence[str], bytes]], connections: int) -> list[float]:
    """Send `mails` over some kept connections; return for each when its 250 was read."""
    loop = asyncio.get_running_loop()
    waiting = list(enumerate(mails))[::-1]
    done = [0.0] * len(mails)

    async def session() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)

        async def answer() -> bytes:
            while (line := await reader.readline())[3:4] == b"-":
                pass
            return line

        await answer()
        writer.write(b"EHLO load\r\n")
        await answer()
        while waiting:
            number, (path, recipients, content) = waiting.pop()
            for command in (f"MAIL FROM:<{path}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"):
                writer.write(command.encode() + b"\r\n")
                line = await answer()
                if line[:1] not in b"23":
                    raise RuntimeError(f"{command}: {line!r}")
            writer.write(content)
            line = await answer()
            if not line.startswith(b"250"):
                raise RuntimeError(f"DATA: {line!r}")
            done[number] = loop.time()
        writer.close()

    await asyncio.gather(*(session() for _ in range(connections)))
    return done
