"""Where a recipient's address leads: a return path, a record, a team, an intake, nowhere.

The envelope alone decides; References only choose the parent inside the record it names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.alias import Addresses, HeldAddress, RecordAddress, ReturnPath, Word
from gateway.rules import RESERVED, Intake, Rules


@dataclass(frozen=True, slots=True)
class ToRecord:
    """To a record's thread. `action` is the command its address is, `reader` whose tag it holds."""

    ref: str
    action: str = ""
    reader: int | None = None


@dataclass(frozen=True, slots=True)
class ToTeam:
    """To a team's own thread, which may have no record yet."""

    team: str
    action: str = ""
    reader: int | None = None


@dataclass(frozen=True, slots=True)
class ToIntake:
    """To an address that creates records."""

    intake: Intake


@dataclass(frozen=True, slots=True)
class ToReserved:
    """To postmaster, abuse, or the gateway itself."""

    local: str


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A mail that came without an envelope, and names no address of ours where our last hop would have."""


@dataclass(frozen=True, slots=True)
class Nowhere:
    """To nothing we know any more."""


Target = ReturnPath | HeldAddress | ToRecord | ToTeam | ToIntake | ToReserved | Unnamed | Nowhere


def route(recipient: str, addresses: Addresses, rules: Rules, epoch: Callable[[str], int | None]) -> Target:
    """Return where `recipient` leads: the first that fits of CONTRACT's order.

    `epoch` tells how often the tags of a record were revoked, None where there is no such record.
    """
    if not recipient:
        return Unnamed()
    address = addresses.parse(recipient)
    meant = addresses.read(address, lambda ref: epoch(ref) or 0) if address else Word(recipient.lower())
    match meant:
        case ReturnPath() | HeldAddress():
            return meant
        case RecordAddress(ref, action, reader):
            if ref.lower() in rules.teams:
                return ToTeam(ref.lower(), action, reader)
            if epoch(ref) is not None:
                return ToRecord(ref, action, reader)
            return Nowhere() if action or reader is not None else _word(ref.lower(), rules)
        case Word(local):
            return _word(local, rules)
        case None:
            return Nowhere()


def _word(local: str, rules: Rules) -> Target:
    if local in rules.teams:
        return ToTeam(local)
    if local in rules.intake:
        return ToIntake(rules.intake[local])
    return ToReserved(local) if local in RESERVED else Nowhere()
