"""What of a mail its signatures cover: whoever sends a signed mail on may write the rest anew.

*Standards:* RFC 6376 §3.5 (h=), §8.15 (fields that are not signed).
"""

from collections.abc import Collection

from gateway.mail.header import Header
from gateway.mail.signature import domain_of, tags_of


def leaves_out(header: Header, domains: Collection[str], name: str) -> bool:
    """Whether a signature of `domains`, or of anybody where none is named, does not cover the field `name`.

    One that covers it does not make good for another that does not: which of them held is not asked.
    """
    for body in header.all("dkim-signature"):
        value = body.encode("utf-8", "surrogateescape")
        signed = {each.strip().lower() for each in tags_of(value).get(b"h", b"").split(b":")}
        if (not domains or domain_of(value) in domains) and name.encode() not in signed:
            return True
    return False
