"""The fuzz of mails in its short form; `script/fuzz-mail` runs the long one."""

import pytest

from gateway.mail.automatic import Automatic, read_automatic
from gateway.mail.parse import Mail
from tests.kit.mail_fuzz import run

pytestmark = pytest.mark.timeout(120)


def test_F1_every_mangled_mail_comes_to_an_end_and_none_by_an_exception(tmp_path):  # noqa: N802 (the campaign's name)
    figures = run(tmp_path, 1_500, seed=20261124)
    assert figures.problems == [], figures.show()
    assert figures.mails == sum(figures.states.values()) == 1_500
    assert figures.states["shunted"] == figures.unended == 0
    assert all(figures.states[state] for state in ("posted", "done", "held", "discarded")), figures.show()


def test_F1_a_mail_that_fails_is_noticed(tmp_path, monkeypatch):  # noqa: N802 (as above)
    def fails(mail: Mail, return_path: str) -> Automatic | None:
        if mail.subject != "chairs":  # what the house itself begins with
            raise LookupError("no such thing")
        return read_automatic(mail, return_path)

    monkeypatch.setattr("gateway.decide.serve.read_automatic", fails)
    figures = run(tmp_path, 3, seed=1)
    assert figures.states["shunted"] == 3
    assert any("LookupError" in each for each in figures.problems)
