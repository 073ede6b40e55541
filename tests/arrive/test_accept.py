"""Who is ours, and 250 means kept: faults, a store that is away, LMTP's answers, commits that are shared."""

import socket
import threading
from contextlib import contextmanager

import pytest
import structlog
from sqlalchemy import event

from gateway.arrive import accept
from gateway.arrive import smtp as arrive
from gateway.mail.tag import Keys
from gateway.store import arrivals
from gateway.store.session import Away
from tests.kit.client import Client, stuffed

D = "sales.example.com"
TO = f"s00001@{D}"
TWO = [TO, f"s00002@{D}"]
MAIL = b"From: a@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
AWAY = "451 4.3.0 cannot take mail just now, try again later / 暫時無法收信，請稍後再試"
UNKNOWN = "550 5.1.1 no such address here / 沒有這個地址"
SECRET = "postgres://user:secret@db/x"


def fault(*_args, **_more):
    raise RuntimeError(f"db down: {SECRET}")


async def async_fault(*_args, **_more):
    raise RuntimeError(f"db down: {SECRET}")


def ask(client, recipient):
    client.say("RSET")
    client.say("MAIL FROM:<a@example.com>")
    return client.say(f"RCPT TO:<{recipient}>")


# -- who is ours


@pytest.mark.parametrize(
    "local",
    ["s00001", "S00001", "s00001-note", "s00001-follow", "s00001-unfollow", "quotations", "leads",
     "sales", "Sales", "gateway", "postmaster", "abuse"],
)  # fmt: skip
def test_what_is_ours_is_taken(smtp, local):
    assert ask(smtp, f"{local}@{D}").startswith("250")


@pytest.mark.parametrize("recipient", ["x@example.com", "s00001@example.com", "s00001", f"a@b@{D}.evil.example"])
def test_what_is_not_ours_is_550_5_1_2(smtp, recipient):
    assert ask(smtp, recipient).startswith(("550 5.1.2", "553", "501"))


def test_an_address_elsewhere_is_told_that_we_do_not_relay(smtp):
    assert ask(smtp, "x@example.com") == str(accept.NOT_OURS)


def strangers_tag(house, subject, reader=1):
    from gateway.alias import Addresses

    return Addresses(D, Keys(house.addresses.keys.current, {house.addresses.keys.current: b"not ours" * 4})).alias(
        subject, "", reader
    )


def test_whatever_is_not_ours_here_gets_the_same_answer(house, smtp):
    own = str(house.addresses.alias("S00001", "", 7))
    local, _, tag = own.partition("@")[0].partition("+")
    changed = tag[:-1] + ("a" if tag[-1] != "a" else "b")
    asked = [
        f"s09999@{D}", f"nobody@{D}", f"s00001+{changed}@{D}", f"s00002+{tag}@{D}", f"s00001-note+{'a' * 25}@{D}",
        str(strangers_tag(house, "S00001")), f"s09999+{tag}@{D}", f"{local}+short@{D}", f"s00001-nothing@{D}",
        f"bounce+1.{tag}@{D}", f"bounce+2.{str(house.addresses.return_path(1)).partition('.')[2]}", f"bounce@{D}",
    ]  # fmt: skip
    assert {ask(smtp, each) for each in asked} == {UNKNOWN}
    assert ask(smtp, own).startswith("250")


def test_a_good_tag_for_a_record_that_is_not_there_tells_nothing_more(house, smtp):
    assert ask(smtp, str(house.addresses.alias("S09999", "", 1))) == UNKNOWN


def test_a_tag_in_capitals_is_the_same_tag(house, smtp):
    assert ask(smtp, str(house.addresses.alias("S00001", "", 7)).upper()).startswith("250")


def test_our_return_path_is_ours(house, smtp):
    assert ask(smtp, str(house.addresses.return_path(42))).startswith("250")


def test_a_record_made_later_is_ours_then(house, smtp):
    from gateway.records.record import Record
    from gateway.store import records

    assert ask(smtp, f"s00003@{D}") == UNKNOWN
    with house.store.write() as tx:
        records.create(tx, Record(0, "quotation", "S00003", "new", "draft"), 1)
    assert ask(smtp, f"s00003@{D}").startswith("250")


def test_what_another_thread_forgets_meanwhile_is_still_ours(house, smtp):
    class Forgotten(dict):
        def __setitem__(self, *_known):
            """Another program changed the store just now."""

    house.acceptor._known = Forgotten()
    assert ask(smtp, f"s00001@{D}").startswith("250")
    assert ask(smtp, str(house.addresses.alias("S00001", "", 7))).startswith("250")
    assert ask(smtp, f"s09999@{D}") == UNKNOWN


