"""From the outbox to a next hop that misbehaves: what became of each recipient is exact."""

import asyncio
import itertools
import re
import threading

import pytest
import sqlalchemy as sa
import structlog

from gateway import config
from gateway.mail.canonical import simple_body_hash
from gateway.send import deliver, retry
from gateway.send.sign import load_key, make_key
from gateway.store import notices, outbox
from gateway.store.outbox import NewDelivery
from gateway.store.session import Conflict
from gateway.store.tables import delivery, message, notice
from gateway.worker import now_ms

VERBS = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"]
BODY = b"text\r\n.\r\n..\r\n.x\r\nend\r\n"


def at(verb, reply):
    """Return a behaviour that gives one reply at one verb."""
    return lambda said, _argument: reply if said == verb else None


def test_a_delivery_is_handed_over_octet_for_octet(bench):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made]) == ["sent"]
    (mail,) = bench.mails
    header = bench.row(made).header
    assert mail.content == header + b"\r\n" + BODY
    assert mail.recipient == "x@example.com"
    assert mail.return_path == str(bench.addresses.return_path(made))
    assert bench.row(made).answer == "250 2.0.0 kept"
    assert bench.attempts(made) == ["250 2.0.0 kept"]


def test_a_delivery_with_the_null_return_path_has_none(bench):
    (made,) = bench.queue("x@example.com", return_path=False)
    bench.send([made])
    assert bench.mails[0].return_path == ""


@pytest.mark.parametrize("verb", VERBS)
def test_a_4xx_defers(bench, verb):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], at(verb, "451 4.3.2 later")) == ["deferred"]
    row = bench.row(made)
    assert row.attempts == 1
    assert row.due_at > row.created_at
    assert row.lease_until == 0
    assert row.answer[0] == "4"
    assert bench.notices() == []
    assert bench.mails == []


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
def test_a_5xx_to_the_mail_or_its_recipient_is_final(bench, verb):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], at(verb, "550 5.1.1 nobody")) == ["failed"]
    assert bench.row(made).answer == "550 5.1.1 nobody"
    assert bench.row(made).settled_at is not None


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
def test_a_5xx_before_a_mail_is_begun_is_not_about_the_mail(bench, verb):
    (made,) = bench.queue("x@example.com")

    def refuses(said, _argument):
        return "554 5.7.1 go away" if said in {verb, "HELO"} and (verb in (said, "EHLO")) else None

    assert bench.send([made], refuses) == ["deferred"]
    assert bench.notices() == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_hang_up_defers(bench, verb):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], at(verb, "")) == ["deferred"]
    assert bench.row(made).answer.startswith("451 4.4.")
    assert bench.mails == []


@pytest.mark.parametrize("reply", ["hello", "999", "25", "\0", "xyz abc", "354 go on", "199 what", "600 5.0.0 no"])
def test_what_is_no_answer_to_the_final_dot_defers_and_never_stops_the_next(bench, reply):
    made = bench.queue("x@example.com", "y@example.com")

    def strange(verb, argument):
        return reply if verb == "DOT" and argument == "x@example.com" else None

    assert bench.send(made, strange) == ["deferred", "sent"]


def test_a_yes_without_a_text_is_a_yes(bench):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], at("DOT", "250")) == ["sent"]


@pytest.mark.parametrize("reply", ["250 2.0.0 ok", "220 hello", "25"])
def test_a_server_that_says_yes_to_data_before_it_had_the_mail_took_nothing(bench, reply):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], at("DATA", reply)) == ["deferred"]
    assert bench.mails == []


def test_nobody_there_defers(bench):
    (made,) = bench.queue("x@example.com")
    assert bench.send([made], url="smtp://127.0.0.1:1") == ["deferred"]
    assert bench.row(made).answer.startswith("451 4.4.1 cannot connect")


def test_the_outcome_is_each_recipients_own(bench):
    replies = {"b@example.com": "550 5.1.1 nobody", "c@example.com": "450 4.2.1 full", "d@example.com": ""}
    made = bench.queue("a@example.com", *replies, "e@example.com")
    states = bench.send(made, lambda verb, argument: replies.get(argument) if verb == "RCPT" else None)
    assert states == ["sent", "failed", "deferred", "deferred", "sent"]
    assert sorted(mail.recipient for mail in bench.mails) == ["a@example.com", "e@example.com"]


def test_each_mail_holds_one_recipient_only(bench):
    made = bench.queue("a@example.com", "b@example.com", "c@example.com")
    bench.send(made)
    assert bench.verbs.count("RCPT") == bench.verbs.count("MAIL") == bench.verbs.count("DATA") == 3


