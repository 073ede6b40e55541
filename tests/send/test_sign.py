"""DKIM: what we sign verifies, with dkimpy and with OpenDKIM, and adding in front of it does not."""

import base64
import os
import shutil
import subprocess
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.mail.canonical import simple_body_hash
from gateway.send.sign import SIGNED, Key, load_key, make_key, sign

D = "sales.example.com"
AT = 1_764_000_000_000
HEADER = (
    b'From: =?utf-8?b?QeWQmw==?= <s00001@sales.example.com>\r\nDate: Mon, 24 Nov 2025 16:00:00 GMT\r\n'
    b"Message-ID: <1@sales.example.com>\r\nSubject: [S00001] 20 chairs\r\nReferences: <root@sales.example.com>\r\n"
    b" <parent@sales.example.com>\r\nIn-Reply-To: <parent@sales.example.com>\r\nList-Id: <sales.sales.example.com>\r\n"
    b"To: Wang <wang@acme.example>\r\nReply-To: s00001+tag@sales.example.com\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative;\r\n boundary="=_1"\r\n'
)  # fmt: skip
BODY = b"--=_1\r\nContent-Type: text/plain\r\n\r\nHello  there \r\n.\r\n--=_1--\r\n"


@pytest.fixture(scope="module", params=["rsa", "ed25519"])
def key(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / f"{request.param}.pem"
    path.write_bytes(make_key(request.param))
    path.chmod(0o600)
    return load_key(path, f"gw-{request.param}", D)


def signed(keys, header=HEADER, body=BODY, at=AT):
    return sign(keys, header, simple_body_hash(body), at) + b"\r\n" + body


class Ed25519:
    """What dkimpy takes from PyNaCl, its arithmetic done by cryptography."""

    def __init__(self, text, encoder):
        self.key = Ed25519PublicKey.from_public_bytes(encoder(text))

    def verify(self, hashed, signature):
        try:
            self.key.verify(signature, hashed)
        except InvalidSignature:
            raise BadSignatureError from None


class BadSignatureError(Exception):
    pass


@pytest.fixture(autouse=True)
def _ed25519_for_dkimpy(monkeypatch):
    kit = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=Ed25519),
        encoding=SimpleNamespace(Base64Encoder=base64.b64decode),
        exceptions=SimpleNamespace(BadSignatureError=BadSignatureError, ValueError=ValueError),
    )
    monkeypatch.setattr(dkim, "nacl", kit, raising=False)


def verifies(mail, *keys, index=0):
    published = {f"{name}.".encode(): text.encode() for name, text in (key.dns() for key in keys)}
    try:
        return dkim.DKIM(mail).verify(index, dnsfunc=lambda name, timeout=5: published.get(name))  # noqa: ARG005
    except dkim.ValidationError:
        return False


# -- dkimpy


def test_a_signature_verifies(key):
    assert verifies(signed([key]), key)


def test_it_is_the_fields_we_say_that_are_signed_and_once_more(key):
    signer = dkim.DKIM(signed([key]))
    _name, text = key.dns()
    assert signer.verify(dnsfunc=lambda _name, timeout=5: text.encode())  # noqa: ARG005
    named = [field.strip().lower() for field in signer.signature_fields[b"h"].split(b":")]
    assert named.count(b"from") == 2
    assert named.count(b"cc") == 1
    assert set(named) == set(SIGNED)


@pytest.mark.parametrize(
    "field",
    [b"Subject: Pay now", b"To: other@example.com", b"From: boss@example.com", b"Reply-To: evil@example.com",
     b"Content-Type: text/html", b"Cc: x@example.com", b"Date: Mon, 1 Dec 2025 00:00:00 GMT",
     b"Message-ID: <2@x.example>", b"In-Reply-To: <2@x.example>", b"References: <2@x.example>",
     b"MIME-Version: 1.0", b"Content-Transfer-Encoding: base64", b"List-Id: <x.example>",
     b"List-Unsubscribe: <mailto:x@example.com>", b"Auto-Submitted: no"],
)  # fmt: skip
def test_a_field_added_in_front_or_at_the_end_breaks_it(key, field):
    mail = signed([key])
    assert not verifies(field + b"\r\n" + mail, key)
    head, gap, body = mail.partition(b"\r\n\r\n")
    assert not verifies(head + b"\r\n" + field + gap + body, key)


def test_a_trace_field_added_in_front_does_not_break_it(key):
    assert verifies(b"Received: from x by y; Mon, 24 Nov 2025 16:00:00 +0000\r\n" + signed([key]), key)


def test_a_changed_body_breaks_it(key):
    assert not verifies(signed([key]).replace(b"Hello", b"Hullo"), key)