def test_one_bad_recipient_does_not_spoil_the_others(house, smtp):
    assert smtp.send("a@example.com", [f"s09999@{D}", TO], MAIL) == [UNKNOWN, "250 2.0.0 kept"]
    assert house.kept() == [("a@example.com", [TO], MAIL)]


# -- faults are 451 and say nothing


def test_a_fault_at_rcpt_is_451_without_detail(house, smtp, monkeypatch):
    monkeypatch.setattr(house.acceptor, "recipient", async_fault)
    assert ask(smtp, TO) == AWAY
    monkeypatch.undo()
    assert ask(smtp, TO).startswith("250")


def test_a_fault_at_mail_is_451_without_detail(house, smtp, monkeypatch):
    monkeypatch.setattr(house.acceptor, "room", fault)
    assert smtp.say("MAIL FROM:<a@example.com>") == AWAY


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
def test_a_fault_while_keeping_is_451_for_each_recipient(house, monkeypatch, name):
    monkeypatch.setattr(accept.arrivals, "keep_many", fault)
    with Client(house.open(name), lmtp=name == "lmtp") as client:
        assert client.send("a@example.com", TWO, MAIL) == [AWAY] * (2 if name == "lmtp" else 1)
        assert client.say("NOOP").startswith("250")
    assert house.kept() == []


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
def test_a_fault_after_data_is_451_for_each_recipient(house, monkeypatch, name):
    monkeypatch.setattr(house.acceptor, "keep", async_fault)
    with Client(house.open(name), lmtp=name == "lmtp", timeout=10) as client:
        assert client.send("a@example.com", TWO, MAIL) == [AWAY] * (2 if name == "lmtp" else 1)
        assert client.say("NOOP").startswith("250")


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
def test_a_spool_that_fails_in_data_never_makes_commands_of_the_mail(house, monkeypatch, name):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrive.Incoming, "add", full)
    evil = f"\r\nRSET\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<{TO}>\r\nDATA\r\nevil\r\n".encode()
    with Client(house.open(name), lmtp=name == "lmtp") as client:
        answers = client.send("good@example.com", TWO, b"x" * 200_000 + evil)
        assert answers == [AWAY] * (2 if name == "lmtp" else 1)
        assert client.say("NOOP") == "250 OK"
    assert house.kept() == []
    assert house.doors.shared.in_flight == 0


def test_a_spool_that_fails_is_451_once_the_mail_has_ended(smtp, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrive.Incoming, "add", full)
    assert smtp.send("a@example.com", [TO], MAIL) == [AWAY]
    monkeypatch.undo()
    assert smtp.send("a@example.com", [TO], MAIL) == ["250 2.0.0 kept"]


def test_no_answer_and_no_log_line_says_the_secret_of_a_fault_to_the_peer(house, smtp, monkeypatch):
    monkeypatch.setattr(house.acceptor, "recipient", async_fault)
    said = [ask(smtp, TO), smtp.say("VRFY x"), smtp.say("HELP"), smtp.say("DATA")]
    assert not any("secret" in each or "RuntimeError" in each for each in said)


# -- the store away


@contextmanager
def away():
    raise Away("cannot connect")
    yield


def test_a_store_that_is_away_is_451_at_rcpt_and_the_words_still_work(house, smtp, monkeypatch):
    monkeypatch.setattr(house.store, "read", away)
    assert ask(smtp, TO) == AWAY
    assert ask(smtp, f"quotations@{D}").startswith("250")


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
def test_a_store_that_is_away_is_451_after_data_and_nothing_was_said_yes_to(house, monkeypatch, name):
    monkeypatch.setattr(house.store, "write", away)
    with Client(house.open(name), lmtp=name == "lmtp") as client:
        assert client.send("a@example.com", TWO, MAIL) == [AWAY] * (2 if name == "lmtp" else 1)
        assert house.kept() == []
        assert house.arrived == 0
        monkeypatch.undo()
        assert client.send("a@example.com", TWO, MAIL) == ["250 2.0.0 kept"] * (2 if name == "lmtp" else 1)
    assert len(house.kept()) == 1


