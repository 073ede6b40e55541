"""A mail that writes to a record's thread: what it becomes, and posting it."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from unicodedata import normalize

from gateway import following
from gateway.alias import RecordAddress
from gateway.decide import command, machine
from gateway.decide.authorise import Question, Wish, authorise, authorise_team
from gateway.decide.disposition import Disposition, hold
from gateway.decide.intake import ADDED_MAX
from gateway.decide.meant import Mistake, signed_only
from gateway.decide.place import Incoming, Place, addressed, keep_aside, keep_challenge, means
from gateway.decide.post import Desk, Text, post
from gateway.decide.quoted import careful
from gateway.decide.transcript import HIDDEN_NOTE
from gateway.following import Follower, Grant
from gateway.mail.attached import is_sealed, texts_in
from gateway.mail.automatic import BY_SUBJECT
from gateway.mail.automatic_words import FORWARDED
from gateway.mail.quoting import Reply, bare, begins_quoted, split_reply, without_quotes
from gateway.records.commands import ADD, HELP, UNFOLLOW, Given, asks_note, may_mean_note, split_commands, titles
from gateway.records.commands import NOTE as NOTE_COMMAND
from gateway.records.kinds import ASSIGNED, DEFAULT_SUBTYPES, DISCUSSION, NOTE, TEAM
from gateway.records.record import Choice, Record
from gateway.store import followers, messages
from gateway.store.arrivals import FOLDER, Settled
from gateway.store.messages import Author, Details, Message
from gateway.store.session import Transaction

MINUTE_MS = 60_000
UNFOLLOWED = "nobody outside followed when it was written"
LIKE_A_MACHINE = "it reads like a machine's answer"
NOBODY_KNOWN = "nobody knows who wrote it"
AT_NOTES = "it came to the address of notes"
UNREADABLE = "its text cannot be read here, and may be meant for those inside"


def write(tx: Transaction, desk: Desk, incoming: Incoming, where: Place) -> Settled:
    """Post a mail as a discussion or a note, or keep it for a person."""
    if incoming.challenge and not incoming.recipient.released:
        return keep_challenge(tx, desk, incoming, where.record)
    dropped = incoming.arrival.door == FOLDER and where.action == NOTE.name  # whoever wrote it: it commands nothing
    reply = Reply(bare(incoming.mail.text), "") if dropped else split_reply(incoming.mail.text)
    given: tuple[Given, ...] = ()
    text = reply.text
    own = incoming.identity.person is not None and not dropped
    if own and not begins_quoted(incoming.mail.text):
        given, text = split_commands(reply.text)
    if incoming.automatic:  # it commands nothing; but what somebody calls a note is one, whatever else it looks like
        given, text = _notes(given, text) if asks_note(given) else ((), reply.text)
    inside = incoming.identity.person is not None
    is_note = incoming.note or (inside and where.action == NOTE.name) or asks_note(given)
    free = bool(given) and all(each.command in (UNFOLLOW, HELP) for each in given)  # of whatever right
    at_notes = where.action == NOTE.name and not incoming.recipient.released
    wish: Wish = "note" if is_note or at_notes else "unfollow" if free else "command" if given else "discussion"
    decided = _decide(tx, desk, incoming, where, wish)
    commands = any(each.command is not NOTE_COMMAND for each in given)
    if decided.name == "accept" and commands and not incoming.recipient.released:
        # A note may command too: it must be as new, and as surely meant for this record, as any command.
        decided = machine.why_not(incoming, "command", named=means(desk, incoming, where.record)) or decided
    if decided.name == "accept" and incoming.identity.person is None and asks_note(split_commands(reply.text)[0]):
        # One of our own people, it seems, at an address we do not know: what they mean for those inside stays here.
        decided = decided if incoming.recipient.released else hold("not a person", "an outsider's mail is never a note")
    if decided.name != "accept":
        return keep_aside(tx, desk, incoming, where, decided)
    hidden = own and not (is_note or incoming.automatic)  # a note, or a command, where nobody looks for it
    if (mistake := _mistake(desk, incoming, where, given, text if hidden else None)) is not None:
        return command.refuse(tx, desk, incoming, where, mistake, given, text)
    said = _said(desk, incoming, where, given, text, reply.quoted, is_note=is_note)
    asked_note = asks_note(given) or (own and is_note and not given and not incoming.automatic)
    if asked_note and not (said.text.strip() or said.attachments):
        return command.refuse(tx, desk, incoming, where, command.EMPTY_NOTE, given, "")
    checked = careful(tx, desk, incoming, where, Text() if is_note else said, titles(given))
    checked = said if is_note and isinstance(checked, Text) else checked
    if isinstance(checked, Settled):
        return checked
    if (kept := command.asks_again(tx, desk, incoming, where, given)) is not None:
        return kept
    effect = _effect(tx, incoming, where, dropped=dropped)
    new = command.first_time(tx, incoming, where, given)
    if effect == "repeated" or (given and not new and not command.was_obeyed(tx, incoming, where)):
        return Settled("done", "duplicate", "the same mail stands there already", where.record.id)
    if effect == "other body":
        checked = _with_defect(checked, "another mail with this Message-ID says something else")
    return _act(tx, desk, incoming, where, given, new, checked, is_note=is_note)


def _notes(given: Sequence[Given], text: str) -> tuple[tuple[Given, ...], str]:
    """Return the notes among commands, and the text below them with the other lines."""
    lines = [each.line for each in given if each.command is not NOTE_COMMAND]
    return tuple(each for each in given if each.command is NOTE_COMMAND), "\n".join([*lines, text]).strip("\n")


def _effect(tx: Transaction, incoming: Incoming, where: Place, *, dropped: bool) -> str:
    """Claim the effect of a mail here (law 2). A copy that somebody `dropped` into a folder takes none from the mail.

    It may lie there before the mail itself comes; after that it says nothing new.
    """
    scope, said = f"record:{where.record.id}", (incoming.original_id, incoming.mail.body_digest)
    if not dropped:
        return messages.claim_effect(tx, scope, *said)
    return "repeated" if messages.had_effect(tx, scope, *said) else messages.claim_effect(tx, f"{scope}:dropped", *said)


def _act(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, given: Sequence[Given], new: Sequence[Given],
    said: Text, *, is_note: bool,
) -> Settled:  # fmt: skip
    """Carry out what is `new` of what a mail commands, then post what it says."""
    # What is said in a note goes along with nothing: a mail may hold `/note` and `/send`.
    along = Text() if is_note else _along(desk, incoming, said)
    made = command.carry_out(tx, desk, incoming, where, new, _strangers(desk, incoming) if is_note else [], along)
    if isinstance(made, Mistake):
        return command.refuse(tx, desk, incoming, where, made, given, said.text)
    where = replace(where, record=made.record)
    if made.spoken is not None and not is_note:
        return Settled("posted", record_id=where.record.id, message_id=made.spoken)
    files = [each for each in incoming.mail.attachments if is_note or not each.decorates]
    if given and signed_only(said.text, incoming.identity.person) and not files:
        return Settled("done", "command", "", where.record.id)
    incoming = machine.recognised(tx, incoming, where, said.text)
    posted = _post(tx, desk, incoming, where, is_note=is_note, said=said, given=given)
    return replace(posted, cause="automatic" if incoming.automatic else "")


def _outsiders_hear(where: Place, given: Sequence[Given]) -> bool:
    """Whether somebody outside followed before the commands of a mail, or one of them adds whom its text is for.

    Who writes `/confirm` and a text means it for those who hear so far: that the customer follows from then on is
    the command's doing.
    """
    return any(each.command is ADD for each in given) or bool(_heard_outside(where.record, where.followers))


def _heard_outside(record: Record, their: Sequence[Follower]) -> set[str]:
    """Return who outside hears of a discussion."""
    return {each.who for each in their if each.outsider and isinstance(each.heard(DISCUSSION.name, record), Grant)}


def _newly_outside(tx: Transaction, desk: Desk, where: Place, named: Collection[str]) -> tuple[str, ...]:
    """Return who outside hears of a discussion since a mail's commands were carried out, and is not `named` in it."""
    choices = followers.choices(tx, [where.record.id])[where.record.id]
    now = following.followers(where.record, choices, desk.site.people, desk.site.rules)
    new = _heard_outside(where.record, now) - _heard_outside(where.record, where.followers)
    return tuple(each.who for each in now if each.who in new and set(each.emails).isdisjoint(named))


