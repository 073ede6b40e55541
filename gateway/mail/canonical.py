"""Canonical forms of a body, and their hashes.

*Standards:* RFC 6376 §3.4.3 (the "simple" body: no empty lines at its end, one CRLF).
"""

import hashlib


def simple_body_hash(body: bytes) -> bytes:
    """Return the SHA-256 of `body` in simple form, in linear time."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return hashlib.sha256(body[:end] + b"\r\n").digest()
