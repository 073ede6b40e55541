"""Rows P10 and P11 beside the kills: what is fetched and filed when a server, or somebody else in the account, is odd."""

import asyncio
import random

import pytest
import sqlalchemy as sa
import structlog

from gateway.arrive import imap as fetching_door
from gateway.arrive.imap import Fetcher
from gateway.attend import PATIENCE_MS
from gateway.imap import filing_accounts
from gateway.send import folders
from gateway.send.folders import Filer
from gateway.store import cards, content, filing, mailboxes, records, tables
from gateway.store.cards import Card
from gateway.worker import Traffic, now_ms
from tests.kit import dovecot as dovecot_kit
from tests.kit import imap_session, mailbox_child
from tests.kit.dovecot import Dovecot
from tests.kit.hostile_imap import CAPABILITIES, HostileImap
from tests.kit.house import D, House, calm_rules
from tests.kit.imap_session import Mailbox, Session
from tests.kit.mailbox_campaign import USERS, begin, mail, play
from tests.kit.mailbox_child import KILLED, LATE
from tests.kit.stores import new_store

pytestmark = pytest.mark.timeout(300)
SECONDS = 10.0  # in which what goes on must have come to its end; a command has a fifth
MAILS = [mail("m0"), mail("m1"), mail("m2", 1_300_000), mail("m3")]
POOR = ["IMAP4rev1", "IMAP4rev1 UIDPLUS", "IMAP4rev1 MOVE IDLE", CAPABILITIES.replace(" LIST-STATUS", "")]


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


class Fetching:
    """A site whose catch-all, and archive, are at a port where any password logs in."""

    def __init__(self, folder, port, more=""):
        (folder / "password").write_text("x")
        at = f"host: 127.0.0.1, port: {port}, tls: false, password_file: {folder / 'password'}"
        store = new_store(folder / "site")
        self.house = House(
            folder / "site", store=store, rules=calm_rules(),
            gateway=f"site: {{domain: {D}, name: E, language: en, timezone: UTC}}\nstore: {{url: 'sqlite:///var/x.db'}}\n"
            "smtp: {listen: '127.0.0.1:0', max_size: 2000000}\nnext_hop: {url: 'maildir:var/mail'}\n"
            "authentication: {mode: trust, authserv_id: mx.example.com}\n"
            f"imap: [{{{at}, user: gateway{more}}}]\nfiling: {{archive: {{{at}, user: archive}}}}\n",
        )  # fmt: skip

    def fetch(self, name="", hit=0, kind="fetch", seconds=SECONDS):
        return mailbox_child.run(self.house.folder, kind, name=name, hit=hit, seconds=seconds)

    def arrived(self):
        with self.house.store.read() as tx:
            digests = list(tx.execute(sa.select(tables.arrival.c.content).order_by("id")).scalars())
            return [content.load(tx, digest) for digest in digests]

    def told(self, count, between=lambda: None, stood_still=0):
        """Run a fetcher until it told so many things of its account, and return them; `between` comes after the first."""
        house, told = self.house, []

        async def fetch():
            door = house.site.settings.imap[0]
            fetcher = Fetcher(
                house.store, house.site, house.addresses, door, Traffic(), lambda: None, lambda *a: told.append(a[1:])
            )
            fetcher._condition.begin()
            with house.store.write() as tx:
                tx.execute(sa.update(tables.mailbox).values(ok_at=tables.mailbox.c.ok_at - stood_still))
            task = asyncio.create_task(fetcher.run())
            async with asyncio.timeout(30):
                for number in range(1, count + 1):
                    while len(told) < number:  # noqa: ASYNC110 (polls)
                        await asyncio.sleep(0.02)
                    between()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(fetch())
        return told

    def health(self):
        with self.house.store.read() as tx:
            return mailboxes.health(tx)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.house.close()


def filed(house, is_done, key="archive"):
    """File into an account until it is done."""

    async def file():
        filer = Filer(house.store, house.site, key, filing_accounts(house.site.settings)["archive"], print)
        task = asyncio.create_task(filer.run())
        async with asyncio.timeout(30):
            while not is_done():
                filer.wake()
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(file())


# ---- a hostile server


