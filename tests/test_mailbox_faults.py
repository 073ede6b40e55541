"""Servers that fail at some mails, or for a while: every healthy mail is taken in once, and none is taken for a bad one."""

import asyncio
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from gateway import attend
from gateway.arrive import folders
from gateway.arrive.folders import Watcher
from gateway.arrive.imap import Fetcher
from gateway.imap import Account, filing_accounts
from gateway.imap import connect as imap_connect
from gateway.send import folders as filing
from gateway.send.folders import Filer
from gateway.store import tables
from gateway.worker import Traffic
from tests.kit import imap_session
from tests.kit.hostile_imap import HostileImap
from tests.kit.house import ROOT, D, House, calm_rules
from tests.kit.imap_session import Mailbox, Refused, Session
from tests.kit.mailbox_campaign import mail
from tests.kit.mailbox_child import KILLED
from tests.kit.stores import new_store
from tests.test_mailbox_odds import Fetching

MAILS = [mail(f"m{n}") for n in range(6)]
FOLDER = "Quotations/S00001"
DEADLINE_S = 60


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(attend, "_PAUSE_FIRST_S", 0.05)
    monkeypatch.setattr(attend, "_PAUSE_LAST_S", 0.2)


def hooked(monkeypatch, hook):
    """Let `hook(session, uid, words)` be called for each mail that a FETCH asks for, before any is given."""
    original = Session.fetch

    async def fetch(self, words):
        for each in self.selected.chosen(words[0]):
            hook(self, each.uid, words)
        return await original(self, words)

    monkeypatch.setitem(imap_session._COMMANDS, "UID FETCH", fetch)


def fails(*uids, how="hangs up", octets=False, times=10**9):
    left = [times]

    def hook(_, uid, words):
        asks = any("BODY.PEEK[]" in each for each in words)
        if uid in uids and (asks or not octets) and left[0]:
            left[0] -= 1
            if how == "hangs up":
                raise EOFError
            raise Refused(f"NO {how} cannot read it")

    return hook


async def until(look):
    async with asyncio.timeout(DEADLINE_S):
        while not look():  # noqa: ASYNC110 (polls)
            await asyncio.sleep(0.02)


def attended(fetching, look, what=None):
    """Attend to the catch-all, or to `what`, until `look` sees what it looks for."""
    house = fetching.house

    def fetcher():
        door = house.site.settings.imap[0]
        return Fetcher(house.store, house.site, house.addresses, door, Traffic(), lambda: None, lambda *_: None)

    async def run():
        task = asyncio.create_task((what or fetcher)().run())
        try:
            if asyncio.iscoroutinefunction(look):
                await look()
            else:
                await until(look)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def watcher(fetching):
    house = fetching.house
    account = filing_accounts(house.site.settings)["archive"]
    return lambda: Watcher(
        house.store, house.site, house.addresses, "archive", account, lambda: None, lambda *_: None
    )  # fmt: skip


@pytest.mark.parametrize("octets", [False, True])
@pytest.mark.parametrize("how", ["hangs up", "[SERVERBUG]"])
@pytest.mark.parametrize("bad", [(1, 6), (2, 3), (1, 2, 6), (5, 6)], ids=str)
def test_all_but_the_bad_ones_are_taken_in_wherever_these_stand(tmp_path, monkeypatch, bad, how, octets):
    hooked(monkeypatch, fails(*bad, how=how, octets=octets))
    with HostileImap(MAILS) as server, Fetching(tmp_path, server.port) as fetching:
        good = sorted(each for n, each in enumerate(MAILS, 1) if n not in bad)
        attended(fetching, lambda: sorted(fetching.arrived()) == good)


@pytest.mark.parametrize("how", ["hangs up", "[UNAVAILABLE]", "[INUSE]"])
@pytest.mark.parametrize("octets", [False, True])
def test_a_mail_that_is_not_given_for_a_moment_is_taken_in_later(tmp_path, monkeypatch, how, octets):
    with HostileImap(MAILS[:5]) as server, Fetching(tmp_path, server.port, ", done: ''") as fetching:
        attended(fetching, lambda: len(fetching.arrived()) == 5)
        hooked(monkeypatch, fails(6, how=how, octets=octets, times=1))
        server.deliver(MAILS[5])
        attended(fetching, lambda: len(fetching.arrived()) == 6)
        assert server.mails("Failed") == []