def test_connections_are_kept(bench):
    made = bench.queue(*(f"p{n}@example.com" for n in range(60)))
    assert set(bench.send(made)) == {"sent"}
    assert bench.connects <= deliver.CONNECTIONS
    assert len({mail.recipient for mail in bench.mails}) == len(bench.mails) == 60


def test_a_refused_recipient_does_not_cost_the_connection(bench):
    made = bench.queue(*(f"p{n}@example.com" for n in range(30)))
    assert set(bench.send(made, at("RCPT", "550 5.1.1 nobody"))) == {"failed"}
    assert bench.connects <= deliver.CONNECTIONS
    assert bench.verbs.count("RSET") == 30


def test_421_costs_the_connection(bench):
    made = bench.queue("a@example.com", "b@example.com", "c@example.com", "d@example.com")
    assert set(bench.send(made, at("MAIL", "421 4.3.2 closing"))) == {"deferred"}
    assert bench.connects == 4


def test_the_same_octets_go_again_at_a_retry(bench, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(make_key("rsa"))
    path.chmod(0o600)
    keys = [load_key(path, "gw1", "sales.example.com")]
    (made,) = bench.queue("x@example.com")
    seen = []

    def first_lost(verb, _argument):
        return "451 4.3.0 later" if verb == "DOT" and not seen else None

    bench.send(
        [made],
        lambda verb, argument: (first_lost(verb, argument), seen.append(1) if verb == "DOT" else 0)[0],
        keys=keys,
    )
    assert bench.state(made) == "deferred"
    bench.change(made, due_at=0)
    bench.send([made], keys=keys)
    bench.change(made, state="queued", due_at=0)
    bench.send([made], keys=keys)
    one, two = (mail.content for mail in bench.mails)
    assert one == two
    assert one.startswith(b"DKIM-Signature:")


def test_what_is_sent_verifies(bench, tmp_path):
    import dkim

    path = tmp_path / "key"
    path.write_bytes(make_key("rsa"))
    path.chmod(0o600)
    key = load_key(path, "gw1", "sales.example.com")
    bench.send(bench.queue("x@example.com"), keys=[key])
    assert dkim.verify(bench.mails[0].content, dnsfunc=lambda _name, timeout=5: key.dns()[1].encode())  # noqa: ARG005


# -- the author is told


def test_the_author_is_told_of_a_final_failure_once(bench):
    (made,) = bench.queue("wang@acme.example", outsider=True)
    bench.send([made], at("RCPT", "550 5.1.1 nobody"))
    (told,) = bench.notices()
    assert (told.kind, told.who, told.email) == ("failed", "a", "a@example.com")
    assert told.data["recipient"] == "wang@acme.example"
    assert told.data["answer"] == "550 5.1.1 nobody"
    assert bench.settled == 1


def test_nobody_is_told_twice_when_a_settled_delivery_is_settled_again(bench):
    (made,) = bench.queue("wang@acme.example", outsider=True)
    with bench.store.write() as tx:
        (claimed,) = outbox.claim(tx, now_ms(), 10)
    outcome = outbox.Outcome(claimed, "failed", "550 5.1.1 nobody")
    stale = outbox.Outcome(outbox.Delivery(**{**as_dict(claimed), "claim": old(claimed.claim)}), "failed", "550")
    sender_settles(bench, [outcome])
    sender_settles(bench, [stale])
    assert len(bench.notices()) == 1
    assert bench.attempts(made) == ["550 5.1.1 nobody"]


def as_dict(claimed):
    return {name: getattr(claimed, name) for name in claimed.__slots__}


def old(claim):
    return type(claim)(claim.id, claim.fence - 1, claim.attempts)


def sender_settles(bench, outcomes):
    async def settle():
        hop = bench.hop("smtp://127.0.0.1:1")
        deliver.Sender(bench.store, hop, lambda: bench.site.people, lambda: None)._settle(outcomes)

    asyncio.run(settle())


def test_a_failed_notice_makes_no_further_notice(bench):
    with bench.store.write() as tx:
        kept = outbox.keep_body(tx, BODY, simple_body_hash(BODY))
        new = NewDelivery(None, True, False, "a", "a@example.com", b"Subject: x\r\n", kept, return_path=False)
        outbox.queue(tx, [new], now_ms())
    assert bench.send([1], at("RCPT", "550 5.1.1 nobody")) == ["failed"]
    assert bench.notices() == []


def test_the_author_is_told_of_a_delay_after_four_hours_and_once(bench):
    (made,) = bench.queue("wang@acme.example", outsider=True)
    bench.change(made, created_at=now_ms() - retry.DELAY_TOLD_MS - 1)
    bench.send([made], at("RCPT", "450 4.2.1 full"))
    bench.change(made, due_at=0)
    bench.send([made], at("RCPT", "450 4.2.1 full"))
    assert [told.kind for told in bench.notices()] == ["delayed"]
    assert bench.row(made).attempts == 2
    assert bench.attempts(made) == ["450 4.2.1 full"] * 2


def test_after_five_days_it_expires_and_the_author_is_told(bench):
    (made,) = bench.queue("wang@acme.example", outsider=True)
    bench.change(made, created_at=now_ms() - retry.LIFETIME_MS - 1, told=True)
    assert bench.send([made], at("RCPT", "450 4.2.1 full")) == ["expired"]
    assert [told.kind for told in bench.notices()] == ["failed"]


def test_pauses_grow_from_try_to_try(bench):
    (made,) = bench.queue("x@example.com")
    pauses = []
    for _ in range(4):
        bench.change(made, due_at=0)
        bench.send([made], at("RCPT", "450 4.2.1 full"))
        row = bench.row(made)
        with bench.store.read() as tx:
            tried = outbox.attempts(tx, made)[-1][0]
        pauses.append(row.due_at - tried)
    assert all(later > earlier * 1.1 for earlier, later in itertools.pairwise(pauses))


# -- leases


def test_a_lease_lost_before_data_sends_nothing(bench, monkeypatch):
    monkeypatch.setattr(deliver, "LEASE_MARGIN_S", outbox.LEASE / 1000)
    (made,) = bench.queue("x@example.com")
    assert bench.send([made]) == ["deferred"]
    assert bench.mails == []
    assert "DATA" not in bench.verbs
    assert bench.row(made).answer.startswith("451 4.4.4")


def test_a_claim_that_another_took_settles_nothing(bench):
    (made,) = bench.queue("x@example.com")
    taken = []

    def another_claims(verb, _argument):
        if verb == "MAIL":
            bench.change(made, fence=99, lease_until=now_ms() + 60_000)
            taken.append(1)

    bench.send([made], another_claims, done=lambda: bool(taken) and bool(bench.mails))
    assert bench.state(made) == "queued"
    assert bench.attempts(made) == []


def test_a_sender_that_stops_hands_its_claims_back(bench, monkeypatch):
    monkeypatch.setattr(deliver, "CONNECTIONS", 0)
    made = bench.queue("x@example.com", "y@example.com")
    bench.send(made, done=lambda: bench.row(made[1]).lease_until > 0)
    assert [bench.row(each).lease_until for each in made] == [0, 0]
    assert [bench.row(each).attempts for each in made] == [0, 0]
    assert bench.states(made) == ["queued", "queued"]


def test_a_sender_that_stops_while_it_claims_hands_that_back(bench, monkeypatch):
    monkeypatch.setattr(deliver, "CONNECTIONS", 0)
    claim, stop, stopping = deliver.Sender._claim, deliver.Sender.stop, threading.Event()

    def slow_claim(sender, limit):
        claimed = claim(sender, limit)
        assert stopping.wait(60)
        return claimed

    async def stop_soon(sender):
        ended = asyncio.ensure_future(stop(sender))
        await asyncio.sleep(0)  # let it begin
        stopping.set()
        await ended

    monkeypatch.setattr(deliver.Sender, "_claim", slow_claim)
    monkeypatch.setattr(deliver.Sender, "stop", stop_soon)
    made = bench.queue("x@example.com")
    bench.send(made, done=lambda: bench.row(made[0]).lease_until > 0)
    assert bench.row(made[0]).lease_until == 0


# -- law 5


def test_an_internal_delivery_goes_to_somebody_inside(bench):
    (made,) = bench.queue("b@example.com", internal=True)
    assert bench.send([made]) == ["sent"]


@pytest.mark.parametrize("recipient", ["wang@acme.example", "gone@example.com"])
def test_an_internal_delivery_whose_recipient_is_not_inside_now_is_not_sent(bench, recipient):
    (made,) = bench.queue(recipient, internal=True)
    assert bench.send([made]) == ["failed"]
    assert bench.mails == []
    assert "RCPT" not in bench.verbs


def test_somebody_who_left_since_it_was_queued_gets_no_note(bench):
    (made,) = bench.queue("b@example.com", internal=True)
    people = bench.site.settings.folder / "people.yaml"
    people.write_text(re.sub(r"email: b@example.com", "email: new-b@example.com", people.read_text("utf-8")), "utf-8")
    assert not bench.site.reload()
    assert bench.send([made]) == ["failed"]
    assert bench.mails == []


def test_the_database_refuses_what_is_internal_and_outside(bench):
    with pytest.raises(Conflict, match="note_stays_inside"):
        bench.queue("wang@acme.example", internal=True, outsider=True)


@pytest.mark.parametrize("lie", [True, False])
def test_the_database_refuses_a_delivery_that_lies_about_its_message(bench, lie):
    with pytest.raises(Conflict, match="FOREIGN KEY"), bench.store.write() as tx:  # noqa: PT012
        kept = outbox.keep_body(tx, BODY, simple_body_hash(BODY))
        new = NewDelivery(bench.messages[not lie], lie, not lie, "", "wang@acme.example", b"", kept)
        outbox.queue(tx, [new], now_ms())


def test_the_database_refuses_to_make_a_note_public_afterwards(bench):
    bench.queue("b@example.com", internal=True)
    with pytest.raises(Conflict), bench.store.write() as tx:
        tx.execute(sa.update(message).where(message.c.id == bench.messages[True]).values(internal=False))
    with pytest.raises(Conflict), bench.store.write() as tx:
        tx.execute(sa.update(delivery).values(outsider=True))


def test_a_group_with_one_forbidden_delivery_queues_none_of_it(bench):
    with pytest.raises(Conflict), bench.store.write() as tx:  # noqa: PT012
        kept = outbox.keep_body(tx, BODY, simple_body_hash(BODY))
        new = [
            NewDelivery(bench.messages[True], True, outsider, "", "x@example.com", b"", kept)
            for outsider in (False, True)
        ]
        outbox.queue(tx, new, now_ms())
    with bench.store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(delivery)).scalar_one() == 0


