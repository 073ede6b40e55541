"""Row C06 of the catalogue for every template there is: what it is given stands there as it was written, and nothing else.

Each is rendered twice in both languages and forms, with plain words and with hostile ones, in every branch: the hostile
ones must stand wherever the plain ones do, and the HTML must have the same elements with the same attributes.
"""
# ruff: noqa: N802 (rows have capital names)

from collections import Counter
from collections.abc import Mapping
from itertools import count

import lxml.html
import pytest
from jinja2 import meta, nodes

from gateway.notify import pdf
from gateway.notify.render import LANGUAGES, Renderer
from tests.notify.test_content_rows import AFTER, OPENS, TEMPLATES

RENDERER = Renderer([TEMPLATES], "Asia/Taipei")
NAMES = sorted(
    {
        path.relative_to(TEMPLATES).as_posix().partition(".")[0]
        for path in TEMPLATES.rglob("*.jinja")
        if not path.name.startswith("_")
    }
)
ONE_LINE = [
    "".join(OPENS), " ".join(AFTER), "{{ 7*7 }}", "<script>alert(1)</script>", '" onmouseover="alert(1)', "' style='x' x='", "javascript:alert(1)",
    "]]></style></title></textarea><script>alert(1)</script>", "%(ref)s %(names)s %s {ref} {0}", "&lt;script&gt;&#60;b&#62;&amp;amp;", "--> <!-- x", "</td></tr></table><img src=x onerror=alert(1)>",
    "$(true)`true`", "[x] <https://evil.example>", "=?utf-8?q?=0D=0ABcc:_x=40evil.example?=", "url(http://evil.example/x)", "}body{background:url(//evil.example)}",
]  # fmt: skip
LINES = [
    "x\r\nBcc: x@evil.example\r\n\r\n<script>alert(1)</script>", "x\n\n<b>\n--b\nContent-Type: text/html\n\n<i>", "x\n-- \nx\n.\nQUIT", "x\r{{ 42*42 }}\r<u>",
    "x\u2028<s>\u2029<s>\x85<s>\x0b<s>\x0c<s>",
]  # fmt: skip
WORD = "word"
# What a template branches by; each value in turn, with all else there is.
BRANCHES: list[dict[str, object]] = [
    {},
    {"customer": True, "inside": False, "note": True, "goes_to_customer": False, "what": "decline"},
    {"what": "decline", "note": True, "unfollow": "", "follow": "", "problem": ""},
    *({"what": f"held {what}"} for what in ("release", "drop", "block", "gone", "may not")),
    {"what": "created"},
    {"what": "late", "inside": False},
    {"what": "late", "said": "accept"},
    {"what": "late"},
    {"what": "done"},
    {"what": "done", "ref": ""},
    {"what": "unknown", "problem": ""},
    {"again": True},
    {"not_told": True},
    {"mail": ""},
    {"mail": "", "error": ""},
    {"what": "unknown", "problem": "", "offers": []},
    {"ref": "", "subject": "", "text": "", "old": ""},
]


def values() -> dict[str, object]:
    """Return everything that some template is given, in plain words."""
    button = {"label": WORD, "link": WORD, "address": WORD, "body": WORD}
    line = {"name": WORD, "quantity": WORD, "price": WORD}
    change = {"label": WORD, "old": WORD, "new": WORD}
    item = dict.fromkeys(["id", "from", "record", "to", "subject", "reason", "text", "release", "drop", "block", "release_address", "drop_address", "block_address", "answer", "answer_addresses"], WORD)  # fmt: skip
    item |= {"sent": {"lines": [line], "total": WORD}, "now": {"lines": [line, line], "total": WORD}}
    row = {"text": WORD, "link": WORD, "buttons": [button, button]}
    words = [
        "site", "ref", "title", "kind", "author", "text", "stage", "lost_reason", "salesperson", "customer_name", "total", "valid_until", "reason", "alias", "unfollow", "unfollow_address",
        "follow", "follow_address", "note_alias", "address", "subject", "recipient", "answer", "why", "mend", "at", "who", "id", "given", "problem", "date", "origin", "subtype_label", "account", "mail", "error", "state", "to",
    ]  # fmt: skip
    return {
        **dict.fromkeys(words, WORD),
        **{each: [WORD, WORD] for each in ("attachments", "left_out", "withheld", "others", "added", "nearest", "outside", "problems", "files", "deciding")},
        "what": "accept", "said": "decline", "record_kind": "quotation", "subtype": "discussion", "customer": False, "again": False, "not_told": False, "note": False, "goes_to_customer": True, "inside": True,
        "lines": [line, line], "warning": WORD, "changes": [change, {**change, "old": ""}], "buttons": [button, button], "items": [item, item], "item": {**item, "commands": [WORD, WORD]},
        "done": [["note", "", ""], ["follow", WORD, WORD], ["follow", "", ""], ["unfollow", WORD, WORD], [WORD, WORD, WORD]], "made": [{"ref": WORD, "alias": WORD}],
        "offers": [{"link": WORD, "text": WORD, "cut": True, "address": WORD}], "sections": [{"title": WORD, "hint": WORD, "rows": [row, row]}, {"title": WORD, "hint": "", "rows": []}],
    }  # fmt: skip


