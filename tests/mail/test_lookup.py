import pytest

from gateway.mail.lookup import Unreachable, is_name, remembering, texts
from tests.kit.zone import Zone


@pytest.mark.parametrize("name", ["a", "example.com", "example.com.", "_dmarc.example.com", "a" * 63 + ".b", "xn--fiqs8s", "a b.example", ".".join(["a" * 49] * 5)])  # fmt: skip
def test_a_name_can_be_asked_for(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", ".a", "a..", "a" * 64, "b." + "a" * 64, ".".join(["a" * 63] * 4), "münchen.de", "a\x00b", "a\nb", "a\x7f", r"a\.b", r"a\046b", "a\u2024com", "a" * 1_000_000])  # fmt: skip
def test_what_is_no_name_is_not_asked_for(name):
    assert not is_name(name)


def test_texts_are_octets():
    assert texts(lambda _name, _kind: ["é", b"\xff"], "a") == ["é".encode(), b"\xff"]


def test_a_zone_follows_aliases_and_does_not_answer_where_it_says_so():
    zone = Zone.read("""
        ; a comment
        example.com       TXT    v=spf1 mx -all; not a comment
        example.com       MX     20 second.example.com
        example.com       MX     10 first.example.com
        www.example.com   CNAME  example.com
        slow.example.com  A      192.0.2.1
        slow.example.com  TIMEOUT
        mx.example.com    MX     TIMEOUT
        a.loop.example    CNAME  b.loop.example
        b.loop.example    CNAME  a.loop.example
    """)
    assert zone("WWW.example.com.", "TXT") == [b"v=spf1 mx -all; not a comment"]
    assert zone("www.example.com", "MX") == ["first.example.com", "second.example.com"]
    assert zone("slow.example.com", "A") == ["192.0.2.1"]
    assert zone("mx.example.com", "A") == []
    assert zone("a.loop.example", "A") == []
    assert zone("nowhere.example.com", "A") == []
    assert zone.exists("loop.example")
    assert not zone.exists("nowhere.example.com")
    for name, kind in [("slow.example.com", "TXT"), ("mx.example.com", "MX")]:
        with pytest.raises(Unreachable):
            zone(name, kind)


def test_a_zone_is_read_from_a_dictionary():
    zone = Zone({"a.example": [{"SPF": "v=spf1 a"}, {"MX": [0, "b.example"]}], "b.example": [{"SPF": "x"}, {"TXT": "NONE"}, "TIMEOUT"], "c.example": [{"TXT": ["v=sp", "f1"]}]})  # fmt: skip
    assert zone("a.example", "TXT") == [b"v=spf1 a"]
    assert zone("a.example", "MX") == ["b.example"]
    assert zone("c.example", "TXT") == [b"v=spf1"]
    with pytest.raises(Unreachable):
        zone("b.example", "TXT")
    assert zone.asked[0] == ("a.example", "TXT")


def test_nothing_is_asked_twice():
    zone = Zone.read("a.example A 192.0.2.1\nslow.example TIMEOUT")
    lookup = remembering(zone)
    for _ in range(3):
        assert lookup("a.example", "A") == ["192.0.2.1"]
        assert lookup("b.example", "A") == []
        with pytest.raises(Unreachable):
            lookup("slow.example", "A")
    assert len(zone.asked) == 3
