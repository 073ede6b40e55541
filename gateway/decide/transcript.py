"""What became of commands is told to who gave them: what was done, what was mistaken, what they asked."""

from collections.abc import Mapping, Sequence

from gateway.decide.meant import Mistake
from gateway.decide.place import Incoming, Place
from gateway.records.commands import NOTE, Given, asks_note
from gateway.records.lifecycle import Problem
from gateway.store import messages, notices
from gateway.store.arrivals import Settled
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

_FILES_SHOWN = 20
HIDDEN_NOTE = Mistake("/note", problem=Problem("it must stand in the first line"), instead=("/note",))


def refuse(
    tx: Transaction, incoming: Incoming, where: Place, wrong: Mistake, given: Sequence[Given], text: str
) -> Settled:  # fmt: skip
    """Answer a mail whose command cannot be carried out; nothing of it is.

    The answer holds the mail as it would have worked, ready to send: the commands `given`, mended, and the `text`.
    """
    scope = f"record:{where.record.id}:mistake"  # a mail to two addresses of one record is answered once
    if messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mistake was answered already", where.record.id)
    first, _, below = text.partition("\n")
    text = below if first.strip() == wrong.given else text
    lines = [each.line for each in given]
    mended = [mended_lines(lines, wrong.given, line) for line in wrong.instead]
    instead = ["\n".join([*each, *([""] if text.strip() else []), text]).strip() for each in mended]
    # What was to stay inside stays there when it is sent again, or answered.
    note = incoming.note or where.action == NOTE.name or asks_note(given) or wrong is HIDDEN_NOTE
    files = [each.name for each in incoming.attachments][:_FILES_SHOWN]
    told = {**as_told(wrong, instead), "note": note, "files": files}
    tell(tx, incoming, where.record.id, "mistake", told)
    return Settled("done", "mistake", f"{wrong.given} is no command here; nothing was done", where.record.id)


def as_told(wrong: Mistake, instead: Sequence[str]) -> dict[str, object]:
    """Return what a transcript says of a mistake; `instead` are the mails that would have worked."""
    return {
        "given": wrong.given, "nearest": list(wrong.nearest), "problem": wrong.problem.pattern,
        "about": list(wrong.problem.about), "instead": list(instead),
    }  # fmt: skip


def mended_lines(lines: Sequence[str], wrong: str, right: str) -> Sequence[str]:
    """Return the command lines of a mail with the wrong one as it would have worked."""
    mended = [right if wrong in (line, line.split(" ")[0]) else line for line in lines] or [right]
    return list(dict.fromkeys(mended))


def answer(
    tx: Transaction, incoming: Incoming, asked: Sequence[str], record_id: int | None, about: int | None = None
) -> None:  # fmt: skip
    """Answer what an authenticated person asked; nobody else, and no machine, is answered.

    `about` is the message whose mail was answered with the question.
    """
    identity = incoming.identity
    if identity.person is not None and identity.authenticated and not incoming.automatic:
        data = {"asked": list(asked), "answers": incoming.mail.message_id, "about": about}
        notices.add(tx, NewNotice("answer", identity.person.key, identity.email, data, record_id), incoming.now)


def tell(
    tx: Transaction, incoming: Incoming, record_id: int | None, what: str, data: Mapping[str, object]
) -> None:  # fmt: skip
    """Answer an authenticated person with a transcript; nobody else, and no machine, is answered."""
    identity = incoming.identity
    if identity.person is not None and identity.authenticated and not incoming.automatic:
        told = {"what": what, "answers": incoming.mail.message_id, **data}
        new = NewNotice("transcript", identity.person.key, identity.email, told, record_id)
        notices.add(tx, new, incoming.now)
