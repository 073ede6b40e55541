"""Templates: every subtype has its words in both languages, and text from outside is only ever text."""

from typing import get_args

import pytest
from markupsafe import escape

from gateway import site
from gateway.alias import Addresses
from gateway.following import Reason
from gateway.mail.report import Cause
from gateway.mail.tag import Keys
from gateway.node import make_renderer
from gateway.notify import context, notice
from gateway.notify.context import Audience, Told
from gateway.notify.recipients import Chosen, Heard
from gateway.notify.render import LANGUAGES, Renderer, tidy
from gateway.records.kinds import BUILT_IN, TEAM, Kinds
from gateway.records.lifecycle import Change
from gateway.records.record import Line, Party, Record
from gateway.store.lease import Claim
from gateway.store.messages import Author, Details, Message
from gateway.store.notices import Notice
from tests.kit.node import write_site

KINDS = Kinds()
SUBTYPES = sorted(KINDS.subtypes)
PAYLOADS = [
    "{{ 7*7 }}", "{% raw %}", "{{ config }}", "${7*7}", "#{7*7}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{# hidden #}", "{% include '/etc/passwd' %}", "%(title)s", "{title}", "{{ self._TemplateReference__context }}",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"'><b>", "</td></table>", "&lt;", "a & b",
]  # fmt: skip
REASONS = [
    "rule",
    "creator",
    "salesperson",
    "assigned",
    "member",
    "added",
    "cc",
    "customer",
    "addressed",
    "answered",
    "?",
]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return site.load(write_site(tmp_path_factory.mktemp("site")) / "gateway.yaml")


@pytest.fixture(scope="module")
def renderer(house):
    return make_renderer(house.settings)


@pytest.fixture(scope="module")
def addresses():
    return Addresses("sales.example.com", Keys(0, {0: b"k" * 32}))


def told(subtype="discussion", *, text="Hello\n\nthere", title="20 chairs", author="A君", name="chair.pdf", by="a"):
    found = KINDS.subtypes[subtype]
    kind = KINDS.kind_of(subtype)
    record = Record(
        1, kind.name if kind else "quotation", "S00001", title, "draft", "sales", ("sales",), "a", "a",
        Party(author, ("wang@acme.example",), "en"), {"amount": "120000.00", "currency": "TWD", "valid_until": "2026-12-31",
        "stage": text, "reason": text}, (Line(text, "20", "6000"), Line("x")),
    )  # fmt: skip
    changes = (Change("amount", "1", "120000"), Change("state", "", "draft"), Change("title", "old", title),
               Change("salesperson", "b", "a"), Change("team", "", "sales"), Change("warehouse", "red", text))  # fmt: skip
    message = Message(
        1, 1, subtype, found.internal, 1_764_000_000_000, Author(by, author, "a@example.com"), title, text, "", "1@x", "",
        None, (), (), changes, Details(added=("new@acme.example",)), (), (), "pending",
    )  # fmt: skip
    hears = tuple(
        Heard(
            who,
            f"{who}@example.com",
            who,
            outsider=False,
            language="",
            reason=Reason("rule"),
            delivery="mail",
            follows=True,
        )
        for who in "bc"
    )
    return Told(message, found, record, Chosen(hears, ()), [name])


def rendered(house, renderer, addresses, what, language="en", *, outsider=False, reason="rule", follows=True, tag=None):
    whose = Audience(language, outsider, reason, follows)
    values = context.build(house, addresses, renderer, what, whose, tag)
    return renderer.body(context.names(house.rules.kinds, what), language, values)


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("outsider", [False, True])
@pytest.mark.parametrize("follows", [False, True])
def test_every_subtype_has_words_for_every_audience(house, renderer, addresses, subtype, language, outsider, follows):
    for reason in REASONS:
        text, html = rendered(
            house, renderer, addresses, told(subtype), language, outsider=outsider, reason=reason, follows=follows
        )
        assert "S00001" in text
        assert "S00001" in html
        assert f'<html lang="{language}">' in html
        assert "{{" not in text + html
        assert "{%" not in text + html


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_chinese_readers_read_chinese(house, renderer, addresses, subtype):
    text, html = rendered(house, renderer, addresses, told(subtype, text="", author="君", title="椅"), "zh-TW")
    first = text.splitlines()[0]
    assert any("\u4e00" <= char <= "\u9fff" for char in first.replace("君", "").replace("椅", ""))
    for english in ("You get this mail", "Unfollow", "Attached", "Total:", "Who hears", "wrote on", "INTERNAL"):
        assert english not in text
        assert english not in html.replace("subject=Unfollow", "")


