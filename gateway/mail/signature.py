"""DKIM and ARC signatures of a mail: which of them hold, and for which domain.

dkimpy knows the formats; its arithmetic is done by cryptography, its bodies are made canonical in
linear time, and what it would let through is looked at first: no rsa-sha1, no `l=`, no key below
1024 bits, at most ten signatures, no field of a size or shape that its expressions would choke on.
The header is split by us, and only where `header.split_mail` reads the very same fields: what is
signed is what is read.

*Failure:* what cannot be read is `permerror` or `policy`, a DNS that cannot be asked `temperror`; nothing raises.

*Standards:* RFC 6376 (DKIM; §3.5 tags, §3.6.1 keys, §6.1 verifying, §8.15 fields added in front), RFC 8301
(no rsa-sha1, no short keys), RFC 8463 (Ed25519), RFC 8617 (ARC; §5.2 validation), RFC 8601 §2.7.1 (results).
"""

import base64
import binascii
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dkim
import dkim.canonicalization
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from gateway.mail.authres import Result, Verdict
from gateway.mail.canonical import relaxed_body, simple_body
from gateway.mail.header import FIELD_OCTETS_MAX, FIELDS_MAX, HEADER_OCTETS_MAX, split_mail
from gateway.mail.lookup import Lookup, Unreachable, is_name, remembering, texts
from gateway.mail.signature_field import FIELD_MAX, domain_of, tags_of

SIGNATURES_MAX = 10
ARC_SETS_MAX = 50  # RFC 8617 §4.2.1
SIGNED_MAX = 200  # names in h=; each is looked for among all fields
RSA_BITS_MIN = 1024
RSA_BITS_MAX = 8192
# Of these a mail has one: where another stands in front of what is signed, it is the other that is read.
_SINGLE = (
    b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"content-type", b"content-transfer-encoding", b"content-disposition",
)  # fmt: skip
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_SELECTOR = re.compile(rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,20}")
_INSTANCE = re.compile(rb"\s{0,40}i\s{0,40}=\s{0,40}(\d{1,3})\s{0,40};")
_RUN_OF_BLANKS = re.compile(rb"\s{64}")
_FIELD = re.compile(rb"([!-9;-~]{1,76}):")
_NEARLY_FIELD = re.compile(rb"[!-9;-~]{1,76}[ \t]*:")
_BARE = re.compile(rb"\r(?!\n)|\x00")
_ARC_FIELDS = (b"arc-seal", b"arc-message-signature", b"arc-authentication-results")
_silent = logging.getLogger("gateway.signature")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
_silent.setLevel(logging.CRITICAL + 1)


class _Refused(dkim.DKIMException):  # type: ignore[misc]  # dkimpy has no types
    """A signature that does not count, and what is said of it."""

    def __init__(self, verdict: Verdict, why: str) -> None:
        super().__init__(why)
        self.verdict: Verdict = verdict


