"""Threads in the mail client, against a real Dovecot: mail is fetched, filed, and what people do there means something."""

import json
import time
from email import message_from_bytes, policy

import pytest

from tests.kit.client import Client
from tests.kit.dovecot import Dovecot
from tests.kit.dovecot import need as need_dovecot
from tests.kit.node import Node, write_site

D = "sales.example.com"
DEADLINE_S = 60.0


def until(look, what="it"):
    """Wait until `look` gives something true, and return it."""
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come in {DEADLINE_S} s; the last look gave {found!r}")


class Office:
    """A node whose catch-all and folders are in a Dovecot, and people with mail clients."""

    def __init__(self, folder, server, *, url="", people=("chia",), extra=""):
        self.server = server
        secrets = folder / "secrets"
        secrets.mkdir(parents=True)
        for user in ("gateway", "archive", *people):
            (secrets / user).write_text(f"pw-{user}\n")
        account = f"host: 127.0.0.1, port: {server.port}, tls: false"
        accounts = "".join(
            f"    - {{person: {who}, {account}, user: {who}, password_file: {secrets / who}}}\n" for who in people
        )
        site = folder / "site"
        write_site(site)
        text = (site / "gateway.yaml").read_text("utf-8")
        if url:
            text = text.replace("sqlite:///var/gateway.db", url)
        text += (
            f"imap:\n  - {{{account}, user: gateway, password_file: {secrets / 'gateway'}, "
            f"envelope_headers: [X-Original-To, Delivered-To]{extra}}}\n"
            f"filing:\n  archive: {{{account}, user: archive, password_file: {secrets / 'archive'}}}\n"
            f"  accounts:\n{accounts}  keep_read: 1s\n"
        )
        (site / "gateway.yaml").write_text(text, "utf-8")
        self.node = Node(site)

    def announce(self, event, **fields):
        return json.loads(self.node.replygate("announce", stdin=json.dumps({"event": event, **fields})))

    def quotation(self, **fields):
        customer = {"name": "ACME", "email": "wang@acme.example"}
        given = {"title": "chairs", "salesperson": "a", "actor": "a", "team": "sales", "customer": customer}
        return self.announce("quotation.created", **{**given, **fields})["record"]

    def lead(self, **fields):
        return self.announce(
            "lead.created", **{"title": "desks", "salesperson": "a", "actor": "a", "team": "sales", **fields}
        )["record"]

    def record(self, ref):
        return self.node.json("record", "show", ref)

    def thread(self, ref):
        return [(each["subtype"], each["author"]["who"], each["text"]) for each in self.record(ref)["thread"]]

    def client(self, user):
        return self.server.client(user)

    def subjects(self, user, folder):
        """Return the subjects in a folder, or None where there is no such folder."""
        return [str(message_from_bytes(each, policy=policy.default)["Subject"]) for each in self.mails(user, folder)]

    def mails(self, user, folder):
        with self.server.client(user) as client:
            return self.server.mails(user, folder) if client.folder_exists(folder) else []


