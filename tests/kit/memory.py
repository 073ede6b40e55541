"""How much memory a real node takes for many large mails at once: campaign L2."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.client import Client
from tests.kit.node import Node, peak_memory_mib, replygate, write_site

MIB = 1024 * 1024
TO = "s00001@sales.example.com"
TRIES = 200
PAUSE_S = 0.2  # before a client that was told 4xx comes again
_BLOCK = 64 * 1024
Mails = Callable[[int, int], Iterator[bytes]]  # the number and about the octets of a mail, in pieces


@dataclass(slots=True)
class Figures:
    before: float = 0.0  # MiB
    taken: float = 0.0  # the most, when all were accepted
    peak: float = 0.0  # … and when all were decided
    accepted: int = 0
    tried: int = 0
    seconds: float = 0.0
    answers: list[str] = field(default_factory=list)

    def show(self) -> str:
        return (
            f"{self.accepted} accepted in {self.tried} tries and {self.seconds:.1f} s; memory before {self.before:.0f} MiB,"
            f" at most {self.taken:.0f} MiB while taking in, {self.peak:.0f} MiB in all; answers {sorted(set(self.answers))[:5]}"
        )


def attachment(n: int, octets: int) -> Iterator[bytes]:
    """Yield a mail of about so many octets with one attachment in base64."""
    yield (
        f"From: a@example.com\r\nTo: {TO}\r\nSubject: large {n}\r\nMessage-ID: <large.{n}@example.com>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--b\r\n'
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="f{n}.bin"\r\n\r\n'
    ).encode()
    block = ((b"%08d" % n * 10)[:76] + b"\r\n") * 800
    for _ in range(octets // len(block)):
        yield block
    yield b"--b--\r\n"


def short_lines(n: int, octets: int) -> Iterator[bytes]:
    """Yield a mail of lines of three octets, the worst for whoever holds each line apart."""
    yield f"From: a@example.com\r\nTo: {TO}\r\nSubject: lines {n}\r\nMessage-ID: <lines.{n}@example.com>\r\n\r\n".encode()
    block = b"a\r\n" * (_BLOCK // 3)
    for _ in range(octets // len(block)):
        yield block


def run(folder: Path, mail: Mails, count: int, at_once: int, octets: int) -> Figures:
    """Bring `count` mails, `at_once` at a time, to a real node; return what it took."""
    site = write_site(folder / "site")
    replygate(site, "announce", stdin='{"event": "quotation.created", "title": "memory", "team": "sales"}')
    with Node(site, log="error", alone=True) as node:
        node.quiet()
        figures = _bring(node.pid, node.ports["smtp"], mail, count, at_once, octets)
        node.quiet(300)
        figures.peak = peak_memory_mib(node.pid)
    return figures


def run_doors(folder: Path, mail: Mails, count: int, at_once: int, octets: int) -> Figures:
    """Bring mails to the doors alone, in a process of their own: nothing decides about them."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs))
    process.start()
    assert process.pid is not None
    try:
        assert ours.poll(60), "the doors do not open"
        return _bring(process.pid, ours.recv(), mail, count, at_once, octets)
    finally:
        ours.send("stop")
        process.join(60)


def _serve(folder: Path, told) -> None:
    import structlog
    import uvloop

    from gateway.arrive.smtp import Settings
    from tests.kit.protocol_fuzz import House

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))

    async def main() -> None:
        house = House(folder / "site")
        at = await house.doors.open(Settings("smtp", 26_214_400), "127.0.0.1", 0)
        told.send(int(at.rpartition(":")[2]))
        while not told.poll():  # noqa: ASYNC110 (polls)
            await asyncio.sleep(0.05)
        await house.doors.close()
        house.store.close()

    uvloop.run(main())


def _bring(pid: int, port: int, mail: Mails, count: int, at_once: int, octets: int) -> Figures:
    figures = Figures(before=peak_memory_mib(pid))
    began = time.monotonic()
    numbers, lock = iter(range(count)), threading.Lock()

    def bring() -> None:
        for n in numbers:
            for _ in range(TRIES):
                said = _send(port, mail(n, octets))
                with lock:
                    figures.tried += 1
                    figures.accepted += said.startswith("250")
                    if not said.startswith("250"):
                        figures.answers.append(said[:50])
                if said[:1] not in {"4", ""}:
                    break
                time.sleep(PAUSE_S)

    threads = [threading.Thread(target=bring) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures.seconds = time.monotonic() - began
    figures.taken = figures.peak = peak_memory_mib(pid)
    return figures


def _send(port: int, mail: Iterator[bytes]) -> str:
    """Bring one mail; return the answer that decided, or "" when the peer hung up."""
    try:
        with Client(port, timeout=120) as client:
            for line in ("MAIL FROM:<a@example.com>", f"RCPT TO:<{TO}>", "DATA"):
                said = client.say(line)
                if said[:1] not in {"2", "3"}:
                    return said
            for piece in mail:
                client.socket.sendall(piece)
            client.socket.sendall(b".\r\n")
            return client.answer()
    except OSError:
        return ""
