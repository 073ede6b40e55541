"""Submission: our own people log in over TLS, nobody guesses, nothing is relayed, no password is told."""

import base64
import contextlib
import logging
import ssl
import threading

import pytest
import sqlalchemy as sa
import structlog
import trustme
from limits import RateLimitItemPerMinute
from structlog.testing import capture_logs

from gateway.arrive import submission
from gateway.arrive.submission import Submitters
from gateway.store.tables import arrival
from gateway.users import Users
from tests.kit.client import Client, user_line

TO = "s00001@sales.example.com"
MAIL = b"From: chia@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
SECRET = "c0rrect horse / 電池"
HOST = "sales.example.com"


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def plain(login, password, role=""):
    return b64(f"{role}\0{login}\0{password}")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def site(house, authority, monkeypatch, tmp_path):
    """A house with a submission door; `port` and the `users` file are its own."""
    monkeypatch.setattr(submission, "SLOW_S", 0.0)
    house.users = tmp_path / "users"
    house.users.write_text(user_line("chia", SECRET) + user_line("a", "other"))
    house.people = lambda: house.site.people
    house.doors.submitters = Submitters(Users(house.users), lambda: house.people())  # noqa: PLW0108 (a test puts others there)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    house.port = house.open("submission", tls=context, require_tls=True)
    return house


@pytest.fixture
def secure(site, trusting):
    with Client(site.port) as client:
        yield client.starttls(trusting, HOST)