@pytest.mark.parametrize("times", [5, 8])
def test_a_server_that_gives_no_octets_for_a_while_is_not_its_mails_fault(tmp_path, times):
    with HostileImap(MAILS, "cut mid-literal", times=times) as server, Fetching(tmp_path, server.port) as fetching:
        attended(fetching, lambda: sorted(fetching.arrived()) == sorted(MAILS))
        assert server.misbehaved == times
        assert server.mails("Failed") == []


def test_of_many_bad_ones_the_first_good_mail_is_not_waited_for(tmp_path, monkeypatch):
    mails = [mail(f"k{n}") for n in range(200)]
    bad = set(range(7, 200, 33))
    connections = []

    def hook(_, uid, __):
        if uid in bad:
            connections.append(len(fetching.arrived()))
            raise EOFError

    hooked(monkeypatch, hook)
    monkeypatch.setattr(attend, "_PAUSE_FIRST_S", 0.0)
    with HostileImap(mails) as server, Fetching(tmp_path, server.port) as fetching:
        attended(fetching, lambda: len(fetching.arrived()) == 200 - len(bad))
        assert connections.count(0) <= 12
        assert len(connections) <= 15 * len(bad)


@pytest.mark.parametrize("octets", [False, True])
def test_what_is_dropped_and_not_given_for_a_moment_is_taken_later(tmp_path, monkeypatch, octets):
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch(kind="file") == 0
        last = server.take(MAILS[0], FOLDER).uid
        hooked(monkeypatch, fails(last, how="[UNAVAILABLE]", octets=octets, times=1))
        attended(fetching, lambda: MAILS[0] in fetching.arrived(), watcher(fetching))


@pytest.mark.parametrize(
    ("how", "octets", "times"), [("hangs up", True, 3), ("[UNAVAILABLE]", True, 6), ("[UNAVAILABLE]", False, 14)]
)
def test_what_is_dropped_alone_waits_for_the_server_to_be_well(tmp_path, monkeypatch, how, octets, times):
    monkeypatch.setattr(folders, "LOOK_S", 0.05)
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch(kind="file") == 0
        last = server.take(MAILS[0], FOLDER).uid
        hooked(monkeypatch, fails(last, how=how, octets=octets, times=times))
        attended(fetching, lambda: MAILS[0] in fetching.arrived(), watcher(fetching))


@pytest.mark.parametrize("command", ["SELECT", "UID SEARCH"])
def test_a_folder_that_is_in_use_for_a_moment_gets_no_second_copy(tmp_path, monkeypatch, command):
    with HostileImap() as server, Fetching(tmp_path, server.port) as fetching:
        fetching.house.quotation()
        fetching.house.sent()
        assert fetching.fetch("file: after APPEND", 1, "file") == KILLED
        original, said = imap_session._COMMANDS[command], []

        async def once(self, words):
            if not said:
                said.append(words)
                message = "NO [INUSE] the mailbox is locked, try again"
                raise Refused(message)
            return await original(self, words)

        monkeypatch.setitem(imap_session._COMMANDS, command, once)
        for _ in range(2):
            fetching.fetch(kind="file", seconds=8)
            with fetching.house.store.write() as tx:
                tx.execute(sa.update(tables.filing).values(due_at=0))
        assert said
        assert len(server.mails(FOLDER)) == 1


def test_what_found_no_room_among_the_failed_ones_is_moved_once_there_is(tmp_path):
    with HostileImap([MAILS[0], mail("large", 2_500_000)]) as server, Fetching(tmp_path, server.port) as fetching:
        server.full.add("Failed")

        async def play():
            await until(lambda: len(fetching.arrived()) == 1 and fetching.health()[0].error)
            server.full.clear()
            for session in list(server.sessions):
                server._loop.call_soon_threadsafe(session.writer.transport.abort)
            await until(lambda: server.mails() == [])

        attended(fetching, play)
        assert len(server.mails("Failed")) == 1


