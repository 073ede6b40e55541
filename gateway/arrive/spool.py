"""A mail on its way in: dots unstuffed, in memory while it is small, then in a spool file.

*Standards:* RFC 5321 §4.5.2 (transparency: a leading dot is doubled on the wire).
"""

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

WHOLE = 64 * 1024  # octets of a mail that are held in memory


class Incoming:
    """A mail on its way in: dots unstuffed, in memory while it is small, then in a spool file."""

    def __init__(self, spool: Path, max_size: int) -> None:
        self._file = _spooled(spool)
        self._max_size = max_size
        self._carry = b""
        self._first = True
        self._given = False
        self._fault: Exception | None = None
        self.size = 0

    def take(self, chunk: bytes, *, last: bool) -> None:
        """Add octets; a fault is told once the mail has ended, for what is left of it is no command."""
        if self._fault is None:
            try:
                self.add(chunk, last=last)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is told at the end of the mail)
                self._fault = error

    def add(self, chunk: bytes, *, last: bool) -> None:
        """Take the next octets; the first begin with CRLF, the last end with CRLF.CRLF."""
        octets = self._carry + chunk
        if last:
            octets = octets[:-3]
            cut = len(octets)
        else:
            cut = octets.rfind(b"\r\n")
            if cut <= 0 and (cut < 0 or len(octets) > 4):
                cut = len(octets) - octets.endswith(b"\r")
        self._carry = octets[cut:]
        plain = octets[:cut].replace(b"\r\n..", b"\r\n.")
        if self._first and plain:
            plain = plain[2:]
            self._first = False
        self.size += len(plain)
        if self.size <= self._max_size:
            self._file.write(plain)

    def content(self) -> bytes | BinaryIO | None:
        """Return the mail, as octets while it is small; None if it was too large to keep.

        A file is the taker's to close: it may outlive a client that hangs up while it is kept.
        Raises what went wrong while it was taken.
        """
        if self._fault is not None:
            raise self._fault
        if self.size > self._max_size:
            return None
        self._file.seek(0)
        if self.size <= WHOLE:
            return self._file.read()
        self._given = True
        return cast("BinaryIO", self._file)

    def close(self) -> None:
        """Let the spool file go, unless it was given away."""
        if not self._given:
            self._file.close()


def _spooled(folder: Path) -> tempfile.SpooledTemporaryFile[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=WHOLE, dir=str(folder))
