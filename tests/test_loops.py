"""C15: two gateways that face each other, machines that answer everything, and our own mail that comes back."""
# ruff: noqa: N802 (rows have capital names)

import email
import json
import random
import threading
import time
from email.policy import default
from email.utils import formatdate

import pytest
import sqlalchemy as sa

from gateway.store import tables
from tests.decide.conftest import made, make  # noqa: F401 (fixtures)
from tests.kit.client import Client
from tests.kit.house import D, House
from tests.kit.node import ROOT, Node, write_site
from tests.kit.sink import Received
from tests.kit.story import SinkThread

SILENT_WITHIN_S = 60
EXTRA_MAX = 3
BOT = "bot@bot.example"
EAST, WEST = "east.example", "west.example"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
MONTHS = ("January", "March", "May", "August", "November", "December")


class Relay:
    """The next hop of both gateways: routes by domain, and is where the answering machine sits."""

    def __init__(self, answer) -> None:
        self.sink = SinkThread()
        self.ports: dict[str, int] = {}
        self.answer = answer
        self.answers = self.carried = 0
        self.idle = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Relay":
        self._thread.start()
        return self

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(30)
        self.sink.close()

    @property
    def done(self) -> bool:
        return self.idle.is_set() and self.carried == len(self.sink.mails)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if self.carried == len(self.sink.mails):
                self.idle.set()
                self._stopped.wait(0.02)
                continue
            self.idle.clear()
            mail = self.sink.mails[self.carried]
            self._carry(mail)
            self.carried += 1

    def _carry(self, mail: Received) -> None:
        domain = mail.recipient.rpartition("@")[2]
        if mail.recipient == BOT:
            self.answers += 1
            path, to, octets = self.answer(mail, self.answers)
            self._send(path, to, octets)
        elif domain in self.ports:
            self._send(mail.return_path, mail.recipient, mail.content)

    def _send(self, path: str, to: str, octets: bytes) -> None:
        port = self.ports.get(to.rpartition("@")[2])
        if port is not None:
            with Client(port) as client:
                client.send(path, [to], f"Received: from relay by relay; {formatdate()}\r\n".encode() + octets)


def answer(head: str, text, path: str = BOT):
    """Return what makes a machine's answer to whatever it gets."""

    def made_of(mail: Received, number: int) -> tuple[str, str, bytes]:
        got = email.message_from_bytes(mail.content, policy=default)
        to = str(got["Reply-To"] or got["From"].addresses[0].addr_spec)
        fields = (
            f"From: Bot <{BOT}>\r\nTo: {to}\r\nSubject: Re: {got['Subject']}\r\nMessage-ID: <{number}@bot.example>\r\n"
            f"In-Reply-To: {got['Message-ID']}\r\nReferences: {got['Message-ID']}\r\n{head}"
        )
        return path, to, f"{fields}\r\n{text(number)}\r\n".encode()

    return made_of


def plain(_number: int) -> str:
    return "Thank you for writing to us. Your mail has been received and will be read by a colleague of mine soon."


def dated(number: int) -> str:
    dice = random.Random(number)
    day = f"{dice.choice(DAYS)}, {dice.randint(1, 28)} {dice.choice(MONTHS)} 2026, {dice.randint(0, 23)}:{dice.randint(10, 59)}"
    return f"Ticket {dice.randrange(10**6)}: we got your mail, and shall come back to it on {day} at the latest. Your team."


MACHINES = {
    "with RFC 3834 fields": (answer("Auto-Submitted: auto-replied\r\nPrecedence: bulk\r\n", plain, ""), False),
    "without any field": (answer("", plain), False),
    "without any field, with dates": (answer("", dated), False),
    "as a colleague": (answer("", dated), True),
}


def node(folder, domain: str, relay: Relay, *, colleague: bool) -> Node:
    example = ROOT / "templates" / "site"
    gateway = (example / "gateway.local.yaml").read_text("utf-8").replace("sales.example.com", domain)
    gateway = gateway.replace("maildir:var/mail", f"'smtp://127.0.0.1:{relay.sink.port}'")
    people = (example / "people.yaml").read_text("utf-8")
    if colleague:
        people = people.replace("people:\n", f"people:\n  bot: {{name: Bot, email: {BOT}}}\n", 1)
    return Node(write_site(folder, gateway=gateway, people=people)).start()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("machine", MACHINES)
def test_C15_two_gateways_with_an_answering_machine_between_them_fall_silent(tmp_path, machine):
    answers, colleague = MACHINES[machine]
    relay = Relay(answers).start()
    nodes: dict[str, Node] = {}
    try:
        for here, there in ((EAST, WEST), (WEST, EAST)):
            made_node = nodes[here] = node(tmp_path / here, here, relay, colleague=colleague)
            relay.ports[here] = made_node.ports["smtp"]
            event = {"event": "quotation.created", "title": "chairs", "salesperson": "a", "team": "sales", "actor": "a"}
            event["customer"] = {"name": "The other side", "email": f"s00001@{there}"}
            made_node.replygate("announce", stdin=json.dumps(event))
            made_node.replygate("follow", "S00001", "customer", "discussion", check=False)
            made_node.replygate("follow", "S00001", f"s00001@{there}", "discussion")
            made_node.replygate("follow", "S00001", "bot" if colleague else BOT, "discussion")
        first = f"From: a@example.com\r\nTo: s00001@{EAST}\r\nSubject: x\r\nMessage-ID: <first@x>\r\n\r\nHere is our offer.\r\n"
        with Client(relay.ports[EAST]) as client:
            assert client.send("a@example.com", [f"s00001@{EAST}"], first.encode())[-1].startswith("250")
        began = time.monotonic()
        wait_until_silent(nodes.values(), relay, began + SILENT_WITHIN_S)
        assert relay.answers, "the machine was there"
        for domain, each in nodes.items():
            heard, said = spoken(each)
            assert any("Here is our offer." in text for text in heard), f"what a person wrote arrived at {domain}"
            assert len(said) - 1 <= EXTRA_MAX, (domain, said)
    finally:
        for each in nodes.values():
            each.stop()
        relay.close()


