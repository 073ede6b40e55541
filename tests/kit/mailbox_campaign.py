"""`script/campaign-mailboxes`: kill -9 what reads and writes mailboxes at every point, again and again.

A round lets mails come, or lets things be said; kills at one point; runs to the end; then everything must be there once:
in the store, in its threads, and in every folder of a real Dovecot.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path

import sqlalchemy as sa
import structlog

from gateway.config import ARCHIVE
from gateway.node import make_renderer
from gateway.notify.cards import Cards
from gateway.store import tables
from gateway.store.arrivals import FOLDER, IMAP
from tests.kit import mailbox_child
from tests.kit.dovecot import Dovecot
from tests.kit.house import D, House, calm_rules
from tests.kit.mailbox_child import KILLED, POINTS, Coming
from tests.kit.stores import new_store

USERS = ("gateway", "archive", "chia")
MAILS = 5  # a round
STAGES = ("new", "qualified", "proposition")
_SAID = re.compile(r"said in \w+|line \d+")
VOUCHED = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.com\r\n"


def mail(number: str, octets: int = 0, to: str = f"s00001@{D}") -> bytes:
    return (
        f"Delivered-To: {to}\r\n{VOUCHED}From: b@example.com\r\nTo: {to}\r\nSubject: {number}\r\n"
        f"Message-ID: <{number}@example.com>\r\nContent-Type: text/plain\r\n\r\nsaid in {number}\r\n"
    ).encode() + b"and more of it\r\n" * (octets // 16)


def gateway_yaml(folder: Path, server: Dovecot, imap: str = "") -> str:
    """Return the settings of a site whose catch-all, archive and one account are in a server."""
    for user in USERS:
        (folder / user).write_text(server.users[user])
    at = f"host: 127.0.0.1, port: {server.port}, tls: false"
    return (
        f"site: {{domain: {D}, name: Example, language: en, timezone: UTC}}\nstore: {{url: 'sqlite:///var/x.db'}}\n"
        "next_hop: {url: 'maildir:var/mail'}\nauthentication: {mode: trust, authserv_id: mx.example.com}\n"
        f"imap: [{{{at}, user: gateway, password_file: {folder / 'gateway'}, envelope_headers: [Delivered-To]{imap}}}]\n"
        f"filing:\n  archive: {{{at}, user: archive, password_file: {folder / 'archive'}}}\n"
        f"  accounts: [{{person: chia, {at}, user: chia, password_file: {folder / 'chia'}}}]\n  keep_read: 0s\n"
    )


class World:
    """A house whose mailboxes are in a server, with a quotation and a lead that chia follows."""

    def __init__(self, folder: Path, server: Dovecot, imap: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.server = server
        site = folder / "site"
        store = new_store(site)
        people = "name: 賈小姐"
        example = (Path(__file__).parents[2] / "templates" / "site" / "people.yaml").read_text("utf-8")
        assert people in example
        self.house = House(
            site, store=store, gateway=gateway_yaml(folder, server, imap), rules=calm_rules(),
            people=example.replace(people, f"{people}\n    delivery: inbox"),
        )  # fmt: skip
        self.site = site
        self.quotation = self.house.quotation()
        self.lead = self.house.announce("lead.created", title="desks", salesperson="a", actor="a", team="sales")
        self.numbers = 0
        self.dropped = 0
        self.came: list[str] = []

    def close(self) -> None:
        self.house.close()

    # ---- what happens

    def mails(self, count: int = MAILS) -> tuple[bytes, ...]:
        """Return new mails to the quotation; one of them is large."""
        names = [f"m{self.numbers + n}" for n in range(count)]
        self.numbers += count
        self.came += names
        return tuple(mail(name, 1_300_000 if n == 2 else 0) for n, name in enumerate(names))

    def come(self, mails: tuple[bytes, ...]) -> Coming:
        return Coming(self.server.port, "gateway", self.server.users["gateway"], mails)

    def say(self) -> None:
        """Let something be said, let a lead move on, let chia read what is in her inbox; word it all."""
        self.numbers += 1
        self.house.announce("message", ref=self.quotation, body=f"line {self.numbers}", actor="b")
        ((now,),) = self.rows(sa.select(tables.record.c.fields).where(tables.record.c.ref == self.lead))
        stage = STAGES[(STAGES.index(now.get("stage", "new")) + 1) % len(STAGES)]
        self.house.announce("lead.stage", ref=self.lead, fields={"stage": stage}, actor="a")
        self.word()
        with self.server.client("chia") as client:
            if client.folder_exists("Replygate/Inbox"):
                client.select_folder("Replygate/Inbox")
                if found := client.search("UNSEEN"):
                    client.add_flags(found[::2], [b"\\Seen"])

    def word(self) -> None:
        """Decide what waits, word it, and make the cards."""
        self.house.run()
        self.house.sent()
        renderer = make_renderer(self.house.site.settings)
        # A card is never older than this: leads that changed in the same millisecond are all looked at.
        Cards(self.house.store, self.house.site, self.house.addresses, renderer).step()

    def drop(self) -> None:
        """Drop two mails into the quotation's folder, and move the card on."""
        folder = f"Replygate/Quotations/{self.quotation}"
        with self.server.client("chia") as client:
            for _ in range(2):
                self.dropped += 1
                client.append(folder, mail(f"d{self.dropped}", to="chia@example.com"))
            stage = next(name for name in STAGES if self.in_folder("chia", f"Replygate/Stages/{name}"))
            client.select_folder(f"Replygate/Stages/{stage}")
            client.move(client.search(), f"Replygate/Stages/{'new' if stage == 'qualified' else 'qualified'}")

    # ---- what became of it

    def ids(self, user: str, folder: str) -> list[str]:
        return [
            str(message_from_bytes(each, policy=policy.default)["Message-ID"]) for each in self.in_folder(user, folder)
        ]

    def in_folder(self, user: str, folder: str) -> list[bytes]:
        with self.server.client(user) as client:
            there = client.folder_exists(folder)
        return self.server.mails(user, folder) if there else []

    def rows(self, query: sa.Select) -> list:
        with self.house.store.read() as tx:
            return list(tx.execute(query))

    def problems(self) -> list[str]:
        """Return what is lost, doubled or left behind, after everything was done."""
        return [*self.fetched(), *self.threads(), *self.filed("chia"), *self.filed(ARCHIVE), *self.cards()]

    def fetched(self) -> list[str]:
        wanted = Counter(f"<{name}@example.com>" for name in self.came)
        arrived = self.rows(sa.select(sa.func.count()).where(tables.arrival.c.door == IMAP))[0][0]
        problems = [f"{arrived} arrivals of {len(self.came)} mails"] * (arrived != len(self.came))
        if self.server.mails("gateway"):
            problems.append("mails are left in the catch-all")
        return problems + _differ("Processed", wanted, self.ids("gateway", "Processed"))

    def threads(self) -> list[str]:
        texts = Counter(match[0] for row in self.house.messages() if (match := _SAID.search(row.text)))
        problems = [f"{text!r} stands {n} times in the thread" for text, n in texts.items() if n > 1]
        problems += [f"{name} is not in the thread" for name in self.came if f"said in {name}" not in texts]
        notes = [row for row in self.house.messages() if row.subtype == "note"]
        if len(notes) != self.dropped:
            problems.append(f"{len(notes)} notes of {self.dropped} mails that were dropped")
        kept = self.rows(sa.select(tables.arrival.c.id).where(tables.arrival.c.door == FOLDER))
        return (
            problems
            + [f"{each.cause} is held" for each in self.house.held()]
            + ["nothing"] * (len(kept) < self.dropped)
        )

    def filed(self, account: str) -> list[str]:
        table, problems = tables.filing, []
        query = sa.select(table, tables.message.c.message_id.label("ours")).join(tables.message)
        query = query.where(table.c.account == account)
        wanted: dict[str, Counter[str]] = {}
        for row in self.rows(query):
            if row.state != "sent":
                problems.append(f"filing {row.id} into {row.account} {row.folder} is {row.state}: {row.answer}")
            wanted.setdefault(row.folder, Counter())[f"<{row.ours}>"] += 1
        for folder, ids in wanted.items():
            there = self.ids(account if account != ARCHIVE else "archive", folder)
            if folder == "Replygate/Inbox":
                problems += self._inbox(ids, there)
            else:
                dropped = [each for each in there if each.startswith("<d") and account == "chia"]
                problems += _differ(f"{account} {folder}", ids + Counter(set(dropped)), there)
        return problems

    def _inbox(self, wanted: Counter[str], there: list[str]) -> list[str]:
        with self.server.client("chia") as client:
            client.select_folder("Replygate/Inbox")
            read = len(client.search("SEEN UNFLAGGED"))
        problems = [f"{read} read mails are left in the inbox"] * bool(read)
        for name, count in Counter(there).items():
            if count > 1 or name not in wanted:
                problems.append(f"inbox: {name} stands {count} times")
        return problems

    def cards(self) -> list[str]:
        found = [(stage, each) for stage in STAGES for each in self.ids("chia", f"Replygate/Stages/{stage}")]
        (card,) = self.rows(sa.select(tables.card).where(tables.card.c.account == "chia"))
        wanted = [(card.folder.rpartition("/")[2], f"<{card.message_id}>")]
        return [] if found == wanted else [f"cards {found}, not {wanted}"]


