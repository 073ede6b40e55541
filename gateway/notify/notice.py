"""Notices: a mail of ours to one person about their own doing, with the null return path."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gateway import maillog
from gateway.alias import HELD_ACTIONS, Addresses
from gateway.mail.address import parse_address
from gateway.mail.header import one_line
from gateway.notify import answer, buttons, context
from gateway.notify.answer import Asked, Section
from gateway.notify.compose import Envelope, Part, header, shared_body, shared_fields
from gateway.notify.context import said_of, shown_change, subject_of
from gateway.notify.render import Renderer, Value
from gateway.people import Person
from gateway.records.commands import FOLLOW, UNFOLLOW, in_chinese
from gateway.records.kinds import DISCUSSION, NOTE, TEAM, Kinds
from gateway.records.lifecycle import Change
from gateway.records.record import Record
from gateway.site import Site
from gateway.store import notices, outbox, records
from gateway.store.notices import Notice
from gateway.store.outbox import NewDelivery
from gateway.store.session import Away, Store, Transaction
from gateway.worker import now_ms

RETRY_MS = 5_000
_LINK_MAX = 1_900  # characters of a mailto: link that every mail program takes
_REPLIED = frozenset({"transcript", "refused", "decision", "offer", "answer", "twice", "kept"})
_SUBJECTS = {
    "refused": "Your mail was not taken",
    "kept": "Your mail is held",
    "failed": "A mail could not be delivered",
    "delayed": "A mail is not delivered yet",
    "held": "Mails are held for you to decide",
    "reload": "The rules in force were kept: the edit has errors",
    "suppressed": "No more mail goes to an address",
    "decision": "About a held mail",
    "answer": "What you asked for",
    "twice": "A second yes is asked for",
    "account": "A mailbox of the gateway",
}
# What became of a mail, as a salesperson understands it, and what to do.
_CAUSES = {
    "address": "There is no such address.",
    "full": "The mailbox is full.",
    "blocked": "Their server refused the mail as unwanted.",
    "size": "The mail is larger than their server takes.",
    "passed on": "Their server took it, and passed it on to an address that does not exist.",
    "temporary": "Their server could not take it, again and again.",
    "other": "Their server did not take it.",
}
_MENDS = {
    "address": "Look for a mistake in the address, or ask them by telephone for the right one.",
    "full": "Tell them by telephone, and send it again when there is room.",
    "blocked": "Reach them another way, and tell your administrator: it may concern all your mail.",
    "size": "Send it again with smaller attachments.",
    "passed on": "Tell them by telephone that mail to them is passed on to nobody.",
    "temporary": "Reach them another way, and send it again later.",
    "other": "Check the address, or reach them another way.",
}


def send(
    store: Store, site: Site, addresses: Addresses, renderer: Renderer, due: Sequence[Notice],
    reader: Callable[[Iterable[str]], Mapping[str, int]],
) -> None:  # fmt: skip
    """Word and queue claimed notices, each in a commit of its own."""
    for each in due:
        try:
            with store.read() as tx:
                found = records.load(tx, [each.record_id]) if each.record_id else {}
                record = found.get(each.record_id or 0)
                shown = _answered(tx, site, addresses, renderer, each, record)
            number = reader([f"person:{each.who}"])[f"person:{each.who}"] if record and each.who else None
            block, body = _compose(site, addresses, renderer, each, record, number, shown)
            with store.write() as tx:
                if notices.fanned_out(tx, each.claim):
                    kept = outbox.keep_body(tx, body.octets, body.signed_hash)
                    new = NewDelivery(
                        None, bool(each.who), not each.who, each.who, each.email, block, kept, return_path=False
                    )
                    outbox.queue(tx, [new], now_ms())
        except Away:
            raise
        except Exception as error:  # noqa: BLE001 (one notice never stops the next)
            maillog.failed_once("notice", each.id, error)
            with store.write() as tx:
                notices.postpone(tx, each.claim, now_ms() + RETRY_MS)


Shown = tuple[Sequence[Section], Sequence[Part]]
_NOTHING: Shown = ((), ())
_CHOICES = {FOLLOW.name: DISCUSSION.name, UNFOLLOW.name: "*"}  # and what they mean without a word
_NOT_TAKEN_BACK = "{} cannot be taken back: {}"  # what was done, and why
_OF_THE_RECORD = ("not for a {}", "{} is {}: {} cannot happen", "{} is {}: {} is not possible")


def _answered(
    tx: Transaction, site: Site, addresses: Addresses, renderer: Renderer, each: Notice, record: Record | None
) -> Shown:  # fmt: skip
    """Return what somebody asked for, as the store has it now."""
    person = site.people.by_key.get(each.who)
    if each.kind != "answer" or person is None:
        return _NOTHING
    asked = Asked(each.data["asked"], person, site.language(person.language), record, each.data.get("about"))
    return answer.sections(tx, site, addresses, renderer, asked)


def _compose(
    site: Site, addresses: Addresses, renderer: Renderer, each: Notice, record: Record | None, number: int | None,
    shown: Shown = _NOTHING,
) -> tuple[bytes, Any]:  # fmt: skip
    person = site.people.by_key.get(each.who)
    theirs = record.customer.language if record and record.customer.owns(each.email) else None
    language = site.language(person.language if person else theirs)
    to = parse_address(each.email)
    if to is None:
        message = f"{each.email!r} is no address"
        raise ValueError(message)
    sections: list[Value] = [_as_value(section) for section in shown[0]]
    values = _context(site, addresses, renderer, language, each, record) | {"sections": sections}
    text, html = renderer.body([f"notice/{each.kind}"], language, values)
    body = shared_body(text, html, shown[1])
    answers = str(each.data.get("answers", ""))
    subject = (
        subject_of(record, answers=True) if record else renderer.words(language)(_SUBJECTS.get(each.kind, "Replygate"))
    )
    envelope = Envelope(
        author=site.settings.site.name,
        sender=addresses.alias(record.ref) if record else addresses.word("gateway"),
        date=each.created_at,
        message_id=str(each.data.get("copy_of") or f"notice.{secrets.token_hex(12)}@{addresses.domain}"),
        subject=subject,
        ancestors=[answers] if answers.isascii() and answers.isprintable() and answers else [],
        list_id="",
        automatic="auto-replied" if each.kind in _REPLIED else "auto-generated",
        record=record.ref if record else "",
        subtype=each.kind,
    )
    asks_form = each.kind == "answer" and "prefs" in each.data["asked"]
    action = "prefs" if asks_form else _inside(each)
    reply_to = addresses.alias(record.ref, action, number, record.tag_epoch) if record else None
    return header(shared_fields(envelope), body, person.name if person else "", to, reply_to, None, ""), body


def _context(
    site: Site, addresses: Addresses, renderer: Renderer, language: str, each: Notice, record: Record | None
) -> dict[str, Value]:
    kinds = site.rules.kinds
    data: dict[str, Value] = {name: _plain(value) for name, value in each.data.items()}
    if each.kind == "refused":
        texts = each.data.get("text") or {}
        data["text"] = str(texts.get(language, ""))
    words = renderer.words(language)
    person = site.people.by_key.get(each.who)
    if each.kind == "held":
        data["items"] = [
            _plain(
                _held(addresses, item, _reason(words, str(item.get("reason", ""))))
                | _offered(addresses, renderer, item, language)
            )
            for item in each.data["items"]
        ]
    if "answer" in each.data:
        cause = str(each.data.get("cause", "other"))
        data["why"], data["mend"] = words(_CAUSES.get(cause, "")), words(_MENDS.get(cause, ""))
    if each.kind == "kept":
        data["reason"] = _reason(words, str(each.data["reason"]))
    if each.kind == "twice":
        data["item"] = _plain(_held(addresses, each.data["item"], ""))
    if each.kind == "offer" and record is not None:
        data |= {"inside": bool(each.who), **context.offer(renderer, record, language)}
        data["state"] = words(str(each.data.get("state", "")))
        data["buttons"] = _buttons(site, addresses, words, record, person)
    if each.kind == "transcript":
        data |= _transcript(site, addresses, renderer, language, each, record)
    if "at" in each.data:
        data["at"] = renderer.time(language, int(each.data["at"]))
    return {
        "site": site.settings.site.name,
        "ref": _shown_ref(site, record),
        "title": record.title if record else "",
        "kind": kinds.by_name[record.kind].label(language) if record and record.kind in kinds.by_name else "",
        "alias": str(addresses.alias(record.ref)) if record else "",
        "note_alias": str(addresses.alias(record.ref, "note")) if record else "",
        "sections": [],
        "customer": False,
        **data,
    }


def _transcript(
    site: Site, addresses: Addresses, renderer: Renderer, language: str, each: Notice, record: Record | None
) -> dict[str, Value]:
    """Return what became of commands: what was done and changed, or what was wrong, and what would have worked."""
    words = renderer.words(language)
    changes = [Change(*change) for change in each.data.get("changes", ())]
    nearest = [_with_words(words, str(near)) for near in each.data.get("nearest", ())]
    person = site.people.by_key.get(each.who)
    done = each.data["what"] in ("created", "done")
    return {
        "warning": words(str(each.data.get("warning", ""))),
        "changes": [shown_change(site, renderer, language, change) for change in changes],
        "nearest": [*map(in_chinese, nearest)] if _in_chinese(each) else [*nearest],
        "done": [_done(site.rules.kinds, words, language, *map(str, done)) for done in each.data.get("done", ())],
        "buttons": _buttons(site, addresses, words, record, person) if done else [],
        **_mistake(addresses, site.rules.kinds, words, language, each, record),
    }


def _shown_ref(site: Site, record: Record | None) -> str:
    """Return a record's reference; of a team's own thread, how the team is called."""
    team = site.rules.teams.get(record.ref.lower()) if record is not None and record.kind == TEAM else None
    return team.name if team is not None else record.ref if record is not None else ""


def _in_chinese(each: Notice) -> bool:
    """Whether a command that was mistaken was written in Chinese: so is what is offered."""
    return not str(each.data.get("given", "")).partition(" ")[0].isascii()


def _done(kinds: Kinds, words: Callable[[str], str], language: str, name: str, arguments: str) -> Value:
    """Return a command that was carried out: its name, what stood behind it, and its line in a reader's language."""
    if name in _CHOICES:  # its subtypes, as a reader calls them
        chosen = (arguments or _CHOICES[name]).split()
        return [name, ", ".join(said_of(kinds, words, language, each) for each in chosen), ""]
    said = [f"/{name}", *filter(None, [arguments])]
    if language.startswith("zh"):  # behind an undo stand the lines that are undone
        said = [", ".join(map(in_chinese, each.split(", "))) for each in said]
    return [name, arguments, " ".join(said)]


