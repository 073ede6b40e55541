"""From a kept arrival to its place in a thread: gather, decide, act.

An arrival is claimed, read, and decided for each of its recipients in one transaction; several
share a commit, each in a savepoint of its own.

*Failure:* a store that is away leaves the arrival as it was. Any other fault is tried three
times, then the arrival is shunted with its octets, and the next one goes on. Nothing is lost.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway import maillog
from gateway.alias import ReturnPath
from gateway.decide import bounce, command, intake, thread
from gateway.decide.authenticate import Identity, identify
from gateway.decide.place import Incoming, find_place
from gateway.decide.post import Desk
from gateway.decide.route import Nowhere, Target, ToIntake, ToRecord, ToReserved, ToTeam, route
from gateway.mail.automatic import why_automatic
from gateway.mail.parse import Mail, parse
from gateway.records.kinds import NOTE
from gateway.store import arrivals, messages, records
from gateway.store.arrivals import Arrival, Recipient, Settled
from gateway.store.lease import TRIES, Claim, is_deadly
from gateway.store.session import Away, Store, Transaction
from gateway.worker import Traffic, now_ms

BATCH = 50
_OUR_ID = re.compile(r"[a-z0-9]+\.[0-9a-f]{24}@[a-z0-9.-]+")
TOGETHER = 16 * 1024 * 1024  # octets of mails in memory at once
RETRY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Read:
    """An arrival with what its mail says."""

    arrival: Arrival
    mail: Mail
    identity: Identity


class Receiver:
    """Decides what has arrived, a batch a step."""

    def __init__(self, store: Store, desk: Desk, traffic: Traffic, posted: Callable[[], None]) -> None:
        """`posted` is called, in any thread, after each commit."""
        self._store = store
        self._desk = desk
        self._traffic = traffic
        self._posted = posted

    def step(self) -> int:
        """Decide the arrivals that are due; return how many were claimed."""
        with self._store.write() as tx:
            claims = arrivals.claim(tx, now_ms(), BATCH)
        if not claims:
            return 0
        claims = self._without_deadly(claims)
        with self._store.read() as tx:
            groups = arrivals.by_size(tx, claims, TOGETHER)
        for n, group in enumerate(groups):
            try:
                self._step_group(group)
            except Away:
                self._hand_back([claimed for left in groups[n:] for claimed in left])
                raise
        return max(len(claims), 1)

    def _without_deadly(self, claims: list[Claim]) -> list[Claim]:
        """Shunt, before a look at it, what was claimed alone too often: it ended the process each time."""
        deadly = [claimed for claimed in claims if is_deadly(claimed)]
        for claimed in deadly:
            reason = "the node ended each time it was handled"
            with self._store.write() as tx:
                arrivals.shunt(tx, claimed, reason, now_ms())
            maillog.shunted("arrival", claimed.id, reason)
        return [claimed for claimed in claims if claimed not in deadly]

    def _step_group(self, group: list[Claim]) -> None:
        with self._store.read() as tx:
            due = arrivals.load(tx, group)
        failed = self._decide_all([self._read(arrival) for arrival in due])
        self._set_aside(failed)
        self._posted()

    def _read(self, arrival: Arrival) -> Read:
        mail = parse(arrival.content)
        return Read(arrival, mail, identify(arrival, mail, self._desk.site.people))

    def _decide_all(self, read: list[Read]) -> list[tuple[Arrival, Exception]]:
        failed: list[tuple[Arrival, Exception]] = []
        waiting = deque(read)
        while waiting:
            self._traffic.give_way()
            self._decide_some(waiting, failed)
        return failed

    def _decide_some(self, waiting: deque[Read], failed: list[tuple[Arrival, Exception]]) -> None:
        """Decide in one commit until nothing waits, or until another thread wants to write."""
        settled: list[tuple[int, Settled]] = []
        with self._store.write() as tx:
            while waiting and not (settled and (self._store.wanted or self._traffic.busy)):
                each = waiting.popleft()
                try:
                    with tx.begin_nested():
                        settled += [(each.arrival.id, outcome) for outcome in decide(tx, self._desk, each)]
                        _finish(tx, each.arrival)
                except Away:
                    raise
                except _ClaimLost:
                    continue
                except Exception as error:  # noqa: BLE001 (a mail that cannot be handled is set aside)
                    failed.append((each.arrival, error))
            self._store.wake_others(tx)
        for arrival_id, outcome in settled:
            maillog.decided(arrival_id, outcome.state, outcome.cause, str(outcome.record_id or ""))

    def _set_aside(self, failed: list[tuple[Arrival, Exception]]) -> None:
        for arrival, error in failed:
            now = now_ms()
            with self._store.write() as tx:
                if arrival.claim.attempts >= TRIES:
                    reason = f"{type(error).__name__}: {error}"[:500]
                    arrivals.shunt(tx, arrival.claim, reason, now)
                    maillog.shunted("arrival", arrival.id, reason)
                else:
                    arrivals.postpone(tx, arrival.claim, now + RETRY_MS, failed=True)
                    maillog.failed_once("arrival", arrival.id, error)

    def _hand_back(self, claims: list[Claim]) -> None:
        with self._store.write() as tx:
            for claimed in claims:
                arrivals.postpone(tx, claimed, now_ms(), failed=False)


class _ClaimLost(Exception):
    """Another node decided this arrival meanwhile."""


def _finish(tx: Transaction, arrival: Arrival) -> None:
    if not arrivals.finish(tx, arrival.claim):
        raise _ClaimLost


def decide(tx: Transaction, desk: Desk, read: Read) -> list[Settled]:
    """Serve every recipient of an arrival and write what became of it."""
    now = now_ms()
    rules = desk.site.rules
    routed = [
        (recipient, route(recipient.address, desk.addresses, rules, lambda ref: records.epoch(tx, ref)))
        for recipient in read.arrival.recipients
    ]
    author = read.identity.email or "(no single well-formed From)"
    note = _is_note(tx, read, [target for _, target in routed])
    outcomes: list[Settled] = []
    served: set[str] = set()
    for recipient, target in sorted(routed, key=lambda pair: _precedence(pair[1])):
        name = _name(target)
        if name in served and name:
            outcome = Settled("done", "same record", "another recipient of this mail is the same record")
        else:
            outcome = _serve(tx, desk, read, recipient, target, now, note=note)
            served.add(name)
        arrivals.settle_recipient(tx, recipient.id, outcome, now, author, read.mail.subject)
        outcomes.append(outcome)
    return outcomes


def _is_note(tx: Transaction, read: Read, targets: list[Target]) -> bool:
    """Whether all a person says in this mail is a note: one address makes it so for all, and so does its parent."""
    asked = any(isinstance(each, ToRecord | ToTeam) and each.action == NOTE.name for each in targets)
    answers = (*read.mail.in_reply_to, *read.mail.references)
    return read.identity.person is not None and (asked or messages.any_note(tx, answers))


def _precedence(target: Target) -> int:
    """Records before teams and intakes; of several addresses of one record, the note's first."""
    match target:
        case ToRecord(action="note") | ToTeam(action="note"):
            return 0
        case ToRecord():
            return 1
        case ToTeam():
            return 2
        case _:
            return 3


