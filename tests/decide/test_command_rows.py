"""Row A13 of the catalogue: what mail programs put into a mail beside what its author wrote commands nothing.

`commands/NN-name.eml` is a mail to S00001; `commands/expected.txt` says what became of it, which commands were
carried out, and what was posted.
"""
# ruff: noqa: N802 (rows have capital names)

from pathlib import Path

import pytest

from gateway.mail.parse import parse
from tests.kit.golden import compare
from tests.kit.house import HOSTS, NOBODY, D

FOLDER = Path(__file__).parent / "commands"
MAILS = sorted(FOLDER.glob("*.eml"))
# Only these command: every other one must do nothing, whatever the reviewed file says.
COMMANDING = range(1, 15)


def test_A13_there_are_sixty_mails():
    assert len(MAILS) >= 60


def happened(house, path: Path) -> str:
    octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    author = parse(octets).author
    assert author is not None
    host = NOBODY if b"X-Test-Host: nobody" in octets else HOSTS[author.address.domain]
    state, cause = house.take(octets, f"s00001@{D}", peer=host, return_path=author.address.key)
    done = [what for _, what, _ in house.audited()]
    posted = [f"{row.subtype} {row.text[:120]!r}" for row in house.messages()[1:]]
    return " ".join(
        filter(None, [f"{state},{cause}" if cause else state, f"did {'+'.join(done)}" if done else "", *posted])
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    from tests.decide.conftest import acme

    found = {}
    for path in MAILS:
        house = acme(tmp_path_factory.mktemp("command") / "site")
        found[path] = happened(house, path)
        house.close()
    return found


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_A13_only_the_authors_own_first_lines_command(outcomes, path):
    commands = int(path.name[:3]) in COMMANDING
    assert ("did " in outcomes[path]) == commands, outcomes[path]
    assert not outcomes[path].startswith("shunted")


def test_A13_what_became_of_each_is_the_reviewed_file(outcomes):
    compare(FOLDER / "expected.txt", "".join(f"{path.stem:40} {outcomes[path]}\n" for path in MAILS))


@pytest.mark.parametrize("text", ["/unfollow", "/note\nx"])
def test_A13_what_can_be_read_in_two_ways_commands_nothing(made, text):
    head = "Content-Type: text/plain\nContent-Type: text/html"
    assert made.write("b@example.com", f"s00001@{D}", text, head=head) == ("held", "ambiguous")
    assert made.audited() == []
