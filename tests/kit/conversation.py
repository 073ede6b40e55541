"""Plain mails one after the other, and exactly who got what: the step `N-conversation.yaml`.

An item is a mail, or with `press` the mail that a mailto: link opens in what its author got last; see tests/README.md.
`got` is what everybody got since the last look; an item without it is looked at with the next.
"""

import email.utils
import html
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.kit.client import Client

if TYPE_CHECKING:
    from tests.kit.story import Got, Story

KEYS = {"from", "to", "says", "subject", "answers", "press", "again", "door", "got"}
_LINK = re.compile(r'<a href="(mailto:[^"]+)"[^>]*>(.*?)</a>', re.DOTALL)


class Conversation:
    """The mails of one story: each has an id and a second of its own."""

    def __init__(self, story: "Story") -> None:
        self.story = story
        self.count = 0
        self.began = int(time.time()) - 3_600
        self.last: tuple[str, Sequence[str], bytes] = ("", [], b"")

    def play(self, items: Sequence[dict[str, Any]]) -> None:
        assert "got" in items[-1], "the last mail is looked at"
        for number, item in enumerate(items, 1):
            assert item.keys() <= KEYS, item.keys() - KEYS
            try:
                if not item.get("again"):
                    self.last = self._mail(item)
                with Client(self.story.node.ports[item.get("door", "smtp")], lmtp=item.get("door") == "lmtp") as client:
                    answers = client.send(*self.last)
                assert all(answer.startswith("250") for answer in answers), answers
                if "got" in item:
                    self.story.expect([self._filled(each) for each in item["got"]])
            except AssertionError as error:
                raise AssertionError(f"mail {number}, {item.get('says', item.get('press', ''))!r}: {error}") from error

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.story.fill(value)
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        return [self._filled(each) for each in value] if isinstance(value, list) else value

    def _mail(self, item: dict[str, Any]) -> tuple[str, Sequence[str], bytes]:
        author = item["from"]
        if "press" in item:
            to, subject, text = pressed(self.last_to(author), item["press"])
        else:
            to, subject, text = self._filled(item["to"]), item.get("subject", "mail"), self._filled(item["says"])
        text = item.get("says", text)
        fields = {"From": author, "To": to, "Subject": subject}
        if item.get("answers"):
            answered = self.last_to(author).mail
            fields |= {"Subject": answered["Subject"], "In-Reply-To": answered["Message-ID"]}
        self.count += 1
        fields |= {
            "Date": email.utils.formatdate(self.began + self.count),
            "Message-ID": f"<mail{self.count}.{author.replace('@', '.')}@mail.example>",
            "MIME-Version": "1.0",
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Transfer-Encoding": "8bit",
        }
        head = "".join(f"{name}: {value}\n" for name, value in fields.items())
        return author, [each.strip() for each in to.split(",")], f"{head}\n{text}\n".encode()

    def last_to(self, address: str) -> "Got":
        got = [each for each in self.story.everything() if each.to == address]
        assert got, f"{address} got nothing yet"
        return got[-1]


def pressed(got: "Got", label: str) -> tuple[str, str, str]:
    """Return address, subject and text of the mail that a link opens: the one shown as `label`."""
    text = got.text.replace("\r\n", "\n")
    links = {html.unescape(shown).strip(): html.unescape(link) for link, shown in _LINK.findall(text)}
    assert label in links, (label, list(links))
    parts = urlsplit(links[label])
    fields = parse_qs(parts.query.replace("+", "%2B"))
    return unquote(parts.path), fields.get("subject", [""])[0], fields.get("body", [""])[0].replace("\r\n", "\n")
