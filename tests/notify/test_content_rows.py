"""Row C06 of the catalogue: templates in what a mail says stand there as they were written, in every field."""
# ruff: noqa: N802 (rows have capital names)

import html
import itertools
from pathlib import Path

from gateway.notify.render import Renderer
from tests.kit.house import CUSTOMER, ZONE, House, calm_rules
from tests.kit.zone import Zone

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
OPENS = ["{{ 7*7 }}", "{{7*'7'}}", "{% raw %}", "{%- endblock %}", "{# x #}", "{{ self.__init__.__globals__ }}", "{{ ''.__class__.__mro__ }}", "{{ config }}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{{ 'x'*10**9 }}",
         "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{% include '_layout.html.jinja' %}", "{% for x in [].__class__.__base__.__subclasses__() %}", "%(author)s", "{0.__class__}", "{{ lipsum }}",
         "{% trans %}x{% endtrans %}", "{% set x = 1 %}", "{{ namespace() }}", "$author", "{{ x | attr('__class__') }}", "@(7*7)", "*{7*7}", "{{= 7*7 }}", "[[${7*7}]]", "\\{{ 7*7 }}"]  # fmt: skip
AFTER = ["", "<script>alert(1)</script>", "'\"-->", "</p>", "<img src=x onerror=alert(1)>", "&amp;", "\\", "%s%n", "{{", "}}", "{%", "%}", "]]>", "`x`", "${x}", "<!--", "é", "報價", "|safe", "__", "\"'", "</title>", "javascript:x", "x=y",
         ";", ":", "(", ")", "*", "/", "~", "^", "#", "+", ",", "="]  # fmt: skip
PAYLOADS = [f"{one}{other}" for one, other in itertools.product(OPENS, AFTER)]
PLAIN = {
    "site": "s", "ref": "S00001", "kind": "k", "record_kind": "quotation", "subtype": "discussion", "customer": False, "note": False, "stage": "new", "salesperson": "a",
    "customer_name": "c", "lines": [], "total": "", "valid_until": "", "left_out": [], "buttons": [], "added": [], "goes_to_customer": False, "unfollow": "",
    "unfollow_address": "", "follow": "", "follow_address": "", "alias": "s00001@sales.example.com", "reason": "r", "lost_reason": "", "subtype_label": "l",
}  # fmt: skip
FIELDS = ("author", "title", "text", "attachments", "withheld", "others", "changes")


def test_C06_a_thousand_payloads_stand_in_every_field_as_they_were_written():
    assert len(PAYLOADS) >= 1_000
    renderer = Renderer([TEMPLATES], "Asia/Taipei")
    for payload in PAYLOADS:
        said = {name: f"{name}:{payload}" for name in FIELDS}
        values = PLAIN | {name: said[name] for name in ("author", "title", "text")}
        values |= {name: [said[name], "y"] for name in ("attachments", "withheld", "others")}
        values |= {"changes": [{"label": "l", "old": "", "new": said["changes"]}]}
        text, rich = renderer.body(["default/created"], "en", values)
        for name in FIELDS:
            assert said[name].rstrip() in text, (name, payload)
            assert said[name].rstrip() in html.unescape(rich), (name, payload)
            assert "<" not in payload or said[name] not in rich, (name, payload)


def test_C06_what_a_mail_says_in_its_subject_name_and_text_is_shown_as_it_stands(tmp_path):
    house = House(tmp_path / "site", Zone.read(ZONE), rules=calm_rules())
    said = "{{ 7*7 }}{% raw %}${7*7}{{ self.__init__.__globals__ }}"
    house.quotation(title=said, customer={"name": said, "email": "wang@acme.example"}, body=said)
    fields = f'From: "{said}" <wang@acme.example>\r\nTo: s00001@sales.example.com\r\nMessage-ID: <1@x>\r\n\r\n{said}'
    taken = house.take(fields.encode(), "s00001@sales.example.com", peer=CUSTOMER, return_path="wang@acme.example")
    assert taken == ("posted", "")
    mails = house.sent()
    assert mails
    for each in mails:
        assert f"[S00001] {said}" in each["Subject"]
        assert said in html.unescape(each.text)
        assert "49" not in html.unescape(each.text).replace(said, "")
    house.close()
