"""DKIM signatures over what we send: dkimpy, its arithmetic done by cryptography.

Every field that could be added in front of ours is signed once more than it stands there, so
that adding one breaks the signature. A body is hashed once, when it is queued.

*Standards:* RFC 6376 (DKIM, over-signing §5.4.2), RFC 8463 (Ed25519), RFC 8301 (RSA-2048).
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from dkim.canonicalization import CanonicalizationPolicy

SIGNED = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"list-id", b"list-unsubscribe", b"auto-submitted",
)  # fmt: skip
RSA_BITS = 2048
_CANONICAL = (b"relaxed", b"simple")


@dataclass(frozen=True, slots=True)
class _Signature:
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Ed25519:
    """What dkimpy takes for a PyNaCl key."""

    key: ed25519.Ed25519PrivateKey

    def sign(self, octets: bytes) -> _Signature:
        return _Signature(self.key.sign(octets))


@dataclass(frozen=True, slots=True)
class Key:
    """A private key that signs for a selector of the domain."""

    selector: str
    domain: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> bytes:
        """The algorithm as a signature names it."""
        return b"rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else b"ed25519-sha256"

    def dns(self) -> tuple[str, str]:
        """Return the name and the text of the DNS record that publishes the key (RFC 6376 §3.6.1)."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            kind = "rsa"
        else:
            octets = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            kind = "ed25519"
        text = f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"
        return f"{self.selector}._domainkey.{self.domain}", text


def _sign_rsa(hashed: Any, key: rsa.RSAPrivateKey) -> bytes:  # noqa: ANN401 (dkimpy's hasher)
    return key.sign(hashed.digest(), padding.PKCS1v15(), Prehashed(hashes.SHA256()))


# dkimpy's RSA is pure Python and takes ten times as long (LIBRARIES: 6-20 ms).
dkim.RSASSA_PKCS1_v1_5_sign = _sign_rsa


class _Signer(dkim.DKIM):  # type: ignore[misc]  # dkimpy has no types
    """A signer that is given the hash of the body instead of the body."""

    def add(self, key: Key, header: bytes, body_hash: bytes, at: int) -> bytes:
        """Return a DKIM-Signature field over a header block. `at` is in ms since 1970."""
        self.headers = _fields(header)
        self.signature_algorithm = key.algorithm
        self.hasher = hashlib.sha256
        present = [name.lower() for name, _ in self.headers]
        signed = [name for name in SIGNED for _ in range(present.count(name) + 1)]
        self.include_headers = tuple(signed)
        fields = [
            (b"v", b"1"), (b"a", key.algorithm), (b"c", b"/".join(_CANONICAL)), (b"d", key.domain.encode("ascii")),
            (b"s", key.selector.encode("ascii")), (b"t", str(at // 1000).encode("ascii")),
            (b"h", b" : ".join(signed)), (b"bh", base64.b64encode(body_hash)), (b"b", b"0" * 60),
        ]  # fmt: skip
        policy = CanonicalizationPolicy.from_c_value(b"/".join(_CANONICAL))
        private = key.key if isinstance(key.key, rsa.RSAPrivateKey) else _Ed25519(key.key)
        value: bytes = self.gen_header(fields, signed, policy, b"DKIM-Signature", private)
        return b"DKIM-Signature: " + value


def sign(keys: Sequence[Key], header: bytes, body_hash: bytes, at: int) -> bytes:
    """Return `header` with a signature of every key in front.

    `header` is a block of whole fields, `body_hash` the SHA-256 of the body in simple form, `at`
    the time of signing in ms: the same three give the same octets, so a retry is the same mail.
    """
    return b"".join(_Signer(None).add(key, header, body_hash, at) for key in keys) + header


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """Split a block of our own making into (name, body with its line break)."""
    fields = re.findall(rb"([!-9;-~]+):((?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*)", header)
    return [(name, body) for name, body in fields]


def load_key(path: Path, selector: str, domain: str) -> Key:
    """Read a private key in PEM form. Raises ValueError: not there, no key, too weak, or read by others."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        shared = path.stat().st_mode & 0o077
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}; `replygate dkim keygen` makes a key"
        raise ValueError(message) from None
    except (TypeError, ValueError):
        message = f"{path}: is no private key in PEM form without a password"
        raise ValueError(message) from None
    if shared:
        message = f"{path}: can be read by others; chmod 600 it"
        raise ValueError(message)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= RSA_BITS:
        return Key(selector, domain, key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Key(selector, domain, key)
    message = f"{path}: use Ed25519, or RSA with at least {RSA_BITS} bits"
    raise ValueError(message)


def make_key(kind: str) -> bytes:
    """Return a new private key in PEM form: `rsa` (2048 bits) or `ed25519`."""
    key = rsa.generate_private_key(65537, RSA_BITS) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
