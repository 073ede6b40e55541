"""decide/receive.py edge to edge: arrivals in, messages and dispositions out, whatever goes wrong between."""

import pytest
import sqlalchemy as sa

from gateway.decide import read, receive
from gateway.store import arrivals, lease, tables
from gateway.store.arrivals import Received
from gateway.store.session import Away
from gateway.worker import now_ms
from tests.kit.house import D, House


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path / "site")
    made.announce(title="x", salesperson="a", actor="a")
    yield made
    made.store.close()


def test_a_mail_that_cannot_be_handled_is_shunted_after_three_tries_and_the_next_goes_on(house, monkeypatch):
    real = receive.decide

    def bad(tx, desk, read):
        if "poison" in read.mail.text:
            raise RuntimeError("cannot")
        return real(tx, desk, read)

    monkeypatch.setattr(receive, "decide", bad)
    house.arrive("poison", number=1)
    house.arrive("honest", number=2)
    house.run()
    assert house.states()[1] == ("posted", "")
    for _ in range(lease.TRIES):
        house.due_now()
        house.run()
    assert house.states() == [("shunted", "fault"), ("posted", "")]
    assert ("held", "cheng@example.com") in house.notices(), "those with settings are told of a fault"


class Killed(BaseException):
    """What a kill looks like from inside: nothing behind it runs."""


def test_a_mail_that_ends_the_process_is_shunted_before_it_is_looked_at_again(house, monkeypatch):
    def deadly(_content):
        raise Killed

    monkeypatch.setattr(read, "parse", deadly)
    house.arrive("deadly")
    for _ in range(lease.DEADLY):
        with pytest.raises(Killed):
            house.receiver.step()
        house.due_now()
    house.run()
    assert house.states() == [("shunted", "fault")]


def test_a_store_that_goes_away_counts_no_try(house, monkeypatch):
    def away(_tx, _desk, _read):
        raise Away("gone")

    house.arrive("patient")
    with monkeypatch.context() as patched:
        patched.setattr(receive, "decide", away)
        for _ in range(lease.TRIES + 3):
            house.due_now()
            with pytest.raises(Away):
                house.receiver.step()
    house.due_now()
    house.run()
    assert house.states() == [("posted", "")]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff/note CANARY", "\u200b/note CANARY", "\u200e/note\nCANARY", "\u2060/備註\nCANARY", "／備註 CANARY", "/note CANARY",
    ],
)  # fmt: skip
def test_a_note_is_a_note_whatever_unseen_stands_before_it(house, text):
    house.arrive(text, head="Content-Type: text/plain; charset=utf-8\r\n")
    house.run()
    with house.store.read() as tx:
        assert list(tx.execute(sa.select(tables.message.c.subtype)).scalars())[-1] == "note"
    assert house.texts() == ["CANARY"]


@pytest.mark.parametrize(
    "text",
    [
        "Hi,\n/note CANARY",
        "*/note* CANARY",
        '"/note CANARY"',
        "⁄note CANARY",
        "\\note CANARY",
        "x\n\n> /備註 CANARY\nyes",
    ],
)
def test_what_looks_like_a_note_and_is_none_is_not_posted_and_its_author_asked(house, text):
    house.arrive(text, head="Content-Type: text/plain; charset=utf-8\r\n")
    house.run()
    assert house.texts() == []
    assert house.states() == [("done", "mistake")]
    assert ("transcript", "chia@example.com") in house.notices()


def test_hidden_html_is_no_command(house):
    html = '<p style="display:none">/unfollow</p><p>hello</p>'
    house.arrive(html, head="Content-Type: text/html; charset=utf-8\r\n")
    house.run()
    assert house.texts() == ["hello"]


def test_a_readers_tag_is_never_passed_on(house):
    tag = house.desk.addresses.alias("S00001", "", 7)
    house.arrive(f"write to {tag} please\n> Unfollow: {house.desk.addresses.alias('S00001', 'unfollow', 7)}\nok")
    house.run()
    assert house.texts() == [f"write to s00001@{D} please\n> Unfollow: s00001-unfollow@{D}\nok"]


def test_a_message_id_in_our_domain_is_no_reason_to_lose_a_mail(house):
    content = (
        f"From: chia@example.com\r\nTo: s00001@{D}\r\nMessage-ID: <20261123.ABC@{D}>\r\n\r\nimportant\r\n".encode()
    )
    received = Received(now_ms(), "smtp", "127.0.0.1", "t", "chia@example.com", True, (f"s00001@{D}",), content)
    with house.store.write() as tx:
        arrivals.keep_many(tx, [received])
    house.run()
    assert house.states() == [("posted", "")]


def test_one_who_gave_up_following_no_longer_writes_by_an_old_reply_address(house):
    from gateway.records.record import Choice
    from gateway.store import followers

    with house.store.write() as tx:
        followers.choose(tx, 1, Choice("carol@x.example", ("discussion",)))
        number = followers.reader_ids(tx, ["carol@x.example"])["carol@x.example"]
    to = str(house.desk.addresses.alias("S00001", "", number))
    house.arrive("one", to, "carol@x.example", 1, trusted=False)
    house.run()
    with house.store.write() as tx:
        followers.choose(tx, 1, Choice("carol@x.example", without=("*",)))
    house.arrive("two", to, "carol@x.example", 2, trusted=False)
    house.run()
    assert house.states() == [("posted", ""), ("held", "stranger")]
