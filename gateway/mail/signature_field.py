"""What the field of a DKIM or ARC signature says: its tags, its domain, and what of the mail it leaves out.

*Failure:* nothing raises on octets from outside; what is beyond `FIELD_MAX` is not read.

*Standards:* RFC 6376 §3.2 (tags), §3.5 (d=, h=), §8.15 (fields that are not signed).
"""

from collections.abc import Collection

from gateway.mail.address import parse_address
from gateway.mail.header import Header
from gateway.mail.lookup import is_name

FIELD_MAX = 8 * 1024  # octets of a signature that is looked at


def tags_of(value: bytes) -> dict[bytes, bytes]:
    """Return the tags of a field by their names, without the blanks around them."""
    pairs = (part.partition(b"=") for part in value[:FIELD_MAX].split(b";"))
    return {name.strip(): given.strip() for name, _, given in pairs}


def domain_of(value: bytes) -> str:
    """Return the domain that a signature is of, in lower case, or ""."""
    domain = tags_of(value).get(b"d", b"")
    address = parse_address("x@" + domain.decode("ascii")) if domain.isascii() else None
    return address.domain if address and is_name(address.domain) else ""


def leaves_out(header: Header, domains: Collection[str], name: str) -> bool:
    """Whether a signature of `domains`, or of anybody where none is named, does not cover the field `name`.

    Whoever sends a signed mail on may write such a field anew. A signature that covers it does not make
    good for another that does not: which of them held is not asked.
    """
    for body in header.all("dkim-signature"):
        value = body.encode("utf-8", "surrogateescape")
        signed = {each.strip().lower() for each in tags_of(value).get(b"h", b"").split(b":")}
        if (not domains or domain_of(value) in domains) and name.encode() not in signed:
            return True
    return False