@pytest.mark.parametrize("kind", [kind.name for kind in BUILT_IN if kind.name != TEAM])
def test_a_template_stands_for_each_transition(renderer, kind):
    for subtype in KINDS.by_name[kind].subtypes:
        own = subtype.name.partition(".")[2]
        for form in ("txt", "html"):
            assert renderer._lookup("en", (f"{kind}/{own}",), form) is not None


# -- text from outside is data


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("where", ["text", "title", "author", "name"])
@pytest.mark.parametrize("subtype", ["discussion", "note", "quotation.created", "quotation.sent"])
def test_a_template_in_a_text_from_outside_is_shown_as_it_is(house, renderer, addresses, payload, where, subtype):
    text, html = rendered(house, renderer, addresses, told(subtype, **{where: payload}))
    assert payload in text
    assert str(escape(payload)) in html
    assert "49" not in text
    assert_inert(html)


def assert_inert(html):
    assert "<script" not in html
    assert "<img" not in html
    assert "onerror=alert(1)>" not in html.replace("&gt;", "")
    assert "</td></table></td>" not in html


def test_an_outsiders_name_is_shown_with_the_address_inside_and_escaped(house, renderer, addresses):
    text, html = rendered(house, renderer, addresses, told(author="B & {{ 7*7 }}", by=""))
    assert "B & {{ 7*7 }} <a@example.com>" in text
    assert "B &amp; {{ 7*7 }} &lt;a@example.com&gt;" in html


def test_an_outsiders_name_that_could_pass_for_an_address_or_a_person_is_not_shown(house, renderer, addresses):
    for name in ("<b>Boss</b>", "賈小姐 <chia@example.com>", "chia@example.com"):
        text, html = rendered(house, renderer, addresses, told(author=name, by=""))
        assert name not in text
        assert "<b>Boss" not in html
        assert "a@example.com" in text


def test_paragraphs_and_line_breaks_are_kept_and_escaped(house, renderer, addresses):
    _, html = rendered(house, renderer, addresses, told(text="one\ntwo <b>\n\n\n\nthree"))
    assert "one<br>two &lt;b&gt;</p>" in html
    assert ">three</p>" in html


# -- who is shown what


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_an_outsider_is_shown_nothing_of_the_inside(house, renderer, addresses, subtype):
    text, html = rendered(
        house, renderer, addresses, told(subtype, text="x", author="A"), outsider=True, reason="customer", follows=False
    )
    for secret in ("b@example.com", "new@acme.example", "warehouse", "Salesperson", "follow", "/note"):
        assert secret not in text
        assert secret not in html.replace("unfollow", "")


def test_a_note_says_plainly_that_it_is_one(house, renderer, addresses):
    text, html = rendered(house, renderer, addresses, told("note"))
    assert text.startswith("INTERNAL NOTE")
    assert "INTERNAL NOTE" in html
    text, _ = rendered(house, renderer, addresses, told("note"), "zh-TW")
    assert "INTERNAL" not in text
    text, _ = rendered(house, renderer, addresses, told("discussion"))
    assert "INTERNAL NOTE" not in text


def test_the_footer_says_why_and_offers_the_ways_out(house, renderer, addresses):
    text, html = rendered(house, renderer, addresses, told())
    assert "because you follow the records of this team" in text
    assert "s00001-unfollow@sales.example.com" in text
    assert "s00001-follow@sales.example.com" in text
    assert 'href="mailto:s00001-unfollow@sales.example.com?subject=Unfollow%20S00001"' in html


def test_only_a_following_outsiders_own_tag_stands_in_a_body(house, renderer, addresses):
    text, html = rendered(house, renderer, addresses, told(), outsider=True, tag=7)
    own = str(addresses.alias("S00001", "unfollow", 7))
    assert own in text
    assert own.replace("+", "%2B") in html
    inside, _ = rendered(house, renderer, addresses, told())
    assert "+" not in inside.partition("-- ")[2]


# -- notices