# -- other things that must not stop it


def test_a_recipient_that_is_no_address_fails_alone(bench):
    made = bench.queue("x@example.com\r\nRSET", "y@example.com", "no address")
    assert bench.send(made) == ["failed", "sent", "failed"]
    assert [mail.recipient for mail in bench.mails] == ["y@example.com"]


def test_a_fault_in_one_delivery_never_stops_the_next(bench, monkeypatch):
    sign = deliver.sign

    def picky(keys, header, signed_hash, created_at):
        if b"poison" in header:
            raise RuntimeError("a fault")
        return sign(keys, header, signed_hash, created_at)

    monkeypatch.setattr(deliver, "sign", picky)
    bad = bench.queue("x@example.com", header=b"Subject: poison\r\n")
    good = bench.queue("y@example.com")
    assert bench.send(bad + good) == ["deferred", "sent"]
    assert bench.row(bad[0]).answer == "451 4.3.0 RuntimeError"


def test_into_a_maildir(bench, tmp_path):
    made = bench.queue("x@example.com", "y/z@example.com")
    assert bench.send(made, url=f"maildir:{tmp_path / 'mail'}") == ["sent", "sent"]
    assert sorted(each.name for each in (tmp_path / "mail").iterdir()) == ["x@example.com", "y%2Fz@example.com"]
    assert len(list((tmp_path / "mail").glob("*/new/*"))) == 2
    assert bench.connects == 0