def mail(author, to, text, *, subject="hello", number="m1", head=""):
    return (
        f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{number}@x.example>\r\n{head}"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    ).encode()


# What is above a folder is none itself: one calls it \Noselect, the other \NonExistent.
on_both = pytest.mark.parametrize("server", ["sdbox", "maildir"], indirect=True)


@pytest.fixture
def server(tmp_path, request):
    need_dovecot()
    users = {name: f"pw-{name}" for name in ("gateway", "archive", "chia", "a")}
    with Dovecot(
        tmp_path / "dovecot", users=users, catch_all=(D, "gateway"), format=getattr(request, "param", "sdbox")
    ) as running:
        yield running


@pytest.fixture
def office(tmp_path, server):
    made = Office(tmp_path / "office", server)
    with made.node:
        yield made


def lmtp(server, to, octets):
    with Client(server.lmtp_port, lmtp=True) as client:
        answers = client.send("wang@acme.example", [to], octets)
    assert answers[-1].startswith("250"), answers


def test_mail_of_the_catch_all_is_fetched_placed_and_moved(office, server):
    ref = office.quotation()
    lmtp(server, f"leads@{D}", mail("stranger@x.example", f"leads@{D}", "I want desks", subject="desks"))
    until(lambda: len(office.node.json("record", "list")) == 2, "the lead")
    assert until(lambda: office.subjects("gateway", "Processed") == ["desks"], "the move")
    until(lambda: not office.mails("gateway", "INBOX"), "an empty inbox")
    # By what it answers, without an address of ours anywhere but in a field below our own last hop's.
    first = office.record(ref)["thread"][0]["message"]
    head = f"Delivered-To: l00001@{D}\r\nIn-Reply-To: {first}\r\n"
    with server.client("gateway") as client:
        client.append(
            "INBOX",
            b"Received: from x by y\r\n" + mail("wang@acme.example", "other@y.example", "yes", number="m2", head=head),
        )
        client.append("INBOX", mail("nobody@y.example", "other@y.example", "lost", number="m3"))
    held = until(lambda: len(found := office.node.json("held", "list")) == 2 and found, "both held")
    assert {each["cause"] for each in held} == {"not authenticated", "no envelope"}
    assert next(each for each in held if each["cause"] == "not authenticated")["record"] == ref
    health = office.node.json("status")["mailboxes"]
    assert {each["purpose"] for each in health} == {"fetch", "file", "watch"}
    assert all(not each["error"] for each in health)


@on_both
def test_every_thread_is_filed_once_for_all_to_read_and_in_peoples_own_accounts(office):
    ref = office.quotation()
    office.announce("message", ref=ref, body="how are you", actor="b")
    until(lambda: len(office.mails("archive", f"Quotations/{ref}")) == 2, "the archive")
    filed = office.mails("archive", f"Quotations/{ref}")
    assert all(b"+" not in message_from_bytes(each, policy=policy.default)["Reply-To"].encode() for each in filed)
    until(lambda: len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 2, "the assistant's folder")
    assert until(lambda: office.mails("archive", "Teams/sales"), "the group's folder")
    with office.client("chia") as client:
        client.select_folder(f"Replygate/Quotations/{ref}")
        found = client.fetch(client.search(), ["FLAGS", "INTERNALDATE"])
        flags = {flag.decode() for each in found.values() for flag in each[b"FLAGS"]}
        assert {"quotation.created", "discussion"} <= flags
        assert "\\Seen" not in flags
    assert until(
        lambda: all(each["state"] == "sent" for each in office.node.json("outbox", "list", "--filing")), "settled"
    )


@on_both
def test_a_dropped_mail_is_a_note_of_who_dropped_it_and_commands_nothing(office):
    ref = office.quotation()
    office.node.replygate("follow", ref, "b", "note")
    until(lambda: office.mails("chia", f"Replygate/Quotations/{ref}"), "the folder")
    with office.client("chia") as client:
        client.append(
            f"Replygate/Quotations/{ref}",
            mail("supplier@z.example", "chia@example.com", "/cancel\nthe wood costs 7", subject="wood"),
        )
    until(lambda: len(office.thread(ref)) == 2, "the note")
    subtype, author, text = office.thread(ref)[-1]
    assert (subtype, author) == ("note", "chia")
    assert "supplier@z.example" in text
    assert "the wood costs 7" in text
    assert office.record(ref)["state"] == "draft"
    office.node.quiet()
    assert [each["who"] for each in office.record(ref)["thread"][-1]["heard"]] == ["b"]  # whoever it was written to
    until(lambda: len(office.mails("archive", f"Quotations/{ref}")) == 2, "the archive")
    assert len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 2  # what was dropped is the copy
    with office.client("chia") as client:  # and where one was seen, so is the next
        client.append(f"Replygate/Quotations/{ref}", mail("supplier@z.example", "chia@example.com", "8", number="m2"))
    until(lambda: len(office.thread(ref)) == 3, "the next note")


@on_both
def test_what_is_dropped_into_the_archive_is_held(office):
    ref = office.quotation()
    until(lambda: office.mails("archive", f"Quotations/{ref}"), "the folder")
    with office.client("archive") as client:
        client.append(f"Quotations/{ref}", mail("chia@example.com", "x@y.example", "who was it"))
        client.create_folder("Projects/2026")
        client.append("Projects/2026", mail("chia@example.com", "x@y.example", "nobody's business"))
    held = until(lambda: office.node.json("held", "list"), "the held mail")
    assert [(each["cause"], each["to"]) for each in held] == [("archive", f"{ref.lower()}@{D}")]


def cards(office, stage):
    return office.subjects("chia", f"Replygate/Stages/{stage}")


def card_ids(office, stage):
    found = office.mails("chia", f"Replygate/Stages/{stage}")
    return [str(message_from_bytes(each, policy=policy.default)["Message-ID"]) for each in found]


def subtype_of(octets):
    return str(message_from_bytes(octets, policy=policy.default)["X-Replygate-Subtype"])


def move_card(office, old, new):
    with office.client("chia") as client:
        client.select_folder(f"Replygate/Stages/{old}")
        client.move(client.search(), f"Replygate/Stages/{new}")


@on_both
def test_a_card_moved_to_another_stage_changes_it_and_is_replaced(office):
    ref = office.lead()
    until(lambda: cards(office, "new") == [f"[{ref}] desks"], "the card")
    before = card_ids(office, "new")
    with office.client("chia") as client:  # what is no card moves none
        client.append("Replygate/Stages/won", b"Subject: no id\r\n\r\nx\r\n")
        client.select_folder("Replygate/Stages/new")
        client.copy(client.search(), "Replygate/Stages/qualified")  # some programs copy, and delete later
    until(lambda: office.record(ref)["fields"]["stage"] == "qualified", "the stage")
    until(lambda: not cards(office, "new") and card_ids(office, "qualified") != before, "one card, another")
    before = card_ids(office, "qualified")
    move_card(office, "qualified", "new")
    until(lambda: office.record(ref)["fields"]["stage"] == "new", "it is back")
    until(lambda: len(now := card_ids(office, "new")) == 1 and now != before, "the card is back")
    before = card_ids(office, "new")
    move_card(office, "new", "qualified")
    until(lambda: office.record(ref)["fields"]["stage"] == "qualified", "the stage")
    until(lambda: len(now := card_ids(office, "qualified")) == 1 and now != before, "the new card")
    move_card(office, "qualified", "lost")
    until(lambda: office.record(ref)["state"] == "lost", "the loss")
    until(lambda: len(cards(office, "lost")) == 1, "the card of what is lost")
    move_card(office, "lost", "proposition")
    until(
        lambda: office.record(ref)["fields"].get("stage") == "proposition" and office.record(ref)["state"] == "open",
        "it is restored",
    )
    until(lambda: len(cards(office, "proposition")) == 1, "the card")
    move_card(office, "proposition", "won")
    until(lambda: office.record(ref)["state"] == "won", "it is won")
    until(lambda: len(cards(office, "won")) == 2, "the card, beside what is none")
    before = card_ids(office, "won")
    with office.client("chia") as client:
        client.select_folder("Replygate/Stages/won")
        # What is won stays won: the card goes back, as another mail than the one moved.
        client.move(client.search('SUBJECT "desks"'), "Replygate/Stages/new")
    until(lambda: len(cards(office, "won")) == 2 and not cards(office, "new"), "the card is back")
    assert card_ids(office, "won") != before
    moves = ["lead.stage", "lead.lost", "lead.restored", "lead.won"]
    mine = f"Replygate/Leads/{ref}"  # who moved it has its events there too
    until(lambda: set(moves) <= {*map(subtype_of, office.mails("chia", mine))}, "the events")
    assert [subtype for subtype, _, _ in office.thread(ref)] == [
        "lead.created",
        "lead.stage",
        "lead.stage",
        "lead.stage",
        "lead.lost",
        "lead.restored",
        "lead.stage",
        "lead.won",
    ]


@pytest.fixture
def with_inbox(tmp_path, server):
    """An office whose assistant reads in her mail client's folders alone."""
    office = Office(tmp_path / "office", server)
    people = office.node.site / "people.yaml"
    text = people.read_text("utf-8")
    people.write_text(text.replace("name: 賈小姐", "name: 賈小姐\n    delivery: inbox"), "utf-8")
    with office.node:
        yield office


def test_an_inbox_keeps_what_is_starred_or_unread_and_clears_the_rest(with_inbox):
    office = with_inbox
    ref = office.quotation()
    for n in range(2):
        office.announce("message", ref=ref, body=f"line {n}", actor="b")
    until(lambda: len(office.mails("chia", "Replygate/Inbox")) == 3, "the inbox")
    assert not (office.node.site / "var" / "mail" / "chia@example.com").exists()
    with office.client("chia") as client:
        client.select_folder("Replygate/Inbox")
        first, second, _ = client.search()
        client.add_flags([first, second], [b"\\Seen"])
        client.add_flags([first], [b"\\Flagged"])
    until(lambda: len(office.mails("chia", "Replygate/Inbox")) == 2, "the tidying")
    with office.client("chia") as client:
        client.select_folder("Replygate/Inbox")
        assert second not in client.search()
    assert len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 3


def test_an_answer_from_the_folder_works_like_an_answer_to_the_mail(office):
    ref = office.quotation()
    filed = until(lambda: office.mails("chia", f"Replygate/Quotations/{ref}"), "the folder")[0]
    read = message_from_bytes(filed, policy=policy.default)
    answer = mail(
        "chia@example.com", read["Reply-To"], "done", number="answer", head=f"In-Reply-To: {read['Message-ID']}\r\n"
    )
    with Client(office.node.ports["smtp"]) as client:
        client.send("chia@example.com", [str(read["Reply-To"])], answer)
    until(lambda: len(office.thread(ref)) == 2, "the answer")
    assert office.thread(ref)[-1][2] == "done"
    with office.client("chia") as client:
        until(lambda: len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 2, "her own answer")
        client.select_folder(f"Replygate/Quotations/{ref}")
        assert len(client.search("SEEN")) == 1  # her own


def test_a_full_account_delays_nobody_else_and_is_caught_up_with(office, server):
    server.set_quota("chia", 1)
    ref = office.quotation()
    until(lambda: office.mails("archive", f"Quotations/{ref}"), "the archive")
    deferred = until(
        lambda: [each for each in office.node.json("outbox", "list", "--filing") if each["state"] == "deferred"],
        "the refusal",
    )
    assert "OVERQUOTA" in deferred[0]["answer"].upper() or "quota" in deferred[0]["answer"].lower()
    assert office.mails("chia", f"Replygate/Quotations/{ref}") == []
    number = str(deferred[0]["id"])
    assert office.node.json("outbox", "show", number, "--filing")["state"] == "deferred"

    def health():
        return next(each for each in office.node.json("status")["mailboxes"] if each["name"].startswith("chia@"))

    said = until(lambda: health()["error"] and health(), "the error in status")
    assert said["waiting"] >= 1
    assert "quota" in said["error"].lower()
    server.stop()
    server.set_quota("chia", None)
    server.start()  # a quota counts from the next login
    for each in deferred:
        assert "is tried again" in office.node.replygate("outbox", "retry", str(each["id"]), "--filing")
    until(lambda: office.mails("chia", f"Replygate/Quotations/{ref}"), "what waited")
    until(lambda: not health()["error"], "all well")


def test_a_full_account_is_tidied_all_the_same(with_inbox, server):
    office = with_inbox
    ref = office.quotation()
    until(lambda: office.mails("chia", "Replygate/Inbox"), "the inbox")
    server.set_quota("chia", 1)
    office.lead()  # neither its mail nor its card finds room
    with office.client("chia") as client:
        client.select_folder("Replygate/Inbox")
        client.add_flags(client.search(), [b"\\Seen"])
    until(lambda: not office.mails("chia", "Replygate/Inbox"), "the tidying")
    assert len(office.mails("chia", f"Replygate/Quotations/{ref}")) == 1


def test_a_folder_of_a_stage_that_somebody_took_away_is_made_again(office):
    ref = office.lead()
    until(lambda: cards(office, "new"), "the card")
    with office.client("chia") as client:
        client.delete_folder("Replygate/Stages/qualified")
        client.rename_folder("Replygate/Stages/proposition", "Replygate/Stages/hot")
    office.node.replygate("do", ref, "/stage qualified", "--as", "chia")
    until(lambda: len(cards(office, "qualified")) == 1 and not cards(office, "new"), "the card")
    office.node.replygate("do", ref, "/stage proposition", "--as", "chia")
    until(lambda: len(cards(office, "proposition")) == 1 and not cards(office, "qualified"), "the card")


def test_two_people_who_move_at_once_end_in_one_state_that_both_see(tmp_path, server):
    office = Office(tmp_path / "office", server, people=("chia", "a"))
    with office.node:
        ref = office.lead()
        for who in ("chia", "a"):
            until(lambda who=who: office.mails(who, "Replygate/Stages/new"), "the card")
        moves = {"chia": "qualified", "a": "proposition"}
        clients = {who: office.client(who) for who in moves}
        for client in clients.values():
            client.select_folder("Replygate/Stages/new")
        for who, client in clients.items():
            client.move(client.search(), f"Replygate/Stages/{moves[who]}")
        until(lambda: [subtype for subtype, _, _ in office.thread(ref)].count("lead.stage") == 2, "both moves")
        stage = office.record(ref)["fields"]["stage"]
        assert stage in moves.values()

        def shown(who):
            stages = ("new", "qualified", "proposition", "won", "lost")
            return [each for each in stages for _ in office.mails(who, f"Replygate/Stages/{each}")]

        until(lambda: all(shown(who) == [stage] for who in moves), "one card each, in the same stage")
        clients["a"].select_folder(f"Replygate/Stages/{stage}")
        clients["a"].move(clients["a"].search(), "Replygate/Stages/new")
        until(lambda: office.record(ref)["fields"]["stage"] == "new", "the next move")
        clients["chia"].select_folder(f"Replygate/Stages/{stage}")
        # As soon as that is decided: it counts, or the card was put elsewhere before it was moved.
        theirs = clients["chia"].search()
        if theirs:
            clients["chia"].move(theirs, "Replygate/Stages/won")

        def stands():
            record = office.record(ref)
            return record["state"] if record["state"] == "won" else record["fields"]["stage"]

        until(lambda: all(shown(who) == [stands()] for who in moves), "one card each, where the lead stands")
        for client in clients.values():
            client.logout()


def test_an_account_that_is_away_is_told_of_in_status_and_caught_up_with(office, server):
    server.stop()
    ref = office.quotation()
    wrong = until(lambda: [each for each in office.node.json("status")["mailboxes"] if each["error"]], "the error")
    assert all(
        "cannot connect" in each["error"] or "lost" in each["error"] or "goodbye" in each["error"] for each in wrong
    )
    server.start()
    until(lambda: office.mails("archive", f"Quotations/{ref}"), "the archive")
    until(lambda: not any(each["error"] for each in office.node.json("status")["mailboxes"]), "all well")