@pytest.mark.parametrize(
    "mode",
    ["endless literal", "negative literal", "stray data", "silence", "cut mid-literal", "wrong UIDVALIDITY",
     "thousands of lines in one read", "says a mail twice", "takes a mail away"],
)  # fmt: skip
def test_P10_after_a_server_was_out_of_its_mind_every_mail_is_there_once(tmp_path, mode):  # noqa: N802
    with HostileImap(MAILS, mode, times=2) as server, Fetching(tmp_path, server.port) as fetching:
        assert fetching.fetch() == 0
        taken = server.misbehaved if mode == "takes a mail away" else 0
        assert server.mails() == []
        assert server.mails("Processed") == fetching.arrived()
        assert len(fetching.arrived()) == len(MAILS) - taken
        assert set(fetching.arrived()) <= set(MAILS)
        assert server.mails("Failed") == []


@pytest.mark.parametrize("mode", ["flags before it", "flags after it"])
def test_P11_a_mail_that_another_client_marks_meanwhile_arrives_whole(tmp_path, mode):  # noqa: N802
    with HostileImap(MAILS, mode) as server, Fetching(tmp_path, server.port) as fetching:
        assert fetching.fetch() == 0
        assert fetching.arrived() == MAILS


def test_P10_a_mail_that_is_left_out_of_an_answer_is_not_lost(tmp_path):  # noqa: N802
    with HostileImap(MAILS, "leaves a mail out", times=1) as server, Fetching(tmp_path, server.port) as fetching:
        assert fetching.fetch() == fetching.fetch() == 0
        assert sorted(fetching.arrived()) == sorted(MAILS)


def test_P10_what_is_too_large_goes_to_the_failed_folder_and_the_next_is_taken(tmp_path):  # noqa: N802
    large = mail("large", 2_500_000)
    with HostileImap([MAILS[0], large, MAILS[1]]) as server, Fetching(tmp_path, server.port) as fetching:
        assert fetching.fetch() == 0
        assert fetching.arrived() == server.mails("Processed") == MAILS[:2]
        assert server.mails("Failed") == [large]
        assert server.mails() == []


@pytest.mark.parametrize(
    ("says", "is_"), [(300_000, 2_500_000), (1_000, 1_300_000)], ids=["beyond all", "beyond small"]
)
def test_P10_what_is_larger_than_the_server_says_stops_nothing(tmp_path, says, is_):  # noqa: N802
    with (
        HostileImap([MAILS[0], mail("large", is_), MAILS[1]]) as server,
        Fetching(tmp_path, server.port) as fetching,
    ):
        server.sizes[2] = says
        assert fetching.fetch(seconds=5) == 0
        assert {MAILS[0], MAILS[1]} <= set(fetching.arrived())


def test_P10_a_mail_that_the_server_cannot_give_stops_nothing(tmp_path):  # noqa: N802
    with (
        HostileImap(MAILS[:2] + MAILS[3:], "refuses a mail", only=b"(UID 2 ") as server,
        Fetching(tmp_path, server.port) as fetching,
    ):
        assert fetching.fetch(seconds=5) == 0
        assert {MAILS[0], MAILS[3]} <= set(fetching.arrived())
        assert server.mails("Failed") == [MAILS[1]]


def test_P10_a_mail_that_is_refused_for_a_while_is_taken_later(tmp_path):  # noqa: N802
    with (
        HostileImap(MAILS, "refuses a mail", only=b"(UID 3 ", times=3) as server,
        Fetching(tmp_path, server.port) as fetching,
    ):
        assert fetching.fetch() == fetching.fetch() == 0
        assert server.misbehaved == 3
        assert sorted(fetching.arrived()) == sorted(MAILS)
        assert server.mails("Failed") == []


def test_P10_that_nothing_can_be_fetched_is_told_and_that_it_goes_on(tmp_path):  # noqa: N802
    with HostileImap(MAILS, "cut mid-literal") as server, Fetching(tmp_path, server.port) as fetching:

        def behave():
            server.mode = ""

        (name, wrong, _), goes_on = fetching.told(2, behave, PATIENCE_MS)
        assert name.endswith(" INBOX")
        assert wrong
        assert goes_on == (name, "", "")


def test_P10_that_a_mail_is_too_large_is_told_and_its_octets_are_not_asked_for(tmp_path):  # noqa: N802
    with HostileImap([mail("large", 2_500_000)]) as server, Fetching(tmp_path, server.port) as fetching:
        ((_, wrong, which),) = fetching.told(1)
        assert which == "Failed: 1"
        assert "more than the 2000000 that are taken" in wrong
        assert not any("BODY" in command for command in server.commands)