def test_a_maildir_that_cannot_be_written_defers(bench, tmp_path):
    (tmp_path / "mail").write_text("a file")
    assert bench.send(bench.queue("x@example.com"), url=f"maildir:{tmp_path / 'mail'}") == ["deferred"]


def test_no_log_line_holds_a_tag_that_the_next_hop_says_back(bench):
    (made,) = bench.queue("x@example.com")
    path = str(bench.addresses.return_path(made))
    with structlog.testing.capture_logs() as logged:
        bench.send([made], lambda verb, argument: f"550 5.7.1 <{argument}> is not welcome" if verb == "MAIL" else None)
    tag = path.partition(".")[2].partition("@")[0]
    assert logged
    assert tag not in repr(logged)


def test_notices_are_kept_by_their_kind(bench):
    with bench.store.write() as tx:
        notices.tell_author(
            tx, bench.site.people, "failed", bench.messages[False], "x@example.com", "550", "other", now_ms()
        )
        assert tx.execute(sa.select(sa.func.count()).select_from(notice)).scalar_one() == 1


# -- the hop's password


def test_a_hop_with_a_user_needs_a_password_file(bench):
    hop = config.NextHopSettings(url="smtps://gw@127.0.0.1:465", password_file="none")
    settings = bench.site.settings.model_copy(update={"next_hop": hop})
    with pytest.raises(ValueError, match="password_file"):
        deliver.load_hop(settings, bench.addresses, load_key)
