"""Commands by mail: carried out with the author's right, answered with one transcript.

A mistake executes nothing of its mail, and is answered with the words that come nearest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from gateway.decide import machine, prefs, transcript
from gateway.decide.authorise import Question, Wish, authorise
from gateway.decide.disposition import hold
from gateway.decide.execute import Executed, Giver, execute, unknown
from gateway.decide.held import SECOND_YES
from gateway.decide.meant import (
    PLACEHOLDERS,
    Mistake,
    address_words,
    any_meant,
    names_field,
    signed_only,
    subtypes,
)  # fmt: skip
from gateway.decide.place import Incoming, Place, keep_aside, named
from gateway.decide.post import Desk, Text
from gateway.decide.quoted import careful
from gateway.decide.transcript import HIDDEN_NOTE
from gateway.mail.address import parse_address
from gateway.mail.quoting import begins_quoted, split_reply
from gateway.people import Person
from gateway.records.commands import (
    BY_NAME,
    FOLLOW,
    INVOICE,
    NOTE,
    PREFS,
    QUOTE,
    SEND,
    SET,
    UNFOLLOW,
    VALIDATE,
    Command,
    Given,
    asks_note,
    decorated,
    fits,
    may_mean_note,
    offer_marked,
    split_commands,
    titles,
)  # fmt: skip
from gateway.records.lifecycle import Problem
from gateway.records.record import CUSTOMER
from gateway.store import messages, notices
from gateway.store.arrivals import FOLDER, Settled
from gateway.store.messages import Author
from gateway.store.notices import NewNotice
from gateway.store.session import Transaction

NOT_POSTED = "What you wrote beside it is posted nowhere: write it to the address of the record."
EMPTY_NOTE = Mistake("/note", problem=Problem("a note needs a text"))


def note_words(given: Sequence[Given], below: str = "") -> list[str]:
    """Return what stands behind `/note` on its line, and `below`: both are the note."""
    words = [" ".join(each.arguments) for each in given if each.command is NOTE]
    return [*filter(None, [*words, below])] if words else []


def mistake(desk: Desk, where: Place, given: Sequence[Given], text: str) -> Mistake | None:
    """Return the first command nobody knows, or a note that `text` hides, or None."""
    if not asks_note(given) and where.action != NOTE.name and may_mean_note(text):
        return HIDDEN_NOTE
    if not given and (found := decorated(text)) is not None:
        line, meant = found
        return Mistake(line, problem=Problem("a command stands at the beginning of its line"), instead=(meant.line,))
    wrong = next((each for each in given if each.command is None), None)
    kinds = desk.site.rules.kinds
    return unknown(wrong, lambda each: fits(each, where.record, kinds)) if wrong else None


def refuse(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, wrong: Mistake, given: Sequence[Given], text: str
) -> Settled:  # fmt: skip
    """Answer a mail whose command cannot be carried out; nothing of it is. Only what would work is offered."""
    lines = [each.line for each in given]
    works: list[str] = []
    for each in wrong.instead:
        mended = transcript.mended_lines(lines, wrong.given, each)
        made = _rehearsed(tx, desk, incoming, where, mended)
        if isinstance(made, Executed):
            works.append(each)
        elif made.given == each:  # `/set stage qualifed` is `/stage qualifed`, and that is `/stage qualified`
            # What leaves out words of its author is not what they meant.
            whole = [further for further in made.instead if len(further.split()) >= len(each.split())]
            more = [transcript.mended_lines(mended, each, further) for further in whole]
            found = (_rehearsed(tx, desk, incoming, where, one) for one in more)
            works += [one for one, did in zip(whole, found, strict=True) if isinstance(did, Executed)][:1]
    wrong = wrong if tuple(works) == wrong.instead else replace(wrong, instead=tuple(dict.fromkeys(works)))
    return transcript.refuse(tx, incoming, where, wrong, given, text)


def _rehearsed(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, lines: Sequence[str]
) -> Executed | Mistake:  # fmt: skip
    """Return what commands would do; nothing of it is done."""
    given, _ = split_commands("\n".join(lines))
    with tx.begin_nested() as point:
        made = execute(tx, desk, where.record, given, _giver(incoming, where), incoming.now)
        point.rollback()
    return made


def carry_out(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, given: Sequence[Given], outside: Sequence[str],
    said: Text,
) -> Executed | Mistake:  # fmt: skip
    """Do what the command lines of a mail say and answer with one transcript, or return why nothing was done.

    `outside` are outsiders that a note names beside us: the transcript says that its author's own mail
    server took it there.
    """
    made = execute(tx, desk, where.record, given, _giver(incoming, where, said), incoming.now)
    if given and isinstance(made, Executed):
        _answer_all(tx, incoming, where, made, outside)
    return made


def first_time(tx: Transaction, incoming: Incoming, where: Place, given: Sequence[Given]) -> Sequence[Given]:
    """Return those commands that its author, at that moment, gives here for the first time, and claim them.

    One mail may name the record's address and that of a command which stands in its text. And a Message-ID is seldom
    signed: who sends a proved mail on may give it another.
    """
    new: list[Given] = []
    lines: list[str] = []
    for each in given:
        lines.append(" ".join((each.command.name if each.command else each.word, *each.arguments)))
        line = hashlib.sha256(f"{lines.count(lines[-1])} {lines[-1]}".encode()).hexdigest()[:32]
        scope = f"record:{where.record.id}:{line}"
        if messages.claim_effect(tx, scope, incoming.dated_id, incoming.mail.body_digest) != "repeated":
            new.append(each)
    if new:
        messages.claim_effect(tx, _obeyed(where), incoming.original_id, incoming.mail.body_digest)
    return new


def was_obeyed(tx: Transaction, incoming: Incoming, where: Place) -> bool:
    """Whether this very mail was obeyed here before, by another of its addresses."""
    return messages.had_effect(tx, _obeyed(where), incoming.original_id, incoming.mail.body_digest)


def _obeyed(where: Place) -> str:
    return f"record:{where.record.id}:obeyed"


def asks_again(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place | None, given: Sequence[Given]
) -> Settled | None:  # fmt: skip
    """Keep a mail with a command that asks for a second yes, and ask its author for it; None where none does.

    The address that says yes holds a tag, and stands only in a mail to the author: who merely sends in their name
    never sees it. `where` is None for what is chosen for all records.
    """
    person = incoming.identity.person
    # What reads like a machine's asks for everything but a note, which stays inside whoever wrote it.
    asking = frozenset(BY_NAME) - {NOTE.name} if incoming.doubtful else desk.site.rules.confirm_twice
    twice = [each.line for each in given if each.command and each.command.name in asking]
    if not twice or incoming.recipient.released or person is None:
        return None
    record_id = where.record.id if where else None
    asked = hashlib.sha256("\n".join(twice).encode()).hexdigest()[:32]
    scope = f"record:{record_id}:twice:{asked}" if where else "gateway:twice"
    if messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated":
        return Settled("done", "duplicate", "the same mail was asked about already", record_id)
    data = {"item": {"id": incoming.recipient.id, "commands": twice}, "answers": incoming.mail.message_id}
    notices.add(tx, NewNotice("twice", person.key, incoming.identity.email, data, record_id), incoming.now)
    reason = f"{', '.join(twice)} asks its author for a second yes"
    return Settled("held", SECOND_YES, reason, record_id)


def by_address(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    """Carry out a mail to the address of a command, for its author; the first line holds what it takes."""
    if incoming.automatic:
        return Settled("done", "automatic", incoming.automatic, where.record.id)
    identity = incoming.identity
    wish: Wish = "unfollow" if where.action == UNFOLLOW.name else "command"
    question = Question(
        where.role, identity.authenticated, where.tag, wish, incoming.recipient.released, entitled=identity.entitled
    )
    decided = authorise(question)
    if decided.name == "accept" and where.role == "stranger":
        decided = hold("stranger", "the author does not follow the record")
    if decided.name == "accept" and identity.person is not None and not incoming.recipient.released:
        addressed = any(each.action == where.action for each in named(desk, incoming, where.record))
        decided = machine.why_not(incoming, "command", named=addressed) or decided
    if decided.name != "accept":
        return keep_aside(tx, desk, incoming, where, decided)
    given, text = _by_its_address(desk, incoming, where)
    wrong = _wrong_here(desk, where, given, text if where.action == SEND.name else "")
    if wrong is not None:
        return refuse(tx, desk, incoming, where, wrong, given, text)
    said = Text(attachments=incoming.attachments, original_id=incoming.mail.message_id)
    said = Text() if incoming.note else replace(said, text=text if where.action == SEND.name else "")
    checked = careful(tx, desk, incoming, where, said, titles(given))
    if isinstance(checked, Settled):
        return checked
    if (kept := asks_again(tx, desk, incoming, where, given)) is not None:
        return kept
    scope = f"record:{where.record.id}:{where.action}"
    again = messages.claim_effect(tx, scope, incoming.original_id, incoming.mail.body_digest) == "repeated"
    given = () if again else first_time(tx, incoming, where, given)
    if not given:
        return Settled("done", "duplicate", "the same mail was carried out already", where.record.id)
    made = execute(tx, desk, where.record, given, _giver(incoming, where, checked), incoming.now)
    if isinstance(made, Mistake):
        return refuse(tx, desk, incoming, where, made, given, text)
    posted = any(not each.action for each in named(desk, incoming, where.record))  # by the record's own address
    if text and where.action != SEND.name and not made.warning and not posted:
        made = replace(made, warning=NOT_POSTED)
    _answer_all(tx, incoming, where, made, ())
    return Settled("done", "command", "", where.record.id)


def _wrong_here(desk: Desk, where: Place, given: Sequence[Given], text: str) -> Mistake | None:
    """Return a command line in a mail to a command's address that cannot be carried out there, or None.

    `text` is what the customer would read: a note that it hides is one, too.
    """
    note = next((each for each in given if each.command is NOTE), None)
    if note is not None:
        return Mistake(note.line, (), Problem("write a note to the address of notes, or of the record"))
    return HIDDEN_NOTE if may_mean_note(text) else mistake(desk, where, given, "")


def _by_its_address(desk: Desk, incoming: Incoming, where: Place) -> tuple[Sequence[Given], str]:
    """Return what a mail to a command's address commands, and what it says beside that.

    Command lines in it come first: who changes the amount and sends it means the new one. The form of preferences may
    be several commands. What a button wrote there, which is its own subject, says nothing; nor does a signature.
    """
    asked, person = BY_NAME[where.action], incoming.identity.person
    own = "" if begins_quoted(incoming.mail.text) else split_reply(incoming.mail.text).text
    lines, rest = split_commands(own) if person is not None else ((), own)
    if asked is PREFS and person is not None:
        known = desk.site.rules.kinds.of_record(where.record.kind)
        ticked, sent = prefs.read(incoming.mail.text, known), prefs.as_sent(incoming.mail.text, known)
        mine = next((each for each in where.followers if each.who == person.key), None)
        given = (*lines, *prefs.as_commands(ticked, sent, mine.wants(ticked) if mine else ()))
        return given or [Given(asked.name, asked, ())], ""
    if any(each.command is asked and each.arguments for each in lines):  # `/lost too dear` says it itself
        return lines, "" if signed_only(rest, person) else rest.strip()
    rest = without_label(rest, incoming.mail.subject.strip(), where.record.ref)
    first, _, below = rest.partition("\n")
    words = tuple(first.split()) if asked.takes and asked not in (QUOTE, INVOICE) else ()
    if not _are_meant(desk, where, asked, words, person):
        words = ()
    more: list[Given] = []
    while words and asked is SET and names_field(below.partition("\n")[0]):  # `有效期限：2026-12-24`
        line, _, below = below.partition("\n")
        more.append(Given(asked.name, asked, tuple(line.split())))
    left = below if words else f"{first}\n{below}"
    lines = tuple(each for each in lines if (each.command, each.arguments) != (asked, ()))
    return [*lines, Given(asked.name, asked, words), *more], "" if signed_only(left, person) else left.strip()


def without_label(text: str, subject: str, ref: str) -> str:
    """Return a text without what a button wrote there, its own name: people write above it, below it, or before it.

    What was to be written over stays where nothing is written above it, or in the line below: after a blank line
    comes a signature.
    """
    _, subject = offer_marked(subject, ref)
    label = subject.removesuffix(ref).strip() if subject.endswith(ref) else ""
    lines = [_before(line.rstrip(), label) for line in text.split("\n")]
    at = next((n for n, line in enumerate(lines) if line.strip().casefold() in PLACEHOLDERS), None)
    if at is not None and "".join((*lines[:at], *lines[at + 1 : at + 2])).strip():
        lines = [line for line in lines if line.strip().casefold() not in PLACEHOLDERS]
    return "\n".join(lines).strip("\n")


def _before(line: str, label: str) -> str:
    """Return what was written before a label, from its beginning or behind the end of a sentence."""
    before = line.removesuffix(label)
    return before if not before.strip() or before[-1] in ".。!！?？…~～" else line


def _are_meant(desk: Desk, where: Place, asked: Command, words: Sequence[str], person: Person | None) -> bool:
    """Whether the first line of a mail to a command's address is what the command takes, and no greeting.

    Of our own people also what they mistyped is: they read what was wrong. Nobody else is answered.
    """
    if asked in (SEND, VALIDATE):
        return any(parse_address(word) for word in address_words(words))
    if asked not in (FOLLOW, UNFOLLOW):
        return True
    kinds = desk.site.rules.kinds
    if not isinstance(subtypes(words, kinds.of_record(where.record.kind), kinds), Mistake):
        return True
    return person is not None and any_meant(words, list(kinds.subtypes.values()))


def _answer_all(
    tx: Transaction, incoming: Incoming, where: Place, made: Executed, outside: Sequence[str]
) -> None:  # fmt: skip
    """Answer what was asked, and tell by one transcript what was done."""
    asked = [name for name, _ in made.done if BY_NAME[name].asks]
    done = replace(made, done=tuple(each for each in made.done if each[0] not in asked))
    moved = incoming.arrival.door == FOLDER  # whoever moved a card sees where it stands
    if done.done and not moved:
        transcript.tell(tx, incoming, where.record.id, "done", {**_told(done), "outside": list(outside)[:20]})
    if asked:
        transcript.answer(tx, incoming, asked, where.record.id, where.parent.id if where.parent else None)


def _giver(incoming: Incoming, where: Place, said: Text = Text()) -> Giver:
    identity = incoming.identity
    who = identity.person.key if identity.person else ""
    follower = who or (CUSTOMER if where.role == "customer" else identity.email)
    how = identity.how or ("reply address" if where.tag == "own" else "released")
    author, results = Author(who, identity.name, identity.email), tuple(str(each) for each in identity.results)
    return Giver(author, follower, how, said, results)


def _told(made: Executed) -> dict[str, object]:
    return {
        "done": [list(each) for each in made.done],
        "changes": [[change.name, change.old, change.new] for change in made.changes],
        "made": list(made.made),
        "warning": made.warning,
    }