def test_P10_a_server_that_is_away_is_told_of_and_forgotten_when_it_is_back(tmp_path):  # noqa: N802
    with HostileImap(MAILS, "cut mid-literal") as server, Fetching(tmp_path, server.port) as fetching:
        assert fetching.fetch(seconds=4) == LATE
        assert [bool(each.error) for each in fetching.health()] == [True]
        server.mode = ""
        assert fetching.fetch() == 0
        assert fetching.arrived() == MAILS
        assert [each.error for each in fetching.health()] == [""]


@pytest.mark.parametrize("below", ["", "Received: from x.example by y.example\r\nReturn-Path: <b@example.com>\r\n"])
def test_P11_a_mail_whose_return_path_is_not_told_is_no_machines(tmp_path, below):  # noqa: N802
    head, said = mail("m0").split(b"From:", 1)
    told = head + below.encode() + b"From:" + said
    with (
        HostileImap([told]) as server,
        Fetching(tmp_path, server.port, ", envelope_headers: [Delivered-To]") as fetching,
    ):
        assert fetching.fetch() == 0
        fetching.house.quotation()
        fetching.house.run()
        assert fetching.house.states() == [("posted", "")]


def test_P10_what_cannot_be_moved_away_is_told_and_stops_no_other(tmp_path):  # noqa: N802
    with HostileImap(MAILS[:2]) as server, Fetching(tmp_path, server.port) as fetching:
        server.full.add("Processed")
        assert fetching.fetch() == 0
        server.deliver(MAILS[2])
        assert fetching.fetch() == 0
        assert fetching.arrived() == server.mails() == MAILS[:3]
        assert [each.error for each in fetching.health()] == [
            "what was fetched cannot be moved to Processed: [OVERQUOTA] no room"
        ]
        server.full.clear()
        assert fetching.fetch() == fetching.fetch() == 0
        assert fetching.arrived() == server.mails("Processed") == MAILS[:3]
        assert server.mails() == []
        assert [each.error for each in fetching.health()] == [""]


def test_P10_what_was_refused_once_is_moved_away_while_the_connection_lives(tmp_path, monkeypatch):  # noqa: N802
    monkeypatch.setattr(fetching_door, "POLL_S", 0.05)
    with HostileImap(MAILS[:1]) as server, Fetching(tmp_path, server.port) as fetching:
        house = fetching.house
        server.full.add("Processed")

        async def fetch():
            door = house.site.settings.imap[0]
            nothing = Traffic(), lambda: None, lambda *_: None
            task = asyncio.create_task(Fetcher(house.store, house.site, house.addresses, door, *nothing).run())
            async with asyncio.timeout(30):
                while not any("no room" in each.error for each in fetching.health()):  # noqa: ASYNC110 (polls)
                    await asyncio.sleep(0.02)
                server.full.clear()
                while server.mails() or any(each.error for each in fetching.health()):  # noqa: ASYNC110 (polls)
                    await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(fetch())
        assert server.mails("Processed") == MAILS[:1]
        assert server.connections == 1


@pytest.mark.parametrize("kind", ["fetch", "watch"])
def test_P10_a_part_that_is_shorter_than_was_asked_for_is_not_the_last(tmp_path, monkeypatch, kind):  # noqa: N802
    whole = Session._part

    def short(mail, section, begin, count):
        return whole(mail, section, begin, count and str(min(int(count), 65_536)))

    monkeypatch.setattr(Session, "_part", staticmethod(short))
    with HostileImap(MAILS[2:3]) as server, Fetching(tmp_path, server.port) as fetching:
        if kind == "watch":
            fetching.house.quotation()
            server.boxes["INBOX"] = Mailbox()
            server.boxes["Quotations/S00001"] = Mailbox()
            server.take(MAILS[2], "Quotations/S00001")
        assert fetching.fetch(kind=kind) == 0
        assert fetching.arrived() == MAILS[2:3]


def test_P11_a_server_that_takes_no_keywords_is_filed_into(tmp_path, monkeypatch):  # noqa: N802
    append = imap_session._COMMANDS["APPEND"]

    async def plain(session, words):
        if any("." in each for each in words[1:-2]):
            raise imap_session.Refused("BAD Command Argument Error. 11")
        return await append(session, words)

    monkeypatch.setitem(imap_session._COMMANDS, "APPEND", plain)
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.announce("message", ref="S00001", body="more", actor="b")
        fetching.house.sent()
        filed(fetching.house, lambda: len(server.boxes.get("Quotations/S00001", Mailbox()).mails) == 2)
        assert len(server.mails("Quotations/S00001")) == 2