def test_the_yes_comes_after_the_commit(house, smtp, monkeypatch):
    """With the commit held back, nothing is said."""
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    smtp.say("MAIL FROM:<a@example.com>")
    smtp.say(f"RCPT TO:<{TO}>")
    smtp.say("DATA")
    smtp.socket.sendall(stuffed(MAIL))
    house.until(lambda: house.acceptor._keeping is not None)
    smtp.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        smtp.socket.recv(1)
    assert house.kept() == []
    go_on.set()
    smtp.socket.settimeout(60)
    assert smtp.socket.recv(100).startswith(b"250")
    assert len(house.kept()) == 1


def test_a_commit_that_fails_is_451(house, smtp):
    def fail(_connection):
        raise RuntimeError(SECRET)

    event.listen(house.store._writer, "commit", fail)
    try:
        assert smtp.send("a@example.com", [TO], MAIL) == [AWAY]
    finally:
        event.remove(house.store._writer, "commit", fail)
    assert house.kept() == []


# -- LMTP


def test_lmtp_answers_once_for_each_recipient(lmtp):
    recipients = [*TWO, f"s09999@{D}", f"quotations@{D}"]
    assert lmtp.send("a@example.com", recipients, MAIL) == [UNKNOWN] + ["250 2.0.0 kept"] * 3
    assert lmtp.say("NOOP").startswith("250")


def test_lmtp_answers_twice_for_an_address_named_twice(lmtp):
    assert lmtp.send("a@example.com", [TO, TO], MAIL) == ["250 2.0.0 kept"] * 2


def test_lmtp_says_too_large_to_each_recipient(house):
    with Client(house.open("lmtp", max_size=10_000), lmtp=True) as client:
        assert client.send("a@example.com", TWO, b"x" * 10_001) == [str(accept.TOO_LARGE)] * 2
        assert client.say("NOOP").startswith("250")
    assert house.kept() == []


def test_lmtp_with_no_recipient_left_is_503(lmtp):
    lmtp.say("MAIL FROM:<a@example.com>")
    lmtp.say(f"RCPT TO:<s09999@{D}>")
    assert lmtp.say("DATA").startswith("503")
    assert lmtp.say("NOOP").startswith("250")


def test_lmtp_is_greeted_with_lhlo_only(lmtp):
    assert lmtp.greeting == "220 sales.example.com Replygate LMTP"
    assert lmtp.say("EHLO x").startswith("500")
    assert lmtp.say("HELO x").startswith("500")


# -- a client that leaves


def test_a_client_that_leaves_right_after_the_final_dot_loses_nothing(house, monkeypatch):
    """The commit is under way when the peer is gone: it is kept, and once."""
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    with Client(house.open()) as client:
        client.say("MAIL FROM:<a@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        client.socket.sendall(stuffed(MAIL))
        house.until(lambda: house.acceptor._keeping is not None)
    house.until(lambda: not house.doors.shared.sessions)
    go_on.set()
    house.until(house.kept)
    house.run(house.acceptor.drained())
    assert house.kept() == [("a@example.com", [TO], MAIL)]
    assert house.arrived == 1


@pytest.mark.parametrize("name", ["smtp", "lmtp"])
def test_a_yes_and_a_kept_mail_go_together_when_the_client_sends_its_eof_along(house, everything, name):
    with Client(house.open(name), lmtp=name == "lmtp") as client:
        client.say("MAIL FROM:<a@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        client.socket.sendall(stuffed(MAIL))
        client.socket.shutdown(socket.SHUT_WR)
        said_yes = b"250" in everything(client.socket)
    house.until(lambda: not house.doors.shared.sessions)
    house.run(house.acceptor.drained())
    kept = len(house.kept())
    assert kept == 1 if said_yes else kept <= 1


def test_a_mail_that_waits_behind_a_commit_is_kept_when_its_client_leaves(house, monkeypatch):
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    port = house.open()
    for n in range(3):
        with Client(port) as client:
            client.say("MAIL FROM:<a@example.com>")
            client.say(f"RCPT TO:<{TO}>")
            client.say("DATA")
            client.socket.sendall(stuffed(MAIL + b"%d\r\n" % n))
            house.until(lambda n=n: house.acceptor._keeping is not None and len(house.acceptor._waiting) == max(n, 0))
    house.until(lambda: not house.doors.shared.sessions)
    go_on.set()
    house.until(lambda: len(house.kept()) == 3)


def test_a_large_mail_whose_client_left_is_kept_whole(house, monkeypatch):
    """The spool file must outlive the session that filled it."""
    go_on = threading.Event()
    commit = house.acceptor._commit
    monkeypatch.setattr(house.acceptor, "_commit", lambda group: (go_on.wait(60), commit(group))[1])
    mail = (b"x" * 70 + b"\r\n") * 3_000
    with Client(house.open()) as client:
        client.say("MAIL FROM:<a@example.com>")
        client.say(f"RCPT TO:<{TO}>")
        client.say("DATA")
        client.socket.sendall(stuffed(mail))
        house.until(lambda: house.acceptor._keeping is not None)
    house.until(lambda: not house.doors.shared.sessions)
    go_on.set()
    house.run(house.acceptor.drained())
    assert [content for _, _, content in house.kept()] == [mail]


# -- shared commits


class Gate:
    """Holds commits back until so many mails have gathered."""

    def __init__(self, house, monkeypatch):
        self.house, self.commit = house, house.acceptor._commit
        self.opened = threading.Event()
        self.groups = []
        monkeypatch.setattr(house.acceptor, "_commit", self.held)

    def held(self, group):
        self.groups.append(len(group))
        self.opened.wait(60)
        return self.commit(group)

    def open_at(self, mails):
        try:
            self.house.until(lambda: sum(self.groups) + len(self.house.acceptor._waiting) == mails)
        finally:
            self.opened.set()


def test_mails_that_arrive_together_share_a_commit(house, monkeypatch):
    commits = []

    def count(connection):
        commits.append(connection)

    gate = Gate(house, monkeypatch)
    event.listen(house.store._writer, "commit", count)
    port = house.open()
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(deliver(port, n))) for n in range(20)]
    for thread in threads:
        thread.start()
    gate.open_at(20)
    for thread in threads:
        thread.join(60)
    event.remove(house.store._writer, "commit", count)
    assert answers == [["250 2.0.0 kept"]] * 20
    assert len(house.kept()) == 20
    assert len(commits) == 2


