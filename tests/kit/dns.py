"""A name server on loopback that answers from a zone: what holds nothing is NXDOMAIN, what times out is silent."""

import socket
import threading
from typing import Any

import dnslib

from gateway.mail.lookup import Unreachable
from tests.kit.zone import Zone

_MAKE: dict[str, Any] = {
    "TXT": lambda value: dnslib.TXT([value[at : at + 255] for at in range(0, len(value), 255)] or [b""]),
    "A": dnslib.A,
    "AAAA": dnslib.AAAA,
    "PTR": dnslib.PTR,
    "MX": dnslib.MX,
}


class NameServer:
    """Answers over UDP until it is closed. `zone` may be changed while it runs."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            octets, peer = self._socket.recvfrom(4096)
            if not octets:
                return
            if (answer := self.answer(octets)) is not None:
                self._socket.sendto(answer, peer)

    def answer(self, octets: bytes) -> bytes | None:
        """Return the answer to one question, or None where the zone says that nobody answers."""
        asked = dnslib.DNSRecord.parse(octets)
        name, kind = str(asked.q.qname).rstrip("."), dnslib.QTYPE[asked.q.qtype]
        reply = asked.reply()
        if kind not in _MAKE:
            return bytes(reply.pack())
        try:
            found = self.zone(name, kind)
        except Unreachable:
            return None
        for value in found:
            text = value.encode() if kind == "TXT" and isinstance(value, str) else value
            reply.add_answer(dnslib.RR(asked.q.qname, asked.q.qtype, rdata=_MAKE[kind](text), ttl=1))
        if not found and not self.zone.exists(name):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        return bytes(reply.pack())

    def close(self) -> None:
        """Answer no more. Closing alone would not wake the thread that waits for a question."""
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()