def said(value: object, payload: str, numbers: "count[int]"):
    """Return a context with every word in it numbered, and `payload` behind the number."""
    if value == WORD:
        return f"W{next(numbers)}w{payload}"
    if isinstance(value, Mapping):
        return {name: said(inner, payload, numbers) for name, inner in value.items()}
    if isinstance(value, list):
        return [said(inner, payload, numbers) for inner in value]
    return value


def rendered(name: str, language: str, branch: Mapping[str, object], payload: str) -> tuple[str, str]:
    """Return a template's text ("" where it has none) and HTML."""
    context = said({**values(), **branch}, payload, count(100))
    if name.startswith("pdf/"):
        return "", RENDERER.page([name], language, context)
    return RENDERER.body([name], language, context)


def shape(html: str) -> list[tuple[str, list[str]]]:
    """Return the elements of some HTML in order, with the names of their attributes; not those that break lines."""
    tree = lxml.html.document_fromstring(html)
    found = [(str(each.tag), sorted(each.attrib)) for each in tree.iter() if isinstance(each.tag, str)]
    assert not [each for each in tree.iter() if not isinstance(each.tag, str)], "a comment"
    return [each for each in found if each[0] not in ("br", "p")]


def shown(html: str) -> str:
    """Return all that a reader of some HTML could come to see: its text and what stands in attributes."""
    tree = lxml.html.document_fromstring(html)
    attributes = [value for each in tree.iter() for value in each.attrib.values()]
    return "\n".join([tree.text_content(), *attributes])


def counted(text: str, payload: str) -> Counter[str]:
    """Return how often each numbered word stands in a text with `payload` right behind it."""
    pieces = text.split(f"w{payload}") if payload else text.split("w")
    numbers = (piece.rpartition("W")[2] for piece in pieces[:-1])
    return Counter(number for number in numbers if number.isdigit() and len(number) == 3)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_C06_every_template_shows_hostile_words_as_they_were_written(name, language):
    for branch in BRANCHES:
        plain_text, plain_html = rendered(name, language, branch, "")
        usual, usual_html = counted(plain_text, ""), counted(shown(plain_html), "")
        form = shape(plain_html)
        for payload in ONE_LINE:
            text, html = rendered(name, language, branch, payload)
            assert counted(text, payload) == usual, (branch, payload)
            assert counted(shown(html), payload) == usual_html, (branch, payload)
            assert shape(html) == form, (branch, payload)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_C06_no_break_of_a_line_makes_an_element_or_is_worked_out(name, language):
    for branch in BRANCHES:
        form = shape(rendered(name, language, branch, "")[1])
        for payload in LINES:
            text, html = rendered(name, language, branch, payload)
            assert shape(html) == form, (branch, payload)
            assert "1764" not in text + html, (branch, payload)


def named_in(name: str) -> set[str]:
    """Return what a template asks its context for, in either form; a layout's own blocks are left to the layout."""
    environment = RENDERER._environments["en"]
    found: set[str] = set()
    for form in ("html",) if name.startswith("pdf/") else ("txt", "html"):
        tree = environment.parse((TEMPLATES / f"{name}.{form}.jinja").read_text("utf-8"))
        own = {each.target.name for each in tree.find_all(nodes.Assign)}
        found |= meta.find_undeclared_variables(tree) - own
    return found - {"language"}


@pytest.mark.parametrize("name", NAMES)
def test_C06_every_value_that_a_template_names_was_hostile_once(name):
    """Nothing is left out above: whoever gives a template another value adds it there."""
    known = values()
    named = named_in(name)
    assert named - set(known) == set()
    words = {each for each in named if known[each] == WORD}
    seen: set[str] = set()
    for branch in BRANCHES:
        for each in words - seen - set(branch):
            text, html = rendered(name, "en", {**branch, each: "ONLYTHIS"}, "")
            seen |= {each} if "ONLYTHIS" in text + html else set()
    assert words - seen == set()


def test_C06_there_are_templates_of_every_kind():
    assert len(NAMES) > 25
    assert {each.partition("/")[0] for each in NAMES} == {"default", "quotation", "lead", "invoice", "notice", "pdf"}


def test_C06_a_hostile_page_makes_a_pdf_that_fetched_nothing(monkeypatch):
    if not pdf.available():
        pytest.skip("no PDF can be made on this machine (the extra [pdf], and Pango)")
    asked: list[str] = []

    def nothing(url, *_arguments, **_options):
        asked.append(url)
        raise ValueError(url)

    monkeypatch.setattr(pdf, "_nothing", nothing)
    loads = '<img src="http://x.example/x"><link rel=stylesheet href=//x.example><style>@import "http://x.example/x"</style>'
    made = pdf.make(RENDERER, "en", "quotation", said(values(), loads, count(100)))
    assert (made or b"").startswith(b"%PDF")
    assert asked == []