def _with_words(words: Callable[[str], str], command: str) -> str:
    """Return a command with what it takes (`/set FIELD VALUE`) in a reader's words."""
    name, blank, takes = command.partition(" ")
    return f"{name}{blank}{words(takes)}" if takes else command


def _buttons(
    site: Site, addresses: Addresses, words: Callable[[str], str], record: Record | None, person: Person | None
) -> list[Value]:  # fmt: skip
    """Return what a person may do on a record from a notice about it."""
    if record is None or person is None or not person.entitled:
        return []
    return buttons.for_insiders(addresses, site.rules.kinds, site.rules.lead_stages, record, words)


def _inside(each: Notice) -> str:
    """Return the action whose address an answer to a transcript goes to: what tells of a note is answered by one."""
    told = each.data.get("note") or any(done[0] == NOTE.name for done in each.data.get("done", ()))
    return NOTE.name if told else ""


def _mistake(
    addresses: Addresses, kinds: Kinds, words: Callable[[str], str], language: str, each: Notice, record: Record | None
) -> dict[str, Value]:  # fmt: skip
    """Return what was wrong with a command, and the mails that would have worked, ready to send back."""
    problem = words(str(each.data.get("problem", "")))
    chinese = _in_chinese(each)
    to = str(addresses.alias(record.ref, _inside(each)) if record else addresses.word("gateway"))
    subject = subject_of(record, answers=True) if record else "Replygate"
    offers: list[Value] = []
    for body in each.data.get("instead", ()):
        command, blank, rest = body.partition("\n\n")
        if chinese:
            command = "\n".join(map(in_chinese, command.split("\n")))
        whole = buttons.link(to, subject, f"{command}{blank}{rest}")
        link = whole if len(whole) <= _LINK_MAX else buttons.link(to, subject, command)
        offers.append({"link": link, "text": command, "cut": bool(rest) and link != whole, "address": to})
    made = [{"ref": ref, "alias": str(addresses.alias(ref))} for ref in each.data.get("made", ())]
    about = [one_line(str(part)) for part in each.data.get("about", ())]
    if each.data.get("problem") in _OF_THE_RECORD:  # others repeat what somebody wrote
        about = [said_of(kinds, words, language, part) for part in about]
    if each.data.get("problem") == _NOT_TAKEN_BACK:
        done, why = about
        about = [", ".join(map(in_chinese, done.split(", "))) if language.startswith("zh") else done, words(why)]
    return {"problem": problem.format(*about), "offers": offers, "made": made}


