"""Rows C01, C03 and C07 of the catalogue: what bombs cost, how splitting grows, what names may be."""
# ruff: noqa: N802 (rows have capital names)

import email
import email.policy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.mail import quoting
from gateway.mail.parse import file_name, parse
from gateway.notify.compose import Part, shared_body
from tests.kit.house import INSIDE, D, House
from tests.mail.test_bomb_rows import BOMBS, TEXTS

ROOT = Path(__file__).resolve().parents[2]
OCTETS_MAX = 200 * 1024 * 1024
CPU_S = 60  # far above what it takes: what goes on forever ends there
_PARSED = """
import resource, sys
from gateway.mail.parse import parse
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for content in sys.stdin.buffer.read().split(b"\\0\\0next\\0\\0"):
    print(len(parse(content).defects))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_C01_no_bomb_takes_two_hundred_mebioctets():
    given_to = b"\0\0next\0\0".join(content for content, _ in BOMBS.values())
    limited = ["sh", "-c", f'ulimit -t {CPU_S}; exec "$@"', "sh", sys.executable, "-c", _PARSED]
    done = subprocess.run(limited, input=given_to, capture_output=True, check=False, cwd=ROOT, timeout=110)
    assert done.returncode == 0, done.stderr[-500:]
    *read, octets = map(int, done.stdout.split())
    assert len(read) == len(BOMBS)
    assert octets < OCTETS_MAX


def _looked(monkeypatch, text: str) -> int:
    """Return how often a line of the text was looked at while it was split."""
    count = 0

    def counting(real):
        def call(*given):
            nonlocal count
            count += 1
            return real(*given)

        return call

    with monkeypatch.context() as patched:
        for name in ("_letter", "_is_attribution", "_is_signature", "_is_field"):
            patched.setattr(quoting, name, counting(getattr(quoting, name)))
        quoting.split_reply(text)
    return count


def test_C03_twice_the_text_is_twice_the_work(monkeypatch):
    units = [unit for unit, _ in TEXTS]
    units += [f"{one}\n{other}" for one in units[:32] for other in units[::18]]
    assert len(units) >= 500
    for unit in units:
        text = (unit + "\n") * (2_000 // (len(unit) + 1))
        once, twice = _looked(monkeypatch, text), _looked(monkeypatch, text * 2)
        assert twice <= 2.5 * once + 50, unit[:40]


PIECES = [
    "../", "..\\", "/", "\\", "\0", "\r\n", ":", "C:", "CON", "aux.txt", ".", "..", " ", "\u200b", "\u202e", "\u2066", "\ufeff", "\uff0f", "\uff0e", "\u2215", "%2f", "%00", "~", ".htaccess",
    "gpj.exe", "::$DATA", "a" * 300, "報價單", "é", "e\u0301", "\U0001f600", "\ud800", '"', ";", "'", "`", "$(x)", "|", "<", ">", "*", "?", "=?utf-8?q?a?=", "\x1b[2J", "\x7f", "\x85", "\u2028",
]  # fmt: skip


@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=6).map("".join))
def test_C07_a_name_is_one_line_without_a_path_and_reads_back_as_it_was_sent(name):
    shown = file_name(name)
    assert len(shown) <= 150
    assert not set(shown) & set('/\\\0\r\n:|<>*?";`$\u200b\u202e\u2066\ufeff\u2028\x85')
    assert shown == shown.strip(" .")
    body = shared_body("x", "x", [Part(shown or "unnamed", "application/pdf", b"%PDF")])
    mail = email.message_from_bytes(body.mime + b"\r\n" + body.octets, policy=email.policy.default)
    (part,) = mail.iter_attachments()
    assert part.get_filename() == (shown or "unnamed")
    assert part.get_content_disposition() == "attachment"
    assert sorted(map(str.lower, part)) == ["content-disposition", "content-transfer-encoding", "content-type"]


@pytest.mark.parametrize("segments", [10, 5_000])
def test_C07_a_name_in_pieces_is_one_name(segments):
    pieces = ";\r\n filename*0*=utf-8''%2e%2e%2fa" + "".join(f";\r\n filename*{n}*=%2fa" for n in range(1, segments))
    mail = parse(f"Content-Type: application/pdf\r\nContent-Disposition: attachment{pieces}\r\n\r\nx".encode())
    (attachment,) = mail.attachments
    assert "/" not in attachment.name
    assert len(attachment.name) <= 150


def test_C07_no_name_of_an_attachment_reaches_the_disk(tmp_path):
    house = House(tmp_path / "site")
    house.quotation()
    before = {path.name for path in tmp_path.rglob("*")}
    rest = 'Content-Type: application/pdf; name="../UNLIKELY\u200b.htaccess"\r\n\r\n' + "x" * 100_000
    content = f"From: b@example.com\r\nTo: s00001@{D}\r\nMessage-ID: <1@x>\r\n{rest}".encode()
    assert house.take(content, f"s00001@{D}", peer=INSIDE, return_path="b@example.com", trusted=True) == ("posted", "")
    assert house.sent()
    assert {path.name for path in tmp_path.rglob("*")} - before <= {"x.db-wal", "x.db-shm"}
    house.close()
