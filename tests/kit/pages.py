"""Every mail there is, as the HTML a reader sees: each subtype and each notice, inside and outside, in both languages.

What they tell is long where it can be long, so that a page that breaks on a small screen breaks here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import time_machine

from gateway.following import Reason
from gateway.node import make_renderer
from gateway.notify import answer, context, notice
from gateway.notify.cards import Cards
from gateway.notify.context import Audience, Told
from gateway.notify.recipients import Chosen, Heard
from gateway.notify.render import LANGUAGES, Renderer
from gateway.records.kinds import Subtype
from gateway.records.lifecycle import Change
from gateway.records.record import Line, Party, Record
from gateway.store import records
from gateway.store.lease import Claim
from gateway.store.messages import Author, Details, Message
from gateway.store.notices import Notice
from tests.kit.house import ZONE, D, House, calm_rules
from tests.kit.zone import Zone

AT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
STATES = {
    "quotation.created": "draft", "quotation.sent": "sent", "quotation.confirmed": "confirmed", "quotation.cancelled": "cancelled",
    "lead.won": "won", "repair.created": "new", "repair.finished": "done", "lead.lost": "lost", "invoice.created": "draft", "invoice.validated": "posted", "invoice.paid": "paid",
}  # fmt: skip
PREFIX = {"quotation": "S", "lead": "L", "invoice": "I", "repair": "R"}
TITLES = {
    "en": "Twenty conference chairs and a height-adjustable table for the new meeting rooms, third floor",
    "zh-TW": "三樓新會議室用的二十張會議椅與一張可升降會議桌（含運送、安裝與舊家具回收）",
}
LINK = "https://intranet.example.com/very/long/path/without/any/space/ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?id=1234567890abcdef"
TEXTS = {
    "en": f"Good morning,\n\nthe drawings are here: {LINK}\nCould you deliver before the end of the month?\n\nKind regards",
    "zh-TW": f"您好，\n\n圖面在這裡：{LINK}\n請問月底以前可以交貨嗎？數量與顏色如附件，若有問題請隨時聯絡我們，謝謝您。\n\n敬祝商祺",
}
NOTICES: Mapping[str, Mapping[str, Any]] = {
    "transcript-created": {"what": "created"},
    "transcript-done": {
        "what": "done", "done": [["set", "amount 125000"], ["assign", "chia"], ["note", ""], ["follow", ""], ["unfollow", "lead.*"]],
        "changes": [["amount", "120000", "125000"], ["salesperson", "a", "chia"]], "made": ["S00002"],
    },
    "transcript-outside": {"what": "done", "done": [["note", ""]], "outside": ["wang.xiao-ming.purchasing@acme.example"]},
    "transcript-undone": {"what": "done", "done": [["undo", "/set amount 125000, /assign chia"]], "changes": [["amount", "125000", "120000"]]},
    "transcript-mistake": {
        "what": "mistake", "given": "/confrim", "nearest": ["/confirm", "/確認"],
        "instead": [f"/confirm\n\n{TEXTS['zh-TW']}", f"/確認\n\n{TEXTS['en']}"],
    },
    "transcript-mistake-long": {
        "what": "mistake", "given": "/assign chai", "nearest": ["chia"], "problem": "nobody is known as {}", "about": ["chai"],
        "instead": [f"/set amount 5\n/assign chia\n\n{TEXTS['zh-TW'] * 9}"],
    },
    "transcript-impossible": {
        "what": "mistake", "given": "/won", "nearest": ["/send", "/confirm", "/cancel"], "problem": "not for a {}", "about": ["quotation"],
    },
    "twice": {"item": {"id": 7, "commands": ["/confirm", "/set amount 125000"]}},
    "held": {
        "items": [
            {"id": 7, "from": "somebody.with.a.long.name@mail.subsidiary.acme.example", "record": "S00001", "to": "", "inside": False,
             "subject": TITLES["zh-TW"], "reason": "the author neither follows the record nor is its customer"},
            {"id": 8, "from": "b@example.com", "record": "", "to": f"quotations@{D}", "inside": True, "text": TEXTS["en"],
             "subject": "Chairs", "reason": "nothing proves that the author wrote it"},
            {"id": 9, "from": "wang@acme.example", "record": "S00001", "to": "", "inside": False, "text": TEXTS["zh-TW"], "subject": TITLES["en"],
             "reason": "the quotation was changed since it was sent; let the customer's yes through if it is meant for what it says now",
             "customer": "wang@acme.example", "sent": '["1200000", "TWD", []]', "now": '["1234567", "TWD", [["會議桌", "1", "34567"]]]'},
        ]
    },
    "kept": {"to": "S00001", "subject": TITLES["en"], "reason": "a command counts for seven days, and the mail is older", "deciding": ["陳佳", "Lee"]},
    "kept-by-nobody": {"to": f"postmaster@{D}", "subject": "S", "reason": "more than 30 mails in 10 minutes from one author", "deciding": []},
    "offer-late": {"what": "late", "state": "Confirmed", "who": "wang@acme.example", "text": "", "said": "decline"},
    "offer-late-accept": {"what": "late", "state": "Cancelled", "who": "wang@acme.example", "text": "", "said": "accept"},
    "offer-accept": {"what": "accept", "who": "wang@acme.example", "text": "Yes, please. But deliver to the back door.\n請送到後門。"},
    "offer-decline": {"what": "decline", "who": "wang@acme.example", "text": ""},
    "failed": {"recipient": "wang@acme.example", "answer": f"550 5.1.1 no such user; see {LINK}", "cause": "address", "subject": "S", "at": AT_MS},
    "delayed": {"recipient": "wang@acme.example", "answer": "451 4.7.1 try again later", "subject": "S", "at": AT_MS},
    "suppressed": {"recipient": "wang@acme.example", "answer": "550 5.1.1 no", "cause": "address", "subject": "S", "at": AT_MS},
    "refused": {"address": f"quotations@{D}", "subject": TITLES["en"]},
    "refused-own-words": {"address": f"quotations@{D}", "subject": "S", "text": {"en": "From our own people only.", "zh-TW": "只收同事的來信。"}},
    "account-stands": {"account": "gateway@imap.example.com", "mail": "", "error": "the server says: [AUTHENTICATIONFAILED] Invalid credentials"},
    "account-mail": {"account": "gateway@imap.example.com INBOX", "mail": "Failed: 4711", "error": "it has 31457280 octets, more than the 26214400 that are taken"},
    "account-goes-on": {"account": "gateway@imap.example.com", "mail": "", "error": ""},
    "reload": {"problems": [f"/srv/replygate/rules.yaml:{n}:5: unknown person 'chai'; did you mean 'chia'?" for n in (12, 140)]},
    **{f"decision-{what.replace(' ', '-')}": {"what": f"held {what}", "subject": TITLES["zh-TW"], "id": "7"}
       for what in ("release", "drop", "block", "gone", "may not")},
}  # fmt: skip
# A further kind: its created is worded by default, and so is what it has no template for.
REPAIR = """kinds:
  repair:
    prefix: R
    name: {zh-TW: 維修單, en: Repair}
    states: [new, done]
    subtypes:
      finished: {name: {zh-TW: 維修完成, en: Repair done}, to: done, internal: false}
