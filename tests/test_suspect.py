"""Mails at which a server hangs up, or which it refuses: whichever they are, all others are read."""

import asyncio

import pytest

from gateway.imap import Broken, Refused
from gateway.mail.imap import Listed
from gateway.suspect import Narrowed, Suspects

ALL = range(1, 41)
CONNECTIONS_MAX = 300


class Box:
    """A connection to a server that cannot read some of its mails."""

    def __init__(self, hangs=(), refuses=(), away=False):
        self.gave = False
        self._hangs, self._refuses, self._away = set(hangs), set(refuses), away

    async def uids(self, _):
        return list(ALL)

    async def listed(self, uids, _):
        if self._away or self._hangs & set(uids):
            raise Broken("it hung up")
        if self._refuses & set(uids):
            raise Refused("it cannot be read")
        self.gave = self.gave or bool(uids)
        return [Listed(uid, size=100, octets=b"x") for uid in uids]


def read(suspects, **server):
    """Return the UIDs that were listed, after as many connections as it takes."""
    for _ in range(CONNECTIONS_MAX):
        try:
            return [each.uid for each in asyncio.run(suspects.listed(Box(**server), ALL, "size"))]
        except (Broken, Refused):
            pass
    return []


BAD = [{1}, {40}, {1, 40}, {1, 2, 3, 38, 39, 40}, set(ALL) - {20}, set(ALL) - {1}, set(ALL) - {40}, {*range(2, 41, 2)}]


@pytest.mark.parametrize("proof", [False, True])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_all_but_the_bad_ones_are_listed(proof, bad, how):
    suspects = Suspects(proof=proof)
    assert read(suspects, **{how: bad}) == sorted(set(ALL) - bad)
    assert suspects.bad.keys() == bad


def test_a_mail_that_is_bad_in_one_way_does_not_hide_one_that_is_in_another():
    suspects = Suspects(proof=True)
    assert read(suspects, hangs={1, 20}, refuses={2, 39, 40}) == sorted(set(ALL) - {1, 2, 20, 39, 40})


def test_a_server_that_is_away_blames_no_mail():
    suspects = Suspects(proof=True)
    assert read(suspects, away=True) == []
    assert not suspects.bad
    assert read(suspects) == list(ALL)


async def fails(suspects, uids, **server):
    async with suspects.octets(Box(**server), uids):
        raise Broken("it hung up")


async def succeeds(suspects, uids):
    async with suspects.octets(Box(), uids):
        pass


def asked(suspects, uids, times, **server):
    for _ in range(times):
        with pytest.raises(Broken):
            asyncio.run(fails(suspects, uids, **server))


@pytest.mark.parametrize("bad", BAD)
def test_a_mail_whose_octets_end_connections_is_bad_in_the_end_whichever_others_are(bad):
    suspects = Suspects(proof=True)
    asked(suspects, [min(bad)], CONNECTIONS_MAX, hangs=bad)
    assert suspects.bad == {min(bad): "it hung up"}


def test_a_mail_whose_octets_cannot_be_had_is_bad_only_where_others_were_given():
    suspects = Suspects(proof=True)
    asked(suspects, [7], 9, away=True)
    asked(suspects, [8, 9], 9)
    assert not suspects.bad
    asked(suspects, [7], 6)
    assert suspects.bad == {7: "it hung up"}
    asyncio.run(succeeds(suspects, [8]))
    assert (suspects.apart(8), suspects.apart(9)) == (False, True)


def test_what_is_known_is_handed_out_before_all_is():
    suspects = Suspects()
    box = Box(hangs={30})
    with pytest.raises(Narrowed):
        asyncio.run(suspects.listed(box, ALL, "size"))
    with pytest.raises(Narrowed):
        asyncio.run(suspects.listed(box, ALL, "size"))
    first = suspects.known_first(ALL)
    assert list(first) == list(range(1, 21))
    assert [each.uid for each in asyncio.run(suspects.listed(Box(away=True), first, "size"))] == list(first)