def _said(
    desk: Desk, incoming: Incoming, where: Place, given: Sequence[Given], text: str, quoted: str, *, is_note: bool
) -> Text:  # fmt: skip
    """Return what is posted of a mail: without commands, without tags, and without lines no outsider was shown."""
    if where.parent is not None and where.parent.internal and not is_note:
        text = _without_lines_of(where.parent.text, without_quotes(text))
    passed_on = is_note and where.parent is None and FORWARDED.match(normalize("NFKC", incoming.mail.subject).lower())
    if passed_on:  # it stands nowhere else here
        text, quoted = f"{text}\n\n{quoted}".strip("\n"), ""
    text = desk.addresses.untagged("\n".join([*command.note_words(given), text]).strip("\n"))
    if incoming.automatic and not asks_note(given):
        text = machine.line(text)
    if incoming.arrival.door == FOLDER:
        text = _introduced(incoming, text)
    whose = incoming.identity.person is None or incoming.doubtful.startswith(BY_SUBJECT)
    reasons = (
        (incoming.doubtful and whose, LIKE_A_MACHINE),
        (not incoming.identity.email, NOBODY_KNOWN),
        (where.action == NOTE.name and not is_note, AT_NOTES),
    )
    inside = next((reason for holds, reason in reasons if holds), "")
    details = Details(defects=incoming.mail.defects, withheld=incoming.withheld, inside=inside)
    return Text(text, desk.addresses.untagged(quoted), attachments=incoming.attachments, details=details)


