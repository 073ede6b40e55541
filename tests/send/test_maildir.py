"""The Maildir hop: mail programs can read it, a retry does not double, nothing leads outside."""

import mailbox

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import Address, parse_address
from gateway.send import maildir

MAIL = b"From: a@example.com\r\nSubject: hello\r\n\r\nline one\r\nFrom here\r\n"
NAME = "1764000000.7.sales.example.com"


def put(root, to="wang@acme.example", mail=MAIL, name=NAME, path="bounce+7.x@sales.example.com"):
    maildir.deliver(root, parse_address(to), path, (mail,), name)


def box(root, to="wang@acme.example"):
    return mailbox.Maildir(root / to, create=False)


def test_the_standard_library_reads_what_we_put_there(tmp_path):
    put(tmp_path)
    (message,) = box(tmp_path)
    assert message["Subject"] == "hello"
    assert message["Return-Path"] == "<bounce+7.x@sales.example.com>"
    assert message["Delivered-To"] == "wang@acme.example"
    assert message.get_payload() == "line one\nFrom here\n"
    assert message.get_subdir() == "new"


def test_line_ends_are_the_systems(tmp_path):
    put(tmp_path)
    assert b"\r" not in (tmp_path / "wang@acme.example" / "new" / NAME).read_bytes()


def test_the_null_return_path_is_written(tmp_path):
    put(tmp_path, path="")
    assert next(iter(box(tmp_path)))["Return-Path"] == "<>"


def test_a_retry_does_not_double(tmp_path):
    put(tmp_path)
    put(tmp_path)
    assert len(box(tmp_path)) == 1
    assert list((tmp_path / "wang@acme.example" / "tmp").iterdir()) == []


@pytest.mark.parametrize("flags", [":2,", ":2,S", ":2,FRS"])
def test_a_retry_of_what_was_read_meanwhile_does_not_double(tmp_path, flags):
    put(tmp_path)
    folder = tmp_path / "wang@acme.example"
    (folder / "new" / NAME).rename(folder / "cur" / (NAME + flags))
    put(tmp_path)
    assert len(box(tmp_path)) == 1
    assert list((folder / "tmp").iterdir()) == []


def test_two_deliveries_are_two_mails(tmp_path):
    put(tmp_path)
    put(tmp_path, name="1764000000.8.sales.example.com")
    assert len(box(tmp_path)) == 2


def test_what_is_left_in_tmp_is_no_mail(tmp_path):
    put(tmp_path)
    (tmp_path / "wang@acme.example" / "tmp" / "half").write_bytes(b"half")
    assert len(box(tmp_path)) == 1


def test_a_folder_that_was_half_made_is_made_whole(tmp_path):
    (tmp_path / "wang@acme.example" / "tmp").mkdir(parents=True)
    put(tmp_path)
    assert len(box(tmp_path)) == 1


def test_case_does_not_make_another_mailbox(tmp_path):
    put(tmp_path, "Wang@ACME.example")
    assert [each.name for each in tmp_path.iterdir()] == ["wang@acme.example"]


LOCALS = st.text(st.sampled_from("./%~-_{}|!#$&'*+=?^`ab"), min_size=1, max_size=20)


@given(LOCALS)
def test_no_address_leads_outside(tmp_path_factory, local):
    root = tmp_path_factory.getbasetemp() / "root"
    address = parse_address(f"{local}@acme.example")
    if address is not None:
        folder = maildir.folder(root, address)
        assert folder.parent == root
        assert folder.resolve().parent == root.resolve()


@pytest.mark.parametrize("local", ["../../etc/x", "/etc/x", "a/b", "a/../b", "..", "."])
def test_a_slash_in_a_local_part_stays_in_the_name(tmp_path, local):
    root = tmp_path / "root"
    maildir.deliver(root, Address(local, "acme.example"), "", (MAIL,), NAME)
    assert [each.name for each in tmp_path.iterdir()] == ["root"]
    assert len(list(root.glob(f"*/new/{NAME}"))) == 1


def test_two_addresses_never_share_a_folder_by_their_slash(tmp_path):
    one, two = Address("a/b", "acme.example"), Address("a%2Fb", "acme.example")
    assert maildir.folder(tmp_path, one) != maildir.folder(tmp_path, two)