class _Body:
    """A body whose canonical forms are made once, however many signatures there are."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at

    @cached_property
    def simple(self) -> bytes:
        return simple_body(self._content[self._at :])

    @cached_property
    def relaxed(self) -> bytes:
        return relaxed_body(self._content[self._at :])


class _Fields(list[list[bytes]]):
    """The header, whose relaxed form is made once."""

    @cached_property
    def relaxed(self) -> list[tuple[bytes, bytes]]:
        made: list[tuple[bytes, bytes]] = dkim.canonicalization.Relaxed.canonicalize_headers(list(self))
        return made


class _Simple(dkim.canonicalization.Simple):  # type: ignore[misc]  # dkimpy has no types
    @staticmethod
    def canonicalize_body(body: _Body | bytes) -> bytes:
        return body.simple if isinstance(body, _Body) else simple_body(body)


class _Relaxed(dkim.canonicalization.Relaxed):  # type: ignore[misc]  # dkimpy has no types
    @staticmethod
    def canonicalize_headers(headers: Any) -> Any:  # noqa: ANN401 (dkimpy's pairs)
        if isinstance(headers, _Fields):
            return headers.relaxed
        return dkim.canonicalization.Relaxed.canonicalize_headers(headers)

    @staticmethod
    def canonicalize_body(body: _Body | bytes) -> bytes:
        return body.relaxed if isinstance(body, _Body) else relaxed_body(body)


PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def _verify(hashed: Any, signature: bytes, key: PublicKey | dict[str, int]) -> bool:  # noqa: ANN401 (dkimpy's hasher)
    try:
        if isinstance(key, dict):  # as dkimpy itself reads a key
            key = rsa.RSAPublicNumbers(key["publicExponent"], key["modulus"]).public_key()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, hashed.digest(), padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            key.verify(signature, hashed.digest())
    except (InvalidSignature, ValueError):
        return False
    return True


# dkimpy's own are quadratic in a line of blanks, and pure Python.
dkim.canonicalization.ALGORITHMS[b"simple"] = _Simple
dkim.canonicalization.ALGORITHMS[b"relaxed"] = _Relaxed
dkim.RSASSA_PKCS1_v1_5_verify = _verify


class _Signed:
    """What DKIM and ARC share: a mail split by us, and keys read by us."""

    def take(self, fields: _Fields, body: _Body, lookup: Lookup) -> None:
        self.headers = fields
        self.body = body
        self.lookup = lookup

    def verify_sig(self, sig: dict[bytes, bytes], include: list[bytes], field: Sequence[bytes], _dns: object) -> bool:
        """Look at a signature before dkimpy does, then let it verify with the key we read."""
        _check(sig, self.headers)
        key = find_key(sig[b"s"], sig[b"d"], sig[b"a"], sig.get(b"i", b""), self.lookup)
        self.pk, self.ktag, self.keysize, self.seqtlsrpt = key, b"rsa", RSA_BITS_MIN, False
        return bool(self.verify_sig_process(sig, include, field, None))  # type: ignore[attr-defined]  # dkimpy's


class _Dkim(_Signed, dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    pass


class _Arc(_Signed, dkim.ARC):  # type: ignore[misc]  # dkimpy has no types
    """A chain: of the message signatures only the newest counts, and after one that is wrong none does."""

    newest = b""
    broken = False
    unreachable = ""

    def verify_sig(self, sig: dict[bytes, bytes], include: list[bytes], field: Sequence[bytes], _dns: object) -> bool:
        if self.broken or self.unreachable or (b"cv" not in sig and sig[b"i"] != self.newest):
            return False
        self.broken = True
        try:
            # The identity of an ARC signature is none: i= is its place in the chain.
            holds = super().verify_sig({**sig, b"i": b""}, include, field, None)
        except Unreachable as away:
            self.unreachable = str(away) or "the DNS could not be asked"
            return False
        self.broken = not holds
        return holds


def _check(sig: dict[bytes, bytes], fields: _Fields) -> None:
    """Refuse what dkimpy would let through. Every test is linear in the field."""
    if sig.get(b"a") not in (b"rsa-sha256", b"ed25519-sha256"):
        raise _Refused("policy", "signed with an algorithm that does not count")
    if b"l" in sig:
        raise _Refused("policy", "l= leaves a part of the body unsigned")
    if b"h" not in sig:
        return
    signed = Counter(each.strip().lower() for each in sig[b"h"].split(b":"))
    if not signed[b"from"]:
        raise _Refused("permerror", "From is not signed")
    present = Counter(name.lower() for name, _ in fields)
    for name in _SINGLE:
        if present[name] > max(1, signed[name]):
            raise _Refused("policy", f"{name.decode('ascii')} stands there twice")


def _is_sane(value: bytes) -> str:
    """Return why a signature field is not handed to dkimpy, or "": its expressions take long on what is not sane."""
    if len(value) > FIELD_MAX or _RUN_OF_BLANKS.search(value):
        return "the signature is longer than we read"
    tags = tags_of(value)
    if any(name in tags and not _BASE64.fullmatch(b"".join(tags[name].split())) for name in (b"b", b"bh")):
        return "the signature is no base64"
    if tags.get(b"h", b"").count(b":") >= SIGNED_MAX:
        return "the signature names more fields than we look for"
    if not domain_of(value):
        return "d= names no domain"
    return ""


def find_key(selector: bytes, domain: bytes, algorithm: bytes, identity: bytes, lookup: Lookup) -> PublicKey:
    """Return the public key of a selector (RFC 6376 §3.6.1); raise `Unreachable` or a dkimpy exception."""
    name = f"{selector.decode('ascii', 'replace')}._domainkey.{domain.decode('ascii', 'replace')}"
    if not _SELECTOR.fullmatch(selector) or not is_name(name):
        raise _Refused("permerror", "the selector is no name")
    if not (records := texts(lookup, name)):
        raise _Refused("permerror", "no key is published")
    tags: dict[bytes, bytes] = {}
    for part in records[0][:FIELD_MAX].split(b";"):
        tag, equals, value = part.partition(b"=")
        if equals:
            tags.setdefault(tag.strip(), b"".join(value.split()))
    kind = tags.get(b"k", b"rsa")
    flags = tags.get(b"t", b"").split(b":")
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or kind != algorithm.partition(b"-")[0]:
        raise _Refused("permerror", "the key is not of the signature's kind")
    if b"sha256" not in tags.get(b"h", b"sha256").split(b":"):
        raise _Refused("permerror", "the key is not for SHA-256")
    if not {b"*", b"email"} & set(tags.get(b"s", b"*").split(b":")):
        raise _Refused("permerror", "the key is not for mail")
    if b"s" in flags and identity and identity.rpartition(b"@")[2].lower() != domain.lower():
        raise _Refused("permerror", "the key does not sign for subdomains")
    return _public_key(kind, tags.get(b"p", b""))


def _public_key(kind: bytes, encoded: bytes) -> PublicKey:
    if not encoded:
        raise _Refused("permerror", "the key is revoked")
    try:
        octets = base64.b64decode(encoded, validate=True)
        if kind == b"ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        key = serialization.load_der_public_key(octets)
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm):
        raise _Refused("permerror", "the key cannot be read") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise _Refused("permerror", "the key is not of the signature's kind")
    if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise _Refused("policy", f"the key has {key.key_size} bits, not {RSA_BITS_MIN} to {RSA_BITS_MAX}")
    return key


def verify_dkim(content: bytes, lookup: Lookup) -> list[Result]:
    """Return what each DKIM signature of a mail says, in order; [] where there is none, at most ten."""
    split = _split(content, (b"dkim-signature",))
    if split is None:
        return []
    signatures = [value for name, value in split[0] if name.lower() == b"dkim-signature"]
    results, lookup = [], remembering(lookup)
    for index, value in enumerate(signatures[:SIGNATURES_MAX]):
        verifier = _Dkim(None, logger=_silent)
        verifier.take(*split, lookup)

        def verify(verifier: _Dkim = verifier, index: int = index) -> bool:
            return bool(verifier.verify(index))

        results.append(_judged(value, verify))
    if len(signatures) > SIGNATURES_MAX:
        results.append(
            Result("dkim", "policy", "", f"more than {SIGNATURES_MAX} signatures; the rest was not looked at")
        )
    return results


def _judged(value: bytes, verify: Callable[[], bool]) -> Result:
    domain = domain_of(value)
    if why := _is_sane(value):
        return Result("dkim", "permerror", domain, why)
    try:
        return Result("dkim", "pass", domain) if verify() else Result("dkim", "fail", domain, "the signature is wrong")
    except Unreachable as away:
        return Result("dkim", "temperror", domain, str(away))
    except _Refused as refused:
        return Result("dkim", refused.verdict, domain, str(refused))
    except dkim.ValidationError as wrong:
        said = "the body was changed" if "body hash" in str(wrong) else _shown(wrong)
        return Result("dkim", "fail", domain, said)
    except dkim.DKIMException as wrong:
        return Result("dkim", "permerror", domain, _shown(wrong))
    except Exception as error:  # noqa: BLE001 (dkimpy raises what comes on fields from outside)
        return Result("dkim", "permerror", domain, f"cannot be read ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class Chain:
    """What an ARC chain says. `sealers` are the domains of its seals, the newest first.

    `said` is the body of the newest ARC-Authentication-Results field.
    """

    result: Result
    sealers: tuple[str, ...] = ()
    said: str = ""


def verify_arc(content: bytes, lookup: Lookup) -> Chain:
    """Return whether the ARC chain of a mail holds (RFC 8617 §5.2)."""
    split = _split(content, _ARC_FIELDS)
    if split is None:
        return Chain(Result("arc", "none"))
    if why := _odd_sets(split[0]):
        return Chain(Result("arc", "fail", "", why))
    verifier = _Arc(None, logger=_silent)
    verifier.take(*split, remembering(lookup))
    verifier.newest = str(sum(name.lower() == b"arc-seal" for name, _ in split[0])).encode()
    try:
        verdict, instances, said = verifier.verify()
    except Exception as error:  # noqa: BLE001 (dkimpy raises what comes on fields from outside)
        return Chain(Result("arc", "fail", "", f"cannot be read ({type(error).__name__})"))
    sealers = tuple(each["as-domain"].decode("ascii", "replace").lower() for each in instances if "as-domain" in each)
    newest = instances[0].get("aar-value", b"").decode("utf-8", "replace").strip() if instances else ""
    if verifier.unreachable:
        return Chain(Result("arc", "temperror", next(iter(sealers), ""), verifier.unreachable), sealers)
    if verdict == dkim.CV_Pass:
        return Chain(Result("arc", "pass", sealers[0]), sealers, newest)
    # A chain that a sealer ended as failed says nothing any more (dkimpy gives None for it).
    return Chain(Result("arc", "fail" if verdict else "none", next(iter(sealers), ""), _shown(said)), sealers)


def _odd_sets(fields: _Fields) -> str:
    """Return what of the chain's structure cannot be, or "" (RFC 8617 §5.2, steps 1 to 3)."""
    found: dict[bytes, list[int]] = {name: [] for name in _ARC_FIELDS}
    for name, value in fields:
        if name.lower() in found:
            place = _place(name.lower(), value)
            if place is None:
                return "a field of the chain cannot be read"
            found[name.lower()].append(place)
            if name.lower() != b"arc-authentication-results" and (why := _is_sane(value)):
                return why
    highest = max(found[b"arc-seal"], default=0)
    if highest > ARC_SETS_MAX:
        return "the chain is longer than a chain may be"
    if any(sorted(numbers) != list(range(1, highest + 1)) for numbers in found.values()):
        return "the chain lacks a field, or has one twice"
    return ""