NOTICES = {
    "refused": [
        {"address": "q@x", "subject": "S", "text": {"en": "E", "zh-TW": "中"}},
        {"address": "q@x", "subject": "S"},
    ],
    "failed": [
        {"recipient": "x@y", "answer": "550 no", "cause": cause, "subject": "S", "at": 1_764_000_000_000}
        for cause in get_args(Cause)
    ],
    "answer": [{"asked": ["help", "list"]}],
    "offer": [{"what": what, "who": "wang@acme.example", "text": "to the back door"} for what in ("accept", "decline")],
    "suppressed": [{"recipient": "x@y", "answer": "550 no", "cause": "address", "subject": "S", "at": 1}],
    "decision": [
        {"what": f"held {what}", "subject": "S", "id": "7"} for what in ("release", "drop", "block", "gone", "may not")
    ],
    "delayed": [{"recipient": "x@y", "answer": "450 later", "subject": "S", "at": 1_764_000_000_000}],
    "held": [{"items": [{"id": 1, "from": "x@y", "record": "S1", "to": "", "subject": "S", "reason": "r"}]}],
    "reload": [{"problems": ["people.yaml:1: what"]}],
    "transcript": [
        {"what": "created"},
        {"what": "done", "done": [["note", ""], ["follow", ""], ["unfollow", "lead.*"]]},
        {"what": "unknown", "given": "/nte", "nearest": ["/note"]},
        {"what": "unknown", "given": "/nte", "nearest": []},
        {"what": "done", "done": [["note", ""]], "outside": ["wang@acme.example"]},
    ],
}
CASES = [(kind, data) for kind, each in NOTICES.items() for data in each]


def noticed(house, renderer, addresses, kind, data, who="a"):
    each = Notice(1, kind, who, "a@example.com", 1, data, 1_764_000_000_000, Claim(1, 1, 0))
    return notice._compose(house, addresses, renderer, each, told().record, 7)


@pytest.mark.parametrize(("kind", "data"), CASES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notice_has_words_in_every_language(house, renderer, addresses, kind, data, language):
    values = notice._context(
        house, addresses, renderer, language, Notice(1, kind, "a", "a@x", 1, data, 1, Claim(1, 1, 0)), told().record
    )
    text, html = renderer.body([f"notice/{kind}"], language, values)
    assert text.strip()
    assert f'<html lang="{language}">' in html
    if language == "zh-TW" and kind != "answer":  # its words are its sections, of which there are none here
        assert any("\u4e00" <= char <= "\u9fff" for char in text.partition("-- ")[0])


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_every_notice_composes_and_is_marked_automatic(house, renderer, addresses, kind, data):
    block, body = noticed(house, renderer, addresses, kind, data)
    assert b"\r\nAuto-Submitted: auto-" in block
    assert b"X-Auto-Response-Suppress: All" in block
    assert body.octets


@pytest.mark.parametrize("payload", [*PAYLOADS, "x\r\nBcc: y@example.com", "\0"])
def test_what_a_server_answered_is_only_shown(house, renderer, addresses, payload):
    data = {"recipient": payload, "answer": payload, "subject": payload, "at": 1_764_000_000_000}
    each = Notice(1, "failed", "a", "a@x", 1, data, 1, Claim(1, 1, 0))
    text, html = renderer.body(["notice/failed"], "en", notice._context(house, addresses, renderer, "en", each, None))
    assert "49" not in text or "49" in payload
    assert_inert(html)
    block, _ = noticed(house, renderer, addresses, "failed", data)
    assert b"\nBcc" not in block


# -- the administrator's own templates


def test_a_sites_own_template_stands_before_ours(tmp_path):
    from gateway import bundled

    (tmp_path / "default").mkdir()
    for form in ("txt", "html"):
        (tmp_path / "default" / f"note.{form}.jinja").write_text("own: {{ text }}")
    own = Renderer([tmp_path, bundled.folder("templates")], "Asia/Taipei")
    assert own.body(["default/note"], "en", {"text": "<b>"}) == ("own: <b>\n", "own: &lt;b&gt;")


def test_a_sites_own_template_runs_in_the_sandbox(tmp_path):
    from jinja2.exceptions import SecurityError

    for form in ("txt", "html"):
        (tmp_path / f"x.{form}.jinja").write_text("{{ text.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(SecurityError):
        Renderer([tmp_path], "UTC").body(["x"], "en", {"text": "x"})


def test_a_value_that_a_template_names_and_is_not_there_is_a_fault(tmp_path):
    from jinja2.exceptions import UndefinedError

    for form in ("txt", "html"):
        (tmp_path / f"x.{form}.jinja").write_text("{{ missing }}")
    with pytest.raises(UndefinedError):
        Renderer([tmp_path], "UTC").body(["x"], "en", {})


def test_tidy_leaves_one_empty_line_at_a_time():
    assert tidy("\n\na  \n\n\n\nb\n\n") == "a\n\nb\n"