@pytest.fixture
def again(site, trusting):
    """Return what opens one more session over TLS."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(Client(site.port)).starttls(trusting, HOST)


def log_in(client, login, password):
    return client.say(f"AUTH PLAIN {plain(login, password)}")


def who_is_kept(house):
    with house.store.read() as tx:
        return list(tx.execute(sa.select(arrival.c.auth_who).order_by(arrival.c.id)).scalars())


# -- what is offered


def test_before_tls_auth_is_not_offered_and_refused_with_538(site):
    with Client(site.port) as client:
        assert "STARTTLS" in client.hello
        assert "AUTH" not in client.hello
        assert log_in(client, "chia", SECRET).startswith("538 5.7.11")
        assert client.say("AUTH LOGIN").startswith("538 5.7.11")
        assert client.say("MAIL FROM:<chia@example.com>").startswith("530 5.7.0")


def test_over_tls_plain_and_login_are_offered_and_starttls_is_not(secure):
    assert "250-AUTH LOGIN PLAIN" in secure.hello.split("\n")
    assert "STARTTLS" not in secure.hello


def test_auth_needs_a_greeting_that_offered_it(site, trusting):
    with Client(site.port) as client:
        client.starttls(trusting, HOST)
        assert client.say("HELO x").startswith("250")
        assert client.say(f"AUTH PLAIN {plain('chia', SECRET)}").startswith("500")


def test_a_submission_door_without_anybody_to_ask_does_not_open(house):
    with pytest.raises(ValueError, match="who logs in"):
        house.open("submission")


# -- logging in


@pytest.mark.parametrize("login", ["chia", "chia@example.com", "Chia@Example.COM"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "plain", "pLaIn"])
def test_plain_with_an_initial_response_in_any_case(secure, login, mechanism):
    assert secure.say(f"AUTH {mechanism} {plain(login, SECRET)}").startswith("235 2.7.0")


def test_plain_in_two_steps(secure):
    assert secure.say("AUTH PLAIN") == "334 "
    assert secure.say(plain("chia", SECRET)).startswith("235")


@pytest.mark.parametrize("mechanism", ["LOGIN", "login"])
def test_login(secure, mechanism):
    assert secure.say(f"AUTH {mechanism}") == "334 " + b64("Username:")
    assert secure.say(b64("chia")) == "334 " + b64("Password:")
    assert secure.say(b64(SECRET)).startswith("235")


def test_login_with_an_initial_response(secure):
    assert secure.say(f"auth login {b64('chia')}") == "334 " + b64("Password:")
    assert secure.say(b64(SECRET)).startswith("235")


def test_a_password_typed_in_full_width_letters_is_the_same(site, secure):
    site.users.write_text(user_line("chia", "abc123"))
    assert log_in(secure, "chia", "ａｂｃ１２３").startswith("235")


def test_nobody_acts_for_another(secure):
    assert secure.say(f"AUTH PLAIN {plain('chia', SECRET, role='cheng')}").startswith("501 5.5.2")
    assert secure.say(f"AUTH PLAIN {plain('chia', SECRET, role='chia')}").startswith("235")


def test_who_logged_in_stands_in_what_is_kept(site, secure):
    assert log_in(secure, "chia@example.com", SECRET).startswith("235")
    assert secure.send("chia@example.com", [TO], MAIL) == ["250 2.0.0 kept"]
    assert secure.send("boss@elsewhere.example", [TO], MAIL) == ["250 2.0.0 kept"]
    assert who_is_kept(site) == ["chia", "chia"]
    assert [content for _, _, content in site.kept()] == [MAIL, MAIL]


def test_whom_auth_names_in_mail_is_ignored(site, secure):
    log_in(secure, "chia", SECRET)
    assert secure.say("MAIL FROM:<chia@example.com> AUTH=cheng@example.com SIZE=100").startswith("250")
    assert secure.say(f"RCPT TO:<{TO}>").startswith("250")
    secure.say("DATA")
    secure.socket.sendall(MAIL + b".\r\n")
    assert secure.answer() == "250 2.0.0 kept"
    assert who_is_kept(site) == ["chia"]


def test_nothing_goes_before_auth(site, secure):
    assert secure.say("MAIL FROM:<chia@example.com>").startswith("530 5.7.0")
    assert secure.say(f"RCPT TO:<{TO}>").startswith("530 5.7.0")
    assert secure.say("DATA").startswith("503")
    log_in(secure, "chia", "wrong")
    assert secure.say("MAIL FROM:<chia@example.com>").startswith("530 5.7.0")
    assert site.kept() == []


def test_nothing_is_relayed_for_those_who_logged_in(secure):
    log_in(secure, "chia", SECRET)
    assert secure.say("MAIL FROM:<chia@example.com>").startswith("250")
    for foreign in (
        "x@elsewhere.example",
        "x%elsewhere.example@sales.example.com",
        "@sales.example.com:x@evil.example",
    ):
        assert secure.say(f"RCPT TO:<{foreign}>").startswith("550")


def test_auth_twice_is_503(secure):
    log_in(secure, "chia", SECRET)
    assert log_in(secure, "chia", SECRET).startswith("503")


def test_auth_while_a_mail_is_under_way_is_503(secure):
    log_in(secure, "chia", SECRET)
    secure.say("MAIL FROM:<chia@example.com>")
    assert log_in(secure, "a", "other").startswith("503")
    assert secure.say(f"RCPT TO:<{TO}>").startswith("250")


# -- what is no login


@pytest.mark.parametrize(
    "given", ["%%%", "=AAAA", "AAAA=AAAA", b64("no zeros"), b64("\0a\0b\0c"), b64("a\0b"), "=", b64(b"\xff\xfe")]
)
def test_what_is_no_base64_of_a_login_is_501(secure, given):
    assert secure.say(f"AUTH PLAIN {given}").startswith("501 5.5.2")
    assert secure.say("AUTH PLAIN").startswith("334")
    assert secure.say(given).startswith("501 5.5.2")
    assert log_in(secure, "chia", SECRET).startswith("235")


@pytest.mark.parametrize("steps", [["AUTH PLAIN", "*"], ["AUTH LOGIN", "*"], ["AUTH LOGIN", b64("chia"), "*"]])
def test_a_star_gives_up_and_the_session_goes_on(secure, steps):
    answers = [secure.say(step) for step in steps]
    assert [answer[:3] for answer in answers] == ["334"] * (len(steps) - 1) + ["501"]
    assert log_in(secure, "chia", SECRET).startswith("235")


@pytest.mark.parametrize("line", ["AUTH", "AUTH ", "AUTH PLAIN a b"])
def test_auth_with_too_little_or_too_much_is_501(secure, line):
    assert secure.say(line).startswith("501")


@pytest.mark.parametrize("name", ["CRAM-MD5", "XOAUTH2", "PLAIN\\", "_plain", "__init__"])
def test_another_mechanism_is_504(secure, name):
    assert secure.say(f"AUTH {name} {b64('x')}").startswith("504 5.5.4")


@pytest.mark.parametrize("octets", [12_288, 13_000, 100_000])
def test_a_huge_initial_response_is_refused_and_never_taken_for_commands(secure, octets):
    assert secure.say("AUTH PLAIN " + "A" * octets).startswith("500 5.5.6")
    assert log_in(secure, "chia", SECRET).startswith("235")


@pytest.mark.parametrize("octets", [13_000, 100_000])
def test_a_huge_answer_is_refused_and_never_taken_for_commands(secure, octets):
    assert secure.say("AUTH PLAIN").startswith("334")
    assert secure.say("A" * octets).startswith("500 5.5.6")
    assert log_in(secure, "chia", SECRET).startswith("235")


def test_a_long_password_counts_to_its_end(site, secure):
    site.users.write_text(user_line("chia", "x" * 3_000))
    assert log_in(secure, "chia", "x" * 2_999).startswith("535")
    assert log_in(secure, "chia", "x" * 3_000).startswith("235")


def test_an_empty_password_lets_nobody_in(site, secure):
    site.users.write_text(user_line("chia", ""))
    assert log_in(secure, "chia", "").startswith("535 5.7.8")


# -- guessing


def test_a_wrong_password_is_535_each_slower_and_the_third_ends_the_session(secure, monkeypatch):
    paused = []

    async def pause(seconds):
        paused.append(seconds)

    monkeypatch.setattr(submission, "SLOW_S", 7.0)
    monkeypatch.setattr(submission.asyncio, "sleep", pause)
    assert log_in(secure, "chia", "wrong").startswith("535 5.7.8")
    assert log_in(secure, "nobody", SECRET).startswith("535 5.7.8")
    assert log_in(secure, "chia", "wrong").startswith("421 4.7.0")
    assert secure.rest() == []
    assert [each for each in paused if each >= 7] == [7.0, 14.0, 21.0]


def test_who_is_known_and_who_is_not_are_answered_alike(secure):
    assert log_in(secure, "chia", "wrong") == log_in(secure, "nobody", "wrong")


@pytest.mark.parametrize("login", ["chia", "nobody"])
def test_five_failures_lock_a_login_for_a_peer_even_with_the_right_password(again, login):
    failures = []
    while len(failures) < 5:
        client = again()
        failures += [log_in(client, login, "wrong")[:3] for _ in range(min(2, 5 - len(failures)))]
    assert failures == ["535"] * 5
    client = again()
    assert log_in(client, login, SECRET).startswith("454 4.7.0")
    assert log_in(client, login.upper(), SECRET).startswith("454 4.7.0")
    assert log_in(client, "a", "other").startswith("235")


@pytest.mark.parametrize("login", ["chia", "nobody"])
def test_a_login_is_locked_for_all_peers_after_failures_of_many(site, secure, login):
    submitters = site.doors.submitters
    for n in range(20):
        assert site.run(submitters.person(login, b"wrong", f"192.0.2.{n}")) == ""
    assert log_in(secure, login, SECRET).startswith("454 4.7.0")
    assert log_in(secure, "a", "other").startswith("235")


def test_a_peer_that_guesses_many_logins_is_locked_for_all_of_them(site, secure):
    for n in range(50):
        site.run(site.doors.submitters.person(f"guess{n}", b"wrong", "127.0.0.1"))
    assert log_in(secure, "chia", SECRET).startswith("454 4.7.0")
    assert site.run(site.doors.submitters.person("chia", SECRET.encode(), "192.0.2.9")) == "chia"


def test_many_tries_at_once_are_no_way_around_the_lock(site):
    async def tries():
        every = (site.doors.submitters.person("chia", b"wrong", "127.0.0.1") for _ in range(100))
        return await submission.asyncio.gather(*every)

    looked_at = [who for who in site.run(tries()) if who is not None]
    assert len(looked_at) <= 5 + submission._AT_ONCE - 1


def test_a_lock_is_the_persons_however_the_name_is_spelt(site):
    for _ in range(10):
        site.run(site.doors.submitters.person("chia", b"wrong", "127.0.0.1"))
    for login in ("chia", "chia@example.com", "CHIA@example.com"):
        assert site.run(site.doors.submitters.person(login, SECRET.encode(), "127.0.0.1")) is None


def test_a_lock_opens_again(site, secure, monkeypatch):
    monkeypatch.setattr(submission, "PER_LOGIN_AND_PEER", RateLimitItemPerMinute(1, 15))
    assert log_in(secure, "chia", "wrong").startswith("535")
    assert log_in(secure, "chia", SECRET).startswith("454")
    site.doors.submitters._failures.storage.reset()
    assert log_in(secure, "chia", SECRET).startswith("235")


def test_locked_answers_come_to_an_end_too(site, secure):
    for n in range(50):
        site.run(site.doors.submitters.person(f"guess{n}", b"wrong", "127.0.0.1"))
    answers = [log_in(secure, "chia", SECRET)[:3] for _ in range(20)]
    assert answers == ["454"] * 20
    assert [line[:9] for line in secure.rest()] == ["421 4.7.0"]


# -- who may


def test_a_person_who_was_removed_cannot_log_in(site, secure):
    without = {key: person for key, person in site.site.people.by_key.items() if key != "chia"}
    site.people = lambda: type(site.site.people)(without, {})
    assert log_in(secure, "chia", SECRET).startswith("535")


def test_the_users_file_may_come_change_and_go_while_we_run(site, again):
    line = site.users.read_text()
    site.users.unlink()
    assert log_in(again(), "chia", SECRET).startswith("535")
    site.users.write_text(line)
    assert log_in(again(), "chia", SECRET).startswith("235")
    site.users.write_text(user_line("chia", "another"))
    assert log_in(again(), "chia", SECRET).startswith("535")
    assert log_in(again(), "chia", "another").startswith("235")


def test_a_garbled_users_file_lets_the_rest_in_and_is_no_fault(site, secure):
    garbled = b"\xff\xfe\0\nchia:scrypt:3:1:1:AA==:AA==\n:::::::\nb:scrypt:x:y:z:!:!\n" * 50
    site.users.write_bytes(garbled + user_line("a", "other").encode())
    assert log_in(secure, "chia", SECRET).startswith("535")
    assert log_in(secure, "a", "other").startswith("235")


# -- STARTTLS


def test_P03_commands_in_the_clear_behind_starttls_are_not_obeyed(site, trusting):  # noqa: N802 (the row's name)
    behind = f"EHLO evil\r\nAUTH PLAIN {plain('chia', SECRET)}\r\nMAIL FROM:<e@evil.example>\r\nRCPT TO:<{TO}>\r\nRSET\r\nNOOP\r\n"
    with Client(site.port) as client:
        client.socket.sendall(b"STARTTLS\r\n" + behind.encode())
        assert client.answer().startswith("220")
        try:
            client.file.close()
            client.socket = trusting.wrap_socket(client.socket, server_hostname=HOST)
            client.file = client.socket.makefile("rb")
            assert client.say("MAIL FROM:<x@example.com>")[:3] in {"503", ""}
        except (ssl.SSLError, ConnectionError):
            pass  # what stood behind is no handshake: hanging up is as good
    assert site.kept() == []
    assert not any(door.session.authenticated for door in site.doors.shared.sessions)


def test_P03_what_was_said_before_tls_is_forgotten(site, trusting):  # noqa: N802 (the row's name)
    with Client(site.port) as client:
        client.say("STARTTLS")
        client.file.close()
        client.socket = trusting.wrap_socket(client.socket, server_hostname=HOST)
        client.file = client.socket.makefile("rb")
        assert client.say(f"AUTH PLAIN {plain('chia', SECRET)}").startswith("503")


def test_P03_tls_begins_once(secure):  # noqa: N802 (the row's name)
    assert secure.say("STARTTLS").startswith("503 5.5.1")
    assert log_in(secure, "chia", SECRET).startswith("235")


# -- secrets


def test_no_password_ever_stands_in_a_log(site, again, caplog):
    caplog.set_level(logging.DEBUG)
    structlog.reset_defaults()
    with capture_logs() as ours:
        for mechanism in ("PLAIN", "plain"):
            client = again()
            log_in(client, "chia", SECRET)
            client = again()
            client.say(f"AUTH {mechanism} {plain('chia', 'wr0ng-' + SECRET)}")
            client.say(f"AUTH {mechanism} {plain('chia', SECRET)} {SECRET}")
            client.say(f"AUTH {mechanism} {SECRET.split(' ', maxsplit=1)[0]}")
        client = again()
        for line in ("AUTH LOGIN", b64("chia"), SECRET.split(" ")[1], "AUTH LOGIN", b64("chia"), b64(SECRET + "x")):
            client.say(line)
        client.say(plain("chia", SECRET) + "A" * 20_000)
        client.say(b64(SECRET))
    house_done = threading.Event()
    site.loop.call_soon_threadsafe(house_done.set)
    assert house_done.wait(30)
    told = caplog.text + repr(ours)
    assert "login" in repr(ours)
    hidden = [
        SECRET,
        "c0rrect",
        "horse",
        b64(SECRET),
        b64(SECRET + "x"),
        plain("chia", SECRET),
        plain("chia", "wr0ng-" + SECRET),
    ]
    assert [each for each in hidden if each in told] == []
