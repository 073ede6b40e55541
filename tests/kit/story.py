"""Run a story: a folder of numbered steps, as text, against a real node and a sink.

See tests/README.md for the steps and the words in braces.
"""

import asyncio
import email.utils
import json
import re
import shlex
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import yaml

from tests.kit.client import Client
from tests.kit.conversation import Conversation
from tests.kit.dns import NameServer
from tests.kit.node import Node, replygate, write_site
from tests.kit.nodelog import leaks, nowhere_words, said_in, secrets_of
from tests.kit.sink import Received, start
from tests.kit.zone import Zone

_WORD = re.compile(r"\{(reply|id|unfollow|path|subject|release|drop|block|accept|decline) ([^}\s]+)\}")


class SinkThread:
    """A sink that runs beside a blocking test."""

    def __init__(self) -> None:
        self.mails: list[Received] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server, self.port = asyncio.run_coroutine_threadsafe(start(self.mails), self._loop).result(10)

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            self._server.abort_clients() if hasattr(self._server, "abort_clients") else None

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(slots=True)
class Got:
    """A mail the sink took, read."""

    to: str
    path: str
    mail: EmailMessage
    text: str
    raw: bytes


@dataclass
class Story:
    """A story under way: what everybody has got so far."""

    folder: Path
    node: Node
    sink: SinkThread
    seen: int = 0
    got: list[Got] = field(default_factory=list)
    conversation: Conversation = field(init=False)

    def __post_init__(self) -> None:
        self.conversation = Conversation(self)

    def run(self) -> None:
        steps = sorted(
            (p for p in self.folder.iterdir() if p.name[0].isdigit()), key=lambda p: int(p.name.split("-")[0])
        )
        assert steps, f"{self.folder} holds no step"
        for step in steps:
            verb = step.name.split("-", 1)[1]
            try:
                getattr(self, "do_" + verb.replace(".", "_").replace("-", "_"))(step)
            except AssertionError as error:
                raise AssertionError(f"{self.folder.name}/{step.name}: {error}") from error

    # -- steps that do something

    def do_announce_json(self, step: Path) -> None:
        (self.node.site / step.name).write_text(self.fill(step.read_text("utf-8")), "utf-8")
        for name in ("quote.pdf",):
            if (self.folder / name).exists():
                (self.node.site / name).write_bytes((self.folder / name).read_bytes())
        answer = replygate(self.node.site, "announce", str(self.node.site / step.name), check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def do_refused_json(self, step: Path) -> None:
        """Announce what must be refused: the file holds `event` and the fields of the `problems`."""
        given = json.loads(self.fill(step.read_text("utf-8")))
        answer = replygate(self.node.site, "announce", stdin=json.dumps(given["event"]), check=False)
        assert answer.returncode == 4, answer.stdout
        assert [p["field"] for p in json.loads(answer.stdout)["error"]] == given["problems"], answer.stdout

    def do_mail_smtp(self, step: Path) -> None:
        self._mail(step, "smtp")

    def do_mail_lmtp(self, step: Path) -> None:
        self._mail(step, "lmtp")

    def _mail(self, step: Path, door: str) -> None:
        head, _, content = self.fill(step.read_text("utf-8")).partition("\n---\n")
        fields = [line.partition(":") for line in head.splitlines() if line.strip()]
        values = [(name.strip(), value.strip()) for name, _, value in fields]
        path = next((value for name, value in values if name == "from"), "")
        to = [value for name, value in values if name == "to"]
        expected = [value for name, value in values if name == "answer"]
        times = int(next((value for name, value in values if name == "times"), "1"))
        for _ in range(times):
            with Client(self.node.ports[door], lmtp=door == "lmtp") as client:
                answers = client.send(path, to, content.encode("utf-8"))
            if expected:
                assert len(answers) == len(expected), answers
                for answer, wanted in zip(answers, expected, strict=True):
                    assert answer.startswith(wanted), answers
            else:
                assert all(answer.startswith("250") for answer in answers), answers

    def do_replygate_txt(self, step: Path) -> None:
        """Run commands, a line each; a line may end in `=> STATUS`, and lines below it that begin with `| ` must be printed."""
        result = None
        for line in self.fill(step.read_text("utf-8")).splitlines():
            if line.startswith("| "):
                assert result is not None
                assert line[2:] in result.stdout + result.stderr, result.stdout + result.stderr
            elif line.strip():
                command, _, status = line.partition("=>")
                result = replygate(self.node.site, *shlex.split(command), check=False)
                assert result.returncode == int(status or 0), result.stdout + result.stderr

    def do_release_txt(self, step: Path) -> None:
        """Release the held mail whose subject stands in the file."""
        subject = step.read_text("utf-8").strip()
        found = [each for each in self.node.json("held", "list") if each["subject"] == subject]
        assert len(found) == 1, found
        self.node.replygate("held", "release", str(found[0]["id"]))

    def do_rules_yaml(self, step: Path) -> None:
        self._edit(step, "rules.yaml")

    def do_people_yaml(self, step: Path) -> None:
        self._edit(step, "people.yaml")

    def _edit(self, step: Path, name: str) -> None:
        """Put a file in place of the one in force and wait until the node has read it."""
        before = self.node.stderr.read_text("utf-8").count("event=reloaded")
        (self.node.site / name).write_text(step.read_text("utf-8"), "utf-8")
        until = time.monotonic() + 30
        while self.node.stderr.read_text("utf-8").count("event=reloaded") <= before:
            assert time.monotonic() < until, "the node did not read the edit"
            time.sleep(0.02)  # polls

    def do_conversation_yaml(self, step: Path) -> None:
        """Mails one after the other, and after each exactly what everybody got."""
        self.conversation.play(yaml.safe_load(step.read_text("utf-8")))

    # -- steps that look

    def do_expect_yaml(self, step: Path) -> None:
        """What everybody got since the last look: exactly these mails, in any order."""
        self.expect(yaml.safe_load(self.fill(step.read_text("utf-8"))) or [])

    def expect(self, wanted: list[dict[str, Any]]) -> None:
        new = self.collect()
        assert sorted(each["to"] for each in wanted) == sorted(got.to for got in new), [
            (got.to, str(got.mail["Subject"]), got.text[:80]) for got in new
        ]
        left = list(new)
        for each in wanted:
            fitting = [got for got in left if got.to == each["to"] and not self.misses(got, each)]
            assert fitting, [(self.misses(got, each), got.text) for got in left if got.to == each["to"]]
            left.remove(fitting[0])

    @staticmethod
    def misses(got: Got, wanted: dict[str, Any]) -> str:
        """Return what of `wanted` a mail does not have, or ""."""
        for name, value in wanted.get("header", {}).items():
            have = got.mail[name]
            if (value is None) != (have is None) or (value is not None and str(value) not in str(have)):
                return f"{name}: {have}"
        for key in ("has", "lacks"):
            for text in wanted.get(key, []):
                if (text in got.text) != (key == "has"):
                    return f"{key} {text!r}"
        files = {part.get_filename(): part for part in got.mail.iter_attachments()}
        if "attachments" in wanted and list(files) != list(wanted["attachments"]):
            return f"attachments {list(files)}"
        if isinstance(wanted.get("attachments"), dict):
            for name, (media_type, begins) in wanted["attachments"].items():
                content = files[name].get_payload(decode=True)
                if files[name].get_content_type() != media_type or not content.startswith(begins.encode()):
                    return f"attachment {name}: {files[name].get_content_type()}, {content[:20]!r}"
        if "path" in wanted and not re.fullmatch(wanted["path"], got.path):
            return f"path {got.path}"
        return ""

    def do_record_yaml(self, step: Path) -> None:
        """What `record show --json` says must hold this: mappings by key, lists by length and item."""
        wanted = yaml.safe_load(self.fill(step.read_text("utf-8")))
        self.node.quiet()
        shown = self.node.json("record", "show", wanted["record"])
        problem = differs(shown, wanted, "record")
        assert not problem, problem

    def do_held_yaml(self, step: Path) -> None:
        wanted = yaml.safe_load(self.fill(step.read_text("utf-8"))) or []
        self.node.quiet()
        problem = differs(self.node.json("held", "list"), wanted, "held")
        assert not problem, problem

    def do_total_yaml(self, step: Path) -> None:
        """How many mails of each subject everybody got in the whole story, and nobody else any."""
        self.collect()
        total: dict[str, Counter[str]] = {}
        for got in self.got:
            total.setdefault(got.to, Counter())[str(got.mail["Subject"])] += 1
        assert total == yaml.safe_load(step.read_text("utf-8")), {to: dict(each) for to, each in total.items()}

    def do_nowhere_txt(self, step: Path) -> None:
        """No mail to an address outside example.com ever held these words, a line each; decoded, all of it."""
        self.collect()
        for line in step.read_text("utf-8").splitlines():
            for got in self.got:
                if not got.to.endswith("@example.com"):
                    assert line not in got.text, (got.to, got.text)
                    assert line.encode() not in got.raw, got.to

    # -- help

    def collect(self) -> list[Got]:
        """Wait until the node is quiet; return what the sink took since the last time."""
        self.node.quiet()
        new = self.everything()[self.seen :]
        self.seen += len(new)
        return new

    def fill(self, text: str) -> str:
        """Put in place of words in braces what somebody last got: `{reply chia@example.com}`."""
        text = text.replace("{now}", email.utils.formatdate())
        if not _WORD.search(text):
            return text
        self.node.quiet()

        def word(match: re.Match[str]) -> str:
            last = [got for got in self.everything() if got.to == match[2]]
            assert last, f"{match[2]} got nothing yet"
            mail = last[-1].mail
            match match[1]:
                case "reply":
                    return str(mail["Reply-To"])
                case "id":
                    return str(mail["Message-ID"])
                case "unfollow":
                    return str(mail["List-Unsubscribe"]).strip("<>").removeprefix("mailto:")
                case "path":
                    return last[-1].path
                case "subject":
                    return str(mail["Subject"])
                case "accept" | "decline" as answer:
                    found = re.findall(rf"\S+-{answer}\+[a-z2-7]{{25}}@sales\.example\.com", last[-1].text)
                    assert found, f"{match[2]} was offered nothing to {answer}"
                    return str(found[0])
                case action:
                    found = re.findall(rf"held-{action}\+\S+@sales\.example\.com", last[-1].text)
                    assert found, f"{match[2]} was offered nothing to {action}"
                    return str(found[0])

        return _WORD.sub(word, text)

    def everything(self) -> list[Got]:
        self.got += [read(mail) for mail in self.sink.mails[len(self.got) :]]
        return self.got


def read(mail: Received) -> Got:
    parsed = message_from_bytes(mail.content, policy=default)
    assert isinstance(parsed, EmailMessage)
    parts = [str(parsed["Subject"])]
    for part in parsed.walk():
        if part.get_content_maintype() == "text":
            parts.append(part.get_content())
    return Got(mail.recipient, mail.return_path, parsed, "\n".join(parts), mail.content)


def differs(have: Any, wanted: Any, where: str) -> str:
    """Return where `have` does not hold what is `wanted`, or ""."""
    if isinstance(wanted, dict):
        if not isinstance(have, dict):
            return f"{where} is {have!r}"
        for key, value in wanted.items():
            if key not in have:
                return f"{where} has no {key}"
            if problem := differs(have[key], value, f"{where}.{key}"):
                return problem
        return ""
    if isinstance(wanted, list):
        if not isinstance(have, list) or len(have) != len(wanted):
            return f"{where} is {json.dumps(have, ensure_ascii=False, default=str)}"
        return next(
            filter(None, (differs(h, w, f"{where}[{n}]") for n, (h, w) in enumerate(zip(have, wanted, strict=True)))),
            "",
        )
    return "" if have == wanted else f"{where} is {have!r}, not {wanted!r}"


def play(folder: Path, site: Path, store_url: str = "") -> None:
    """Play the story in `folder` with its site in `site`."""
    sink = SinkThread()
    files = {
        name: (folder / f"{name}.yaml").read_text("utf-8")
        for name in ("gateway", "people", "rules")
        if (folder / f"{name}.yaml").exists()
    }
    write_site(site, **files)
    gateway = (site / "gateway.yaml").read_text("utf-8").replace("maildir:var/mail", f"'smtp://127.0.0.1:{sink.port}'")
    if store_url:
        gateway = gateway.replace("sqlite:///var/gateway.db", store_url)
    zone = folder / "dns.zone"
    server = NameServer(Zone.read(zone.read_text("utf-8") if zone.exists() else ""))
    assert "authentication:" not in gateway
    gateway += f"\nauthentication: {{resolver: '127.0.0.1:{server.port}'}}\n"
    (site / "gateway.yaml").write_text(gateway, "utf-8")
    if store_url:
        replygate(site, "migrate")
    try:
        with Node(site, log="info") as node:
            Story(folder, node, sink).run()
            said = said_in(node.store()) | nowhere_words(folder)
            status = node.stop()
        log = node.stderr.read_text("utf-8")
        assert status == 0, log[-2000:]
        assert list(leaks(log, secrets_of(site), said)) == [], "the log holds what no log may (row C24)"
    finally:
        sink.close()
        server.close()
