"""What a person drops into a record's folder, beside the same mail as it comes by SMTP."""

import pytest

from gateway.store.arrivals import FOLDER
from tests.kit.house import HOSTS, D

S = f"s00001@{D}"
WANG, CHIA = "wang@acme.example", "chia@example.com"


def letter(author, text, more=""):
    return f"From: {author}\r\nTo: {CHIA}, {S}\r\nSubject: x\r\nMessage-ID: <one@y>\r\n{more}\r\n{text}\r\n".encode()


def drop(house, octets, who="chia"):
    return house.take(octets, f"s00001-note@{D}", door=FOLDER, peer="chia@imap", auth_who=who)


def came(house, octets, author):
    return house.take(octets, S, peer=HOSTS[author.partition("@")[2]], return_path=author)


@pytest.mark.parametrize("author", [WANG, CHIA])
def test_a_mail_that_was_dropped_before_it_came_is_heard_when_it_comes(made, author):
    octets = letter(author, "we take it")
    assert drop(made, octets) == ("posted", "")
    assert drop(made, octets, "a") == ("done", "duplicate")
    assert came(made, octets, author) == ("posted", "")
    assert [row.subtype for row in made.messages()][-2:] == ["note", "discussion"]
    assert any("we take it" in each.text for each in made.sent() if each.to == "a@example.com")


def test_a_mail_that_came_is_not_said_again_by_its_copy_in_the_folder(made):
    octets = letter(CHIA, "we take it")
    assert came(made, octets, CHIA) == ("posted", "")
    assert drop(made, octets) == ("done", "duplicate")


def test_a_mail_with_two_authors_is_a_note_of_who_dropped_it(made):
    assert drop(made, letter(WANG, "x", "From: b@example.com\r\n")) == ("posted", "")
    assert made.messages()[-1].author_who == "chia"