def test_more_empty_lines_at_the_end_of_the_body_do_not_break_it(key):
    assert verifies(signed([key]) + b"\r\n\r\n", key)


def test_signing_twice_gives_the_same_octets(key):
    assert signed([key]) == signed([key])


def test_no_line_of_a_signature_is_beyond_998_octets_or_bare(key):
    mail = signed([key])
    assert max(map(len, mail.split(b"\r\n"))) <= 998
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert b"\r" not in mail.replace(b"\r\n", b"")


def test_two_keys_sign_both(tmp_path):
    keys = []
    for kind in ("rsa", "ed25519"):
        path = tmp_path / kind
        path.write_bytes(make_key(kind))
        path.chmod(0o600)
        keys.append(load_key(path, kind, D))
    mail = signed(keys)
    assert mail.count(b"DKIM-Signature:") == 2
    assert verifies(mail, *keys, index=0)
    assert verifies(mail, *keys, index=1)


def test_no_key_leaves_the_header_as_it_is():
    assert sign((), HEADER, simple_body_hash(BODY), AT) == HEADER


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"\r\n", b"a", b" ", b"\t", b".", b"=", b"\xff"]), max_size=30).map(b"".join))
def test_any_body_of_whole_lines_verifies(key, body):
    body = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    assert verifies(signed([key], body=body), key)


def test_an_empty_body_verifies(key):
    assert verifies(signed([key], body=b""), key)


# -- keys


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(make_key("ed25519"))
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        load_key(path, "gw1", D)


def test_a_short_rsa_key_is_refused(tmp_path):
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = rsa.generate_private_key(65537, 1024)  # noqa: S505
    path = tmp_path / "key"
    path.write_bytes(short.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(ValueError, match="2048"):
        load_key(path, "gw1", D)


@pytest.mark.parametrize("octets", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_with_its_place(tmp_path, octets):
    path = tmp_path / "key"
    path.write_bytes(octets)
    path.chmod(0o600)
    with pytest.raises(ValueError, match=str(path)):
        load_key(path, "gw1", D)


def test_a_key_that_is_not_there_is_refused_with_the_mend(tmp_path):
    with pytest.raises(ValueError, match="dkim keygen"):
        load_key(tmp_path / "none", "gw1", D)


def test_the_dns_record_holds_no_private_key(key):
    name, text = key.dns()
    assert name == f"{key.selector}._domainkey.{D}"
    assert text.startswith("v=DKIM1; k=")
    assert len(text) < 500
    assert isinstance(key, Key)


# -- OpenDKIM, an implementation of its own


@pytest.fixture(scope="module")
def opendkim():
    found = shutil.which("opendkim") or shutil.which("opendkim", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("opendkim is not installed; .ci/run installs it")
        pytest.skip("opendkim is not installed: signatures were NOT checked by a second implementation")
    return found


def opendkim_says(opendkim, folder, mail, *keys):
    """Have libopendkim verify a mail against these published keys; return what it says."""
    published = folder / "keys"
    published.write_text("".join(f"{name} {text}\n" for name, text in (key.dns() for key in keys)))
    conf = folder / "opendkim.conf"
    conf.write_text(f"Mode v\nTestPublicKeys {published}\nRequireSafeKeys no\nSyslog no\n")
    eml = folder / "mail.eml"
    eml.write_bytes(mail.replace(b"\r\n", b"\n"))
    ran = subprocess.run(  # noqa: PLW1510
        [opendkim, "-x", str(conf), "-vvv", "-t", str(eml)], capture_output=True, text=True, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_opendkim_verifies_a_signature(opendkim, key, tmp_path):
    status, said = opendkim_says(opendkim, tmp_path, signed([key]), key)
    assert (status, "verification (s=" in said, "succeeded" in said) == (0, True, True), said


def test_opendkim_sees_a_changed_body(opendkim, key, tmp_path):
    _, said = opendkim_says(opendkim, tmp_path, signed([key]).replace(b"Hello", b"Hullo"), key)
    assert "succeeded" not in said


def test_opendkim_sees_a_subject_in_front(opendkim, key, tmp_path):
    _, said = opendkim_says(opendkim, tmp_path, b"Subject: Pay now\r\n" + signed([key]), key)
    assert "succeeded" not in said


def test_opendkim_sees_another_key(opendkim, key, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(make_key("rsa" if key.algorithm.startswith(b"rsa") else "ed25519"))
    path.chmod(0o600)
    _, said = opendkim_says(opendkim, tmp_path, signed([key]), load_key(path, key.selector, D))
    assert "succeeded" not in said
