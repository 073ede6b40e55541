"""A client that speaks SMTP or LMTP by hand: fast, and able to say what no library would."""

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import Sequence


class Client:
    """A blocking session. `lmtp` greets with LHLO and reads an answer for each recipient."""

    def __init__(self, port: int, *, lmtp: bool = False, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.socket.makefile("rb")
        self.lmtp = lmtp
        self.greeting = self.answer()
        self.hello = self.say("LHLO test" if lmtp else "EHLO test")

    def starttls(self, context: ssl.SSLContext, name: str) -> "Client":
        """Begin TLS and greet again."""
        answer = self.say("STARTTLS")
        if not answer.startswith("220"):
            raise RuntimeError(answer)
        self.file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.file = self.socket.makefile("rb")
        self.hello = self.say("LHLO test" if self.lmtp else "EHLO test")
        return self

    def rest(self) -> list[str]:
        """Return every line until the server hangs up."""
        try:
            return [line.decode("utf-8", "replace").rstrip("\r\n") for line in self.file]
        except (ConnectionError, ssl.SSLError):
            return []

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


def user_line(person: str, password: str) -> str:
    """Return a line of a users file that is quick to try a password against."""
    made = hashlib.scrypt(password.encode(), salt=b"salt", n=16, r=1, p=1, dklen=32)
    return f"{person}:scrypt:16:1:1:{base64.b64encode(b'salt').decode()}:{base64.b64encode(made).decode()}\n"
