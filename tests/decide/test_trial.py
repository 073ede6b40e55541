"""cli/trial.py on a store of each dialect: a mail that is tried leaves no row behind, whatever would become of it."""

import pytest

from gateway.cli.app import Open
from gateway.cli.trial import attempt
from tests.kit.house import INSIDE, NOBODY, OUTSIDE, D

MAILS = {
    "a discussion": ("b@example.com", f"s00001@{D}", "hello", INSIDE, "accept"),
    "a note": ("b@example.com", f"s00001-note@{D}", "secret", INSIDE, "accept"),
    "a command": ("b@example.com", f"s00001@{D}", "/follow quotation.*", INSIDE, "accept"),
    "a new record": ("b@example.com", f"quotations@{D}", "hello", INSIDE, "accept"),
    "a team": ("b@example.com", f"sales@{D}", "hello", INSIDE, "accept"),
    "held": ("eve@x.example", f"s00001@{D}", "hello", OUTSIDE, "hold"),
    "forged": ("a@example.com", f"s00001@{D}", "hello", NOBODY, "hold"),
    "refused": ("eve@x.example", f"quotations@{D}", "hello", OUTSIDE, "refuse"),
    "nobody's": ("eve@x.example", f"nobody@{D}", "hello", OUTSIDE, "refuse"),
    "our own": (f"s00001@{D}", f"s00001@{D}", "hello", OUTSIDE, "discard"),
}


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_that_is_tried_leaves_nothing_behind(both_made, name):
    author, to, text, peer, disposition = MAILS[name]
    site = Open(both_made.site, both_made.store, both_made.addresses)
    content = f"From: {author}\nTo: {to}\nSubject: s\nMessage-ID: <t@x>\n\n{text}\n".encode()
    before = both_made.dump()
    shown = attempt(site, both_made.reader, content, [], peer, None)
    again = attempt(site, both_made.reader, content, [], peer, None)
    assert shown["disposition"] == disposition
    assert {**shown, "record": ""} == {**again, "record": ""}
    assert both_made.dump() == before


def test_what_would_be_shunted_is_said_and_leaves_nothing_behind(both_made, monkeypatch):
    from gateway.cli import trial

    def bad(_tx, _desk, _read):
        raise RuntimeError("cannot")

    monkeypatch.setattr(trial, "decide", bad)
    site = Open(both_made.site, both_made.store, both_made.addresses)
    before = both_made.dump()
    shown = attempt(site, both_made.reader, f"From: b@example.com\nTo: s00001@{D}\n\nx\n".encode(), [], INSIDE, None)
    assert (shown["disposition"], shown["reason"]) == ("shunt", "RuntimeError: cannot")
    assert both_made.dump() == before


def test_a_note_that_is_quoted_is_held_and_its_print_is_asked_for(both_made):
    note = "The margin on this one is eleven percent, so do not go below that with them."
    both_made.write("b@example.com", f"s00001-note@{D}", note)
    site = Open(both_made.site, both_made.store, both_made.addresses)
    before = both_made.dump()
    content = f"From: c@example.com\nTo: s00001@{D}\n\nlook:\n\n{note}\n".encode()
    shown = attempt(site, both_made.reader, content, [], INSIDE, None)
    assert (shown["disposition"], shown["cause"]) == ("hold", "quotes a note")
    assert both_made.dump() == before