@pytest.mark.parametrize("mode", ["flags before it", "flags after it"])
def test_P11_our_own_mail_that_is_marked_while_a_folder_is_looked_into_is_no_dropped_one(tmp_path, mode):  # noqa: N802
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch(kind="file") == 0
        assert len(server.mails("Quotations/S00001")) == 1
        server.take(MAILS[0], "Quotations/S00001")
        server.mode = mode
        assert fetching.fetch(kind="watch") == 0
        assert server.misbehaved
        assert fetching.arrived() == [MAILS[0]]


def test_P10_a_mail_at_which_the_server_hangs_up_stands_in_no_other_s_way(tmp_path):  # noqa: N802
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.announce("message", ref="S00001", body="the bad one", actor="b")
        fetching.house.announce("message", ref="S00001", body="the good one", actor="b")
        fetching.house.sent()
        server.hangs_up_at = b"the bad one"
        assert fetching.fetch(kind="file") == LATE
        filed = server.mails("Quotations/S00001")
        assert len(filed) == 2
        assert any(b"the good one" in each for each in filed)


def test_P10_thousands_of_mails_with_gaps_between_them_are_asked_for_in_lines_that_are_short_enough(tmp_path):  # noqa: N802
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        box = server.boxes["INBOX"]
        for number in range(1_200):
            box.uid_next = 1_000_000_000 + 2 * number
            box.add(mail(f"gap{number}", 300))
        assert fetching.fetch(seconds=60) == 0
        assert len(fetching.arrived()) == len(server.mails("Processed")) == 1_200


def test_P11_who_says_no_to_idle_is_asked_again_and_again(tmp_path, monkeypatch):  # noqa: N802
    monkeypatch.setattr(fetching_door, "POLL_S", 0.05)
    with HostileImap(MAILS[:1]) as server, Fetching(tmp_path, server.port) as fetching:
        server.idles = False

        async def fetch():
            house = fetching.house
            door = house.site.settings.imap[0]
            fetcher = Fetcher(house.store, house.site, house.addresses, door, Traffic(), lambda: None, lambda *_: None)
            task = asyncio.create_task(fetcher.run())
            async with asyncio.timeout(30):
                for count in (1, 2):
                    while len(fetching.arrived()) < count:  # noqa: ASYNC110 (polls)
                        await asyncio.sleep(0.02)
                    server.deliver(MAILS[count])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(fetch())
        assert server.connections == 1
        assert [each.error for each in fetching.health()] == [""]


def test_P11_what_is_not_said_yet_or_lies_in_no_record_s_folder_is_nobody_s_note(tmp_path):  # noqa: N802
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch(kind="file") == 0
        server.take(MAILS[0], "Quotations/S00001", {"\\Draft"})
        server.take(MAILS[1], "Quotations/S00001", {"\\Deleted", "\\Seen"})
        for folder in ("Quotations/S00009", "Quotations/2026", "Leads/S00001"):
            server.boxes[folder] = Mailbox()
            server.take(MAILS[2], folder)
        assert fetching.fetch(kind="watch") == 0
        assert fetching.arrived() == []


# ---- a poor server


@pytest.mark.parametrize("capabilities", POOR)
def test_P11_a_server_that_can_do_little_is_fetched_from_and_filed_into(tmp_path, capabilities):  # noqa: N802
    with HostileImap(MAILS, capabilities=capabilities) as server, Fetching(tmp_path, server.port) as fetching:
        for hit in (1, 2):
            assert fetching.fetch("fetch: after the commit", hit) == KILLED
        assert fetching.fetch() == fetching.fetch() == 0
        assert fetching.arrived() == server.mails("Processed") == MAILS
        assert [each for each in server.boxes["INBOX"].mails if "\\Deleted" not in each.flags] == []
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch("file: after APPEND", 1, "file") == KILLED
        assert fetching.fetch(kind="file") == 0
        assert len(server.mails("Quotations/S00001")) == 1


# ---- another number, another folder


def test_P11_mails_that_are_numbered_anew_count_once(tmp_path):  # noqa: N802
    with HostileImap(MAILS) as server, Fetching(tmp_path, server.port, ", done: ''") as fetching:
        assert fetching.fetch() == 0
        box = server.boxes["INBOX"]
        box.uid_validity += 1
        for number, each in enumerate(reversed(box.mails), 1):
            each.uid = number
        box.mails.reverse()
        server.deliver(mail("new"))
        assert fetching.fetch() == fetching.fetch() == 0
        assert fetching.arrived() == [*MAILS, mail("new")]
        assert all("\\Seen" in each.flags for each in box.mails)