"""
FOR_CUSTOMERS = ("offer-accept", "offer-decline", "refused", "refused-own-words")


def record(kind: str, state: str, language: str) -> Record:
    fields = {"amount": "1234567.00", "currency": "TWD", "valid_until": "2099-12-31", "stage": "qualified"}
    lines = (
        Line("Conference chair, stackable, black frame, fabric anthracite", "20", "60000.50"),
        Line("會議桌", "1", "34567"),
    )
    return Record(
        1, kind, f"{PREFIX[kind]}00001", TITLES[language], state, "sales", ("sales",), "a", "a",
        Party("ACME International Furniture Trading Co., Ltd.", ("wang@acme.example",), language),
        {**fields, "reason": "too dear"} if state == "lost" else fields, lines, "L00017",
    )  # fmt: skip


def _told(subtype: Subtype, kind: str, language: str, *, taken_back: bool = False) -> Told:
    made = record(kind, STATES.get(subtype.name, "open" if kind == "lead" else "draft"), language)
    changes = (
        Change("amount", "1200000", "1234567"), Change("salesperson", "b", "a"), Change("team", "", "sales"),
        Change("valid_until", "2099-06-30", "2099-12-31"), Change("delivery_address", "", "No. 100, Section 5, Xinyi Road, Taipei"),
    )  # fmt: skip
    outside = subtype.name == "discussion"
    author = Author("", "王小明", "wang@acme.example") if outside else Author("a", "A君", "a@example.com")
    details = Details(
        added=("new.colleague@acme.example",) * outside, withheld=("setup.exe\ta file that runs\tprogram",) * outside,
        taken_back=("b",) * taken_back,
    )  # fmt: skip
    said = TEXTS[language] if "." not in subtype.name or subtype.name == "quotation.sent" else ""
    message = Message(
        1, 1, subtype.name, subtype.internal, AT_MS, author, made.title, said, "", "1@x", "", None, (), (),
        changes * ("." in subtype.name or subtype.name == "assigned"), details, (), (), "pending",
    )  # fmt: skip
    hears = tuple(
        Heard(
            who,
            f"{who}@example.com",
            name,
            outsider=False,
            language="",
            reason=Reason("rule"),
            delivery="mail",
            follows=True,
        )
        for who, name in (("b", "B君"), ("chia", "賈小姐"), ("cheng", "鄭先生"))
    )
    names = ["drawing-of-the-third-floor-2026-final-version.pdf"] if outside else []
    return Told(message, subtype, made, Chosen(hears, ()), names, ["photos.zip"] * outside)


def messages(house: House, renderer: Renderer) -> Iterator[tuple[str, str]]:
    """Give every message's mail: by name, its HTML."""
    kinds = house.site.rules.kinds
    for subtype in kinds.subtypes.values():
        found = kinds.kind_of(subtype.name)
        kind = found.name if found else "quotation"
        for language in LANGUAGES:
            for outsider in (False,) if subtype.internal else (False, True):
                told = _told(subtype, kind, language)
                whose = Audience(
                    language,
                    outsider,
                    "customer" if outsider else "rule",
                    True,
                    "wang@acme.example" * outsider,
                    not outsider,
                )
                yield (
                    f"{subtype.name}-{'customer' if outsider else 'inside'}.{language}",
                    _page(house, renderer, told, whose),
                )
    for language in LANGUAGES:
        told = _told(kinds.subtypes["quotation.confirmed"], "quotation", language, taken_back=True)
        yield (
            f"taken-back-inside.{language}",
            _page(house, renderer, told, Audience(language, False, "told", True, "", True)),
        )