def wait_until_silent(nodes, relay: Relay, until: float) -> None:
    """Wait until nothing waits anywhere and no store changes, seen three times; a deadline that passes is a loop."""
    quiet = 0
    while quiet < 3:
        assert time.monotonic() < until, f"still talking after {SILENT_WITHIN_S} s, {relay.carried} mails carried"
        busy = not relay.done or any(any(each.waiting().values()) for each in nodes)
        changed = any(each.store().wait_for_others(0.1, lambda: False) for each in nodes)
        quiet = 0 if busy or changed else quiet + 1


def spoken(each: Node) -> tuple[list[str], list[str]]:
    """Return all texts of a thread, and those that went to others: what a person wrote, and was taken for it."""
    with each.store().read() as tx:
        rows = tx.execute(sa.select(tables.message).where(tables.message.c.subtype == "discussion")).all()
    return [row.text for row in rows], [row.text for row in rows if not row.details.get("automatic")]


def test_C15_two_colleagues_with_vacation_answers_without_fields_fall_silent(made: House):  # noqa: F811
    """Each gets what the other's machine says, and answers it, on one record."""
    texts = {
        "b@example.com": lambda n: (
            f"I am travelling and shall read this on {DAYS[n % 5]} {n % 28 + 1} {MONTHS[n % 6]}. Yours, B"
        ),
        "c@example.com": lambda n: (
            f"This week I look after the fair in Taichung; back {DAYS[n % 5]} the {n % 28 + 1}th. C"
        ),
    }
    made.write("a@example.com", f"s00001@{D}", "Here is our offer.")
    seen = answers = 0
    for _ in range(12):
        sent = made.sent()
        new, seen = sent[seen:], len(sent)
        for each in [each for each in new if each.to in texts and each["Message-ID"].startswith("<s00001.")]:
            answers += 1
            head = f"In-Reply-To: {each['Message-ID']}"
            made.write(each.to, each["Reply-To"], texts[each.to](answers), head=head)
    assert made.sent()[seen:] == []
    said = [row for row in made.messages() if row.subtype == "discussion" and not row.details.get("automatic")]
    assert 1 <= len(said) - 1 <= EXTRA_MAX, [row.text for row in said]


@pytest.mark.parametrize("short", ["收到", "OK", "Thanks!", "好的，謝謝"])
def test_C15_people_who_answer_shortly_and_at_once_are_no_machines(made: House, short):  # noqa: F811
    made.follow("S00001", "wang@acme.example")
    for n in range(2):
        made.write("a@example.com", f"s00001@{D}", f"Part {n} of the offer is on its way to you, dear Mr. Wang.")
        last = [each for each in made.sent() if each.to == "wang@acme.example"][-1]
        made.write("wang@acme.example", last["Reply-To"], short, head=f"In-Reply-To: {last['Message-ID']}")
    said = [row for row in made.messages() if row.author_email == "wang@acme.example"]
    assert [bool(row.details.get("automatic")) for row in said] == [False, False]


def test_C15_a_person_who_answers_several_questions_at_once_is_no_machine(made: House):  # noqa: F811
    made.follow("S00001", "wang@acme.example")
    answers = (
        "We take the grey ones, twenty pieces, delivered to our office in Hsinchu before the new year please.",
        "The address is No. 7, Park Avenue II, and somebody is there every day from nine to five o'clock.",
        "For the invoice please use our tax number, and write the order number on it so that we find it.",
    )
    for text in answers:
        made.write("a@example.com", f"s00001@{D}", "And what about this one, dear Mr. Wang?")
        last = [each for each in made.sent() if each.to == "wang@acme.example"][-1]
        made.write("wang@acme.example", last["Reply-To"], text, head=f"In-Reply-To: {last['Message-ID']}")
    assert not [row for row in made.messages() if row.details.get("automatic")]


def test_C15_our_own_mail_that_comes_back_is_dropped_whatever_became_of_its_message_id(made: House):  # noqa: F811
    made.follow("S00001", "wang@acme.example")
    made.write("a@example.com", f"s00001@{D}", "Here is our offer.")
    ours = next(each for each in made.sent() if each.to == "wang@acme.example")
    number = ours["Message-ID"].encode()
    for octets in (
        ours.octets,
        ours.octets.replace(number, b"<another@relay.example>"),
        ours.octets.replace(number, b""),
    ):
        for to in (f"s00001@{D}", ours["Reply-To"], f"leads@{D}", f"sales@{D}", f"gateway@{D}"):
            assert made.take(octets, to, return_path="wang@acme.example", trusted=True) == ("discarded", "own mail")


def test_C15_a_mail_that_went_through_more_than_fifty_hosts_is_held(made: House):  # noqa: F811
    def through(hosts: int) -> tuple[str, str]:
        head = "\n".join(f"Received: from a by b; {formatdate()}" for _ in range(hosts))
        return made.write("a@example.com", f"s00001@{D}", f"{hosts} hosts", head=head)

    assert through(50) == ("posted", "")
    assert through(51) == ("held", "hops")
