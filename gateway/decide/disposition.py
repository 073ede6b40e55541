"""What is done with a mail for one recipient: accept, hold, refuse or discard."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Disposition:
    """A decision, with a word for its cause and the reason as an administrator reads it."""

    name: Literal["accept", "hold", "refuse", "discard"]
    cause: str = ""
    reason: str = ""


ACCEPT = Disposition("accept")


def hold(cause: str, reason: str) -> Disposition:
    """Keep a mail for a person."""
    return Disposition("hold", cause, reason)
