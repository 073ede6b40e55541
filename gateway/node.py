"""One running node: build everything once, open the doors, start the loops, stop politely.

*Failure:* what keeps a node from starting raises `CannotStart` with the mend; nothing is taken
in before everything stands.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import resource
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

from gateway import bundled, maillog
from gateway.alias import Addresses
from gateway.arrive.accept import Acceptor
from gateway.arrive.crowd import Shared
from gateway.arrive.doors import Doors
from gateway.arrive.folders import Watcher
from gateway.arrive.imap import Fetcher
from gateway.arrive.smtp import Settings as DoorSettings
from gateway.arrive.submission import Submitters
from gateway.config import Settings, parse_listen
from gateway.decide.post import Desk
from gateway.decide.read import Reader
from gateway.decide.receive import Receiver
from gateway.decide.resolver import Resolver
from gateway.document import Problem
from gateway.imap import filing_accounts
from gateway.keyring import load_keys
from gateway.metrics import MetricsServer
from gateway.notify.cards import Cards
from gateway.notify.fanout import FanOut
from gateway.notify.render import Renderer
from gateway.send.deliver import Sender, load_hop
from gateway.send.folders import Filer
from gateway.send.sign import load_key
from gateway.site import Site
from gateway.store import audit, filing, notices, schema, status
from gateway.store.notices import NewNotice
from gateway.store.session import Away, Store, Transaction, open_store
from gateway.users import Users
from gateway.worker import Traffic, Worker, now_ms

THREADS = 24
# The doors and the senders run in the event loop, deciding and wording in threads. The default of
# 5 ms lets a thread keep the loop waiting at every step of a session.
SWITCH_INTERVAL_S = 0.005
RELOAD_CHECK_S = 1.0
MAPPED_OCTETS = 256 * 1024  # blocks of memory from which on each is given back when it is freed
ARENAS = 2  # heaps that threads share: each keeps what was freed in it
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # mallopt(3)


class CannotStart(Exception):
    """Why a node does not start, and the mend."""


def open_site_store(settings: Settings) -> Store:
    """Open the store of a site."""
    return open_store(settings.store.url, settings.folder)


def make_renderer(settings: Settings) -> Renderer:
    """Make the renderer of a site: its own templates stand before ours."""
    own = [settings.path(settings.site.templates)] if settings.site.templates else []
    return Renderer([*own, bundled.folder("templates")], settings.site.timezone)


def make_addresses(settings: Settings) -> Addresses:
    """Make the addresses of a site, with the keys in its state folder."""
    return Addresses(settings.site.domain, load_keys(settings.state))


class Node:
    """A node of one site."""

    def __init__(self, site: Site) -> None:
        """Build everything; nothing runs yet. Raises `CannotStart`."""
        settings = site.settings
        self._site = site
        try:
            self._addresses = make_addresses(settings)
            self._hop = load_hop(settings, self._addresses, load_key)
            self._tls = _tls(settings) if settings.smtp else None
        except (ValueError, OSError) as error:
            raise CannotStart(str(error)) from None
        self._store = open_site_store(settings)
        self._renderer = make_renderer(settings)
        self._workers: list[Worker] = []
        self._reload = asyncio.Event()
        self._stop = asyncio.Event()
        self._told: list[Problem] = []

    async def run(self, ready: Callable[[dict[str, str]], None]) -> None:
        """Run until SIGTERM or SIGINT; `ready` is called with the doors' addresses once mail is taken.

        SIGHUP, or a changed file, reloads people and rules.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        _raise_file_limit()
        _give_memory_back()
        self._site.remember()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "store"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        with self._only_node(), contextlib.closing(self._store):
            await asyncio.to_thread(self._prepare_store)
            await self._run(ready)

    def _prepare_store(self) -> None:
        try:
            if self._store.embedded:
                schema.upgrade(self._store)
                with self._store.write() as tx:
                    status.free_leases(tx)
            elif schema.revision(self._store) != schema.newest():
                message = "the store's schema is not up to date; run `replygate migrate`"
                raise CannotStart(message)
            with self._store.write() as tx:
                filing.give_up_others(tx, self._site.accounts, now_ms())
        except Away as away:
            message = f"the store cannot be reached: {away}"
            raise Away(message) from None

    async def _run(self, ready: Callable[[dict[str, str]], None]) -> None:
        settings, store = self._site.settings, self._store
        sender = Sender(store, self._hop, lambda: self._site.people, self._wake_notify)
        traffic = Traffic()
        filers = [
            Filer(store, self._site, key, account, self._tell_account)
            for key, account in filing_accounts(settings).items()
        ]

        def queued() -> None:
            sender.wake()
            for filer in filers:
                filer.wake()

        fan_out = FanOut(store, self._site, self._addresses, self._renderer, traffic, queued)
        cards = Cards(store, self._site, self._addresses, self._renderer)
        notifier = Worker("notify", lambda: fan_out.step() + cards.step(), _tell)
        reader = Reader(self._site, Resolver(settings.authentication.resolver))
        receiver = Receiver(store, Desk(self._site, self._addresses), reader, traffic, notifier.wake)
        decider = Worker("decide", receiver.step, _tell)
        acceptor = Acceptor(store, self._site, self._addresses, traffic, decider.wake)
        others = Worker("others", lambda: self._heard_others(others, acceptor, decider, notifier, sender), _tell)
        self._workers = [decider, notifier, others]
        doors = Doors(Shared(acceptor, settings.site.domain), self._submitters())
        metrics = MetricsServer(settings.metrics.listen, store) if settings.metrics else None
        try:
            listening = await self._open(doors)
        except OSError as error:
            await doors.close()
            message = f"cannot listen: {error.strerror or error}"
            raise CannotStart(message) from None
        sender.start()
        for worker in self._workers:
            worker.start()
        attended = [asyncio.create_task(each.run()) for each in (*filers, *self._fetchers(traffic, decider.wake))]
        if metrics is not None:
            listening["metrics"] = metrics.start()
        ready(listening)
        watcher = asyncio.create_task(self._watch_files())
        await self._stop.wait()
        watcher.cancel()
        for task in attended:
            task.cancel()
        await asyncio.gather(*attended, return_exceptions=True)
        await doors.close()
        await asyncio.to_thread(lambda: [worker.stop() for worker in self._workers])
        reader.close()
        await sender.stop()
        if metrics is not None:
            metrics.stop()

    def _fetchers(self, traffic: Traffic, arrived: Callable[[], None]) -> list[Fetcher | Watcher]:
        """Return what fetches from catch-all mailboxes, and what watches the folders in which people act."""
        site, store = self._site, self._store
        fetchers = [
            Fetcher(store, site, self._addresses, door, traffic, arrived, self._tell_account)
            for door in site.settings.imap
        ]
        watchers = [
            Watcher(store, site, self._addresses, key, account, arrived, self._tell_account)
            for key, account in filing_accounts(site.settings).items()
        ]
        return [*fetchers, *watchers]

    def _tell_account(self, tx: Transaction, name: str, error: str, mail: str) -> None:
        """Tell everybody with `settings` that an account stands still, and why, that it goes on, or of a bad mail."""
        for person in self._site.people.with_right("settings"):
            data = {"account": name, "error": error, "mail": mail}
            new = NewNotice("account", person.key, person.email[0], data, daily=bool(mail))
            notices.add(tx, new, now_ms())

    def _submitters(self) -> Submitters | None:
        smtp = self._site.settings.smtp
        if smtp is None or smtp.submission is None:
            return None
        users = Users(self._site.settings.path(smtp.submission.users_file))
        return Submitters(users, lambda: self._site.people)

    async def _open(self, doors: Doors) -> dict[str, str]:
        settings = self._site.settings
        smtp, lmtp = settings.smtp, settings.lmtp
        wanted: list[tuple[str, DoorSettings]] = []
        if smtp is not None:
            door = DoorSettings("smtp", smtp.max_size, smtp.trusted_networks, self._tls, require_tls=smtp.require_tls)
            wanted.append((smtp.listen, door))
            if smtp.submission is not None:
                door = DoorSettings("submission", smtp.max_size, (), self._tls, require_tls=True)
                wanted.append((smtp.submission.listen, door))
        if lmtp is not None:
            wanted.append((lmtp.listen, DoorSettings("lmtp", lmtp.max_size)))
        listening: dict[str, str] = {}
        for listen, door in wanted:
            host, port = parse_listen(listen)
            host = str(settings.path(host)) if port < 0 else host
            listening[door.name] = await doors.open(door, host, port)
        return listening

    def _wake_notify(self) -> None:
        for worker in self._workers:
            if worker.name == "notify":
                worker.wake()

    def _heard_others(
        self, others: Worker, acceptor: Acceptor, decider: Worker, notifier: Worker, sender: Sender
    ) -> int:
        """Wake everybody when another program changed the store: the CLI, or another node."""
        if self._store.wait_for_others(2.0, lambda: others.stopped):
            acceptor.forget()
            decider.wake()
            notifier.wake()
            sender.wake()
        return 1

    async def _watch_files(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_CHECK_S):
                    await self._reload.wait()
            asked = self._reload.is_set()
            self._reload.clear()
            await asyncio.to_thread(self._read_keys)
            if asked or await asyncio.to_thread(self._site.changed):
                problems = await asyncio.to_thread(self._site.reload)
                problems, before = list(problems), self._told
                self._told = problems
                if not problems:
                    await asyncio.to_thread(self._in_force)
                elif problems != before:
                    await asyncio.to_thread(self._tell_problems, [str(problem) for problem in problems])
                maillog.reloaded(len(problems))

    def _read_keys(self) -> None:
        """Take the tag keys up that another program rotated; a bad file leaves those in force."""
        try:
            keys = load_keys(self._site.settings.state)
        except (ValueError, OSError) as error:
            maillog.fault("tag keys", error)
            return
        if keys != self._addresses.keys:
            self._addresses.keys = keys

    def _in_force(self) -> None:
        """Keep a copy of what is in force now, and write down that it is."""
        self._site.remember()
        try:
            with self._store.write() as tx:
                audit.append(tx, "", "rules in force", self._site.digest[:16], now_ms())
        except Away as away:
            maillog.away("store", away)

    def _tell_problems(self, problems: list[str]) -> None:
        """Mail the errors of a bad edit, once, to everybody with `settings`."""
        try:
            with self._store.write() as tx:
                for person in self._site.people.with_right("settings"):
                    new = NewNotice("reload", person.key, person.email[0], {"problems": problems[:50]})
                    notices.add(tx, new, now_ms())
        except Away as away:
            maillog.away("store", away)
        for worker in self._workers:
            worker.wake()

    @contextmanager
    def _only_node(self) -> Iterator[IO[str] | None]:
        """Keep a second node from a SQLite file."""
        if not self._store.embedded:
            yield None
            return
        path = self._site.settings.state / "node.lock"
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                message = f"another node runs on this store ({path} is locked); a SQLite store has one node"
                raise CannotStart(message) from None
            yield file


def _raise_file_limit() -> None:
    """Let the doors hold as many connections as the system allows a process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _give_memory_back() -> None:
    """Let the C library map every large block apart, and give it back when it is freed.

    Left alone it raises its threshold to the largest block it saw: one mail of 25 MB, and all that
    come after it stay in heaps that never shrink.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_OCTETS)
        library.mallopt(_M_ARENA_MAX, ARENAS)


def _tell(what: str, error: BaseException) -> None:
    """Log what stopped a step: a store that is away is no fault of ours."""
    if isinstance(error, Away):
        maillog.away("store", error)
    else:
        maillog.fault(what, error)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    smtp = settings.smtp
    if smtp is None or not smtp.tls_certificate:
        if smtp is not None and smtp.require_tls:
            message = "smtp: require_tls needs tls_certificate and tls_key"
            raise ValueError(message)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.path(smtp.tls_certificate), settings.path(smtp.tls_key) if smtp.tls_key else None)
    return context