def _introduced(incoming: Incoming, text: str) -> str:
    """Return the text of a mail that a person dropped into a folder, and whose it is, where somebody else wrote it."""
    author = incoming.mail.author
    person = incoming.identity.person
    if author is None or person is None or author.address.key in person.email:
        return text
    shown = f"{author.name} <{author.address}>" if author.name else str(author.address)
    return f"{shown}: {incoming.mail.subject}\n\n{text}"


def _along(desk: Desk, incoming: Incoming, said: Text) -> Text:
    """Return what a mail says as the text of an event that one of its commands is.

    Our own people who stand in To and Cc have it; the customer does not have the offer, whoever else stands there.
    """
    identity, mail = incoming.identity, incoming.mail
    named = [mailbox.address.key for mailbox in (*mail.to, *mail.cc)]
    inside = tuple(key for key in dict.fromkeys(named) if desk.site.people.person(key) is not None)
    details = replace(said.details, authenticated=identity.how, results=tuple(str(e) for e in identity.results))
    return replace(
        said, original_id=mail.message_id, addressed=inside, arrival_id=incoming.arrival.id, details=details,
        vouched=identity.authenticated,
    )  # fmt: skip


def _strangers(desk: Desk, incoming: Incoming) -> list[str]:
    """Return the outsiders whom a mail names in To and Cc."""
    named = [mailbox.address for mailbox in (*incoming.mail.to, *incoming.mail.cc)]
    keys = dict.fromkeys(address.key for address in named if not desk.addresses.owns(address))
    return [key for key in keys if desk.site.people.person(key) is None]


def _with_defect(said: Text, defect: str) -> Text:
    return replace(said, details=replace(said.details, defects=(*said.details.defects, defect)))


def _without_lines_of(internal: str, text: str) -> str:
    """Return `text` without the lines that stand in an internal message, however they were marked as quoted."""
    known = {line.strip() for line in internal.split("\n")}
    return "\n".join(line for line in text.split("\n") if len(line.strip()) < 8 or line.strip(" >|\t") not in known)


def _decide(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, wish: Wish) -> Disposition:
    identity = incoming.identity
    released = incoming.recipient.released
    if where.record.kind == TEAM and where.tag != "own":
        decided = authorise_team(where.role, authenticated=identity.authenticated, released=released)
    else:
        asked = Question(
            where.role, identity.authenticated, where.tag, wish, released, identity.disowned, identity.entitled
        )
        decided = authorise(asked)
    if decided.name == "accept" and not released:
        decided = machine.why_not(incoming, wish, named=means(desk, incoming, where.record)) or decided
    sealed = where.role == "person" and is_sealed(incoming.mail)
    if decided.name == "accept" and wish == "discussion" and not released and sealed:
        decided = hold("unreadable", UNREADABLE)
    if decided.name == "accept" and where.action == NOTE.name and where.role != "person" and not released:
        decided = hold("not a person", "an outsider's mail is never a note")
    sure = released or (identity.person is not None and identity.authenticated)
    if decided.name == "accept" and not sure:
        loop = desk.site.rules.limits.loop
        since = incoming.now - loop.minutes * MINUTE_MS
        if messages.count_since(tx, where.record.id, identity.email, since) >= loop.messages:
            return hold("loop", f"more than {loop.messages} mails in {loop.minutes} minutes from one author")
    return decided


def _mistake(
    desk: Desk, incoming: Incoming, where: Place, given: Sequence[Given], text: str | None
) -> Mistake | None:  # fmt: skip
    """Return what of a mail is a mistake: also `/note` in its subject, or in a text that came as a file alone.

    `text` is None where nothing stands in the wrong place.
    """
    if text is not None:
        files = [] if text.strip() else [said for each in incoming.attachments for said in texts_in(each, [])]
        if any(may_mean_note(said) for said in (incoming.mail.subject, *files)):
            return HIDDEN_NOTE
    return command.mistake(desk, where, given, text or "")


