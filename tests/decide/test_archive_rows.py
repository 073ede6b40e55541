"""Row C02 of the catalogue, edge to edge: what unpacks to terabytes costs what any file of its size costs.

Work is counted and compared with that for random octets of the same length; memory is what the process grew by, and
what the archive would unpack to is hundreds of times the bound. No machine's speed is in it.
"""
# ruff: noqa: N802 (rows have capital names)

import base64
import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from gateway.mail.parse import parse
from tests.kit.house import CUSTOMER, D
from tests.kit.node import peak_memory_mib
from tests.kit.work import calls

TO = f"s00001@{D}"
WANG = "wang@acme.example"
ZEROS = 4 * 1024 * 1024  # octets of the innermost file
LEVELS, EACH = 4, 16  # 16 zips in each of 16 zips …: 4 MiB 65,536 times, 256 GiB in all
GROWS_MAX_MIB = 64


def zip_of(inner: bytes, name: str, times: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(times):
            archive.writestr(f"{n:x}-{name}", inner)
    return out.getvalue()


def nested_zip() -> bytes:
    """Return an archive as 42.zip is made: a few thousand octets."""
    made = zip_of(bytes(ZEROS), "zeros.dll", 1)
    for level in range(LEVELS):
        made = zip_of(made, f"lib{level}.zip", EACH)
    return made


def nested(pack, times: int = 2) -> bytes:
    """Return 128 MiB of zeros, packed and packed again."""
    made = bytes(128 * 1024 * 1024)
    for _ in range(times):
        made = pack(made)
    return made


def tar_of(inner: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo("a.gz")
        entry.size = len(inner)
        archive.addfile(entry, io.BytesIO(inner))
    return out.getvalue()


def png(side: int) -> bytes:
    """Return the beginning of an image that says it has `side` times `side` points, all of them alike."""
    rows = zlib.compress(bytes(1_000_000))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def laughs() -> bytes:
    """Return XML whose entities name each other ten times, ten levels deep."""
    entities = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 11)]
    return f'<!DOCTYPE x [<!ENTITY e0 "lol">{"".join(entities)}]><x>&e10;</x>'.encode()


MAKE = {
    "42.zip": ("application/zip", nested_zip),
    "quote.docx": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        lambda: zip_of(nested_zip(), "word/document.xml", 1),
    ),
    "log.gz": ("application/gzip", lambda: nested(gzip.compress)),
    "log.bz2": ("application/x-bzip2", lambda: nested(bz2.compress, 1)),
    "log.xz": ("application/x-xz", lambda: nested(lzma.compress, 1)),
    "all.tar.gz": ("application/gzip", lambda: tar_of(nested(gzip.compress))),
    "photo.png": ("image/png", lambda: png(31_623)),  # 10**9 points
    "drawing.svg": ("image/svg+xml", laughs),
    "data.xml": ("application/xml", laughs),
}


@pytest.fixture(scope="module", params=MAKE)
def bomb(request):
    """A file that unpacks to much: its name, its media type, its octets."""
    media_type, make = MAKE[request.param]
    made = make()
    assert len(made) < 300_000
    return request.param, media_type, made


def mail(name: str, media_type: str, octets: bytes, number: int, head: str = "") -> bytes:
    front = (
        f"From: {WANG}\r\nTo: {TO}\r\nSubject: chairs\r\nMessage-ID: <{number}@x>\r\n{head}"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhere it is\r\n--b\r\n"
        f"Content-Type: {media_type}; name={name}\r\nContent-Disposition: attachment; filename={name}\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return front.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n") + b"--b--\r\n"


def forget_peak() -> float:
    """Begin to measure the most memory anew, where the system lets us; return what it is now, in MiB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_mib(os.getpid())


def no_unpacking(monkeypatch) -> None:
    def unpacked(*_arguments, **_options):
        raise AssertionError("something was unpacked")

    for module, names in (
        (zlib, ("decompress", "decompressobj")), (gzip, ("GzipFile", "open", "decompress")), (zipfile, ("ZipFile", "is_zipfile")),
        (bz2, ("BZ2Decompressor", "decompress")), (lzma, ("LZMADecompressor", "decompress")), (tarfile, ("open", "TarFile")),
    ):  # fmt: skip
        for name in names:
            monkeypatch.setattr(module, name, unpacked)


def test_C02_an_archive_is_passed_on_octet_for_octet_and_never_unpacked(made, bomb, monkeypatch):
    name, media_type, octets = bomb
    made.sent()
    no_unpacking(monkeypatch)
    before = forget_peak()
    state = made.take(mail(name, media_type, octets, 1), TO, peer=CUSTOMER, return_path=WANG)
    assert state == ("posted", "")
    passed = [
        (part.get_filename(), part.get_payload(decode=True))
        for each in made.sent()
        if each["X-Replygate-Subtype"] == "discussion"
        for part in each.mail.iter_attachments()
    ]
    assert passed
    assert set(passed) == {(name, octets)}
    assert peak_memory_mib(os.getpid()) - before < GROWS_MAX_MIB


def test_C02_an_archive_takes_the_work_of_any_file_of_its_size(made, bomb):
    name, media_type, octets = bomb
    other = random.Random(42).randbytes(len(octets))
    made.sent()

    def work(content: bytes) -> int:
        def all_the_way() -> None:
            assert made.take(content, TO, return_path=WANG, trusted=True) == ("posted", "")
            made.sent()

        return calls(all_the_way)

    work(mail(name, media_type, other, 1))  # the first of all makes what the others find made
    usual = work(mail(name, media_type, other, 2))
    assert work(mail(name, media_type, octets, 3)) < 1.2 * usual


ENCODINGS = ["gzip", "deflate", "x-gzip", "x-gzip64", "br", "zstd", "x-uuencode", "base64, gzip", "compress"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_C02_what_calls_itself_packed_for_the_way_is_not_unpacked_either(encoding, monkeypatch):
    no_unpacking(monkeypatch)
    packed = zlib.compress(bytes(ZEROS))
    front = (
        f"From: {WANG}\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a\r\n"
        f"Content-Disposition: attachment; filename=a\r\nContent-Encoding: {encoding}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    content = front.encode() + packed
    read = parse(content)
    assert sum(len(each.content) for each in read.attachments) + len(read.text.encode()) <= len(content)


@pytest.mark.parametrize("body", [
    b"=41" * 50_000, b"=\r\n" * 50_000, b"=" * 50_000, b"=0" * 50_000, b"QUFB" * 40_000, b"QQ==" * 40_000, b"=" * 40_000,
    b"begin 644 a\r\n" + (b"M" + b"0" * 60 + b"\r\n") * 2_000 + b"`\r\nend\r\n", b"+AAA-" * 30_000, b"&#65;" * 30_000,
], ids=lambda each: repr(each[:12]))  # fmt: skip
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode", "7bit", "8bit", "binary"])
@pytest.mark.parametrize("name", ["", "; name=a"])
def test_C02_what_is_decoded_is_never_more_than_what_came(body, encoding, name):
    kind = "application/octet-stream" if name else "text/plain; charset=utf-8"
    content = (
        f"From: {WANG}\r\nContent-Type: {kind}{name}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body
    )
    read = parse(content)
    assert sum(len(each.content) for each in read.attachments) + len(read.text.encode()) <= len(content)
