"""Row C04 of the catalogue, seen from outside: a node that handles hostile mail starts nothing and asks nobody.

strace follows a real node with all its threads while hostile mails come in by SMTP, are posted, worded and handed
to a Maildir, and the PDF of a hostile quotation is made. Who sends is trusted by address, so that no DNS is asked.
"""
# ruff: noqa: N802 (rows have capital names)

import base64
import json
import socket
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from gateway.notify import pdf
from tests.decide.test_content_rows import FAR, PAYLOADS
from tests.kit.client import Client
from tests.kit.house import D, calm_rules
from tests.kit.node import replygate, write_site
from tests.kit.traced import TracedNode, need_strace, trace_python

TO = f"s00001@{D}"
WANG = "wang@acme.example"


@pytest.fixture
def bait():
    """The URL of a door that would answer, on loopback: somebody who asks is somebody who connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"


def part(kind: str, content: str, name: str = "") -> str:
    """Return a part of a mail: a text, or with a name a file."""
    if not name:
        return f"--b\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{content}\r\n"
    octets = base64.encodebytes(content.encode()).decode().replace("\n", "\r\n")
    head = f"Content-Type: {kind}; name={name}\r\nContent-Disposition: attachment; filename={name}\r\n"
    return f"--b\r\n{head}Content-Transfer-Encoding: base64\r\n\r\n{octets}\r\n"


def mail(number: int, parts: list[str], subject: str = "chairs", author: str = WANG, text: str = "") -> bytes:
    head = f"From: {author}\r\nTo: {TO}\r\nSubject: {subject}\r\nMessage-ID: <f{number}@x>\r\nMIME-Version: 1.0\r\n"
    body = "".join([part("text/plain", text)] * bool(text) + parts) + "--b--\r\n"
    return (head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body).encode("utf-8", "surrogateescape")


def files(url: str, secret: Path) -> list[str]:
    """Return files that would have a reader fetch `url`, open `secret` or start a program, each as a part."""
    entity = (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "{url}"><!ENTITY b SYSTEM "file://{secret}"><!ENTITY % p SYSTEM "{url}">%p;]>'
    )
    svg = f'{entity}<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/><text>&a;&b;</text></svg>'
    return [
        part("text/html", f'{entity}<link rel=stylesheet href="{url}"><img src="{url}"><p>&a;&b;</p>'),
        part("application/xhtml+xml", f"{entity}<html><body>&a;&b;</body></html>"),
        part("text/html", f'<?xml-stylesheet href="{url}"?><iframe src="file://{secret}"></iframe>'),
        part("image/svg+xml", svg, "drawing.svg"),
        part("application/xml", f"{entity}<x>&a;&b;</x>", "data.xml"),
        part("text/xml", f'<x xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{url}"/></x>', "x.xml"),
        part(
            "application/pdf", f"%PDF-1.4\n1 0 obj<</S/URI/URI({url})/OpenAction<</S/Launch/F(/bin/true)>>>>", "a.pdf"
        ),
        part("application/postscript", "%!PS\n(%pipe%true) (w) file", "a.ps"),
        part("text/calendar; method=REQUEST", f"BEGIN:VCALENDAR\r\nATTACH:{url}\r\nURL:{url}\r\nEND:VCALENDAR"),
        part("message/external-body; access-type=URL", f'Content-Type: text/plain; URL="{url}"\r\n\r\n'),
        part(f'message/external-body; access-type=local-file; name="{secret}"', "Content-Type: text/plain\r\n\r\n"),
        part("application/x-sh", "#!/bin/sh\ntrue", "run.sh"),
        part("text/plain", "`true` $(true) | true ; true & true > true", "a;true|true`true`$(true)"),
    ]


def hostile(url: str, secret: Path) -> list[bytes]:
    """Return hostile mails: each text is all there is to read, each file is alone.

    Of the texts a third, in which every element is; the neighbours see to all of them, with the network patched.
    """
    texts = [[part("text/html", each.replace(FAR, url))] for each in PAYLOADS[::3]]
    alone = [[each] for each in files(url, secret)]
    subjects = [f"<img src={url}>", f"file://{secret}", "$(true)", "`true`", "| true"]
    return [mail(n, each, subjects[n % len(subjects)]) for n, each in enumerate([*texts, *alone])]


def quotation(url: str, secret: Path) -> str:
    """Return an event whose every field would load something where it is laid out as HTML."""
    loads = f'<img src="{url}"><link rel=stylesheet href="{url}"><style>@import "{url}"</style><object data="file://{secret}">'
    fields = {
        "title": f"chairs {loads}"[:200], "salesperson": "a", "actor": "a", "team": "sales",
        "customer": {"name": "ACME", "email": WANG}, "lines": [{"name": loads, "quantity": "1", "price": "7"}],
        "fields": {"amount": "7", "currency": "TWD"},
    }  # fmt: skip
    return json.dumps({"event": "quotation.created", **fields})


def sent_pdfs(site: Path) -> int:
    found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in site.glob("var/mail/*/new/*")]
    return sum(part.get_content_type() == "application/pdf" for each in found for part in each.walk() if each["X-Replygate-Subtype"] == "quotation.sent")  # fmt: skip


def test_C04_a_node_that_handles_hostile_mails_starts_nothing_and_asks_nobody(tmp_path, bait):
    need_strace()
    site = write_site(tmp_path / "site", rules=calm_rules())
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    mails = hostile(bait, secret)
    with TracedNode(site, log="info") as node:
        replygate(site, "announce", stdin=quotation(bait, secret))
        with Client(node.ports["smtp"]) as client:
            for content in mails:
                assert client.send(WANG, [TO], content)[-1].startswith("250")
            node.quiet()
            sends = mail(9_000, [], author="a@example.com", text="/send\r\n\r\nfor you")
            assert client.send("a@example.com", [TO], sends)[-1].startswith("250")
        node.quiet(120)
        assert node.stop() == 0
    log = node.stderr.read_text("utf-8")
    assert log.count("event=decided how=posted") >= len(mails), "all of them were handled"
    assert "level=error" not in log
    if pdf.available():
        assert sent_pdfs(site) > 0, "and a PDF was made"
    trace = node.trace()
    assert len(trace.started()) == 1, "the node itself, and no other program"
    assert trace.spoke_to() == []
    assert not trace.opened(secret)
    assert not any(b"CANARY" in path.read_bytes() for path in site.glob("var/mail/*/new/*"))


def test_C04_the_tracer_sees_a_thread_that_fetches_and_a_program_that_starts(tmp_path, bait):
    """What the test above looks for is found where it is."""
    need_strace()
    port = int(bait.rpartition(":")[2].partition("/")[0])
    code = f"""
import os, socket, subprocess, threading
def fetch():
    socket.create_connection(("127.0.0.1", {port})).close()
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port}))
    os.close(os.open({str(tmp_path)!r}, os.O_RDONLY))
one = threading.Thread(target=fetch); one.start(); one.join()
subprocess.run(["true"], check=True)
"""
    trace = trace_python(code, tmp_path / "trace")
    assert [each for each in trace.started() if "/true" in each]
    assert len([each for each in trace.spoke_to() if f"htons({port})" in each]) == 2
    assert trace.opened(tmp_path)
