"""The next hop `maildir:`: one Maildir for each recipient, which mutt or Thunderbird can open.

*Failure:* a mail is in `new/` whole or not at all; a retry of the same delivery overwrites it.

*Standards:* the Maildir of qmail (tmp, new, cur); RFC 5321 §4.4 (Return-Path on final delivery).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from gateway.mail.address import Address

_AT_ONCE = 1024 * 1024  # octets


def folder(root: Path, recipient: Address) -> Path:
    """Return the Maildir of a recipient; an address cannot lead outside `root`."""
    return root / recipient.key.replace("/", "%2F")


def deliver(root: Path, recipient: Address, return_path: str, mail: Sequence[bytes], name: str) -> None:
    """Put a mail, in pieces, into its recipient's Maildir, durably. `name` is the delivery's, the same at a retry."""
    box = folder(root, recipient)
    if not (box / "new").is_dir():
        for each in ("tmp", "cur", "new"):
            (box / each).mkdir(parents=True, exist_ok=True)
        _sync(root)
        _sync(box)
    temporary = box / "tmp" / name
    trace = f"Return-Path: <{return_path}>\r\nDelivered-To: {recipient}\r\n".encode("ascii")
    with temporary.open("wb") as file:
        for piece in (trace, *mail):
            _write(file, piece)
        file.flush()
        os.fsync(file.fileno())
    if any(box.glob(f"cur/{name}*")):
        temporary.unlink()  # read already: this is a retry of a delivery that did arrive
        return
    temporary.rename(box / "new" / name)
    _sync(box / "new")


def _write(file: BinaryIO, octets: bytes) -> None:
    """Write octets with the line ends of the system, as Maildirs hold them, a part at a time."""
    at = 0
    while at < len(octets):
        end = min(at + _AT_ONCE, len(octets))
        end -= octets[end - 1 : end] == b"\r" and end < len(octets)  # a line end is never cut
        file.write(octets[at:end].replace(b"\r\n", b"\n"))
        at = end


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