def _differ(where: str, wanted: Counter[str], there: list[str]) -> list[str]:
    found = Counter(there)
    lost, more = wanted - found, found - wanted
    return [f"{where}: lost {sorted(lost)}"] * bool(lost) + [f"{where}: too many {sorted(more.elements())}"] * bool(
        more
    )


def play(world: World, name: str, rng: random.Random, *, meanwhile: bool = False) -> list[str]:
    """Play one round with a kill at a point; return what is wrong after it. `meanwhile` more is said before it goes on."""
    point = POINTS[name]
    hit = rng.randint(1, point.hits)
    come = None
    if point.kind == "fetch":
        mails = world.mails()
        come = world.come(mails)
        if name != "fetch: in IDLE":
            come.append()
            come = None
    elif point.kind == "file":
        for _ in range(2):
            world.say()
    else:
        world.drop()
    status = mailbox_child.run(world.site, point.kind, "chia", name, hit, come)
    problems = [] if status == KILLED else [f"it ended with {status} and was not killed"]
    if meanwhile:
        world.say()
    if status := mailbox_child.run(world.site, point.kind, "chia"):
        problems.append(f"it does not end when it runs again: {status}")
    world.word()
    if point.kind == "fetch":
        problems += world.fetched() + world.threads()
    elif point.kind == "file":
        problems += world.filed("chia") + world.cards()
    else:
        problems += world.threads()
    return [f"{name} at {hit}: {each}" for each in problems]