def _post(
    tx: Transaction, desk: Desk, incoming: Incoming, where: Place, *, is_note: bool, said: Text,
    given: Sequence[Given],
) -> Settled:  # fmt: skip
    identity, mail = incoming.identity, incoming.mail
    named = [mailbox.address for mailbox in (*mail.to, *mail.cc)]
    outside = [address for address in named if not desk.addresses.owns(address)]
    if incoming.arrival.door == FOLDER:
        outside = []  # whom somebody once wrote to has not got what is said here
    quiet = _in_bcc(desk, incoming, where)
    adds = not (is_note or incoming.automatic or quiet)
    added = _newcomers(tx, desk, incoming, where, [a.key for a in outside]) if adds else ()
    how = identity.how or ("reply address" if where.tag == "own" else "released" if incoming.recipient.released else "")
    answered = "" if is_note else _answered(tx, incoming, where.parent)
    person = identity.person
    meant_outside = answered or _strangers(desk, incoming) or _outsiders_hear(where, given)
    if given and not (is_note or said.details.inside or meant_outside):
        said = replace(said, details=replace(said.details, inside=UNFOLLOWED))
    elif given and not is_note and not any(each.command is ADD for each in given):
        unheard = _newly_outside(tx, desk, where, {answered, *(address.key for address in outside)})
        said = replace(said, details=replace(said.details, unheard=unheard))
    posted = post(
        tx,
        desk,
        where.record,
        NOTE if is_note else DISCUSSION,
        Author(person.key if person else "", incoming.author_name or where.customer_name(identity), identity.email),
        replace(
            said,
            subject=desk.addresses.untagged(mail.subject),
            original_id=mail.message_id,
            addressed=tuple(dict.fromkeys(address.key for address in outside)),
            arrival_id=incoming.arrival.id,
            vouched=identity.person is not None and identity.authenticated,
            details=replace(
                said.details,
                automatic=incoming.automatic,
                added=added,
                authenticated=how,
                answered=answered,
                quiet=quiet,
                results=tuple(str(each) for each in identity.results),
            ),
        ),
        incoming.now,
        parent=where.parent,
    )
    return Settled("posted", record_id=where.record.id, message_id=posted.message)


def _answered(tx: Transaction, incoming: Incoming, parent: Message | None) -> str:
    """Return whom outside a mail of our own people answers, or "".

    References alone thread a mail; only In-Reply-To says whom it answers.
    """
    if parent is None or incoming.identity.person is None:
        return ""
    asked = _asked_by(tx, parent)
    ids = {asked.message_id, asked.original_id, parent.message_id}
    return asked.author.email if asked.author.outsider and ids & set(incoming.mail.in_reply_to) else ""


def _asked_by(tx: Transaction, parent: Message) -> Message:
    """Return what an answer to `parent` answers: of a mail that assigns what somebody asked for, what they asked."""
    if parent.subtype != ASSIGNED.name or parent.parent_id is None:
        return parent
    return next(iter(messages.load(tx, [parent.parent_id])), parent)


def _in_bcc(desk: Desk, incoming: Incoming, where: Place) -> bool:
    """Whether one of our people put the record in Bcc: To and Cc are there, and do not name it."""
    mail = incoming.mail
    if incoming.arrival.door == FOLDER:
        return False
    shown = mail.header.first("to") or mail.header.first("cc")
    is_named = bool(addressed(desk, (*mail.to, *mail.cc), where.record))
    address = desk.addresses.parse(incoming.recipient.address)
    by_alias = address is not None and desk.addresses.read(address) == RecordAddress(where.record.ref, where.action)
    return incoming.identity.person is not None and bool(shown) and not is_named and by_alias


def _newcomers(tx: Transaction, desk: Desk, incoming: Incoming, where: Place, named: list[str]) -> tuple[str, ...]:
    """Make the outside addresses an authenticated person put in To or Cc follow the discussion."""
    identity = incoming.identity
    if identity.person is None or not identity.authenticated or where.record.kind == TEAM:
        return ()
    record = where.record
    known = {email for follower in where.followers for email in follower.emails}
    # Who unfollowed is no newcomer: a Cc does not bring them back.
    chosen = {record.party(each.who) for each in followers.choices_on(tx, record.id)}
    outside = [each for each in dict.fromkeys(named) if desk.site.people.person(each) is None]
    new = [each for each in outside if each not in known and record.party(each) not in chosen]
    for email in new[:ADDED_MAX]:
        followers.choose(tx, record.id, Choice(record.party(email), DEFAULT_SUBTYPES, how="cc"))
    return tuple(new[:ADDED_MAX])