def deliver(port, n):
    with Client(port) as client:
        return client.send("a@example.com", [TO], MAIL + b"%d\r\n" % n)


def test_one_mail_that_cannot_be_kept_does_not_fail_its_group(house, monkeypatch):
    keep_many = arrivals.keep_many

    def picky(tx, group):
        if any(b"poison" in each.content for each in group):
            fault()
        keep_many(tx, group)

    monkeypatch.setattr(accept.arrivals, "keep_many", picky)
    gate = Gate(house, monkeypatch)
    port = house.open()
    answers = {}
    bodies = [b"one", b"poison", b"two", b"three"]
    threads = [threading.Thread(target=lambda b=b: answers.update({b: say_body(port, b)})) for b in bodies]
    for thread in threads:
        thread.start()
    gate.open_at(4)
    for thread in threads:
        thread.join(60)
    assert answers.pop(b"poison") == [AWAY]
    assert set(map(tuple, answers.values())) == {("250 2.0.0 kept",)}
    assert len(house.kept()) == 3


def say_body(port, body):
    with Client(port) as client:
        return client.send("a@example.com", [TO], MAIL + body)


# -- logs


def test_no_log_line_holds_a_tag(house, smtp, capsys):
    with structlog.testing.capture_logs() as logged:
        own = str(house.addresses.alias("S00001", "", 7))
        path = str(house.addresses.return_path(42))
        tags = {own.partition("+")[2][:25], path.partition(".")[2][:25]}
        smtp.send("", [own, path, own.replace("s00001", "s00002")], MAIL)
        smtp.say(f"MAIL FROM:<{own}> SIZE=99999999")
        smtp.say(f"RCPT TO:<{own}")
        smtp.say(f"XRCPT {own}")
        smtp.say(f"VRFY {own}")
    printed = capsys.readouterr()
    said = repr(logged) + printed.out + printed.err
    assert logged
    assert not any(tag in said.lower() for tag in tags)


def test_aiosmtpd_is_kept_from_logging_every_command():
    import logging

    from gateway import maillog

    before = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        maillog.configure()
        assert logging.getLogger("mail.log").getEffectiveLevel() >= logging.ERROR
    finally:
        structlog.configure(**before[0])
        logging.getLogger().handlers[:] = before[1]
        logging.getLogger().setLevel(before[2])
        logging.getLogger("mail.log").setLevel(logging.NOTSET)


def test_a_spool_left_by_a_node_that_died_is_emptied(house):
    left = house.acceptor.spool / "left"
    left.write_bytes(b"x")
    accept.Acceptor(house.store, house.site, house.addresses, house.acceptor._traffic, lambda: None)
    assert not left.exists()