def test_P11_a_mailbox_that_is_made_anew_is_read_from_its_beginning(tmp_path, dovecot):  # noqa: N802
    (tmp_path / "password").write_text("pw-gateway")
    with Fetching(tmp_path, dovecot.port, ", folder: Catch") as fetching, dovecot.client("gateway") as client:
        (tmp_path / "password").write_text("pw-gateway")
        for turn, names in enumerate((["m0", "m1", "m2"], ["m1", "n0"], ["m2", "m0"])):
            if turn:
                client.unselect_folder()
                client.delete_folder("Catch")
            client.create_folder("Catch")
            client.select_folder("Catch")
            for name in names:
                client.append("Catch", mail(name))
            assert fetching.fetch() == 0
            client.noop()
            assert client.search() == []
        assert fetching.arrived() == [mail(name) for name in ("m0", "m1", "m2", "n0")]
        assert len(dovecot.mails("gateway", "Processed")) == 7


# ---- somebody else


def test_what_waits_for_an_account_that_was_removed_is_given_up(tmp_path):
    with Fetching(tmp_path, 9) as fetching:
        house = fetching.house
        house.quotation()
        house.sent()
        for accounts, states in (({"archive"}, {"queued"}), (set(), {"expired"})):
            with house.store.write() as tx:
                filing.give_up_others(tx, accounts, now_ms())
                assert set(tx.execute(sa.select(tables.filing.c.state)).scalars()) == states


def test_P11_a_folder_that_is_deleted_is_made_again(tmp_path):  # noqa: N802
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        house = fetching.house

        def states():
            with house.store.read() as tx:
                return list(tx.execute(sa.select(tables.filing.c.state).order_by("id")).scalars())

        def again():
            with house.store.write() as tx:
                tx.execute(sa.update(tables.filing).values(due_at=0))

        def waits(tried):
            query = sa.select(tables.filing.c.id).where(
                tables.filing.c.state != "sent", tables.filing.c.attempts <= tried
            )
            with house.store.read() as tx:
                return tx.execute(query).first() is not None

        async def file():
            filer = Filer(house.store, house.site, "archive", filing_accounts(house.site.settings)["archive"], print)
            task = asyncio.create_task(filer.run())
            async with asyncio.timeout(30):
                for n in range(2):
                    house.announce("message", ref="S00001", body=f"line {n}", actor="b")
                    await asyncio.to_thread(house.sent)
                    filer.wake()
                    while "queued" in states():  # noqa: ASYNC110 (polls)
                        await asyncio.sleep(0.02)
                    if not n:
                        del server.boxes["Quotations/S00001"]
                for tried in (1, 2, 3):  # a refusal may cost a try
                    again()
                    filer.wake()
                    while waits(tried):  # noqa: ASYNC110 (polls)
                        await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        house.quotation()
        asyncio.run(file())
        assert set(states()) == {"sent"}
        assert len(server.mails("Quotations/S00001")) == 1


def test_P11_cards_that_cannot_be_placed_stand_in_no_other_s_way(tmp_path, monkeypatch):  # noqa: N802
    monkeypatch.setattr(folders, "BATCH", 2)
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        house = fetching.house
        server.full.add("Replygate/Stages/new")
        for number in range(1, 6):
            house.announce("lead.created", title=f"desks {number}")
            stage = "qualified" if number == 5 else "new"
            with house.store.write() as tx:
                lead = records.find(tx, f"L0000{number}")
                name = f"<card.{number}@{D}>"
                cards.keep(tx, Card("chia", lead.id, f"Replygate/Stages/{stage}", name, mail(name), b"x"))

        filed(house, lambda: server.boxes.get("Replygate/Stages/qualified", Mailbox()).mails, "chia")
        assert len(server.mails("Replygate/Stages/qualified")) == 1
        assert server.mails("Replygate/Stages/new") == []


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before", "after"])
def test_P11_a_card_that_changes_while_nobody_runs_still_stands_once(tmp_path, point):  # noqa: N802
    dovecot_kit.need()
    with Dovecot(tmp_path / "dovecot", {user: f"pw-{user}" for user in USERS}) as server:
        world = begin(tmp_path / "world", server)
        try:
            name = f"file: a card, {point} the old is deleted"
            assert play(world, name, random.Random(1), meanwhile=True) == []
        finally:
            world.close()