def _page(house: House, renderer: Renderer, told: Told, whose: Audience) -> str:
    tag = 7 if whose.outsider else None
    values = context.build(house.site, house.addresses, renderer, told, whose, tag)
    return str(renderer.body(context.names(house.site.rules.kinds, told), whose.language, values)[1])


def notices(house: House, renderer: Renderer) -> Iterator[tuple[str, str]]:
    """Give every notice's mail: by name, its HTML."""
    for name, data in NOTICES.items():
        for language in LANGUAGES:
            for who in ("a", "") if name in FOR_CUSTOMERS else ("a",):
                made = record("quotation", "draft", language)
                kind = name.partition("-")[0]
                each = Notice(1, kind, who, "a@example.com", 1, data, AT_MS, Claim(1, 1, 0))
                about = None if kind in ("held", "reload", "decision", "refused", "account") else made
                values = notice._context(house.site, house.addresses, renderer, language, each, about)
                suffix = "" if who else "-customer"
                yield f"notice-{name}{suffix}.{language}", str(renderer.body([f"notice/{kind}"], language, values)[1])


def answers(house: House, renderer: Renderer) -> Iterator[tuple[str, str]]:
    """Give every answer to what people ask: by name, its HTML."""
    people = house.site.people.by_key
    for name in answer.TITLES:
        for ref in ("S00001", "") if name in ("help", "prefs") else ("",) if name == "list" else ("S00001",):
            for language in LANGUAGES:
                with house.store.read() as tx:
                    found = records.find(tx, ref) if ref else None
                    asked = answer.Asked([name], people["a"], language, found)
                    sections, _ = answer.sections(tx, house.site, house.addresses, renderer, asked)
                data = {"asked": [name]}
                each = Notice(1, "answer", "a", "a@example.com", 1, data, AT_MS, Claim(1, 1, 0))
                values = notice._context(house.site, house.addresses, renderer, language, each, found)
                values |= {"sections": [notice._as_value(section) for section in sections]}
                suffix = "-without-record" if name in ("help", "prefs") and not ref else ""
                yield f"answer-{name}{suffix}.{language}", str(renderer.body(["notice/answer"], language, values)[1])


def cards(house: House, renderer: Renderer) -> Iterator[tuple[str, str]]:
    """Give the card of a lead: by name, its HTML."""
    for language in LANGUAGES:
        person = house.site.people.by_key["a"].model_copy(update={"language": language})
        made = Cards(house.store, house.site, house.addresses, renderer)
        yield f"card.{language}", made._words(record("lead", "open", language), person)[1]


def all_pages(folder: Path) -> dict[str, str]:
    """Return every page by its name, the same each time."""
    with time_machine.travel(AT, tick=False):
        house = House(folder / "site", Zone.read(ZONE), rules=calm_rules(**{"kinds: {}\n": REPAIR}))
        try:
            _busy(house)
            renderer = make_renderer(house.site.settings)
            found = [
                *messages(house, renderer),
                *notices(house, renderer),
                *answers(house, renderer),
                *cards(house, renderer),
            ]
        finally:
            house.close()
    assert len(dict(found)) == len(found)
    return dict(found)


def _busy(house: House) -> None:
    """Let a quotation and two leads of A君's have something to show."""
    lines = [{"name": "Conference chair, stackable, black frame", "quantity": 20, "price": "60000.50"}]
    house.quotation(
        title=TITLES["zh-TW"],
        lines=lines,
        fields={"amount": "1234567.00", "currency": "TWD", "valid_until": "2099-12-31"},
    )
    for title in (TITLES["en"], "桌子"):
        house.announce("lead.created", title=title, salesperson="a", actor="a", team="sales", fields={"amount": "5000"})
    house.follow("S00001", "somebody.with.a.long.name@subsidiary.acme.example")
    house.write("wang@acme.example", house.tagged("S00001", "wang@acme.example"), TEXTS["zh-TW"])
    house.write("chia@example.com", f"s00001-note@{D}", "Give them 5 %, not more.")
    house.write("a@example.com", f"s00001@{D}", "/set amount 1200000\n/send")
    house.sent()
