import collections
from pathlib import Path

import pytest
import yaml

from gateway.mail.automatic import read_automatic
from gateway.mail.parse import parse

FOLDER = Path(__file__).parent / "automatic"
LABELS = {"machine", "person"}
KINDS = {"vacation", "bounce", "list", "receipt", "challenge", "notification", "calendar", "person"}
PRECISION, RECALL = 0.99, 0.98  # C14


@pytest.fixture(scope="module")
def entries() -> list[tuple[str, dict[str, str]]]:
    """Every entry of the set, with the name of its file."""
    return [
        (path.name, entry)
        for path in sorted(FOLDER.glob("*.yaml"))
        for entry in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    ]


def _why(entry: dict[str, str]) -> str:
    content = (entry["mail"] + "\n").replace("\n", "\r\n").encode()
    found = read_automatic(parse(content), entry["return_path"])
    return found.why if found else ""


def test_the_set_is_large_well_formed_and_every_name_stands_once(entries):
    assert len(entries) >= 400
    names = collections.Counter(entry["name"] for _, entry in entries)
    assert [name for name, times in names.items() if times > 1] == []
    for _, entry in entries:
        assert set(entry) == {"name", "label", "kind", "return_path", "mail"}, entry["name"]
        assert entry["label"] in LABELS, entry["name"]
        assert entry["kind"] in KINDS, entry["name"]
        assert (entry["label"] == "person") == (entry["kind"] == "person"), entry["name"]
    persons = sum(entry["label"] == "person" for _, entry in entries)
    assert 0.35 <= persons / len(entries) <= 0.45


def test_every_mail_of_the_set_is_read_with_an_author_and_a_subject(entries):
    unread = []
    for file, entry in entries:
        mail = parse((entry["mail"] + "\n").replace("\n", "\r\n").encode())
        if not (mail.header.first("from") and mail.subject):
            unread.append(f"{file} {entry['name']}")
    assert unread == []


def test_C14_machines_are_told_from_people(entries):  # noqa: N802 (named for its row)
    wrong, right, taken, machines = [], 0, 0, 0
    for file, entry in entries:
        why, machine = _why(entry), entry["label"] == "machine"
        machines += machine
        taken += bool(why)
        right += machine and bool(why)
        if bool(why) != machine:
            wrong.append(f"{file} {entry['name']}: a {entry['label']} ({entry['kind']}), the detector says {why!r}")
    precision, recall = right / max(taken, 1), right / machines
    told = f"precision {precision:.4f}, recall {recall:.4f}, wrong:\n" + "\n".join(wrong)
    assert precision >= PRECISION, told
    assert recall >= RECALL, told
