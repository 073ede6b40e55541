"""Attachments that run, a real clamd and a real rspamd: what is not passed on, and what waits.

What is withheld is in no mail of ours, and every reader is told.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from email.message import EmailMessage

import pytest

from gateway.decide import inspect, read
from tests.kit.house import CUSTOMER, INSIDE, D, calm_rules
from tests.kit.node import ROOT
from tests.kit.postgres import free_port

TO = f"s00001@{D}"
VIRUS = b"REPLYGATE-TEST-VIRUS-STRING"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
PROGRAM = b"\x01\x02THE-OCTETS-OF-A-FILE\x03"
CLAMD = shutil.which("clamd") or shutil.which("/usr/sbin/clamd")
RSPAMD = shutil.which("rspamd")


def need(program: str | None, name: str, package: str) -> None:
    """Skip the test, loudly, where a checker is not installed; fail it in CI."""
    if program is not None:
        return
    missing = f"no {name} on this machine (on Debian: apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def mail(*files: tuple[str, bytes], author="chia@example.com", text="look at this", number=1) -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Message-ID"] = author, TO, "chairs", f"<c{number}@x>"
    made.set_content(text)
    for name, content in files:
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return made.as_bytes()


def followed(house):
    """Return the house with its customer, who reads English, among the followers; the others read Chinese."""
    house.follow("S00001", "customer")
    house.before = len(house.sent())
    return house


def heard(house):
    """Return the mails of ours since the house was made."""
    return house.sent()[house.before :]


def checks(**named: str) -> str:
    """Return gateway.yaml with checkers."""
    text = (ROOT / "templates" / "site" / "gateway.local.yaml").read_text("utf-8")
    return text + "\nchecks:\n" + "".join(f"  {name}: {at}\n" for name, at in named.items())


def names(sent) -> list[list[str]]:
    return [[part.get_filename() for part in each.mail.iter_attachments()] for each in sent]


# ---- attachments that run


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("quote.pdf.exe", PROGRAM), ("quote.exe.", PROGRAM), ("quote.exe ", PROGRAM), ("quote.exe. .", PROGRAM),
        ("quote.e\u200bxe", PROGRAM), ("quote\u202efdp.exe", PROGRAM), ("QUOTE.EXE", PROGRAM), ("quote.js", PROGRAM),
        ("quote.docm", PROGRAM), ("quote.lnk", PROGRAM), ("../../quote.hta", PROGRAM), ("ｑuote.ｅxe", PROGRAM),
        ("quote.pdf", b"MZ\x90" + PROGRAM), ("quote.pdf", b"\x7fELF" + PROGRAM), ("quote", b"#!/bin/sh\n" + PROGRAM),
    ],
)  # fmt: skip
def test_an_attachment_that_runs_is_withheld_and_every_reader_told_in_their_language(made, name, content):
    state = followed(made).take(
        mail((name, content), ("good.txt", b"GOOD")), TO, peer=INSIDE, return_path="chia@example.com", trusted=True
    )
    assert state[0] == "posted"
    sent = heard(made)
    assert {each.to for each in sent} >= {"wang@acme.example", "a@example.com"}
    for each in sent:
        assert [part.get_filename() for part in each.mail.iter_attachments()] == ["good.txt"]
        assert b"THE-OCTETS" not in b"".join(part.get_payload(decode=True) or b"" for part in each.mail.walk())
        assert "look at this" in each.text
    told = {each.to: each.text for each in sent}
    assert "Withheld, for your safety:" in told["wang@acme.example"]
    assert "a file that runs" in told["wang@acme.example"]
    assert "為了安全，未隨信附上：" in told["a@example.com"]
    assert "可執行的檔案" in told["a@example.com"]


@pytest.mark.parametrize("name", ["quote.pdf", "exe", "exe.pdf", "my.exe.pdf", "price.xlsx", "a.zip", "unnamed"])
def test_a_name_that_only_looks_like_a_programs_passes(made, name):
    followed(made).take(mail((name, PROGRAM)), TO, peer=INSIDE, return_path="chia@example.com", trusted=True)
    sent = heard(made)
    assert sent
    assert all(each == [name] for each in names(sent))


def test_of_two_attachments_of_one_name_the_one_that_runs_does_not_pass(made):
    files = ("a.pdf", b"good"), ("a.pdf", b"MZ" + PROGRAM)
    from_chia(followed(made), *files)
    sent = heard(made)
    assert sent
    for each in sent:
        assert not any(part.get_content().startswith(b"MZ") for part in each.mail.iter_attachments())


@pytest.mark.parametrize("policy", ["hold", "pass"])
def test_the_site_may_hold_or_pass_what_runs(make, policy):
    house = followed(make(rules=calm_rules(**{"executable: withhold": f"executable: {policy}"})))
    state = house.take(mail(("a.exe", PROGRAM)), TO, peer=INSIDE, return_path="chia@example.com", trusted=True)
    if policy == "hold":
        assert state == ("held", "attachment")
        assert house.texts() == []
        assert "a.exe" in house.held()[0].reason
        assert [each.to for each in heard(house)] == ["cheng@example.com", "chia@example.com"]
        assert names(heard(house)) == [[], []]
    else:
        assert state[0] == "posted"
        sent = heard(house)
        assert sent
        assert all(each == ["a.exe"] for each in names(sent))


@pytest.mark.parametrize(
    ("intake", "author", "peer"), [("leads", "wang@acme.example", CUSTOMER), ("quotations", "a@example.com", INSIDE)]
)
def test_what_comes_to_an_intake_is_looked_at_too(made, intake, author, peer):
    state = followed(made).take(
        mail(("a.exe", PROGRAM), ("good.txt", b"GOOD"), author=author), f"{intake}@{D}", peer=peer, return_path=author
    )
    assert state[0] == "posted"
    sent = [each for each in heard(made) if "a.exe" in each.text]
    assert sent
    for each in sent:
        assert [part.get_filename() for part in each.mail.iter_attachments()] == ["good.txt"]


# ---- clamd


class Process:
    """A checker that answers once it is started, and is gone once it is stopped."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for(self, connect) -> None:
        until = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, "the checker ended"
            with contextlib.suppress(inspect.CheckerAway, OSError):
                connect()
                return
            assert time.monotonic() < until, "the checker does not answer"
            self.process.poll()
            threading.Event().wait(0.05)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A folder whose path is short enough for the name of a socket."""
    return tmp_path_factory.mktemp("c")


@pytest.fixture
def clamd(short):
    """A clamd that knows one virus, and where it listens."""
    need(CLAMD, "clamd", "clamav-daemon")
    home = short / "clamd"
    shutil.rmtree(home, ignore_errors=True)
    (home / "db").mkdir(parents=True)
    (home / "db" / "own.ndb").write_text(f"Replygate.Test:0:*:{VIRUS.hex()}\n")
    (home / "clamd.conf").write_text(
        f"Foreground yes\nLocalSocket {home}/s\nDatabaseDirectory {home}/db\nTemporaryDirectory {home}\n"
        + ("User root\n" if os.geteuid() == 0 else "")
    )
    started = Process(str(CLAMD), "-c", str(home / "clamd.conf"))
    try:
        started.wait_for(lambda: inspect.scan(f"unix:{home}/s", b"clean"))
        started.at = f"unix:{home}/s"
        yield started
    finally:
        started.stop()


def from_chia(house, *files, number=1, **more):
    return house.take(
        mail(*files, number=number, **more), TO, peer=INSIDE, return_path="chia@example.com", trusted=True
    )


@pytest.mark.timeout(120)
def test_an_infected_attachment_is_withheld_and_a_mail_waits_for_a_clamd_that_is_away(clamd, make, monkeypatch):
    house = followed(make(gateway=checks(clamd=clamd.at)))
    infected = ("price.pdf", b"%PDF " + VIRUS), ("good.txt", b"GOOD")
    assert from_chia(house, *infected)[0] == "posted"
    sent = heard(house)
    assert sent
    assert {tuple(each) for each in names(sent)} == {("good.txt",)}
    told = {each.to: each.text for each in sent}
    assert "infected: Replygate.Test" in told["wang@acme.example"]
    assert "含有病毒" in told["a@example.com"]

    assert from_chia(house, ("clean.txt", b"CLEAN"), number=2)[0] == "posted"
    assert names(heard(house)[len(sent) :]) == [["clean.txt"]] * len(sent)
    before = len(heard(house))

    # A virus where no attachment is: nothing can be taken out of the mail, so a person decides.
    assert from_chia(house, ("clean.txt", b"CLEAN"), text=VIRUS.decode(), number=3) == ("held", "attachment")
    assert VIRUS.decode() not in "".join(each.text for each in heard(house)[before:] if each.to != "cheng@example.com")
    before = len(heard(house))

    clamd.stop()
    assert from_chia(house, ("late.txt", b"LATE"), number=4) == ("pending", "")
    assert from_chia(house, number=5)[0] == "pending"  # the whole mail is looked at, whatever hangs on it
    house.due_now()
    house.run()
    assert house.states()[-2:] == [("pending", ""), ("pending", "")]
    assert len(heard(house)) == before
    monkeypatch.setattr(read, "PATIENCE_MS", 0)
    house.due_now()
    house.run()
    assert [state for state, _ in house.states()[-2:]] == ["posted", "posted"]
    late = heard(house)[before:]
    assert late
    assert all(each == [] for each in names(late))
    told = [each.text for each in late if "late.txt" in each.text]
    assert any("could not be checked for viruses" in each for each in told)
    assert any("無法檢查是否含有病毒" in each for each in told)


@pytest.mark.parametrize(
    "answer", [b"", b"\0", b"stream: ", b"INSTREAM size limit exceeded. ERROR\0", b"UNKNOWN COMMAND\0", b"\xff" * 300_000, b"stream: OK FOUND OK\0"]
)  # fmt: skip
def test_what_a_clamd_says_that_we_cannot_read_is_no_answer(answer):
    with _says(answer) as port, pytest.raises(inspect.CheckerAway):
        inspect.scan(f"127.0.0.1:{port}", b"x" * 100)


@contextlib.contextmanager
def _says(answer: bytes):
    """A server that takes one connection, hears its first words, and says `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(65_536)
                peer.sendall(answer)

        speaking = threading.Thread(target=serve)
        speaking.start()
        yield server.getsockname()[1]
        speaking.join(30)


# ---- rspamd

_RSPAMD = """
options { filters = ""; pidfile = "HOME/pid"; dns { nameserver = "127.0.0.1:9"; } url_tld = "/dev/null";
          control_socket = "HOME/control mode=0600"; hs_cache_dir = "HOME"; temp_dir = "HOME"; gtube_patterns = "all"; }
lang_detection { languages = "/nowhere"; }
logging { type = "file"; filename = "HOME/log"; level = "info"; }
worker "normal" { bind_socket = "127.0.0.1:PORT"; count = 1; }
"""


@pytest.fixture
def rspamd(short):
    """An rspamd that knows nothing but GTUBE, and where it listens; it asks nobody."""
    need(RSPAMD, "rspamd", "rspamd")
    home, port = short / "rspamd", free_port()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "rspamd.conf").write_text(_RSPAMD.replace("HOME", str(home)).replace("PORT", str(port)))
    insecure = ["-i"] if os.geteuid() == 0 else []
    started = Process(str(RSPAMD), "-f", *insecure, "-c", str(home / "rspamd.conf"))
    try:
        started.at = f"http://127.0.0.1:{port}"
        started.wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield started
    finally:
        started.stop()


@pytest.mark.timeout(120)
def test_what_rspamd_would_not_take_is_held_but_for_an_authenticated_person(rspamd, make, monkeypatch):
    house = followed(make(gateway=checks(rspamd=rspamd.at)))
    wang = {"peer": CUSTOMER, "return_path": "wang@acme.example"}
    assert house.take(mail(author="wang@acme.example", text="hello"), TO, **wang)[0] == "posted"
    before = len(heard(house))
    spam = mail(author="wang@acme.example", text=GTUBE, number=2)
    assert house.take(spam, TO, **wang) == ("held", "spam")
    assert "spam: reject" in house.held()[0].reason
    assert [each.to for each in heard(house)[before:]] == ["cheng@example.com"]
    assert not any(GTUBE in each.text for each in heard(house) if each.to != "cheng@example.com")
    # Whom we know for sure is not held for what a machine thinks of the words.
    assert from_chia(house, text=GTUBE, number=3)[0] == "posted"

    rspamd.stop()
    assert house.take(mail(author="wang@acme.example", text="late", number=4), TO, **wang) == ("pending", "")
    monkeypatch.setattr(read, "PATIENCE_MS", 0)
    house.due_now()
    house.run()
    assert house.states()[-1][0] == "posted"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"nonsense", b'{"action": "reject", "score": "x"}', b'{"action": "reject", "score": null}',
             b'{"action": "reject", "score": [1]}', b"[" * 100_000, b'{"score": 1}', b"\xff\xfe"]
)  # fmt: skip
def test_what_an_rspamd_says_that_we_cannot_read_is_no_answer(body):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    assert_no_answer(answer)


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)  # fmt: skip
def test_an_rspamd_that_speaks_no_http_is_away(answer):
    assert_no_answer(answer)


def assert_no_answer(answer: bytes) -> None:
    from gateway.store.arrivals import Received, imagined

    arrival = imagined(
        Received(0, "smtp", "192.0.2.1", "h", "a@example.com", False, (TO,), b"From: a@example.com\r\n\r\nx\r\n")
    )
    with _says(answer) as port, pytest.raises(inspect.CheckerAway):
        inspect.rate(f"http://127.0.0.1:{port}", arrival)