def test_another_bad_mail_under_the_same_number_is_moved_too(tmp_path):
    with HostileImap([mail("large", 2_500_000)]) as server, Fetching(tmp_path, server.port) as fetching:

        async def play():
            await until(lambda: "Failed" in server.boxes and len(server.mails("Failed")) == 1)
            new = Mailbox(uid_validity=server.boxes["INBOX"].uid_validity + 1)
            new.add(mail("large2", 2_500_000))
            server.boxes["INBOX"] = new
            for session in list(server.sessions):
                server._loop.call_soon_threadsafe(session.writer.transport.abort)
            await until(lambda: server.mails() == [])

        attended(fetching, play)


def test_a_mail_that_we_never_filed_is_not_cleared_away_under_the_number_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(filing, "TIDY_S", -1.0)
    monkeypatch.setattr(filing, "IDLE_S", 0.05)
    inbox = "Replygate/Inbox"
    (tmp_path / "password").write_text("x")
    with HostileImap() as server:
        at = f"host: 127.0.0.1, port: {server.port}, tls: false, password_file: {tmp_path / 'password'}"
        store = new_store(tmp_path / "site")
        people = (ROOT / "templates" / "site" / "people.yaml").read_text("utf-8")
        house = House(
            tmp_path / "site", store=store, rules=calm_rules(),
            people=people.replace("name: 賈小姐", "name: 賈小姐\n    delivery: inbox"),
            gateway=f"site: {{domain: {D}, name: E, language: en, timezone: UTC}}\nstore: {{url: 'sqlite:///var/x.db'}}\n"
            "next_hop: {url: 'maildir:var/mail'}\n"
            f"filing: {{accounts: [{{person: chia, {at}, user: chia}}], keep_read: 1s}}\n",
        )  # fmt: skip
        house.quotation()
        house.sent()

        async def play():
            await until(lambda: inbox in server.boxes and server.boxes[inbox].mails)
            server.boxes[inbox].mails[0].flags.add("\\Seen")

            def read():
                with house.store.read() as tx:
                    return tx.execute(
                        sa.select(tables.filing.c.read_at).where(tables.filing.c.read_at.is_not(None))
                    ).first()

            await until(read)
            # She takes the folder away, makes it anew, and puts a mail of her own there, which she has read.
            new = Mailbox(uid_validity=server.boxes[inbox].uid_validity + 1)
            new.add(b"From: mother@x.example\r\nMessage-ID: <hers@x>\r\n\r\nnever filed by us\r\n", {"\\Seen"})
            server.boxes[inbox] = new
            looks = len(server.commands)
            with house.store.write() as tx:  # what was filed was read long ago
                tx.execute(sa.update(tables.filing).values(read_at=1))
            await until(lambda: sum("UNFLAGGED" in str(each) for each in server.commands[looks:]) >= 3)

        def filer():
            return Filer(house.store, house.site, "chia", filing_accounts(house.site.settings)["chia"], lambda *_: None)

        attended(SimpleNamespace(house=house), play, filer)
        house.close()
        assert len(server.mails(inbox)) == 1


def test_a_connection_that_was_lost_before_it_waits_is_known_at_once(tmp_path):
    (tmp_path / "password").write_text("x")
    with HostileImap() as server:

        async def play():
            box = await imap_connect(Account("127.0.0.1", server.port, "x", False, tmp_path / "password"))
            await box.select("INBOX")
            for session in list(server.sessions):
                server._loop.call_soon_threadsafe(session.writer.transport.abort)
            await until(lambda: box._client.protocol.broken)
            async with asyncio.timeout(10):
                with pytest.raises(Exception, match=r"lost|closed|reset"):
                    await box.idle(30)

        asyncio.run(play())


def test_a_password_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "password").write_bytes(b"pw-\xe9")
    with pytest.raises(Exception, match="cannot be had"):
        asyncio.run(imap_connect(Account("127.0.0.1", 1, "x", False, tmp_path / "password")))
