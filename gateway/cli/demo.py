"""demo: the story of a sales team, played against a real node on loopback, mail by mail."""

import json
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.panel import Panel
from rich.text import Text

from gateway.cli.app import NO, fail, out
from gateway.cli.site import write_example
from gateway.config import load as load_settings
from gateway.document import read
from gateway.store import status
from gateway.store.session import Store, open_store
from gateway.worker import now_ms

_START_S = 30
_QUIET_S = 30
_DOMAIN = "sales.example.com"
_CUSTOMER = "wang@acme.example"


@dataclass
class _Play:
    """A story under way on one node."""

    site: Path
    port: int
    store: Store
    seen: set[str] = field(default_factory=set)
    last: dict[str, EmailMessage] = field(default_factory=dict)
    sent: int = 0

    def say(self, zh: str, en: str) -> None:
        out.print()
        out.rule(f"[bold]{zh}[/]  [dim]{en}[/]", align="left", style="dim")

    def mail(self, author: str, to: str, subject: str, text: str, answers: EmailMessage | None = None) -> None:
        """Send a mail as a person would, and show it."""
        self.sent += 1
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = author, to, subject
        mail["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
        mail["Message-ID"] = f"<demo.{self.sent}.{time.time_ns()}@example.com>"
        if answers is not None:
            mail["In-Reply-To"] = mail["References"] = str(answers["Message-ID"])
        mail.set_content(text)
        with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
            client.send_message(mail)
        self._show("✉", f"{author} → {_short(to)}", subject, text, "cyan")
        self.watch()

    def event(self, **event: Any) -> str:  # noqa: ANN401 (an event is any JSON)
        """Announce an event as the record system would, and show it."""
        answer = subprocess.run(
            [sys.executable, "-m", "gateway", "-c", "gateway.yaml", "announce"],
            input=json.dumps(event), capture_output=True, text=True, check=False, timeout=_QUIET_S, cwd=self.site,
        )  # fmt: skip
        if answer.returncode:
            fail(f"the event was refused: {answer.stdout}{answer.stderr}", NO)
        answered = json.loads(answer.stdout)
        self._show("⚙", f"ERP → {event['event']}", f"{answered['record']}, {answered['alias']}", "", "magenta")
        self.watch()
        return str(answered["record"])

    def watch(self) -> None:
        """Wait until nothing waits any more, then show who got what, and why."""
        until = time.monotonic() + _QUIET_S
        while time.monotonic() < until:
            with self.store.read() as tx:
                found = status.waiting(tx, now_ms())
            if not (found.arrivals or found.messages or found.notices or found.deliveries):
                break
            time.sleep(0.05)
        else:
            fail("the node did not become quiet; what hinders it stands in node.log", NO)
        for path in sorted((self.site / "var" / "mail").glob("*/new/*"), key=lambda p: int(p.name.split(".")[1])):
            if str(path) not in self.seen:
                self.seen.add(str(path))
                self._got(path)

    def _got(self, path: Path) -> None:
        mail = message_from_bytes(path.read_bytes(), policy=default)
        reader = path.parents[1].name
        if not isinstance(mail, EmailMessage):
            return
        self.last[reader] = mail
        part = mail.get_body(("plain",))
        text = part.get_content().partition("\n-- \n")[0].partition("\n--\n")[0] if part else ""
        attached = ", ".join(filter(None, (each.get_filename() for each in mail.iter_attachments())))
        why = str(mail["X-Replygate-Reason"] or "")
        line = Text.assemble(("   → ", "green"), (reader.ljust(20), "bold green"), (" ".join(text.split())[:110], ""))
        if attached:
            line.append(f"  📎 {attached}", "yellow")
        out.print(line)
        if why:
            out.print(Text(f"     {'':20}{why}", "dim"))

    def _show(self, mark: str, who: str, subject: str, text: str, style: str) -> None:
        body = Text.assemble((subject, "bold"), ("\n" + text.strip() if text else ""))
        out.print(Panel(body, title=f"{mark} {who}", title_align="left", border_style=style, width=76))

    def reply(self, reader: str, text: str) -> None:
        """Answer what `reader` got last, as their mail program would."""
        mail = self.last[reader]
        quoted = "\n\n於 2026年11月23日 週一 … 寫道：\n\n> …"
        self.mail(reader, str(mail["Reply-To"]), str(mail["Subject"]), text + quoted, mail)


def demo(
    *, keep: Annotated[Path | None, Parameter(help="A new folder for the site; default: a temporary one.")] = None
) -> None:
    """Play the story of a sales team against a real node on loopback, and print who got what and why."""
    site = (keep or Path(tempfile.mkdtemp(prefix="replygate-demo-"))).resolve()
    write_example(site, local=True)
    gateway = site / "gateway.yaml"
    text = gateway.read_text("utf-8").replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:2424", "127.0.0.1:0")
    gateway.write_text(text, "utf-8")
    out.print(f"[bold]Replygate[/] plays a day of a sales team; the site is {site}")
    with _node(site) as port:
        settings, _ = load_settings(read(gateway), site)
        store = open_store(settings.store.url, settings.folder)
        try:
            _story(_Play(site, port, store))
        finally:
            store.close()
    out.print(f"\nThe Maildirs are in {site}/var/mail: try  mutt -f {site}/var/mail/chia@example.com", markup=False)
    out.print(f"and  replygate -c {gateway} record show S00001", markup=False)


@contextmanager
def _node(site: Path) -> Iterator[int]:
    """Run a node on free ports while the story is played; give its SMTP port."""
    with (site / "node.log").open("w") as log:
        command = [sys.executable, "-m", "gateway", "-c", str(site / "gateway.yaml"), "serve"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 (our own program)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready"):
            fail(f"the node did not start: {(site / 'node.log').read_text('utf-8')[-500:]}", NO)
        ports = dict(word.split("=", 1) for word in line.split()[1:])
        yield int(ports["smtp"].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(_START_S)
        if process.stdout:
            process.stdout.close()


def _short(address: str) -> str:
    """Return an address without the tag in it: it is the reader's alone."""
    local, _, domain = address.partition("@")
    return f"{local.partition('+')[0]}{'+…' if '+' in local else ''}@{domain}"


def _story(play: _Play) -> None:
    a, chia, cheng = "a@example.com", "chia@example.com", "cheng@example.com"
    play.say("A君建立報價單", "A creates a quotation by mail; the assistant hears at once")
    play.mail(
        a,
        f"quotations@{_DOMAIN}",
        "20 張會議椅",
        f"客戶：王小明 <{_CUSTOMER}>\n金額：120000\n幣別：TWD\n\n請於週五前出貨。",
    )
    ref = "S00001"
    play.say("賈小姐回覆", "the assistant answers; the team follows discussions")
    play.reply(chia, "收到，我來安排。")
    play.say("內部備註", "an internal note: only those who follow notes, never a customer")
    play.mail(a, f"{ref.lower()}-note@{_DOMAIN}", "毛利", "毛利只有 8%，不要再降價。")
    play.say("報價單送出", "the quotation is sent: the customer gets it with the PDF")
    (play.site / "quote.pdf").write_bytes(b"%PDF-1.4\n% a quotation of the demo\n")
    play.event(
        event="quotation.sent", ref=ref, actor="a", body="請參考附件的報價單。",
        attachments=["quote.pdf"],
    )  # fmt: skip
    play.say("客戶回信", "the customer answers from any mail client")
    play.reply(_CUSTOMER, "可以打九折嗎？")
    play.say("A君回覆客戶", "the salesperson's answer reaches the customer")
    play.reply(a, "可以，九折沒問題。")
    play.say("報價單確認", "the order is confirmed: the manager hears; the customer follows from now on")
    play.event(event="quotation.confirmed", ref=ref, actor="a")
    play.mail(chia, f"{ref.lower()}@{_DOMAIN}", "出貨", "下週三出貨。")
    play.say("商機", "leads: created by a stranger's mail, stage, won")
    play.mail("stranger@new.example", f"leads@{_DOMAIN}", "Need 50 desks", "Please call me: 02-1234")
    play.event(event="lead.stage", ref="L00001", fields={"stage": "qualified"}, actor="b")
    play.event(event="lead.won", ref="L00001", actor="b")
    play.say("發票", "invoices: created, validated (the customer gets it), paid")
    play.event(
        event="invoice.created", title="20 張會議椅", origin=ref, customer={"email": _CUSTOMER}, actor="chia",
        fields={"amount": "108000", "currency": "TWD"},
    )  # fmt: skip
    play.event(event="invoice.validated", ref="I00001", actor="chia")
    play.event(event="invoice.paid", ref="I00001")
    play.say("陌生人", "a stranger who writes to the record is held, and the salesperson told")
    play.mail("x@evil.example", f"{ref.lower()}@{_DOMAIN}", "hello", "let me in")
    if cheng not in play.last:
        fail("the manager never heard of the order", NO)