def finish(world: World) -> list[str]:
    """Run everything to its end, as often as one makes work for another; return what is wrong."""
    problems: list[str] = []
    for _ in range(2):
        for kind, key in (("fetch", ""), ("watch", "chia"), ("file", "chia"), ("file", ARCHIVE)):
            if status := mailbox_child.run(world.site, kind, key):
                problems.append(f"{kind} {key} does not end: {status}")
            world.word()
    return problems + world.problems()


def begin(folder: Path, server: Dovecot) -> World:
    """Make a world whose folders are all there, with cards and threads in them."""
    world = World(folder, server)
    world.say()
    if problems := finish(world):
        raise RuntimeError(f"it does not work without a kill: {problems}")
    return world


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/campaign-mailboxes", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="kills at each point")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--point", default="", help="only points with these words in them")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rng = random.Random(chosen.seed)
    bad = 0
    users = {user: f"pw-{user}" for user in USERS}
    for name in (each for each in POINTS if chosen.point in each):
        began = time.monotonic()
        wrong: list[str] = []
        with tempfile.TemporaryDirectory() as place, Dovecot(Path(place) / "dovecot", users) as server:
            world = begin(Path(place) / "world", server)
            for n in range(chosen.times):
                wrong += play(world, name, rng)
                if n % 10 == 9:
                    wrong += finish(world)
            wrong += finish(world)
            world.close()
        bad += bool(wrong)
        sys.stdout.write(f"{name:45} {chosen.times} kills, {time.monotonic() - began:.0f} s, {len(wrong)} problems\n")
        sys.stdout.writelines(f"    {each}\n" for each in wrong[:5])
        sys.stdout.flush()
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
