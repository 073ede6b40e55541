"""The folders threads are filed in: how they are called, and what one means.

In the archive a record's folder is `Quotations/S00042`, a team's `Teams/sales`. In a person's own account the same
stand under `Replygate/`, beside `Inbox` and `Stages/<stage>`. What addresses are to mail, these are to mailboxes.
"""

import re
from collections.abc import Iterable, Sequence

from gateway.records.kinds import TEAM
from gateway.records.lifecycle import STAGE
from gateway.records.record import Record

OWN = "Replygate/"  # before the folders in a person's own account
INBOX = f"{OWN}Inbox"
STAGES = f"{OWN}Stages/"
WON, LOST = "won", "lost"  # where leads stand that are in no stage any more
_CARD = re.compile(r"card\.[0-9a-f]{24}@")
_PLURALS = {"quotation": "Quotations", "lead": "Leads", "invoice": "Invoices", TEAM: "Teams"}


def of_record(kind: str, ref: str) -> str:
    """Return the folder of a record, or of a team's own thread, as the archive has it."""
    name = ref.lower() if kind == TEAM else ref.upper()
    return f"{_plural(kind)}/{name}"


def _plural(kind: str) -> str:
    return _PLURALS.get(kind) or kind.capitalize() + "s"


def record_in(folder: str, kinds: Iterable[str]) -> str:
    """Return the reference of the record or team whose folder this is, in the archive or one's own account, or "".

    `kinds` are those there are: what else somebody keeps in folders of two parts is theirs.
    """
    ours, slash, name = folder.removeprefix(OWN).partition("/")
    known = any(ours == _plural(kind) for kind in (*kinds, TEAM))
    return name if slash and known and "/" not in name else ""


def of_stage(stage: str) -> str:
    """Return the folder of a stage; a name there has no part of its own behind a `/`."""
    return STAGES + stage.replace("/", "-")


def is_card(message_id: str) -> bool:
    """Whether a Message-ID is one of our cards."""
    return bool(_CARD.match(message_id))


def of_lead(lead: Record) -> str:
    """Return the folder in which a lead's card belongs."""
    return of_stage((lead.fields.get(STAGE) or lead.state) if lead.state == "open" else lead.state)


def stage_in(folder: str, stages: Sequence[str]) -> str:
    """Return which of the `stages` a folder is, or won, or lost; "" for none."""
    return next((each for each in (*stages, WON, LOST) if of_stage(each) == folder), "")
