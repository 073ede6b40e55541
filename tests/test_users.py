"""The users file: who may log in, however the file got to look as it does."""

import base64
import stat

import pytest

from gateway import users
from gateway.people import People, Person
from gateway.users import Users, read_users, remove_user, set_user
from tests.kit.client import user_line

PEOPLE = People({
    "chia": Person(key="chia", name="賈小姐", email=("chia@example.com", "sales@example.com")),
    "a": Person(key="a", name="A君", email=("a@example.com",)),
})  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "users"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(users, "_N", 16)


def test_a_password_that_was_set_lets_its_person_in_and_nobody_else(path):
    set_user(path, "chia", "電池 staple")
    asked = Users(path)
    for login in ("chia", "chia@example.com", "SALES@example.com"):
        assert asked.person(login, "電池 staple".encode(), PEOPLE) == "chia"
    assert asked.person("a", "電池 staple".encode(), PEOPLE) == ""
    assert asked.person("chia", b"staple", PEOPLE) == ""
    assert asked.person("nobody", "電池 staple".encode(), PEOPLE) == ""


def test_only_the_owner_may_read_the_file(path):
    set_user(path, "chia", "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    set_user(path, "a", "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["users"]


def test_what_a_killed_command_left_behind_is_in_nobodys_way(path):
    set_user(path, "chia", "one")
    left = path.with_name(f".users.{users.os.getpid()}")
    left.write_text("left")
    left.chmod(0o644)
    set_user(path, "chia", "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Users(path).person("chia", b"two", PEOPLE) == "chia"


def test_no_password_stands_in_the_file(path):
    set_user(path, "chia", "secret-word")
    assert "secret-word" not in path.read_text()
    assert base64.b64encode(b"secret-word").decode() not in path.read_text()


def test_the_same_password_is_salted_anew(path):
    set_user(path, "chia", "same")
    set_user(path, "a", "same")
    one, two = read_users(path).values()
    assert one.salt != two.salt
    assert one.hash != two.hash


def test_a_new_password_counts_at_once_even_when_the_file_is_as_long_and_as_old(path):
    set_user(path, "chia", "one")
    asked = Users(path)
    before = path.stat()
    assert asked.person("chia", b"one", PEOPLE) == "chia"
    set_user(path, "chia", "two")
    users.os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert asked.person("chia", b"one", PEOPLE) == ""
    assert asked.person("chia", b"two", PEOPLE) == "chia"


def test_comments_and_other_people_stay(path):
    path.parent.mkdir()
    path.write_bytes(b"# ours \xff\n" + user_line("a", "other").encode() + b"garbled\n")
    set_user(path, "chia", "one")
    set_user(path, "chia", "two")
    assert path.read_bytes().startswith(b"# ours \xff\na:scrypt:")
    assert path.read_bytes().count(b"chia:") == 1
    assert b"garbled\n" in path.read_bytes()
    assert Users(path).person("a", b"other", PEOPLE) == "a"


def test_somebody_taken_out_is_out(path):
    set_user(path, "chia", "one")
    set_user(path, "a", "two")
    asked = Users(path)
    assert asked.person("chia", b"one", PEOPLE) == "chia"
    assert remove_user(path, "chia")
    assert not remove_user(path, "chia")
    assert asked.person("chia", b"one", PEOPLE) == ""
    assert asked.person("a", b"two", PEOPLE) == "a"


def test_somebody_who_left_the_site_is_out_whatever_the_file_says(path):
    set_user(path, "chia", "one")
    assert Users(path).person("chia", b"one", People({"a": PEOPLE.by_key["a"]})) == ""


def test_a_file_that_is_not_there_lets_nobody_in_and_may_come_later(path):
    asked = Users(path)
    assert asked.person("chia", b"one", PEOPLE) == ""
    assert not remove_user(path, "chia")
    set_user(path, "chia", "one")
    assert asked.person("chia", b"one", PEOPLE) == "chia"
    path.unlink()
    path.mkdir()
    assert asked.person("chia", b"one", PEOPLE) == ""


@pytest.mark.parametrize(
    "cost", ["0:8:1", "1:8:1", "3:8:1", "-16:8:1", "1048576:8:1", "65536:32:1", "16:0:1", "16:33:1", "16:1:0", "16:1:99", "x:8:1", "2147483648:8:1"]
)  # fmt: skip
def test_a_cost_that_cannot_be_paid_is_a_line_nobody_wrote(path, cost):
    path.parent.mkdir()
    made = base64.b64encode(b"x" * 32).decode()
    path.write_text(f"chia:scrypt:{cost}:AAAA:{made}\n")
    assert read_users(path) == {}
    assert Users(path).person("chia", b"one", PEOPLE) == ""


@pytest.mark.parametrize(
    "line", ["chia", "chia:", "chia:one", "chia:scrypt:16:1:1:AAAA", "chia:md5:16:1:1:AAAA:AAAA", "chia:scrypt:16:1:1:!:!", "#chia:scrypt:16:1:1:c2FsdA==:eA==", "chia:scrypt:16:1:1:c2FsdA==:eA==", "\0"]
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_nobodys(path, line):
    path.parent.mkdir()
    path.write_text(f"{line}\n{user_line('a', 'other')}")
    assert list(read_users(path)) == ["a"]


def test_a_file_with_the_line_ends_of_another_system_is_read(path):
    path.parent.mkdir()
    path.write_bytes(user_line("chia", "one").replace("\n", "\r\n").encode())
    assert Users(path).person("chia", b"one", PEOPLE) == "chia"


def test_an_empty_password_lets_nobody_in(path):
    set_user(path, "chia", "")
    assert Users(path).person("chia", b"", PEOPLE) == ""


def test_a_password_of_any_octets_is_tried_without_a_fault(path):
    set_user(path, "chia", "one")
    for octets in (b"\xff\xfe", b"\0", b"x" * 100_000, "\ud800".encode("utf-8", "surrogatepass")):
        assert Users(path).person("chia", octets, PEOPLE) == ""


def test_full_width_letters_are_the_same_letters(path):
    set_user(path, "chia", "ＡＢ１２")
    assert Users(path).person("chia", b"AB12", PEOPLE) == "chia"


def test_who_nobody_knows_costs_as_much_as_who_is_known(path, monkeypatch):
    set_user(path, "chia", "one")
    asked = Users(path)
    costs = []
    scrypt = users.hashlib.scrypt
    monkeypatch.setattr(
        users.hashlib, "scrypt", lambda *a, **k: (costs.append((k["n"], k["r"], k["p"])), scrypt(*a, **k))[1]
    )
    monkeypatch.setattr(users, "_NOBODY", users._Hash(16, 8, 1, b"\0" * 16, b"\0" * 32))
    asked.person("chia", b"wrong", PEOPLE)
    asked.person("nobody", b"wrong", PEOPLE)
    asked.person("a", b"wrong", PEOPLE)
    assert costs == [(16, 8, 1)] * 3