def _name(target: Target) -> str:
    """Return what one mail is posted to once: a record, whether or not it is a note there."""
    match target:
        case ToRecord(ref, action) | ToTeam(ref, action):
            return ref.lower() if action in ("", "note") else f"{ref.lower()}-{action}"
        case ToIntake(found):
            return f"intake:{found.address}"
        case _:
            return ""


def _serve(
    tx: Transaction, desk: Desk, read: Read, recipient: Recipient, target: Target, now: int, *, note: bool
) -> Settled:
    automatic = why_automatic(read.mail, read.arrival.return_path)
    incoming = Incoming(read.arrival, recipient, read.mail, read.identity, automatic, now, note)
    ours = _OUR_ID.fullmatch(read.mail.message_id) and read.mail.message_id.endswith("@" + desk.addresses.domain)
    if ours and not isinstance(target, ReturnPath):
        return Settled("discarded", "own mail", "a mail of ours came back to us")
    match target:
        case ReturnPath(delivery):
            return bounce.take(tx, delivery, incoming)
        case ToRecord(ref, action, reader):
            return _record(tx, desk, incoming, ref, action, reader)
        case ToTeam(team, action, reader):
            records.create_team(tx, team, desk.site.rules.teams[team].name, now)
            return _record(tx, desk, incoming, team, action, reader)
        case ToIntake(found):
            belongs = intake.record_answered(tx, found, incoming)
            if belongs:
                return _record(tx, desk, incoming, belongs, "", None)
            return intake.create(tx, desk, found, incoming)
        case ToReserved(local):
            return command.to_reserved(tx, desk, local, incoming)
        case Nowhere():
            return Settled("held", "unknown address", "the address is not ours any more")


def _record(tx: Transaction, desk: Desk, incoming: Incoming, ref: str, action: str, reader: int | None) -> Settled:
    place = find_place(tx, desk, incoming, ref, action, reader)
    if place is None:
        return Settled("held", "unknown address", f"there is no record {ref}")
    if action in ("follow", "unfollow"):
        return command.follow(tx, desk, incoming, place)
    return thread.write(tx, desk, incoming, place)