def _place(name: bytes, value: bytes) -> int | None:
    """Return the place of a field in the chain, or None where dkimpy would read another."""
    if len(value) > FIELD_MAX:
        return None
    given = b"i=" + tags_of(value).get(b"i", b"") + b";" if name != b"arc-authentication-results" else value
    ours = _INSTANCE.match(given)
    theirs = dkim.ARC.INSTANCE_RE.search(value)
    return int(ours[1]) if ours and theirs and theirs[1].lstrip(b"0") == ours[1] else None


def _split(content: bytes, wanted: Sequence[bytes]) -> tuple[_Fields, _Body] | None:
    """Split a mail as dkimpy wants it: header fields with their line ends, and the body with CRLF lines.

    None where no `wanted` field is there, where the header is longer than we read, or where there may be
    two readings of it: what is not read whole, and by all alike, proves nothing.
    """
    if content.count(b"\n") != content.count(b"\r\n"):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    end = content.find(b"\r\n\r\n", 0, HEADER_OCTETS_MAX + 4)
    if end < 0 and len(content) > HEADER_OCTETS_MAX:
        return None
    head = content[:end] if end >= 0 else content.removesuffix(b"\r\n")
    if _BARE.search(head):
        return None
    parts: list[tuple[bytes, list[bytes]]] = []
    for line in head.split(b"\r\n"):
        if match := _FIELD.match(line):
            parts.append((match[1], [line[match.end() :]]))
        elif line[:1] in (b" ", b"\t") and parts:
            parts[-1][1].append(line)
        elif parts or not line.startswith((b"From ", b">From ")) or _NEARLY_FIELD.match(line):
            return None
    fields = _Fields([name, b"\r\n".join(lines) + b"\r\n"] for name, lines in parts)
    names = [name.lower() for name, _ in fields]
    wide = len(fields) > FIELDS_MAX or any(len(value) > FIELD_OCTETS_MAX for _, value in fields)
    header, rest = split_mail(head + b"\r\n\r\n")
    if wide or rest or not set(names) & set(wanted) or [name.encode("ascii") for name, _ in header.fields] != names:
        return None
    return fields, _Body(content, end + 4 if end >= 0 else len(content))


def _shown(said: object) -> str:
    return "".join(char if char.isprintable() else " " for char in str(said))[:200]