def _reason(words: Callable[[str], str], said: str) -> str:
    """Return why a mail is held in a reader's words: its numbers, and what follows a colon, stand as they are."""
    known, colon, rest = said.partition(": ")
    if words(known) != known:
        return f"{words(known)}{colon}{rest}"
    pattern = re.sub(r"\d+", "{}", said)
    return words(pattern).format(*re.findall(r"\d+", said)) if words(pattern) != pattern else said


def _held(addresses: Addresses, item: Mapping[str, Any], reason: str) -> dict[str, object]:
    """Return a held mail with the addresses that decide about it, and mailto: links to them (RFC 6068)."""
    shown: dict[str, object] = {"text": "", **item, "reason": reason}
    for action in HELD_ACTIONS:
        offered = action != "block" or (bool(item.get("from")) and not item.get("inside"))
        address = str(addresses.held(action, int(item["id"]))) if offered else ""
        link = f"mailto:{quote(address, safe='@')}?subject={action}%20{int(item['id'])}" if offered else ""
        shown |= {f"{action}_address": address, action: link}
    return shown


def _offered(addresses: Addresses, renderer: Renderer, item: Mapping[str, Any], language: str) -> dict[str, object]:
    """Return what a customer's yes or no is about: what was sent, if it is no longer the same, and what it says now.

    Also a mailto: link to answer them: an answer to the notice goes to those inside.
    """
    then, now, customer = (str(item.get(name, "")) for name in ("sent", "now", "customer"))
    alias = str(addresses.alias(str(item["record"]))) if item.get("record") else ""
    to = f"{alias}?cc={quote(customer, safe='@')}&" if customer else ""
    return {
        "sent": context.terms(renderer, then, language) if then else "",
        "now": context.terms(renderer, now, language) if now else "",
        "answer": f"mailto:{to}subject={quote('Re: ' + one_line(str(item['subject'])))}" if to else "",
        "answer_addresses": f"{alias}, {customer}" if to else "",
    }


def _as_value(section: Section) -> Value:
    rows: list[Value] = [{"text": r["text"], "link": r["link"], "buttons": r["buttons"]} for r in section["rows"]]
    return {"title": section["title"], "hint": section["hint"], "rows": rows}


def _plain(value: object) -> Value:
    """Return data of a notice as what templates may hold: strings, and lists and mappings of them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return "\n".join(one_line(line) for line in str(value).split("\n"))
