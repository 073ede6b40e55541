"""Every mail's HTML as a person reviewed it, and every button in it: a mailto: link that any mail program opens."""

import difflib
import html
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gateway.mail.address import parse_address
from tests.kit.golden import compare
from tests.kit.pages import all_pages

GOLDEN = Path(__file__).parent / "golden"
LINK_MAX = 2_000  # characters that every mail program takes
# RFC 6068 §2: what may stand in hfields as it is; everything else is percent-encoded.
_QCHARS = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;:@/-]|%[0-9A-F]{2})*")
_TO = re.compile(r"(?:[A-Za-z0-9._~!$'*+@-]|%[0-9A-F]{2})+")
_HREF = re.compile(r'href="([^"]*)"')


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return all_pages(tmp_path_factory.mktemp("pages"))


def links(page):
    return [html.unescape(each) for each in _HREF.findall(page)]


def test_every_mail_looks_as_it_was_reviewed(pages):
    wrong = []
    for name, page in pages.items():
        try:
            compare(GOLDEN / f"{name}.html", page)
        except AssertionError:
            path = GOLDEN / f"{name}.html"
            old = path.read_text("utf-8").splitlines() if path.exists() else []
            lines = list(difflib.unified_diff(old, page.splitlines(), f"{name} as reviewed", "now", "", "", 0, ""))
            wrong.append("\n".join(lines[:8]))
    assert wrong == [], "\n".join(wrong)


def test_no_golden_is_of_a_mail_there_is_no_more(pages):
    assert {path.stem for path in GOLDEN.glob("*.html")} == set(pages)


def test_every_link_opens_a_mail_and_nothing_else(pages):
    found = {each for page in pages.values() for each in links(page)}
    assert len(found) > 50
    assert [each for each in found if not each.startswith("mailto:")] == []


def problem(link):
    """Return what is wrong with a mailto: link by RFC 6068, or ""."""
    parts = urlsplit(link)
    fields = dict(each.partition("=")[::2] for each in parts.query.split("&")) if parts.query else {}
    said = [unquote(each, errors="strict") for each in fields.values()]
    checks = {
        "too long": len(link) >= LINK_MAX,
        "no address": _TO.fullmatch(parts.path) is None or parse_address(unquote(parts.path)) is None,
        "a fragment": "#" in link,
        "another field": not set(fields) <= {"cc", "subject", "body"}
        or parts.query.count("&") + 1 != len(fields or [0]),
        "a bare character": not all(_QCHARS.fullmatch(each) for each in fields.values()),
        "an empty field": not all(each.strip() for each in said),
        "no subject": bool(fields) and "subject" not in fields,
        "a line that ends without CR LF": bool(re.search(r"(?<!\r)\n|\r(?!\n)", "".join(said))),
        "two lines of subject": "\n" in unquote(fields.get("subject", "")),
    }
    return ", ".join(name for name, is_wrong in checks.items() if is_wrong)


def test_every_button_is_a_mailto_link_that_any_mail_program_opens(pages):
    wrong = {
        f"{name}: {link[:150]}: {problem(link)}"
        for name, page in pages.items()
        for link in links(page)
        if problem(link)
    }
    assert wrong == set()
    assert any("%0D%0A" in link for page in pages.values() for link in links(page))


@pytest.mark.parametrize(
    "link",
    [
        "mailto:a@x?subject=a b", "mailto:a@x?subject=", "mailto:a@x?body=x", "mailto:a@x?subject=a&body=b%0Ac",
        "mailto:a@x?subject=a&bcc=b@x", "mailto:?subject=a", "mailto:a@x?subject=a#b", "mailto:a@x?subject=a&subject=b",
        f"mailto:a@x?subject={'a' * 2_000}", "mailto:a@x?subject=a%0D%0Ab",
    ],
)  # fmt: skip
def test_a_link_that_some_mail_program_does_not_open_would_be_found(link):
    assert problem(link)


def test_a_chinese_page_shows_chinese_and_an_english_one_its_language(pages):
    for name, page in pages.items():
        language = name.rpartition(".")[2]
        assert f'<html lang="{language}">' in page
        assert '<meta charset="utf-8">' in page


def test_a_customer_finds_both_answers_in_an_offer(pages):
    for language in ("en", "zh-TW"):
        found = links(pages[f"quotation.sent-customer.{language}"])
        assert [any(f"-{answer}%2B" in each for each in found) for answer in ("accept", "decline")] == [True, True]
